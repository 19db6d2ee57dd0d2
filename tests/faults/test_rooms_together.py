"""Commits of several rooms that share a command are stored or refused each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mongostore import AlreadyExistsError, AsyncMongoStore, Event
from tests.contract.command_log import CommandLog, logged_store
from tests.faults.test_room_commits import FAULTS, lossy_store

pytestmark = pytest.mark.server

ROOMS = [f"r{number}" for number in range(8)]


def event(room_id: str, name: str, content: str = "text") -> Event:
    return Event(id=f"{room_id}-{name}", room_id=room_id, channel_id="c", content=content)


async def append(store: AsyncMongoStore, name: str, rooms: list[str] = ROOMS) -> list[Any]:
    """Append an event of this name to each room at once, and return the events or the errors."""
    appending = (store.rooms.events.append(room_id, event(room_id, name)) for room_id in rooms)
    return await asyncio.gather(*appending, return_exceptions=True)


async def check_rooms(store: AsyncMongoStore, *names: str, rooms: list[str] = ROOMS) -> None:
    """Check that each room holds the events of these names, in this order."""
    for room_id in rooms:
        page = await store.rooms.events.list(room_id)
        assert [(one.id, one.index) for one in page] == [
            (f"{room_id}-{name}", index) for index, name in enumerate(names)
        ]
        room = await store.rooms.get(room_id)
        assert (room.event_count, room.latest_index) == (len(names), len(names) - 1)


def inserted(wire: CommandLog) -> list[list[str]]:
    """Return the rooms of each insert of events."""
    return [
        [document["room_id"] for document in sent.command["documents"]]
        for sent in wire.sent
        if sent.name == "insert" and sent.command["insert"] == "events"
    ]


@pytest.fixture
async def wire() -> CommandLog:
    return CommandLog()


@pytest.fixture
async def store(server_uri: str, database: str, wire: CommandLog) -> AsyncIterator[AsyncMongoStore]:
    """A store with rooms whose ends it knows."""
    async with logged_store(server_uri, database, wire) as store:
        for room_id in ROOMS:
            await store.rooms.create(room_id)
        await append(store, "first")
        wire.sent.clear()
        yield store


async def test_commits_of_rooms_at_once_share_commands(store: AsyncMongoStore, wire: CommandLog) -> None:
    async def write(room_id: str) -> None:
        for name in "abcde":
            await store.rooms.events.append(room_id, event(room_id, name))

    await asyncio.gather(*map(write, ROOMS))
    assert sum(map(len, inserted(wire))) == 5 * len(ROOMS)
    assert len(inserted(wire)) <= 5 * 2
    await check_rooms(store, "first", *"abcde")


async def test_a_lone_commit_is_one_command_after_a_crowd_as_before(
    store: AsyncMongoStore, wire: CommandLog
) -> None:
    await append(store, "crowd")
    for name in "abc":
        wire.sent.clear()
        await append(store, name, ["r0"])
        assert [sent.name for sent in wire.commits] == ["insert"]
    await check_rooms(store, "first", "crowd", *"abc", rooms=["r0"])


async def test_a_refused_commit_costs_the_others_nothing(store: AsyncMongoStore, wire: CommandLog) -> None:
    await store.rooms.events.append("r5", event("r5", "second"))
    await append(store, "crowd")
    wire.sent.clear()
    outcomes = await append(store, "second")
    assert [type(one) for one in outcomes] == [
        AlreadyExistsError if room_id == "r5" else Event for room_id in ROOMS
    ]
    assert len(inserted(wire)) <= 2
    others = [room_id for room_id in ROOMS if room_id != "r5"]
    await check_rooms(store, "first", "crowd", "second", rooms=others)
    await check_rooms(store, "first", "second", "crowd", rooms=["r5"])


async def test_a_position_that_another_process_took_is_made_good(
    store: AsyncMongoStore, faults: Any, wire: CommandLog
) -> None:
    await append(store, "crowd")
    for room_id in ROOMS[::2]:
        await faults.store.rooms.events.append(room_id, event(room_id, "other"))
    assert all(isinstance(one, Event) for one in await append(store, "last"))
    # A position that may be taken is asked for alone: an open transaction of its taker would delay all.
    wire.sent.clear()
    await append(store, "alone")
    assert sorted(room_ids for room_ids in inserted(wire) if {*room_ids} & {*ROOMS[::2]}) == [
        [room_id] for room_id in ROOMS[::2]
    ]
    await check_rooms(store, "first", "crowd", "other", "last", "alone", rooms=ROOMS[::2])
    await check_rooms(store, "first", "crowd", "last", "alone", rooms=ROOMS[1::2])


async def test_a_large_event_goes_alone(store: AsyncMongoStore, wire: CommandLog) -> None:
    await append(store, "crowd")
    large = event("r3", "large", "x" * 100_000)
    wire.sent.clear()
    await asyncio.gather(
        store.rooms.events.append("r3", large), append(store, "small", [*ROOMS[:3], *ROOMS[4:]])
    )
    assert ["r3"] in inserted(wire)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=() if name in ("closed", "late") else pytest.mark.long)
        for name in FAULTS
        if name != "no-such-transaction"
    ],
)
async def test_commits_whose_command_fails_are_stored_once(faults: Any, fault: str) -> None:
    for room_id in ROOMS:
        await faults.store.rooms.create(room_id)
    await append(faults.store, "first")
    for times in (1, 2):
        await faults.fail(["insert"], times, **FAULTS[fault])
        assert all(isinstance(one, Event) for one in await append(faults.store, f"after-{times}"))
    await check_rooms(faults.store, "first", "after-1", "after-2")


async def test_commits_whose_answers_are_lost_are_stored_once(
    store: AsyncMongoStore, server_uri: str, database: str
) -> None:
    async with lossy_store(server_uri, database) as (lossy, network):
        await append(lossy, "crowd")
        network.loses = ["insert"] * 2
        assert all(isinstance(one, Event) for one in await append(lossy, "lost"))
        assert not network.loses
    await check_rooms(store, "first", "crowd", "lost")


async def test_callers_that_are_cancelled_harm_nobody_of_their_command(store: AsyncMongoStore) -> None:
    await append(store, "crowd")
    working = {
        room_id: asyncio.create_task(store.rooms.events.append(room_id, event(room_id, "last")))
        for room_id in ROOMS
    }
    # Their events are under way by then.
    await asyncio.sleep(0.001)
    for room_id in ROOMS[::2]:
        working[room_id].cancel()
    outcomes = dict(zip(ROOMS, await asyncio.gather(*working.values(), return_exceptions=True), strict=True))
    assert all(isinstance(outcomes[room_id], Event) for room_id in ROOMS[1::2])
    await append(store, "after")
    await check_rooms(store, "first", "crowd", "last", "after", rooms=ROOMS[1::2])


async def test_a_command_that_stalls_delays_no_other_room(faults: Any) -> None:
    for room_id in ROOMS:
        await faults.store.rooms.create(room_id)
    await append(faults.store, "first")
    await append(faults.store, "crowd")
    # One command with some rooms stalls; what comes behind it does not.
    before = await faults.fail(["insert"], 1, blockConnection=True, blockTimeMS=1500)
    stalled = asyncio.create_task(append(faults.store, "last", ROOMS[:4]))
    await faults.wait_until_failing(before)
    assert all(isinstance(one, Event) for one in await append(faults.store, "last", ROOMS[4:]))
    assert not stalled.done()
    assert all(isinstance(one, Event) for one in await stalled)
    await check_rooms(faults.store, "first", "crowd", "last")
