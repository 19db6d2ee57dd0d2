"""Observations of rooms; `store.rooms.observations`."""

from __future__ import annotations

from mongostore.documents.room_parts import to_observation, to_stored_observation
from mongostore.models import Observation
from mongostore.repositories import writes
from mongostore.repositories.rooms.room_parts import RoomParts, in_room, owned_filter


class AsyncRoomObservations(RoomParts[Observation]):
    """Observations of rooms; the room need not be there yet, and takes them with it when it is deleted."""

    _NAME = "observations"
    _decode = staticmethod(to_observation)

    @writes
    async def create(self, room_id: str, observation: Observation) -> Observation:
        """Store an observation.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            NotFoundError: If the room was deleted during the call and made anew, or erased with a person.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        observation = in_room("observation", observation, Observation, room_id)
        await self._create("observation", to_stored_observation(observation))
        return observation

    @writes
    async def delete(self, room_id: str, observation_id: str) -> bool:
        """Delete an observation and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        observation = owned_filter(room_id, "observation_id", observation_id)
        return await self._delete(observation)
