"""The turns of participants, as they are appended and read: `TurnLog`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import count

from mongostore.arguments import MAX_LIMIT
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import to_turns
from mongostore.errors import ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Turn
from mongostore.recent import Recent
from mongostore.repositories import Connection, current_operation, majority_step
from mongostore.repositories.sessions.batches import BATCH_MESSAGES, find_large, has_other_content
from mongostore.repositories.sessions.filters import revision_guard
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.participant_log import LogEnd, ParticipantLog, participant_of
from mongostore.repositories.sessions.recent_operations import was_done
from mongostore.repositories.sessions.tail import (
    Tail,
    back_off,
    contention_error,
    other_revision_error,
    session_id_of,
)


@dataclass(frozen=True)
class TurnPage:
    """Some of a participant's turns, in order.

    Attributes:
        participant: The participant as it is stored.
        turns: Those that can be read.
        errors: The errors of the others.
        next_after: The number of the last of them, if more follow.
    """

    participant: StoredDocument
    turns: list[Turn]
    errors: list[InvalidDocumentError]
    next_after: int | None


class TurnLog:
    """The turns of sessions' participants, who go by their escaped ids here."""

    def __init__(self, connection: Connection, tail: Tail, overflows: Overflows) -> None:
        self._connection = connection
        self._tail = tail
        self._overflows = overflows
        self._log = ParticipantLog(connection, overflows, "session_turns", "turn_count")
        # Where each log ended when last seen; a wrong guess costs three commands.
        self._ends = Recent[tuple[str, str], LogEnd](tail.limits.cached_positions)

    def cache(self, session: StoredDocument) -> None:
        """Remember where the logs of a stored session end."""
        for name, stored in session.get("participants", {}).items():
            end = LogEnd(name, stored["epoch"], stored["turn_count"], session["create_op"])
            self._ends[session["_id"], name] = end

    def forget(self, key: str, names: Iterable[str]) -> None:
        """Forget where the logs of participants end, because they begin anew."""
        for name in names:
            self._ends.pop((key, name), None)

    async def append(
        self,
        key: str,
        name: str,
        turns: Sequence[StoredDocument],
        *,
        fresh: bool,
        revision: int | None = None,
    ) -> list[Turn]:
        """Append turns in one step; those that are there already, with the same content, are left.

        Args:
            key: The session's `_id`.
            name: The participant.
            turns: Their stored forms, with ids of their own.
            fresh: Whether the ids were never used before, so that none can be there.
            revision: The revision that the session must still have.

        Returns:
            The turns as they are stored, in the order of the arguments.
        """
        memory = current_operation().memory
        # The keys of large values that were stored for an epoch, by that and the turn.
        spilled: dict[tuple[str, str], str] = memory.setdefault("spilled", {})
        try:
            await self._append(key, name, turns, fresh=fresh, revision=revision)
        except (ConflictError, NotFoundError):
            # Certainly not in use, which after an error of the driver is unknown.
            if not current_operation().attempt:
                await self._overflows.delete(key, spilled.values())
            raise
        numbers, stored = count(memory["first"]), memory["stored"]
        unused = {spilled[at] for at in spilled if at[0] != memory["epoch"] or at[1] in stored}
        await self._overflows.delete(key, unused - {turn.get("overflow") for turn in stored.values()})
        return to_turns([stored.get(turn["id"]) or {**turn, "number": next(numbers)} for turn in turns])[0]

    async def _append(
        self, key: str, name: str, turns: Sequence[StoredDocument], *, fresh: bool, revision: int | None
    ) -> None:
        """Append what is not there yet; keep in memory what is, and the number of the first that was not."""
        call, memory = current_operation(), current_operation().memory
        names = [f"turn {turn['id']!r}" for turn in turns]
        large = {turns[i]["id"] for i in find_large("turns", names, turns, self._tail.limits.embed_bytes)}
        guess = None if call.attempt or revision is not None else self._ends.get((key, name))
        end = guess
        if guess:
            # If the answer is lost, the next attempt means this session, and no later one of that id.
            memory["incarnation"] = guess.create_op
        async with AsyncExitStack() as waiting:
            for attempt in range(self._tail.limits.attempts):
                if attempt == 1:
                    await waiting.enter_async_context(self._tail.take_turn(f"{key}/{name}"))
                await back_off(attempt)
                if guess and not end:
                    # A session that was made anew since then is as good.
                    guess = None
                    del memory["incarnation"]
                end = end or await self._find_end(key, name)
                if end is None:
                    return
                stored = {} if fresh else await self._find_stored(key, end, turns)
                if stored is None:
                    end = None
                    continue
                memory |= {"stored": stored, "epoch": end.epoch, "first": end.number + 1}
                pending = [turn for turn in turns if turn["id"] not in stored]
                if not pending:
                    return
                seen = {"revision": end.revision, "created_at": end.created_at}
                if not revision_guard(revision).items() <= seen.items():
                    raise other_revision_error(key)
                batch = {"turns": await self._embed(key, end.epoch, pending, large)}
                if await self._log.append(key, end, end.number + len(pending), batch, revision):
                    self._ends[key, name] = replace(end, number=end.number + len(pending))
                    return
                end = None
            raise contention_error(key)

    async def read(
        self,
        key: str,
        name: str,
        after: int,
        limit: int,
        *,
        until: int | None = None,
        participant: StoredDocument | None = None,
    ) -> TurnPage:
        """Return the first turns behind a number, and the participant as it stands there.

        Args:
            key: The session's `_id`.
            name: The participant.
            after: The number.
            limit: How many at most.
            until: The number of the last turn of interest, if not all are.
            participant: The participant, if it was just read.
        """
        path = f"participants.{name}"
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            if participant is None:
                participant = participant_of(await self._tail.read_fields(key, path), name)
            last = participant["turn_count"] if until is None else min(until, participant["turn_count"])
            found = await self._find(key, participant["epoch"], after, last, limit + 1)
            filled = None if found is None else await self._overflows.load_into(key, found[:limit])
            if found is None or filled is None:
                participant = None
                continue
            next_after = filled[-1]["number"] if len(found) > limit else None
            return TurnPage(participant, *to_turns(filled), next_after)
        raise ConflictError(f"session {session_id_of(key)!r}: its turns kept moving while they were read")

    async def read_newest(self, key: str, name: str, after: int, limit: int, until: int | None) -> TurnPage:
        """Return the last turns up to a number; `next_after` is where those before end.

        Args:
            key: The session's `_id`.
            name: The participant.
            after: The number behind which they are.
            limit: How many at most.
            until: The number of the last of them; None for the newest of all.
        """
        participant = participant_of(await self._tail.read_fields(key, f"participants.{name}"), name)
        until = participant["turn_count"] if until is None else until
        start = max(after, until - limit)
        found = await self.read(key, name, start, limit, until=until, participant=participant)
        return replace(found, next_after=start if start > after else None)

    async def iterate(
        self, key: str, name: str, errors: list[InvalidDocumentError] | None, *, newest: bool = False
    ) -> AsyncGenerator[Turn, None]:
        """Yield the turns that are there when the iteration begins, in order or backwards."""
        step, until, epoch = self._connection, None, None
        next_after: int | None = 0
        while next_after is not None:
            if newest:
                before = next_after or None
                part = await majority_step(step, self.read_newest, key, name, 0, MAX_LIMIT, before)
            else:
                part = await majority_step(step, self.read, key, name, next_after, MAX_LIMIT, until=until)
            if epoch not in (None, part.participant["epoch"]):
                what = "its turns were removed while they were read"
                raise ConflictError(f"session {session_id_of(key)!r}: {what}")
            if errors is None and part.errors:
                raise part.errors[0]
            if errors is not None:
                errors += part.errors
            for turn in reversed(part.turns) if newest else part.turns:
                yield turn
            epoch, until = part.participant["epoch"], until or part.participant["turn_count"]
            next_after = part.next_after

    async def delete(self, key: str, epochs: list[str]) -> None:
        """Delete all turns of epochs of a session."""
        await self._log.delete(key, epochs)

    async def _find_end(self, key: str, name: str) -> LogEnd | None:
        """Return where the log of a participant ends; None if it has the turns of an earlier attempt."""
        fields = (f"participants.{name}", "recent_ops", "create_op", "schema_version", "revision")
        session = await self._tail.read_fields(key, *fields, "created_at")
        if was_done(session):
            return None
        participant = participant_of(session, name)
        epoch, number = participant["epoch"], participant["turn_count"]
        life = session["create_op"], session["revision"], session["created_at"]
        return LogEnd(name, epoch, number, *life)

    async def _find_stored(
        self, key: str, end: LogEnd, turns: Sequence[StoredDocument]
    ) -> dict[str, StoredDocument] | None:
        """Return those of the turns that are stored up to the end of a log, by id; None if they went."""
        wanted = {turn["id"]: turn for turn in turns}
        filter = {"session": key, "epoch": end.epoch, "turns.id": {"$in": [*wanted]}}
        batches = await self._log.batches.find_all(filter)
        found = [turn for turn in _numbered(batches) if turn["id"] in wanted and turn["number"] <= end.number]
        filled = await self._overflows.load_into(key, found)
        for turn in filled or ():
            if has_other_content(turn, wanted[turn["id"]], ("role", "content")):
                raise ConflictError(f"turn {turn['id']!r} is already there with other content")
        return None if filled is None else {turn["id"]: turn for turn in filled}

    async def _embed(
        self, key: str, epoch: str, turns: Sequence[StoredDocument], large: Set[str]
    ) -> list[StoredDocument]:
        """Return turns as they are embedded in a batch: the large ones without their content.

        Each attempt takes the large values that an earlier one has stored for that epoch.
        """
        spilled = current_operation().memory["spilled"]
        for turn_id, body in (
            (turn["id"], {"content": turn["content"]}) for turn in turns if turn["id"] in large
        ):
            if (epoch, turn_id) not in spilled:
                spilled[epoch, turn_id] = await self._overflows.put(key, epoch, f"turn {turn_id!r}", body)
        return [
            {**turn, "content": None, "overflow": spilled[epoch, turn["id"]]} if turn["id"] in large else turn
            for turn in turns
        ]

    async def _find(
        self, key: str, epoch: str, after: int, last: int, wanted: int
    ) -> list[StoredDocument] | None:
        """Return the first stored turns between two numbers, None where they went while they were read."""
        wanted = min(wanted, last - after)
        if wanted <= 0:
            return []
        # A batch that holds the first of them begins so far before it at most.
        starts = {"$gt": after - BATCH_MESSAGES, "$lte": last}
        filter = {"session": key, "epoch": epoch, "number": starts, "end": {"$gt": after}}
        batches = await self._log.batches.find_all(filter, sort=[("number", 1)], limit=wanted)
        found = [turn for turn in _numbered(batches) if after < turn["number"] <= last]
        return found[:wanted] if len(found) >= wanted else None


def _numbered(batches: Sequence[StoredDocument]) -> Iterator[StoredDocument]:
    for batch in batches:
        for number, turn in enumerate(batch["turns"], batch["number"]):
            yield {**turn, "number": number}
