"""Lists that are read page by page: each begins at the end of the one before, whether entries came or not."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mongostore.arguments import check_flag, check_id, check_int, check_limit, decode_cursor, encode_cursor
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import ListOrder, Page
from mongostore.repositories import Connection, current_operation, majority_step

V = TypeVar("V")

# The number and the key of something in a list, with the number between them that breaks ties if one does.
SortKey = tuple[Any, ...]

# Finds the first documents of a list, as `find_page` does.
FindPage = Callable[..., Awaitable[Sequence[StoredDocument]]]

# So many documents a step of a walk finds.
_STEP = 500
_LAST = 2**63 - 1
_AFTER_TEXTS = "\U0010ffff"


@dataclass(frozen=True)
class SortOrder:
    """The order of a list: by a number, and among equal ones by key.

    Attributes:
        field: The stored field that holds the number.
        is_ascending: Whether the lowest comes first.
        key: The stored field that holds the key.
        tie: The stored field of a second number, which comes before the key.
    """

    field: str
    is_ascending: bool = True
    key: str = "_id"
    tie: str | None = None

    @property
    def _fields(self) -> tuple[str, ...]:
        return (self.field, self.key) if self.tie is None else (self.field, self.tie, self.key)

    @property
    def sort(self) -> list[tuple[str, int]]:
        """The order in a server's words."""
        return [(field, 1 if self.is_ascending else -1) for field in self._fields]

    def sort_key(self, document: StoredDocument) -> SortKey:
        """Return the sort key of a document.

        Of a document of others, which may have anything there, it is the one from which the rest follows.
        """
        number, key = self._number_and_key(document)
        if self.tie is None:
            return number, key
        tie = document.get(self.tie)
        return number, tie if isinstance(tie, int) and not isinstance(tie, bool) else None, key

    def _number_and_key(self, document: StoredDocument) -> tuple[int, Any]:
        number, key = document.get(self.field), document.get(self.key)
        if isinstance(number, int) and not isinstance(number, bool):
            return number, key if isinstance(key, dict) else _text_key(key)
        if isinstance(number, float) and not math.isnan(number):
            number = min(max(number, -_LAST), _LAST)
            return (math.ceil(number), "") if self.is_ascending else (math.floor(number), _AFTER_TEXTS)
        return (-_LAST, "") if number is None or isinstance(number, float) else (_LAST, _AFTER_TEXTS)

    def keyset_filter(self, filter: StoredDocument, key: SortKey | None) -> StoredDocument:
        """Return the filter of the documents of `filter` after a sort key; None stands before all.

        Each of its branches is one scan of an index: no document of an equal number is read in vain.
        """
        if key is None:
            return filter
        operator = "$gt" if self.is_ascending else "$lt"
        branches = [
            {**filter, **dict(zip(self._fields[:depth], key, strict=False)), field: {operator: key[depth]}}
            for depth, field in enumerate(self._fields)
            # Where nothing breaks the tie, only the key does.
            if key[depth] is not None
        ]
        return {"$or": branches[::-1]}

    def keyset_filter_of_any(self, filters: Sequence[StoredDocument], key: SortKey | None) -> StoredDocument:
        """Return the filter of the documents of any of these filters after a sort key.

        Each filter has branches of its own: only of such can the server merge what indexes give in order.
        """
        of_each = [self.keyset_filter(filter, key) for filter in filters]
        branches = [branch for following in of_each for branch in following.get("$or", [following])]
        return branches[0] if len(branches) == 1 else {"$or": branches}

    @property
    def start(self) -> SortKey:
        """The sort key that stands before all."""
        return (-_LAST, "") if self.is_ascending else (_LAST, _AFTER_TEXTS)

    def cursor(self, key: SortKey) -> str:
        """Return the text that callers keep of a sort key."""
        return encode_cursor([*key])

    def decode(self, cursor: object) -> SortKey | None:
        """Return the sort key that a cursor names; None for none."""
        if cursor is None:
            return None
        match decode_cursor(cursor):
            case [int(number), int() | None as tie, str(key)] if self.tie and _is_64_bits(number, tie or 0):
                return number, tie, check_id("cursor", key)
            case [int(number), str(key)] if not self.tie and _is_64_bits(number):
                return number, check_id("cursor", key)
            case [int(number), {"a": str(first), "b": str(second)}] if not self.tie and _is_64_bits(number):
                return number, {"a": check_id("cursor", first), "b": check_id("cursor", second)}
        raise InvalidValueError("cursor", "is not one that a page gave")


