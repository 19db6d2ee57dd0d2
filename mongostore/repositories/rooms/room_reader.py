"""Lists of rooms, in the order of their creation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from mongostore.arguments import check_flag, check_id, check_limit, check_offset
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.rooms import to_room
from mongostore.errors import InvalidDocumentError
from mongostore.models import Page, Room, RoomSearch
from mongostore.repositories import Connection, read_step
from mongostore.repositories.paging import SortKey, SortOrder, count_options, find_page, walk
from mongostore.repositories.rooms.room_counters import PUBLIC_FIELDS, count_rooms_events
from mongostore.repositories.rooms.room_lookup import room_search_filter
from mongostore.repositories.search.finder import ROOMS, TextSearch
from mongostore.repositories.search.lists import ConversationList, both, has_metadata, metadata_filter
from mongostore.repositories.search.words import Terms

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
        order, limit, offset = room_order(newest), check_limit("limit", limit), check_offset("offset", offset)
        all_rooms = rooms | metadata_filter(metadata)
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
                if not has_metadata(room.metadata, metadata):
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
        order, filter = room_order(newest), rooms | metadata_filter(metadata)
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
                if has_metadata(room.metadata, metadata):
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

    async def find_page(self, newest: bool, limit: int, cursor: str | None, where: RoomSearch) -> Page[Room]:
        """Return a page of the rooms that the filters of a list mean."""
        check_limit("limit", limit)
        if terms := Terms.parse(where.get("text")):
            return await (await self._search(room_order(newest), terms, where)).page(limit, cursor)

        async def read() -> Page[Room]:
            filter = await room_search_filter(self._connection, where, room_order(newest))
            return await self.page(newest, limit, cursor, where.get("metadata"), filter)

        return await read_step(self._connection, read)

    async def find_each(
        self, newest: bool, where: RoomSearch, errors: list[InvalidDocumentError] | None
    ) -> AsyncGenerator[Room, None]:
        """Yield the rooms that the filters of a list mean."""
        if terms := Terms.parse(where.get("text")):
            found = (await self._search(room_order(newest), terms, where)).iterate(errors)
        else:
            filter = await read_step(
                self._connection, room_search_filter, self._connection, where, room_order(newest)
            )
            found = self.iterate(newest, where.get("metadata"), filter, errors)
        async with aclosing(found) as rooms:
            async for room in rooms:
                yield room

    async def find_count(self, limit: int | None, where: RoomSearch) -> int:
        """Return how many rooms the filters of a list mean, `limit` at most."""
        count_options(limit)
        if terms := Terms.parse(where.get("text")):
            return await (await self._search(room_order(True), terms, where)).count(limit)

        async def read() -> int:
            filter = await room_search_filter(self._connection, where, room_order(True))
            return await self.count(limit, where.get("metadata"), filter)

        return await read_step(self._connection, read)

    async def _search(self, order: SortOrder, terms: Terms, where: RoomSearch) -> ConversationList[Room]:
        filter = await read_step(self._connection, room_search_filter, self._connection, where, order)

        async def find(more: StoredDocument, place: SortKey | None, limit: int) -> Sequence[StoredDocument]:
            return await self._page(order.keyset_filter(both(filter, more), place), order, limit)

        metadata = where.get("metadata")
        return ConversationList(
            self._connection,
            order,
            find,
            to_room,
            lambda room: has_metadata(room.metadata, metadata),
            TextSearch(self._connection, ROOMS, terms),
        )

    async def _page(
        self, filter: StoredDocument, order: SortOrder, limit: int, offset: int = 0
    ) -> Sequence[StoredDocument]:
        async with self._rooms.find(
            filter, PUBLIC_FIELDS, sort=order.sort, skip=offset, limit=limit, batch_size=limit + 1
        ) as found:
            documents: Sequence[StoredDocument] = await found.to_list()
        return await count_rooms_events(self._connection, documents)


def room_order(newest: bool) -> SortOrder:
    """Return the order of a list of rooms.

    Raises:
        InvalidValueError: If `newest` is no bool.
    """
    return _NEWEST if check_flag("newest", newest) else _OLDEST


def cursor_behind(room: Room) -> str:
    """Return the cursor of the page that begins behind a room.

    Raises:
        InvalidValueError: It is no room, or none that is stored.
    """
    created_at = to_micros("created_at", check_instance("room", room, Room).created_at)
    return _OLDEST.cursor((created_at, check_id("id", room.id)))
