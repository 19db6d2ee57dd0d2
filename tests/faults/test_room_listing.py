"""Rooms that are active at once are listed together, behind their commits; none keeps another from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, UnsupportedError
from mongostore.documents.mapping import SCHEMA_VERSION
from mongostore.documents.rooms import second_of
from mongostore.repositories.rooms import room_listing
from mongostore.repositories.server_clock import ServerClock
from tests.contract.command_log import CommandLog, logged_store

pytestmark = pytest.mark.server

SECOND = 1_000_000
ROOMS = [f"r{number:02}" for number in range(64)]


@pytest.fixture
def wire() -> CommandLog:
    return CommandLog()


@pytest.fixture
async def store(server_uri: str, database: str, wire: CommandLog) -> AsyncIterator[AsyncMongoStore]:
    """A store with rooms whose ends it knows."""
    async with logged_store(server_uri, database, wire) as store:
        await asyncio.gather(*map(store.rooms.create, ROOMS))
        await append(store)
        await store.rooms.list()
        wire.sent.clear()
        yield store


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> int:
    """A later second, in which the test runs."""
    later = second_of(time.time_ns() // 1000) + 60 * SECOND
    monkeypatch.setattr(ServerClock, "now", lambda clock: later)
    return later


@asynccontextmanager
async def locked(uri: str, store: AsyncMongoStore, room_id: str) -> AsyncIterator[None]:
    """Lock a room by a transaction of another client inside the `with` block."""
    async with (
        AsyncMongoClient[dict[str, Any]](uri) as client,
        client.start_session() as session,
        await session.start_transaction(),
    ):
        rooms = client[store.engine.database.name]["rooms"]
        await rooms.update_one({"_id": room_id}, {"$set": {"locked": True}}, session=session)
        yield


async def append(store: AsyncMongoStore, rooms: Sequence[str] = ROOMS) -> None:
    """Append an event to each room at once."""
    await asyncio.gather(*(store.rooms.events.append(room_id, Event(channel_id="c")) for room_id in rooms))


async def listed_by(store: AsyncMongoStore, second: int) -> set[str]:
    """Return the rooms that are listed by a second, once the store has listed those that it is about to."""
    await store.rooms.list(limit=1)
    return await stored_by(store, second)


async def stored_by(store: AsyncMongoStore, second: int) -> set[str]:
    """Return the rooms that are listed by a second already."""
    async with store.engine.database["rooms"].find({"listed_at": second}) as cursor:
        return {room["_id"] async for room in cursor}


async def read_anew(store: AsyncMongoStore, wire: CommandLog) -> list[str]:
    """Append an event to each room at once, and return the rooms that are read for it."""
    wire.sent.clear()
    await append(store)
    pipelines = (sent.command["pipeline"] for sent in wire.commits if sent.name == "aggregate")
    return [pipeline[0]["$match"]["room_id"] for pipeline in pipelines]


async def test_rooms_that_are_active_at_once_share_listing_commands(
    store: AsyncMongoStore, wire: CommandLog, second: int
) -> None:
    await append(store)
    assert await listed_by(store, second) == {*ROOMS}
    names = [sent.name for sent in wire.sent]
    assert 1 <= sum(sent.lists_room for sent in wire.sent) <= names.count("insert") < 8, names
    assert await read_anew(store, wire) == []
    assert await listed_by(store, second) == {*ROOMS}
    assert not any(sent.lists_room for sent in wire.sent)


async def test_rooms_gather_while_others_are_listed(
    store: AsyncMongoStore,
    server_uri: str,
    wire: CommandLog,
    second: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room_listing, "PATIENCE_SECONDS", 60)
    async with locked(server_uri, store, ROOMS[0]):
        for room_id in ROOMS[:8]:
            await append(store, [room_id])
    assert await listed_by(store, second) == {*ROOMS[:8]}
    assert sum(sent.lists_room for sent in wire.sent) == 2


async def test_a_locked_room_keeps_none_of_its_command_from_being_listed(
    store: AsyncMongoStore, server_uri: str, wire: CommandLog, second: int
) -> None:
    async with locked(server_uri, store, ROOMS[5]):
        await append(store)
        assert await listed_by(store, second) == {*ROOMS} - {ROOMS[5]}
    # The next event reads what it could not list, and lists it.
    assert await read_anew(store, wire) == [ROOMS[5]]
    assert await listed_by(store, second) == {*ROOMS}


async def test_a_locked_room_does_not_delay_the_next_command(
    store: AsyncMongoStore, server_uri: str, second: int
) -> None:
    async with locked(server_uri, store, ROOMS[0]):
        await append(store, ROOMS[:1])
        await append(store, ROOMS[1:])
        listing = asyncio.create_task(listed_by(store, second))
        while await stored_by(store, second) != {*ROOMS[1:]}:
            await asyncio.sleep(0.01)
    # It has not been given up in the meantime.
    assert await listing == {*ROOMS}


async def test_a_room_that_a_newer_version_has_written_keeps_no_other_from_being_listed(
    store: AsyncMongoStore, second: int
) -> None:
    rooms = store.engine.database["rooms"]
    await rooms.update_one({"_id": ROOMS[0]}, {"$set": {"schema_version": SCHEMA_VERSION + 1}})
    await append(store)
    assert await listed_by(store, second) == {*ROOMS[1:]}
    with pytest.raises(UnsupportedError):
        await append(store)
