"""A process that dies at any write of a room leaves a room that is whole, and that others go on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from subprocess import Popen
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Event

pytestmark = [pytest.mark.server, pytest.mark.timeout(500)]

PARTS = ("rooms", "events", "bindings", "participants", "read_markers")


class Model:
    """What a room must be after some steps of the scenario."""

    def __init__(self) -> None:
        self.exists = False

    def do(self, verb: str, *rest: Any) -> None:
        match verb, *rest:
            case ["create"]:
                self.exists, self.status, self.record, self.next_index = True, "active", None, 0
                self.events: dict[int, tuple[str, Any, bool]] = {}
                self.count, self.latest = 0, None
                self.bindings: list[str] = []
                self.markers: dict[str, int] = {}
            case (("append" | "wake"), *ids):
                for id in ids:
                    self.append(id)
            case (("edit" | "erase"), id, target):
                for index, (other, content, erased) in self.events.items():
                    is_edit = verb == "erase" and other in ("e5", "e6")
                    content = f"changed by {id}" if other == target else content
                    self.events[index] = other, content, erased or is_edit
                self.append(id)
            case "put", id, index:
                self.events[index] = id, None, False
                self.next_index = max(self.next_index, index + 1)
            case "delete", id:
                self.events = {index: one for index, one in self.events.items() if one[0] != id}
            case ["pause"]:
                self.status = "paused"
            case ["resume"]:
                self.status = "active"
            case "bind", channel_id:
                self.bindings.append(channel_id)
            case "mark", channel_id:
                self.markers[channel_id] = max(self.events)
            case "note", record:
                self.record = record
            case ["remove"]:
                self.exists = False

    def append(self, id: str) -> None:
        self.events[self.next_index] = id, None, False
        self.latest, self.count, self.status = self.next_index, self.count + 1, "active"
        self.next_index += 1

    @property
    def expected(self) -> Any:
        if not self.exists:
            return None
        events = [(index, *event) for index, event in sorted(self.events.items())]
        counters = self.status, self.count, self.latest, self.record
        return events, counters, self.bindings, self.markers


async def observe(store: AsyncMongoStore, room_id: str) -> Any:
    """Return what there is of a room, whose members are the same by every verb."""
    room = await store.rooms.find(room_id)
    if room is None:
        return None
    full = await store.rooms.get_full(room_id)
    assert room == full.room
    assert room in await store.rooms.list(limit=1000)
    events = [
        (event.index, event.id.rpartition(" ")[2], event.content, event.metadata.get("deleted", False))
        async for event in store.rooms.events.iter(room_id)
    ]
    counters = room.status, room.event_count, room.latest_index, room.metadata.get("note")
    markers = {marker.channel_id: marker.index async for marker in store.rooms.read_markers.iter(room_id)}
    return events, counters, [binding.channel_id for binding in full.bindings], markers


async def go_on(store: AsyncMongoStore, room_id: str, model: Model) -> None:
    """Use a room, and delete it with all that belongs to it."""
    if not model.exists:
        await store.rooms.create(room_id)
        model.do("create")
    for id in ("after", "later"):
        stored = await store.rooms.events.append(room_id, Event(id=f"{room_id} {id}", channel_id="c"))
        assert stored.index == model.next_index
        model.do("append", id)
    assert await store.rooms.events.delete(room_id, f"{room_id} later")
    model.do("delete", "later")
    assert await observe(store, room_id) == model.expected
    assert await store.rooms.delete(room_id)
    for name in PARTS:
        filter = {"emptied_at": None, "_id" if name == "rooms" else "room_id": room_id}
        assert not await store.engine.database[name].count_documents(filter), f"left in {name}"


@asynccontextmanager
async def store_on(request: pytest.FixtureRequest, deployment: str) -> Any:
    uri, database = request.getfixturevalue(f"{deployment}_uri"), request.getfixturevalue("database")
    transactions = "off" if deployment == "standalone" else "required"
    async with AsyncMongoStore(uri, database, transactions=transactions) as store:
        yield store, (uri, database, transactions)


@pytest.mark.long
@pytest.mark.parametrize("deployment", ["server", "standalone"])
async def test_a_crash_before_any_write_keeps_what_was_acknowledged_and_stops_no_one(
    request: pytest.FixtureRequest, child: Callable[..., Popen[str]], deployment: str
) -> None:
    async with store_on(request, deployment) as (store, arguments):
        scenario, crashes = child("room_scenario.py", *arguments), 0
        for line in scenario.stdout or ():
            room_id, steps = json.loads(line).values()
            done = Model()
            for step in steps[:-1]:
                done.do(*step)
            seen = await observe(store, room_id)
            if seen != done.expected:
                done.do(*steps[-1])
                assert seen == done.expected, f"killed before write {room_id}, in {steps[-1]}"
            await go_on(store, room_id, done)
            crashes += 1
        assert scenario.wait() == 0, scenario.stderr and scenario.stderr.read()
        assert crashes > len(steps)
