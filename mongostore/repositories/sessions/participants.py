"""The participants of sessions and their turns: `store.sessions.participants` and `store.sessions.turns`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing

from mongostore.arguments import (
    check_flag,
    check_id,
    check_limit,
    check_list,
)
from mongostore.codec import escape_key, from_micros, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import StoredParticipant, to_participants
from mongostore.documents.sessions import to_stored_turn
from mongostore.errors import AlreadyExistsError, InvalidDocumentError, NotFoundError
from mongostore.models import Integration, Integrator, Page, SessionParticipant, Turn
from mongostore.repositories import Repository, current_operation, long_running, reads, reads_majority, writes
from mongostore.repositories.paging import SortKey, SortOrder, check_errors, count_options
from mongostore.repositories.sessions.filters import check_number, decode_cursor, revision_guard
from mongostore.repositories.sessions.integration import Integrations
from mongostore.repositories.sessions.recent_operations import not_done, record_operation, was_done
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import other_revision_error
from mongostore.repositories.sessions.turns import participant_of

_BY_BINDING = SortOrder("bound_at")


class AsyncSessionParticipants(Repository):
    """The participants bound to sessions."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage = storage

    @writes
    async def create(
        self, session_id: str, participant_id: str, *, revision: int | None = None
    ) -> SessionParticipant:
        """Bind a participant to a session, and return it.

        Args:
            session_id: The session.
            participant_id: The participant.
            revision: The revision that the session must still have.

        Raises:
            AlreadyExistsError: If it is bound already; it keeps what it has there.
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision; nothing was bound.
            InvalidValueError: If an argument is of the wrong type.
            DocumentTooLargeError: If the session takes all that a document can hold.
        """
        guard = revision_guard(revision)
        participant, is_new = await self._bind(session_id, participant_id, guard)
        if not is_new:
            raise AlreadyExistsError("participant", participant_id)
        return participant

    @writes
    async def ensure(self, session_id: str, participant_id: str) -> SessionParticipant:
        """Return a participant of a session, which is bound if it was not; what it has there stays.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant is bound and cannot be read.
            DocumentTooLargeError: If the session takes all that a document can hold.
        """
        return (await self._bind(session_id, participant_id, {}))[0]

    @reads
    async def get(self, session_id: str, participant_id: str) -> SessionParticipant:
        """Return a participant.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant cannot be read.
        """
        name = _name(participant_id)
        document = await self._read(self._storage.key(session_id), name)
        participant_of(document, name)
        return to_participants(document)[0]

    @reads
    async def find(self, session_id: str, participant_id: str) -> SessionParticipant | None:
        """Return a participant; None if the session or the participant is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant cannot be read.
        """
        try:
            return await self.get(session_id, participant_id)
        except NotFoundError:
            return None

    @reads
    async def list(
        self, session_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionParticipant]:
        """Return a page of participants, in the order in which they were bound.

        Args:
            session_id: The session.
            newest: Whether the page begins with the participant that was bound last.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If the participants cannot be read.
        """
        key, limit = self._storage.key(session_id), check_limit("limit", limit)
        newest, place = check_flag("newest", newest), _BY_BINDING.decode(cursor)
        found = to_participants(await self._storage.tail.read_fields(key, "participants", "insights"))
        if newest:
            found.reverse()
        if place is not None:
            found = _after_key(found, place, newest)
        items = found[:limit]
        if len(found) == len(items):
            return Page(items)
        return Page(items, _BY_BINDING.cursor((to_micros("bound_at", items[-1].bound_at), items[-1].id)))

    @writes
    async def delete(self, session_id: str, participant_id: str, *, revision: int | None = None) -> bool:
        """Unbind a participant with its turns and insights, in one step; return whether it was bound.

        If it is bound again, its numbers begin anew.

        Args:
            session_id: The session.
            participant_id: The participant.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision, or other callers kept changing it for too
                long; nothing was removed.
            InvalidValueError: If an argument is of the wrong type.
        """
        key, name = self._storage.key(session_id), _name(participant_id)
        try:
            return await self._storage.deleter.unbind(key, name, revision_guard(revision))
        except NotFoundError:
            return False

    async def _bind(
        self, session_id: str, participant_id: str, guard: StoredDocument
    ) -> tuple[SessionParticipant, bool]:
        """Bind a participant unless it is bound; return it, and whether this call has bound it."""
        call, key, name = current_operation(), self._storage.key(session_id), _name(participant_id)
        new = StoredParticipant(bound_at=call.now, epoch=call.token).model_dump()
        bound = await self._storage.sessions.update_one(
            {"_id": key, "state": "open", f"participants.{name}": {"$exists": False}, **guard, **not_done()},
            {
                "$set": {f"participants.{name}": new},
                "$push": record_operation(),
                "$inc": {"revision": 1},
                "$max": {"active_at": call.now},
            },
        )
        if bound.matched_count:
            tail = self._storage.tail
            tail.cache_epochs(key, {**tail.cached_epochs(key), name: call.token})
            return to_participants({"_id": key, "participants": {name: new}})[0], True
        document = await self._read(key, name)
        if was_done(document) and name not in document.get("participants", {}):
            # It was unbound again before the answer came.
            document = {"_id": key, "participants": {name: new}, "recent_ops": document["recent_ops"]}
        if guard and name not in document.get("participants", {}):
            raise other_revision_error(key)
        participant_of(document, name)
        return to_participants(document)[0], was_done(document)

    async def _read(self, key: str, name: str) -> StoredDocument:
        return await self._storage.tail.read_fields(
            key, f"participants.{name}", f"insights.{name}", "recent_ops"
        )


