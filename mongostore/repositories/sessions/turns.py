"""How turns are appended and read: messages of a session with a number within their binding."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from mongostore.arguments import MAX_LIMIT
from mongostore.codec import unescape_key
from mongostore.documents.mapping import StoredDocument, bson_size
from mongostore.documents.sessions import EMPTY, to_messages, to_stored_preview
from mongostore.errors import ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Turn
from mongostore.repositories import Connection, current_operation, majority_step
from mongostore.repositories.sessions.message_writer import MessageWriter
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import Tail, back_off, session_id_of

# Others' messages may lie between them, so that each is in a segment of its own.
_NUMBERS_A_STEP = 256
_PUBLIC_FIELDS = set(Turn.model_fields)


@dataclass(frozen=True)
class TurnPage:
    """Some of a participant's turns, in order.

    Attributes:
        participant: The participant as it is stored.
        turns: Those that can be read.
        errors: What cannot.
        next_after: The number of the last of them, if more follow.
    """

    participant: StoredDocument
    turns: list[Turn]
    errors: list[InvalidDocumentError]
    next_after: int | None


class Turns:
    """The turns of sessions' participants, who go by their escaped ids here."""

    def __init__(
        self, connection: Connection, tail: Tail, overflows: Overflows, writer: MessageWriter
    ) -> None:
        self._connection = connection
        self._tail = tail
        self._overflows = overflows
        self._writer = writer

    async def append(self, key: str, name: str, messages: Sequence[StoredDocument]) -> list[Turn]:
        """Append turns in one step, numbered behind those that are there, and return them.

        Args:
            key: The session's `_id`.
            name: The participant.
            messages: Stored forms without bindings and numbers, with ids that only this call has.

        Raises:
            NotFoundError: There is no such session or participant.
            ConflictError: Others kept changing the session for too long.
            DocumentTooLargeError: A turn, or all together, are too large; nothing was appended.
        """
        if name not in self._tail.cached_epochs(key):
            participant_of(await self._tail.read(key), name)
        first = 0

        async def push(
            guard: StoredDocument, new: list[StoredDocument], newest: StoredDocument
        ) -> int | None:
            nonlocal first
            if len(new) < len(messages):
                # The others are there: an earlier attempt has appended all, and some were removed since.
                return 0
            pushed = await self._push(key, name, guard, new, newest)
            if pushed is None:
                return None
            first = pushed["participants"][name]["turn_count"] + 1
            return int(pushed["next_position"])

        positioned = await self._writer.append(
            key, messages, fresh=current_operation().attempt == 0, push=push
        )
        # Else they were there, and show their numbers.
        numbers = (turn["number"] - i for i, (_, turn) in enumerate(positioned) if "number" in turn)
        first = first or next(numbers, 0)
        if not first:
            # An earlier attempt has appended them, and others removed them since.
            return _to_turns([turn for _, turn in positioned])[0]
        return _to_turns([{**turn, "number": n} for n, (_, turn) in enumerate(positioned, first)])[0]

    async def read(
        self, key: str, name: str, after: int | None, limit: int, *, until: int | None = None
    ) -> TurnPage:
        """Return the first turns behind a number, and the participant as it stands there.

        Args:
            key: The session's `_id`.
            name: The participant.
            after: The number; None for that of the last turn that was integrated.
            limit: How many at most.
            until: The number of the last turn of interest, if not all are.

        Raises:
            NotFoundError: There is no such session or participant.
            ConflictError: The session kept changing under the reader for too long.
        """
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            participant = participant_of(document, name)
            start = after if after is not None else participant["integrated_until"] or 0
            last = participant["turn_count"] if until is None else min(until, participant["turn_count"])
            found = await self._find(document, name, start, last, limit + 1)
            filled = None if found is None else await self._overflows.load_into(found[:limit])
            if found is None or filled is None:
                continue
            turns, errors = _to_turns(filled)
            next_after = filled[-1]["number"] if len(found) > limit else None
            return TurnPage(participant, turns, errors, next_after)
        raise ConflictError(f"session {session_id_of(key)!r}: its turns kept moving while they were read")

    async def read_newest(self, key: str, name: str, after: int, limit: int, until: int | None) -> TurnPage:
        """Return the last turns up to a number, of so many numbers; `next_after` is where those before end.

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
        if until is None:
            session = await self._tail.read_fields(key, f"participants.{name}")
            until = int(participant_of(session, name)["turn_count"])
        start = max(after, until - limit)
        found = await self.read(key, name, start, limit, until=until)
        return replace(found, next_after=start if start > after else None)

    async def iterate(
        self, key: str, name: str, errors: list[InvalidDocumentError] | None, *, newest: bool = False
    ) -> AsyncGenerator[Turn, None]:
        """Yield the turns that are there when the iteration begins, in order or backwards.

        Raises:
            NotFoundError: There is no such session or participant.
            ConflictError: They were removed meanwhile.
            InvalidDocumentError: If one cannot be read and there are no `errors` to collect that.
        """
        until: int | None = None
        next_after: int | None = 0
        binding = None
        while next_after is not None:
            if newest:
                part = await majority_step(
                    self._connection, self.read_newest, key, name, 0, MAX_LIMIT, next_after or None
                )
            else:
                part = await majority_step(
                    self._connection, self.read, key, name, next_after, MAX_LIMIT, until=until
                )
            if binding not in (None, part.participant["epoch"]):
                raise ConflictError(
                    f"session {session_id_of(key)!r}: its turns were removed while they were read"
                )
            if errors is None and part.errors:
                raise part.errors[0]
            if errors is not None:
                errors += part.errors
            for turn in reversed(part.turns) if newest else part.turns:
                yield turn
            binding, until, next_after = (
                part.participant["epoch"],
                until or part.participant["turn_count"],
                part.next_after,
            )

    async def _push(
        self, key: str, name: str, guard: StoredDocument, new: list[StoredDocument], newest: StoredDocument
    ) -> StoredDocument | None:
        """Append to the tail that the filter finds, and return what it was; None where it finds none.

        The server itself counts: parallel callers need not know of each other.
        """
        binding = self._tail.cached_epochs(key).get(name)
        if binding is None:
            # It is gone, or a store with many sessions has forgotten it.
            binding = participant_of(await self._tail.read(key), name)["epoch"]
        path, amount = f"participants.{name}", len(new)
        # All have the same members, for those of the first are named.
        relative = [{**EMPTY, **message, "binding": binding, "number": i} for i, message in enumerate(new, 1)]
        members: StoredDocument = {member: f"$$turn.{member}" for member in relative[0]}
        members["number"] = {"$add": [f"${path}.turn_count", "$$turn.number"]}
        numbered = {"$map": {"input": {"$literal": relative}, "as": "turn", "in": members}}
        counts = {
            **dict.fromkeys(("message_count", "next_position", f"{path}.turn_count", f"{path}.kept"), amount),
            "messages_bytes": sum(bson_size("message", message) for message in relative),
            "revision": 1,
        }
        sets = {
            "messages": {"$concatArrays": ["$messages", numbered]},
            "last": {"$literal": to_stored_preview(newest)},
            "active_at": {"$max": ["$active_at", current_operation().now]},
            **{field: {"$add": [f"${field}", by]} for field, by in counts.items()},
        }
        return await self._tail.find_and_modify(
            {**guard, f"{path}.epoch": binding},
            [{"$set": sets}],
            {f"{path}.turn_count": 1, "next_position": 1},
        )

    async def _find(
        self, document: StoredDocument, name: str, after: int, last: int, wanted: int
    ) -> list[StoredDocument] | None:
        """Return the first stored turns between two numbers, None where they went while they were read."""
        participant = document["participants"][name]
        binding = participant["epoch"]
        tail = [message for message in document["messages"] if message and message.get("binding") == binding]
        last_in_segments = min(tail[0]["number"] - 1, last) if tail else last
        if participant["kept"] == len(tail):
            last_in_segments = 0
        found: list[StoredDocument] = []
        start = after
        while len(found) < wanted and start < last_in_segments:
            end = min(start + min(wanted - len(found), _NUMBERS_A_STEP), last_in_segments)
            part = await self._from_segments(document, binding, start, end)
            if len(part) < end - start:
                # Some were deleted, or all went this very moment.
                now = await self._tail.read(document["_id"])
                same = now["epoch"] == document["epoch"]
                if participant_of(now, name)["epoch"] != binding or not same:
                    return None
            found += part
            start = end
        return [*found, *(message for message in tail if after < message["number"] <= last)][:wanted]

    async def _from_segments(
        self, document: StoredDocument, binding: str, after: int, last: int
    ) -> list[StoredDocument]:
        """Return the turns of a binding between two numbers that are in segments below the base."""
        filter = {"messages": {"$elemMatch": {"binding": binding, "number": {"$gt": after, "$lte": last}}}}
        async with self._tail.segments.find(filter, batch_size=last - after + 2) as cursor:
            segments = [one for one in await cursor.to_list() if one["start"] < document["tail_start"]]
        going = set(document["pending_deletes"])
        found = [
            message
            for segment in segments
            for message in segment["messages"]
            if message
            and message.get("binding") == binding
            and after < message["number"] <= last
            and message["id"] not in going
        ]
        return sorted(found, key=itemgetter("number"))


def _to_turns(stored: Sequence[StoredDocument]) -> tuple[list[Turn], list[InvalidDocumentError]]:
    messages, errors = to_messages([(None, turn) for turn in stored])
    return [Turn(**message.model_dump(include=_PUBLIC_FIELDS)) for message in messages], errors


def participant_of(session: StoredDocument, name: str) -> StoredDocument:
    """Return a participant of a stored session.

    Raises:
        NotFoundError: It is not bound.
    """
    participant: StoredDocument | None = session.get("participants", {}).get(name)
    if participant is None:
        raise NotFoundError("participant", unescape_key(name))
    return participant
