"""A server that is killed under load costs its writers a pause, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mongostore import AsyncMongoStore, Message
from mongostore.engines.mongod_process import MongodProcess

pytestmark = pytest.mark.server

WRITERS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def crashing(folder: Path, mongod_binary: Path) -> Iterator[MongodProcess]:
    """A server of this test's own."""
    server = MongodProcess(folder, mongod_binary)
    yield server
    server.stop()


def kill(folder: Path) -> None:
    """Kill the server of a folder."""
    os.kill(int((folder / "data" / "mongod.lock").read_text()), signal.SIGKILL)


async def write_through_a_crash(
    store: AsyncMongoStore, crash: Callable[[], Awaitable[object]]
) -> dict[int, list[str]]:
    """Write into one session before, while and after the server is killed; return what was acknowledged."""
    acknowledged: dict[int, list[str]] = {number: [] for number in range(WRITERS)}
    back = asyncio.Event()

    async def write(number: int) -> None:
        more = 10
        while more:
            more -= back.is_set()
            message = Message(id=f"{number}:{len(acknowledged[number])}", role="user", content="x" * 600)
            await store.sessions.messages.append("s", message)
            acknowledged[number].append(message.id)

    await store.sessions.create("s")
    writing = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    await asyncio.sleep(1)
    assert all(acknowledged.values())
    await crash()
    back.set()
    await asyncio.gather(*writing)
    return acknowledged


async def check(store: AsyncMongoStore, acknowledged: dict[int, list[str]]) -> None:
    found = [message.id async for message in store.sessions.messages.iter("s")]
    assert await store.sessions.messages.count("s") == len(found) == len(set(found))
    for number, ids in acknowledged.items():
        assert [id for id in found if id.startswith(f"{number}:")] == ids
    gc.collect()


async def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    crashing: MongodProcess, folder: Path
) -> None:
    uri = await asyncio.to_thread(crashing.start)

    async def crash() -> None:
        kill(folder)
        # Longer than one attempt lasts, and the driver's own retry within it.
        await asyncio.sleep(3.5)
        assert await asyncio.to_thread(crashing.start) == uri

    async with AsyncMongoStore(uri) as store:
        await check(store, await write_through_a_crash(store, crash))


async def test_a_server_of_the_stores_own_is_brought_back_by_it(
    crashing: MongodProcess, folder: Path, mongod_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_MONGOD", str(mongod_binary))

    async with AsyncMongoStore(f"mongod://{folder}") as store:

        async def crash() -> None:
            kill(folder)

        acknowledged = await write_through_a_crash(store, crash)
        # What went before the server knew of it is repeated: each writer went on to its end.
        assert all(len(ids) >= 10 for ids in acknowledged.values())
        await check(store, acknowledged)
