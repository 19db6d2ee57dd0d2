"""What every repository does around each of its verbs: check, bound, retry and put errors into our words."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, ParamSpec, TypeVar
from uuid import uuid4

from pymongo.errors import PyMongoError
from pymongo.results import DeleteResult, UpdateResult

from mongostore.documents import Documents
from mongostore.documents.stored import Raw
from mongostore.engines import Capability, Engine
from mongostore.engines.faults import translate, unchained
from mongostore.errors import (
    ConflictError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
    UnsupportedError,
)
from mongostore.repositories.guarding import Guarded, Missed

P = ParamSpec("P")
R = TypeVar("R")

# Short first attempts find the new primary soon after a failover; later ones give slow work its time.
# A server that is silent between them has less of it at first, for another may have taken its place.
_ATTEMPT_SECONDS = (3.0, 3.0, 6.0)
_SILENT_SECONDS = (3.0, 1.0, 2.0, 3.0)
# So often may others be in the way of an update before it is looked at who they are.
_MISSES = 2


@dataclass
class Call:
    """One call of a public verb, the same object over all of its attempts.

    Attributes:
        now: When the call began, in microseconds since 1970.
        attempt: 0 on the first; after that the outcome of an earlier one is unknown.
        is_silent: Whether the server did not even tell that it is there when the last attempt had failed.
        seen: What an earlier attempt has seen for certain, by a name that the verb gives it.
        ends: When it must have ended, by the monotonic clock.
        missed: The updates that did not find what they meant, by collection and filter, and how often.
    """

    ends: float

    now: int = field(default_factory=lambda: time.time_ns() // 1000)
    attempt: int = 0
    is_silent: bool = False
    seen: dict[str, Any] = field(default_factory=dict)
    missed: dict[tuple[str, str], Missed] = field(default_factory=dict)

    @functools.cached_property
    def token(self) -> str:
        """Unique; a retried insert knows its own first attempt by it, and few calls ask for it."""
        return uuid4().hex

    def attempt_seconds(self) -> float:
        """Return how many seconds this attempt may take."""
        schedule = _SILENT_SECONDS if self.is_silent else _ATTEMPT_SECONDS
        seconds = schedule[min(self.attempt, len(schedule) - 1)]
        return min(seconds, max(self.ends - time.monotonic(), 0.05))


_call: ContextVar[Call | None] = ContextVar("mongostore_call", default=None)


def current_call() -> Call:
    """Return the call that this code runs in."""
    call = _call.get()
    assert call is not None, "repositories' helpers run inside a public verb"
    return call


def was_there(result: DeleteResult | UpdateResult) -> bool:
    """Return whether a deletion met something; what is gone when it is tried again, it has met before."""
    met = result.deleted_count if isinstance(result, DeleteResult) else result.matched_count
    return bool(met) or current_call().attempt > 0


async def _note(collection: Any, where: Raw, met: bool, is_urgent: bool) -> None:
    """Note in the current call whether an update found the document that it meant.

    Raises:
        UnsupportedError: It did not, since a newer version has written it.
    """
    call, missed = _call.get(), Missed(collection, where)
    if call is None:
        # On behalf of several calls at once.
        if not met:
            await missed.check()
        return
    meant = collection.name, str(where.get("_id", where))
    if met:
        call.missed.pop(meant, None)
        return
    missed = call.missed.setdefault(meant, missed)
    missed.times += 1
    if is_urgent or missed.times > _MISSES:
        await missed.check()
        del call.missed[meant]


class Connection:
    """An engine as the repositories of one store use it: open or not, in one process and one event loop.

    Args:
        engine: The engine, opened and closed by the store.
        timeout: Seconds that one call may take, retries included.
    """

    def __init__(self, engine: Engine, timeout: float) -> None:
        self.engine = engine
        self.timeout = timeout
        self._documents: Documents | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._discarded: set[asyncio.Task[None]] = set()

    async def attach(self) -> None:
        """Bind document classes to the engine, now open, and the connection to this process and event loop.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        try:
            with self.engine.deadline(self.timeout):
                self._documents = await Documents.bind(self.engine.database)
                for document in vars(self._documents).values():
                    settings = document.get_settings()
                    settings.pymongo_collection = Guarded(settings.pymongo_collection, _note)
        except PyMongoError as error:
            raise translate(error, self.engine.label) from None
        loop = asyncio.get_running_loop()
        self._owner, self._closed = (os.getpid(), loop), loop.create_future()

    @property
    def is_attached(self) -> bool:
        """Whether the connection is open, here or in another process or event loop."""
        return self._owner is not None

    def detach(self) -> None:
        """Mark the connection as closed, for those too who wait without a bound."""
        self._documents = self._owner = None
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

    @property
    def documents(self) -> Documents:
        """The document classes of an open store."""
        assert self._documents is not None, "every public verb checks that the store is open"
        return self._documents

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
                f"{self.engine.label} has no {capability}: use a replica set, Atlas or mongod:///folder"
            )


