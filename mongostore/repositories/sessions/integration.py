"""Integration: what is new among the participants' turns, made into insights exactly once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any

from mongostore.arguments import MAX_LIMIT
from mongostore.codec import encode, unescape_key
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import PUBLIC_FIELDS
from mongostore.errors import DocumentTooLargeError, InvalidValueError, NotFoundError
from mongostore.models import Integration, IntegrationStatus, Integrator, ParticipantIntegration, Turn
from mongostore.repositories import majority_step, retry_step
from mongostore.repositories.daemon_threads import DaemonThreads
from mongostore.repositories.sessions.filters import revision_guard
from mongostore.repositories.sessions.insight_log import size_of, total_size
from mongostore.repositories.sessions.participant_log import LogEnd
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import back_off, contention_error, other_revision_error

# A model may think for minutes over the turns of one participant. What lasts longer is given up, so that it
# does not hold up the other participants for ever; a thread that it runs in ends when it likes.
_INTEGRATOR_SECONDS = 600.0


class Integrations:
    """The integrations of one namespace's sessions."""

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage

    async def run(
        self, key: str, integrator: Integrator, executor: Executor | None, revision: int | None
    ) -> Integration:
        """Integrate what is new of each participant; see `AsyncSessionTurns.integrate`."""
        connection, guard = self._storage.connection, revision_guard(revision)
        document = await majority_step(connection, self._read_session, key)
        if not guard.items() <= document.items():
            raise other_revision_error(key)
        results, taken = [], total_size(document)
        for name, seen in document.get("participants", {}).items():
            result, size = await self._integrate(key, name, seen, integrator, executor, taken, revision)
            if result.status is IntegrationStatus.INTEGRATED:
                # Its insights have changed the session.
                revision = None
            results.append(result)
            taken += size
        if any(result.status is IntegrationStatus.INTEGRATED for result in results):
            document = await majority_step(connection, self._read_session, key)
        return Integration(
            session=await majority_step(connection, self._storage.to_session, document), results=results
        )

    async def _integrate(
        self,
        key: str,
        name: str,
        seen: StoredDocument,
        integrator: Integrator,
        executor: Executor | None,
        taken: int,
        revision: int | None,
    ) -> tuple[ParticipantIntegration, int]:
        """Integrate what was new of a participant when it was seen; return also the bytes of the insights."""
        participant_id, marker = unescape_key(name), int(seen["integrated_until"])

        def result(
            status: IntegrationStatus, size: int = 0, **members: Any
        ) -> tuple[ParticipantIntegration, int]:
            of_participant = {"participant_id": participant_id, "integrated_until": marker or None}
            return ParticipantIntegration(status=status, **of_participant, **members), size

        outcome: list[Any] | Exception = []
        previous: list[Turn] = []
        for attempt in range(self._storage.tail.limits.attempts):
            await back_off(attempt)
            marker, turns = await self._new_turns(key, name, seen, is_current=attempt == 0)
            if not turns:
                return result(IntegrationStatus.NOTHING_NEW)
            # Those that another call has just covered show as new until the majority knows of that.
            if turns != previous:
                outcome = await _call_integrator(integrator, participant_id, turns, executor)
                previous = turns
            if isinstance(outcome, Exception):
                return result(IntegrationStatus.FAILED, error=type(outcome).__name__)
            end, last = LogEnd(name, seen["epoch"], marker), turns[-1].number or 0
            store = self._storage.insights.append
            try:
                stored = await retry_step(
                    self._storage.connection, store, key, end, last, outcome, taken, revision
                )
            except DocumentTooLargeError as error:
                return result(IntegrationStatus.FAILED, error=type(error).__name__)
            if stored:
                marker = last
                added = {"turns_integrated": len(turns), "insights_added": len(outcome)}
                return result(IntegrationStatus.INTEGRATED, size_of(outcome), **added)
            if revision is not None:
                raise other_revision_error(key)
            # Another call was faster: perhaps not with all of them.
        raise contention_error(key)

    async def _new_turns(
        self, key: str, name: str, seen: StoredDocument, *, is_current: bool
    ) -> tuple[int, list[Turn]]:
        """Return the marker of a participant as it is by now, and the turns behind it that were seen.

        None are if all began anew since, or the participant has gone.
        """
        connection, participant = self._storage.connection, seen
        if not is_current:
            session = await majority_step(connection, self._read_session, key)
            participant = session.get("participants", {}).get(name, {"integrated_until": 0})
        marker = next_after = int(participant["integrated_until"])
        turns: list[Turn] = []
        while participant.get("epoch") == seen["epoch"] and next_after < seen["turn_count"]:
            read, until = self._storage.turns.read, seen["turn_count"]
            try:
                part = await majority_step(
                    connection, read, key, name, next_after, MAX_LIMIT, until=until, participant=participant
                )
            except NotFoundError as error:
                if error.kind != "participant":
                    raise
                return 0, []
            if part.participant["epoch"] != seen["epoch"]:
                return int(part.participant["integrated_until"]), []
            if part.errors:
                raise part.errors[0]
            turns += part.turns
            next_after = until if part.next_after is None else part.next_after
        return marker, turns

    async def _read_session(self, key: str) -> StoredDocument:
        """Return the visible fields of an open session."""
        return await self._storage.tail.read_fields(key, *PUBLIC_FIELDS, "schema_version")


async def _call_integrator(
    integrator: Integrator, participant: str, turns: Sequence[Turn], executor: Executor | None
) -> list[Any] | Exception:
    """Return the insights of an integrator in their stored form, or what it raised instead."""
    is_async = inspect.iscoroutinefunction(integrator) or inspect.iscoroutinefunction(
        getattr(integrator, "__call__", None)  # noqa: B004  # an object with a coroutine function for it
    )

    def call() -> Any:
        # Caught here: no future takes a StopIteration.
        try:
            return integrator(participant, turns)
        except Exception as error:
            return error

    try:
        async with asyncio.timeout(_INTEGRATOR_SECONDS):
            if is_async:
                returned = call()
            else:
                loop = asyncio.get_running_loop()
                returned = await loop.run_in_executor(executor or DaemonThreads(), copy_context().run, call)
            if inspect.isawaitable(returned):
                returned = await returned
        return returned if isinstance(returned, Exception) else _encode_insights(returned)
    except Exception as error:
        return error


def _encode_insights(insights: object) -> list[Any]:
    if not isinstance(insights, Sequence) or isinstance(insights, str | bytes | bytearray):
        raise InvalidValueError("insights", f"must be a list, not {type(insights).__name__}")
    return [encode(f"insights[{i}]", insight) for i, insight in enumerate(insights)]
