"""The order of the writes that Chainlit starts as tasks of their own."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet, ref

from chainlit.data.utils import queue_until_user_message

L = TypeVar("L")
P = ParamSpec("P")

Keys = set[tuple[str, str]]
Action = Callable[["Write"], Awaitable[None]]


class Write:
    """A write that begins when earlier ones are over.

    Args:
        action: Waits for the write's turn, and carries it out.
        keys: The things that it writes to, by kind and id.
        earlier: The writes that come before it.
    """

    def __init__(self, action: Action, keys: Keys, earlier: list[Write]) -> None:
        self.keys = keys
        self._action = action
        self._earlier = earlier
        self._call: ref[Coroutine[Any, Any, None]] | None = None
        # A later write may begin it, but it belongs to the session that has called for it.
        self._context = copy_context()
        self._begun: asyncio.Task[None] | None = None
        self._is_over: asyncio.Future[None] | None = None

    def called_by(self, call: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """Return the call that runs the write, which is recorded."""
        self._call = ref(call)
        return call

    async def run(self) -> None:
        """Carry out the write, or wait for its end if a later write has begun it."""
        if self._begun is not None:
            await asyncio.shield(self._begun)
            return
        await self._carry_out()

    async def turn(self) -> None:
        """Wait until the earlier writes are over."""
        earlier, self._earlier = self._earlier, []
        for write in earlier:
            await write._wait_over()

    async def _carry_out(self) -> None:
        self._is_over = asyncio.get_running_loop().create_future()
        try:
            await self._action(self)
        finally:
            self._is_over.set_result(None)

    async def _wait_over(self) -> None:
        """Wait for the end of a write that is on its way, and begin it if its task has not come to it."""
        loop = asyncio.get_running_loop()
        if self._is_over is None and self._is_on_its_way():
            self._begun = loop.create_task(self._carry_out(), context=self._context)
            # Its error goes to its own caller.
            await asyncio.wait([self._begun])
        elif self._is_over is not None and self._is_over.get_loop() is loop:
            await asyncio.wait([self._is_over])

    def _is_on_its_way(self) -> bool:
        """Return whether a task has the write or a session has queued it, not a caller who may drop it."""
        call = None if self._call is None else self._call()
        if call is None or inspect.getcoroutinestate(call) != inspect.CORO_CREATED:
            return True
        return any(task.get_coro() is call for task in asyncio.all_tasks())


class WriteOrder:
    """Runs the writes of one thing in the order of their calls."""

    def __init__(self) -> None:
        # Weak: a write that its session has dropped unrun, or that is over, holds up no other.
        self._writes: WeakSet[Write] = WeakSet()

    def add(self, action: Action, keys: Keys, after: Keys) -> Write:
        """Return a write to some things, which begins after the earlier ones to others."""
        write = Write(action, keys, [write for write in self._writes if write.keys & after])
        self._writes.add(write)
        return write


def in_order(
    plan: Callable[Concatenate[L, P], Write],
) -> Callable[Concatenate[L, P], Coroutine[Any, Any, None]]:
    """Make a method that plans a write one that carries it out, after the first message of its session."""

    @queue_until_user_message()
    @functools.wraps(plan)
    async def run(layer: L, write: Write) -> None:
        await write.run()

    def call(layer: L, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, None]:
        write = plan(layer, *args, **kwargs)
        return write.called_by(run(layer, write))

    functools.update_wrapper(call, plan)
    return call
