"""Readers of many sessions and rooms on one store, and what each of them has seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, Message

HOUSES = ("sessions", "rooms")
SECONDS = 60


def watch(store: AsyncMongoStore, house: str, key: str, after: Any = None) -> AsyncIterator[Any]:
    if house == "sessions":
        return store.sessions.messages.watch(key, after=after)
    return store.rooms.events.watch(key, after=after)


async def append(store: AsyncMongoStore, house: str, key: str, content: object) -> None:
    if house == "sessions":
        await store.sessions.messages.append(key, Message(role="user", content=content))
    else:
        await store.rooms.events.append(key, Event(channel_id="web", content=content))


def content_of(change: Any) -> object:
    return change.content if isinstance(change, Event) else change.message.content


class Tails:
    """Readers of sessions and rooms, and what each of them has seen."""

    def __init__(self, store: AsyncMongoStore) -> None:
        self.store = store
        self.seen: list[tuple[str, str, list[object]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, house: str, key: str) -> None:
        seen: list[object] = []
        self.seen.append((house, key, seen))
        self._tasks.append(asyncio.create_task(self._read(house, key, seen)))

    def start_all(self, owners: int, readers: int) -> None:
        """Start so many readers, which share so many sessions and rooms."""
        for n in range(readers):
            self.start(HOUSES[n % 2], f"o{n // 2 % owners}")

    async def _read(self, house: str, key: str, seen: list[object]) -> None:
        async with aclosing(watch(self.store, house, key)) as changes:  # type: ignore[type-var]
            async for change in changes:
                seen.append(content_of(change))  # noqa: PERF401  # each one is looked at as it comes

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)

    async def warm_up(self) -> None:
        """Append to what is read until every reader has seen something, and forget that."""
        owners = {(house, key) for house, key, _ in self.seen}
        async with asyncio.timeout(SECONDS):
            while not all(seen for *_, seen in self.seen):
                for house, key in sorted(owners):
                    await append(self.store, house, key, "begun")
                await asyncio.sleep(0.2)
        for house, key in sorted(owners):
            await append(self.store, house, key, "ready")
        await self.until(lambda: all(seen[-1] == "ready" for *_, seen in self.seen))
        for *_, seen in self.seen:
            seen.clear()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def tails_of(store: AsyncMongoStore, owners: int, readers: int) -> AsyncGenerator[Tails]:
    """Readers of as many sessions and rooms, who have begun to read."""
    tails = Tails(store)
    for n in range(owners):
        await store.sessions.create(f"o{n}")
        await store.rooms.create(f"o{n}")
    tails.start_all(owners, readers)
    try:
        await tails.warm_up()
        yield tails
    finally:
        await tails.stop()


async def streams(admin: AsyncMongoClient[dict[str, Any]], app: str) -> int:
    """Return how many change streams the clients of that name have open at the server."""
    stages = [
        {"$currentOp": {"allUsers": True, "idleCursors": True}},
        {
            "$match": {
                "appName": app,
                "cursor.originatingCommand.pipeline.0.$changeStream": {"$exists": True},
            }
        },
    ]
    # One that is just asked again is missing both among the idle cursors and among those at work.
    found = set()
    for _ in range(5):
        found |= {one["cursor"]["cursorId"] for one in await (await admin.admin.aggregate(stages)).to_list()}
        await asyncio.sleep(0.03)
    return len(found)
