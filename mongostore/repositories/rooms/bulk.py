"""Events of rooms by the batch, for imports alone: others append them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pymongo.errors import BulkWriteError

from mongostore.arguments import check_id, check_position
from mongostore.documents.mapping import Raw, check_size
from mongostore.documents.rooms import to_event, to_stored_event
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Event
from mongostore.repositories import Repository, current_operation, writes
from mongostore.repositories.rooms.rooms import AsyncRooms

_DUPLICATE_KEY = 11000


class EventBatches(Repository):
    """Stores many events at once."""

    @classmethod
    def of(cls, rooms: AsyncRooms) -> Self:
        """Return the batches of a store's rooms."""
        return cls(rooms._connection)

    @writes
    async def create_many(self, room_id: str, events: Sequence[Event]) -> None:
        """Store events at their own indexes; the room's other counters stay.

        Raises:
            NotFoundError: If there is no such room.
            ConflictError: If an id, an index or an idempotency key is taken; the other events are stored.
            InvalidValueError: If a value cannot be stored; nothing is stored.
            DocumentTooLargeError: If an event takes too much; nothing is stored.
        """
        documents = [_to_document(check_id("room_id", room_id), event) for event in events]
        next_index = max(document["index"] for document in documents) + 1
        room = await self._connection.collection("rooms").update_one(
            {"_id": room_id, "state": "open"}, {"$max": {"next_index": next_index}}
        )
        if not room.matched_count:
            raise NotFoundError("room", room_id)
        collection = self._connection.collection("events")
        try:
            await collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(one["code"] != _DUPLICATE_KEY for one in failed):
                raise
            for one in failed:
                await self._check_equal(documents[one["index"]])

    async def _check_equal(self, document: Raw) -> None:
        stored: Any = await self._connection.collection("events").find_one({"_id": document["_id"]})
        if stored is None or to_event(stored) != to_event(document):
            raise ConflictError(
                f"event {document['_id']!r}, its index or its key is stored with other content"
            )


def _to_document(room_id: str, event: Event) -> Raw:
    of_room = event.model_copy(update={"room_id": room_id})
    document = to_stored_event(of_room, current_operation().now)
    check_size(f"event {event.id!r}", document)
    return {**document, "index": check_position("index", event.index)}
