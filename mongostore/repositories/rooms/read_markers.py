"""Read markers of channels; `store.rooms.read_markers`."""

from __future__ import annotations

from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id, check_position
from mongostore.documents.mapping import StoredDocument, decode_document
from mongostore.documents.rooms import part_id
from mongostore.errors import InvalidValueError
from mongostore.models import ReadMarker
from mongostore.repositories import CollectionOf, current_operation, reads, writes
from mongostore.repositories.expiry import not_expired
from mongostore.repositories.paging import KeyOrder
from mongostore.repositories.parts import count_parts
from mongostore.repositories.rooms.room_counters import HAS_EPOCH, HAS_INDEX
from mongostore.repositories.rooms.room_lookup import open_room_filter
from mongostore.repositories.rooms.room_parts import RoomList


def _to_marker(document: StoredDocument) -> ReadMarker:
    return decode_document(
        "read marker",
        document,
        lambda: ReadMarker(document["room_id"], document["channel_id"], int(document["index"])),
    )


class AsyncReadMarkers(RoomList[ReadMarker]):
    """The highest index that each channel of a room has read, by channel; a marker never moves back."""

    _rooms = CollectionOf("rooms")

    _NAME = "read_markers"
    _decode = staticmethod(_to_marker)

    @writes
    async def advance(
        self, room_id: str, channel_id: str, event_id: str | None = None, *, index: int | None = None
    ) -> bool:
        """Move a marker to an event or the newest; return whether it exists.

        Args:
            room_id: The room.
            channel_id: The channel.
            event_id: The event; None for the newest one.
            index: The index to move to, instead of an event's, for a marker whose event is deleted.

        Raises:
            InvalidValueError: If an argument is of the wrong type, or there are both an event and an index.
        """
        key = part_id(check_id("room_id", room_id), check_id("channel_id", channel_id))
        if index is not None and event_id is not None:
            raise InvalidValueError("index", "must not be set beside event_id")
        if index is None:
            read = await self._event_of(room_id, event_id)
        else:
            room = await self._rooms.find_one(open_room_filter(room_id), {"epoch": 1})
            read = room and {"epoch": room["epoch"], "index": check_position("index", index)}
        # Once read, for another event may have the id by now, and another room.
        read = current_operation().memory.setdefault("read", read)
        if read is None:
            return False
        # A room that is made anew has markers of its own, whatever comes late.
        marker = {"_id": {**key, "epoch": read["epoch"]}, "room_id": room_id}
        update = {
            "$max": {"index": read["index"]},
            "$setOnInsert": {"channel_id": channel_id, "epoch": read["epoch"]},
        }
        await self._upsert(marker, update)
        same = {**open_room_filter(room_id), "epoch": read["epoch"]}
        if await self._rooms.find_one(same, {"_id": 1}) is None:
            # Its deletion may have passed here before.
            await self._collection.delete_one(marker)
            return False
        return True

    @reads
    async def find(self, room_id: str, channel_id: str) -> ReadMarker | None:
        """Return a channel's marker; None if it has read nothing.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        marker = {"room_id": check_id("room_id", room_id), "channel_id": check_id("channel_id", channel_id)}
        pipeline: list[StoredDocument] = [
            {"$match": open_room_filter(room_id) | not_expired(current_operation().now)},
            {"$project": {"epoch": 1}},
            {"$unionWith": {"coll": self._collection.name, "pipeline": [{"$match": marker}]}},
        ]
        documents = await self._rooms.aggregate_all(pipeline)
        if not documents or "room_id" in documents[0]:
            # There is no room, but something that belonged to one.
            return None
        epoch = documents[0]["epoch"]
        return next((self._decode(one) for one in documents[1:] if one.get("epoch") == epoch), None)

    @reads
    async def count_unread(self, room_id: str, channel_id: str, *, limit: int | None = None) -> int:
        """Return how many events are above a channel's marker, at most `limit`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        marker = await self.find(room_id, channel_id)
        unread: StoredDocument = {"room_id": room_id, "index": HAS_INDEX}
        if marker is not None:
            unread["index"] = {"$gt": marker.index}
        return await count_parts(self._connection, "events", unread, limit)

    async def _upsert(self, marker: StoredDocument, update: StoredDocument) -> None:
        while True:
            # Two at once may both find nothing there; then the second one finds the first.
            with suppress(DuplicateKeyError):
                await self._collection.update_one(marker, update, upsert=True)
                return

    async def _event_of(self, room_id: str, event_id: str | None) -> StoredDocument | None:
        """Return the index of an event, or of the newest one, and the life of its room."""
        # The bounds leave out what others have written there, which may be anything.
        filter: StoredDocument = {"room_id": room_id, "index": HAS_INDEX, "epoch": HAS_EPOCH}
        if event_id is not None:
            filter["_id"] = check_id("event_id", event_id)
        fields = {"_id": 0, "index": 1, "epoch": 1}
        events = self._connection.collection("events")
        return await events.find_one(filter, fields, sort=[("index", -1)])

    @staticmethod
    def _order(newest: bool) -> KeyOrder:
        return KeyOrder("channel_id", is_ascending=not check_flag("newest", newest))
