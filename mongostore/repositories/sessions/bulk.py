"""What imports and exports need of sessions beside the public verbs."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from mongostore.codec import to_micros
from mongostore.repositories import Repository, reads, writes
from mongostore.repositories.sessions.sessions import AsyncSessions


class SessionTransfer(Repository):
    """The sessions of one namespace, as an import or an export sees them."""

    def __init__(self, sessions: AsyncSessions) -> None:
        super().__init__(sessions._connection)
        self._key = sessions._key

    @classmethod
    def of(cls, sessions: AsyncSessions) -> Self:
        """Return the transfer of a namespace."""
        return cls(sessions)

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
