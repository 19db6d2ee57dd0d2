"""Tasks that outlive the calls that start them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundTasks:
    """Tasks that are kept until they end, for an event loop refers to them but weakly.

    Each has a context of its own: no deadline, lock or end of the call that starts it may touch it.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that runs a coroutine, and return it."""
        task = asyncio.create_task(work, context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def wait(self) -> None:
        """Wait until all tasks that run now have ended."""
        if self._running:
            await asyncio.wait([*self._running])
