"""Changes of rooms: their members, how far they are delivered, and what is private about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from mongostore.arguments import (
    check_flag,
    check_id,
    check_members,
    check_position,
    check_text,
    take_metadata,
)
from mongostore.codec import encode_members
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument, check_instance, write_members
from mongostore.documents.rooms import second_of, to_room, to_stored_room
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidValueError, NotFoundError
from mongostore.models import Room, RoomCreate, RoomState, RoomUpdate
from mongostore.repositories import CollectionOf, Connection, current_operation
from mongostore.repositories.expiry import is_expired, resolve_expiry
from mongostore.repositories.operation import find_done, life_token, not_made_since, remember
from mongostore.repositories.rooms.room_counters import HAS_INDEX, PUBLIC_FIELDS, count_rooms_events
from mongostore.repositories.rooms.room_log import MERGED, LogHead, RoomLog, emptied, update_room
from mongostore.repositories.rooms.room_lookup import open_room_filter

_METADATA = "metadata."
# The collections of what belongs to rooms, beside events.
PARTS = ("bindings", "participants", "tasks", "observations", "read_markers", "voice_deliveries")


class RoomUpdates:
    """Creates, changes and deletes rooms."""

    _events = CollectionOf("events")
    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection, log: RoomLog) -> None:
        self._connection = connection
        self._log = log

    async def create(
        self, room_id: str | None, arguments: Mapping[str, Any], *, may_exist: bool, epoch: str | None = None
    ) -> Room:
        """Create a room, or return the one that is there if it may be.

        Args:
            room_id: The room's id, None for a new one.
            arguments: Its members.
            may_exist: Whether it may be there.
            epoch: Its life, by default that of the call, by which a retry knows what it has created.
        """
        call = current_operation()
        key = call.token if room_id is None else check_id("room_id", room_id)
        epoch = epoch or life_token()
        stored = to_new_room(key, arguments) | {"epoch": epoch}
        while True:
            if call.attempt and await self.was_deleted(key, epoch):
                return to_room({"_id": key, **stored})
            existing = await self._rooms.find_one_and_update(
                {"_id": key}, {"$setOnInsert": stored}, PUBLIC_FIELDS, upsert=True
            )
            if existing is None:
                self._log.remember(key, LogHead.of_room(stored, None))
            if existing is None or existing["epoch"] == epoch:
                # Each attempt names a log of its own: that of an earlier one is not known here.
                return to_room({"_id": key, **stored})
            # By now, as commits have it, and not when the call began.
            if is_expired(existing, self._connection.clock.now()):
                await self.delete_expired(existing)
                continue
            if existing["state"] == "open":
                if not may_exist:
                    raise AlreadyExistsError("room", key)
                (existing,) = await count_rooms_events(self._connection, [existing])
                return to_room(existing)
            if existing["state"] == "deleted":
                # Erased with a person.
                raise NotFoundError("room", key) if may_exist else AlreadyExistsError("room", key)
            await self.finish_delete(existing)

    async def update(self, room_id: str, arguments: RoomUpdate) -> Room:
        """Change members of a room and return it."""
        call, members = current_operation(), resolve_expiry(check_members(arguments, RoomUpdate))
        metadata, removed = take_metadata(members)
        sets = write_members(Room, members)
        sets |= {f"{_METADATA}{name}": value for name, value in metadata.items()}
        update: StoredDocument = {"$set": {**sets, "updated_at": call.now}, "$push": remember(call.token)}
        if removed:
            update["$unset"] = {f"{_METADATA}{name}": "" for name in removed}
        return await self._change(check_id("room_id", room_id), lambda room: (update, {}))

    async def replace(self, room: Room, expected: RoomState | None) -> Room:
        """Replace a room that is still in the expected state, and return it."""
        call, guard = current_operation(), StoredDocument()
        sets = to_stored_room(room, call.now)
        for name in ("created_at", "expires_at", "name"):
            if getattr(room, name) is None:
                del sets[name]
        if expected is not None:
            guard = write_members(Room, asdict(check_instance("expected", expected, RoomState)))
        check_id("room_id", room.id)
        created: list[int] = []

        def decide(existing: StoredDocument) -> tuple[StoredDocument, StoredDocument]:
            created.append(existing["created_at"])
            if any(existing[name] != value for name, value in guard.items()):
                raise ConflictError(f"room {room.id!r} is in another state by now")
            unmoved = {name: existing[name] for name in guard if name != "active_at"}
            return {"$set": sets, "$push": remember(call.token)}, unmoved

        replaced = await self._change(room.id, decide)
        if "created_at" in sets and created[-1:] != [sets["created_at"]]:
            # They are listed in the order of their rooms.
            for name in ("bindings", "participants"):
                await self._connection.collection(name).update_many(
                    {"room_id": room.id}, {"$set": {"room_created_at": sets["created_at"]}}
                )
        return replaced

    async def advance_delivered_index(self, room_id: str, index: int, force: bool) -> bool:
        """Move the delivered index to `index` and return whether it moved."""
        if type(index) is not int or abs(index) >= 2**62:
            raise InvalidValueError("index", "must be an integer")
        call = current_operation()
        before: Any = {"$lt": index} if check_flag("force", force) else index - 1
        room = {**open_room_filter(room_id), **not_made_since("epoch")}
        moved = await self._rooms.update_one(
            {**room, "delivered_index": before, "ops": {"$ne": call.token}},
            {"$set": {"delivered_index": index}, "$push": remember(call.token)},
        )
        return bool(moved.matched_count) or bool(await find_done(self._rooms, room))

    async def set_private(self, room_id: str, key: str, value: Any) -> None:
        """Store a private value of a room, and remove the key from its metadata."""
        encoded = encode_members("private", {check_text("key", key): value})
        ((name, stored),) = encoded.items()
        update: StoredDocument = {
            "$unset": {f"{_METADATA}{name}": ""},
            "$push": remember(current_operation().token),
        }
        if value is None:
            update["$unset"][f"private.{name}"] = ""
        else:
            update["$set"] = {f"private.{name}": stored}
        open_room = {**open_room_filter(room_id), **not_made_since("epoch")}
        once = {**open_room, "ops": {"$ne": current_operation().token}}
        if not await update_room(self._connection, once, update) and not await find_done(
            self._rooms, open_room
        ):
            raise NotFoundError("room", room_id)

    async def delete(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it and return whether it was there."""
        return await self.delete_if(check_id("room_id", room_id), {})

    async def delete_if(self, room_id: str, guard: StoredDocument) -> bool:
        """Delete a room whose fields are those of a guard; with `expires_at` also one that has expired."""
        call = current_operation()

        def decide(room: StoredDocument) -> tuple[StoredDocument, StoredDocument]:
            is_same = call.memory.setdefault("deleting", room["epoch"]) == room["epoch"]
            if not is_same or any(room.get(name) != value for name, value in guard.items()):
                # An earlier attempt has deleted the one of this call; this one was made since.
                raise NotFoundError("room", room_id)
            unmoved = {name: value for name, value in guard.items() if name != "active_at"}
            ends = {"state": "deleting", "delete_op": call.token, "deleted_at": self._connection.clock.now()}
            return {"$set": ends}, unmoved

        room: StoredDocument | None
        try:
            room = await self._log.change(room_id, decide, is_expired="expires_at" in guard)
        except NotFoundError:
            room = await self._rooms.find_one({"_id": room_id, "state": "deleting"}, PUBLIC_FIELDS)
        if room is not None:
            await self.finish_delete(room)
            if room["epoch"] == call.memory.get("deleting", room["epoch"]):
                return bool(room["delete_op"] == call.token)
        return call.attempt > 0 and "deleting" in call.memory

    async def _change(
        self, room_id: str, decide: Callable[[StoredDocument], tuple[StoredDocument, StoredDocument]]
    ) -> Room:
        """Change a room, once, and return it."""
        call = current_operation()

        def decide_once(room: StoredDocument) -> tuple[StoredDocument, StoredDocument]:
            if call.token in room["ops"]:
                raise _DoneError(room)
            if call.meets_another("life", room["epoch"]):
                raise NotFoundError("room", room["_id"])
            return decide(room)

        try:
            return to_room(await self._log.change(room_id, decide_once))
        except _DoneError as done:
            return to_room(done.room)

    async def was_deleted(self, room_id: str, epoch: str) -> bool:
        """Return whether a room of this life was deleted lately: its last fence is still there."""
        if await self._rooms.find_one({"_id": room_id, "epoch": epoch}, {"_id": 1}) is not None:
            return False
        of_life = {"room_id": room_id, "epoch": epoch}
        return await self._events.find_one(of_life, {"_id": 1}) is not None

    async def delete_expired(self, room: StoredDocument) -> None:
        """Delete a room that has expired, unless it was changed since."""
        await self.delete_if(room["_id"], {"expires_at": room["expires_at"]})
        # The call may meet another one of that id.
        current_operation().memory.pop("deleting", None)

    async def finish_delete(self, room: StoredDocument) -> None:
        """Delete all that belongs to a room that is no longer found, and the room last.

        A room that was made since under its id has another epoch. A part that was stored while there was no
        room has none, and goes with the first room, unless it came after that.
        """
        own, epoch, now = {"room_id": room["_id"]}, room["epoch"], current_operation().now
        waiting = {"epoch": None, "stored_at": {"$not": {"$gt": room.get("deleted_at", now)}}}
        events = {**own, "epoch": {"$in": [epoch, None]}, "index": HAS_INDEX}
        await self._events.update_many(events, emptied())
        for name in PARTS:
            await self._connection.collection(name).delete_many({**own, "$or": [{"epoch": epoch}, waiting]})
        await self._rooms.delete_one({"_id": room["_id"], "state": "deleting", "epoch": epoch})


class _DoneError(Exception):
    """An earlier attempt of the call has changed the room."""

    def __init__(self, room: StoredDocument) -> None:
        super().__init__()
        self.room = room


def to_new_room(room_id: str, arguments: Mapping[str, Any]) -> StoredDocument:
    """Return the stored form of a new room, with its counters, but without its id and epoch."""
    members = resolve_expiry(check_members(arguments, RoomCreate))
    next_index = check_position("next_index", members.pop("next_index", 0))
    room = Room.model_construct(id=room_id, **members)
    latest = None if room.latest_index is None else check_position("latest_index", room.latest_index)
    delivered = room.delivered_index
    stored = to_stored_room(room, current_operation().now)
    return stored | {
        **MERGED.count(room_id, stored),
        "private": {},
        "event_count": check_position("event_count", room.event_count),
        "latest_index": latest,
        "delivered_index": delivered if delivered == -1 else check_position("delivered_index", delivered),
        "log": uuid4().hex,
        "next_index": max(next_index, 0 if latest is None else latest + 1),
        "listed_at": second_of(stored["active_at"] or stored["created_at"]),
        "next_part_position": 0,
        "state": "open",
        "ops": [],
        "delete_op": None,
        "schema_version": SCHEMA_VERSION,
    }
