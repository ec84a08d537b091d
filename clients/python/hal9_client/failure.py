"""Failures as the API tells them (RFC 9457)."""

from typing import TypeVar

from .models.problem import Problem
from .types import Response

T = TypeVar("T")


class ApiError(Exception):
    """The API refused or failed; `problem` is all it said."""

    def __init__(self, problem: Problem, retry_after_seconds: float | None = None):
        super().__init__(f"{problem.title}: {problem.detail}")
        self.problem = problem
        #: Type of the failure, e.g. `RunClosed`; docs/reference/api.md lists them.
        self.type = problem.type_.rsplit("/", 1)[-1]
        self.status = problem.status
        #: What can be done now.
        self.remedy = problem.remedy
        #: Whether the same request may succeed later without a change.
        self.retryable = problem.retryable
        #: Seconds the API asks to wait before the next attempt.
        self.retry_after_seconds = retry_after_seconds


def expect(response: Response[T | Problem]) -> T:
    """What an operation's `sync_detailed` or `asyncio_detailed` answered.

    Raises:
        ApiError: it answered a problem.
    """
    parsed = response.parsed
    if isinstance(parsed, Problem):
        after = response.headers.get("retry-after")
        raise ApiError(parsed, float(after) if after is not None and after.isdigit() else None)
    return parsed  # type: ignore[return-value]  # The generator says it may be None, which an answer without a body is.
