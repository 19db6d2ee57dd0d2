"""Bindings and participants: the channels and the people of rooms."""

from __future__ import annotations

from typing import Any

from mongostore.documents.rooms import (
    key_of,
    to_binding,
    to_participant,
    to_stored_binding,
    to_stored_participant,
)
from mongostore.documents.stored import Raw
from mongostore.errors import NotFoundError
from mongostore.models import Binding, Participant
from mongostore.repositories import reads, was_there, writes
from mongostore.repositories.rooms.places import Places
from mongostore.values import check_id


class AsyncRoomBindings(Places[Binding]):
    """The channels that are attached to rooms."""

    @writes
    async def upsert(self, binding: Binding) -> Binding:
        """Attach a channel to a room, or replace how it is attached; it keeps its place among the others.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_binding(binding)
        await self._put(key_of(binding.room_id, binding.channel_id), stored)
        return binding

    @reads
    async def get(self, room_id: str, channel_id: str) -> Binding:
        """Return how a channel is attached to a room.

        Raises:
            NotFoundError: It is not.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        binding = await self.find(room_id, channel_id)
        if binding is None:
            raise NotFoundError("binding", channel_id)
        return binding

    @reads
    async def find(self, room_id: str, channel_id: str) -> Binding | None:
        """Return how a channel is attached to a room, None where it is not.

        Raises:
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._collection.find_one(_of(room_id, "channel_id", channel_id))
        return None if raw is None else to_binding(raw)

    @reads
    async def exists(self, room_id: str, channel_id: str) -> bool:
        """Return whether a channel is attached to a room.

        Raises:
            InvalidValueError: An id is no plain string.
        """
        return await self._collection.find_one(_of(room_id, "channel_id", channel_id), {"_id": 1}) is not None

    @writes
    async def delete(self, room_id: str, channel_id: str) -> bool:
        """Detach a channel from a room and return whether it was attached.

        Raises:
            InvalidValueError: An id is no plain string.
        """
        return was_there(await self._collection.delete_one(_of(room_id, "channel_id", channel_id)))

    @property
    def _collection(self) -> Any:
        return self._connection.collection("bindings")

    @staticmethod
    def _value(raw: Raw) -> Binding:
        return to_binding(raw)


class AsyncRoomParticipants(Places[Participant]):
    """Those who are in rooms."""

    @writes
    async def upsert(self, participant: Participant) -> Participant:
        """Add a participant to a room, or replace one, who keeps the place among the others.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_participant(participant)
        await self._put(key_of(participant.room_id, participant.id), stored)
        return participant

    @reads
    async def get(self, room_id: str, participant_id: str) -> Participant:
        """Return a participant of a room.

        Raises:
            NotFoundError: There is none of that id.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        participant = await self.find(room_id, participant_id)
        if participant is None:
            raise NotFoundError("participant", participant_id)
        return participant

    @reads
    async def find(self, room_id: str, participant_id: str) -> Participant | None:
        """Return a participant of a room, None where there is none of that id.

        Raises:
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._collection.find_one(_of(room_id, "participant_id", participant_id))
        return None if raw is None else to_participant(raw)

    @writes
    async def delete(self, room_id: str, participant_id: str) -> bool:
        """Remove a participant from a room and return whether it was there.

        Raises:
            InvalidValueError: An id is no plain string.
        """
        return was_there(await self._collection.delete_one(_of(room_id, "participant_id", participant_id)))

    @property
    def _collection(self) -> Any:
        return self._connection.collection("participants")

    @staticmethod
    def _value(raw: Raw) -> Participant:
        return to_participant(raw)


def _of(room_id: str, name: str, id: str) -> Raw:
    return {"_id": key_of(check_id("room_id", room_id), check_id(name, id))}
