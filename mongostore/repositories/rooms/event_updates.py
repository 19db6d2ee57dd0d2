"""Writes of events: appended by the queue of commits, changed and deleted in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import (
    check_create,
    check_flag,
    check_id,
    check_members,
    check_position,
    take_metadata,
)
from mongostore.codec import from_micros
from mongostore.documents.mapping import MAX_VALUE_BYTES, StoredDocument, check_size, write_members
from mongostore.documents.rooms import to_event, to_replacement, to_stored_event
from mongostore.errors import IdempotencyKeyError, InvalidValueError, NotFoundError
from mongostore.models import Event, EventUpdate, RoomCreate
from mongostore.repositories import CollectionOf, Connection, current_operation
from mongostore.repositories.expiry import is_expired
from mongostore.repositories.operation import find_done, life_token, not_made_since, update_once
from mongostore.repositories.rooms.commit_queue import CommitQueue
from mongostore.repositories.rooms.pending_events import PendingEvent, TargetReplacement
from mongostore.repositories.rooms.room_counters import HAS_EPOCH, HAS_INDEX
from mongostore.repositories.rooms.room_log import RoomLog, emptied
from mongostore.repositories.rooms.room_lookup import open_room_filter
from mongostore.repositories.rooms.room_parts import in_room
from mongostore.repositories.rooms.room_updates import RoomUpdates, to_new_room
from mongostore.repositories.size_limits import SizeLimit

# The rest of an event is short.
_MERGED = SizeLimit("event", ("content", "data", "metadata", "delivery_results"), MAX_VALUE_BYTES)


class EventUpdates:
    """Writes events."""

    _events = CollectionOf("events")
    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection, log: RoomLog) -> None:
        self._connection = connection
        self._log = log
        self._room_updates = RoomUpdates(connection, log)
        self._queue = CommitQueue(connection, log)

    async def append(
        self, room_id: str, event: Event, create: bool | RoomCreate, target: Event | None, activity: bool
    ) -> Event:
        """Store an event at the next index, and change its target."""
        created, new_room = check_create(create), StoredDocument()
        if created:
            # What is wrong with them is said whether or not the room is there.
            new_room = to_new_room(check_id("room_id", room_id), created)
        event, replacement = in_room("event", event, Event, room_id), None
        if target is not None:
            target = in_room("target", target, Event, room_id)
            deletes = event.type == event.change == "delete" and event.target_event_id == target.id
            replacement = TargetReplacement(target.id, to_replacement(target), deletes)
        check_flag("activity", activity)
        commit = partial(self._commit, is_counted=True, is_activity=activity, target=replacement)
        # That of the call at first, by which a retry knows the room that it has created.
        life = life_token()
        while True:
            try:
                return await commit(event, None)
            except NotFoundError as error:
                # One that has expired would be missing again.
                is_missing = error.kind == "room" and not is_expired(new_room, self._connection.clock.now())
                if created is None or target or not is_missing:
                    raise
                if await self._was_done(room_id, event.id, life):
                    raise
            await self._room_updates.create(room_id, created, may_exist=True, epoch=life)
            # Then another one each time: a late deletion removes what belongs to the life that it has met.
            life = life_token(uuid4().hex)

    async def create(self, room_id: str, event: Event) -> Event:
        """Store an event at its own index, or at the next one."""
        event = in_room("event", event, Event, room_id)
        index = None if event.index is None else check_position("index", event.index)
        return await self._commit(event, index, is_counted=False, is_activity=False)

    async def update(self, room_id: str, event_id: str, members: EventUpdate) -> Event:
        """Change members of an event and return it."""
        return await self._change(
            check_id("room_id", room_id), check_id("event_id", event_id), _update(members), None
        )

    async def replace(self, room_id: str, event: Event, erase_edits: bool) -> Event:
        """Replace an event in its place and return it."""
        event = in_room("event", event, Event, room_id)
        update = to_replacement(event)

        async def replace(session: Any) -> Event:
            own = _own_filter(room_id, event.id)
            done = await find_done(self._events, own, session=session)
            replaced = to_event(done) if done else await self._change(room_id, event.id, update, session)
            # Without transactions an earlier attempt may have come no further.
            if erase_edits and not (done and self._connection.has_transactions):
                await self._queue.mark_edits(room_id, event.id, session)
            return replaced

        try:
            return await (self._connection.engine.transact(replace) if erase_edits else replace(None))
        except DuplicateKeyError:
            raise IdempotencyKeyError(event.idempotency_key or "") from None

    async def remove(
        self, room_id: str, event_id: str, replies: bool, read: Callable[[StoredDocument], Any] | None = None
    ) -> list[Any]:
        """Delete an event with all that belongs to it; return what `read` makes of them, else their ids."""
        check_id("room_id", room_id)
        check_id("event_id", event_id)
        check_flag("replies", replies)
        call = current_operation()
        fields = dict.fromkeys(("op", "log", "index"), 1) if read is None else None

        async def remove(session: Any) -> list[Any] | None:
            documents = await self._find_with_changes(room_id, event_id, replies, fields, session)
            # Behind them: what of them is not in its open log, is in an older one.
            open_room, of_log = open_room_filter(room_id), {"log": 1}
            room = await self._rooms.find_one(open_room, of_log, session=session) if documents else None
            # An earlier attempt of this call may have been the one that did it.
            if not room or call.memory.get("op", documents[0]["op"]) != documents[0]["op"]:
                return call.memory.get("removed", []) if call.attempt else []
            ids = [document["_id"] for document in documents]
            removed = ids if read is None else [read(document) for document in documents]
            newest = max(documents, key=lambda document: document["index"])
            is_in_open_log = newest["log"] == room["log"]
            if is_in_open_log and not await self._has_later(room_id, newest["index"], session):
                return None
            call.memory |= {"op": documents[0]["op"], "removed": removed}
            events = {"room_id": room_id, "_id": {"$in": ids}}
            await self._events.update_many(events, emptied(), session=session)
            return removed

        while (removed := await self._connection.engine.transact(remove)) is None:
            # The room's counters are those of its newest event: first they go into the room.
            try:
                await self._log.change(room_id, lambda room: ({}, {}))
            except NotFoundError:
                return []
        return removed

    async def _commit(
        self,
        event: Event,
        index: int | None,
        *,
        is_counted: bool,
        is_activity: bool,
        target: TargetReplacement | None = None,
    ) -> Event:
        stored = to_stored_event(event, current_operation().now)
        size = check_size(f"event {event.id!r}", stored)
        stored[_MERGED.field] = size
        pending = PendingEvent(stored, size, is_counted, is_activity, target, index)
        index = await self._queue.commit(pending)
        return event.model_copy(update={"index": index, "created_at": from_micros(stored["created_at"])})

    async def _was_done(self, room_id: str, event_id: str, life: str) -> bool:
        """Return whether an earlier attempt has stored an event, or created its room; the room is gone."""
        own = {"_id": event_id, "room_id": room_id, "op": life_token()}
        return current_operation().attempt > 0 and (
            await self._events.find_one(own, {"_id": 1}) is not None
            or await self._room_updates.was_deleted(room_id, life)
        )

    async def _change(self, room_id: str, event_id: str, update: StoredDocument, session: Any) -> Event:
        event = _own_filter(room_id, event_id)
        run = partial(update_once, self._events, session=session)
        document = await _MERGED.write(self._events, event_id, event, update, run)
        if document is None:
            raise NotFoundError("event", event_id)
        return to_event(document)

    async def _find_with_changes(
        self, room_id: str, event_id: str, replies: bool, fields: StoredDocument | None, session: Any
    ) -> list[StoredDocument]:
        """Return an event, its replies if they are asked for, and the edits and deletes of all of them."""
        documents = await self._found(
            {"room_id": room_id, "_id": event_id, "index": HAS_INDEX}, fields, session
        )
        if not documents:
            return []
        if replies:
            of_event = {"room_id": room_id, "parent_event_id": event_id, "_id": {"$ne": event_id}}
            documents += await self._found(of_event, fields, session)
        ids = [document["_id"] for document in documents]
        changes = {"room_id": room_id, "target_event_id": {"$in": ids, "$gte": ""}, "_id": {"$nin": ids}}
        return documents + await self._found(changes, fields, session)

    async def _has_later(self, room_id: str, index: int, session: Any) -> bool:
        later = {"room_id": room_id, "index": {"$gt": index}, "epoch": HAS_EPOCH}
        return await self._events.find_one(later, {"_id": 1}, session=session) is not None

    async def _found(
        self, filter: StoredDocument, fields: StoredDocument | None, session: Any
    ) -> list[StoredDocument]:
        return await self._events.find_all(filter, fields, sort=[("index", 1)], session=session)


def _own_filter(room_id: str, event_id: str) -> StoredDocument:
    """Return the filter of an event that is there, and was when the call began."""
    return {"_id": event_id, "room_id": room_id, "index": HAS_INDEX, **not_made_since("op")}


def _update(arguments: EventUpdate) -> StoredDocument:
    """Return the update document for members of an event."""
    members = check_members(arguments, EventUpdate)
    metadata, removed = take_metadata(members)
    sets = write_members(Event, members) | {f"metadata.{name}": value for name, value in metadata.items()}
    check_size("the event's update", sets)
    update: StoredDocument = {"$set": sets} if sets else {}
    if removed:
        update["$unset"] = {f"metadata.{name}": "" for name in removed}
    if not update:
        raise InvalidValueError("members", "there is nothing to change")
    return update
