"""A store's engine as its repositories use it: in one process and loop, tried again while it is away."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from pymongo.errors import PyMongoError

from mongostore.background_tasks import BackgroundTasks
from mongostore.documents import COLLECTIONS
from mongostore.engines import Capability, Engine
from mongostore.engines.driver_errors import translate_error
from mongostore.errors import MongoStoreError, NotOpenError, UnavailableError
from mongostore.hooks import AppendRecord, CallRecord, Hooks, call_hooks
from mongostore.index_definitions import unique_keys
from mongostore.repositories.expiry import states_of
from mongostore.repositories.server_clock import ServerClock
from mongostore.repositories.store_collection import StoreCollection

P = ParamSpec("P")
R = TypeVar("R")

# Beyond the time of a call, in which it ends by itself and says why.
_GRACE_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_MOST_MISSES = 3


class _Call:
    """A verb under way: its name, how often it was tried again, and what it has appended."""

    __slots__ = ("appended", "operation", "retries")

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.retries = 0
        self.appended: AppendRecord | None = None


_call: ContextVar[_Call | None] = ContextVar("mongostore_admitted", default=None)


class CollectionOf:
    """A collection as an attribute of what works on it, by its `_connection`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> StoreCollection:
        collection: StoreCollection = instance._connection.collection(self._name)
        return collection


