"""How events are written: appended by the committer, changed and deleted in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id, check_members, check_position
from mongostore.codec import encode_members, escape_key, from_micros
from mongostore.documents.mapping import Raw, check_size, write_members
from mongostore.documents.rooms import to_event, to_replacement, to_stored_event
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import Event, EventUpdate
from mongostore.repositories import Connection, current_operation
from mongostore.repositories.rooms.commit_queue import Committer, Entry, Rewrite, key_taken
from mongostore.repositories.rooms.room_parts import in_room


class EventUpdates:
    """Writes events."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._committer = Committer(connection)

    async def append(self, room_id: str, event: Event, target: Event | None, activity: bool) -> Event:
        """Store an event at the next index, and change its target."""
        event, rewrite = in_room("event", event, Event, room_id), None
        if target is not None:
            target = in_room("target", target, Event, room_id)
            deletes = event.type == event.change == "delete" and event.target_event_id == target.id
            rewrite = Rewrite(target.id, to_replacement(target), deletes)
        return await self._commit(
            event, counted=True, activity=check_flag("activity", activity), rewrite=rewrite
        )

    async def create(self, room_id: str, event: Event) -> Event:
        """Store an event at its own index, or at the next one."""
        event = in_room("event", event, Event, room_id)
        if event.index is None:
            return await self._commit(event, counted=False, activity=False, rewrite=None)
        call = current_operation()
        stored = {**to_stored_event(event, call.now), "op": call.token}
        check_size(f"event {event.id!r}", stored)
        stored["index"] = check_position("index", event.index)

        async def insert(session: Any) -> None:
            room = await self._connection.collection("rooms").update_one(
                {"_id": room_id, "state": "open"},
                {"$max": {"next_index": stored["index"] + 1}},
                session=session,
            )
            if not room.matched_count:
                raise NotFoundError("room", room_id)
            await self._events.insert_one(stored, session=session)

        try:
            await self._connection.engine.transact(insert)
        except DuplicateKeyError:
            await self._committer.explain(stored)
        return to_event(stored)

    async def update(self, room_id: str, event_id: str, members: EventUpdate) -> Event:
        """Change the given members of an event and return it."""
        return await self._change(
            check_id("room_id", room_id), check_id("event_id", event_id), _update(members), None
        )

    async def replace(self, room_id: str, event: Event, erase_edits: bool) -> Event:
        """Replace an event in its place and return it."""
        event = in_room("event", event, Event, room_id)
        update = to_replacement(event)

        async def replace(session: Any) -> Event:
            replaced = await self._change(room_id, event.id, update, session)
            if erase_edits:
                await self._committer.erase_edits(room_id, event.id, session)
            return replaced

        try:
            return await (self._connection.engine.transact(replace) if erase_edits else replace(None))
        except DuplicateKeyError:
            raise key_taken(event.idempotency_key or "") from None

    async def remove(
        self, room_id: str, event_id: str, replies: bool, read: Callable[[Raw], Any] | None = None
    ) -> list[Any]:
        """Delete an event with all that belongs to it; return what `read` makes of them, else their ids."""
        check_id("room_id", room_id)
        check_id("event_id", event_id)
        check_flag("replies", replies)
        seen, fields = current_operation().memory, None if read else {"_id": 1}

        async def remove(session: Any) -> list[Any]:
            documents = await self._found({"room_id": room_id, "_id": event_id}, fields, session)
            if not documents:
                # An earlier attempt of this call may have been the one that did it.
                return seen.get("removed", []) if current_operation().attempt else []
            if replies:
                of_thread = {"room_id": room_id, "parent_event_id": event_id, "_id": {"$ne": event_id}}
                documents += await self._found(of_thread, fields, session)
            ids = [document["_id"] for document in documents]
            changes = {"room_id": room_id, "target_event_id": {"$in": ids, "$gte": ""}, "_id": {"$nin": ids}}
            documents += await self._found(changes, fields, session)
            ids = [document["_id"] for document in documents]
            seen["removed"] = ids if read is None else [read(document) for document in documents]
            await self._events.delete_many({"_id": {"$in": ids}}, session=session)
            return list(seen["removed"])

        return await self._connection.engine.transact(remove)

    @property
    def _events(self) -> Any:
        return self._connection.collection("events")

    async def _commit(self, event: Event, *, counted: bool, activity: bool, rewrite: Rewrite | None) -> Event:
        stored = to_stored_event(event, current_operation().now)
        size = check_size(f"event {event.id!r}", stored)
        index = await self._committer.commit(Entry(stored, size, counted, activity, rewrite))
        return event.model_copy(update={"index": index, "created_at": from_micros(stored["created_at"])})

    async def _change(self, room_id: str, event_id: str, update: Raw, session: Any) -> Event:
        document = await self._events.find_one_and_update(
            {"_id": event_id, "room_id": room_id},
            update,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if document is None:
            raise NotFoundError("event", event_id)
        return to_event(document)

    async def _found(self, filter: Raw, fields: Raw | None, session: Any) -> list[Raw]:
        async with self._events.find(filter, fields, sort=[("index", 1)], session=session) as found:
            documents: list[Raw] = await found.to_list()
        return documents


def _update(given_members: EventUpdate) -> Raw:
    """Return the update document for members of an event."""
    members = check_members(given_members, EventUpdate)
    metadata = members.pop("metadata", {})
    encoded = encode_members("metadata", metadata)
    sets: Raw = {f"metadata.{name}": value for name, value in encoded.items() if value is not None}
    sets |= write_members(Event, members)
    check_size("the event's update", sets)
    update: Raw = {"$set": sets} if sets else {}
    if gone := {f"metadata.{escape_key(key)}": "" for key, value in metadata.items() if value is None}:
        update["$unset"] = gone
    if not update:
        raise InvalidValueError("members", "there is nothing to change")
    return update
