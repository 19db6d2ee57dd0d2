"""The calls of imports and exports on sessions beside the public verbs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from mongostore.codec import encode, from_micros, to_micros
from mongostore.models import Message
from mongostore.repositories import CollectionOf, Repository, activity_of, reads, writes
from mongostore.repositories.sessions.insight_log import total_size
from mongostore.repositories.sessions.message_arguments import store_messages
from mongostore.repositories.sessions.participant_log import LogEnd, participant_of
from mongostore.repositories.sessions.participants import to_name
from mongostore.repositories.sessions.sessions import AsyncSessions


class SessionTransfer(Repository):
    """The sessions of one namespace, as an import or an export sees them."""

    _sessions = CollectionOf("sessions")

    def __init__(self, sessions: AsyncSessions) -> None:
        super().__init__(sessions._connection)
        self._key = sessions._key
        self._storage = sessions._storage
        self._writer = sessions._storage.writer
        self._participants = sessions.participants

    @classmethod
    def of(cls, sessions: AsyncSessions) -> Self:
        """Return the transfer of a namespace."""
        return cls(sessions)

    @writes
    async def append_many(self, session_id: str, messages: Sequence[Message]) -> list[int | None]:
        """Append messages as `messages.append_many` does, but as activity of their own times.

        Returns:
            Their positions; None for a message that was deleted in between.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If an id is there with other content; nothing was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB.
        """
        stored, fresh = store_messages(messages)
        with activity_of(from_micros(max(message["created_at"] for message in stored))):
            appended = await self._writer.append(self._key(session_id), stored, fresh=fresh)
        return [position for position, _ in appended]

    @writes
    async def bind(self, session_id: str, participant_id: str, time: datetime) -> None:
        """Bind a participant that comes from elsewhere, as of the time of its binding there.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            DocumentTooLargeError: If the session would have too many participants.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the participant cannot be read.
        """
        with activity_of(time):
            await self._participants._bind(session_id, participant_id, {}, to_micros("bound_at", time))

    @writes
    async def add_insights(
        self, session_id: str, participant_id: str, until: int, insights: Sequence[Any]
    ) -> None:
        """Store the insights of a participant that has none, which cover the turns up to a number.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an insight cannot be stored.
            DocumentTooLargeError: If the session would have too many insights.
        """
        key, name = self._key(session_id), to_name(participant_id)
        session = await self._storage.tail.read_fields(key, "participants")
        end = LogEnd(name, participant_of(session, name)["epoch"], 0)
        stored = [encode(f"insights[{i}]", insight) for i, insight in enumerate(insights)]
        await self._storage.insights.append(key, end, until, stored, total_size(session))

    @reads
    async def find_namespace(self, after: str | None) -> str | None:
        """Return the first namespace that has sessions, or the next one after another; None at the end."""
        # The character behind the slash that ends a namespace in an id.
        first = "" if after is None else f"{after}0"
        document = await self._sessions.find_one(
            {"_id": {"$gt": first}, "namespace": {"$gt": ""}}, {"namespace": 1}, sort=[("_id", 1)]
        )
        return None if document is None else str(document["namespace"])
