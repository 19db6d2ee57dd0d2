"""Slots for expensive work: few in a process, and fewer for each caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mongostore.servers.error_responses import ProblemError


@dataclass
class _Queue:
    slots: asyncio.Semaphore
    waiting: int = 0


@dataclass
class CallerSlots:
    """Lets a few requests work at a time, so that no caller takes all the time and memory there is.

    Attributes:
        total: The number of requests that work at the same time.
        per_caller: The number of those of one caller.
        waiting: The number of requests of one caller that work or wait; one more is refused.
    """

    total: int
    per_caller: int
    waiting: int
    _slots: asyncio.Semaphore = field(init=False, repr=False)
    _queues: dict[str, _Queue] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.total)

    @asynccontextmanager
    async def hold(self, caller: str) -> AsyncIterator[None]:
        """Hold a slot, in the order of the calls."""
        queue = self._queues.setdefault(caller, _Queue(asyncio.Semaphore(self.per_caller)))
        if queue.waiting >= self.waiting:
            raise ProblemError(
                429,
                "Too many requests of this caller are under way: wait for their answers",
                headers={"Retry-After": "1"},
            )
        queue.waiting += 1
        try:
            # The caller's own turn comes first: a request without one does not wait in front of others.
            async with queue.slots, self._slots:
                yield
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                self._queues.pop(caller, None)
