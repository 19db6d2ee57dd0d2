"""The participants of sessions and their turns: `store.sessions.participants` and `store.sessions.turns`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing

from mongostore.documents.participants import StoredParticipant, to_participants
from mongostore.documents.sessions import to_stored_turn
from mongostore.models import Integration, Integrator, Page, SessionParticipant, Turn
from mongostore.repositories import Repository, current_call, long_running, reads, reads_majority, writes
from mongostore.repositories.sessions.integrating import Integrations
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.turns import participant_of
from mongostore.values import check_id, check_limit, check_list, check_position, escape_key


class AsyncSessionParticipants(Repository):
    """The participants bound to sessions."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage = storage

    @writes
    async def ensure(self, session_id: str, participant: str) -> bool:
        """Bind a participant to a session, and return whether it was not; what it has there stays.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: An id is no plain string.
            DocumentTooLargeError: The session takes all that a document can hold.
        """
        call, key, name = current_call(), self._storage.key(session_id), _name(participant)
        new = StoredParticipant(bound_at=call.now, binding=call.token).model_dump()
        bound = await self._storage.sessions.update_one(
            {"_id": key, "state": "open", f"participants.{name}": {"$exists": False}},
            {
                "$set": {f"participants.{name}": new},
                "$inc": {"revision": 1},
                "$max": {"updated_at": call.now},
            },
        )
        if bound.matched_count:
            self._storage.tail.learn(key, {**self._storage.tail.bindings(key), name: call.token})
            return True
        raw = await self._storage.read(key, f"participants.{name}")
        # An earlier attempt of this call may have been the one that did it.
        return call.attempt > 0 and participant_of(raw, name)["bound_at"] == call.now

    @writes
    async def delete(self, session_id: str, participant: str) -> bool:
        """Remove a participant with its chat turns, insights and marker; return whether it was bound.

        All of it goes in one step, and what binds it again begins anew.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: An id is no plain string.
        """
        return await self._storage.eraser.unbind(self._storage.key(session_id), _name(participant))

    @reads
    async def list(self, session_id: str) -> builtins.list[SessionParticipant]:
        """Return the participants of a session, in the order in which they were bound.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: They cannot be read.
        """
        return to_participants(
            await self._storage.read(self._storage.key(session_id), "participants", "insights")
        )


class AsyncSessionTurns(Repository):
    """What participants said and were told, numbered from 1 for each of them."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage = storage
        self._integrations = Integrations(storage)

    @writes
    async def append_many(self, session_id: str, participant: str, turns: Sequence[Turn]) -> int:
        """Append chat turns of a participant, all or none of them, and return how many came in so far.

        They are messages of the session, in the conversation that has the participant's id, and beside
        their positions there they are numbered from 1 without gaps.

        Args:
            session_id: The session.
            participant: The participant.
            turns: At most 1,000, taking at most 8 MiB beside those that are larger than 1 MiB each.

        Raises:
            NotFoundError: There is no such session or participant, or the session is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: A turn, or all of them together, take too much; none was appended.
        """
        call, key, name = current_call(), self._storage.key(session_id), _name(participant)
        check_list("turns", turns)
        messages = [
            to_stored_turn(f"turns[{i}]", participant, turn, f"{call.token}-{i}", call.now)
            for i, turn in enumerate(turns)
        ]
        if not messages:
            raw = await self._storage.read(key, f"participants.{name}")
            return int(participant_of(raw, name)["turns"])
        return await self._storage.turns.append(key, name, messages)

    @reads_majority
    async def list(
        self, session_id: str, participant: str, *, after: int | str = 0, limit: int = 50
    ) -> Page[Turn]:
        """Return a page of a participant's chat turns, in ascending order.

        Args:
            session_id: The session.
            participant: The participant.
            after: The first turns behind this number, or behind a page's `next_cursor`.
            limit: How many at most, 1 to 1000.

        Raises:
            NotFoundError: There is no such session or participant, or the session is deleted.
            ConflictError: The session kept changing under the reader for too long.
            InvalidValueError: An argument is of the wrong type or out of range.
        """
        key, name = self._storage.key(session_id), _name(participant)
        found = await self._storage.turns.read(
            key, name, check_position("after", after), check_limit("limit", limit)
        )
        return Page(found.turns, None if found.behind is None else str(found.behind), found.errors)

    @long_running
    async def iter(self, session_id: str, participant: str) -> AsyncIterator[Turn]:
        """Yield the chat turns of a participant that are there when the iteration begins, in order.

        Raises:
            NotFoundError: There is no such session or participant, or the session is deleted.
            ConflictError: They were removed meanwhile.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: A turn cannot be read; `list` passes over it.
        """
        async with aclosing(
            self._storage.turns.iterate(self._storage.key(session_id), _name(participant))
        ) as turns:
            async for turn in turns:
                yield turn

    @long_running
    async def integrate(
        self, session_id: str, integrator: Integrator, *, executor: Executor | None = None
    ) -> Integration:
        """Hand each participant's new chat turns to an integrator, and keep the insights that it gives.

        New are the turns behind `integrated_until` that are there when the call begins. The insights
        are added and the marker moves in one step, so each turn is counted once, whoever else integrates:
        what another call has covered meanwhile is left to it, and these insights are dropped. The
        integrator is not called where nothing is new; where it raises, or gives what is no list of JSON
        values or more than the session can hold, nothing changes for this participant, and the others go on.

        Args:
            session_id: The session.
            integrator: Called with a participant and its new turns; it may take as long as it likes. A
                coroutine function is awaited, anything else runs in a thread.
            executor: Whose threads those are; the event loop's own unless given.

        Raises:
            NotFoundError: There is no such session, or it is deleted, if only meanwhile.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: The session or a turn cannot be read.
        """
        return await self._integrations.run(self._storage.key(session_id), integrator, executor)


def _name(participant: str) -> str:
    """Return the name by which a participant is stored."""
    return escape_key(check_id("participant", participant))
