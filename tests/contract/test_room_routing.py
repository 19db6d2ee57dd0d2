"""How rooms are found by who is in them, whatever their status was before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Binding, Event, RoomFilter, RoomParticipant

LIVE, CLOSED = RoomFilter(status=["active", "paused"]), RoomFilter(status="closed")
EITHER = RoomFilter(status=["active", "paused", "closed"])
Step = Callable[[AsyncMongoStore], Awaitable[Any]]


async def add_parts(store: AsyncMongoStore, room_id: str = "r") -> None:
    binding = Binding(channel_id="c", participant_id="p")
    await store.rooms.bindings.delete(room_id, "c")
    await store.rooms.bindings.upsert(room_id, binding)
    await store.rooms.participants.delete(room_id, "p")
    await store.rooms.participants.upsert(room_id, RoomParticipant(id="p", channel_ids=["c"]))


async def found(store: AsyncMongoStore, filter: RoomFilter) -> list[str]:
    """Return the ids of the rooms that each look-up finds, which are the same."""
    rooms = store.rooms
    answers = [
        *[room.id for room in await rooms.list_by_channel("c", newest=True, limit=1, **filter)],
        *[
            room.id
            for room in (
                await rooms.find_by_binding("c", ["p"], **filter),
                await rooms.find_by_route("c", ["p"], **filter),
                await rooms.find_by_participant("p", **filter),
            )
            if room is not None
        ],
    ]
    assert len(answers) in (0, 4)
    assert len({*answers}) <= 1
    return answers[:1]


async def replace_status(store: AsyncMongoStore, status: str) -> None:
    room = await store.rooms.get("r")
    await store.rooms.replace(room.model_copy(update={"status": status}))


STEPS: dict[str, Step] = {
    "close": lambda store: store.rooms.update("r", status="closed"),
    "open": lambda store: store.rooms.update("r", status="active"),
    "close by a replacement": lambda store: replace_status(store, "closed"),
    "add parts": add_parts,
    "open by a replacement": lambda store: replace_status(store, "active"),
    "pause": lambda store: store.rooms.update("r", status="paused"),
    "close what is paused": lambda store: store.rooms.update("r", status="closed"),
    "add parts again": add_parts,
    "pause what is closed": lambda store: store.rooms.update("r", status="paused"),
    "wake": lambda store: store.rooms.events.append("r", Event(channel_id="c")),
}


async def check(store: AsyncMongoStore) -> None:
    is_closed = (await store.rooms.get("r")).status == "closed"
    assert await found(store, LIVE) == ([] if is_closed else ["r"])
    assert await found(store, CLOSED) == (["r"] if is_closed else [])
    assert await found(store, EITHER) == await found(store, RoomFilter()) == ["r"]


async def test_look_ups_heed_every_change_of_a_status(store: AsyncMongoStore) -> None:
    await store.rooms.create("r")
    await add_parts(store)
    await check(store)
    for step in STEPS.values():
        await step(store)
        await check(store)


@pytest.mark.server
async def test_changes_of_a_status_at_once_hide_no_open_room(server_store: AsyncMongoStore) -> None:
    store = server_store
    await store.rooms.create("r")
    await add_parts(store)
    for _ in range(10):
        steps = [STEPS["close"], add_parts, STEPS["open"], STEPS["pause"], STEPS["close"], STEPS["wake"]]
        await asyncio.gather(*(step(store) for step in steps))
        await check(store)
