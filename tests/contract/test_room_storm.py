"""Verbs of rooms in a storm of several stores: nothing of a room is in the next one of that id."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    ConflictError,
    Event,
    NotFoundError,
    Observation,
    Room,
    Task,
    VoiceDelivery,
)
from mongostore.repositories.rooms.bulk import EventBatches

ROOMS = ("a", "b")
PARTS = ("bindings", "participants", "tasks", "observations", "read_markers", "voice_deliveries")
STORES, CALLERS, CALLS = 3, 5, 40
Verb = Callable[[Any, str, random.Random], Awaitable[object]]


async def edit(rooms: Any, id: str, choices: random.Random) -> None:
    if newest := (await rooms.events.list(id, newest=True, limit=3)).items:
        target = choices.choice(newest)
        change = Event(channel_id="c", type="edit", change="edit", target_event_id=target.id)
        await rooms.events.append(id, change, target=target)


async def delete_newest(rooms: Any, id: str, choices: random.Random) -> None:
    if newest := (await rooms.events.list(id, newest=True, limit=3)).items:
        await rooms.events.delete(id, choices.choice(newest).id)


def batch(id: str, first: int) -> list[Event]:
    return [Event(id=f"{id}{index}", index=index, channel_id="c") for index in range(first, first + 3)]


# These succeed whatever others do.
SUCCEEDING: dict[str, Verb] = {
    "ensure": lambda rooms, id, _: rooms.ensure(id),
    "append-with-create": lambda rooms, id, _: rooms.events.append(id, Event(channel_id="c"), create=True),
    "delete": lambda rooms, id, _: rooms.delete(id),
    "list": lambda rooms, id, _: rooms.list(),
    "mark": lambda rooms, id, _: rooms.read_markers.advance(id, "c"),
    "upsert-task": lambda rooms, id, choices: rooms.tasks.upsert(id, Task(id=choices.choice("xyz"))),
    "unbind": lambda rooms, id, choices: rooms.bindings.delete(id, choices.choice("xyz")),
}
# These may be refused, for the room is not there, or something of that id is.
OTHERS: dict[str, Verb] = {
    "create": lambda rooms, id, _: rooms.create(id),
    "append": lambda rooms, id, _: rooms.events.append(id, Event(channel_id="c")),
    "append-again": lambda rooms, id, _: rooms.events.append(id, Event(id=f"{id} same", channel_id="c")),
    "create-event": lambda rooms, id, choices: rooms.events.create(
        id, Event(channel_id="c", index=choices.choice([None, 3, 40]))
    ),
    "import": lambda rooms, id, choices: EventBatches.of(rooms).create_many(
        id, batch(id, choices.choice([0, 20, 100]))
    ),
    "edit": edit,
    "delete-event": delete_newest,
    "bind": lambda rooms, id, choices: rooms.bindings.upsert(id, Binding(channel_id=choices.choice("xyz"))),
    "create-task": lambda rooms, id, choices: rooms.tasks.create(id, Task(id=choices.choice("xyz"))),
    "observe": lambda rooms, id, _: rooms.observations.create(id, Observation()),
    "claim": lambda rooms, id, choices: rooms.voice_deliveries.claim(
        id, VoiceDelivery(key=choices.choice("xyz"), content_hash="h")
    ),
    "replace": lambda rooms, id, _: rooms.replace(Room(id=id)),
    "change": lambda rooms, id, choices: rooms.update(
        id, status=choices.choice(["active", "paused", "closed"])
    ),
    "expire": lambda rooms, id, choices: rooms.update(
        id, expires_in=timedelta(milliseconds=choices.choice([1, 30]))
    ),
}


async def call(store: AsyncMongoStore, choices: random.Random) -> None:
    verbs = {**SUCCEEDING, **OTHERS}
    for _ in range(CALLS):
        name = choices.choice([*verbs, *["append", "append-with-create"] * 5])
        with suppress(*(() if name in SUCCEEDING else (AlreadyExistsError, ConflictError, NotFoundError))):
            await verbs[name](store.rooms, choices.choice(ROOMS), choices)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 6))])
async def test_a_storm_leaves_nothing_of_a_room_in_the_next_one(
    store: AsyncMongoStore, store_uri: str, database: str, seed: int
) -> None:
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(AsyncMongoStore(store_uri, database)) for _ in range(STORES)
        ]
        callers = [(stores[n % STORES], random.Random(seed * 1000 + n)) for n in range(STORES * CALLERS)]
        async with asyncio.TaskGroup() as group:
            for one, choices in callers:
                group.create_task(call(one, choices))
    for room_id in ROOMS:
        # Another one, if it has expired.
        await store.rooms.ensure(room_id)
        await check_room(store, room_id)
    assert not await store.find_leftovers()


async def check_room(store: AsyncMongoStore, room_id: str) -> None:
    """Check that all that a room has is its own, and that its counters go up one by one."""
    collections, of_room = store.engine.database, {"room_id": room_id}
    room = await collections["rooms"].find_one({"_id": room_id})
    assert room
    for name in PARTS:
        async for part in collections[name].find(of_room):
            assert part.get("epoch", room["epoch"]) == room["epoch"], name
    events = [event async for event in collections["events"].find({**of_room, "index": {"$gte": 0}})]
    assert {event["epoch"] for event in events} <= {room["epoch"]}
    assert len({event["index"] for event in events}) == len(events)
    counted = {(event["log"], event["log_index"]): event for event in events if "counters" in event}
    for (log, position), event in counted.items():
        if before := counted.get((log, position - 1)):
            assert event["counters"]["event_count"] - before["counters"]["event_count"] in (0, 1)
            assert event["index"] > before["index"]
