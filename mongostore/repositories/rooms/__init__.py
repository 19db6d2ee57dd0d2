"""Rooms, their events and all that belongs to them."""

from mongostore.repositories.rooms.bindings import AsyncRoomBindings
from mongostore.repositories.rooms.events import AsyncRoomEvents
from mongostore.repositories.rooms.identities import AsyncIdentities
from mongostore.repositories.rooms.observations import AsyncRoomObservations
from mongostore.repositories.rooms.participants import AsyncRoomParticipants
from mongostore.repositories.rooms.read_markers import AsyncReadMarkers
from mongostore.repositories.rooms.rooms import AsyncRooms
from mongostore.repositories.rooms.tasks import AsyncRoomTasks
from mongostore.repositories.rooms.verifications import AsyncVerificationRequests, AsyncVerifications
from mongostore.repositories.rooms.voice_deliveries import AsyncVoiceDeliveries

__all__ = [
    "AsyncIdentities",
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
