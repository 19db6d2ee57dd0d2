"""Calls that are cancelled at any moment leave nothing behind, and disturb nobody."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import (
    AsyncMongoStore,
    Binding,
    Element,
    Event,
    Identity,
    Message,
    MongoStoreError,
    Observation,
    Task,
    UnavailableError,
)
from tests.faults.conftest import with_options
from tests.faults.deployments import Cluster, cluster
from tests.faults.memory_limits import Limit
from tests.faults.writers import every_store, tell

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]

AT_ONCE = 20
PART = 500
POOL = 20
# Longer than a call takes on a busy machine; most are given less.
LONGEST = 0.5
PATIENCE = 30

Record = Callable[[str, object], None]
Child = Callable[..., Popen[str]]


@pytest.fixture(scope="module")
def alone(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A replica set of one member, which nobody else uses."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("alone"), members=1) as started:
        yield started


class Calls:
    """Calls of all kinds; each says what is there once it has come to its end."""

    def __init__(self, store: AsyncMongoStore) -> None:
        self.store = store
        self.kinds: list[Callable[[str], Awaitable[object]]] = [
            *(self.append, self.append_many, self.edit, self.commit, self.edit_event, self.merge),
            *(self.upload, self.identify, self.record, self.lease, self.remove, self.bind),
            *(self.iterate, self.page, self.watch, self.watch_events, self.search, self.look),
        ]
        self.messages: set[str] = set()
        self.events: set[str] = set()
        self.merged: set[str] = set()
        self.files: set[str] = set()

    async def prepare(self) -> None:
        """Make what all of them use."""
        store = self.store
        await store.sessions.create("cancelled")
        await store.sessions.messages.append_many(
            "cancelled", [Message(id="first", role="user", content="x")]
        )
        await store.rooms.create("cancelled")
        await store.rooms.events.append("cancelled", Event(id="first", channel_id="c", content="x"))
        await store.threads.create("cancelled")

    async def append(self, id: str) -> None:
        await self.store.sessions.messages.append("cancelled", Message(id=id, role="user", content="x"))
        self.messages.add(id)

    async def append_many(self, id: str) -> None:
        messages = [Message(id=f"{id}-{n}", role="user", content="x") for n in range(5)]
        await self.store.sessions.messages.append_many("cancelled", messages)
        self.messages |= {message.id for message in messages}

    async def edit(self, id: str) -> None:
        await self.store.sessions.messages.update("cancelled", "first", metadata={"by": id})

    async def commit(self, id: str) -> None:
        event = Event(id=id, channel_id="c", content="x", idempotency_key=id)
        await self.store.rooms.events.append("cancelled", event)
        self.events.add(id)

    async def edit_event(self, id: str) -> None:
        edit = Event(id=id, change="edit", target_event_id="first", channel_id="c")
        target = Event(id="first", content="x", channel_id="c")
        await self.store.rooms.events.append("cancelled", edit, target=target)
        self.events.add(id)

    async def merge(self, id: str) -> None:
        await self.store.threads.messages.merge("cancelled", id, only_missing=True, content="x")
        self.merged.add(id)

    async def upload(self, id: str) -> None:
        await self.store.threads.files.upload(id, b"x" * 600_000)
        self.files.add(id)
        element = Element(id=id, message_id="first", file_key=id)
        await self.store.threads.elements.upsert("cancelled", element)

    async def identify(self, id: str) -> None:
        await self.store.rooms.identities.create(Identity(id=id, addresses={"sms": [id]}))
        await self.store.rooms.identities.link_address(id, "email", id)
        await self.store.rooms.identities.unlink_address(id, "sms", id)

    async def record(self, id: str) -> None:
        await self.store.rooms.tasks.create("cancelled", Task(id=id))
        await self.store.rooms.observations.create("cancelled", Observation(id=id))
        await self.store.rooms.read_markers.advance("cancelled", id, "first")

    async def lease(self, id: str) -> None:
        lease = await self.store.leases.acquire(id, id, 5)
        assert lease
        await self.store.leases.renew(lease)
        await self.store.leases.release(lease)

    async def remove(self, id: str) -> None:
        await self.store.sessions.create(id)
        await self.store.sessions.messages.append(id, Message(role="user"))
        await self.store.sessions.delete(id)
        await self.store.threads.merge(id, name="x")
        await self.store.threads.delete(id)

    async def bind(self, id: str) -> None:
        await self.store.rooms.bindings.upsert("cancelled", Binding(channel_id=id))
        await self.store.rooms.bindings.delete("cancelled", id)

    async def iterate(self, id: str) -> None:
        found = [one.id async for one in self.store.sessions.messages.iter("cancelled")]
        assert found[0] == "first"
        assert len(found) == len({*found})

    async def page(self, id: str) -> None:
        page = await self.store.rooms.events.list("cancelled", limit=50)
        assert [event.index for event in page.items] == [*range(len(page.items))]

    async def watch(self, id: str) -> None:
        async with aclosing(self.store.sessions.messages.watch("cancelled")) as changes:  # type: ignore[type-var]
            assert (await anext(changes)).kind

    async def watch_events(self, id: str) -> None:
        async with aclosing(self.store.rooms.events.watch("cancelled", after=-1)) as events:  # type: ignore[type-var]
            assert (await anext(events)).index == 0

    async def search(self, id: str) -> None:
        assert [session.id for session in (await self.store.sessions.list(limit=5)).items]
        assert await self.store.rooms.find_by_binding("none", ["nobody"]) is None

    async def look(self, id: str) -> None:
        assert (await self.store.sessions.get("cancelled")).count >= 1
        assert (await self.store.rooms.get("cancelled")).event_count >= 1

    async def check(self) -> None:
        """Check that what was told to be stored is there once, and nothing half."""
        store = self.store
        messages = [one.id async for one in store.sessions.messages.iter("cancelled")]
        events = [one async for one in store.rooms.events.iter("cancelled")]
        merged = [one.id async for one in store.threads.messages.iter("cancelled")]
        for known, found in (
            (self.messages, messages),
            (self.events, [event.id for event in events]),
            (self.merged, merged),
        ):
            assert known <= {*found}
            assert len(found) == len({*found})
        assert await store.sessions.messages.count("cancelled") == len(messages)
        assert [event.index for event in events] == [*range(len(events))]
        assert (await store.rooms.get("cancelled")).event_count == len(events)
        for key in self.files:
            assert sum([len(piece) async for piece in store.threads.files.iter_content(key)]) == 600_000


async def cancel_one(calls: Calls, number: int, outcomes: Counter[str]) -> None:
    """Cancel one call at some moment of it, or find it ended."""
    kind = calls.kinds[number % len(calls.kinds)]
    task = asyncio.ensure_future(kind(f"{kind.__name__}-{number}"))  # type: ignore[arg-type]
    await asyncio.wait([task], timeout=LONGEST * random.random() ** 4)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        outcomes["cancelled"] += 1
    except MongoStoreError as error:
        raise AssertionError(f"{kind.__name__} is told of {error!r}") from error
    else:
        outcomes["ended before"] += 1


async def soon(what: str, check: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something is as it should be: what is left of a call goes on for a moment."""
    ends = time.monotonic() + PATIENCE
    while (found := await check()) is not None:
        assert time.monotonic() < ends, f"{what}: {found}"
        await asyncio.sleep(0.1)


