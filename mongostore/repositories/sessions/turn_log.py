"""The turns of participants, as they are appended and read: `TurnLog`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from mongostore.arguments import MAX_LIMIT
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import to_turns
from mongostore.errors import ConflictError, InvalidDocumentError
from mongostore.models import Turn
from mongostore.repositories import Connection, current_operation, majority_step
from mongostore.repositories.sessions.message_writer import BATCH_MESSAGES, find_large
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.participant_log import LogEnd, ParticipantLog, participant_of
from mongostore.repositories.sessions.recent_operations import was_done
from mongostore.repositories.sessions.tail import Tail, back_off, contention_error, session_id_of


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
        self._ends: OrderedDict[tuple[str, str], LogEnd] = OrderedDict()

    def cache(self, session: StoredDocument) -> None:
        """Remember where the logs of a stored session end."""
        for name, stored in session.get("participants", {}).items():
            self._cache(
                session["_id"], LogEnd(name, stored["epoch"], stored["turn_count"], session["create_op"])
            )

    def forget(self, key: str, names: Iterable[str]) -> None:
        """Forget where the logs of participants end, because they begin anew."""
        for name in names:
            self._ends.pop((key, name), None)

    async def append(self, key: str, name: str, turns: Sequence[StoredDocument]) -> list[Turn]:
        """Append turns in one step, numbered behind those that are there, and return them.

        Args:
            key: The session's `_id`.
            name: The participant.
            turns: Their stored forms.

        Raises:
            NotFoundError: If there is no such session or participant.
            ConflictError: If others kept appending for too long.
            DocumentTooLargeError: If a turn is too large; nothing was appended.
        """
        call, count = current_operation(), len(turns)
        names = [f"turn {number}" for number in range(count)]
        large = find_large("turns", names, turns, self._tail.limits.embed_bytes)
        end = None if call.attempt else self._ends.get((key, name))
        if end:
            call.memory["incarnation"] = end.create_op
        async with AsyncExitStack() as waiting:
            for attempt in range(self._tail.limits.attempts):
                if attempt == 1:
                    await waiting.enter_async_context(self._tail.take_turn(f"{key}/{name}"))
                await back_off(attempt)
                end = end or await self._find_end(key, name)
                if end is None:
                    break
                embedded = await self._embed(key, end.epoch, turns, large)
                call.memory["first"] = end.number + 1
                if await self._log.append(key, end, end.number + count, {"turns": embedded}):
                    self._cache(key, replace(end, number=end.number + count))
                    break
                end = None
            else:
                raise contention_error(key)
        first = call.memory["first"]
        return to_turns([{**turn, "number": number} for number, turn in enumerate(turns, first)])[0]

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

        Raises:
            NotFoundError: If there is no such session or participant.
            ConflictError: If the session kept changing under the reader for too long.
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

        Raises:
            NotFoundError: If there is no such session or participant.
            ConflictError: If the session kept changing under the reader for too long.
        """
        participant = participant_of(await self._tail.read_fields(key, f"participants.{name}"), name)
        until = participant["turn_count"] if until is None else until
        start = max(after, until - limit)
        found = await self.read(key, name, start, limit, until=until, participant=participant)
        return replace(found, next_after=start if start > after else None)

    async def iterate(
        self, key: str, name: str, errors: list[InvalidDocumentError] | None, *, newest: bool = False
    ) -> AsyncGenerator[Turn, None]:
        """Yield the turns that are there when the iteration begins, in order or backwards.

        Raises:
            NotFoundError: If there is no such session or participant.
            ConflictError: If they were removed in between.
            InvalidDocumentError: If one cannot be read and there are no `errors` to collect that.
        """
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
        fields = (f"participants.{name}", "recent_ops", "create_op", "schema_version")
        session = await self._tail.read_fields(key, *fields)
        if was_done(session):
            return None
        participant = participant_of(session, name)
        return LogEnd(name, participant["epoch"], participant["turn_count"], session["create_op"])

    async def _embed(
        self, key: str, epoch: str, turns: Sequence[StoredDocument], large: Sequence[int]
    ) -> list[StoredDocument]:
        """Return turns as they are embedded in a batch: the large ones without their content.

        Each attempt takes the large values that an earlier one has stored for that epoch.
        """
        memory = current_operation().memory
        if "embedded" not in memory or memory["embedded"][0] != epoch:
            embedded = [*turns]
            for index in large:
                body = {"content": turns[index]["content"]}
                overflow = await self._overflows.put(key, epoch, f"turn {index}", body)
                embedded[index] = {**turns[index], "content": None, "overflow": overflow}
            memory["embedded"] = epoch, embedded
        return list(memory["embedded"][1])

    async def _find(
        self, key: str, epoch: str, after: int, last: int, wanted: int
    ) -> list[StoredDocument] | None:
        """Return the first stored turns between two numbers, None where they went while they were read."""
        wanted = min(wanted, last - after)
        if wanted <= 0:
            return []
        # A batch that holds the first of them begins so far before it at most.
        begins = {"$gt": after - BATCH_MESSAGES, "$lte": last}
        filter = {"session": key, "epoch": epoch, "number": begins, "end": {"$gt": after}}
        order = [("number", 1)]
        async with self._log.batches.find(filter, sort=order, limit=wanted, batch_size=wanted + 1) as cursor:
            batches = await cursor.to_list()
        found = [
            {**turn, "number": number}
            for batch in batches
            for number, turn in enumerate(batch["turns"], batch["number"])
            if after < number <= last
        ]
        return found[:wanted] if len(found) >= wanted else None

    def _cache(self, key: str, end: LogEnd) -> None:
        self._ends[key, end.name] = end
        self._ends.move_to_end((key, end.name))
        if len(self._ends) > self._tail.limits.places:
            self._ends.popitem(last=False)
