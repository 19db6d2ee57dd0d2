"""The calls of imports and exports on rooms beside the public verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from mongostore.arguments import check_id, check_position
from mongostore.codec import decode_members, is_same
from mongostore.documents.identities import to_identity, to_request, to_verification
from mongostore.documents.mapping import StoredDocument, check_size
from mongostore.documents.room_parts import to_delivery
from mongostore.documents.rooms import to_event, to_stored_event
from mongostore.engines.driver_errors import refused_writes
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Event, Identity, Verification, VerificationRequest, VoiceDelivery
from mongostore.repositories import (
    CollectionOf,
    InternalRepository,
    current_operation,
    long_running,
    reads,
    writes,
)
from mongostore.repositories.operation import life_token
from mongostore.repositories.paging import KeyOrder, walk
from mongostore.repositories.rooms.room_counters import HAS_INDEX, find_room
from mongostore.repositories.rooms.room_log import RoomLog, emptied, free_ids, position_below
from mongostore.repositories.rooms.room_lookup import take_back_if_gone


class EventBatches(InternalRepository):
    """Stores many events at once."""

    _events = CollectionOf("events")

    @writes
    async def create_many(self, room_id: str, events: Sequence[Event]) -> None:
        """Store events at their own indexes; the room's other counters stay.

        Raises:
            NotFoundError: If there is no such room; nothing is stored.
            ConflictError: If an id, an index or an idempotency key is taken; the other events are stored.
            InvalidValueError: If a value cannot be stored; nothing is stored.
            DocumentTooLargeError: If an event takes too much; nothing is stored.
        """
        documents = [_to_document(check_id("room_id", room_id), event) for event in events]
        epoch = await self._reserve(room_id, max(document["index"] for document in documents) + 1)
        taken = await self._taken(room_id, documents)
        free = [document | position_below(epoch, document["index"]) for document in documents]
        free = [document for document in free if document["_id"] not in taken]
        if refused := await self._insert(free):
            taken |= await self._store_refused(refused)
        await self._check_life(room_id, epoch)
        for document in documents:
            if document["_id"] in taken:
                raise ConflictError(
                    f"event {document['_id']!r}, its index or its key is stored with other content"
                )

    async def _reserve(self, room_id: str, next_index: int) -> str:
        """Have the room's log give no index below `next_index`, and return the room's epoch."""
        log = RoomLog(self._connection)
        memory = current_operation().memory
        try:
            room, _ = await log.read(room_id)
            if room["next_index"] < next_index:
                room = await log.change(
                    room_id, lambda room: ({"$set": {"next_index": max(room["next_index"], next_index)}}, {})
                )
            if memory.setdefault("epoch", room["epoch"]) != room["epoch"]:
                raise NotFoundError("room", room_id)
        except NotFoundError:
            # An earlier attempt was for a room that was deleted since.
            if "epoch" in memory:
                await self._check_life(room_id, memory["epoch"])
            raise
        return str(room["epoch"])

    async def _check_life(self, room_id: str, epoch: str) -> None:
        """Refuse a room that was deleted in between, and take back what its deletion did not see."""
        late = {"room_id": room_id, "epoch": epoch, "index": HAS_INDEX}
        take_back = partial(self._events.update_many, late, emptied())
        if await take_back_if_gone(self._connection, room_id, epoch, take_back):
            raise NotFoundError("room", room_id)

    async def _taken(self, room_id: str, documents: Sequence[StoredDocument]) -> set[str]:
        """Return the ids of the documents whose index another event has."""
        indexes = {"$in": [document["index"] for document in documents]}
        found = await self._events.find_all({"room_id": room_id, "index": indexes}, {"index": 1})
        holders = {event["index"]: event["_id"] for event in found}
        return {one["_id"] for one in documents if holders.get(one["index"], one["_id"]) != one["_id"]}

    async def _insert(self, documents: list[StoredDocument]) -> list[StoredDocument]:
        """Store events, and return those of which an id, an index or a key is taken."""
        try:
            if documents:
                await self._events.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            refused = refused_writes(error)
            if not all(isinstance(one, DuplicateKeyError) for one in refused.values()):
                raise
            return [documents[number] for number in refused]
        return []

    async def _store_refused(self, refused: list[StoredDocument]) -> set[str]:
        """Store refused events after all if those that have their ids are deleted.

        Return the ids of the others that are not the same as what is stored.
        """
        found = await self._events.find_all({"_id": {"$in": [one["_id"] for one in refused]}})
        stored = {one["_id"]: one for one in found}
        deleted = {event_id: one["op"] for event_id, one in stored.items() if "emptied_at" in one}
        present = [one for one in refused if one["_id"] not in deleted]
        taken = {one["_id"] for one in present if not _is_equal(stored.get(one["_id"]), one)}
        # What was deleted since an earlier attempt, stays deleted.
        free = [one for one in refused if deleted.get(one["_id"], one["op"]) != one["op"]]
        if free:
            await free_ids(self._connection, [one["_id"] for one in free])
            # In a room that is the same one, their indexes are not given again.
            taken |= {one["_id"] for one in await self._insert(free)}
        return taken


def _is_equal(stored: StoredDocument | None, document: StoredDocument) -> bool:
    return stored is not None and is_same(to_event(stored).model_dump(), to_event(document).model_dump())


def _to_document(room_id: str, event: Event) -> StoredDocument:
    of_room = event.model_copy(update={"room_id": room_id})
    document = to_stored_event(of_room, current_operation().now) | {"op": life_token()}
    size = check_size(f"event {event.id!r}", document)
    return {**document, "merged_size": size, "index": check_position("index", event.index)}


class RoomTransfer(InternalRepository):
    """The parts of rooms and people that no public list has."""

    @reads
    async def read_state(self, room_id: str) -> tuple[int, dict[str, Any]]:
        """Return the index of a room's next event, and its private values.

        Raises:
            NotFoundError: If there is no such room.
        """
        room = await find_room(self._connection, check_id("room_id", room_id), {"ops": 0})
        room = self._check_found("room", room_id, room)
        return int(room["next_index"]), decode_members(room["private"])

    @long_running
    def iter_deliveries(self, room_id: str) -> AsyncIterator[VoiceDelivery]:
        """Yield the voice deliveries of a room."""
        of_room = {"room_id": check_id("room_id", room_id)}
        return walk(self._connection, "voice_deliveries", of_room, KeyOrder("_id"), to_delivery, None)

    @long_running
    def iter_identities(self) -> AsyncIterator[Identity]:
        """Yield the identities of all organizations and of none."""
        every = {"organization_id": {"$type": "string"}}
        return walk(self._connection, "identities", every, KeyOrder("_id"), to_identity, None)

    @long_running
    def iter_verifications(self) -> AsyncIterator[Verification]:
        """Yield all verifications."""
        return walk(self._connection, "verifications", {}, KeyOrder("_id"), to_verification, None)

    @long_running
    def iter_requests(self) -> AsyncIterator[VerificationRequest]:
        """Yield all requests for a verification."""
        return walk(self._connection, "verification_requests", {}, KeyOrder("_id"), to_request, None)
