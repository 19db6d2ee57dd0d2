"""The pace of an import: as many bytes at once as the line to the server carries in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from mongostore.errors import UnavailableError
from mongostore.importers.batches import CHARACTERS, count_characters
from mongostore.models import Event, Message, ThreadMessage

M = TypeVar("M", Event, Message, ThreadMessage)
R = TypeVar("R")

_FEWEST, _MOST = 256 * 1024, 16 * CHARACTERS
_FEWEST_SECONDS, _MOST_SECONDS = 0.5, 1.5


class Pace:
    """Shares a line among the units that are stored at the same time.

    Args:
        probe: Asks the server for little; raises UnavailableError if it does not answer.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self._probe = probe
        self._at_once = CHARACTERS
        self._moving = 0
        self._moved = asyncio.Condition()

    async def write(self, batch: Sequence[M], write: Callable[[Sequence[M]], Awaitable[R]]) -> list[R]:
        """Write messages by parts, which may be written again; return the results.

        Raises:
            UnavailableError: If the server does not answer, or takes no single message in time.
        """
        results: list[R] = []
        while batch:
            part, size = _part(batch, self._at_once)
            try:
                async with self.share(size):
                    at_once = self._at_once
                    if size > at_once and len(part) > 1:
                        # The line has turned out to be slower while this one waited.
                        continue
                    began, moving = time.monotonic(), self._moving
                    results.append(await write(part))
                    self._adapt(time.monotonic() - began, moving)
            except UnavailableError:
                if at_once == _FEWEST:
                    raise
                # The line may be slow: others may have found out meanwhile.
                self._at_once = min(self._at_once, max(at_once // 8, _FEWEST))
                await self._probe()
                continue
            batch = batch[len(part) :]
        return results

    @asynccontextmanager
    async def share(self, size: int) -> AsyncGenerator[None, None]:
        """Move so much inside the `with` block, together with what fits beside it."""
        async with self._moved:
            await self._moved.wait_for(lambda: not self._moving or self._moving + size <= self._at_once)
            self._moving += size
        try:
            yield
        finally:
            async with self._moved:
                self._moving -= size
                self._moved.notify_all()

    def _adapt(self, seconds: float, moving: int) -> None:
        # That little is fast tells nothing of more.
        if seconds < _FEWEST_SECONDS and moving * 2 > self._at_once:
            self._at_once = min(self._at_once * 2, _MOST)
        elif seconds > _MOST_SECONDS:
            self._at_once = max(self._at_once // 2, _FEWEST)


def _part(batch: Sequence[M], at_once: int) -> tuple[Sequence[M], int]:
    """Return the first messages that take so much together, one at least, and how much they take."""
    count = size = 0
    for message in batch:
        more = count_characters(message.content) + count_characters(message.data)
        if count and size + more > at_once:
            break
        count, size = count + 1, size + more
    return batch[:count], size
