"""Stores the participants of a session: what is there is compared, and what is missing is added."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from mongostore.codec import is_same
from mongostore.importers.batches import in_batches, in_thread
from mongostore.importers.digests import canonical
from mongostore.importers.report import Counts, RefusedError
from mongostore.models import SessionParticipant, Turn
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.bulk import SessionTransfer

_MEMBERS = ("bound_at", "turn_count", "integrated_until", "insights")


class ParticipantImport:
    """Stores participants of one session.

    Args:
        sessions: The sessions of its namespace.
        session_id: The session.
        thread: Where the source is read.
        counts: Counts the turns.
        writes: Whether to write, and not only to compare.
    """

    def __init__(
        self, sessions: AsyncSessions, session_id: str, thread: Executor, counts: Counts, *, writes: bool
    ) -> None:
        self._sessions = sessions
        self._transfer = SessionTransfer.of(sessions)
        self._id = session_id
        self._thread = thread
        self._counts = counts
        self._writes = writes

    async def add(self, participant: SessionParticipant, turns: Iterable[Turn]) -> bool:
        """Store a participant with the turns and insights; return whether something was missing."""
        stored = await self._sessions.participants.find(self._id, participant.id)
        is_missing = stored is None
        if stored is None and self._writes:
            await self._transfer.bind(self._id, participant.id, participant.bound_at)
        known = 0 if stored is None else stored.turn_count
        async with aclosing(in_thread(self._thread, in_batches(turns))) as batches:
            async for batch in batches:
                self._counts.read += len(batch)
                existing, new = batch[:known], batch[known:]
                await self._compare(participant.id, existing)
                self._counts.known += len(existing)
                self._counts.new += len(new)
                known -= len(existing)
                is_missing |= bool(new)
                if new and self._writes:
                    await self._sessions.turns.append_many(self._id, participant.id, new)
        if participant.integrated_until and (stored is None or stored.integrated_until is None):
            is_missing = True
            if self._writes:
                until, insights = participant.integrated_until, participant.insights
                await self._transfer.add_insights(self._id, participant.id, until, insights)
        return is_missing

    async def verify(self, participant: SessionParticipant) -> None:
        """Read back a participant that was new."""
        stored = await self._sessions.participants.get(self._id, participant.id)
        if not all(is_same(getattr(stored, name), getattr(participant, name)) for name in _MEMBERS):
            raise RefusedError(f"the stored participant {participant.id!r} differs from the source")

    async def _compare(self, participant_id: str, turns: list[Turn]) -> None:
        """Compare turns with those of their numbers."""
        if not turns:
            return
        after = (turns[0].number or 1) - 1
        page = await self._sessions.turns.list(self._id, participant_id, after=after, limit=len(turns))
        if [*map(_value, page.items)] != [*map(_value, turns)]:
            raise RefusedError(f"diverged: participant {participant_id!r} has said something else")


def _value(turn: Turn) -> Any:
    return canonical(turn.model_dump())
