"""Does with the Python client what a program of a person's own operation does, and prints what it saw as JSON."""

import json
import os
import time

from hal9_client import ApiError, connect, expect, items, send_lines, wait_for_result
from hal9_client.api.operations import start_greet
from hal9_client.api.runs import list_runs, signal_run
from hal9_client.models import ListRunsStatus, SignalRunBody, StartGreetBody, StartGreetBodyInput

hal9 = connect(os.environ["HAL9_URL"], os.environ["HAL9_API_KEY"])
seen: dict[str, object] = {}


def start(name: str, **more: bool) -> str:
    body = StartGreetBody(input_=StartGreetBodyInput(name=name, **more), tags=["python-program"])
    return expect(start_greet.sync_detailed(client=hal9, body=body)).run_id


waiting = start("Grace", wait_for=True)
try:
    wait_for_result(hal9, waiting, limit_seconds=0)
except TimeoutError:
    seen["open"] = True
expect(signal_run.sync_detailed(waiting, "proceed", client=hal9, body=SignalRunBody.from_dict({"payload": {"title": "Admiral"}})))
outcome = wait_for_result(hal9, waiting, limit_seconds=60)
seen["outcome"] = [outcome.status.value, outcome.result]

runs = {waiting} | {start(name, wait_for=True) for name in ("Ada", "Katherine", "Radia")}


def listed(**filters: object) -> list[str]:
    return [run.run_id for run in items(list_runs.sync_detailed, client=hal9, tag="python-program", limit=2, **filters)]


# Lists follow the runs.
end = time.monotonic() + 60
while (len(listed()) < 4 or len(listed(status=ListRunsStatus.RUNNING)) != 3) and time.monotonic() < end:
    time.sleep(0.2)
seen["listed"] = [len(listed()), set(listed()) == runs]
seen["open runs"] = len(listed(status=ListRunsStatus.RUNNING))

signals = [{"id": str(number), "source": "python-program", "type": "test.line", "data": {"number": number}} for number in range(5)]
signals[3] = {"id": "3"}
upload = send_lines(hal9, signals, lines=2)
seen["upload"] = [upload.accepted, upload.duplicates, upload.rejected, list(upload.rejections)]
again = send_lines(hal9, signals[:2])
seen["again"] = [again.accepted, again.duplicates]

try:
    start("")
except ApiError as error:
    seen["refused"] = [error.type, error.status, error.retryable, [one.path for one in error.problem.errors], error.remedy != ""]
try:
    expect(list_runs.sync_detailed(client=connect(os.environ["HAL9_URL"], "hal9_wrong")))
except ApiError as error:
    seen["wrong key"] = error.type
print(json.dumps(seen))
