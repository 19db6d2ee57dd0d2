"""The live tail of a room: its events as they are committed."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import to_event
from mongostore.engines import Capability
from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.models import Event
from mongostore.repositories import CollectionOf, Connection, majority_step
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.paging import find_page
from mongostore.repositories.rooms.event_queries import event_order
from mongostore.repositories.rooms.room_counters import HAS_INDEX, find_room
from mongostore.unreadable import log_unreadable

_CATCH_UP = 200


class EventStream:
    """Follows rooms.

    Commits become visible in the order of their indexes, so the highest index that a follower has seen
    is all that it must know.
    """

    _events = CollectionOf("events")

    def __init__(self, connection: Connection, changes: ChangeFeed) -> None:
        self._connection = connection
        self._changes = changes

    async def tail(self, room_id: str, after: int | None, last: int | None) -> AsyncGenerator[Event, None]:
        """Yield events until the room is gone; see `AsyncRoomEvents.watch`."""
        self._connection.require(Capability.CHANGE_STREAMS)
        async with self._changes.read("rooms", room_id) as changes:
            latest = await majority_step(self._connection, self._latest_index, room_id)
            seen = latest if after is None else after
            if last is not None:
                seen = await majority_step(self._connection, self._index_before, room_id, last, latest)
            while seen < latest:
                missed = await majority_step(self._connection, self._events_after, room_id, seen)
                if not missed:
                    break
                for document in missed:
                    seen = int(document["index"])
                    if event := _decode_or_log(document):
                        yield event
            while (change := await changes.next())["ns"]["coll"] == self._events.name:
                document = change["fullDocument"]
                if document["index"] > seen:
                    seen = int(document["index"])
                    if event := _decode_or_log(document):
                        yield event

    async def _latest_index(self, room_id: str) -> int:
        room = await find_room(self._connection, room_id)
        if room is None:
            raise NotFoundError("room", room_id)
        return int(room["next_index"]) - 1

    async def _index_before(self, room_id: str, last: int, latest: int) -> int:
        """Return the index before the last events of a room; the latest one if it has none."""
        events, fields = {"room_id": room_id, "index": HAS_INDEX}, {"index": 1}
        found = await find_page(self._connection, "events", events, event_order(True), last, fields)
        return int(found[-1]["index"]) - 1 if found else latest

    async def _events_after(self, room_id: str, seen: int) -> list[StoredDocument]:
        wanted = {"room_id": room_id, "index": {"$gt": seen}}
        return await find_page(self._connection, "events", wanted, event_order(False), _CATCH_UP)


def _decode_or_log(document: StoredDocument) -> Event | None:
    try:
        return to_event(document)
    except InvalidDocumentError as error:
        log_unreadable([error])
        return None
