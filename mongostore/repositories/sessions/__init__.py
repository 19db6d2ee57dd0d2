"""Sessions and their messages: `store.sessions`."""

from mongostore.repositories.sessions.limits import TailLimits
from mongostore.repositories.sessions.repository import SessionRepository
from mongostore.repositories.sessions.tail import Tail

__all__ = ["SessionRepository", "Tail", "TailLimits"]
