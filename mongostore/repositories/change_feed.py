"""The changes of a whole store, read by one change stream and handed out to its readers by owner."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import bson
from pymongo.errors import OperationFailure

from mongostore.documents.mapping import StoredDocument
from mongostore.engines.mongo import CODEC
from mongostore.errors import InvalidValueError, MongoStoreError, NotOpenError, SlowReaderError
from mongostore.repositories.connection import Connection
from mongostore.repositories.retry import majority_step, open_stream, retry_step

# A reader that is further behind than this is not waited for.
MAX_CHANGES = 1000
MAX_BYTES = 16 * 1024 * 1024
_PAUSE_SECONDS = 0.02
# A change that came with others in one answer is there sooner than any answer is.
_ANSWER_SECONDS = 0.0001
# Between streams: one that opens but to break must not spin.
_REOPEN_SECONDS = 0.1
_CLOSE_SECONDS = 1.0
# Readers that go on from a token share the store's connections with its verbs.
_REPLAYS_AT_ONCE = 4
_REPLAY_AWAIT_MS = 100
# What servers answer to a token of the right shape that they never gave.
_BAD_TOKEN_CODES = {9, 15, 40647, 40649, 50811}

Owner = tuple[str, str]


@dataclass(frozen=True)
class _Source:
    """A collection whose changes are read.

    Attributes:
        collection: Its name.
        head: The collection of the heads that own its documents.
        filter: The changes that are of interest.
        owner: The path of the owner's id in a change.
        owner_of: The owner's id from that value.
    """

    collection: str
    head: str
    filter: StoredDocument
    owner: str = "documentKey._id"
    owner_of: Callable[[str], str] = str

    def find_owner(self, event: Mapping[str, Any]) -> Owner:
        value: Any = event
        for name in self.owner.split("."):
            value = value[name]
        return self.head, self.owner_of(value)

    def match(self, name: str, owner_id: str | None) -> StoredDocument:
        """Return the filter of the changes, or of those of one owner."""
        filter: StoredDocument = {"ns.coll": name, **self.filter}
        if owner_id is not None and self.owner_of is str:
            filter[self.owner] = owner_id
        elif owner_id is not None:
            # Wider by the owners whose ids go on with a slash; `find_owner` tells them apart.
            filter[self.owner] = {"$gte": f"{owner_id}/", "$lt": f"{owner_id}0"}
        return filter


def _session_of_segment(segment_id: str) -> str:
    return segment_id.rsplit("/", 2)[0]


_SOURCES = (
    _Source("sessions", "sessions", {"operationType": {"$in": ["update", "delete"]}}),
    _Source("session_segments", "sessions", {"operationType": "update"}, owner_of=_session_of_segment),
    _Source(
        "rooms",
        "rooms",
        {
            "$or": [
                {"operationType": "delete"},
                {"updateDescription.updatedFields.state": {"$exists": True}},
            ]
        },
    ),
    _Source(
        "events",
        "rooms",
        {"operationType": "insert", "fullDocument.index": {"$gte": 0}},
        owner="fullDocument.room_id",
    ),
)


class _Change:
    """A change as it came, which is decoded once for all of its readers."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.time: Any = event["clusterTime"]
        self.token: str = str(event["_id"]["_data"])
        self._encoded = bson.encode(event)
        self.size: int = len(self._encoded)

    @cached_property
    def document(self) -> StoredDocument:
        return bson.decode(self._encoded, CODEC)