class AsyncSessionTurns(Repository):
    """What participants said and were told, numbered from 1 for each of them."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage = storage
        self._integrations = Integrations(storage)

    @writes
    async def append(self, session_id: str, participant_id: str, turn: Turn) -> Turn:
        """Append a turn, and return it with its number.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the turn takes too much.
        """
        return (await self.append_many(session_id, participant_id, [turn]))[0]

    @writes
    async def append_many(
        self, session_id: str, participant_id: str, turns: Sequence[Turn]
    ) -> builtins.list[Turn]:
        """Append turns in order, all or none of them, and return them with their numbers.

        They are messages of the session, in the conversation that has the participant's id, and beside
        their positions there they are numbered from 1 without gaps.

        Args:
            session_id: The session.
            participant_id: The participant.
            turns: At most 1,000, taking at most 6 MiB beside those that are larger than 1 MiB each.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a turn, or all of them together, take too much; none was appended.
        """
        call, key, name = current_operation(), self._storage.key(session_id), _name(participant_id)
        check_list("turns", turns)
        messages = [
            to_stored_turn(f"turns[{i}]", participant_id, turn, f"{call.token}-{i}", call.now)
            for i, turn in enumerate(turns)
        ]
        if not messages:
            participant_of(await self._storage.tail.read_fields(key, f"participants.{name}"), name)
            return []
        return await self._storage.turns.append(key, name, messages)

    @reads
    async def count(self, session_id: str, participant_id: str, *, limit: int | None = None) -> int:
        """Return the number of a participant's turns that are there, at most `limit`.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, name = self._storage.key(session_id), _name(participant_id)
        most = count_options(limit).get("limit")
        document = await self._storage.tail.read_fields(key, f"participants.{name}")
        count = int(participant_of(document, name)["kept"])
        return count if most is None else min(count, most)

    @reads_majority
    async def list(
        self,
        session_id: str,
        participant_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        after: int | None = None,
    ) -> Page[Turn]:
        """Return a page of a participant's turns, the first or the last ones, in order.

        Args:
            session_id: The session.
            participant_id: The participant.
            newest: Whether the page ends with the newest turns.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            after: The number behind which the turns are.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, name = self._storage.key(session_id), _name(participant_id)
        turns, limit, number = self._storage.turns, check_limit("limit", limit), decode_cursor(cursor)
        start = 0 if after is None else check_number("after", after)
        if check_flag("newest", newest):
            found = await turns.read_newest(key, name, start, limit, number)
        else:
            found = await turns.read(key, name, max(number or 0, start), limit)
        return Page(found.turns, None if found.next_after is None else str(found.next_after), found.errors)

    @long_running
    async def iter(
        self,
        session_id: str,
        participant_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Turn]:
        """Yield the turns of a participant that are there when the iteration begins, in order.

        Args:
            session_id: The session.
            participant_id: The participant.
            newest: Whether the newest comes first.
            errors: A list that collects what cannot be read, so that it does not end the iteration.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the turns were removed meanwhile.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If a turn cannot be read and there is no list of `errors`.
        """
        key, name = self._storage.key(session_id), _name(participant_id)
        newest, errors = check_flag("newest", newest), check_errors(errors)
        async with aclosing(self._storage.turns.iterate(key, name, errors, newest=newest)) as turns:
            async for turn in turns:
                yield turn

    @long_running
    async def integrate(
        self, session_id: str, integrator: Integrator, *, executor: Executor | None = None
    ) -> Integration:
        """Give each participant's new turns to an integrator, and store its insights.

        New are the turns behind `integrated_until` that are there when the call begins. The insights
        are added and the marker moves in one step, so each turn is covered once, whichever callers
        integrate at the same time: turns that another call has covered meanwhile are left to it, and these
        insights are dropped. The integrator is not called where nothing is new. If it raises, or returns
        something else than a list of JSON values, or more than the session can hold, nothing changes for
        this participant, and the others go on.

        Args:
            session_id: The session.
            integrator: Called with a participant's id and its new turns; it may take ten minutes, else it has
                failed with `TimeoutError`. A coroutine function is awaited, anything else runs in a thread.
            executor: The executor of those threads; the event loop's own unless given.

        Raises:
            NotFoundError: If there is no such session, or it is deleted, if only meanwhile.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session or a turn cannot be read.
        """
        return await self._integrations.run(self._storage.key(session_id), integrator, executor)


def _after_key(found: list[SessionParticipant], place: SortKey, newest: bool) -> list[SessionParticipant]:
    """Return the participants behind a place, also if the one of that place was unbound since."""
    for index, one in enumerate(found, 1):
        if one.id == place[1]:
            return found[index:]
    at = from_micros(place[0])
    return [one for one in found if (one.bound_at < at if newest else one.bound_at > at)]


def _name(participant_id: str) -> str:
    """Return the name by which a participant is stored."""
    return escape_key(check_id("participant_id", participant_id))
