"""What changes a room: its members, its metadata, how far it is delivered, and what is private."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Unpack

from pymongo import ReturnDocument

from mongostore.documents.rooms import to_room, to_stored_room
from mongostore.documents.stored import Raw, check_size, given, write_members
from mongostore.errors import ConflictError, InvalidValueError, NotFoundError
from mongostore.models import Room, RoomMembers, RoomState
from mongostore.repositories import current_call, reads, writes
from mongostore.repositories.rooms.routing import RoomRouting
from mongostore.values import (
    check_flag,
    check_id,
    check_list,
    check_members,
    check_text,
    escape_key,
    pack_members,
    unpack,
)

# What callers are never shown, and may be large.
SHOWN = {"private": 0}


class RoomChanges(RoomRouting):
    """The verbs that change a room in place."""

    @writes
    async def update(self, room_id: str, **members: Unpack[RoomMembers]) -> Room:
        """Change the given members of a room; the others stay.

        Args:
            room_id: The room.
            **members: Those of `RoomMembers`; `metadata` is merged key by key, None removing a key.

        Returns:
            The room as it now is.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        changed = check_members(members, RoomMembers)
        notes = changed.pop("metadata", {})
        if not isinstance(notes, dict):
            raise InvalidValueError("metadata", f"must be a dict, not {type(notes).__name__}")
        removed = [_key(key) for key, value in notes.items() if value is None]
        kept = {key: value for key, value in notes.items() if value is not None}
        return await self._merge(room_id, _packed(changed), kept, removed)

    @writes
    async def merge_metadata(
        self, room_id: str, metadata: dict[str, Any], *, unset: Sequence[str] = ()
    ) -> Room:
        """Merge metadata into those of a room, where None is a value as any other.

        Args:
            room_id: The room.
            metadata: Keys with their new values.
            unset: Keys to be removed before that.

        Returns:
            The room as it now is.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        packed = pack_members("metadata", metadata)
        check_list("unset", unset)
        removed = [key for key in map(_key, unset) if escape_key(key) not in packed]
        return await self._merge(room_id, {}, metadata, removed)

    @writes
    async def replace(self, room: Room, *, expected: RoomState | None = None) -> Room:
        """Replace all members of a room but its counters, its creation and what is private.

        Args:
            room: The room as it is to be.
            expected: Replace it only if it is still in this state.

        Returns:
            The room as it now is, with the stored counters.

        Raises:
            NotFoundError: There is no such room.
            ConflictError: It is in another state; nothing was changed.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        call = current_call()
        sets = {**to_stored_room(room, call.now), "revised_by": call.token}
        del sets["created_at"]
        guard = open_room(room.id)
        if expected is not None:
            guard |= write_members(Room, asdict(given("expected", expected, RoomState)))
        raw = await self._rooms.find_one_and_update(
            guard, {"$set": sets}, SHOWN, return_document=ReturnDocument.AFTER
        )
        if raw is None:
            raw = await self._rooms.find_one(open_room(room.id), SHOWN)
            if raw is None:
                raise NotFoundError("room", room.id)
            if raw["revised_by"] != call.token:
                raise ConflictError(f"room {room.id!r} is in another state by now")
        return to_room(raw)

    @reads
    async def get_delivered_index(self, room_id: str) -> int:
        """Return the index up to which all events are delivered.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: The id is no plain string.
        """
        raw = await self._rooms.find_one(open_room(room_id), {"delivered_index": 1})
        if raw is None:
            raise NotFoundError("room", room_id)
        return int(raw["delivered_index"])

    @writes
    async def advance_delivered_index(self, room_id: str, index: int, *, force: bool = False) -> bool:
        """Move the delivered index on to `index` and return whether that was its turn.

        Args:
            room_id: The room.
            index: The event that is delivered now.
            force: Move from any lower index, and not from the one before alone.

        Raises:
            InvalidValueError: The id is no plain string, or the index no integer.
        """
        if type(index) is not int or abs(index) >= 2**62:
            raise InvalidValueError("index", "must be an integer")
        call = current_call()
        check_flag("force", force)
        before: Any = {"$lt": index} if force else index - 1
        moved = await self._rooms.update_one(
            {**open_room(room_id), "delivered_index": before},
            {"$set": {"delivered_index": index, "delivered_by": call.token}},
        )
        if moved.matched_count or call.attempt == 0:
            return bool(moved.matched_count)
        # An earlier attempt of this call may have been the one that did it.
        return (
            await self._rooms.find_one({**open_room(room_id), "delivered_by": call.token}, {"_id": 1})
            is not None
        )

    @reads
    async def get_private(self, room_id: str, key: str) -> Any:
        """Return what the service keeps for itself about a room under a key; None where there is nothing.

        Raises:
            InvalidValueError: The id or the key is no plain string.
        """
        name = escape_key(check_text("key", key))
        raw = await self._rooms.find_one(open_room(room_id), {f"private.{name}": 1})
        return unpack((raw or {}).get("private", {}).get(name))

    @writes
    async def set_private(self, room_id: str, key: str, value: Any) -> bool:
        """Keep something about a room that is no part of it, and drop the same key from its metadata.

        Args:
            room_id: The room.
            key: Its name.
            value: Any JSON value; None removes the key.

        Returns:
            Whether there is such a room.

        Raises:
            InvalidValueError: The id or the key is no plain string, or the value cannot be stored.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        packed = pack_members("private", {check_text("key", key): value})
        check_size("the room's private state", packed)
        ((name, stored),) = packed.items()
        update: Raw = {"$unset": {f"metadata.{name}": ""}}
        if value is None:
            update["$unset"][f"private.{name}"] = ""
        else:
            update["$set"] = {f"private.{name}": stored}
        return bool((await self._rooms.update_one(open_room(room_id), update)).matched_count)

    @property
    def _rooms(self) -> Any:
        return self._connection.collection("rooms")

    async def _merge(self, room_id: str, sets: Raw, metadata: dict[str, Any], unset: Sequence[str]) -> Room:
        packed = pack_members("metadata", metadata)
        check_size("the room's metadata", packed)
        sets |= {f"metadata.{name}": value for name, value in packed.items()}
        update: Raw = {"$set": {**sets, "updated_at": current_call().now}}
        if unset:
            update["$unset"] = {f"metadata.{escape_key(key)}": "" for key in unset}
        raw = await self._rooms.find_one_and_update(
            open_room(room_id), update, SHOWN, return_document=ReturnDocument.AFTER
        )
        if raw is None:
            raise NotFoundError("room", room_id)
        return to_room(raw)


def open_room(room_id: str) -> Raw:
    """Return the filter of a room that is not being deleted.

    Raises:
        InvalidValueError: The id is no plain string.
    """
    return {"_id": check_id("room_id", room_id), "state": "open"}


def _key(key: object) -> str:
    # Any key may be among the metadata, even one that no text can be.
    if type(key) is not str:
        raise InvalidValueError("metadata", f"has a key that is no plain string but {type(key).__name__}")
    return key


def _packed(members: dict[str, Any]) -> Raw:
    packed = write_members(Room, members)
    check_size("the room's data", {"data": packed.get("data")})
    return packed
