"""Pages and counts of what threads and users have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mongostore.arguments import check_flag, check_limit
from mongostore.documents.mapping import StoredDocument
from mongostore.models import Page
from mongostore.repositories import Connection
from mongostore.repositories.paging import SortOrder, count_options, find_page

V = TypeVar("V")


def by_creation(newest: bool) -> SortOrder:
    """Return the order of creation, or that from the end."""
    return SortOrder("created_at", is_ascending=not check_flag("newest", newest))


def by_arrival(newest: bool) -> SortOrder:
    """Return the order of messages, of which those of one time come as they arrived."""
    return SortOrder("created_at", is_ascending=not check_flag("newest", newest), tie="arrival")


async def read_page(
    connection: Connection,
    name: str,
    filter: StoredDocument,
    order: SortOrder,
    limit: int,
    cursor: str | None,
    read: Callable[[StoredDocument], V],
    find: Callable[..., Awaitable[Sequence[StoredDocument]]] = find_page,
) -> Page[V]:
    """Return the page of a list that begins behind a cursor."""
    check_limit("limit", limit)
    page_filter = order.keyset_filter(filter, order.decode(cursor))
    documents = await find(connection, name, page_filter, order, limit + 1)
    return order.page(documents, limit, read)


async def count(connection: Connection, name: str, filter: StoredDocument, limit: int | None) -> int:
    """Return how many documents a filter matches, `limit` at most."""
    return int(await connection.collection(name).count_documents(filter, **count_options(limit)))
