"""Lists by offset, for RoomKit's adapter alone: the public lists have cursors."""

from __future__ import annotations

from typing import Any, Self, Unpack

from mongostore.models import Event, EventFilter, Page, Room, RoomFilter
from mongostore.repositories import Repository, reads, reads_majority
from mongostore.repositories.rooms.event_queries import EventQueries
from mongostore.repositories.rooms.room_lookup import room_filter
from mongostore.repositories.rooms.room_reader import RoomReader
from mongostore.repositories.rooms.rooms import AsyncRooms


class OffsetLists(Repository):
    """Lists of rooms and events that pass over a number of them."""

    @classmethod
    def of(cls, rooms: AsyncRooms) -> Self:
        """Return the lists of a store's rooms."""
        return cls(rooms._connection)

    @reads
    async def list_rooms(
        self,
        *,
        offset: int,
        limit: int,
        cursor: str | None,
        metadata: dict[str, Any] | None,
        **filter: Unpack[RoomFilter],
    ) -> Page[Room]:
        """Return a page of rooms, as `store.rooms.list` does, after `offset` others."""
        reader = RoomReader(self._connection)
        return await reader.page(False, limit, cursor, metadata, room_filter(filter), offset)

    @reads_majority
    async def list_events(
        self,
        room_id: str,
        *,
        offset: int,
        newest: bool,
        limit: int,
        cursor: str | None,
        before: int | None,
        after: int | None,
        **filter: Unpack[EventFilter],
    ) -> Page[Event]:
        """Return a page of events, as `store.rooms.events.list` does, after `offset` others."""
        reader = EventQueries(self._connection)
        return await reader.page(room_id, newest, limit, cursor, before, after, filter, offset)
