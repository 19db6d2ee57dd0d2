"""Pages of lists, whose entities may have megabytes each."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from starlette.responses import Response

from mongostore.errors import InvalidValueError
from mongostore.models import Page
from mongostore.servers.error_responses import ProblemError

T = TypeVar("T")

log: Final = logging.getLogger("mongostore.servers")

# An entity may have megabytes: few are read at first, more as long as those were small, and none once a page
# has so many bytes.
_FIRST_PART = 20
_LARGEST_PART = 100
_PAGE_BYTES = 8 * 1024 * 1024


async def page_response(
    read: Callable[[int, str | None], Awaitable[Page[T]]],
    to_json: Callable[[T], dict[str, Any]],
    limit: int,
    cursor: str | None,
    *,
    is_backward: bool = False,
) -> Response:
    """Return the answer with a page, which ends before its limit when its entities are large.

    Args:
        read: Returns the page of a size that begins at a cursor.
        to_json: Returns an entity as it is answered.
        limit: The size of the page.
        cursor: Where it begins.
        is_backward: Whether each page is that before the one that was read first.
    """
    items: list[bytes] = []
    size = _FIRST_PART
    while limit > 0 and sum(map(len, items)) < _PAGE_BYTES:
        try:
            part = await read(min(limit, size), cursor)
        except InvalidValueError as error:
            if error.path == "cursor":
                raise ProblemError(400, "The cursor is not one that a page gave") from None
            raise
        for unreadable in part.errors:
            log.error("%s", unreadable)
        found = [json.dumps(to_json(entity)).encode() for entity in part.items]
        items = found + items if is_backward else items + found
        limit, size, cursor = limit - size, min(2 * size, _LARGEST_PART), part.next_cursor
        if cursor is None:
            break
    body = b'{"items": [%b], "next_cursor": %b}' % (b", ".join(items), json.dumps(cursor).encode())
    return Response(body, media_type="application/json")
