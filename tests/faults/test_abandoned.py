"""A process that dies in the middle of a transaction keeps nobody waiting for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from subprocess import Popen
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Binding, Event, NotFoundError
from tests.faults.deployments import Cluster

pytestmark = pytest.mark.server

WRITES: dict[str, Callable[[AsyncMongoStore], Awaitable[Any]]] = {
    "commit": lambda store: store.rooms.events.append("r", Event(channel_id="c")),
    "update": lambda store: store.rooms.update("r", metadata={"k": 1}),
    "upsert": lambda store: store.rooms.bindings.upsert("r", Binding(channel_id="c")),
}


@pytest.fixture(params=["anybody", "somebody"])
def uri(request: pytest.FixtureRequest, database: str) -> str:
    """The URI of a server that lets anybody in, and for a user of one that wants a login."""
    if request.param == "anybody":
        return str(request.getfixturevalue("server_uri"))
    guarded: Cluster = request.getfixturevalue("guarded")
    return guarded.add_user(database, {"role": "readWrite", "db": database})


@pytest.fixture
async def store(uri: str, database: str) -> AsyncIterator[AsyncMongoStore]:
    """An open store there, with a room."""
    async with AsyncMongoStore(uri, database) as opened:
        await opened.rooms.create("r")
        yield opened


@pytest.mark.parametrize("write", WRITES)
async def test_whoever_writes_to_the_same_room_goes_on(
    child: Callable[..., Popen[str]], uri: str, store: AsyncMongoStore, database: str, write: str
) -> None:
    died = child("abandoner.py", uri, database)
    assert died.wait() == -9, died.stderr and died.stderr.read()
    await WRITES[write](store)
    assert (await store.rooms.get("r")).status == "active"


async def test_transactions_of_others_are_left_alone(
    child: Callable[..., Popen[str]], uri: str, store: AsyncMongoStore, database: str
) -> None:
    async with AsyncMongoClient[dict[str, Any]](uri) as other:
        tasks = other[database].tasks
        async with other.start_session() as session, await session.start_transaction():
            await tasks.insert_one({"_id": "theirs", "room_id": "r"}, session=session)
            died = child("abandoner.py", uri, database)
            assert died.wait() == -9
            await WRITES["commit"](store)
            await tasks.insert_one({"_id": "theirs too", "room_id": "r"}, session=session)
        assert await tasks.count_documents({}) == 2


async def test_a_refused_transaction_interrupts_no_later_call(
    faults: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events = faults.store.rooms.events
    await faults.store.rooms.create("r")
    tasks = asyncio.all_tasks()
    with pytest.raises(NotFoundError):
        await events.append("r", Event(channel_id="c"), target=Event(channel_id="c"))
    assert asyncio.all_tasks() <= tasks
    # On the session of that transaction, for longer than it is before others end it.
    await faults.fail(["insert"], 1, blockConnection=True, blockTimeMS=2500)
    assert (await events.append("r", Event(channel_id="c"))).index == 0
    assert not [record for record in caplog.records if record.name == "mongostore.retry"]
