"""The changes of an embedded store, in the form of a server's change stream."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bson import Timestamp
from pymongo.errors import OperationFailure

Document = dict[str, Any]

HISTORY = 4096
_HISTORY_LOST = 286
_BAD_TOKEN = 40647

# One lock for all stores of the process: each operation holds it from its first look at the data to
# its last word, whichever thread and loop it runs in, and a fork has but one lock to hand over.
LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


class Oplog:
    """The last few thousand changes of one store, kept from the first `watch` on."""

    def __init__(self) -> None:
        self.last: int = 0
        self._events: deque[Document] = deque(maxlen=HISTORY)
        self._waiters: list[asyncio.Future[None]] = []
        self._watched = False
        self._undoing: list[Callable[[], None]] | None = None
        self._untold: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold back the changes inside the `with` block; on an error undo them and publish nothing."""
        self._undoing = []
        try:
            yield
        except BaseException:
            undoing, self._undoing, self._untold = self._undoing, None, []
            for undo in reversed(undoing):
                undo()
            raise
        publishing, self._undoing, self._untold = self._untold, None, []
        for tell in publishing:
            tell()

    def record_undo(self, undo: Callable[[], None]) -> None:
        """Record how to take back a change that was just made, in case the transaction fails."""
        if self._undoing is not None:
            self._undoing.append(undo)

    def publish(self, operation: str, namespace: Document, **details: Any) -> None:
        """Publish a change to every stream; its documents must never be changed in place."""
        if self._undoing is not None:
            self._untold.append(lambda: self.publish(operation, namespace, **details))
        elif self._watched:
            self.last += 1
            self._events.append(
                {
                    "_id": _token(self.last),
                    "operationType": operation,
                    "clusterTime": self.time,
                    "wallTime": datetime.now(UTC),
                    "ns": namespace,
                    **details,
                }
            )
            self.notify()

    @property
    def time(self) -> Timestamp:
        """The time of the last change, as a server counts it."""
        return Timestamp(self.last >> 32, self.last & 0xFFFFFFFF)

    def position_of(self, token: Mapping[str, Any] | None) -> int:
        """Return where `token` stands, or the end; from now on changes are kept."""
        self._watched = True
        if token is None:
            return self.last
        try:
            position = int(token["_data"], 16)
        except (KeyError, TypeError, ValueError) as error:
            raise OperationFailure("Bad resume token", _BAD_TOKEN) from error
        self._check(position)
        return position

    def next_after(self, position: int) -> Document | None:
        """Return the change that follows `position`, if there is one by now."""
        self._check(position)
        return self._events[position - self.last] if position < self.last else None

    def wait(self) -> asyncio.Future[None]:
        """Return a future of the running loop that is done when there is something new."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters = [*(other for other in self._waiters if not other.done()), waiter]
        return waiter

    def notify(self) -> None:
        """Let every stream that waits look again."""
        for waiter in self._waiters:
            # A loop that was closed while a stream waited in it has none left to wake.
            with contextlib.suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_finish, waiter)
        self._waiters = []

    def _check(self, position: int) -> None:
        if not self.last - len(self._events) <= position <= self.last:
            raise OperationFailure("The resume point is no longer in the history", _HISTORY_LOST)


class FakeChangeStream:
    """A reader of an `Oplog`, with the interface of PyMongo's `AsyncChangeStream`.

    Attributes:
        alive: Whether `next` may still return something.
    """

    def __init__(
        self, oplog: Oplog, token: Mapping[str, Any] | None, view: Callable[[Document], Document | None]
    ) -> None:
        """Read on from `token`; `view` turns a change into what this stream shows of it, or None."""
        self._oplog = oplog
        self._position = oplog.position_of(token)
        self._view = view
        self.alive: bool = True

    @property
    def resume_token(self) -> Document:
        """The place from which another stream would go on."""
        return _token(self._position)

    def __aiter__(self) -> FakeChangeStream:
        return self

    async def __anext__(self) -> Document:
        return await self.next()

    async def __aenter__(self) -> FakeChangeStream:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def next(self) -> Document:
        """Return the next change, waiting until there is one."""
        while self.alive:
            with LOCK:
                event = self._advance()
                if event is not None:
                    return event
                news = self._oplog.wait()
            await news
        raise StopAsyncIteration

    async def try_next(self) -> Document | None:
        """Return the next change if it is there already."""
        await asyncio.sleep(0)
        with LOCK:
            return self._advance() if self.alive else None

    async def close(self) -> None:
        """End the stream, for those too who wait for its next change."""
        with LOCK:
            self.alive = False
            self._oplog.notify()

    def _advance(self) -> Document | None:
        while (event := self._oplog.next_after(self._position)) is not None:
            self._position += 1
            if (visible := self._view(event)) is not None:
                return copy.deepcopy(visible)
        return None


def _token(position: int) -> Document:
    return {"_data": f"{position:016x}"}


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
