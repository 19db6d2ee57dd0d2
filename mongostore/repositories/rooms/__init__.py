"""Rooms, their events and all that hangs on them."""

from mongostore.repositories.rooms.events import EventRepository
from mongostore.repositories.rooms.identities import IdentityRepository, VerificationRepository
from mongostore.repositories.rooms.leases import LeaseRepository
from mongostore.repositories.rooms.marks import ReadMarkerRepository, VoiceDeliveryRepository
from mongostore.repositories.rooms.members import BindingRepository, ParticipantRepository
from mongostore.repositories.rooms.notes import ObservationRepository, TaskRepository
from mongostore.repositories.rooms.rooms import RoomRepository

__all__ = [
    "BindingRepository",
    "EventRepository",
    "IdentityRepository",
    "LeaseRepository",
    "ObservationRepository",
    "ParticipantRepository",
    "ReadMarkerRepository",
    "RoomRepository",
    "TaskRepository",
    "VerificationRepository",
    "VoiceDeliveryRepository",
]
