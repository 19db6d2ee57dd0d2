"""Bindings: the channels attached to rooms; `store.rooms.bindings`."""

from __future__ import annotations

from mongostore.documents.rooms import part_id, to_binding, to_stored_binding
from mongostore.models import Binding
from mongostore.repositories import reads, writes
from mongostore.repositories.parts import find_part
from mongostore.repositories.rooms.room_parts import RoomParts, in_room, part_filter


class AsyncRoomBindings(RoomParts[Binding]):
    """The channels attached to rooms, in the order of their attachment."""

    _NAME = "bindings"
    _decode = staticmethod(to_binding)

    @writes
    async def upsert(self, room_id: str, binding: Binding) -> Binding:
        """Attach a channel, or replace its binding, which keeps its place.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        binding = in_room("binding", binding, Binding, room_id)
        stored = to_stored_binding(binding)
        await self._upsert_part(part_id(room_id, binding.channel_id), stored)
        return binding

    @reads
    async def get(self, room_id: str, channel_id: str) -> Binding:
        """Return a binding.

        Raises:
            NotFoundError: If the channel is not attached.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("binding", channel_id, await self.find(room_id, channel_id))

    @reads
    async def find(self, room_id: str, channel_id: str) -> Binding | None:
        """Return a binding; None if the channel is not attached.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return await self._find(part_filter(room_id, "channel_id", channel_id))

    @reads
    async def exists(self, room_id: str, channel_id: str) -> bool:
        """Return whether a channel is attached.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        binding = part_filter(room_id, "channel_id", channel_id)
        return await find_part(self._connection, self._NAME, binding, {"_id": 1}) is not None

    @writes
    async def delete(self, room_id: str, channel_id: str) -> bool:
        """Detach a channel and return whether it was attached.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return await self._delete(part_filter(room_id, "channel_id", channel_id))
