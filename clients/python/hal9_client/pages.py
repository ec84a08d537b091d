"""Lists are pages `{items, nextCursor}`."""

from collections.abc import Callable, Iterator
from typing import Any

from .failure import expect
from .types import UNSET, Response, Unset


def items(list_call: Callable[..., Response[Any]], *path: Any, **query: Any) -> Iterator[Any]:
    """Every item of a list, page by page: `items(list_runs.sync_detailed, client=client, type_="remediate")`.

    Raises:
        ApiError: a page was refused.
    """
    cursor: str | Unset = UNSET
    while True:
        page = expect(list_call(*path, cursor=cursor, **query))
        yield from page.items
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
