"""The order of the writes that Chainlit starts as tasks of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from weakref import WeakSet

Keys = set[tuple[str, str]]


class Write:
    """A write that begins when earlier ones are over.

    Args:
        action: The write.
        keys: The things that it writes to, by kind and id.
        earlier: The writes that come before it.
    """

    def __init__(self, action: Callable[[], Awaitable[None]], keys: Keys, earlier: list[Write]) -> None:
        self.keys = keys
        self._action = action
        self._earlier = earlier
        # A later write may begin it, but it belongs to the session that has called for it.
        self._context = copy_context()
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Carry out the write, or wait for its end if a later write has begun it."""
        await self._begin()

    def _begin(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._carry_out(), context=self._context)
        return self._task

    async def _carry_out(self) -> None:
        for write in self._earlier:
            task = write._begin()
            if task.get_loop() is asyncio.get_running_loop():
                # Its error goes to its own caller.
                await asyncio.wait([task])
        self._earlier = []
        await self._action()


class WriteOrder:
    """Runs the writes of one thing in the order of their calls, whichever task comes first."""

    def __init__(self) -> None:
        # Weak: a write that its session has dropped unrun, or that is over, holds up no other.
        self._writes: WeakSet[Write] = WeakSet()

    def add(self, action: Callable[[], Awaitable[None]], keys: Keys, after: Keys) -> Write:
        """Return a write to some things, which begins after the earlier ones to others."""
        write = Write(action, keys, [write for write in self._writes if write.keys & after])
        self._writes.add(write)
        return write
