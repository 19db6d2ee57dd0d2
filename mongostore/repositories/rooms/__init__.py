"""Rooms, their events and all that belongs to them."""

from mongostore.repositories.rooms.events import AsyncRoomEvents
from mongostore.repositories.rooms.identities import (
    AsyncIdentities,
    AsyncVerificationRequests,
    AsyncVerifications,
)
from mongostore.repositories.rooms.leases import AsyncLeases
from mongostore.repositories.rooms.marks import AsyncReadMarkers, AsyncVoiceDeliveries
from mongostore.repositories.rooms.members import AsyncRoomBindings, AsyncRoomParticipants
from mongostore.repositories.rooms.notes import AsyncRoomObservations, AsyncRoomTasks
from mongostore.repositories.rooms.rooms import AsyncRooms

__all__ = [
    "AsyncIdentities",
    "AsyncLeases",
    "AsyncReadMarkers",
    "AsyncRoomBindings",
    "AsyncRoomEvents",
    "AsyncRoomObservations",
    "AsyncRoomParticipants",
    "AsyncRoomTasks",
    "AsyncRooms",
    "AsyncVerificationRequests",
    "AsyncVerifications",
    "AsyncVoiceDeliveries",
]
