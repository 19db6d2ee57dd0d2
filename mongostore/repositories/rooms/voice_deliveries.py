"""Reservations of speech; `store.rooms.voice_deliveries`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.codec import is_same
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.room_parts import to_delivery, to_stored_delivery
from mongostore.documents.rooms import part_id
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import VoiceDelivery
from mongostore.repositories import CollectionOf, Repository, reads, writes
from mongostore.repositories.operation import not_made_since
from mongostore.repositories.parts import find_part
from mongostore.repositories.rooms.room_lookup import take_back_if_gone
from mongostore.repositories.rooms.room_parts import in_room


class AsyncVoiceDeliveries(Repository):
    """Reservations of speech: exactly one of those that claim it may speak."""

    _deliveries = CollectionOf("voice_deliveries")

    @reads
    async def find(self, room_id: str, key: str) -> VoiceDelivery | None:
        """Return a reservation; None if there is none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        delivery = {"_id": part_id(check_id("room_id", room_id), check_id("key", key)), "room_id": room_id}
        document = await find_part(self._connection, "voice_deliveries", delivery)
        return None if document is None else to_delivery(document)

    @writes
    async def claim(self, room_id: str, delivery: VoiceDelivery) -> VoiceDelivery:
        """Reserve speech that is free, or failed and may be tried again.

        Returns:
            The reservation that holds: the caller's own if it has the caller's `attempt_id`.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored, or the claim has an outcome already.
            InvalidDocumentError: If the reservation that holds cannot be read.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        delivery = in_room("delivery", delivery, VoiceDelivery, room_id)
        stored = to_stored_delivery(delivery)
        if delivery.outcome is not None:
            raise InvalidValueError("outcome", "must be None in a claim")
        while True:
            # Without a transaction two at once may find nothing there; then the second one finds the first.
            with suppress(DuplicateKeyError):
                return to_delivery(await self._connection.engine.transact(partial(self._reserve, stored)))

    @writes
    async def complete(self, room_id: str, delivery: VoiceDelivery) -> bool:
        """Store the outcome of a reservation once; return whether it has it.

        Args:
            room_id: The room.
            delivery: With its outcome, and the `attempt_id` of the reservation.

        Returns:
            False if another attempt has the reservation by now, or it has another outcome.

        Raises:
            InvalidValueError: If a value cannot be stored, or there is no outcome.
            InvalidDocumentError: If the reservation cannot be read.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        delivery = in_room("delivery", delivery, VoiceDelivery, room_id)
        stored = to_stored_delivery(delivery)
        if delivery.outcome is None:
            raise InvalidValueError("outcome", "must not be None")
        outcome = {name: stored[name] for name in ("outcome", "retryable")}
        attempt = {name: stored[name] for name in ("_id", "room_id", "attempt_id")}
        completed = await self._deliveries.update_one({**attempt, "outcome": None}, {"$set": outcome})
        if completed.matched_count:
            return True
        document = await self._deliveries.find_one(attempt)
        return document is not None and is_same(to_delivery(document).outcome, delivery.outcome)

    async def _reserve(self, stored: StoredDocument, session: Any) -> StoredDocument:
        """Store a reservation if its key is free or may be tried again, and return the one that holds."""
        own = {name: stored[name] for name in ("_id", "room_id")}
        rest = {name: value for name, value in stored.items() if name not in own}
        # A change, which conflicts with a deletion of the room; one that changes nothing does not.
        room = await self._connection.collection("rooms").find_one_and_update(
            {"_id": own["room_id"], "state": "open", **not_made_since("epoch")},
            {"$inc": {"next_part_position": 1}},
            projection={"epoch": 1},
            session=session,
        )
        if room is None:
            raise NotFoundError("room", own["room_id"])
        retried = {**own, "retryable": True, "content_hash": stored["content_hash"]}
        reserve: Any = partial(
            self._deliveries.find_one_and_update, return_document=ReturnDocument.AFTER, session=session
        )
        holding = await reserve(retried, {"$set": rest})
        if holding is None:
            holding = await reserve(own, {"$setOnInsert": {**rest, "epoch": room["epoch"]}}, upsert=True)
        late = {**own, "epoch": room["epoch"]}
        take_back = partial(self._deliveries.delete_one, late)
        if not self._connection.has_transactions and await take_back_if_gone(
            self._connection, own["room_id"], room["epoch"], take_back
        ):
            raise NotFoundError("room", own["room_id"])
        return dict(holding)
