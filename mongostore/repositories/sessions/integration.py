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
from mongostore.documents.sessions import MAX_INSIGHTS_BYTES, PUBLIC_FIELDS, to_session
from mongostore.errors import DocumentTooLargeError, InvalidValueError, NotFoundError
from mongostore.models import Integration, IntegrationStatus, Integrator, ParticipantIntegration, Turn
from mongostore.repositories import current_operation, majority_step, retry_step
from mongostore.repositories.sessions.recent_operations import not_done, record_operation, was_done
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import back_off, contention_error, session_id_of
from mongostore.repositories.size_limits import SizeLimit

_INSIGHTS = SizeLimit("session", ("insights",), MAX_INSIGHTS_BYTES, "insights_size")

# A model may think for minutes over the turns of one participant. What lasts longer is given up, so that it
# does not hold up the other participants for ever; a thread that it runs in ends when it likes.
_INTEGRATOR_SECONDS = 600.0


class Integrations:
    """The integrations of one namespace's sessions."""

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage

    async def run(self, key: str, integrator: Integrator, executor: Executor | None) -> Integration:
        """Integrate what is new of each participant; see `AsyncSessionTurns.integrate`."""
        document = await majority_step(self._storage.connection, self._read_session, key)
        results = [
            await self._integrate(key, name, seen, integrator, executor)
            for name, seen in document.get("participants", {}).items()
        ]
        if any(result.status is IntegrationStatus.INTEGRATED for result in results):
            document = await majority_step(self._storage.connection, self._read_session, key)
        return Integration(session=to_session(document), results=results)

    async def _integrate(
        self, key: str, name: str, seen: StoredDocument, integrator: Integrator, executor: Executor | None
    ) -> ParticipantIntegration:
        """Integrate what was new of a participant when it was seen."""
        participant_id, until = unescape_key(name), seen["integrated_until"]

        def result(status: IntegrationStatus, **members: Any) -> ParticipantIntegration:
            return ParticipantIntegration(
                participant_id=participant_id, status=status, integrated_until=until, **members
            )

        outcome: list[Any] | Exception = []
        given: list[Turn] = []
        for attempt in range(self._storage.tail.limits.attempts):
            await back_off(attempt)
            if (until or 0) >= seen["turn_count"]:
                return result(IntegrationStatus.NOTHING_NEW)
            until, turns = await self._new_turns(key, name, seen)
            if not turns:
                return result(IntegrationStatus.NOTHING_NEW)
            # Those that another call has just covered show as new until the majority knows of that.
            if turns != given:
                outcome = await _call_integrator(integrator, participant_id, turns, executor)
                given = turns
            if isinstance(outcome, Exception):
                return result(IntegrationStatus.FAILED, error=type(outcome).__name__)
            last = turns[-1].number
            mark = (key, name, seen["epoch"], until, last, outcome)
            try:
                marked = await retry_step(self._storage.connection, self._store_insights, *mark)
            except DocumentTooLargeError as error:
                return result(IntegrationStatus.FAILED, error=type(error).__name__)
            if marked:
                until = last
                return result(
                    IntegrationStatus.INTEGRATED, turns_integrated=len(turns), insights_added=len(outcome)
                )
            # Another call was faster: perhaps not with all of them.
        raise contention_error(key)

    async def _new_turns(self, key: str, name: str, seen: StoredDocument) -> tuple[int | None, list[Turn]]:
        """Return the marker of a participant as it is by now, and the turns behind it that were seen.

        None are if all began anew since, or the participant has gone.
        """
        turns: list[Turn] = []
        marker: int | None = None
        next_after: int | None = None
        while True:
            try:
                part = await majority_step(
                    self._storage.connection,
                    self._storage.turns.read,
                    key,
                    name,
                    next_after,
                    MAX_LIMIT,
                    until=seen["turn_count"],
                )
            except NotFoundError as error:
                if error.kind != "participant":
                    raise
                return None, []
            if part.participant["epoch"] != seen["epoch"]:
                return part.participant["integrated_until"], []
            if part.errors:
                raise part.errors[0]
            if next_after is None:
                marker = part.participant["integrated_until"]
            turns += part.turns
            next_after = part.next_after
            if next_after is None:
                return marker, turns

    async def _store_insights(
        self, key: str, name: str, binding: str, old: int | None, new: int | None, insights: list[Any]
    ) -> bool:
        """Add insights and move the marker in one step; return whether it still stood where it was."""
        call, path = current_operation(), f"participants.{name}"
        marker: StoredDocument = {
            "_id": key,
            "state": "open",
            f"{path}.epoch": binding,
            f"{path}.integrated_until": old,
            **not_done(),
        }
        update: StoredDocument = {
            "$push": {f"insights.{name}": {"$each": insights}, **record_operation()},
            "$set": {f"{path}.integrated_until": new},
            "$inc": {"revision": 1},
            "$max": {"active_at": call.now},
        }

        async def push(filter: StoredDocument, update: StoredDocument) -> bool | None:
            marked = await self._storage.sessions.update_one(filter, update)
            if marked.matched_count or call.attempt == 0:
                return True if marked.matched_count else None
            return was_done(await self._storage.tail.read_fields(key, "recent_ops")) or None

        sessions, session_id = self._storage.sessions, session_id_of(key)
        return await _INSIGHTS.write(sessions, session_id, marker, update, push) is not None

    async def _read_session(self, key: str) -> StoredDocument:
        """Return what callers are shown of an open session."""
        return await self._storage.tail.read_fields(key, *PUBLIC_FIELDS)


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
                returned = await loop.run_in_executor(executor, copy_context().run, call)
            if inspect.isawaitable(returned):
                returned = await returned
        return returned if isinstance(returned, Exception) else _encode_insights(returned)
    except Exception as error:
        return error


def _encode_insights(insights: object) -> list[Any]:
    if not isinstance(insights, Sequence) or isinstance(insights, str | bytes | bytearray):
        raise InvalidValueError("insights", f"must be a list, not {type(insights).__name__}")
    return [encode(f"insights[{i}]", insight) for i, insight in enumerate(insights)]
