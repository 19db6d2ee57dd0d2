"""Where lists by offset begin, for RoomKit's adapter alone: the public lists have cursors."""

from __future__ import annotations

from typing import Unpack

from mongostore.arguments import check_offset, encode_cursor
from mongostore.documents.mapping import StoredDocument
from mongostore.models import EventFilter, RoomFilter
from mongostore.repositories import InternalRepository, reads, reads_majority
from mongostore.repositories.paging import Order
from mongostore.repositories.rooms.event_queries import event_filter, event_order
from mongostore.repositories.rooms.room_lists import room_order
from mongostore.repositories.rooms.room_lookup import room_filter


class Offsets(InternalRepository):
    """The cursors behind a number of rooms or events, which an index passes over."""

    @reads
    async def find_room_cursor(self, offset: int, **filter: Unpack[RoomFilter]) -> str | None:
        """Return the cursor behind the first rooms of a list, of which there are so many; None if not.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        order = room_order("created", False)
        last = await self._find_last("rooms", room_filter(filter), order, offset)
        return None if last is None else order.cursor(order.sort_key(last))

    @reads_majority
    async def find_event_cursor(
        self, room_id: str, offset: int, *, newest: bool, **filter: Unpack[EventFilter]
    ) -> str | None:
        """Return the cursor behind the first or the last events of a room, likewise.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        last = await self._find_last("events", event_filter(room_id, filter), event_order(newest), offset)
        return None if last is None else encode_cursor([last["index"]])

    async def _find_last(
        self, collection: str, filter: StoredDocument, order: Order, offset: int
    ) -> StoredDocument | None:
        """Return the fields of a list's order of its last document within an offset, read from an index."""
        if not check_offset("offset", offset):
            return None
        fields = {"_id": 0} | dict.fromkeys(dict(order.sort), 1)
        documents = self._connection.collection(collection)
        return await documents.find_one(filter, fields, sort=order.sort, skip=offset - 1)
