"""What sessions cost beside the bare driver doing as much with the same bytes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from mongostore import AsyncMongoStore, Message, MongoStore
from mongostore.documents.sessions import to_stored_message
from tests.bench.measurement import Row, Work, interleave

COLUMNS = [("work", 46), ("ours", 10), ("bare", 10), ("result", 11), ("budget", 12), ("ok", 4)]
LONG = 100_000
LONGER = 1_000_000
TEXT = "x" * 600
BATCH = 100
CONCERNS: list[tuple[int | str, float]] = [("majority", 1.7), (1, 2.2)]
# Told how many messages of how many are stored.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bench:
    """The same server, spoken to through stores and bare.

    Attributes:
        stores: By write concern.
        blocking: The façade.
        bare: The same database, by a client of its own.
        rounds: How often each piece of work is done.
        full: Whether to take the time for a million messages.
        progress: Called while a long session is filled.
    """

    stores: dict[int | str, AsyncMongoStore]
    blocking: MongoStore
    bare: AsyncDatabase[dict[str, Any]]
    rounds: int
    full: bool
    progress: Progress

    @classmethod
    @asynccontextmanager
    async def opened(cls, uri: str, *, rounds: int, full: bool, progress: Progress) -> AsyncIterator[Self]:
        """Open everything on a database that lives as long as the bench."""
        name = f"bench_{uuid4().hex[:16]}"
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](uri))
            stack.push_async_callback(client.drop_database, name)
            stores: dict[int | str, AsyncMongoStore] = {}
            for concern, _ in CONCERNS:
                store = AsyncMongoStore(_with_option(uri, f"w={concern}"), name)
                stores[concern] = await stack.enter_async_context(store)
            blocking = stack.enter_context(MongoStore(uri, name))
            yield cls(stores, blocking, client[name], rounds, full, progress)

    @property
    def store(self) -> AsyncMongoStore:
        """The store whose writes the majority acknowledges."""
        return self.stores["majority"]

    def bare_messages(self, concern: int | str) -> AsyncCollection[dict[str, Any]]:
        """Return the collection for messages by the bare driver, one document each."""
        return self.bare.get_collection("bare", write_concern=WriteConcern(concern))

    async def fill(self, session_id: str, start: int, end: int) -> None:
        """Append messages to a session, whose number so far is `start`, until there are `end`."""
        sessions = self.stores[1].sessions
        for done in range(start, end, BATCH):
            await sessions.messages.append_many(session_id, _messages(min(BATCH, end - done)))
            if done % 1000 == 0:
                self.progress(done, end)

    async def created(self, session_id: str, messages: int, *, user_id: str | None = None) -> str:
        """Create a session with messages."""
        await self.store.sessions.create(session_id, user_id=user_id)
        await self.fill(session_id, 0, messages)
        return session_id


async def rows(bench: Bench) -> AsyncIterator[Row]:
    """Yield what each piece of work takes, as soon as it is known."""
    for part in (_memory, _changes, _heads, _newest_messages, _reads, _lists, _facade, _appends, _newest):
        async for row in part(bench):
            yield row


async def _changes(bench: Bench) -> AsyncIterator[Row]:
    session = await bench.created("streamed", 99)
    message = await bench.store.sessions.messages.append(session, Message(role="assistant", content=TEXT))
    messages, numbers = bench.bare_messages("majority"), count()
    await messages.insert_one(_bare_message() | {"_id": "streamed"})

    async def ours() -> None:
        await bench.store.sessions.messages.update(session, message.id, content=f"{next(numbers)}{TEXT}")

    async def bare() -> None:
        content = f"{next(numbers)}{TEXT}"
        await messages.update_one(
            {"_id": "streamed"}, {"$set": {"content": content, "updated_at": next(numbers)}}
        )

    took = await interleave(bench.rounds, ours, bare)
    yield Row("change of one message (streaming), w:majority", took[0], took[1], 1.8)


async def _heads(bench: Bench) -> AsyncIterator[Row]:
    """Yield what appends take that begin a session or change it, each beside one insert."""
    sessions, session, bare = (
        bench.store.sessions,
        await bench.created("headed", 90),
        bench.bare_messages("majority"),
    )

    async def begin() -> None:
        message = Message(role="user", content=TEXT)
        await sessions.messages.append(uuid4().hex, message, create={"user_id": "begun"})

    async def change() -> None:
        message = Message(role="user", content=TEXT)
        await sessions.messages.append(session, message, update={"data": {"state": message.id}})

    begun, changed, inserted = await interleave(bench.rounds, begin, change, _insert(bare))
    yield Row("append that begins its session, w:majority", begun, inserted, 1.7)
    yield Row("append that changes its session, w:majority", changed, inserted, 1.7)


async def _newest_messages(bench: Bench) -> AsyncIterator[Row]:
    """Yield what it takes to pop or replace the newest messages, and to delete an unchanged session."""
    sessions, bare = bench.store.sessions, bench.bare_messages("majority")
    # From each of these so few are popped that none comes from a segment.
    popped = [await bench.created(f"popped{number}", 100) for number in range(bench.rounds // 25 + 1)]
    pops, sealed = count(), await bench.created("sealed", 300 + 2 * bench.rounds)
    for _ in range((await sessions.describe_storage(sealed)).in_tail):
        await sessions.messages.pop(sealed)
    replaced = await bench.created("replaced", 90)
    newest = [message.id for message in await sessions.messages.list(replaced, newest=True, limit=2)]
    doomed = [await sessions.create(uuid4().hex) for _ in range(2 * bench.rounds)]
    await bare.insert_many([_bare_message() for _ in range(8 * bench.rounds)])

    async def replace() -> None:
        nonlocal newest
        messages = _messages(2)
        await sessions.messages.replace_newest(replaced, newest, messages)
        newest = [message.id for message in messages]

    async def replace_bare() -> None:
        for _ in range(2):
            await bare.find_one_and_delete({}, sort=[("_id", -1)])
        await bare.insert_many([_bare_message() for _ in range(2)])

    async def delete() -> None:
        session = doomed.pop()
        await sessions.delete(session.id, revision=session.revision)

    pop, pop_sealed, pop_bare = await interleave(
        bench.rounds,
        lambda: sessions.messages.pop(popped[next(pops) // 50]),
        lambda: sessions.messages.pop(sealed),
        lambda: bare.find_one_and_delete({}, sort=[("_id", -1)]),
    )
    yield Row("pop the newest message, w:majority", pop, pop_bare, 2.6)
    yield Row("pop it from a segment, w:majority", pop_sealed, pop_bare, 5)
    took = await interleave(bench.rounds, replace, replace_bare)
    yield Row("replace the newest two messages, w:majority", took[0], took[1], 1.5)
    took = await interleave(bench.rounds, delete, lambda: bare.find_one_and_delete({}, sort=[("_id", -1)]))
    yield Row("delete a session that is unchanged, w:majority", took[0], took[1], 4.5)


async def _reads(bench: Bench) -> AsyncIterator[Row]:
    sessions = bench.store.sessions
    for messages in (20, 128):
        session = await bench.created(f"read{messages}", messages)

        async def ours(session: str = session) -> None:
            await sessions.messages.list(session, limit=128)

        async def bare(session: str = session) -> None:
            await bench.bare.sessions.find_one({"_id": f"default/{session}"})

        took = await interleave(bench.rounds, ours, bare)
        yield Row(f"read a session of {messages} messages, with models", took[0], took[1], 1.5)


async def _lists(bench: Bench) -> AsyncIterator[Row]:
    for number in range(60):
        await bench.created(f"listed{number}", 40, user_id="u")

    async def ours() -> None:
        await bench.store.sessions.list(user_id="u", limit=20)

    async def bare() -> None:
        newest = bench.bare.sessions.find(
            {"namespace": "default", "user_id": "u", "state": "open"},
            {"messages": 0},
            sort=[("updated_at", -1), ("_id", -1)],
            limit=20,
        )
        await newest.to_list()

    took = await interleave(bench.rounds, ours, bare)
    yield Row("newest 20 sessions of a user, with previews", took[0], took[1], 1.3)


async def _facade(bench: Bench) -> AsyncIterator[Row]:
    await bench.created("faced", 1)

    async def blocking() -> None:
        bench.blocking.sessions.get("faced")

    async def asynchronous() -> None:
        await bench.store.sessions.get("faced")

    took = await interleave(4 * bench.rounds, blocking, asynchronous)
    yield Row("blocking façade against async, one get", took[0], took[1], 60, compare="difference")


async def _appends(bench: Bench) -> AsyncIterator[Row]:
    short = [await bench.created(f"short{number}", 90) for number in range(max(bench.rounds // 10, 1))]
    await bench.created("long", LONG)
    for concern, budget in CONCERNS:
        at_100, at_100_000, inserted = await interleave(
            bench.rounds,
            _append(bench.stores[concern], short),
            _append(bench.stores[concern], ["long"]),
            _insert(bench.bare_messages(concern)),
        )
        yield Row(f"append 600 B at message 100, w:{concern}", at_100, inserted, budget)
        yield Row(f"append 600 B at message {LONG:,}, w:{concern}", at_100_000, inserted, budget)
        yield Row(f"append at {LONG:,} against at 100, w:{concern}", at_100_000, at_100, 1.2)


async def _newest(bench: Bench) -> AsyncIterator[Row]:
    length = LONG
    if bench.full:
        await bench.fill("long", LONG, length := LONGER)
    await bench.created("hundred", 100)
    took = await interleave(bench.rounds, _last_20(bench.store, "long"), _last_20(bench.store, "hundred"))
    yield Row(f"last 20 of {length:,} messages against of 100", took[0], took[1], 1.2)


async def _memory(bench: Bench) -> AsyncIterator[Row]:
    sessions, process = bench.store.sessions, psutil.Process()

    async def live_through(name: str) -> None:
        await sessions.create(name)
        message = await sessions.messages.append(name, Message(role="user", content=TEXT))
        await sessions.messages.update(name, message.id, content="y")
        await sessions.messages.list(name)
        await sessions.list(limit=5)

    async def memory_after(rounds: Iterable[int]) -> float:
        for number in rounds:
            await asyncio.gather(*(live_through(f"lived{number}-{i}") for i in range(10)))
        gc.collect()
        return float(process.memory_info().rss) / 1024

    # The store remembers where 4,096 sessions stand, so so many go first.
    before = await memory_after(range(500))
    after = await memory_after(range(500, 700))
    yield Row("memory after 10,000 more operations", after, before, 1024, unit="KiB", compare="difference")


def _append(store: AsyncMongoStore, session_ids: list[str]) -> Work:
    names = cycle(session_ids)
    return lambda: store.sessions.messages.append(next(names), Message(role="user", content=TEXT))


def _insert(bare: AsyncCollection[dict[str, Any]]) -> Work:
    return lambda: bare.insert_one(_bare_message())


def _last_20(store: AsyncMongoStore, session_id: str) -> Work:
    return lambda: store.sessions.messages.list(session_id, newest=True, limit=20)


def _messages(number: int) -> list[Message]:
    return [Message(role="user", content=TEXT) for _ in range(number)]


def _bare_message() -> dict[str, Any]:
    return {**_STORED, "_id": uuid4().hex, "session": "default/long"}


_STORED = {name: value for name, value in to_stored_message(_messages(1)[0], 1).items() if name != "id"}


def _with_option(uri: str, option: str) -> str:
    parts = urlsplit(uri)
    query = f"{parts.query}&{option}" if parts.query else option
    return parts._replace(path=parts.path or "/", query=query).geturl()
