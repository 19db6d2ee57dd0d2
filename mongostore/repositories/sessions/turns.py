"""The turns of participants of sessions: `store.sessions.turns`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor

from mongostore.arguments import check_flag, check_limit
from mongostore.errors import InvalidDocumentError
from mongostore.models import Integration, Integrator, Page, Turn
from mongostore.repositories import long_running, reads, reads_majority, writes
from mongostore.repositories.paging import check_errors, count_options
from mongostore.repositories.sessions.filters import check_number, decode_cursor, revision_guard
from mongostore.repositories.sessions.integration import Integrations
from mongostore.repositories.sessions.message_arguments import store_turns
from mongostore.repositories.sessions.participant_log import participant_of
from mongostore.repositories.sessions.participants import to_name
from mongostore.repositories.sessions.storage import SessionRepository, SessionStorage
from mongostore.repositories.sessions.tail import other_revision_error


class AsyncSessionTurns(SessionRepository):
    """The turns of participants, numbered from 1 for each of them."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage)
        self._integrations = Integrations(storage)

    @writes
    async def append(
        self, session_id: str, participant_id: str, turn: Turn, *, revision: int | None = None
    ) -> Turn:
        """Append a turn exactly once, and return it with its number.

        A turn whose id is there with the same content is left as it is.

        Args:
            session_id: The session.
            participant_id: The participant.
            turn: The turn.
            revision: The revision that the session must still have.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the id is there with other content, the session has another revision, or other
                callers kept changing it for too long; nothing was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the turn takes too much.
        """
        return (await self.append_many(session_id, participant_id, [turn], revision=revision))[0]

    @writes
    async def append_many(
        self, session_id: str, participant_id: str, turns: Sequence[Turn], *, revision: int | None = None
    ) -> builtins.list[Turn]:
        """Append turns in order, all or none, and return them with numbers.

        They are no messages of the session. Each participant's are numbered from 1 without gaps.

        Args:
            session_id: The session.
            participant_id: The participant.
            turns: At most 1,000.
            revision: The revision that the session must still have.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If an id is there with other content, the session has another revision, or other
                callers kept changing it for too long; none was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a turn takes more than 16 MiB; none was appended.
        """
        key, name = self._storage.key(session_id), to_name(participant_id)
        (stored, fresh), guard = store_turns(turns), revision_guard(revision)
        if not stored:
            fields = await self._storage.tail.read_fields(key, f"participants.{name}", *guard)
            participant_of(fields, name)
            if not guard.items() <= fields.items():
                raise other_revision_error(key)
            return []
        appended = await self._storage.turns.append(key, name, stored, fresh=fresh, revision=revision)
        return self._report_append(session_id, appended)

    @reads
    async def count(self, session_id: str, participant_id: str, *, limit: int | None = None) -> int:
        """Return the number of a participant's turns, at most `limit`.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, name = self._storage.key(session_id), to_name(participant_id)
        most = count_options(limit).get("limit")
        document = await self._storage.tail.read_fields(key, f"participants.{name}")
        count = int(participant_of(document, name)["turn_count"])
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
        """Return a page of a participant's first or last turns, in order.

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
        key, name = self._storage.key(session_id), to_name(participant_id)
        turns, limit, number = self._storage.turns, check_limit("limit", limit), decode_cursor(cursor)
        start = 0 if after is None else check_number("after", after)
        if check_flag("newest", newest):
            found = await turns.read_newest(key, name, start, limit, number)
        else:
            found = await turns.read(key, name, max(number or 0, start), limit)
        return Page(found.turns, None if found.next_after is None else str(found.next_after), found.errors)

    @long_running
    def iter(
        self,
        session_id: str,
        participant_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Turn]:
        """Yield the turns of a participant, in order.

        They are those that are there when the iteration begins.

        Args:
            session_id: The session.
            participant_id: The participant.
            newest: Whether the newest comes first.
            errors: A list that collects what cannot be read, so that it does not end the iteration.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the turns were removed in between.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If a turn cannot be read and there is no list of `errors`.
        """
        key, name = self._storage.key(session_id), to_name(participant_id)
        newest, errors = check_flag("newest", newest), check_errors(errors)
        return self._storage.turns.iterate(key, name, errors, newest=newest)

    @long_running
    async def integrate(
        self,
        session_id: str,
        integrator: Integrator,
        *,
        executor: Executor | None = None,
        revision: int | None = None,
    ) -> Integration:
        """Give participants' new turns to an integrator; store its insights.

        New are the turns behind `integrated_until` that are there when the call begins. The insights
        are added and the marker moves in one step, so each turn is covered once, also if several
        callers integrate at the same time: turns that another call has covered are left to it, and these
        insights are dropped. The integrator is not called where nothing is new. If it raises, or returns
        something else than a list of JSON values, or more than the session can hold, nothing changes for
        this participant, and the others go on.

        Args:
            session_id: The session.
            integrator: Called with a participant's id and its new turns; it may take ten minutes, else it has
                failed with `TimeoutError`. A coroutine function is awaited, anything else runs in a thread.
            executor: The executor of those threads; by default each call has a new daemon thread.
            revision: The revision that the session must still have when the first insights are stored.

        Raises:
            NotFoundError: If there is no such session, or it is deleted, also in between.
            ConflictError: If the session has another revision, or other callers kept changing it for too
                long.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the session or a turn cannot be read.
        """
        return await self._integrations.run(self._storage.key(session_id), integrator, executor, revision)
