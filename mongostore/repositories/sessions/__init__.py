"""Sessions with their messages, context, participants and turns: `store.sessions`."""

from mongostore.repositories.sessions.contexts import AsyncSessionContext
from mongostore.repositories.sessions.messages import AsyncSessionMessages
from mongostore.repositories.sessions.participants import AsyncSessionParticipants, AsyncSessionTurns
from mongostore.repositories.sessions.repository import AsyncSessions

__all__ = [
    "AsyncSessionContext",
    "AsyncSessionMessages",
    "AsyncSessionParticipants",
    "AsyncSessionTurns",
    "AsyncSessions",
]
