"""Read markers of channels, and reservations of speech."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.documents.notes import to_delivery, to_stored_delivery
from mongostore.documents.rooms import key_of
from mongostore.documents.stored import Raw
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import VoiceDelivery
from mongostore.repositories import Repository, reads, writes
from mongostore.values import MAX_LIMIT, check_id


class AsyncReadMarkers(Repository):
    """The highest index that each channel of a room has read. A marker never moves back."""

    @writes
    async def mark(self, room_id: str, channel_id: str, event_id: str) -> bool:
        """Mark an event of a room as read; return whether the room has it.

        Raises:
            InvalidValueError: An id is no plain string.
        """
        check_id("channel_id", channel_id)
        event = {"_id": check_id("event_id", event_id), "room_id": check_id("room_id", room_id)}
        raw = await self._events.find_one(event, {"index": 1})
        return raw is not None and await self._raise(room_id, channel_id, raw["index"])

    @writes
    async def mark_all(self, room_id: str, channel_id: str) -> bool:
        """Mark all events of a room as read; return whether it has any.

        Raises:
            InvalidValueError: An id is no plain string.
        """
        check_id("channel_id", channel_id)
        newest = self._events.find(
            {"room_id": check_id("room_id", room_id)}, {"_id": 0, "index": 1}, sort=[("index", -1)], limit=1
        )
        async with newest:
            raws = await newest.to_list()
        return bool(raws) and await self._raise(room_id, channel_id, raws[0]["index"])

    @reads
    async def count_unread(self, room_id: str, channel_id: str) -> int:
        """Return how many events of a room are above a channel's marker, or are there at all without one.

        Raises:
            InvalidValueError: An id is no plain string.
        """
        marker = await self._markers.find_one(
            {"_id": key_of(check_id("room_id", room_id), check_id("channel_id", channel_id))}
        )
        unread: Raw = {"room_id": room_id}
        if marker is not None:
            unread["index"] = {"$gt": marker["index"]}
        return int(await self._events.count_documents(unread))

    @reads
    async def by_channel(self, room_id: str) -> dict[str, int]:
        """Return the markers of a room by their channels.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        async with self._markers.find(
            {"room_id": check_id("room_id", room_id)}, batch_size=MAX_LIMIT
        ) as found:
            return {raw["channel_id"]: raw["index"] for raw in await found.to_list()}

    @property
    def _events(self) -> Any:
        return self._connection.collection("events")

    @property
    def _markers(self) -> Any:
        return self._connection.collection("read_markers")

    async def _raise(self, room_id: str, channel_id: str, index: int) -> bool:
        key = key_of(room_id, channel_id)
        update = {"$max": {"index": index}, "$setOnInsert": {"room_id": room_id, "channel_id": channel_id}}
        while True:
            # Two at once may both find nothing there; then the second one finds the first.
            with suppress(DuplicateKeyError):
                await self._markers.update_one({"_id": key}, update, upsert=True)
                return True


class AsyncVoiceDeliveries(Repository):
    """Reservations of speech: of all who claim one, exactly one may speak."""

    @reads
    async def find(self, room_id: str, key: str) -> VoiceDelivery | None:
        """Return a reservation; None where there is none.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._deliveries.find_one(
            {"_id": key_of(check_id("room_id", room_id), check_id("key", key))}
        )
        return None if raw is None else to_delivery(raw)

    @writes
    async def claim(self, delivery: VoiceDelivery) -> VoiceDelivery:
        """Reserve speech that nobody has, or whose last attempt failed so that the same may be tried again.

        Returns:
            The reservation that holds: the caller's own if it has the caller's `attempt_id`.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored, or the claim has an outcome already.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_delivery(delivery)
        if delivery.outcome is not None:
            raise InvalidValueError("outcome", "must be None in a claim")
        key = stored["_id"]

        async def reserve(session: Any) -> Raw:
            # A write, though it changes nothing: whoever deletes the room meanwhile is in the way.
            room = await self._connection.collection("rooms").update_one(
                {"_id": delivery.room_id, "state": "open"}, {"$inc": {"next_position": 0}}, session=session
            )
            if not room.matched_count:
                raise NotFoundError("room", delivery.room_id)
            retried = await self._deliveries.find_one_and_update(
                {"_id": key, "retryable": True, "content_hash": stored["content_hash"]},
                {"$set": {name: value for name, value in stored.items() if name != "_id"}},
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            if retried is not None:
                return dict(retried)
            held = await self._deliveries.find_one_and_update(
                {"_id": key},
                {"$setOnInsert": stored},
                upsert=True,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            return dict(held)

        while True:
            # Without a transaction two at once may find nothing there; then the second one finds the first.
            with suppress(DuplicateKeyError):
                return to_delivery(await self._connection.engine.transact(reserve))

    @writes
    async def complete(self, delivery: VoiceDelivery) -> bool:
        """Note the outcome of a reservation, once; return whether that is what is noted.

        Args:
            delivery: With its outcome, and the `attempt_id` of the reservation.

        Returns:
            False if somebody else has the reservation by now, or it has another outcome.

        Raises:
            InvalidValueError: A value cannot be stored, or there is no outcome.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_delivery(delivery)
        if delivery.outcome is None:
            raise InvalidValueError("outcome", "must not be None")
        outcome = {name: stored[name] for name in ("outcome", "retryable")}
        attempt = {name: stored[name] for name in ("_id", "attempt_id")}
        completed = await self._deliveries.update_one({**attempt, "outcome": None}, {"$set": outcome})
        if completed.matched_count:
            return True
        raw = await self._deliveries.find_one(attempt)
        return raw is not None and to_delivery(raw).outcome == delivery.outcome

    @property
    def _deliveries(self) -> Any:
        return self._connection.collection("voice_deliveries")
