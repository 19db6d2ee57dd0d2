"""Read markers of channels, and reservations of speech."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id, check_limit
from mongostore.documents.notes import to_delivery, to_stored_delivery
from mongostore.documents.rooms import key_of
from mongostore.documents.stored import Raw, read_as
from mongostore.errors import InvalidDocumentError, InvalidValueError, NotFoundError
from mongostore.models import Page, ReadMarker, VoiceDelivery
from mongostore.repositories import Repository, long_running, reads, writes
from mongostore.repositories.paging import KeyOrder, count_options, find_page, walk
from mongostore.repositories.rooms.places import in_room


class AsyncReadMarkers(Repository):
    """The highest index that each channel of a room has read; a marker never moves back."""

    @writes
    async def advance(self, room_id: str, channel_id: str, event_id: str | None = None) -> bool:
        """Move a channel's marker to an event, or to the newest one; return whether the room has it.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        key = key_of(check_id("room_id", room_id), check_id("channel_id", channel_id))
        if event_id is None:
            found = self._events.find(
                {"room_id": room_id}, {"_id": 0, "index": 1}, sort=[("index", -1)], limit=1
            )
        else:
            event = {"_id": check_id("event_id", event_id), "room_id": room_id}
            found = self._events.find(event, {"index": 1}, limit=1)
        async with found:
            raws = await found.to_list()
        if not raws:
            return False
        update = {
            "$max": {"index": raws[0]["index"]},
            "$setOnInsert": {"room_id": room_id, "channel_id": channel_id},
        }
        while True:
            # Two at once may both find nothing there; then the second one finds the first.
            with suppress(DuplicateKeyError):
                await self._markers.update_one({"_id": key}, update, upsert=True)
                return True

    @reads
    async def find(self, room_id: str, channel_id: str) -> ReadMarker | None:
        """Return a channel's marker; None if it has read nothing.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        key = key_of(check_id("room_id", room_id), check_id("channel_id", channel_id))
        raw = await self._markers.find_one({"_id": key})
        return None if raw is None else _to_marker(raw)

    @reads
    async def list(
        self, room_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[ReadMarker]:
        """Return a page of a room's markers, by channel.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        limit, order = check_limit("limit", limit), _order(newest)
        behind = order.keyset_filter({"room_id": check_id("room_id", room_id)}, cursor)
        raws = await find_page(self._connection, "read_markers", behind, order, limit + 1)
        return order.page(raws, limit, _to_marker)

    @long_running
    async def iter(
        self,
        room_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[ReadMarker]:
        """Yield a room's markers, by channel.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """
        of_room = {"room_id": check_id("room_id", room_id)}
        steps = walk(self._connection, "read_markers", of_room, _order(newest), _to_marker, errors)
        async with aclosing(steps) as markers:
            async for marker in markers:
                yield marker

    @reads
    async def count_unread(self, room_id: str, channel_id: str, *, limit: int | None = None) -> int:
        """Return how many events of a room are above a channel's marker, `limit` at most.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        marker = await self.find(room_id, channel_id)
        unread: Raw = {"room_id": room_id}
        if marker is not None:
            unread["index"] = {"$gt": marker.index}
        return int(await self._events.count_documents(unread, **count_options(limit)))

    @property
    def _events(self) -> Any:
        return self._connection.collection("events")

    @property
    def _markers(self) -> Any:
        return self._connection.collection("read_markers")


class AsyncVoiceDeliveries(Repository):
    """Reservations of speech: exactly one of those that claim it may speak."""

    @reads
    async def find(self, room_id: str, key: str) -> VoiceDelivery | None:
        """Return a reservation; None if there is none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        raw = await self._deliveries.find_one(
            {"_id": key_of(check_id("room_id", room_id), check_id("key", key))}
        )
        return None if raw is None else to_delivery(raw)

    @writes
    async def claim(self, room_id: str, delivery: VoiceDelivery) -> VoiceDelivery:
        """Reserve speech that is free, or failed so that the same may be tried again.

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
        key = stored["_id"]

        async def reserve(session: Any) -> Raw:
            # A write, though it changes nothing: it conflicts with a deletion of the room.
            room = await self._connection.collection("rooms").update_one(
                {"_id": room_id, "state": "open"}, {"$inc": {"next_position": 0}}, session=session
            )
            if not room.matched_count:
                raise NotFoundError("room", room_id)
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
    async def complete(self, room_id: str, delivery: VoiceDelivery) -> bool:
        """Store the outcome of a reservation, once; return whether it has this outcome.

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
        attempt = {name: stored[name] for name in ("_id", "attempt_id")}
        completed = await self._deliveries.update_one({**attempt, "outcome": None}, {"$set": outcome})
        if completed.matched_count:
            return True
        raw = await self._deliveries.find_one(attempt)
        return raw is not None and to_delivery(raw).outcome == delivery.outcome

    @property
    def _deliveries(self) -> Any:
        return self._connection.collection("voice_deliveries")


def _order(newest: bool) -> KeyOrder:
    return KeyOrder("channel_id", is_ascending=not check_flag("newest", newest))


def _to_marker(raw: Raw) -> ReadMarker:
    return read_as(
        "read marker", raw, lambda: ReadMarker(raw["room_id"], raw["channel_id"], int(raw["index"]))
    )
