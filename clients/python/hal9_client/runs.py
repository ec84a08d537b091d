"""Runs to their end."""

import time

from .api.runs import get_run_result
from .client import AuthenticatedClient
from .failure import expect
from .models.run_outcome import RunOutcome

#: Longest poll the API answers, seconds.
LONGEST_POLL = 60.0


def wait_for_result(client: AuthenticatedClient, run_id: str, *, limit_seconds: float | None = None) -> RunOutcome:
    """How the run ended: `status`, then `result` or `failure`. Waits by long polls, without a limit by default.

    Raises:
        TimeoutError: it is still open after `limit_seconds`; it goes on.
        ApiError: there is no such run, or it may not be read.
    """
    end = None if limit_seconds is None else time.monotonic() + limit_seconds
    while True:
        wait = LONGEST_POLL if end is None else max(0.0, min(LONGEST_POLL, end - time.monotonic()))
        response = get_run_result.sync_detailed(run_id, client=client, wait_seconds=wait)
        outcome = expect(response)
        if response.status_code == 200:
            return outcome
        if end is not None and time.monotonic() >= end:
            raise TimeoutError(f"run {run_id} is still open after {limit_seconds} s")
