"""Sessions with their messages, context, participants and turns: `store.sessions`."""

from mongostore.repositories.sessions.branches import AsyncSessionBranches
from mongostore.repositories.sessions.context import AsyncSessionContext
from mongostore.repositories.sessions.conversations import AsyncSessionConversations
from mongostore.repositories.sessions.limits import TailLimits
from mongostore.repositories.sessions.message_stream import AsyncMessageStream
from mongostore.repositories.sessions.messages import AsyncSessionMessages
from mongostore.repositories.sessions.namespaces import AsyncNamespaces
from mongostore.repositories.sessions.participants import AsyncSessionParticipants
from mongostore.repositories.sessions.sessions import AsyncSessions
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import Tail
from mongostore.repositories.sessions.turns import AsyncSessionTurns

__all__ = [
    "AsyncMessageStream",
    "AsyncNamespaces",
    "AsyncSessionBranches",
    "AsyncSessionContext",
    "AsyncSessionConversations",
    "AsyncSessionMessages",
    "AsyncSessionParticipants",
    "AsyncSessionTurns",
    "AsyncSessions",
    "SessionStorage",
    "Tail",
    "TailLimits",
]