def _is_64_bits(*numbers: int) -> bool:
    return all(abs(number) < 2**63 for number in numbers)


@dataclass(frozen=True)
class KeyOrder:
    """The order of a list by a text, or a number, that is unique in it.

    Attributes:
        field: The stored field that holds it.
        is_ascending: Whether the lowest comes first.
        kind: Its type.
    """

    field: str
    is_ascending: bool = True
    kind: type[str] | type[int] = str

    @property
    def sort(self) -> list[tuple[str, int]]:
        """The order in a server's words."""
        return [(self.field, 1 if self.is_ascending else -1)]

    def keyset_filter(self, filter: StoredDocument, key: Any) -> StoredDocument:
        """Return the filter of the documents of `filter` after a sort key; None stands before all."""
        if key is None:
            return filter
        return {**filter, self.field: {"$gt" if self.is_ascending else "$lt": key}}

    def cursor(self, key: Any) -> str:
        """Return the text that callers keep of a sort key."""
        return encode_cursor(key)

    def decode(self, cursor: object) -> Any:
        """Return the text that a cursor names; None for none."""
        return None if cursor is None else check_id("cursor", decode_cursor(cursor))

    def sort_key(self, document: StoredDocument) -> Any:
        """Return the sort key of a document; of one of others, as `SortOrder.sort_key` does."""
        key = document.get(self.field)
        if self.kind is str:
            return _text_key(key)
        if isinstance(key, int | float) and key == key and not isinstance(key, bool):
            return key
        return -_LAST if key is None or isinstance(key, float) else _LAST


Order = SortOrder | KeyOrder


def _text_key(key: object) -> str:
    """Return the text from which the rest of a list follows that ends with a key, whatever that is."""
    if isinstance(key, str):
        return key
    # A server sorts numbers and nothing before texts, and all else after them.
    return "" if key is None or (isinstance(key, int | float) and not isinstance(key, bool)) else _AFTER_TEXTS


async def find_page(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    order: Order,
    limit: int,
    fields: StoredDocument | Sequence[str] | None = None,
) -> list[StoredDocument]:
    """Return the first documents of a list."""
    return await connection.collection(collection).find_all(filter, fields, sort=order.sort, limit=limit)


async def list_page(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    order: Order,
    limit: int,
    cursor: str | None,
    read: Callable[[StoredDocument], V],
    *,
    fields: StoredDocument | None = None,
    find: FindPage = find_page,
) -> Page[V]:
    """Return the page of a list that begins behind a cursor."""
    check_limit("limit", limit)
    following = order.keyset_filter(filter, order.decode(cursor))
    documents = await find(connection, collection, following, order, limit + 1, fields)
    return page_of(documents, order, limit, read)


def page_of(
    documents: Sequence[StoredDocument], order: Order, limit: int, read: Callable[[StoredDocument], V]
) -> Page[V]:
    """Return a page of what was read, which is one more than fits if there is another page."""
    more = len(documents) > limit
    next_cursor = order.cursor(order.sort_key(documents[limit - 1])) if more else None
    return read_page(documents[:limit], next_cursor, read)


