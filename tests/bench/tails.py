"""A thousand live tails in the process of a service: what they cost its verbs, and what they miss."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from statistics import median
from uuid import uuid4

from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, Message
from tests.bench.measurement import Row, timed
from tests.faults.deployments import with_options
from tests.faults.tails import HOUSES, Tails, append, streams

OWNERS, READERS, A_SECOND = 100, 1000, 100
_ROUNDS = 3
_BUDGET = 1.5
_Call = Callable[[AsyncMongoStore], Awaitable[object]]

# None is about a session or a room that is watched.
VERBS: dict[str, _Call] = {
    "session: get": lambda s: s.sessions.get("own"),
    "sessions: newest 20": lambda s: s.sessions.list(limit=20),
    "session: append": lambda s: s.sessions.messages.append("own", Message(role="user", content="x")),
    "session: newest 20": lambda s: s.sessions.messages.list("own", newest=True, limit=20),
    "thread: merge a message": lambda s: s.threads.messages.merge("own", "m", content="x"),
    "thread: newest 20": lambda s: s.threads.messages.list("own", newest=True, limit=20),
    "room: get": lambda s: s.rooms.get("own"),
    "room: append": lambda s: s.rooms.events.append("own", Event(channel_id="c", content="x")),
    "room: newest 20": lambda s: s.rooms.events.list("own", newest=True, limit=20),
}

Times = dict[str, list[int]]


async def rows(uri: str, seconds: float) -> AsyncIterator[Row]:
    """Yield what each verb takes beside the tails and without them, both beside 100 appends a second."""
    name = f"bench_{uuid4().hex[:16]}"
    async with (
        AsyncMongoClient(uri) as admin,
        AsyncMongoStore(with_options(uri, appName=name), name, timeout=60) as store,
    ):
        try:
            for key in ("own", *(f"o{n}" for n in range(OWNERS))):
                await store.sessions.create(key)
                await store.rooms.create(key)
            await store.threads.create("own")
            beside, without = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
            missed = opened = 0
            for _ in range(_ROUNDS):
                await _measure(store, seconds / _ROUNDS, without)
                tails = Tails(store)
                tails.start_all(OWNERS, READERS)
                await tails.warm_up()
                opened = max(opened, await streams(admin, name))
                missed += await _count_missed(tails, await _measure(store, seconds / _ROUNDS, beside))
                await tails.stop()
        finally:
            await admin.drop_database(name)
    for work in VERBS:
        yield Row(work, median(beside[work]) / 1000, median(without[work]) / 1000, _BUDGET)
    yield Row(f"changes that {READERS:,} tails missed", missed, 0, 0, "", "difference")
    yield Row("change streams at the server", opened, 1, 1, "")


async def _measure(store: AsyncMongoStore, seconds: float, times: Times) -> int:
    """Time the verbs in turns beside the appends, and return how many those were."""
    end = time.monotonic() + seconds
    appending = asyncio.create_task(_append(store, end))
    while time.monotonic() < end:
        for work, call in VERBS.items():
            times[work].append(await timed(partial(call, store)))
    return await appending


async def _append(store: AsyncMongoStore, end: float) -> int:
    began, number = time.monotonic(), 0
    while time.monotonic() < end:
        await asyncio.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        await append(store, HOUSES[number % 2], f"o{number // 2 % OWNERS}", number)
        number += 1
    return number


async def _count_missed(tails: Tails, appended: int) -> int:
    """Wait for the last changes, and return how many the tails have not seen, or in another order."""
    expected = defaultdict[tuple[str, str], list[object]](list)
    for number in range(appended):
        expected[HOUSES[number % 2], f"o{number // 2 % OWNERS}"].append(number)
    ends = time.monotonic() + 30
    while time.monotonic() < ends and any(
        len(seen) < len(expected[house, key]) for house, key, seen in tails.seen
    ):
        await asyncio.sleep(0.1)
    return sum(seen != expected[house, key] for house, key, seen in tails.seen)
