"""What imports and exports need of sessions beside the public verbs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from mongostore.codec import to_micros
from mongostore.models import Message
from mongostore.repositories import Repository, reads, writes
from mongostore.repositories.sessions.message_arguments import store_messages
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.sessions import AsyncSessions


class SessionTransfer(Repository):
    """The sessions of one namespace, as an import or an export sees them."""

    def __init__(self, sessions: AsyncSessions) -> None:
        super().__init__(sessions._connection)
        self._key = sessions._key
        self._writer = sessions._storage.writer

    @classmethod
    def of(cls, sessions: AsyncSessions) -> Self:
        """Return the transfer of a namespace."""
        return cls(sessions)

    @writes
    async def append_many(self, session_id: str, messages: Sequence[Message]) -> None:
        """Append messages as `messages.append_many` does, but as activity of their own times.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If an id is there with other content; nothing was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message, or all of them together, take too much.
        """
        stored, fresh = store_messages(messages)
        change = SessionChange(active_at=max(message["created_at"] for message in stored))
        await self._writer.append(self._key(session_id), stored, fresh=fresh, change=change)

    @writes
    async def set_active_at(self, session_id: str, time: datetime) -> None:
        """Set the newest activity of a session that comes from elsewhere.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """
        key = {"_id": self._key(session_id), "state": "open"}
        active_at = {"active_at": to_micros("active_at", time)}
        await self._connection.collection("sessions").update_one(key, {"$set": active_at})

    @reads
    async def find_namespace(self, after: str | None = None) -> str | None:
        """Return the first namespace that has sessions, or the next one after another; None at the end."""
        # The character behind the slash that ends a namespace in an id.
        behind = "" if after is None else f"{after}0"
        document = await self._connection.collection("sessions").find_one(
            {"_id": {"$gt": behind}}, {"namespace": 1}, sort=[("_id", 1)]
        )
        return None if document is None else str(document["namespace"])
