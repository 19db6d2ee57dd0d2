"""The import of lines into sessions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    DocumentTooLargeError,
    InvalidValueError,
    NotFoundError,
)
from mongostore.importers.jsonl import LineError, MessageLine, SessionLine, line_digest, read_line
from mongostore.importers.pace import Pace
from mongostore.models import Message
from mongostore.repositories import activity_of
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.bulk import SessionTransfer

_BATCH = 128
# Files may interleave their sessions; messages of so many wait at a time.
_OPEN_SESSIONS = 16
# A server stores the lines of one session while the next ones are read.
_AT_ONCE = 8
_REFUSALS = (ConflictError, DocumentTooLargeError, InvalidValueError, NotFoundError)


class Line(NamedTuple):
    """A line, its location, such as `chats.jsonl:7`, and the session of a message that names none."""

    location: str
    text: bytes
    session_id: str


@dataclass
class Tally:
    """The numbers of an import."""

    lines: int = 0
    refused_lines: int = 0
    new_sessions: int = 0
    existing_sessions: int = 0
    messages: int = 0
    new_messages: int = 0
    refused_messages: int = 0

    @property
    def existing_messages(self) -> int:
        """The number of messages that were stored before."""
        return self.messages - self.new_messages - self.refused_messages

    @property
    def complete(self) -> bool:
        """Whether nothing was refused."""
        return not (self.refused_lines or self.refused_messages)


class Importer:
    """Stores lines in the sessions of a namespace; stored sessions and messages stay as they are.

    Args:
        sessions: The sessions of the namespace.
        refuse: Called for each line and message that is not stored, with its location and the reason.
    """

    def __init__(self, sessions: AsyncSessions, refuse: Callable[[str], None]) -> None:
        self.tally: Tally = Tally()
        self._sessions = sessions
        self._transfer = SessionTransfer.of(sessions)
        self._pace = Pace(lambda: sessions.exists("any"))
        self._refuse = refuse
        self._tasks = asyncio.TaskGroup()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._pending: dict[str, list[tuple[str, Message]]] = {}
        self._ids: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._own: set[str] = set()
        self._occurrences: Counter[tuple[str, str]] = Counter()

    @property
    def session_ids(self) -> list[str]:
        """The sessions that lines went to and that hold messages, in the order in which they came."""
        return [session_id for session_id in self._ids if self._counts.get(session_id)]

    async def run(self, lines: AsyncIterable[Line]) -> None:
        """Store lines, those of several sessions at once and those of one session in their order."""
        try:
            async with self._tasks:
                async for line in lines:
                    await self._add(line)
                # The first message of a session is held once the session is there.
                await self._wait(lambda: bool(self._running))
                for session_id in [*self._pending]:
                    await self._start_flush(session_id)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _add(self, source: Line) -> None:
        self.tally.lines += 1
        location = source.location
        try:
            line = read_line(source.text)
        except LineError as error:
            self._refuse_line(location, error)
            return
        if isinstance(line, SessionLine):
            held = self._pending.pop(line.id, [])
            store = partial(self._add_session, location, line, held)
            await self._start(line.id, location, store, line.messages)
            return
        session_id = source.session_id if line.session_id is None else line.session_id
        message = self._with_id(session_id, line)
        if session_id not in self._counts:
            await self._wait(lambda: session_id in self._running)
        if session_id in self._counts:
            self._hold(session_id, location, message)
        else:
            begin = partial(self._begin_with, session_id, location, message)
            await self._start(session_id, location, begin, [message])
        if len(self._pending.get(session_id, ())) >= _BATCH:
            await self._start_flush(session_id)
        elif len(self._pending) > _OPEN_SESSIONS:
            await self._start_flush(next(iter(self._pending)))

    async def _start(
        self, session_id: str, location: str, work: Callable[[], Awaitable[None]], messages: Sequence[Message]
    ) -> None:
        """Begin to store in a session, once what is under way for it is done."""
        # What has no time is as old as it is here, so that its order is that of the writes.
        is_timed = all(message.created_at for message in messages)
        most = _AT_ONCE if is_timed else 1
        await self._wait(lambda: session_id in self._running or len(self._running) >= most)
        task = self._tasks.create_task(self._run(location, work))
        self._running[session_id] = task
        task.add_done_callback(lambda _: self._running.pop(session_id))

    async def _wait(self, is_early: Callable[[], bool]) -> None:
        while is_early():
            await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)

    async def _run(self, location: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (LineError, *_REFUSALS) as error:
            self._refuse_line(location, error)

    def _refuse_line(self, location: str, error: Exception) -> None:
        self.tally.refused_lines += 1
        self._refuse(f"{location}: {error}")

    async def _add_session(
        self, location: str, line: SessionLine, held: Sequence[tuple[str, Message]]
    ) -> None:
        await self._append(line.id, held)
        await self._ensure(line.id, line.members, line.messages[0].created_at if line.messages else None)
        if line.context and not (await self._sessions.get(line.id)).has_context:
            times = [message.created_at for message in line.messages] or [line.members.get("created_at")]
            with activity_of(max(filter(None, times), default=None)):
                await self._sessions.context.set(line.id, line.context[0])
        await self._append(
            line.id, [(f"{location}: messages[{i}]", message) for i, message in enumerate(line.messages)]
        )

    def _with_id(self, session_id: str, line: MessageLine) -> Message:
        if not line.digest:
            return line.message
        # The same content twice in a file is two messages, and a file imported twice stores them once.
        occurrence = session_id, line.digest
        id = line_digest(line.digest, self._occurrences[occurrence])
        self._occurrences[occurrence] += 1
        return line.message.model_copy(update={"id": id})

    async def _begin_with(self, session_id: str, location: str, message: Message) -> None:
        await self._ensure(session_id, {}, message.created_at)
        self._hold(session_id, location, message)

    def _hold(self, session_id: str, location: str, message: Message) -> None:
        self._pending.setdefault(session_id, []).append((location, message))

    async def _start_flush(self, session_id: str) -> None:
        held = self._pending.pop(session_id)
        location, messages = held[0][0], [message for _, message in held]
        await self._start(session_id, location, partial(self._append, session_id, held), messages)

    async def _ensure(self, session_id: str, members: dict[str, Any], began: datetime | None) -> None:
        """Create a session, if need be; one whose time is not known begins with its first message."""
        self._ids.setdefault(session_id)
        if session_id in self._counts:
            return
        if members.get("created_at") is None:
            members = {**members, "created_at": began}
        try:
            await self._sessions.create(session_id, **members)
        except AlreadyExistsError:
            known = await self._sessions.find(session_id)
            if known is None:
                raise LineError(f"session {session_id!r} is deleted: undelete or delete it first") from None
            self._counts[session_id] = known.count
            self.tally.existing_sessions += 1
        else:
            self._counts[session_id] = 0
            self._own.add(session_id)
            self.tally.new_sessions += 1

    async def _append(self, session_id: str, located: Sequence[tuple[str, Message]]) -> None:
        for start in range(0, len(located), _BATCH):
            batch = located[start : start + _BATCH]
            count = await self._append_batch(session_id, batch)
            self.tally.messages += len(batch)
            self.tally.new_messages += count - self._counts[session_id]
            self._counts[session_id] = count

    async def _append_batch(self, session_id: str, batch: Sequence[tuple[str, Message]]) -> int:
        """Append messages and return how many the session has then."""
        try:
            messages = [message for _, message in batch]
            append = partial(self._transfer.append_many, session_id)
            positions = [one for part in await self._pace.write(messages, append) for one in part]
        except _REFUSALS:
            await self._append_each(session_id, batch)
        else:
            ends = [position + 1 for position in positions if position is not None]
            if session_id in self._own and len(ends) == len(batch):
                # Of a new session the positions count the messages.
                return max(self._counts[session_id], *ends)
        session = await self._sessions.find(session_id)
        return session.count if session else self._counts[session_id]

    async def _append_each(self, session_id: str, located: Sequence[tuple[str, Message]]) -> None:
        for location, message in located:
            try:
                await self._transfer.append_many(session_id, [message])
            except _REFUSALS as error:
                self.tally.refused_messages += 1
                self._refuse(f"{location}: {error}")
