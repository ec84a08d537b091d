"""Many signals, as lines (NDJSON)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .client import AuthenticatedClient
from .failure import ApiError
from .models.problem import Problem
from .models.send_signals_response_202 import SendSignalsResponse202


@dataclass
class Upload:
    """What became of the signals that were sent."""

    accepted: int = 0
    #: Known before: their source and id had been sent within the dedup window.
    duplicates: int = 0
    rejected: int = 0
    #: What is wrong with the first rejected ones, by their number in the upload from 1.
    rejections: dict[int, str] = field(default_factory=dict)


def send_lines(client: AuthenticatedClient, signals: Iterable[Mapping[str, Any]], *, lines: int = 1000) -> Upload:
    """Sends signals in their order, `lines` to a request, each after the one before is committed. Repeating it changes nothing.

    Raises:
        ApiError: a request was refused, such as one without a single good signal; what was sent before stays.
    """
    upload = Upload()
    source = iter(signals)
    before = 0
    while group := list(islice(source, lines)):
        content = "".join(json.dumps(signal) + "\n" for signal in group)
        response = client.get_httpx_client().post("/v1/signals", content=content, headers={"Content-Type": "application/x-ndjson"})
        if not response.is_success:
            raise ApiError(Problem.from_dict(response.json()))
        receipt = SendSignalsResponse202.from_dict(response.json())
        upload.accepted += receipt.accepted
        upload.duplicates += receipt.duplicates
        upload.rejected += receipt.rejected_count
        for line in receipt.rejected:
            upload.rejections[before + line.line] = "; ".join(f"{error.path} {error.message}" for error in line.errors)
        before += len(group)
    return upload
