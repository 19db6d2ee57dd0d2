"""The blocking store under threads, signals, forks and the interpreter's end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from motor import motor_asyncio

from mongostore import AsyncMongoStore, ConfigurationError, Message, MongoStore, NotOpenError
from tests.faults.deployments import with_options

PATIENCE = 120.0


def message(n: int) -> Message:
    return Message(id=f"m{n}", role="user", content=f"text {n}")


@pytest.fixture
def blocking(store_uri: str, database: str) -> Any:
    """An open blocking store on each engine in turn."""
    with MongoStore(store_uri, database) as opened:
        yield opened


def test_twenty_threads_share_a_store(blocking: MongoStore) -> None:
    blocking.sessions.create("s")
    start = threading.Barrier(20)

    def work(number: int) -> int:
        start.wait()
        for n in range(10):
            blocking.sessions.messages.append("s", message(100 * number + n))
        return sum(1 for _ in blocking.sessions.messages.iter("s"))

    with ThreadPoolExecutor(20) as threads:
        assert max(threads.map(work, range(20))) == 200
    assert blocking.sessions.messages.count("s") == 200


async def test_a_blocking_call_works_inside_a_running_loop(blocking: MongoStore) -> None:
    blocking.sessions.create("s")
    blocking.sessions.messages.append("s", message(1))
    assert [one.id for one in blocking.sessions.messages.iter("s")] == ["m1"]


def test_a_call_from_the_stores_own_loop_is_refused(blocking: MongoStore) -> None:
    async def call() -> None:
        blocking.sessions.create("s")

    with pytest.raises(RuntimeError, match="own event loop"):
        blocking.portal.run(call())
    assert not blocking.sessions.exists("s")


def test_opening_and_closing_twice_is_harmless(store_uri: str, database: str) -> None:
    store = MongoStore(store_uri, database)
    for _ in range(2):
        store.open()
        store.open()
        assert not store.sessions.exists("s")
        store.close()
        store.close()


def test_a_store_that_is_not_open_says_so(store_uri: str, database: str) -> None:
    store = MongoStore(store_uri, database)
    with pytest.raises(NotOpenError):
        store.sessions.get("s")
    with pytest.raises(NotOpenError):
        next(store.sessions.messages.iter("s"))
    with store:
        pass
    with pytest.raises(NotOpenError):
        store.sessions.get("s")


async def test_an_async_store_that_is_not_open_says_so(store_uri: str, database: str) -> None:
    store = AsyncMongoStore(store_uri, database)
    with pytest.raises(NotOpenError):
        await store.sessions.get("s")
    with pytest.raises(NotOpenError):
        await anext(store.sessions.messages.iter("s"))
    async with store:
        pass
    with pytest.raises(NotOpenError):
        await store.sessions.get("s")


async def test_tasks_that_open_a_store_at_once_open_it_once(store_uri: str, database: str) -> None:
    store = AsyncMongoStore(store_uri, database)
    await asyncio.gather(*(store.open() for _ in range(5)))
    assert not await store.sessions.exists("s")
    await store.close()
    gc.collect()


def test_an_iteration_ends_early(blocking: MongoStore) -> None:
    blocking.sessions.create("s")
    blocking.sessions.messages.append_many("s", [message(n) for n in range(200)])
    messages = blocking.sessions.messages.iter("s")
    assert next(messages).id == "m0"
    messages.close()
    assert list(messages) == []
    for one in blocking.sessions.messages.iter("s"):
        if one.position == 100:
            break
    assert blocking.sessions.messages.count("s") == 200


def test_an_iteration_outlives_its_store_harmlessly(store_uri: str, database: str) -> None:
    with MongoStore(store_uri, database) as store:
        store.sessions.create("s")
        store.sessions.messages.append_many("s", [message(n) for n in range(200)])
        messages = store.sessions.messages.iter("s")
        assert next(messages).id == "m0"
        dropped = store.sessions.messages.iter("s")
        next(dropped)
    with pytest.raises(NotOpenError):
        list(messages)
    del dropped
    gc.collect()


def test_an_iteration_is_dropped_by_the_stores_own_thread(blocking: MongoStore) -> None:
    blocking.sessions.create("s")
    blocking.sessions.messages.append_many("s", [message(n) for n in range(200)])
    iterations = [blocking.sessions.messages.iter("s")]
    next(iterations[0])

    async def drop() -> None:
        # As the garbage collector may, which runs in whichever thread.
        iterations.clear()
        gc.collect()

    blocking.portal.run(drop())
    gc.collect()
    assert blocking.sessions.messages.count("s") == 200


def test_closing_ends_the_calls_of_other_threads(store_uri: str, database: str) -> None:
    store = MongoStore(store_uri, database)
    store.open()
    store.sessions.create("s")
    watching, received = threading.Event(), threading.Event()

    def watch() -> None:
        threading.Timer(0.5, watching.set).start()
        with pytest.raises(NotOpenError):
            next(store.sessions.messages.watch("s"))
        received.set()

    threading.Thread(target=watch, daemon=True).start()
    watching.wait()
    store.close()
    assert received.wait(5), "the call waits for ever"


async def test_stores_side_by_side_are_never_mixed(store_uri: str, databases: list[str]) -> None:
    names = [f"test_{uuid4().hex[:16]}" for _ in range(4)]
    databases += names

    def use(name: str) -> list[str]:
        with MongoStore(store_uri, name) as store:
            store.sessions.create(name)
            for n in range(40):
                store.sessions.messages.append(name, message(n))
            return [session.id for session in store.sessions.iter()]

    async def use_async(name: str) -> list[str]:
        async with AsyncMongoStore(store_uri, name) as store:
            await store.sessions.create(name)
            for n in range(40):
                await store.sessions.messages.append(name, message(n))
            return [session.id async for session in store.sessions.iter()]

    found = await asyncio.gather(
        asyncio.to_thread(use, names[0]),
        asyncio.to_thread(use, names[1]),
        asyncio.to_thread(lambda: asyncio.run(use_async(names[2]))),
        use_async(names[3]),
    )
    assert found == [[name] for name in names]


async def test_a_store_belongs_to_the_loop_that_opened_it(store: AsyncMongoStore) -> None:
    await store.sessions.create("s")
    with pytest.raises(NotOpenError, match="another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(store.sessions.get("s")))
    assert (await store.sessions.get("s")).id == "s"


@pytest.mark.server
@pytest.mark.parametrize(
    "what",
    [
        "leaving_open",
        "interrupted",
        "interrupted_early",
        "forking",
        "threads_after_fork",
        "iterating_over_fork",
        "away_at_fork",
        "embedded_over_fork",
    ],
)
def test_a_program_survives(
    child: Callable[..., Popen[str]], server_uri: str, database: str, what: str
) -> None:
    process = child("facade.py", what, server_uri, database)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.server
async def test_options_of_the_client_win_over_ours_and_not_over_those_of_the_uri(
    server_uri: str, database: str
) -> None:
    sent = {"appName": database, "maxPoolSize": 9, "minPoolSize": 1}
    async with AsyncMongoStore(
        with_options(server_uri, maxPoolSize=7), database, client_options=sent
    ) as store:
        options = store.engine.database.client.options.pool_options
        assert (options.appname, options.max_pool_size, options.min_pool_size) == (database, 7, 1)


@pytest.mark.server
async def test_options_of_the_client_reach_a_server_of_the_store_s_own(
    mongod_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_MONGOD", str(mongod_binary))
    async with AsyncMongoStore(f"mongod://{tmp_path}/data", client_options={"appName": "own"}) as store:
        assert store.engine.database.client.options.pool_options.appname == "own"


@pytest.mark.server
def test_a_motor_client_has_options_of_its_own(server_uri: str) -> None:
    client = motor_asyncio.AsyncIOMotorClient(server_uri)
    with pytest.raises(ConfigurationError, match="its own"):
        MongoStore(client, client_options={"maxPoolSize": 9})
    client.close()


@pytest.fixture
async def motor(server_uri: str, database: str) -> AsyncIterator[Any]:
    """A Motor client with options of its own."""
    client = motor_asyncio.AsyncIOMotorClient(server_uri, appname=database, maxPoolSize=7, w=1)
    yield client
    client.close()


@pytest.mark.server
@pytest.mark.parametrize("sent", ["client", "database"])
async def test_a_motor_client_or_database_opens_a_store_on_the_same_data(
    motor: Any, database: str, sent: str
) -> None:
    async with AsyncMongoStore(motor[database] if sent == "database" else motor, database) as store:
        await store.sessions.create("s")
        await store.sessions.messages.append("s", message(1))
        options = store.engine.database.client.options
        assert options.pool_options.appname == database
        assert options.pool_options.max_pool_size == 7
        assert store.engine.database.write_concern.document == {"w": 1}
        assert [one["session_id"] async for one in motor[database].sessions.find()] == ["s"]
