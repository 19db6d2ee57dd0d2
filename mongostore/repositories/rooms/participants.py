"""Participants: the people of rooms; `store.rooms.participants`."""

from __future__ import annotations

from mongostore.documents.rooms import part_id, to_participant, to_stored_participant
from mongostore.models import RoomParticipant
from mongostore.repositories import reads, writes
from mongostore.repositories.parts import find_part
from mongostore.repositories.rooms.room_parts import RoomParts, in_room, part_filter


class AsyncRoomParticipants(RoomParts[RoomParticipant]):
    """The people in rooms, in the order in which they were added."""

    _NAME = "participants"
    _decode = staticmethod(to_participant)

    @writes
    async def upsert(self, room_id: str, participant: RoomParticipant) -> RoomParticipant:
        """Add a participant, or replace the one of that id in its place.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        participant = in_room("participant", participant, RoomParticipant, room_id)
        stored = to_stored_participant(participant)
        await self._upsert_part(part_id(room_id, participant.id), stored)
        return participant

    @reads
    async def get(self, room_id: str, participant_id: str) -> RoomParticipant:
        """Return a participant.

        Raises:
            NotFoundError: If the room has no such participant.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("participant", participant_id, await self.find(room_id, participant_id))

    @reads
    async def find(self, room_id: str, participant_id: str) -> RoomParticipant | None:
        """Return a participant; None if the room has no such participant.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return await self._find(part_filter(room_id, "participant_id", participant_id))

    @reads
    async def exists(self, room_id: str, participant_id: str) -> bool:
        """Return whether the room has such a participant.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        participant = part_filter(room_id, "participant_id", participant_id)
        return await find_part(self._connection, self._NAME, participant, {"_id": 1}) is not None

    @writes
    async def delete(self, room_id: str, participant_id: str) -> bool:
        """Delete a participant and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return await self._delete(part_filter(room_id, "participant_id", participant_id))
