"""What RoomKit's work on rooms costs on MongoDB, beside its own stores on PostgreSQL and SQLite."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal, Self
from uuid import uuid4

from pymongo import AsyncMongoClient
from roomkit.models.channel import ChannelBinding
from roomkit.models.enums import ChannelType
from roomkit.models.event import EventSource, RoomEvent, TextContent
from roomkit.models.participant import Participant
from roomkit.models.room import Room
from roomkit.store.base import ConversationStore
from roomkit.store.sqlite import SQLiteStore

from mongostore.adapters.roomkit import MongoConversationStore
from tests.bench.measuring import Cells, Work, take_turns, timed

COLUMNS = [
    *(("work", 27), ("MongoDB", 19), ("PostgreSQL", 19), ("SQLite", 19)),
    *(("ours/PG", 8), ("budget", 8), ("ok", 3)),
]
TEXT = "x" * 600
HISTORY = 400
WRITERS = 8
# Commits of each writer in a turn.
EACH = 8
# Turns of many writers for one of a single call.
SHARE = 1 / 20

# Makes the work of a store, given the store.
Making = Callable[[ConversationStore], Work]


@dataclass(frozen=True)
class Pace:
    """How fast calls are answered.

    Attributes:
        p50: Half of them within so many milliseconds.
        p95: Nearly all within so many.
        per_second: How many of them in a second.
    """

    p50: float
    p95: float
    per_second: float

    def __str__(self) -> str:
        digits = 1 if self.p95 >= 10 else 2
        return f"{self.p50:.{digits}f} {self.p95:.{digits}f} {self.per_second:,.0f}/s"


@dataclass(frozen=True)
class Race:
    """The same work in each store.

    Attributes:
        work: What was done.
        paces: By store; those that are not there are left out.
        compare: What the ratio is of: half the calls' time, or calls a second.
        budget: The most, or the least of calls a second, that the ratio to PostgreSQL may be.
    """

    work: str
    paces: dict[str, Pace]
    compare: Literal["p50", "per_second"] = "p50"
    budget: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours to PostgreSQL's."""
        if (other := self.paces.get("postgres")) is None:
            return None
        return float(getattr(self.paces["mongo"], self.compare) / getattr(other, self.compare))

    @property
    def ok(self) -> bool:
        """Whether the work keeps within its budget, as far as that is known."""
        if self.ratio is None or self.budget is None:
            return True
        return self.ratio >= self.budget if self.compare == "per_second" else self.ratio <= self.budget

    def members(self) -> dict[str, Any]:
        """Return the race as a program reads it."""
        return {**asdict(self), "ratio": self.ratio, "ok": self.ok}

    def cells(self) -> Cells:
        """Return the race as a person reads it."""
        paces = (str(self.paces.get(name, "")) for name in ("mongo", "postgres", "sqlite"))
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}x"
        sign = "≥" if self.compare == "per_second" else "≤"
        return [self.work, *paces, ratio, "" if self.budget is None else f"{sign} {self.budget:.0f}x"]


@dataclass(frozen=True)
class Trips:
    """How many commands a call sends.

    Attributes:
        work: The call.
        commands: So many.
        budget: The most that it may send.
    """

    work: str
    commands: int
    budget: int

    @property
    def ok(self) -> bool:
        """Whether the call keeps within its budget."""
        return self.commands <= self.budget

    def members(self) -> dict[str, Any]:
        """Return the count as a program reads it."""
        return {**asdict(self), "ok": self.ok}

    def cells(self) -> Cells:
        """Return the count as a person reads it."""
        return [self.work, f"{self.commands}", "", "", "", f"≤ {self.budget}"]


