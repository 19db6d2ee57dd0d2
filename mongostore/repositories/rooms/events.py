"""Events: committed, changed, deleted and watched; `store.events` also reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Unpack

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.documents.rooms import to_event, to_rewrite, to_stored_event
from mongostore.documents.stored import Raw, check_size, given, write_members
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import Event, EventMembers
from mongostore.repositories import Connection, current_call, long_running, writes
from mongostore.repositories.rooms.committing import Committer, Entry, Rewrite, key_taken
from mongostore.repositories.rooms.tailing import Tailer
from mongostore.repositories.rooms.timeline import Timeline
from mongostore.values import (
    check_flag,
    check_id,
    check_members,
    check_position,
    escape_key,
    from_micros,
    pack_members,
    pack_object,
)


class EventRepository(Timeline):
    """The events of all rooms.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` when the server does not answer within the store's timeout, `AccessDeniedError`
    when the user lacks the right, and `NotOpenError` on a store that is not open.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._committer = Committer(connection)
        self._tailer = Tailer(connection)

    @writes
    async def commit(self, event: Event, *, target: Event | None = None, activity: bool = True) -> Event:
        """Give an event the next index of its room, store it and move the room's counters, as one step.

        Events of one room become visible in the order of their indexes, whoever commits them. On a server
        without transactions a crash midway may leave an index that no event has.

        Args:
            event: The event; an index that it has is ignored.
            target: The event that this one edits or deletes, as it is to be: replaced in the same step.
                A delete also marks all edits of its target, which hold what it said, as deleted.
            activity: Whether the room was active by that: moves `last_activity_at`, wakes a paused room.

        Returns:
            The event with its index.

        Raises:
            NotFoundError: There is no such room, or it has no such target; nothing was written.
            AlreadyExistsError: The event's id is taken, or its idempotency key in its room and channel
                (`kind` tells which); nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        rewrite = None
        given("event", event, Event)
        if target is not None:
            update = to_rewrite(target)
            deletes = event.type == event.change == "delete" and event.target_event_id == target.id
            rewrite = Rewrite(check_id("target", target.id), update, deletes)
        return await self._commit(
            event, counted=True, activity=check_flag("activity", activity), rewrite=rewrite
        )

    @writes
    async def create(self, event: Event) -> Event:
        """Store an event at its own index, or at the next one if it has none; the room's counters stay.

        Returns:
            The event with its index.

        Raises:
            NotFoundError: There is no such room.
            AlreadyExistsError: Its id, its index or its idempotency key is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        if given("event", event, Event).index is None:
            return await self._commit(event, counted=False, activity=False, rewrite=None)
        call = current_call()
        stored = {**to_stored_event(event, call.now), "token": call.token}
        check_size(f"event {event.id!r}", stored)
        stored["index"] = check_position("index", event.index)

        async def insert(session: Any) -> None:
            room = await self._connection.collection("rooms").update_one(
                {"_id": event.room_id, "state": "open"},
                {"$max": {"next_index": stored["index"] + 1}},
                session=session,
            )
            if not room.matched_count:
                raise NotFoundError("room", event.room_id)
            await self._events.insert_one(stored, session=session)

        try:
            await self._connection.engine.transact(insert)
        except DuplicateKeyError:
            await self._committer.explain(stored)
        return to_event(stored)

    @writes
    async def update(self, event_id: str, **members: Unpack[EventMembers]) -> Event:
        """Change the given members of an event; the others stay.

        Args:
            event_id: The event.
            **members: Those of `EventMembers`; `metadata` is merged key by key, None removing a key.

        Returns:
            The event as it now is.

        Raises:
            NotFoundError: There is no such event.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        raw = await self._events.find_one_and_update(
            {"_id": check_id("event_id", event_id)},
            _update(check_members(members, EventMembers)),
            return_document=ReturnDocument.AFTER,
        )
        if raw is None:
            raise NotFoundError("event", event_id)
        return to_event(raw)

    @writes
    async def replace(self, event: Event, *, erase_edits: bool = False) -> None:
        """Replace all members of an event but its index, its creation and what became of its delivery.

        Args:
            event: The event as it is to be.
            erase_edits: Mark all edits of it, which hold what it said, as deleted in the same step.

        Raises:
            NotFoundError: Its room has no such event.
            AlreadyExistsError: Its idempotency key is taken by another event.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        update = to_rewrite(event)
        rewrite = Rewrite(event.id, update, check_flag("erase_edits", erase_edits))
        room_id = check_id("room_id", event.room_id)
        try:
            if erase_edits:
                await self._connection.engine.transact(
                    lambda session: self._committer.rewrite(room_id, rewrite, session)
                )
            else:
                await self._committer.rewrite(room_id, rewrite, None)
        except DuplicateKeyError:
            raise key_taken(event.idempotency_key or "") from None

    @writes
    async def record_delivery(self, room_id: str, event_id: str, results: dict[str, Any]) -> bool:
        """Note what became of an event's delivery, and nothing else of it; return whether the room has it.

        Raises:
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: They take more than a document can hold.
        """
        packed = {"delivery_results": pack_object("results", results)}
        check_size("the delivery's results", packed)
        event = {"_id": check_id("event_id", event_id), "room_id": check_id("room_id", room_id)}
        return bool((await self._events.update_one(event, {"$set": packed})).matched_count)

    @writes
    async def delete(self, room_id: str, event_id: str, *, replies: bool = True) -> list[Event]:
        """Delete an event for good, with all edits and deletes of what goes; counters and indexes stay.

        Args:
            room_id: The room.
            event_id: The event.
            replies: Whether the replies in the thread that it began go with it.

        Returns:
            What went: the event, its replies, then the changes, each by index; nothing if the room has no
            such event.

        Raises:
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: One of them cannot be read; nothing was deleted.
        """
        check_id("room_id", room_id)
        check_id("event_id", event_id)
        check_flag("replies", replies)
        seen = current_call().seen

        async def remove(session: Any) -> list[Event]:
            raws = await self._found({"room_id": room_id, "_id": event_id}, session)
            if not raws:
                # An earlier attempt of this call may have been the one that did it.
                return seen.get("removed", []) if current_call().attempt else []
            if replies:
                of_thread = {"room_id": room_id, "parent_event_id": event_id, "_id": {"$ne": event_id}}
                raws += await self._found(of_thread, session)
            ids = [raw["_id"] for raw in raws]
            changes = {"room_id": room_id, "target_event_id": {"$in": ids, "$gte": ""}, "_id": {"$nin": ids}}
            raws += await self._found(changes, session)
            seen["removed"] = [to_event(raw) for raw in raws]
            await self._events.delete_many({"_id": {"$in": [raw["_id"] for raw in raws]}}, session=session)
            return list(seen["removed"])

        return await self._connection.engine.transact(remove)

    @long_running
    async def watch(self, room_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """Yield a room's events as they are committed, each once and in order, until the room is deleted.

        Needs a replica set or the embedded engine. A connection that is lost is made again, and the watching
        goes on behind the last event; whoever starts anew hands its index to `after`.

        Args:
            room_id: The room.
            after: Begin with the events above this index, -1 for all; None for those from now on.

        Raises:
            NotFoundError: There is no such room.
            UnsupportedError: This deployment has no change streams.
            InvalidValueError: An argument is of the wrong type.
        """
        check_id("room_id", room_id)
        if after is not None and (type(after) is not int or not -1 <= after < 2**62):
            raise InvalidValueError("after", "must be an index, an integer from -1")
        async with aclosing(self._tailer.tail(room_id, after)) as events:
            async for event in events:
                yield event

    async def _commit(self, event: Event, *, counted: bool, activity: bool, rewrite: Rewrite | None) -> Event:
        stored = to_stored_event(event, current_call().now)
        size = check_size(f"event {event.id!r}", stored)
        index = await self._committer.commit(Entry(stored, size, counted, activity, rewrite))
        return event.model_copy(update={"index": index, "created_at": from_micros(stored["created_at"])})

    async def _found(self, conditions: Raw, session: Any) -> list[Raw]:
        async with self._events.find(conditions, sort=[("index", 1)], session=session) as found:
            raws: list[Raw] = await found.to_list()
        return raws


def _update(members: dict[str, Any]) -> Raw:
    """Return the update document for members of an event."""
    notes = members.pop("metadata", {})
    packed = pack_members("metadata", notes)
    sets: Raw = {f"metadata.{name}": value for name, value in packed.items() if value is not None}
    sets |= write_members(Event, members)
    check_size("the event's update", sets)
    update: Raw = {"$set": sets} if sets else {}
    if gone := {f"metadata.{escape_key(key)}": "" for key, value in notes.items() if value is None}:
        update["$unset"] = gone
    if not update:
        raise InvalidValueError("members", "there is nothing to change")
    return update
