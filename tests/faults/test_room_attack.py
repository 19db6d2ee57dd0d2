"""Four processes write to rooms in every way while they, or the servers, are killed; readers look on."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Binding, Event, Room, UnavailableError
from tests.faults.children.room_attacker import GONERS, ROOMS
from tests.faults.deployments import Cluster, cluster
from tests.faults.writers import tell

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]

PROCESSES = 4
DENSE = ("steady", "paused", "edited")
PARTS = ("events", "bindings", "participants", "read_markers")

Child = Callable[..., Popen[str]]
Record = Callable[[str, object], None]


@dataclass
class Attack:
    """Processes that write to the rooms of a store.

    Attributes:
        seconds: How long they work.
        kills: How many of them were killed.
        looks: How often a reader looked at a room.
        paused: When a room that was found paused was so, and the newest activity that was seen before.
        ends: When they end, by the monotonic clock.
    """

    child: Child
    uri: str
    store: AsyncMongoStore
    folder: Path
    seconds: float
    kills: int = 0
    looks: int = 0
    paused: list[tuple[str, int]] = field(default_factory=list)
    ends: float = 0.0

    async def run(self, harm: Callable[[Attack, list[Popen[str]]], Any]) -> Counter[str]:
        """Let them work while harm is done, and return what was found wrong, and how much was done."""
        for room_id in ROOMS:
            await self.store.rooms.create(room_id)
            await self.store.rooms.bindings.upsert(room_id, Binding(channel_id=f"of {room_id}"))
        self.ends = time.monotonic() + self.seconds
        processes = [self.start() for _ in range(PROCESSES)]
        readers = [asyncio.create_task(self._read(room_id)) for room_id in DENSE]
        await harm(self, processes)
        for process in processes:
            _, errors = await asyncio.to_thread(process.communicate)
            # What was tried again is logged.
            assert process.returncode == 0, errors
        seen = dict(zip(DENSE, await asyncio.gather(*readers), strict=True))
        found = await check(self.store, self.folder, seen, self.paused)
        found |= Counter({"processes killed": self.kills, "looks of readers": self.looks})
        return found

    def start(self) -> Popen[str]:
        """Start a process that works until the end."""
        database = self.store.engine.database.name
        seconds = max(self.ends - time.monotonic(), 0)
        return self.child("room_attacker.py", self.uri, database, self.folder, seconds)

    async def _read(self, room_id: str) -> list[str]:
        """Follow a room by what is above the last index, and compare its counters with that."""
        seen: list[str] = []
        while time.monotonic() < self.ends:
            with suppress(UnavailableError):
                page = await self.store.rooms.events.list(room_id, after=len(seen) - 1 if seen else None)
                assert [event.index for event in page] == [*range(len(seen), len(seen) + len(page))]
                seen += [event.id for event in page]
                active = [event.index or 0 for event in page if event.metadata["activity"]]
                room = await self._look(room_id)
                assert room.latest_index == (room.event_count - 1 if room.event_count else None)
                assert room.event_count >= len(seen), "the counters are behind an event that was seen"
                if active and room.status == "paused":
                    self.paused.append((str(room.paused_at), active[-1]))
                self.looks += 1
            await asyncio.sleep(0.01)
        return seen

    async def _look(self, room_id: str) -> Room:
        """Read a room by one of the verbs that return it."""
        rooms = self.store.rooms
        match self.looks % 4:
            case 0:
                return await rooms.get(room_id)
            case 1:
                return (await rooms.get_full(room_id)).room
            case 2:
                return next(room for room in await rooms.list(limit=100) if room.id == room_id)
        return (await rooms.list_by_channel(f"of {room_id}"))[0]


async def kill_processes(attack: Attack, processes: list[Popen[str]]) -> None:
    """Kill one process after the other, and start another one in its place."""
    while time.monotonic() < attack.ends - 2:
        await asyncio.sleep(random.uniform(1.0, 3.0))
        number = random.randrange(len(processes))
        processes[number].send_signal(signal.SIGKILL)
        await asyncio.to_thread(processes[number].communicate)
        processes[number] = attack.start()
        attack.kills += 1


async def check(
    store: AsyncMongoStore, folder: Path, seen: dict[str, list[str]], looked: list[tuple[str, int]]
) -> Counter[str]:
    """Compare what is stored with what the processes and the readers have noted."""
    records = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    found = Counter[str]()
    by_kind: dict[str, list[Any]] = defaultdict(list)
    for kind, *fields in records:
        by_kind[kind].append(fields)
    for what, *_ in by_kind["wrong"]:
        found[f"wrong: {what}"] += 1
    deleted = {event_id for (event_id,) in by_kind["delete"]}
    for room_id in ROOMS:
        events = [event async for event in store.rooms.events.iter(room_id, blocked=True)]
        await check_room(store, room_id, events, found)
        ranks = {event.id: event.index for event in events}
        for _, event_id, index in (fields for fields in by_kind["stored"] if fields[0] == room_id):
            found["lost"] += event_id not in ranks and event_id not in deleted
            found["at another index"] += ranks.get(event_id, index) != index
        ids = [event.id for event in events]
        found["seen and taken back"] += seen.get(room_id, []) != ids[: len(seen.get(room_id, []))]
        found["events"] += len(events)
    pauses = dict(by_kind["pause"])
    found["paused in spite of activity"] += sum(
        paused_at in pauses and index > pauses[paused_at] for paused_at, index in looked
    )
    await check_goners(store, found)
    for what in ("delete", "pause", "unavailable"):
        found[what] += len(by_kind[what])
    found.update(f"goner {what}" for (what,) in by_kind["goner"])
    return found


async def check_room(store: AsyncMongoStore, room_id: str, events: list[Event], found: Counter[str]) -> None:
    """Count what is wrong in a room whose events were all appended."""
    room = await store.rooms.get(room_id)
    indexes = [event.index or 0 for event in events]
    found["an index twice"] += len(indexes) - len(set(indexes))
    found["a key twice"] += len(events) - len({event.idempotency_key for event in events})
    if room_id in DENSE:
        found["gaps"] += indexes != [*range(len(indexes))]
        found["wrong counters"] += (room.event_count, room.latest_index) != (len(events), len(events) - 1)
    found["wrong counters"] += room.event_count != (room.latest_index or 0) + 1
    contents = {event.id: event.content for event in events}
    newest_edits = {event.target_event_id: event.id for event in events if event.change == "edit"}
    found["edits"] += len(newest_edits)
    for target, edit in newest_edits.items():
        found["an edit without its effect"] += contents[str(target)] != edit
    edited = {event.id for event in events if event.content is not None}
    found["an effect without its edit"] += len(edited - newest_edits.keys())


async def check_goners(store: AsyncMongoStore, found: Counter[str]) -> None:
    """Count what is wrong in rooms that were deleted and made anew, and what is left of them."""
    database = store.engine.database
    for room_id in GONERS:
        if await store.rooms.exists(room_id):
            events = [event.index async for event in store.rooms.events.iter(room_id)]
            room = await store.rooms.get(room_id)
            found["gaps in a room made anew"] += events != [*range(len(events))]
            found["wrong counters of a room made anew"] += room.event_count != len(events)
        else:
            # It finishes a deletion that was cut short.
            await store.rooms.ensure(room_id)
        await store.rooms.delete(room_id)
        for part in PARTS:
            left = {"room_id": room_id, "emptied_at": None}
            found[f"{part} without a room"] += await database[part].count_documents(left)


DONE = {"events", "edits", "delete", "pause", "processes killed", "looks of readers", "unavailable"}
GONER_WORK = {"goner took an event", "goner refused an event"}


def check_found(found: Counter[str], record: Record, what: str) -> None:
    """Check that nothing was found wrong."""
    tell(record, what, {name: count for name, count in found.items() if count})
    wrong = {name: count for name, count in found.items() if count and name not in DONE | GONER_WORK}
    assert not wrong, wrong


# Twenty in a row take a quarter of an hour.
FAILOVERS = 3


def check_busy(found: Counter[str]) -> None:
    """Check that there was work of every kind."""
    idle = [name for name in (DONE - {"unavailable", "processes killed"}) | GONER_WORK if not found[name]]
    assert not idle, idle


@pytest.mark.parametrize("seconds", [8, pytest.param(30, marks=pytest.mark.long)])
async def test_killed_processes_lose_double_and_disorder_nothing(
    child: Child,
    server_uri: str,
    server_store: AsyncMongoStore,
    tmp_path: Path,
    record_property: Record,
    seconds: float,
) -> None:
    attack = Attack(child, server_uri, server_store, tmp_path, seconds)
    found = await attack.run(kill_processes)
    assert attack.kills
    check_found(found, record_property, f"rooms under attack for {seconds} s")
    check_busy(found)


@pytest.fixture(scope="module")
def members(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("members")) as started:
        yield started


@pytest.mark.long
async def test_a_failover_loses_doubles_and_disorders_nothing(
    child: Child, members: Cluster, tmp_path: Path, record_property: Record
) -> None:
    async def fail_over(attack: Attack, processes: list[Popen[str]]) -> None:
        # Each has notes of its own from the moment on at which its store is open.
        while len([*attack.folder.iterdir()]) < len(processes):
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        primary = await asyncio.to_thread(members.primary)
        await asyncio.to_thread(primary.send, signal.SIGKILL)
        await asyncio.to_thread(members.primary)
        await asyncio.to_thread(primary.start)

    total = Counter[str]()
    for number in range(FAILOVERS):
        (folder := tmp_path / f"{number}").mkdir()
        await asyncio.to_thread(members.wait_until_idle)
        async with AsyncMongoStore(members.uri_of(), f"attack_{number}") as store:
            found = await Attack(child, members.uri_of(), store, folder, 12).run(fail_over)
        check_found(found, record_property, f"rooms under attack, failover {number + 1} of {FAILOVERS}")
        total += found
    check_busy(total)
