"""RoomKit's room locks: leases in MongoDB, so that one process at a time works on a room."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from roomkit.core.locks import RoomLockManager, _has_room_lock, _mark_room_locked

from mongostore.errors import InvalidValueError
from mongostore.repositories.lease_holder import LeaseHolder
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore


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
        self._user = SharedStore(uri, database, store)
        self._seconds = lease
        # Who waits in this process, in turn, so that one at a time asks the server.
        self._queues: dict[str, _LocalQueue] = {}
        self._holder = LeaseHolder()

    @asynccontextmanager
    async def locked(self, room_id: str) -> AsyncGenerator[None, None]:
        """Hold the lock of a room; a task that holds it already, or is a child of it, enters at once.

        Raises:
            ConflictError: The lease could not be renewed, and the section was cancelled.
            UnavailableError: The server does not answer.
        """
        if _has_room_lock(room_id, self):
            yield
            return
        async with self._local_queue(room_id):
            leases = (await self._user.get()).leases
            async with self._holder.hold(leases, f"room/{room_id}", self._seconds, math.inf):
                with _mark_room_locked(self, room_id):
                    yield

    async def close(self) -> None:
        """Leave the database once every lease without a waiter is released; twice is harmless."""
        await self._holder.finish()
        await self._user.close()

    @asynccontextmanager
    async def _local_queue(self, room_id: str) -> AsyncGenerator[None, None]:
        turn = self._queues.setdefault(room_id, _LocalQueue())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._queues[room_id]


@dataclass
class _LocalQueue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0
