"""Lists of conversations by what is in them, when they were active, and their metadata."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from mongostore.codec import JSON_TAG, encode_members, escape_key, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import InvalidDocumentError
from mongostore.models import Page
from mongostore.repositories import Connection, current_operation, majority_step, read_step
from mongostore.repositories.paging import SortKey, SortOrder, check_errors, read_each
from mongostore.repositories.search.finder import FindHeads, TextSearch

V = TypeVar("V")

_PAGE = 200
# The rest of a large dict is compared as it is read.
_MOST_CONDITIONS = 10


class ConversationList(Generic[V]):
    """The conversations of a filter in an order, among them those that have the terms of a search.

    Args:
        connection: The connection.
        order: The order.
        find: Returns some of them, as far as another filter matches them, after a sort key.
        read: Makes a conversation of a document.
        matches: Returns whether a conversation has the values that the filter alone cannot check; None if
            there are none.
        search: The search.
    """

    def __init__(
        self,
        connection: Connection,
        order: SortOrder,
        find: FindHeads,
        read: Callable[[StoredDocument], V],
        matches: Callable[[V], bool] | None,
        search: TextSearch | None,
    ) -> None:
        self._connection = connection
        self._order = order
        self._find = find
        self._read = read
        self._matches = matches
        self._search = search

    async def page(self, limit: int, cursor: str | None) -> Page[V]:
        """Return a page; that of a search may be short where more follow."""
        after: SortKey | None = self._order.decode(cursor)
        page, size = Page[V]([]), limit
        while True:
            documents, after = await self._step(after, size)
            for document in documents:
                page.items.extend(self._matching([document], page.errors))
                if len(page.items) == limit:
                    more = after is not None or document is not documents[-1]
                    last = (self._search and after) or self._order.sort_key(document)
                    page.next_cursor = self._order.cursor(last) if more else None
                    return page
            if after is None or self._search:
                page.next_cursor = None if after is None else self._order.cursor(after)
                return page
            # Where few match, a page would take a round trip for each few that it reads.
            size = min(2 * size, max(size, _PAGE))

    async def iterate(self, errors: list[InvalidDocumentError] | None) -> AsyncGenerator[V, None]:
        """Yield all; `errors` collects those that cannot be read."""
        errors, after = check_errors(errors), None
        while True:
            documents, after = await self._step(after, _PAGE, majority_step)
            for one in self._matching(documents, errors):
                yield one
            if after is None:
                return

    async def count(self, limit: int | None) -> int:
        """Return how many there are, `limit` at most."""
        count, after = 0, None
        while True:
            documents, after = await self._step(after, _PAGE)
            count += sum(1 for _ in self._matching(documents, []))
            if limit is not None and count >= limit:
                return limit
            if after is None:
                return count

    def _matching(
        self, documents: Sequence[StoredDocument], errors: list[InvalidDocumentError] | None
    ) -> Iterator[V]:
        """Yield the conversations of documents that have the values; `errors` collects the unreadable."""
        readable = read_each(documents, self._read, errors)
        return readable if self._matches is None else filter(self._matches, readable)

    async def _step(
        self, after: SortKey | None, limit: int, step: Any = read_step
    ) -> tuple[Sequence[StoredDocument], SortKey | None]:
        if self._search:
            return await self._search.page(self._find, self._order, after, limit)
        some: tuple[Sequence[StoredDocument], SortKey | None]
        some = await step(self._connection, self._find_some, after, limit)
        return some

    async def _find_some(
        self, after: SortKey | None, limit: int
    ) -> tuple[Sequence[StoredDocument], SortKey | None]:
        # Over a slow line fewer, of which an attempt can bring at least one.
        limit = max(limit >> 4 * current_operation().attempt, 1)
        found = await self._find({}, after, limit + 1)
        return found[:limit], self._order.sort_key(found[limit - 1]) if len(found) > limit else None


def both(filter: StoredDocument, other: StoredDocument) -> StoredDocument:
    """Return the filter of what two filters match, of which both may have a condition of one field."""
    return {**filter, "$and": [*filter.get("$and", []), other]} if other else filter


def time_conditions(order: SortOrder, since: datetime | None, until: datetime | None) -> list[StoredDocument]:
    """Return the conditions of the times from `since` to before `until`, those of the order."""
    conditions: list[StoredDocument] = []
    if since is not None:
        conditions.append({order.field: {"$gte": to_micros("since", since)}})
    if until is not None:
        conditions.append({order.field: {"$lt": to_micros("until", until)}})
    return conditions


def metadata_filter(metadata: Mapping[str, Any] | None) -> StoredDocument:
    """Return what an index can find of metadata, which may be too much."""
    return members_filter("metadata", {} if metadata is None else metadata)


def members_filter(field: str, members: Mapping[str, Any]) -> StoredDocument:
    """Return a filter that finds what has these members in a field, and may find too much."""
    filter: StoredDocument = {}
    for key, value in encode_members(field, members).items():
        filter |= value_filter(f"{field}.{key}", value)
    return filter


def has_metadata(metadata: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Return whether metadata have each of these keys with this value, compared as Python compares."""
    return not wanted or all(metadata.get(key) == value for key, value in wanted.items())


def value_filter(path: str, encoded: Any) -> StoredDocument:
    """Return conditions that hold for all values that Python finds equal to a stored one, and few others.

    The index has the members of a dict and the elements of a list, but neither as a whole.
    """
    if isinstance(encoded, list):
        # Others are many values in Python, or none to an index.
        scalars = [one for one in encoded if isinstance(one, str | int | float)]
        elements = [one for one in scalars if _equal_in_python(one) == one]
        if elements:
            return {path: {"$all": elements[:_MOST_CONDITIONS]}}
    elif isinstance(encoded, dict) and JSON_TAG not in encoded:
        conditions: StoredDocument = {}
        for key, value in encoded.items():
            if len(conditions) < _MOST_CONDITIONS and escape_key(key) == key:
                conditions |= value_filter(f"{path}.{key}", value)
        if conditions:
            return conditions
    # An index does not know of what has nothing but members with dots in their names.
    return {path: _equal_in_python(encoded)} if _is_indexed(encoded) else {}


def _is_indexed(encoded: Any) -> bool:
    match encoded:
        case dict() if encoded:
            return any(escape_key(key) == key and _is_indexed(value) for key, value in encoded.items())
        case list() if encoded:
            return any(map(_is_indexed, encoded))
    return True


def _equal_in_python(encoded: Any) -> Any:
    """Return a condition that holds for all values that Python finds equal to a stored one."""
    if encoded is None or isinstance(encoded, str):
        return encoded
    if isinstance(encoded, int | float) and not abs(encoded) >= 2**63:
        # Python's 1 is 1.0 and True.
        return {"$in": [int(encoded), bool(encoded)]} if encoded in (0, 1) else encoded
    # Greater integers, which may equal a float, are stored as text.
    return {"$exists": True}