class Observer:
    """Looks at what a server has open."""

    def __init__(self, admin: AsyncMongoClient[dict[str, Any]]) -> None:
        self.admin = admin

    async def transactions(self) -> list[dict[str, Any]] | None:
        """Return the transactions that are open, None if there are none."""
        return await self.current({"transaction": {"$exists": True}}, idleSessions=True) or None

    async def cursors(self) -> list[Any] | None:
        """Return what opened the cursors, None if there are none."""
        status = await self.admin.admin.command("serverStatus")
        if not status["metrics"]["cursor"]["open"]["total"]:
            return None
        found = await self.current({"type": "idleCursor"}, idleCursors=True)
        return [one["cursor"]["originatingCommand"] for one in found]

    async def current(self, where: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Return what the server does, and has, of some kind."""
        stages: list[dict[str, Any]] = [{"$currentOp": {"allUsers": True, **options}}, {"$match": where}]
        return await (await self.admin.admin.aggregate(stages)).to_list()


@pytest.mark.parametrize("parts", [1, pytest.param(10, marks=pytest.mark.long)])
async def test_cancelled_calls_leave_nothing_behind(
    alone: Cluster, record_property: Record, caplog: pytest.LogCaptureFixture, parts: int
) -> None:
    uri, outcomes = with_options(alone.uri_of(), appName="cancelled", maxPoolSize=POOL), Counter[str]()
    numbers, seconds, writes = iter(range(parts * PART)), 0.0, 0
    async with AsyncMongoClient[dict[str, Any]](alone.uri_of()) as admin:
        looker = Observer(admin)

        async def work() -> None:
            for number in itertools.islice(numbers, PART // AT_ONCE):
                await cancel_one(calls, number, outcomes)

        async def cursors() -> list[Any] | None:
            # A server that answers an attempt too late keeps the cursor for ten minutes.
            late = sum(record.name == "mongostore.retry" for record in caplog.records)
            found = await looker.cursors() or []
            return found if len(found) > late else None

        async with (
            AsyncMongoStore(uri, f"cancelled_{parts}") as store,
            every_store(alone.uri_of(), f"beside_{parts}") as stores,
        ):
            calls = Calls(store)
            await calls.prepare()
            for part in range(parts):
                load = await stores.load(f"-{part}")
                load.start()
                began = time.monotonic()
                try:
                    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
                    seconds += time.monotonic() - began
                    await load.progress(1)
                    await load.stop()
                    await load.check()
                finally:
                    await load.cancel()
                writes += load.writes
            # On a slow machine each call of some kind is cancelled; these are not, and nothing bars them.
            for kind in (calls.append, calls.commit, calls.merge, calls.upload):
                await kind(f"{kind.__name__}-at-last")
            await calls.check()
            await soon("transactions are open", looker.transactions)
            await soon("cursors are open", cursors)
            await check_pool(store, looker)
    received = {"calls": outcomes.total(), **outcomes, "seconds": round(seconds, 1), "writes beside": writes}
    tell(record_property, "cancelled calls", received)
    assert outcomes["cancelled"] > 0
    assert outcomes.total() == parts * PART


async def check_pool(store: AsyncMongoStore, looker: Observer) -> None:
    """Check that as many commands can run at once as the pool has connections."""
    sleep = {"sleep": 1, "lock": "none", "secs": PATIENCE}
    client = store.engine.database.client
    sleeping = [asyncio.create_task(client.admin.command(sleep)) for _ in range(POOL)]

    async def asleep() -> int | None:
        found = len(await looker.current({"command.sleep": 1, "appName": "cancelled"}))
        return None if found == POOL else found

    try:
        await soon("not every connection of the pool can be used", asleep)
    finally:
        for task in sleeping:
            task.cancel()
        await asyncio.gather(*sleeping, return_exceptions=True)
    assert await store.sessions.exists("cancelled")


async def test_tails_that_are_cancelled_while_they_close_leave_no_cursor(alone: Cluster) -> None:
    # The one connection is in use when they want to say that they close.
    uri, sleep = with_options(alone.uri_of(), maxPoolSize=1), {"sleep": 1, "lock": "none", "millis": 300}
    async with (
        AsyncMongoClient[dict[str, Any]](alone.uri_of()) as admin,
        AsyncMongoStore(uri, "closing") as store,
        AsyncMongoStore(alone.uri_of(), "closing") as other,
    ):
        calls = Calls(other)
        await calls.prepare()
        for tail in (
            store.sessions.messages.watch("cancelled"),
            store.rooms.events.watch("cancelled", after=-1),
        ):
            first = asyncio.create_task(anext(tail))
            while not first.done():
                await calls.edit("somebody")
            await first
            sleeping = asyncio.create_task(store.engine.database.client.admin.command(sleep))
            await asyncio.sleep(0.1)
            closing = asyncio.create_task(tail.aclose())  # type: ignore[attr-defined]  # a generator
            await asyncio.sleep(0.1)
            closing.cancel()
            await asyncio.gather(closing, sleeping, return_exceptions=True)
        await soon("cursors are open", Observer(admin).cursors)


def test_an_interrupt_at_any_moment_of_blocking_calls(child: Child, server_uri: str, database: str) -> None:
    process = child("interrupted.py", server_uri, database, 200)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")


async def test_cancelled_while_the_server_stands_still(alone: Cluster) -> None:
    # What ends a transaction waits for the server, who does not answer; a caller does not wait as long.
    [member] = alone.members
    async with AsyncMongoStore(alone.uri_of(), "still") as store:
        await store.rooms.create("r")
        member.send(signal.SIGSTOP)
        try:
            tasks = [
                asyncio.create_task(store.rooms.events.append("r", Event(channel_id="c"))),
                asyncio.create_task(
                    store.rooms.identities.create(Identity(id="i", addresses={"sms": ["1"]}))
                ),
                asyncio.create_task(store.sessions.create("s")),
            ]
            await asyncio.sleep(0.2)
            limit = Limit(4.0)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            limit.check()
        finally:
            member.send(signal.SIGCONT)
        assert {type(error) for error in ended} <= {asyncio.CancelledError, UnavailableError}
