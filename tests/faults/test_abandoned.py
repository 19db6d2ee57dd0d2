"""A process that dies in the middle of a transaction keeps nobody waiting for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from subprocess import Popen
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Binding, Event, Room

pytestmark = pytest.mark.server

WRITES: dict[str, Callable[[AsyncMongoStore], Awaitable[Any]]] = {
    "commit": lambda store: store.events.commit(Event(room_id="r", channel_id="c")),
    "update": lambda store: store.rooms.update("r", metadata={"k": 1}),
    "upsert": lambda store: store.bindings.upsert(Binding(room_id="r", channel_id="c")),
}


@pytest.mark.parametrize("write", WRITES)
async def test_whoever_writes_to_the_same_room_goes_on(
    child: Callable[..., Popen[str]],
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    write: str,
) -> None:
    await server_store.rooms.create(Room(id="r"))
    died = child("abandoner.py", server_uri, database)
    assert died.wait() == -9, died.stderr and died.stderr.read()
    await WRITES[write](server_store)
    assert (await server_store.rooms.get("r")).status == "active"


async def test_transactions_of_others_are_left_alone(
    child: Callable[..., Popen[str]], server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    await server_store.rooms.create(Room(id="r"))
    async with AsyncMongoClient[dict[str, Any]](server_uri) as other:
        tasks = other[database].tasks
        async with other.start_session() as session, await session.start_transaction():
            await tasks.insert_one({"_id": "theirs", "room_id": "r"}, session=session)
            died = child("abandoner.py", server_uri, database)
            assert died.wait() == -9
            await WRITES["commit"](server_store)
            await tasks.insert_one({"_id": "theirs too", "room_id": "r"}, session=session)
        assert await tasks.count_documents({}) == 2