async def walk(
    connection: Connection,
    collection: str,
    filter: StoredDocument,
    order: Order,
    read: Callable[[StoredDocument], V],
    errors: list[InvalidDocumentError] | None,
    *,
    fields: StoredDocument | None = None,
    find: FindPage = find_page,
    when_empty: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[V, None]:
    """Yield what `read` makes of the documents of a list, which it finds step by step.

    Args:
        connection: The connection.
        collection: The collection.
        filter: Which documents.
        order: Their order.
        read: Makes an item of a document.
        errors: Collects those that cannot be read.
        fields: The fields to read.
        find: Finds the documents of a step, as `find_page` does.
        when_empty: The other place to look if there is no such document.
    """
    errors = check_errors(errors)
    conditions, size = filter, _STEP

    async def find_some() -> tuple[Sequence[StoredDocument], int]:
        # Over a slow line fewer, of which an attempt can bring at least one.
        some = max(size >> 4 * current_operation().attempt, 1)
        return await find(connection, collection, conditions, order, some, fields), some

    while True:
        documents, size = await majority_step(connection, find_some)
        if not documents and when_empty and conditions is filter:
            await majority_step(connection, when_empty)
        for item in read_each(documents, read, errors):
            yield item
        if len(documents) < size:
            return
        conditions = order.keyset_filter(filter, order.sort_key(documents[-1]))


def read_page(
    documents: Iterable[StoredDocument], next_cursor: str | None, read: Callable[[StoredDocument], V]
) -> Page[V]:
    """Return a page of documents; those that cannot be read are in its `errors`."""
    page: Page[V] = Page([], next_cursor)
    page.items.extend(read_each(documents, read, page.errors))
    return page


async def page_around(
    limit: int,
    read_before: Callable[[int], Awaitable[Page[V]]],
    read_from: Callable[[int], Awaitable[Page[V]]],
) -> Page[V]:
    """Return a page around a place, of which half at the most stands before it.

    Args:
        limit: The size of the page.
        read_before: Returns the last ones before the place, so many at the most.
        read_from: Returns the first ones from the place on.
    """
    page: Page[V] = Page([]) if limit < 2 else await read_before(limit // 2)
    following = await read_from(limit - len(page) - len(page.errors))
    return Page(page.items + following.items, following.next_cursor, page.errors + following.errors)


def read_each(
    documents: Iterable[StoredDocument],
    read: Callable[[StoredDocument], V],
    errors: list[InvalidDocumentError] | None,
) -> Iterator[V]:
    """Yield what `read` makes of documents; `errors` collects those that cannot be read."""
    for document in documents:
        try:
            item = read(document)
        except InvalidDocumentError as error:
            if errors is None:
                raise
            errors.append(error)
        else:
            yield item


def check_errors(errors: list[InvalidDocumentError] | None) -> list[InvalidDocumentError] | None:
    """Return the list that collects the errors of an iteration, if there is one."""
    if errors is not None and type(errors) is not list:
        raise InvalidValueError("errors", "must be a list")
    return errors


def by_creation(newest: bool) -> SortOrder:
    """Return the order of creation, or that from the end."""
    return list_order("created", newest)


def list_order(order: ListOrder, newest: bool, *, active: str = "active_at") -> SortOrder:
    """Return the order of a list of conversations; `active` is the field by which it is that of activity."""
    fields = {"active": active, "created": "created_at"}
    if type(order) is not str or order not in fields:
        raise InvalidValueError("order", "must be 'active' or 'created'")
    return SortOrder(fields[order], is_ascending=not check_flag("newest", newest))


async def count_documents(
    connection: Connection, collection: str, filter: StoredDocument, limit: int | None
) -> int:
    """Return how many documents a filter matches, `limit` at most."""
    return int(await connection.collection(collection).count_documents(filter, **count_options(limit)))


def count_options(limit: object) -> dict[str, Any]:
    """Return the options of a count of `limit` at most; None for all."""
    if limit is None:
        return {}
    return {"limit": check_int("limit", limit, 1, 2**31, "must be an integer from 1")}
