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

from mongostore.errors import ConflictError, InvalidValueError, MongoStoreError, UnavailableError
from mongostore.models import Lease
from mongostore.repositories.rooms import LeaseRepository
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
        """Leave the database; closing twice is harmless."""
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
        lease, began = await self._acquired(leases, f"room/{room_id}")
        try:
            # The end moves with each renewal; whatever keeps those from coming, the section ends in time.
            async with asyncio.timeout_at(began + lease.seconds * _SAFE) as end:
                renewing = self._start(_renewed(leases, lease, end))
                try:
                    yield
                finally:
                    renewing.cancel()
        except TimeoutError:
            if end.expired():
                raise ConflictError(f"the lease of room {room_id!r} ended before its section") from None
            raise
        finally:
            if not end.expired():
                await asyncio.shield(self._start(leases.release(lease.name, lease.owner)))

    async def _acquired(self, leases: LeaseRepository, name: str) -> tuple[Lease, float]:
        """Wait for a lease, and return it with the time by our own clock from which it lasts at the least."""
        owner, pause = uuid4().hex, _FIRST_PAUSE
        while True:
            began = asyncio.get_running_loop().time()
            asking = self._start(leases.acquire(name, owner, self._seconds))
            try:
                # Not to be cut short: nobody would know whether the lease was given.
                if lease := await asyncio.shield(asking):
                    return lease, began
            except asyncio.CancelledError:
                self._start(_given_back(leases, asking))
                raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

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


async def _renewed(leases: LeaseRepository, lease: Lease, end: asyncio.Timeout) -> None:
    """Renew a lease until it is lost, moving the end of its section with it."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(lease.seconds * _RENEWED)
        began = clock()
        try:
            kept = await leases.renew(lease)
        except UnavailableError:
            continue
        end.reschedule(began + lease.seconds * _SAFE if kept else clock())
        if not kept:
            return


async def _given_back(leases: LeaseRepository, asking: asyncio.Task[Lease | None]) -> None:
    """Give back a lease that nobody waits for any more."""
    with suppress(MongoStoreError):
        if lease := await asking:
            await leases.release(lease.name, lease.owner)
