"""RoomKit's room locks: leases in MongoDB, so that one process at a time works on a room."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from roomkit.core.locks import RoomLockManager, _has_room_lock, _mark_room_locked

from mongostore.errors import ConflictError, InvalidValueError, MongoStoreError
from mongostore.models import Lease
from mongostore.repositories.rooms import AsyncLeases
from mongostore.sharing import StoreUser
from mongostore.store import AsyncMongoStore

T = TypeVar("T")

# Shares of a lease: it is renewed after the one, and by our own clock over a little early.
_RENEWED = 1 / 3
_SAFE = 0.9
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


class MongoRoomLockManager(RoomLockManager):
    """Room locks for any number of processes.

    A lock is a lease that is renewed as long as its section runs. A process that dies frees its rooms
    when their leases end. A section whose lease could not be renewed in time is cancelled, and
    `locked` raises a `ConflictError`: two processes never work on one room.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays open when this manager is closed.
        lease: How many seconds a lease lasts unless renewed.

    Raises:
        InvalidValueError: `lease` is less than a second or more than a day.
    """

    def __init__(
        self,
        uri: str | None = None,
        database: str | None = None,
        *,
        store: AsyncMongoStore | None = None,
        lease: float = 30.0,
    ) -> None:
        if not 1 <= lease <= 24 * 3600:
            raise InvalidValueError("lease", "must be from a second to a day")
        self._user = StoreUser(uri, database, store)
        self._seconds = lease
        # Who waits in this process, in turn, so that one at a time asks the server.
        self._turns: dict[str, _Turn] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def locked(self, room_id: str) -> AsyncGenerator[None, None]:
        """Hold the lock of a room; whoever holds it already, or is a child of it, enters at once.

        Raises:
            ConflictError: The lease could not be renewed, and the section was cancelled.
            UnavailableError: The server does not answer.
        """
        if _has_room_lock(room_id, self):
            yield
            return
        async with self._turn(room_id), self._leased(room_id):
            with _mark_room_locked(self, room_id):
                yield

    async def close(self) -> None:
        """Leave the database once every lease that nobody waits for is given back; twice is harmless."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._user.close()

    @asynccontextmanager
    async def _turn(self, room_id: str) -> AsyncGenerator[None, None]:
        turn = self._turns.setdefault(room_id, _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[room_id]

    @asynccontextmanager
    async def _leased(self, room_id: str) -> AsyncGenerator[None, None]:
        leases = (await self._user.open()).leases
        held = await self._acquired(leases, f"room/{room_id}")
        ended = ConflictError(f"the lease of room {room_id!r} ended before its section")
        try:
            # The end moves with each renewal; whatever keeps those from coming, the section ends in time.
            async with asyncio.timeout_at(held.began + held.lease.seconds * _SAFE) as end:
                renewing = asyncio.create_task(_renewed(leases, held, end), context=Context())
                try:
                    yield
                finally:
                    renewing.cancel()
        except TimeoutError:
            if end.expired():
                raise ended from None
            raise
        finally:
            given_back = not end.expired() and await self._shielded(leases.release(held.lease))
        # A section that took no notice of its cancellation, or gave the loop no time for it, ends here.
        if not given_back:
            raise ended

    async def _acquired(self, leases: AsyncLeases, name: str) -> _Held:
        """Wait for a lease."""
        owner, pause = uuid4().hex, _FIRST_PAUSE
        while True:
            asking = self._start(_asked(leases, name, owner, self._seconds))
            try:
                # Not to be cut short: nobody would know whether the lease was given.
                if held := await asyncio.shield(asking):
                    return held
            except asyncio.CancelledError:
                self._start(_given_back(leases, asking))
                raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # In a context of its own, which holds no lock and no deadline of the section.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


@dataclass
class _Held:
    """A lease, with the time by our own clock from which it lasts at the least."""

    lease: Lease
    began: float


async def _asked(leases: AsyncLeases, name: str, owner: str, seconds: float) -> _Held | None:
    """Ask once for a lease; None while somebody has it."""
    clock = asyncio.get_running_loop().time
    began = clock()
    lease = await leases.acquire(name, owner, seconds)
    if lease and clock() > began + seconds * _RENEWED:
        # Much of it is over by now: the server was asked several times.
        began = clock()
        if not await leases.renew(lease):
            return None
    return _Held(lease, began) if lease else None


async def _renewed(leases: AsyncLeases, held: _Held, end: asyncio.Timeout) -> None:
    """Renew a lease until it is lost, moving the end of its section with it."""
    clock, seconds = asyncio.get_running_loop().time, held.lease.seconds
    due = held.began + seconds * _RENEWED
    while True:
        await asyncio.sleep(due - clock())
        began = clock()
        due = began + seconds * _RENEWED
        try:
            kept = await leases.renew(held.lease)
        except MongoStoreError:
            # Then the section ends with its lease, unless a later renewal comes in time.
            continue
        if end.expired():
            return
        end.reschedule(began + seconds * _SAFE if kept else clock())
        if not kept:
            return


async def _given_back(leases: AsyncLeases, asking: asyncio.Task[_Held | None]) -> None:
    """Give back a lease that nobody waits for any more."""
    with suppress(MongoStoreError):
        if held := await asking:
            await leases.release(held.lease)