class Connection:
    """An engine as the repositories of one store use it: open or not, in one process and one event loop.

    Args:
        engine: The engine, opened and closed by the store.
        timeout: Seconds that one call may take, retries included.
        hooks: The application's hooks.

    Attributes:
        clock: The server's clock.
    """

    def __init__(self, engine: Engine, timeout: float, hooks: Sequence[Hooks] = ()) -> None:
        self.engine = engine
        self.hooks = hooks
        self.clock: ServerClock = ServerClock()
        self.timeout = timeout
        self._collections: dict[str, StoreCollection] = {}
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._closing = BackgroundTasks()
        # End what goes on from call to call, while the store still takes calls.
        self.closers: set[Callable[[], Awaitable[None]]] = set()
        self._admitted: set[_Call] = set()
        self._is_idle = asyncio.Event()

    def attach(self) -> None:
        """Bind the connection to the engine, now open, to this process and to this event loop."""
        for name in COLLECTIONS:
            collection = self.engine.collection(name)
            self._collections[name] = StoreCollection(
                collection,
                self.engine.majority_collection(collection),
                unique_keys().get(name, ()),
                states_of(name),
                self.clock.now,
                name,
            )
        loop = asyncio.get_running_loop()
        self._owner, self._closed = (os.getpid(), loop), loop.create_future()

    async def read_clock(self) -> None:
        """Read the server's time, which decides where that of this host differs."""
        asked_at = time.time_ns() // 1000
        try:
            hello = await self.engine.database.command("hello")
        except PyMongoError as error:
            raise translate_error(error, self.engine.address) from None
        self.clock.set(hello["localTime"], asked_at)

    @property
    def has_transactions(self) -> bool:
        """Whether several statements can happen all or not at all; known once the store is open."""
        return Capability.TRANSACTIONS in self.engine.capabilities

    @property
    def is_attached(self) -> bool:
        """Whether the connection is open, here or in another process or event loop."""
        return self._owner is not None

    @contextmanager
    def admit(self, operation: str, namespace: str | None = None) -> Iterator[None]:
        """Run a verb, which ends also if the store is closed in between."""
        self.check_open()
        call, began, failure, outer = _Call(operation), time.monotonic(), None, _call.get()
        is_outermost = outer not in self._admitted
        self._admitted.add(call)
        token = _call.set(call)
        try:
            yield
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            _call.reset(token)
            self._admitted.discard(call)
            if not self._admitted:
                self._is_idle.set()
            if self.hooks:
                if (appended := call.appended) and failure is None:
                    call_hooks(self.hooks, lambda hooks: hooks.on_append(appended))
                if outer and not is_outermost:
                    outer.retries += call.retries
                else:
                    seconds = time.monotonic() - began
                    record = CallRecord(operation, namespace, seconds, call.retries + 1, failure)
                    call_hooks(self.hooks, lambda hooks: hooks.on_call(record))

    def count_retry(self) -> None:
        """Count that the verb under way is tried again."""
        if call := _call.get():
            call.retries += 1

    def report_append(self, namespace: str | None, parent_id: str, items: Sequence[Any]) -> None:
        """Have the hooks receive what the verb under way has appended, when it has ended well."""
        if (call := _call.get()) and items:
            call.appended = AppendRecord(call.operation, namespace, parent_id, tuple(items))

    async def drain(self) -> list[str]:
        """Admit no other verb, and wait for those under way as long as one may take and the server answers.

        Returns:
            Those that have not ended by then.
        """
        if self._owner == (os.getpid(), asyncio.get_running_loop()):
            await self._run_closers()
        owner, self._owner = self._owner, None
        if self._closed and not self._closed.done():
            self._closed.set_result(None)
        if owner != (os.getpid(), asyncio.get_running_loop()):
            return []
        others = self._admitted - {_call.get()}
        self._is_idle.clear()
        end, misses = time.monotonic() + self.timeout + _GRACE_SECONDS, 0
        while others & self._admitted and time.monotonic() < end:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_idle.wait(), _LOOK_SECONDS)
                break
            # Nothing ends well at a server that is silent; one that is busy answers late.
            misses += 1
            with suppress(MongoStoreError):
                misses = 0 if await self.engine.recover() else misses
            if misses == _MOST_MISSES:
                break
        if unended := others & self._admitted:
            return sorted(call.operation for call in unended)
        # The last calls have left more to be ended.
        await self._run_closers()
        return []

    async def _run_closers(self) -> None:
        await asyncio.gather(*(close() for close in [*self.closers]))

    def detach(self) -> None:
        """Mark the connection as closed, for those too who wait without a bound."""
        self._owner = None
        self._admitted = set()
        self._collections = {}
        if self._closed and not self._closed.done():
            self._closed.set_result(None)

    async def wait_or_closed(self, awaited: Awaitable[R]) -> R | None:
        """Wait for something without a bound; None when the store is closed or the connection is lost."""
        assert self._closed is not None, "every public verb checks that the store is open"
        waiting = asyncio.ensure_future(awaited)
        try:
            either: list[asyncio.Future[Any]] = [waiting, self._closed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        except PyMongoError as error:
            reported = translate_error(error, self.engine.address)
            if isinstance(reported, UnavailableError) and reported.retryable:
                return None
            raise reported from None
        finally:
            waiting.cancel()

    def close_in_background(self, opening: asyncio.Task[Any]) -> asyncio.Task[None]:
        """Close what is open, or as soon as it is, whether or not anybody waits for that."""

        async def close() -> None:
            with suppress(MongoStoreError, PyMongoError), self.engine.deadline(self.timeout):
                await (await opening).close()

        return self._closing.start(close())

    def collection(self, name: str) -> StoreCollection:
        """Return a collection of an open store, one of `COLLECTIONS`."""
        self.check_attached()
        return self._collections[name]

    def check_attached(self) -> None:
        """Check, on behalf of calls under way, that the store has not stopped waiting for them."""
        if not self._collections:
            raise NotOpenError("the store was closed during the call")

    def check_open(self) -> None:
        """Check that the store is open, here."""
        if self._owner is None:
            if _call.get() in self._admitted:
                return
            raise NotOpenError("the store is not open: use `async with`, or await open() first")
        pid, loop = self._owner
        if pid != os.getpid():
            raise NotOpenError("the store was opened before a fork: open one in this process")
        if loop is not asyncio.get_running_loop():
            raise NotOpenError("the store was opened in another event loop: open one in each loop")

    def require(self, capability: Capability) -> None:
        """Check that the deployment can do something."""
        if refusal := self.engine.refusals.get(capability):
            raise refusal.kind(f"{self.engine.address}: {refusal.reason}")
