"""What a store opens ends with it: when it is closed, forgotten, or its event loop or thread is gone."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import ConnectionCreatedEvent, ConnectionPoolListener

from mongostore import AsyncMongoStore, Message, MongoStore, MongoStoreError, NotOpenError, Turn
from mongostore.shared_store import SharedStore

pytestmark = pytest.mark.server

TIMES = 5
PATIENCE = 60.0

Held = tuple[int, int, int]


@pytest.fixture
def held(admin_uri: str) -> Iterator[Callable[[], Held]]:
    """What this process holds: connections at the server, files and threads."""
    with MongoClient[dict[str, Any]](admin_uri) as client:

        def count() -> Held:
            gc.collect()
            connections = client.admin.command("serverStatus")["connections"]["current"]
            return connections, len([*Path("/proc/self/fd").iterdir()]), threading.active_count()

        count()
        yield count


def comes_back(held: Callable[[], Held], before: Held) -> None:
    """Check that nothing is held soon that was not held before."""
    end = time.monotonic() + PATIENCE
    while any(now > then for now, then in zip(held(), before, strict=True)) and time.monotonic() < end:
        time.sleep(0.1)
    assert all(now <= then for now, then in zip(held(), before, strict=True)), f"{before} -> {held()}"


async def forgotten(uri: str, database: str) -> None:
    store = AsyncMongoStore(uri, database)
    await store.open()
    await store.sessions.exists("s")


async def closed(uri: str, database: str) -> None:
    async with AsyncMongoStore(uri, database) as store:
        await store.sessions.exists("s")


async def shared(uri: str, database: str) -> None:
    await (await SharedStore(uri, database).get()).sessions.exists("s")


async def test_a_user_of_a_shared_store_that_is_dropped_uses_it_no_more(
    server_uri: str, database: str
) -> None:
    dropped, last = SharedStore(server_uri, database), SharedStore(server_uri, database)
    store = await last.get()
    assert await dropped.get() is store
    del dropped
    gc.collect()
    await last.close()
    assert not store.is_open


async def held_by_iteration(uri: str, database: str) -> None:
    store = AsyncMongoStore(uri, database)
    await store.open()
    await store.sessions.ensure("s")
    await store.sessions.messages.append("s", Message(role="user"))
    await anext(store.sessions.messages.iter("s"))


async def held_by_task(uri: str, database: str) -> None:
    store = AsyncMongoStore(uri, database)
    await store.open()
    await store.sessions.ensure("s")

    async def watch() -> None:
        async for _ in store.sessions.messages.watch("s"):
            pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.1)
    assert not watching.done()


@pytest.mark.parametrize(
    "use",
    [
        *(closed, forgotten, shared),
        *(pytest.param(use, marks=pytest.mark.long) for use in (held_by_iteration, held_by_task)),
    ],
)
def test_nothing_is_left_of_stores_of_event_loops_that_are_gone(
    server_uri: str, database: str, held: Callable[[], Held], use: Callable[[str, str], Awaitable[None]]
) -> None:
    async def run() -> None:
        await use(server_uri, database)

    asyncio.run(run())
    before = held()
    for _ in range(TIMES):
        asyncio.run(run())

    comes_back(held, before)


async def test_a_store_that_is_forgotten_is_closed_while_its_loop_goes_on(
    server_uri: str, database: str, held: Callable[[], Held]
) -> None:
    await forgotten(server_uri, database)
    await asyncio.sleep(0.5)
    before = held()
    for _ in range(3):
        await forgotten(server_uri, database)

    for _ in range(100):
        await asyncio.sleep(0.1)
        if all(now <= then for now, then in zip(held(), before, strict=True)):
            return
    pytest.fail(f"{before} -> {held()}")


def use_blocking(uri: str, database: str) -> None:
    store = MongoStore(uri, database)
    store.open()
    store.sessions.exists("s")


def begin_iteration(uri: str, database: str) -> None:
    store = MongoStore(uri, database)
    store.open()
    store.sessions.ensure("s")
    store.sessions.messages.append("s", Message(role="user"))
    next(iter(store.sessions.messages.iter("s")))


@pytest.mark.parametrize("use", [use_blocking, pytest.param(begin_iteration, marks=pytest.mark.long)])
def test_nothing_is_left_of_blocking_stores_that_are_forgotten(
    server_uri: str, database: str, held: Callable[[], Held], use: Callable[[str, str], None]
) -> None:
    use(server_uri, database)
    comes_back(held, held())
    before = held()
    for _ in range(5):
        use(server_uri, database)
    threads = [threading.Thread(target=use, args=(server_uri, database)) for _ in range(TIMES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    comes_back(held, before)


class Opened(ConnectionPoolListener):  # type: ignore[misc]
    """Counts the connections of a pool."""

    def __init__(self) -> None:
        self.count = 0

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        self.count += 1

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("pool_", "connection_")) and name != "connection_created":
            return lambda event: None
        return super().__getattribute__(name)


async def test_to_open_takes_few_connections(server_uri: str, database: str) -> None:
    for _ in range(2):
        opened = Opened()
        async with AsyncMongoStore(server_uri, database, client_options={"event_listeners": [opened]}):
            assert 1 <= opened.count <= 4


async def test_calls_under_way_end_before_the_store_does(server_uri: str, database: str) -> None:
    async with AsyncMongoStore(server_uri, database) as store:
        await store.sessions.create("s")
        appends = [
            asyncio.create_task(store.sessions.messages.append("s", Message(id=f"m{n}", role="user")))
            for n in range(15)
        ]
        merges = [asyncio.create_task(store.threads.messages.merge("t", f"x{n}")) for n in range(15)]
        upload = asyncio.create_task(store.threads.files.upload("f", b"x" * 2_000_000))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        with pytest.raises(NotOpenError):
            await store.sessions.exists("s")
        await closing
        await asyncio.gather(*appends, *merges, upload)

    async with AsyncMongoStore(server_uri, database) as store:
        assert await store.sessions.messages.count("s") == 15
        assert await store.threads.messages.count("t") == 15
        assert len(await store.threads.files.read("f")) == 2_000_000


def test_blocking_calls_under_way_end_before_the_store_does(server_uri: str, database: str) -> None:
    store = MongoStore(server_uri, database)
    store.open()
    store.sessions.create("s")
    errors: list[BaseException] = []
    stored: list[str] = []

    def append(number: int) -> None:
        try:
            for part in range(1000):
                store.sessions.messages.append("s", Message(id=f"{number}-{part}", role="user"))
                stored.append(f"{number}-{part}")
        except MongoStoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    store.close()
    for thread in threads:
        thread.join()

    assert {type(error) for error in errors} == {NotOpenError}
    assert {str(error) for error in errors} <= {
        "the store was closed",
        "the store is not open: use `with`, or call open() first",
    }
    with MongoStore(server_uri, database) as again:
        assert again.sessions.messages.count("s") == len(stored)


async def test_a_call_that_does_not_end_in_its_time_is_named_and_ends_with_an_error_of_ours(
    server_uri: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    entered = asyncio.Event()

    async def think(participant: str, turns: object) -> list[Any]:
        entered.set()
        await asyncio.sleep(2)
        return []

    store = AsyncMongoStore(server_uri, database, timeout=0.5)
    await store.open()
    await store.sessions.create("s")
    await store.sessions.participants.create("s", "p")
    await store.sessions.turns.append("s", "p", Turn(role="user", content="x"))
    integrating = asyncio.create_task(store.sessions.turns.integrate("s", think))
    await entered.wait()
    with caplog.at_level(logging.WARNING, "mongostore"):
        await store.close()
    [outcome] = await asyncio.gather(integrating, return_exceptions=True)

    assert [
        record.getMessage() for record in caplog.records if "in the middle of" in record.getMessage()
    ] == [f"closed {store.address} in the middle of AsyncSessionTurns.integrate"]
    assert not isinstance(outcome, BaseException) or isinstance(outcome, MongoStoreError)


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import asyncio, sys
import gevent
from mongostore import MongoStore
uri, database = sys.argv[1:]
async def nothing(): return "asyncio works"
with MongoStore(uri, database) as first, MongoStore(uri, database) as second:
    first.sessions.create("s")
    print(asyncio.run(nothing()))
    jobs = [gevent.spawn(second.sessions.create, str(n)) for n in range(20)]
    gevent.joinall(jobs, raise_error=True)
    print(len(first.sessions.list(limit=100).items))
"""


def test_two_stores_work_among_greenlets(server_uri: str, database: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", GREENLETS, server_uri, database], capture_output=True, text=True, timeout=60
    )

    assert child.stdout.split("\n")[:2] == ["asyncio works", "21"], child.stderr