@dataclass(frozen=True)
class Bench:
    """RoomKit's stores, by name.

    Attributes:
        stores: Ours, `mongo`, and RoomKit's own `sqlite` and, if there is one, `postgres`.
        client: The server of ours, by a client of its own.
        rounds: How often each piece of work is done.
    """

    stores: dict[str, ConversationStore]
    client: AsyncMongoClient[dict[str, Any]]
    rounds: int

    @classmethod
    @asynccontextmanager
    async def opened(cls, uri: str, dsn: str | None, folder: Path, *, rounds: int) -> AsyncIterator[Self]:
        """Open the stores on databases that live as long as the bench, SQLite's in a folder."""
        name = f"bench_{uuid4().hex[:16]}"
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](uri))
            stack.push_async_callback(client.drop_database, name)
            ours = MongoConversationStore(uri, name)
            stack.push_async_callback(ours.close)
            await ours.init()
            stores: dict[str, ConversationStore] = {"mongo": ours}
            if dsn is not None:
                from roomkit.store.postgres import PostgresStore

                theirs = PostgresStore(dsn)
                stack.push_async_callback(theirs.close)
                await theirs.init()
                stores["postgres"] = theirs
            stores["sqlite"] = SQLiteStore(folder / "rooms.db")
            stack.push_async_callback(stores["sqlite"].close)
            yield cls(stores, client, rounds)

    async def filled(self, room_id: str, events: int = HISTORY) -> str:
        """Create a room in every store: with a history, five bindings and ten participants."""
        for store in self.stores.values():
            await store.create_room(Room(id=room_id))
            for number in range(5):
                await store.add_binding(_binding(room_id, number))
            for number in range(10):
                await store.add_participant(_participant(room_id, number))
            for number in range(events):
                await store.commit_event(room_id, _event(room_id, key=f"key{number}"))
        return room_id

    async def race(self, work: str, making: Making, *, budget: float | None = None) -> Race:
        """Let the stores do a piece of work in turn, and compare the time of a call."""
        took = await take_turns(self.rounds, *map(making, self.stores.values()))
        paces = {
            name: _pace(times, 1e9 / median(times)) for name, times in zip(self.stores, took, strict=True)
        }
        return Race(work, paces, budget=budget)

    async def crowd(self, work: str, room_ids: list[str], *, budget: float | None = None) -> Race:
        """Let the stores take the commits of many writers in turn, and compare their number in a second."""
        latencies: dict[str, list[int]] = {name: [] for name in self.stores}
        works = [
            functools.partial(_commit_together, store, room_ids, latencies[name])
            for name, store in self.stores.items()
        ]
        took = await take_turns(max(int(self.rounds * SHARE), 4), *works)
        paces = {
            name: _pace(latencies[name], 1e9 * WRITERS * EACH / median(times))
            for name, times in zip(self.stores, took, strict=True)
        }
        return Race(work, paces, "per_second", budget)

    async def trips(self, call: Callable[[], Awaitable[object]]) -> int:
        """Return how many commands a call of ours sends: the least of several, as others may be about."""
        counts = []
        for _ in range(20):
            before = await self._commands()
            await call()
            counts.append(await self._commands() - before - 1)
        return min(counts)

    async def _commands(self) -> int:
        status = await self.client.admin.command("serverStatus")
        counters = status["opcounters"]
        return sum(counters[name] for name in ("insert", "query", "update", "delete", "getmore", "command"))


async def rows(bench: Bench) -> AsyncIterator[Race | Trips]:
    """Yield how the stores compare in each piece of work, as soon as it is known."""
    for part in (_commits, _reads):
        async for row in part(bench):
            yield row


async def _commits(bench: Bench) -> AsyncIterator[Race]:
    room_id = await bench.filled("written")

    def one(store: ConversationStore) -> Work:
        return lambda: store.commit_event(room_id, _event(room_id))

    yield await bench.race("commit, one writer", one, budget=1)
    crowded = await bench.filled("crowded")
    yield await bench.crowd(f"commit, {WRITERS} writers, 1 room", [crowded], budget=3)
    several = [await bench.filled(f"several{number}", 20) for number in range(WRITERS)]
    yield await bench.crowd(f"commit, {WRITERS} writers, {WRITERS} rooms", several)


async def _reads(bench: Bench) -> AsyncIterator[Race | Trips]:
    room_id, keys = await bench.filled("read"), count()

    def tail(store: ConversationStore) -> Work:
        return lambda: store.list_events(room_id, limit=50, newest_first=True)

    def after(store: ConversationStore) -> Work:
        return lambda: store.list_events(room_id, limit=50, after_index=HISTORY // 2)

    def context(store: ConversationStore) -> Work:
        return lambda: store.load_room_context(room_id)

    def key(store: ConversationStore) -> Work:
        return lambda: store.get_event_by_idempotency_key(
            room_id, f"key{next(keys) % HISTORY}", channel_id="channel0"
        )

    yield await bench.race("list_events, last 50", tail)
    yield await bench.race("list_events, 50 after", after)
    yield await bench.race("load_room_context", context)
    yield Trips("  its round trips", await bench.trips(context(bench.stores["mongo"])), 1)
    yield await bench.race("event of a key", key)


async def _commit_together(store: ConversationStore, room_ids: list[str], latencies: list[int]) -> None:
    async def write(room_id: str) -> None:
        def work() -> Awaitable[object]:
            return store.commit_event(room_id, _event(room_id))

        latencies.extend([await timed(work) for _ in range(EACH)])

    await asyncio.gather(*(write(room_ids[number % len(room_ids)]) for number in range(WRITERS)))


def _pace(times: list[int], per_second: float) -> Pace:
    cuts = quantiles(times, n=20, method="inclusive")
    return Pace(cuts[9] / 1e6, cuts[18] / 1e6, per_second)


def _event(room_id: str, key: str | None = None) -> RoomEvent:
    return RoomEvent(
        room_id=room_id,
        source=EventSource(channel_id="channel0", channel_type=ChannelType.SMS, participant_id="p0"),
        content=TextContent(body=TEXT),
        idempotency_key=key or uuid4().hex,
        metadata={"topic": "billing"},
    )


def _binding(room_id: str, number: int) -> ChannelBinding:
    return ChannelBinding(
        room_id=room_id,
        channel_id=f"channel{number}",
        channel_type=ChannelType.SMS,
        metadata={"phone_number": f"+1555000{number:04}"},
    )


def _participant(room_id: str, number: int) -> Participant:
    return Participant(id=f"p{number}", room_id=room_id, channel_id="channel0", display_name=f"Name {number}")