class ChangeReader:
    """One reader of the changes of one owner, with a buffer that is bounded."""

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self.owner = owner
        self.token: Mapping[str, Any] = {}
        self._connection = connection
        self._changes: deque[_Change] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._failure: MongoStoreError | None = None
        self._time: Any = None
        self._replay: AsyncGenerator[StoredDocument, None] | None = None
        self._replayed = ""

    def start_after(self, time: Any) -> None:
        """Leave out the changes up to a time of the server."""
        self._time = time

    def begin_with(self, replay: AsyncGenerator[StoredDocument, None]) -> None:
        """Yield the changes of a generator first."""
        self._replay = replay

    def end_replay(self, token: str) -> None:
        """Leave out the changes up to the token at which the replay ended, also those that came before it."""
        self._replayed = token
        while self._changes and self._changes[0].token <= token:
            self._size -= self._changes.popleft().size

    def put(self, change: _Change) -> None:
        """Add a change, unless too many wait already; the reader is then to begin anew."""
        if self._failure is not None or change.token <= self._replayed:
            return
        if self._time is not None and change.time <= self._time:
            return
        if len(self._changes) >= MAX_CHANGES or self._size > MAX_BYTES:
            self.fail(SlowReaderError(f"{len(self._changes):,} changes wait to be read"))
            return
        self._changes.append(change)
        self._size += change.size
        self._news.set()

    def fail(self, error: MongoStoreError) -> None:
        """End the reader with an error, behind the changes that wait."""
        self._failure = self._failure or error
        self._news.set()

    async def next(self) -> StoredDocument:
        """Return the next change, waiting until there is one."""
        if self._replay is not None:
            async for document in self._replay:
                return document
            self._replay = None
        while not self._changes:
            if self._failure is not None:
                raise copy.copy(self._failure)
            self._news.clear()
            if not await self._connection.wait_or_closed(self._news.wait()):
                raise NotOpenError("the store was closed during the call")
        change = self._changes.popleft()
        self._size -= change.size
        return change.document


