"""Pages of what threads and users have, and walks over all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from mongostore.documents.stored import Raw
from mongostore.errors import InvalidDocumentError
from mongostore.models import Page
from mongostore.repositories import Connection, settled_step
from mongostore.repositories.paging import Order
from mongostore.values import check_flag, check_limit, check_list

V = TypeVar("V")


def by_creation(newest: bool) -> Order:
    """Return the order of creation, or that from the end.

    Raises:
        InvalidValueError: If `newest` is no bool.
    """
    return Order("created_at", rising=not check_flag("newest", newest))


async def find_page(connection: Connection, name: str, filter: Raw, order: Order, limit: int) -> list[Raw]:
    """Return the first documents of a collection that a filter matches."""
    found = connection.collection(name).find(filter, sort=order.sort, limit=limit, batch_size=limit + 1)
    async with found:
        raws: list[Raw] = await found.to_list()
    return raws


async def read_page(
    connection: Connection,
    name: str,
    filter: Raw,
    order: Order,
    limit: int,
    cursor: str | None,
    read: Callable[[Raw], V],
) -> Page[V]:
    """Return the page of a list that begins behind a cursor.

    Raises:
        InvalidValueError: If the limit is out of range, or the cursor is not one that a page gave.
    """
    check_limit("limit", limit)
    raws = await find_page(connection, name, order.behind(filter, order.decode(cursor)), order, limit + 1)
    return order.page(raws, limit, read)


async def iterate(
    connection: Connection,
    name: str,
    filter: Raw,
    order: Order,
    read: Callable[[Raw], V],
    errors: list[InvalidDocumentError] | None,
    *,
    at_once: int = 500,
) -> AsyncIterator[V]:
    """Yield all that a filter matches, page by page.

    Raises:
        InvalidDocumentError: If a document cannot be read and no list collects the errors.
    """
    if errors is not None:
        check_list("errors", errors)
    behind = filter
    while True:
        raws = await settled_step(connection, find_page, connection, name, behind, order, at_once)
        for raw in raws:
            try:
                item = read(raw)
            except InvalidDocumentError as error:
                if errors is None:
                    raise
                errors.append(error)
            else:
                yield item
        if len(raws) < at_once:
            return
        behind = order.behind(filter, order.place_of(raws[-1]))


async def count(connection: Connection, name: str, filter: Raw, limit: int | None) -> int:
    """Return how many documents a filter matches, `limit` at most.

    Raises:
        InvalidValueError: If the limit is out of range.
    """
    options: dict[str, Any] = {} if limit is None else {"limit": check_limit("limit", limit)}
    return int(await connection.collection(name).count_documents(filter, **options))
