"""The store behind a server: it is opened by requests, and its streams end with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from mongostore.background_tasks import BackgroundTasks
from mongostore.errors import NotOpenError
from mongostore.store import AsyncMongoStore

T = TypeVar("T")

# Proxies close what is silent for longer.
PING_SECONDS = 15.0
# Then a client comes again by itself, and its right to do so is looked at again.
STREAM_SECONDS = 3600.0


class ServedStore:
    """A store that an application serves.

    Args:
        store: An open store, which stays its owner's to close; else one that is opened when it is first
            used, and closed with the application: this one, or that of the environment.
    """

    def __init__(self, store: AsyncMongoStore | None = None) -> None:
        self.store: AsyncMongoStore = AsyncMongoStore() if store is None else store
        # The work that goes on when its request has ended.
        self.tasks: BackgroundTasks = BackgroundTasks()
        self._ending: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_ended = False

    @property
    def ending(self) -> asyncio.Future[None]:
        """Is done when the streams have to end, for the application does."""
        loop = asyncio.get_running_loop()
        if self._ending is None or self._ending.get_loop() is not loop:
            self._ending = loop.create_future()
        return self._ending

    def end_streams(self) -> None:
        """Have the streams end, which would last as long as their clients listen."""
        if not self.ending.done():
            self.ending.set_result(None)

    def begin(self) -> None:
        """Serve, also after `close`."""
        self._has_ended, self._ending = False, None

    async def open(self) -> None:
        """Open the store unless it is open, in the event loop that runs.

        Raises:
            MongoStoreError: If it cannot be opened; the next call tries again.
            NotOpenError: If the application has ended.
        """
        if self._has_ended:
            raise NotOpenError("the application has ended, and has closed its store")
        loop = asyncio.get_running_loop()
        if self.store.is_open and self._loop in (None, loop):
            return
        previous, self._loop = self._loop, loop
        if previous not in (None, loop):
            # That loop has ended with its requests; a store belongs to one.
            await self.store.close()
        await self.store.open()

    async def close(self) -> None:
        """Close the store if it was opened here."""
        self._has_ended = True
        self.end_streams()
        if self._loop is not None:
            self._loop = None
            await self.store.close()

    async def follow(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T | None, None]:
        """Yield items until there are no more or the stream has to end, and None where none comes for long.

        Args:
            items: The items, which are closed in any case.
        """
        clock = asyncio.get_running_loop().time
        end, coming = clock() + STREAM_SECONDS, asyncio.ensure_future(anext(items, None))
        try:
            while True:
                either: list[asyncio.Future[object]] = [coming, self.ending]  # type: ignore[list-item]
                silent = max(min(PING_SECONDS, end - clock()), 0)
                await asyncio.wait(either, timeout=silent, return_when=asyncio.FIRST_COMPLETED)
                if self.ending.done() or clock() >= end:
                    return
                if not coming.done():
                    yield None
                    continue
                if (item := coming.result()) is None:
                    return
                yield item
                coming = asyncio.ensure_future(anext(items, None))
        finally:
            # A client that has gone cancels all that is awaited here, again and again.
            await asyncio.shield(self.tasks.start(_stop(coming, items)))


async def _stop(coming: asyncio.Future[T | None], items: AsyncGenerator[T, None]) -> None:
    """End an iteration that waits for an item."""
    async with aclosing(items):
        coming.cancel()
        await asyncio.wait([coming])