class Repository:
    """The verbs of one kind of thing.

    Every public coroutine and async generator of a subclass is wrapped: it runs against an open
    store, within the store's timeout, is tried again while the server is away, and raises errors of
    this package alone. So each of them must be safe to run twice; `current_call` tells a second run.

    Attributes:
        in_steps: The coroutines that wait for something else than the server. Like generators they are
            run once, and bound and retry their own steps with `step`.
    """

    in_steps: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if name in cls.in_steps:
                setattr(cls, name, _guarded_steps(member))
            elif inspect.iscoroutinefunction(member):
                setattr(cls, name, _guarded(member))
            elif inspect.isasyncgenfunction(member):
                setattr(cls, name, _guarded_generator(member))


def _guarded(verb: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        connection.check_open()
        if _call.get() is not None:
            return await verb(*args, **kwargs)
        with unchained(), _calling(connection) as call:
            return await _attempts(connection, call, lambda: verb(*args, **kwargs))

    return run


def _guarded_steps(verb: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        connection.check_open()
        with unchained():
            return await verb(*args, **kwargs)

    return run


def _guarded_generator(verb: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncIterator[R]]:
    # A generator lives as long as its consumer likes: it bounds and retries its own steps with `step`.
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        connection.check_open()
        items = verb(*args, **kwargs)
        with unchained():
            try:
                async for item in items:
                    yield item
            except PyMongoError as error:
                raise translate(error, connection.engine.label) from None
            finally:
                await items.aclose()  # type: ignore[attr-defined]  # an async generator

    return run


async def step(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run one bounded, retried step of what is not bounded and retried as a whole."""
    connection.check_open()
    with _calling(connection) as call:
        return await _attempts(connection, call, lambda: action(*args, **kwargs))


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


@contextmanager
def _calling(connection: Connection) -> Any:
    call = Call(ends=time.monotonic() + connection.timeout)
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


async def _checked(call: Call, action: Callable[[], Awaitable[R]]) -> R:
    """Run an action, and look whether a newer document is why it found nothing.

    Raises:
        UnsupportedError: One is.
    """
    try:
        result = await action()
    except (ConflictError, NotFoundError):
        for missed in call.missed.values():
            await missed.check()
        raise
    for missed in call.missed.values():
        await missed.check()
    return result


async def _attempts(connection: Connection, call: Call, action: Callable[[], Awaitable[R]]) -> R:
    engine, ends = connection.engine, call.ends
    while True:
        try:
            with engine.deadline(call.attempt_seconds()):
                return await _checked(call, action)
        except PyMongoError as error:
            reported: MongoStoreError = translate(error, engine.label)
        except UnavailableError as error:
            reported = error
        if not (isinstance(reported, UnavailableError) and reported.retryable):
            raise reported from None
        pause = min(0.05 * 2**call.attempt, 1.0) * random.uniform(0.5, 1.0)
        if time.monotonic() + pause >= ends:
            raise reported from None
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + ends - time.monotonic()):
                call.is_silent = not await engine.revive()
        except TimeoutError:
            raise reported from None
        # It may have been closed meanwhile.
        connection.check_open()
        call.attempt += 1
