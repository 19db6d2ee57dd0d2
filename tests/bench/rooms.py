"""What RoomKit's work on rooms costs on MongoDB, beside its own stores on PostgreSQL and SQLite.

A commit is also compared with the driver's own insert of such an event, beside the same indexes, and a read
with the driver's own one of the same documents, without the rooms' counters and without a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Self, cast
from uuid import uuid4

from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern
from roomkit.models.channel import ChannelBinding
from roomkit.models.enums import ChannelType
from roomkit.models.event import EventSource, RoomEvent, TextContent
from roomkit.models.participant import Participant
from roomkit.models.room import Room
from roomkit.store.base import ConversationStore
from roomkit.store.sqlite import SQLiteStore

from mongostore.adapters.roomkit import MongoConversationStore
from tests.bench.comparisons import Field, Making, Race
from tests.bench.measurement import Cells, Work

TEXT = "x" * 600
HISTORY = 400
WRITERS = 8
MANY = 64


@dataclass(frozen=True)
class RoundTrips:
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
        return [self.work, f"{self.commands}", "", "", "", "", f"≤ {self.budget}"]


@dataclass(frozen=True)
class Share:
    """How fast calls are beside what the driver needs for as much.

    Attributes:
        work: The calls.
        times: How many times as fast as the driver they are.
        budget: The least that they may be.
    """

    work: str
    times: float
    budget: float

    @property
    def ok(self) -> bool:
        """Whether the calls keep within their budget."""
        return self.times >= self.budget

    def members(self) -> dict[str, Any]:
        """Return the share as a program reads it."""
        return {**asdict(self), "ok": self.ok}

    def cells(self) -> Cells:
        """Return the share as a person reads it."""
        return [self.work, f"{self.times:.2f}x", "", "", "", "", f"≥ {self.budget}x"]


class BareInserts:
    """The driver's insert of an event like a stored one."""

    def __init__(self, events: AsyncCollection[dict[str, Any]], stored: dict[str, Any]) -> None:
        self._events = events
        self._stored = stored
        self._positions = count(1)

    @classmethod
    async def like(cls, client: AsyncMongoClient[dict[str, Any]], name: str) -> Self:
        """Make a collection with the indexes of a store's events, whose stored events have had a commit."""
        events = client[name]["events"]
        stored = await events.find_one({"index": {"$gte": 0}})
        assert stored is not None
        bare = client[name].get_collection("bare_events", write_concern=WriteConcern("majority"))
        options = ("unique", "partialFilterExpression", "sparse")
        indexes = [
            IndexModel(
                index["key"], name=index_name, **{name: index[name] for name in options if name in index}
            )
            for index_name, index in (await events.index_information()).items()
            if index_name != "_id_"
        ]
        await bare.create_indexes(indexes)
        return cls(bare, stored)

    async def commit_event(self, room_id: str, event: RoomEvent) -> None:
        """Insert an event behind all others."""
        insert_raw = next(self._positions)
        own = {"_id": event.id, "room_id": room_id, "idempotency_key": event.idempotency_key}
        await self._events.insert_one({**self._stored, **own, "index": insert_raw, "log_index": insert_raw})


