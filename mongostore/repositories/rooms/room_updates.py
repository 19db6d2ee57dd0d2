"""Changes of rooms: their members, how far they are delivered, and what is private about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pymongo import ReturnDocument

from mongostore.arguments import check_flag, check_id, check_list, check_members, check_position, check_text
from mongostore.codec import encode_members, escape_key
from mongostore.documents.mapping import (
    MAX_VALUE_BYTES,
    SCHEMA_VERSION,
    Raw,
    check_instance,
    write_members,
)
from mongostore.documents.rooms import to_room, to_stored_room
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidValueError, NotFoundError
from mongostore.models import Room, RoomCreate, RoomState, RoomUpdate
from mongostore.repositories import Connection, current_operation
from mongostore.repositories.rooms.room_lookup import PUBLIC_FIELDS, open_room_filter
from mongostore.repositories.size_limits import SizeLimit

_METADATA = "metadata."
# The rest of a room is short.
_MERGED = SizeLimit("room", ("data", "metadata", "private"), MAX_VALUE_BYTES)
_STATE = {"state": 1, "update_op": 1}
_PARTS = (
    *("events", "bindings", "participants", "tasks", "observations", "read_markers", "voice_deliveries"),
)


class RoomUpdates:
    """Creates, changes and deletes rooms."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, room_id: str | None, given_members: RoomCreate, *, may_exist: bool) -> Room:
        """Create a room, or return the one that is there if it may be."""
        call, members = current_operation(), check_members(given_members, RoomCreate)
        key = call.token if room_id is None else check_id("room_id", room_id)
        next_index = check_position("next_index", members.pop("next_index", 0))
        stored = _to_new_room(Room.model_construct(id=key, **members), next_index)
        while True:
            existing = await self._rooms.find_one_and_update(
                {"_id": key}, {"$setOnInsert": stored}, PUBLIC_FIELDS if may_exist else _STATE, upsert=True
            )
            if existing is None or (call.attempt and existing["update_op"] == call.token):
                return to_room({"_id": key, **stored})
            if existing["state"] == "open":
                if may_exist:
                    return to_room(existing)
                raise AlreadyExistsError("room", key)
            await self.finish_delete(key)

    async def update(self, room_id: str, given_members: RoomUpdate) -> Room:
        """Change the given members of a room and return it."""
        members = check_members(given_members, RoomUpdate)
        metadata, unset = members.pop("metadata", {}), members.pop("unset", None)
        if not isinstance(metadata, dict):
            raise InvalidValueError("metadata", f"must be a dict, not {type(metadata).__name__}")
        if unset is None:
            removed = [_check_key(key) for key, value in metadata.items() if value is None]
            metadata = {key: value for key, value in metadata.items() if value is not None}
        else:
            removed = [key for key in _unset_keys(unset) if key not in metadata]
        encoded = encode_members("metadata", metadata)
        sets = write_members(Room, members) | {f"{_METADATA}{name}": value for name, value in encoded.items()}
        update: Raw = {"$set": {**sets, "updated_at": current_operation().now}}
        if removed:
            update["$unset"] = {f"{_METADATA}{escape_key(key)}": "" for key in removed}
        return to_room(await self._change(room_id, update))

    async def replace(self, room: Room, expected: RoomState | None) -> Room:
        """Replace a room that is still in the expected state, and return it."""
        call = current_operation()
        sets = {**to_stored_room(room, call.now), "update_op": call.token}
        del sets["created_at"]
        guard: Raw = {}
        if expected is not None:
            guard = write_members(Room, asdict(check_instance("expected", expected, RoomState)))
        return to_room(await self._change(room.id, {"$set": sets}, guard))

    async def advance_delivered_index(self, room_id: str, index: int, force: bool) -> bool:
        """Move the delivered index to `index` and return whether it moved."""
        if type(index) is not int or abs(index) >= 2**62:
            raise InvalidValueError("index", "must be an integer")
        call = current_operation()
        before: Any = {"$lt": index} if check_flag("force", force) else index - 1
        moved = await self._rooms.update_one(
            {**open_room_filter(room_id), "delivered_index": before},
            {"$set": {"delivered_index": index, "delivered_op": call.token}},
        )
        if moved.matched_count or call.attempt == 0:
            return bool(moved.matched_count)
        # An earlier attempt of this call may have been the one that did it.
        own = {**open_room_filter(room_id), "delivered_op": call.token}
        return await self._rooms.find_one(own, {"_id": 1}) is not None

    async def set_private(self, room_id: str, key: str, value: Any) -> None:
        """Store a value about a room outside its members, and remove the key from its metadata."""
        encoded = encode_members("private", {check_text("key", key): value})
        ((name, stored),) = encoded.items()
        update: Raw = {"$unset": {f"{_METADATA}{name}": ""}}
        if value is None:
            update["$unset"][f"private.{name}"] = ""
        else:
            update["$set"] = {f"private.{name}": stored}
        run = partial(self._rooms.find_one_and_update, projection={"_id": 1})
        if await _MERGED.write(self._rooms, room_id, open_room_filter(room_id), update, run) is None:
            raise NotFoundError("room", room_id)

    async def delete(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it and return whether it was there."""
        call = current_operation()
        document = await self._rooms.find_one_and_update(
            open_room_filter(room_id), {"$set": {"state": "deleting", "update_op": call.token}}, {"_id": 1}
        )
        if document is None:
            document = await self._rooms.find_one({"_id": room_id}, {"update_op": 1})
            if document is None:
                return "deleted" in call.memory
            if document["update_op"] == call.token:
                call.memory["deleted"] = True
        else:
            call.memory["deleted"] = True
        await self.finish_delete(room_id)
        return "deleted" in call.memory

    async def finish_delete(self, room_id: str) -> None:
        """Delete all that belongs to a room that is no longer found, and the room last."""
        for parts in _PARTS:
            await self._connection.collection(parts).delete_many({"room_id": room_id})
        await self._rooms.delete_one({"_id": room_id, "state": "deleting"})

    async def _change(self, room_id: str, update: Raw, guard: Raw | None = None) -> Raw:
        """Update a room that is still as the guard says, and return its document.

        Raises:
            NotFoundError: If there is no such room.
            ConflictError: If it is not as the guard says.
            DocumentTooLargeError: If it would be too large.
        """
        filter = {**open_room_filter(room_id), **(guard or {})}
        run = partial(
            self._rooms.find_one_and_update, projection=PUBLIC_FIELDS, return_document=ReturnDocument.AFTER
        )
        document: Raw | None = await _MERGED.write(self._rooms, room_id, filter, update, run)
        if document is None:
            document = await self._rooms.find_one(open_room_filter(room_id), PUBLIC_FIELDS)
            if document is None:
                raise NotFoundError("room", room_id)
            if "update_op" not in update["$set"] or document["update_op"] != update["$set"]["update_op"]:
                raise ConflictError(f"room {room_id!r} is in another state by now")
        return document

    @property
    def _rooms(self) -> Any:
        return self._connection.collection("rooms")


def _to_new_room(room: Room, next_index: int) -> Raw:
    """Return the stored form of a new room, with the counters that it brings, but without its id.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    call = current_operation()
    latest = None if room.latest_index is None else check_position("latest_index", room.latest_index)
    delivered = room.delivered_index
    stored = to_stored_room(room, call.now)
    return stored | {
        **_MERGED.count(room.id, stored),
        "private": {},
        "event_count": check_position("event_count", room.event_count),
        "latest_index": latest,
        "delivered_index": delivered if delivered == -1 else check_position("delivered_index", delivered),
        "next_index": max(next_index, 0 if latest is None else latest + 1),
        "next_part_position": 0,
        "state": "open",
        "update_op": call.token,
        "delivered_op": None,
        "schema_version": SCHEMA_VERSION,
    }


def _unset_keys(unset: Sequence[str]) -> list[str]:
    """Return the keys of metadata that are to be removed."""
    check_list("unset", unset)
    if not all(type(path) is str and path.startswith(_METADATA) for path in unset):
        raise InvalidValueError("unset", "must be a list of texts that begin with 'metadata.'")
    return [path.removeprefix(_METADATA) for path in unset]


def _check_key(key: object) -> str:
    # Any key may be among the metadata, even one that no text can be.
    if type(key) is not str:
        raise InvalidValueError("metadata", f"has a key that is no plain string but {type(key).__name__}")
    return key
