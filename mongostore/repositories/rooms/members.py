"""Bindings and participants: the channels and the people of rooms."""

from __future__ import annotations

from mongostore.arguments import check_id
from mongostore.documents.rooms import (
    key_of,
    to_binding,
    to_participant,
    to_stored_binding,
    to_stored_participant,
)
from mongostore.documents.stored import Raw
from mongostore.errors import NotFoundError
from mongostore.models import Binding, RoomParticipant
from mongostore.repositories import has_matched, reads, writes
from mongostore.repositories.rooms.places import Places, in_room


class AsyncRoomBindings(Places[Binding]):
    """The channels attached to rooms, in the order in which they were attached."""

    _NAME = "bindings"

    @writes
    async def upsert(self, room_id: str, binding: Binding) -> Binding:
        """Attach a channel, or replace the binding of one, which keeps its place among the others.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        binding = in_room("binding", binding, Binding, room_id)
        stored = to_stored_binding(binding)
        await self._put(key_of(room_id, binding.channel_id), stored)
        return binding

    @reads
    async def get(self, room_id: str, channel_id: str) -> Binding:
        """Return a binding.

        Raises:
            NotFoundError: If the channel is not attached.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        binding = await self.find(room_id, channel_id)
        if binding is None:
            raise NotFoundError("binding", channel_id)
        return binding

    @reads
    async def find(self, room_id: str, channel_id: str) -> Binding | None:
        """Return a binding; None if the channel is not attached.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        raw = await self._collection.find_one(_of(room_id, "channel_id", channel_id))
        return None if raw is None else to_binding(raw)

    @reads
    async def exists(self, room_id: str, channel_id: str) -> bool:
        """Return whether a channel is attached.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return await self._collection.find_one(_of(room_id, "channel_id", channel_id), {"_id": 1}) is not None

    @writes
    async def delete(self, room_id: str, channel_id: str) -> bool:
        """Detach a channel and return whether it was attached.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return has_matched(await self._collection.delete_one(_of(room_id, "channel_id", channel_id)))

    @staticmethod
    def _value(raw: Raw) -> Binding:
        return to_binding(raw)


class AsyncRoomParticipants(Places[RoomParticipant]):
    """The people in rooms, in the order in which they were added."""

    _NAME = "participants"

    @writes
    async def upsert(self, room_id: str, participant: RoomParticipant) -> RoomParticipant:
        """Add a participant, or replace the one with that id, who keeps the place among the others.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        participant = in_room("participant", participant, RoomParticipant, room_id)
        stored = to_stored_participant(participant)
        await self._put(key_of(room_id, participant.id), stored)
        return participant

    @reads
    async def get(self, room_id: str, participant_id: str) -> RoomParticipant:
        """Return a participant.

        Raises:
            NotFoundError: If the room has no such participant.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        participant = await self.find(room_id, participant_id)
        if participant is None:
            raise NotFoundError("participant", participant_id)
        return participant

    @reads
    async def find(self, room_id: str, participant_id: str) -> RoomParticipant | None:
        """Return a participant; None if the room has no such participant.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        raw = await self._collection.find_one(_of(room_id, "participant_id", participant_id))
        return None if raw is None else to_participant(raw)

    @reads
    async def exists(self, room_id: str, participant_id: str) -> bool:
        """Return whether the room has such a participant.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        participant = _of(room_id, "participant_id", participant_id)
        return await self._collection.find_one(participant, {"_id": 1}) is not None

    @writes
    async def delete(self, room_id: str, participant_id: str) -> bool:
        """Delete a participant and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return has_matched(await self._collection.delete_one(_of(room_id, "participant_id", participant_id)))

    @staticmethod
    def _value(raw: Raw) -> RoomParticipant:
        return to_participant(raw)


def _of(room_id: str, name: str, id: str) -> Raw:
    return {"_id": key_of(check_id("room_id", room_id), check_id(name, id))}
