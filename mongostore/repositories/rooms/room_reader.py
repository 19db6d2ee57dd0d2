"""Lists of rooms, in the order of their creation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from mongostore.arguments import check_flag, check_id, check_limit, check_offset
from mongostore.codec import encode_members, to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.rooms import to_room
from mongostore.errors import InvalidDocumentError
from mongostore.models import Page, Room
from mongostore.repositories import Connection
from mongostore.repositories.paging import SortKey, SortOrder, count_options, find_page, walk
from mongostore.repositories.rooms.room_counters import PUBLIC_FIELDS, count_rooms_events

_STEP = 200
_OLDEST = SortOrder("created_at")
_NEWEST = SortOrder("created_at", is_ascending=False)


async def _find_counted_page(connection: Connection, *page: Any) -> Sequence[StoredDocument]:
    """Return the first rooms of a list, as `find_page` does, with their counters up to date."""
    return await count_rooms_events(connection, await find_page(connection, *page))


class RoomReader:
    """Reads rooms page by page."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def page(
        self,
        newest: bool,
        limit: int,
        cursor: str | None,
        metadata: dict[str, Any] | None,
        rooms: StoredDocument,
        offset: int = 0,
    ) -> Page[Room]:
        """Return a page of rooms, after `offset` others."""
        order, limit, offset = _order(newest), check_limit("limit", limit), check_offset("offset", offset)
        all_rooms = _with_metadata(rooms, metadata)
        filter = order.keyset_filter(all_rooms, order.decode(cursor))
        page: Page[Room] = Page([])
        # All that is asked for at once, unless some of what is read may have to be left out.
        exact = not metadata
        skipped = 0
        last: SortKey = (0, "")
        while True:
            documents = await self._page(filter, order, limit + 1, offset if exact else 0)
            for document in documents:
                try:
                    room = to_room(document)
                except InvalidDocumentError as error:
                    page.errors.append(error)
                    continue
                if not _metadata_matches(room, metadata):
                    continue
                if not exact and skipped < offset:
                    skipped += 1
                    continue
                if len(page) == limit:
                    return Page(page.items, order.cursor(last), page.errors)
                page.items.append(room)
                last = order.sort_key(document)
            if len(documents) <= limit:
                return page
            filter = order.keyset_filter(all_rooms, order.sort_key(documents[-1]))
            offset = 0 if exact else offset

    async def iterate(
        self,
        newest: bool,
        metadata: dict[str, Any] | None,
        rooms: StoredDocument,
        errors: list[InvalidDocumentError] | None,
        find: Callable[..., Awaitable[Sequence[StoredDocument]]] = _find_counted_page,
    ) -> AsyncGenerator[Room, None]:
        """Yield rooms that `find` finds; `errors` collects those that cannot be read."""
        order, filter = _order(newest), _with_metadata(rooms, metadata)
        steps = walk(
            self._connection,
            "rooms",
            filter,
            order,
            to_room,
            errors,
            fields=PUBLIC_FIELDS,
            size=_STEP,
            find=find,
        )
        async with aclosing(steps) as found:
            async for room in found:
                if _metadata_matches(room, metadata):
                    yield room

    async def count(self, limit: int | None, metadata: dict[str, Any] | None, rooms: StoredDocument) -> int:
        """Return how many rooms there are, `limit` at most."""
        options = count_options(limit)
        if not metadata:
            return int(await self._rooms.count_documents(rooms, **options))
        counted = 0
        async with aclosing(self.iterate(False, metadata, rooms, [], find_page)) as found:
            async for _ in found:
                counted += 1
                if counted == limit:
                    break
        return counted

    @property
    def _rooms(self) -> Any:
        return self._connection.collection("rooms")

    async def _page(
        self, filter: StoredDocument, order: SortOrder, limit: int, offset: int = 0
    ) -> Sequence[StoredDocument]:
        async with self._rooms.find(
            filter, PUBLIC_FIELDS, sort=order.sort, skip=offset, limit=limit, batch_size=limit + 1
        ) as found:
            documents: Sequence[StoredDocument] = await found.to_list()
        return await count_rooms_events(self._connection, documents)


def _order(newest: bool) -> SortOrder:
    return _NEWEST if check_flag("newest", newest) else _OLDEST


def cursor_behind(room: Room) -> str:
    """Return the cursor of the page that begins behind a room.

    Raises:
        InvalidValueError: It is no room, or none that is stored.
    """
    created_at = to_micros("created_at", check_instance("room", room, Room).created_at)
    return _OLDEST.cursor((created_at, check_id("id", room.id)))


def _with_metadata(rooms: StoredDocument, metadata: dict[str, Any] | None) -> StoredDocument:
    """Return a query with what an index can find of metadata, which may be too much."""
    encoded = encode_members("metadata", {} if metadata is None else metadata)
    return rooms | {f"metadata.{key}": _equal_in_python(value) for key, value in encoded.items()}


def _metadata_matches(room: Room, wanted: dict[str, Any] | None) -> bool:
    return all(room.metadata.get(key) == value for key, value in (wanted or {}).items())


def _equal_in_python(encoded: Any) -> Any:
    """Return a condition that holds for all values that Python finds equal to a stored one."""
    if encoded is None or isinstance(encoded, str):
        return encoded
    if isinstance(encoded, int | float) and not abs(encoded) >= 2**63:
        # Python's 1 is 1.0 and True.
        return {"$in": [int(encoded), bool(encoded)]} if encoded in (0, 1) else encoded
    # Greater integers, which may equal a float, are stored as text.
    return {"$exists": True}
