"""The verbs that an erasure and an export of a person use."""

from __future__ import annotations

from dataclasses import dataclass

from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.heads import Heads
from mongostore.repositories.rooms import AsyncRooms
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.threads import AsyncThreads


@dataclass(frozen=True)
class Houses:
    """The parts of a store in which a person can be."""

    sessions: AsyncSessions
    threads: AsyncThreads
    rooms: AsyncRooms
    keys: AsyncKeys
    heads: Heads