class ChangeFeed:
    """The one change stream of a store, open while it has readers.

    Each of them sees the changes of one session or room. The stream has a connection of its own, and goes
    on where it was lost. A reader that is too slow is ended; it holds up neither the stream nor the others.

    Args:
        connection: The store's connection.
        heartbeat: Seconds between heartbeats on a cluster; None for none.
        pause: Seconds between the server's answers, each of which then has many changes.
    """

    def __init__(
        self, connection: Connection, heartbeat: float | None = None, *, pause: float = _PAUSE_SECONDS
    ) -> None:
        self._connection = connection
        self._heartbeat = heartbeat
        self._pause = pause
        self._readers: dict[Owner, set[ChangeReader]] = {}
        self._running: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._stream: Any = None
        self._replays = asyncio.Semaphore(_REPLAYS_AT_ONCE)

    @asynccontextmanager
    async def read(
        self, head: str, owner_id: str, after: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[ChangeReader, None]:
        """Open a reader of the changes of one owner, from now on or behind a token.

        Raises:
            MongoStoreError: If the stream cannot be opened; an unusable token is an error of the reader.
        """
        reader = ChangeReader(self._connection, (head, owner_id))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave, reader)
            if after is None:
                await self._join(reader)
                engine = self._connection.engine
                reader.start_after(
                    await majority_step(self._connection, engine.majority_time, head, owner_id)
                )
            else:
                replay = self._replay(reader, after)
                stack.push_async_callback(replay.aclose)
                reader.begin_with(replay)
            yield reader

    async def _join(self, reader: ChangeReader) -> None:
        """Hand changes to a reader from now on, once the stream is open."""
        self._readers.setdefault(reader.owner, set()).add(reader)
        if self._running is None:
            self._opened = asyncio.get_running_loop().create_future()
            # Its deadlines are its own, and not those of the first reader.
            self._running = asyncio.create_task(self._run(), context=Context())
        assert self._opened is not None, "it is made with the task"
        await asyncio.shield(self._opened)
        reader.token = dict(self._stream.resume_token or {})

    async def _leave(self, reader: ChangeReader) -> None:
        readers = self._readers.get(reader.owner, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(reader.owner, None)
        if not self._readers and self._running is not None:
            running, self._running = self._running, None
            running.cancel()
            # It closes the stream, whose cursor would live on at the server.
            await asyncio.wait([running])

    async def _run(self) -> None:
        """Read the stream, and another one behind it where the connection is lost."""
        running, token = self._running, None
        beating = asyncio.create_task(self._beat())
        try:
            while True:
                async with open_stream(self._connection, self._open, None, token) as stream:
                    self._stream = stream
                    if self._opened and not self._opened.done():
                        self._opened.set_result(None)
                    reading = asyncio.create_task(self._hand_out(stream))
                    try:
                        await self._connection.wait_or_closed(reading)
                    finally:
                        # One that is cancelled closes the stream by itself.
                        await asyncio.wait([reading], timeout=_CLOSE_SECONDS)
                    token = stream.resume_token
                await asyncio.sleep(_REOPEN_SECONDS)
        except MongoStoreError as error:
            if self._running is running:
                self._end(error)
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        """Keep shards without writes from delaying changes, which wait until each shard has a later time."""
        while self._heartbeat is not None:
            await asyncio.sleep(self._heartbeat)
            # Where no shard answers, the stream reports it.
            with suppress(MongoStoreError):
                await retry_step(self._connection, self._connection.engine.advance_shards)

    def _end(self, error: MongoStoreError) -> None:
        self._running, readers = None, self._readers
        self._readers = {}
        for reader in {reader for of_owner in readers.values() for reader in of_owner}:
            reader.fail(error)
        if self._opened and not self._opened.done():
            self._opened.set_exception(error)
            # Each of the readers may have left meanwhile.
            self._opened.exception()

    async def _hand_out(self, stream: Any) -> None:
        heads = {self._connection.engine.collection(source.collection).name: source for source in _SOURCES}
        asked = time.perf_counter()
        async for event in stream:
            was_answered = time.perf_counter() - asked > _ANSWER_SECONDS
            if readers := self._readers.get(heads[event["ns"]["coll"]].find_owner(event)):
                change = _Change(event)
                for reader in readers:
                    reader.put(change)
            if was_answered:
                await asyncio.sleep(self._pause)
            elif readers:
                # A whole batch may be there at once: the readers shall have their turns.
                await asyncio.sleep(0)
            asked = time.perf_counter()

    async def _open(self, owner: Owner | None, token: Mapping[str, Any] | None) -> Any:
        engine = self._connection.engine
        filters = [
            source.match(engine.collection(source.collection).name, owner and owner[1])
            for source in _SOURCES
            if owner is None or source.head == owner[0]
        ]
        pipeline = [{"$match": {"$or": filters}}]
        if owner is None:
            return await engine.watch(pipeline, token)
        try:
            return await engine.database.watch(
                pipeline, resume_after=token, max_await_time_ms=_REPLAY_AWAIT_MS
            )
        except OperationFailure as error:
            if error.code not in _BAD_TOKEN_CODES:
                raise
            raise InvalidValueError("after", "is not the token of a change") from None

    async def _replay(
        self, reader: ChangeReader, token: Mapping[str, Any]
    ) -> AsyncGenerator[StoredDocument, None]:
        """Yield the changes between a token and the moment from which on the stream has all others."""
        joined = ""
        async with open_stream(self._connection, self._open, reader.owner, token) as stream:
            while True:
                async with self._replays:
                    document = await retry_step(self._connection, stream.try_next)
                reached = str((stream.resume_token or token)["_data"])
                if document is not None:
                    if self._is_of(document, reader.owner):
                        yield document
                elif not joined:
                    await self._join(reader)
                    joined = str(reader.token["_data"])
                if joined and reached >= joined:
                    # Tokens are in the order of the changes.
                    reader.end_replay(reached)
                    return

    def _is_of(self, document: StoredDocument, owner: Owner) -> bool:
        name = document["ns"]["coll"]
        engine = self._connection.engine
        source = next(one for one in _SOURCES if engine.collection(one.collection).name == name)
        return source.find_owner(document) == owner