class BareReads:
    """The driver's reads of a store's documents."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._database = database

    async def get_room(self, room_id: str) -> object:
        """Read a room."""
        return await self._database["rooms"].find_one({"_id": room_id})

    async def list_rooms(self, *, limit: int) -> object:
        """Read the first rooms."""
        return await self._find("rooms", {"state": "open"}, [("created_at", 1), ("_id", 1)], limit)

    async def load_room_context(self, room_id: str) -> object:
        """Read a room, its bindings and its participants, all at once."""
        of_room = {"room_id": room_id}
        parts = (self._find(name, of_room, [("position", 1)]) for name in ("bindings", "participants"))
        return await asyncio.gather(self.get_room(room_id), *parts)

    async def list_events(
        self, room_id: str, *, limit: int, after_index: int = -1, newest_first: bool = False
    ) -> object:
        """Read some events."""
        events = {"room_id": room_id, "index": {"$gt": after_index}}
        return await self._find("events", events, [("index", -1 if newest_first else 1)], limit)

    async def get_event_by_idempotency_key(self, room_id: str, key: str, *, channel_id: str) -> object:
        """Read the event that has a key."""
        of_key = {"room_id": room_id, "idempotency_key": key, "channel_id": channel_id}
        return await self._database["events"].find_one(of_key)

    async def _find(
        self, name: str, filter: dict[str, Any], sort: list[tuple[str, int]], limit: int = 0
    ) -> object:
        # One more than there can be, so that the first answer ends it.
        found = self._database[name].find(filter, sort=sort, limit=limit, batch_size=limit + 200)
        return await found.to_list()


@dataclass(frozen=True)
class Bench(Field[ConversationStore]):
    """RoomKit's stores: ours beside its own.

    Attributes:
        client: The server of ours, by a client of its own.
        database: The database of ours there.
    """

    client: AsyncMongoClient[dict[str, Any]]
    database: str

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
            yield cls(stores, rounds, client, name)

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


async def rows(bench: Bench) -> AsyncIterator[Race | RoundTrips | Share]:
    """Yield how the stores compare in each piece of work, as soon as it is known."""
    for part in (_commits, _reads):
        async for row in part(bench):
            yield row


async def _commits(bench: Bench) -> AsyncIterator[Race | Share]:
    written = _committing(await bench.filled("written"))
    bare = cast(ConversationStore, await BareInserts.like(bench.client, bench.database))
    beside = replace(bench, stores={**bench.stores, "bare": bare})
    race = await beside.race("commit, one writer", written, budget=1.05)
    yield race
    yield _share(race, 0.9)
    crowded = [_committing(await bench.filled("crowded"))] * WRITERS
    several = [_committing(await bench.filled(f"several{number}", 20)) for number in range(WRITERS)]
    many = [_committing(await bench.filled(f"many{number}", 1)) for number in range(MANY)]
    for rooms, makings, budget, least in (
        ("1 room", crowded, 3.5, 0.9),
        (f"{WRITERS} rooms", several, 1.5, 0.9),
        (f"{MANY} rooms", many, 2.5, 0.65),
    ):
        race = await beside.crowd(f"commit, {len(makings)} in {rooms}", makings, budget=budget)
        yield race
        yield _share(race, least)


def _share(race: Race, budget: float, what: str = "insert") -> Share:
    return Share(f"  of the bare {what}", race.times["bare"], budget)


async def _reads(bench: Bench) -> AsyncIterator[Race | RoundTrips | Share]:
    room_id, keys = await bench.filled("read"), count()
    bare = cast(ConversationStore, BareReads(bench.client[bench.database]))
    beside = replace(bench, stores={**bench.stores, "bare": bare})

    def tail(store: ConversationStore) -> Work:
        return lambda: store.list_events(room_id, limit=50, newest_first=True)

    def after(store: ConversationStore) -> Work:
        return lambda: store.list_events(room_id, limit=50, after_index=HISTORY // 2)

    def context(store: ConversationStore) -> Work:
        return lambda: store.load_room_context(room_id)

    def room(store: ConversationStore) -> Work:
        return lambda: store.get_room(room_id)

    def rooms(store: ConversationStore) -> Work:
        return lambda: store.list_rooms(limit=50)

    def key(store: ConversationStore) -> Work:
        return lambda: store.get_event_by_idempotency_key(
            room_id, f"key{next(keys) % HISTORY}", channel_id="channel0"
        )

    for name, work, share, budget, least in (
        ("list_events, last 50", tail, 1, None, 0.5),
        ("list_events, 50 after", after, 1, None, 0.5),
        ("get_room", room, 1, None, 0.65),
        ("list_rooms, 50", rooms, 0.3, None, 0.3),
        ("load_room_context", context, 1, 1, 1),
        ("event of a key", key, 1, None, 0.65),
    ):
        race = await beside.race(name, work, share=share, budget=budget)
        yield race
        yield _share(race, least, "read")
    yield RoundTrips("load_room_context, trips", await bench.trips(context(bench.stores["mongo"])), 1)


def _committing(room_id: str) -> Making[ConversationStore]:
    return lambda store: lambda: store.commit_event(room_id, _event(room_id))


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
