"""How messages are read: the session's document first, then the segments below its base, without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

from mongostore.documents.sessions import to_messages
from mongostore.documents.stored import Raw
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Message, Page
from mongostore.repositories import Connection, settled_step
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import ATTEMPTS, KEEP, Tail, pause, session_id_of

_SEGMENTS_A_STEP = 16


# A stored message behind its position; no named tuple, which takes five times as long to make.
Placed = tuple[int, Raw]
Reader = Callable[[str, Any, int, str | None], Awaitable[list[Placed] | None]]


class History:
    """The messages of sessions, as they are read."""

    def __init__(self, connection: Connection, tail: Tail, overflows: Overflows) -> None:
        self._connection = connection
        self._tail = tail
        self._overflows = overflows

    async def page_before(
        self, key: str, before: int | None, limit: int, conversation_id: str | None
    ) -> Page[Message]:
        """Return the last messages before a position, or the newest, in order.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: The session kept changing under the reader for too long.
        """
        return await self._page(key, limit, True, self._before, before, conversation_id)

    async def page_after(
        self, key: str, after: int | None, limit: int, conversation_id: str | None
    ) -> Page[Message]:
        """Return the first messages behind a position, or the first of all, in order.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: The session kept changing under the reader for too long.
        """
        start = 0 if after is None else after + 1
        return await self._page(key, limit, False, self._from, start, conversation_id)

    async def find(self, key: str, message_id: str) -> Message | None:
        """Return one message, None where the session has no such one.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidDocumentError: It cannot be read.
        """
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            document = await self._tail.read(key)
            placed = [one for one in _of_tail(document) if one[1]["id"] == message_id]
            if not placed and document["base"]:
                where = {**_below(document, document["base"]), "messages.id": message_id}
                segment = await self._tail.segments.find_one(where)
                placed = [one for one in _of_segments([segment], document) if one[1]["id"] == message_id]
            page = await self._decoded(placed)
            if page is not None:
                if page.errors:
                    raise page.errors[0]
                return page.items[0] if page.items else None
        raise _unsteady(key)

    async def iterate(self, key: str, conversation_id: str | None) -> AsyncIterator[Message]:
        """Yield the messages that are there when the iteration begins, in order.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: All messages were removed meanwhile.
            InvalidDocumentError: A message cannot be read.
        """
        document = await settled_step(self._connection, self._tail.read, key)
        position, base = 0, document["base"]
        while position < base:
            # No cursor stays open while the consumer takes its time.
            segments = await settled_step(
                self._connection,
                self._segments,
                document,
                position,
                base,
                _SEGMENTS_A_STEP,
                conversation_id,
            )
            if segments is None:
                raise ConflictError(
                    f"session {session_id_of(key)!r}: its messages were removed while they were read"
                )
            for message in await self._each(
                key, _chosen(_of_segments(segments, document), conversation_id, position)
            ):
                yield message
            position = segments[-1]["end"] if len(segments) == _SEGMENTS_A_STEP else base
        for message in await self._each(key, _chosen(_of_tail(document), conversation_id)):
            yield message

    async def _page(
        self, key: str, limit: int, backwards: bool, read: Reader, edge: Any, conversation_id: str | None
    ) -> Page[Message]:
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            # One more than asked for tells whether there is another page.
            found = await read(key, edge, limit + 1, conversation_id)
            if found is None:
                continue
            kept = found[-limit:] if backwards else found[:limit]
            page = await self._decoded(kept)
            if page is not None:
                last = kept[0 if backwards else -1][0] if len(found) > limit else None
                return Page(page.items, None if last is None else str(last), page.errors)
        raise _unsteady(key)

    async def _before(
        self, key: str, before: int | None, wanted: int, conversation_id: str | None
    ) -> list[Placed] | None:
        """Return the last `wanted` messages before a position, None where the reader met a gap."""
        sliced = before is None and conversation_id is None
        document = await (self._newest(key, wanted) if sliced else self._tail.read(key))
        found = _chosen(_of_tail(document), conversation_id, 0, before)
        base = document["base"]
        if len(found) < wanted and document["end"] - len(document["messages"]) > base:
            # Holes among the newest: the rest of the tail is wanted after all.
            document = await self._tail.read(key)
            found, base = _chosen(_of_tail(document), conversation_id, 0, before), document["base"]
        upper = base if before is None else min(before, base)
        while len(found) < wanted and upper > 0:
            where = _below(document, upper)
            if conversation_id is not None:
                where["messages.conversation_id"] = conversation_id
            count = (wanted - len(found)) // KEEP + 1
            async with self._tail.segments.find(
                where, sort=[("start", -1)], limit=count, batch_size=count + 1
            ) as cursor:
                segments = (await cursor.to_list())[::-1]
            if conversation_id is None and not _joined(segments, None, upper):
                return None
            if not segments:
                break
            found = _chosen(_of_segments(segments, document), conversation_id, 0, upper) + found
            upper = segments[0]["start"]
        return found[-wanted:]

    async def _from(
        self, key: str, start: int, wanted: int, conversation_id: str | None
    ) -> list[Placed] | None:
        """Return the first `wanted` messages from a position on, None where the reader met a gap."""
        document = await self._tail.read(key)
        found: list[Placed] = []
        while len(found) < wanted and start < document["base"]:
            count = (wanted - len(found)) // KEEP + 1
            segments = await self._segments(document, start, document["base"], count, conversation_id)
            if segments is None:
                return None
            found += _chosen(_of_segments(segments, document), conversation_id, start)
            start = segments[-1]["end"] if segments else document["base"]
        if len(found) < wanted:
            found += _chosen(_of_tail(document), conversation_id, start)
        return found[:wanted]

    async def _segments(
        self, document: Raw, start: int, base: int, count: int, conversation_id: str | None
    ) -> list[Raw] | None:
        """Return the first segments that reach behind a position, None where there is a gap."""
        where = _below(document, base)
        # A segment has at most KEEP messages, so none that starts earlier reaches that far.
        where["start"]["$gt"] = start - KEEP
        where["end"] = {"$gt": start}
        if conversation_id is not None:
            where["messages.conversation_id"] = conversation_id
        async with self._tail.segments.find(
            where, sort=[("start", 1)], limit=count, batch_size=count + 1
        ) as cursor:
            segments = await cursor.to_list()
        return segments if conversation_id is not None or _joined(segments, start, None) else None

    async def _newest(self, key: str, count: int) -> Raw:
        """Return the document of an open session with the newest messages of its tail alone."""
        document = await self._tail.sessions.find_one(
            {"_id": key}, {"messages": {"$slice": -count}, "insights": 0}
        )
        if document is None or document["state"] != "open":
            raise NotFoundError("session", session_id_of(key))
        return document

    async def _decoded(self, placed: Sequence[Placed]) -> Page[Message] | None:
        """Return messages as callers see them, None where a large one has just been replaced."""
        if any(message.get("overflow") for _, message in placed):
            filled = await self._overflows.fill([message for _, message in placed])
            if filled is None:
                return None
            placed = [(one[0], message) for one, message in zip(placed, filled, strict=True)]
        items, errors = to_messages(placed)
        return Page(items, errors=errors)

    async def _each(self, key: str, placed: Sequence[Placed]) -> list[Message]:
        """Return messages as callers see them, those that are being replaced as they stand afterwards."""
        page = await settled_step(self._connection, self._decoded, placed)
        if page is None:
            ids = [one[1]["id"] for one in placed]
            found = await settled_step(self._connection, self._find_all, key, ids)
            return [message for message in found if message]
        if page.errors:
            raise page.errors[0]
        return page.items

    async def _find_all(self, key: str, message_ids: Sequence[str]) -> list[Message | None]:
        return [await self.find(key, message_id) for message_id in message_ids]


def _below(document: Raw, upper: int) -> Raw:
    return {"generation": document["generation"], "start": {"$lt": upper}}


def _of_tail(document: Raw) -> list[Placed]:
    first = document["end"] - len(document["messages"])
    return [(position, message) for position, message in enumerate(document["messages"], first) if message]


def _of_segments(segments: Sequence[Raw | None], document: Raw) -> list[Placed]:
    """Return the messages of segments but those that a deletion or an unbinding has announced."""
    going, unbound = set(document["deletions"]), document.get("unbound")
    placed = [
        (position, message)
        for segment in segments
        if segment
        for position, message in enumerate(segment["messages"], segment["start"])
        if message and message["id"] not in going
    ]
    return [one for one in placed if one[1].get("binding") not in unbound] if unbound else placed


def _chosen(
    placed: list[Placed], conversation_id: str | None, start: int = 0, before: int | None = None
) -> list[Placed]:
    """Return those of a conversation, or of all, from one position to another."""
    if placed and (placed[0][0] < start or (before is not None and placed[-1][0] >= before)):
        placed = [one for one in placed if one[0] >= start and (before is None or one[0] < before)]
    if conversation_id is not None:
        placed = [one for one in placed if one[1]["conversation_id"] == conversation_id]
    return placed


def _joined(segments: Sequence[Raw], start: int | None, upper: int | None) -> bool:
    """Return whether segments follow each other without a gap, from a position and up to another."""
    if not segments:
        return False
    if start is not None and segments[0]["start"] > start:
        return False
    if upper is not None and segments[-1]["end"] < upper:
        return False
    return all(left["end"] == right["start"] for left, right in pairwise(segments))


def _unsteady(key: str) -> ConflictError:
    return ConflictError(f"session {session_id_of(key)!r}: its messages kept moving while they were read")
