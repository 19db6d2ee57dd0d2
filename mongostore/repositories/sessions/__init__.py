"""Sessions and their messages: `store.sessions`."""

from mongostore.repositories.sessions.repository import SessionRepository

__all__ = ["SessionRepository"]
