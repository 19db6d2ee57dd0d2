"""The loop thread through which blocking code calls the async core."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
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
        # Reentrant, as the garbage collector may end an iteration in the middle of a call.
        self._gate = threading.RLock()
        self._is_closing = False
        self._started, self._ended = _new_signal(), _new_signal()
        self._thread = _start_native_thread(self._serve)
        self._started.acquire()

    def _serve(self) -> None:
        self._thread_id, self._loop = threading.get_ident(), asyncio.new_event_loop()
        self._loop.call_soon(self._started.release)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._ended.release()

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
        if threading.get_ident() == self._thread_id:
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
        if threading.get_ident() == self._thread_id:
            self._loop.create_task(_close(items), name=_CALL)
        elif self.is_usable:
            with suppress(NotOpenError):
                self.run(_close(items))

    def close(self, last: Coroutine[Any, Any, None], first: Coroutine[Any, Any, Any] | None = None) -> None:
        """Take no more calls, do `first`, end those under way, do `last`, and end the loop and its thread."""
        with self._gate:
            self._is_closing = True
        call = _Call(_run_last(last, first))
        try:
            self._loop.call_soon_threadsafe(call.start)
            call.wait()
        except BaseException:
            self._cancel_and_raise(call)
            raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._ended.acquire()
            if self._thread is not None:
                self._thread.join()

    def close_in_background(self, last: Coroutine[Any, Any, None]) -> None:
        """Do what `close` does without waiting, from wherever the garbage collector runs."""
        with self._gate:
            self._is_closing = True
        self._loop.call_soon_threadsafe(_Call(_run_last(last, None), self._loop.stop).start)

    def _cancel_and_raise(self, call: _Call[Any]) -> None:
        # On Ctrl-C, wherever it comes, the coroutine would otherwise run on behind the caller's back.
        if not call.is_done:
            self._loop.call_soon_threadsafe(call.cancel)
            call.wait_done()


async def _close(items: AsyncGeneratorType[Any, None]) -> None:
    # A caller that is interrupted twice does not wait until the end of the first call.
    while items.ag_running:  # noqa: ASYNC110  # nothing tells of its end
        await asyncio.sleep(_PAUSE_SECONDS)
    await items.aclose()


async def _run_last(last: Coroutine[Any, Any, None], first: Coroutine[Any, Any, Any] | None) -> None:
    if first is not None:
        await first
    await _cancel_others(_CALL)
    await asyncio.get_running_loop().shutdown_asyncgens()
    try:
        await last
    finally:
        # Such as the rest of what a call has begun at the same time, of which one part failed.
        await _cancel_others()


async def _cancel_others(name: str = "") -> None:
    others = {task for task in asyncio.all_tasks() if task.get_name().startswith(name)}
    others.discard(asyncio.current_task())
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Signal(Protocol):
    """What one thread waits for and another one gives, once; a lock that is held will do."""

    def acquire(self) -> object:
        """Wait for the signal."""

    def release(self) -> None:
        """Give the signal, from whichever thread."""


class _GeventSignal:
    """A signal that lets other greenlets run meanwhile: gevent's own locks know of no native threads."""

    def __init__(self) -> None:
        from gevent import event, get_hub

        self._event: Any = event.Event()
        self._watcher: Any = get_hub().loop.async_()
        self._watcher.start(self._event.set)

    def acquire(self) -> None:
        self._event.wait()
        self._watcher.close()

    def release(self) -> None:
        self._watcher.send()


def _is_patched() -> bool:
    """Return whether gevent makes greenlets of Python's threads, in which no event loop can run."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _new_signal() -> _Signal:
    # A bare lock: the two chained futures of `run_coroutine_threadsafe` take 30 µs more a call.
    if _is_patched():
        return _GeventSignal()
    lock = threading.Lock()
    lock.acquire()
    return lock


def _start_native_thread(target: Callable[[], None]) -> threading.Thread | None:
    if _is_patched():
        sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")(target, ())
        return None
    thread = threading.Thread(target=target, name="mongostore", daemon=True)
    thread.start()
    return thread


class _Call(Generic[R]):
    def __init__(self, work: Coroutine[Any, Any, R], afterwards: Callable[[], None] | None = None) -> None:
        self._work = work
        self._afterwards = afterwards
        self._task: asyncio.Task[None] | None = None
        self._outcome: tuple[R, None] | tuple[None, BaseException] | None = None
        self._ended = _new_signal()

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
            if self._afterwards is not None:
                self._afterwards()


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
        try:
            return portal.run(method(self.core, *args, **kwargs))
        except Exception as error:
            raise _without_portal(error)  # noqa: B904  # the same error

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
                    raise _without_portal(error)
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
                portal.run(context.leave(has_failed=True))
            raise
        portal.run(context.leave())

    vars(call)["__signature__"] = _blocking_signature(method)
    return call


def _without_portal(error: BaseException) -> BaseException:
    """Return an error without the frames of this module, at which its traceback begins."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return error.with_traceback(frames)


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
        self._has_failed = False

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

    async def leave(self, *, has_failed: bool = False) -> None:
        self._has_failed = has_failed
        self._left.set()
        await asyncio.wait([self._task])
        # The error of the block is the caller's thread's, and its stand-in here belongs to no caller.
        if not (has_failed and self._task.cancelled()):
            self._task.result()

    async def _run(self) -> None:
        async with self._manager as entered:
            self._entered.set_result(entered)
            await self._left.wait()
            if self._has_failed:
                raise asyncio.CancelledError


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
