"""A store's engine as its repositories use it: in one process and loop, tried again while it is away."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from mongostore.documents import COLLECTIONS
from mongostore.documents.stored import Raw
from mongostore.engines import Capability, Engine
from mongostore.engines.driver_errors import translate
from mongostore.errors import MongoStoreError, NotOpenError, UnavailableError, UnsupportedError
from mongostore.repositories.operation import Access, Call, calling, checked
from mongostore.repositories.schema_guard import Guarded
from mongostore.repositories.server_clock import ServerClock

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("mongostore.retry")

# What ends by itself at a call's end, says why; what does not is ended.
_GRACE_SECONDS = 0.1


class Connection:
    """An engine as the repositories of one store use it: open or not, in one process and one event loop.

    Args:
        engine: The engine, opened and closed by the store.
        timeout: Seconds that one call may take, retries included.

    Attributes:
        clock: The server's clock.
    """

    def __init__(self, engine: Engine, timeout: float) -> None:
        self.engine = engine
        self.clock = ServerClock()
        self.timeout = timeout
        self._collections: dict[str, Guarded] = {}
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._discarded: set[asyncio.Task[None]] = set()

    def attach(self) -> None:
        """Bind the connection to the engine, now open, to this process and to this event loop."""
        for name in COLLECTIONS:
            collection = self.engine.collection(name)
            self._collections[name] = Guarded(collection, self.engine.settled(collection))
        loop = asyncio.get_running_loop()
        self._owner, self._closed = (os.getpid(), loop), loop.create_future()

    async def read_clock(self) -> None:
        """Learn the server's time, which decides where that of this host differs.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        asked_at = time.time_ns() // 1000
        try:
            hello = await self.engine.database.command("hello")
        except PyMongoError as error:
            raise translate(error, self.engine.label) from None
        self.clock.set(hello["localTime"], asked_at)

    @property
    def is_attached(self) -> bool:
        """Whether the connection is open, here or in another process or event loop."""
        return self._owner is not None

    def detach(self) -> None:
        """Mark the connection as closed, for those too who wait without a bound."""
        self._owner = None
        self._collections = {}
        if self._closed and not self._closed.done():
            self._closed.set_result(None)

    async def wait(self, awaited: Awaitable[R]) -> R | None:
        """Wait for something without a bound; None when the store is closed or the connection is lost.

        Raises:
            MongoStoreError: What else the server refused, by its meaning.
        """
        assert self._closed is not None, "every public verb checks that the store is open"
        waiting = asyncio.ensure_future(awaited)
        try:
            either: list[asyncio.Future[Any]] = [waiting, self._closed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        except PyMongoError as error:
            reported = translate(error, self.engine.label)
            if isinstance(reported, UnavailableError) and reported.retryable:
                return None
            raise reported from None
        finally:
            waiting.cancel()

    def discard(self, opening: asyncio.Task[Any]) -> asyncio.Task[None]:
        """Close what is open, or as soon as it is, whether or not anybody waits for that."""

        async def close() -> None:
            with suppress(MongoStoreError, PyMongoError), self.engine.deadline(self.timeout):
                await (await opening).close()

        task = asyncio.create_task(close())
        self._discarded.add(task)
        task.add_done_callback(self._discarded.discard)
        return task

    def collection(self, name: str) -> AsyncCollection[Raw]:
        """Return a collection of an open store, one of `COLLECTIONS`."""
        assert self._collections, "every public verb checks that the store is open"
        guarded: Any = self._collections[name]
        collection: AsyncCollection[Raw] = guarded
        return collection

    def check_open(self) -> None:
        """Check that the store is open, here.

        Raises:
            NotOpenError: It is closed, or belongs to another process or event loop.
        """
        if self._owner is None:
            raise NotOpenError("the store is not open: use `async with`, or await open() first")
        pid, loop = self._owner
        if pid != os.getpid():
            raise NotOpenError("the store was opened before a fork: open one in this process")
        if loop is not asyncio.get_running_loop():
            raise NotOpenError("the store was opened in another event loop: open one in each loop")

    def require(self, capability: Capability) -> None:
        """Check that the deployment can do something.

        Raises:
            UnsupportedError: It cannot.
        """
        if capability not in self.engine.capabilities:
            raise UnsupportedError(
                f"{self.engine.label} has no {capability.replace('_', ' ')}: "
                "use a replica set, Atlas or mongod:///folder"
            )


async def step(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run one bounded, retried step of what is not bounded and retried as a whole."""
    return await bounded(connection, lambda: action(*args, **kwargs), Access.WRITE, _name_of(action))


async def settled_step(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a step whose reads show all that was acknowledged, and nothing that a failover takes back."""
    return await bounded(connection, lambda: action(*args, **kwargs), Access.READ_MAJORITY, _name_of(action))


def _name_of(action: object) -> str:
    return getattr(action, "__qualname__", "a step")


@asynccontextmanager
async def opened(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> AsyncGenerator[R, None]:
    """Run a step that opens a stream, and close it, for its cursor would live on at the server.

    Whoever is cancelled during either is so at once; the stream is closed all the same.
    """
    opening = asyncio.create_task(step(connection, action, *args, **kwargs))
    try:
        stream = await asyncio.shield(opening)
    except asyncio.CancelledError:
        connection.discard(opening)
        raise
    try:
        yield stream
    finally:
        await asyncio.shield(connection.discard(opening))


async def bounded(
    connection: Connection, action: Callable[[], Awaitable[R]], access: Access, operation: str = "a step"
) -> R:
    """Run an action as one call, and again while the server is away and the call's time lasts.

    Raises:
        NotOpenError: The store is closed, or belongs to another process or event loop.
        UnavailableError: It was away all the time.
        MongoStoreError: What else the server refused, by its meaning.
    """
    connection.check_open()
    engine = connection.engine
    with calling(connection.timeout, access, operation) as call:
        call.now = connection.clock.from_host(call.now)
        while True:
            try:
                with engine.deadline(call.attempt_seconds()):
                    # The driver looks for a server half a second at a time, and for its name without end.
                    async with asyncio.timeout(call.ends - time.monotonic() + _GRACE_SECONDS):
                        return await _attempt(connection, call, action)
            except PyMongoError as error:
                reported: MongoStoreError = translate(error, engine.label)
            except UnavailableError as error:
                reported = error
            except TimeoutError:
                reported = engine.overdue()
            if not (isinstance(reported, UnavailableError) and reported.retryable):
                raise reported from None
            await _pause(connection, call, reported)


async def _attempt(connection: Connection, call: Call, action: Callable[[], Awaitable[R]]) -> R:
    engine = connection.engine
    if connection.clock.is_stale:
        await connection.read_clock()
        call.now = connection.clock.now()
    if call.access is Access.READ_MAJORITY:
        return await checked(call, engine.settle(action))
    result = await checked(call, action())
    if call.attempt and call.access is Access.WRITE:
        # What it found done already, the majority may not have so far.
        await engine.confirm()
    return result


async def _pause(connection: Connection, call: Call, reported: MongoStoreError) -> None:
    """Wait before the next attempt, and prepare the engine for it.

    Raises:
        MongoStoreError: What was reported, for there is no time for another attempt.
        NotOpenError: The store was closed meanwhile.
    """
    pause = min(0.05 * 2**call.attempt, 1.0) * random.uniform(0.5, 1.0)
    if time.monotonic() + pause >= call.ends:
        raise reported from None
    operation, attempt, reason = call.operation, call.attempt + 1, str(reported)
    _log.warning(
        "%s: attempt %d failed (%s); %.1f s left",
        *(operation, attempt, reason, call.ends - time.monotonic()),
        extra={"operation": operation, "attempt": attempt, "reason": reason},
    )
    await asyncio.sleep(pause)
    try:
        async with asyncio.timeout(call.ends - time.monotonic()):
            call.is_silent = not await connection.engine.revive()
    except TimeoutError:
        raise reported from None
    connection.check_open()
    call.attempt += 1
