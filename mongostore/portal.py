"""The loop thread through which blocking code calls the async core."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    contextmanager,
    nullcontext,
    suppress,
)
from contextvars import Context
from types import AsyncGeneratorType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from mongostore.errors import MongoStoreError, NotOpenError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

_CALL = "mongostore call"
_PAUSE_SECONDS = 0.01


class Portal:
    """One event loop, run by one daemon thread of this process."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        # Reentrant, as the garbage collector may close_iterator an iteration in the middle of a call.
        self._gate = threading.RLock()
        self._is_closing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mongostore", daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """Whether the loop runs, and in this process: a fork copies the loop but not its thread."""
        return self._pid == os.getpid() and not self._is_closing

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop thread and wait for its result.

        From a thread that runs an event loop of its own, this blocks that loop.

        Raises:
            RuntimeError: It is called on the loop thread itself, which would wait for itself for ever.
            NotOpenError: The loop has been stopped.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a blocking call from the store's own event loop would never end")
        call = _Call(work)
        try:
            # Not before the lock: what gets through it before `close` is ended by `close`.
            with self._gate if self._pid == os.getpid() else nullcontext():
                if not self.is_usable:
                    call.reject()
                    raise NotOpenError("the store was closed")
                self._loop.call_soon_threadsafe(call.start)
            return call.wait()
        except BaseException:
            self._cancel_and_raise(call)
            raise

    def close_iterator(self, items: AsyncGeneratorType[Any, None]) -> None:
        """Close a generator, from wherever its last user is: another thread, this one, a fork, the end."""
        if threading.current_thread() is self._thread:
            self._loop.create_task(_close(items), name=_CALL)
        elif self.is_usable:
            with suppress(NotOpenError):
                self.run(_close(items))

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """End every call, run a last coroutine, stop the loop and join its thread."""
        with self._gate:
            self._is_closing = True
        call = _Call(_run_last(last))
        try:
            self._loop.call_soon_threadsafe(call.start)
            call.wait()
        except BaseException:
            self._cancel_and_raise(call)
            raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _cancel_and_raise(self, call: _Call[Any]) -> None:
        # On Ctrl-C, wherever it comes, the coroutine would otherwise run on behind the caller's back.
        if not call.is_done:
            self._loop.call_soon_threadsafe(call.cancel)
            call.wait_done()


async def _close(items: AsyncGeneratorType[Any, None]) -> None:
    # Whoever is interrupted twice does not wait until the end of the first call.
    while items.ag_running:  # noqa: ASYNC110  # nothing tells of its end
        await asyncio.sleep(_PAUSE_SECONDS)
    await items.aclose()


async def _run_last(last: Coroutine[Any, Any, None]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    calls = [task for task in tasks if task.get_name() == _CALL]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await last


class _Call(Generic[R]):
    # A bare lock to wait at: the two chained futures of `run_coroutine_threadsafe` take 30 µs more a call.
    def __init__(self, work: Coroutine[Any, Any, R]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._outcome: tuple[R, None] | tuple[None, BaseException] | None = None
        self._ended = threading.Lock()
        self._ended.acquire()

    @property
    def is_done(self) -> bool:
        return self._outcome is not None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=_CALL)

    def cancel(self) -> None:
        if self._task is None:
            self.reject()
        else:
            # After its first step: a task that is cancelled before runs nothing of itself.
            asyncio.get_running_loop().call_soon(self._task.cancel)

    def reject(self) -> None:
        self._work.close()
        self._outcome = None, asyncio.CancelledError()
        self._ended.release()

    def wait_done(self) -> None:
        self._ended.acquire()

    def wait(self) -> R:
        self.wait_done()
        assert self._outcome is not None
        result, error = self._outcome
        if isinstance(error, asyncio.CancelledError):
            raise NotOpenError("the store was closed during the call")
        if error is not None:
            raise error
        return cast(R, result)

    async def _run(self) -> None:
        try:
            self._outcome = await self._work, None
        except BaseException as error:
            self._outcome = None, error
        finally:
            self._ended.release()


class Twin(Protocol[S_co]):
    """A blocking object that knows its async core and the portal to it."""

    @property
    def core(self) -> S_co:
        """The async twin."""

    @property
    def portal(self) -> Portal:
        """The portal to the loop in which the twin lives."""


def mirror(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Twin[S], P], R]:
    """Return the blocking twin of a coroutine method."""

    @functools.wraps(method)
    def call(self: Twin[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # The portal first: after a fork it renews the core.
        portal = self.portal
        return portal.run(method(self.core, *args, **kwargs))

    return call


def mirror_iter(
    method: Callable[Concatenate[S, P], AsyncIterator[R]], *, prefetch: int
) -> Callable[Concatenate[Twin[S], P], Iterator[R]]:
    """Return the blocking twin of an async-generator method.

    Args:
        method: The async twin.
        prefetch: How many items are fetched at a time: 1 where each has to be seen as soon as it comes.
    """

    @functools.wraps(method)
    def call(self: Twin[S], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        portal = self.portal
        items = cast(AsyncGeneratorType[R, None], method(self.core, *args, **kwargs))
        try:
            while True:
                fetched, error = portal.run(_fetch(items, prefetch))
                yield from fetched
                if error is not None:
                    raise error
                if len(fetched) < prefetch:
                    return
        finally:
            portal.close_iterator(items)

    vars(call)["__signature__"] = _blocking_signature(method)
    return call


def mirror_context(
    method: Callable[Concatenate[S, P], AbstractAsyncContextManager[R]],
) -> Callable[Concatenate[Twin[S], P], AbstractContextManager[R]]:
    """Return the blocking twin of a method that returns an async context manager."""

    @functools.wraps(method)
    @contextmanager
    def call(self: Twin[S], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        portal = self.portal
        context = _Context(method(self.core, *args, **kwargs))
        entered = portal.run(context.enter())
        try:
            yield entered
        except BaseException:
            # The block's own error goes before what its end would say.
            with suppress(MongoStoreError):
                portal.run(context.leave())
            raise
        portal.run(context.leave())

    vars(call)["__signature__"] = _blocking_signature(method)
    return call


def _blocking_signature(method: Callable[..., object]) -> inspect.Signature:
    signature = inspect.signature(method)
    returned = str(signature.return_annotation)
    for name in ("AsyncIterator", "AsyncContextManager"):
        returned = returned.replace(name, name.removeprefix("Async"))
    return signature.replace(return_annotation=returned)


class _Context(Generic[R]):
    # Entered and left by one task, as a timeout wants it, which lives while the caller's thread works.
    def __init__(self, manager: AbstractAsyncContextManager[R]) -> None:
        self._manager = manager
        self._left = asyncio.Event()

    async def enter(self) -> R:
        self._entered: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=_CALL, context=Context())
        try:
            ended: list[asyncio.Future[Any]] = [self._task, self._entered]
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._task.cancel()
            raise
        if not self._entered.done():
            await self._task
        return self._entered.result()

    async def leave(self) -> None:
        self._left.set()
        await self._task

    async def _run(self) -> None:
        async with self._manager as entered:
            self._entered.set_result(entered)
            await self._left.wait()


async def _fetch(items: AsyncIterator[R], count: int) -> tuple[list[R], MongoStoreError | None]:
    """Return the next items, fewer at the end, with the error that came after them if one did."""
    fetched: list[R] = []
    try:
        async for item in items:
            fetched.append(item)
            if len(fetched) == count:
                break
    except MongoStoreError as error:
        # Raised again behind the items that came before it.
        return fetched, error
    return fetched, None
