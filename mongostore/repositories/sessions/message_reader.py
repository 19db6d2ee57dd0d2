"""How messages are read: the session's document first, then the segments below its base, without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import pairwise

from mongostore.arguments import MAX_LIMIT
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import to_messages
from mongostore.errors import ConflictError, InvalidDocumentError
from mongostore.models import Message, Page
from mongostore.repositories import Connection, current_operation, majority_step
from mongostore.repositories.paging import page_around
from mongostore.repositories.sessions.limits import MAX_SEGMENT_MESSAGES
from mongostore.repositories.sessions.lines import HeadOf, Lines, find_lines
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import Positioned, Tail, back_off, messages_of, session_id_of

_SEGMENTS_A_STEP = 16


class MessageReader:
    """The messages of sessions, as they are read."""

    def __init__(self, connection: Connection, tail: Tail, overflows: Overflows) -> None:
        self._connection = connection
        self._tail = tail
        self._limits = tail.limits
        self._overflows = overflows

    async def page(
        self,
        key: str,
        limit: int,
        bounds: tuple[int, int | None] = (0, None),
        *,
        newest: bool = False,
        conversation_id: str | None = None,
        head_of: HeadOf | None = None,
    ) -> Page[Message]:
        """Return the first messages from a position on and before another, or the last ones, in order.

        Args:
            key: The session's `_id`.
            limit: How many messages.
            bounds: The first position, and the one before which they are, if any.
            newest: Whether they are the last ones.
            conversation_id: The conversation of the messages, if not of all.
            head_of: Returns the id of the message that ends the branch of the messages, if they are of one;
                None for no messages.
        """
        read = self._last if newest else self._first
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            # One more than asked for tells whether there is another page.
            found = await read(key, *bounds, limit + 1, conversation_id, head_of)
            if found is None:
                continue
            remaining = found[-limit:] if newest else found[:limit]
            page = await self._decode_page(key, remaining)
            if page is not None:
                last = remaining[0 if newest else -1][0] if len(found) > limit else None
                return Page(page.items, None if last is None else str(last), page.errors)
        raise _contention_error(key)

    async def page_around(
        self, key: str, limit: int, position: int, conversation_id: str | None
    ) -> Page[Message]:
        """Return the messages around a position, of which half at the most stand before it."""
        read = partial(self.page, key, conversation_id=conversation_id)
        return await page_around(
            limit,
            lambda half: read(half, (0, position), newest=True),
            lambda rest: read(rest, (position, None)),
        )

    async def find(self, key: str, message_id: str) -> Message | None:
        """Return one message, None where the session has no such one."""
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            positioned = [one for one in messages_of(document) if one[1]["id"] == message_id]
            if not positioned and document["tail_start"]:
                filter = {**_segments_before(document, document["tail_start"]), "messages.id": message_id}
                segment = await self._tail.segments.find_one(filter)
                positioned = [
                    one for one in _segment_messages([segment], document) if one[1]["id"] == message_id
                ]
            page = await self._decode_page(key, positioned)
            if page is not None:
                if page.errors:
                    raise page.errors[0]
                return page.items[0] if page.items else None
        raise _contention_error(key)

    async def iterate(
        self, key: str, conversation_id: str | None, errors: list[InvalidDocumentError] | None
    ) -> AsyncIterator[Message]:
        """Yield the messages that are there when the iteration begins, in order."""
        document = await majority_step(self._connection, self._tail.read, key)
        position, base, count = 0, document["tail_start"], _SEGMENTS_A_STEP
        lines = await find_lines(self._tail, document, conversation_id, None)
        while position < base:
            # No cursor stays open while the consumer takes its time.
            segments, count = await majority_step(
                self._connection, self._next_segments, document, position, count, lines
            )
            found = _select(_segment_messages(segments, document), lines, position)
            for message in await self._decode_each(document, found, errors):
                yield message
            position = segments[-1]["end"] if len(segments) == count else base
        for message in await self._decode_each(document, _select(messages_of(document), lines), errors):
            yield message

    async def iterate_newest(
        self, key: str, conversation_id: str | None, errors: list[InvalidDocumentError] | None
    ) -> AsyncIterator[Message]:
        """Yield the messages that are there when the iteration begins, the newest first; see `iterate`."""
        connection, begun, before = self._connection, await self._epoch(key), None
        while True:
            page = await majority_step(
                connection,
                self.page,
                key,
                MAX_LIMIT,
                (0, before),
                newest=True,
                conversation_id=conversation_id,
            )
            if await self._epoch(key) != begun:
                raise _removed_error(key)
            _collect(page.errors, errors)
            for message in reversed(page.items):
                yield message
            if page.next_cursor is None:
                return
            before = int(page.next_cursor)

    async def count(self, key: str, conversation_id: str | None) -> int:
        """Return the number of messages, of one conversation or of all."""
        if conversation_id is None:
            return int((await self._tail.read_fields(key, "message_count"))["message_count"])
        document = await self._tail.read(key)
        lines = await find_lines(self._tail, document, conversation_id, None)
        count, position, base = len(_select(messages_of(document), lines)), 0, document["tail_start"]
        while position < base:
            segments, size = await self._next_segments(document, position, _SEGMENTS_A_STEP, lines)
            count += len(_select(_segment_messages(segments, document), lines, position))
            position = segments[-1]["end"] if len(segments) == size else base
        return count

    async def _epoch(self, key: str) -> str:
        session = await majority_step(self._connection, self._tail.read_fields, key, "epoch")
        return str(session["epoch"])

    async def _last(
        self,
        key: str,
        start: int,
        before: int | None,
        wanted: int,
        conversation_id: str | None,
        head_of: HeadOf | None,
    ) -> list[Positioned] | None:
        """Return the last `wanted` messages between two positions, None where the reader met a gap."""
        sliced = before is None and conversation_id is None and head_of is None
        document = await self._tail.read(key, wanted if sliced else None)
        lines = await find_lines(self._tail, document, conversation_id, head_of)
        if lines is not None and not lines:
            return []
        found = _select(messages_of(document), lines, start, before)
        base = document["tail_start"]
        if len(found) < wanted and document["next_position"] - len(document["messages"]) > max(base, start):
            # Holes among the newest: the rest of the tail is wanted after all.
            document = await self._tail.read(key)
            found, base = _select(messages_of(document), lines, start, before), document["tail_start"]
        upper = base if before is None else min(before, base)
        while len(found) < wanted and upper > start:
            filter = _segments_before(document, upper)
            if start:
                filter = _reaching_past(filter, start)
            if lines is not None:
                filter["messages.conversation_id"] = {"$in": [*lines]}
            count = (wanted - len(found)) // self._limits.keep + 1
            segments = await self._tail.segments.find_all(filter, sort=[("start", -1)], limit=count)
            segments.reverse()
            if lines is None and not _has_no_gap(segments, None, upper):
                return None
            if not segments:
                break
            found = _select(_segment_messages(segments, document), lines, start, upper) + found
            upper = segments[0]["start"]
        return found[-wanted:]

    async def _first(
        self,
        key: str,
        start: int,
        before: int | None,
        wanted: int,
        conversation_id: str | None,
        head_of: HeadOf | None,
    ) -> list[Positioned] | None:
        """Return the first `wanted` messages between two positions, None where the reader met a gap."""
        document = await self._tail.read(key)
        lines = await find_lines(self._tail, document, conversation_id, head_of)
        if lines is not None and not lines:
            return []
        found: list[Positioned] = []
        is_boundary = start == 0
        end = document["tail_start"] if before is None else min(before, document["tail_start"])
        while len(found) < wanted and start < end:
            count = (wanted - len(found)) // self._limits.keep + 1
            segments = await self._segments(document, start, end, count, lines, is_boundary)
            is_boundary = True
            if segments is None:
                return None
            found += _select(_segment_messages(segments, document), lines, start, before)
            start = segments[-1]["end"] if segments else end
        if len(found) < wanted:
            found += _select(messages_of(document), lines, start, before)
        return found[:wanted]

    async def _next_segments(
        self, document: StoredDocument, position: int, count: int, lines: Lines | None
    ) -> tuple[list[StoredDocument], int]:
        """Return some segments from the end of another one on, or the first ones, and how many were wanted.

        Raises:
            ConflictError: If they were removed.
        """
        # Over a slow line fewer, of which an attempt can bring at least one.
        count = max(count >> 2 * current_operation().attempt, 1)
        segments = await self._segments(document, position, document["tail_start"], count, lines, True)
        if segments is None:
            raise _removed_error(document["_id"])
        return segments, count

    async def _segments(
        self,
        document: StoredDocument,
        start: int,
        base: int,
        count: int,
        lines: Lines | None,
        is_boundary: bool,
    ) -> list[StoredDocument] | None:
        """Return the first segments that reach behind a position, None where there is a gap."""
        filter = _segments_before(document, base)
        # Where one segment ends, the next one starts.
        filter = (
            {**filter, "start": {**filter["start"], "$gte": start}}
            if is_boundary
            else _reaching_past(filter, start)
        )
        if lines is not None:
            filter["messages.conversation_id"] = {"$in": [*lines]}
        segments = await self._tail.segments.find_all(filter, sort=[("start", 1)], limit=count)
        return segments if lines is not None or _has_no_gap(segments, start, None) else None

    async def _decode_page(self, key: str, positioned: Sequence[Positioned]) -> Page[Message] | None:
        """Return messages as callers see them, None where a large one has just been replaced."""
        if any("stream" in message or message.get("overflow") for _, message in positioned):
            filled = await self._overflows.load_into(key, [message for _, message in positioned])
            if filled is None:
                return None
            positioned = [(one[0], message) for one, message in zip(positioned, filled, strict=True)]
        items, errors = to_messages(positioned)
        return Page(items, errors=errors)

    async def _decode_each(
        self,
        document: StoredDocument,
        positioned: Sequence[Positioned],
        errors: list[InvalidDocumentError] | None,
    ) -> list[Message]:
        """Return messages of a session as callers see them, those that are being replaced as they are then.

        Raises:
            ConflictError: If all were removed.
        """
        key = document["_id"]
        page = await majority_step(self._connection, self._decode_page, key, positioned)
        if page is None:
            ids = [one[1]["id"] for one in positioned]
            page = await majority_step(self._connection, self._find_all, key, ids)
            if await self._epoch(key) != document["epoch"]:
                raise _removed_error(key)
        _collect(page.errors, errors)
        return page.items

    async def _find_all(self, key: str, message_ids: Sequence[str]) -> Page[Message]:
        page: Page[Message] = Page([])
        for message_id in message_ids:
            try:
                message = await self.find(key, message_id)
            except InvalidDocumentError as error:
                page.errors.append(error)
            else:
                page.items += [message] if message else []
        return page


def _segments_before(document: StoredDocument, upper: int) -> StoredDocument:
    return {"session": document["_id"], "epoch": document["epoch"], "start": {"$lt": upper}}


def _reaching_past(filter: StoredDocument, position: int) -> StoredDocument:
    """Return the filter of those segments that hold a position or one behind it.

    The index goes by where segments start, and another process may have filled it up to the limit of all.
    """
    return {
        **filter,
        "start": {**filter["start"], "$gt": position - MAX_SEGMENT_MESSAGES},
        "end": {"$gt": position},
    }


def _segment_messages(
    segments: Sequence[StoredDocument | None], document: StoredDocument
) -> list[Positioned]:
    """Return the messages of segments but those that a deletion has announced."""
    going = set(document["pending_deletes"])
    return [
        (position, message)
        for segment in segments
        if segment
        for position, message in enumerate(segment["messages"], segment["start"])
        if message and message["id"] not in going
    ]


def _select(
    positioned: list[Positioned], lines: Lines | None, start: int = 0, before: int | None = None
) -> list[Positioned]:
    """Return those of some conversations, or of all, from one position to another."""
    if positioned and (positioned[0][0] < start or (before is not None and positioned[-1][0] >= before)):
        positioned = [one for one in positioned if one[0] >= start and (before is None or one[0] < before)]
    if lines is not None:
        positioned = [one for one in positioned if one[0] <= lines.get(one[1]["conversation_id"], -1)]
    return positioned


def _has_no_gap(segments: Sequence[StoredDocument], start: int | None, upper: int | None) -> bool:
    """Return whether segments follow each other without a gap, from a position and up to another."""
    if not segments:
        return False
    if start is not None and segments[0]["start"] > start:
        return False
    if upper is not None and segments[-1]["end"] < upper:
        return False
    return all(left["end"] == right["start"] for left, right in pairwise(segments))


def _collect(found: list[InvalidDocumentError], errors: list[InvalidDocumentError] | None) -> None:
    """Add errors to a list, or raise the first one where there is none."""
    if errors is None and found:
        raise found[0]
    if errors is not None:
        errors += found


def _removed_error(key: str) -> ConflictError:
    return ConflictError(f"session {session_id_of(key)!r}: its messages were removed while they were read")


def _contention_error(key: str) -> ConflictError:
    return ConflictError(f"session {session_id_of(key)!r}: its messages kept moving while they were read")
