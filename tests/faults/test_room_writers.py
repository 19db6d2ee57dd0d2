"""Sixteen writers in four processes on one room, one process killed; readers beside them miss nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from contextvars import Context
from datetime import UTC, datetime, timedelta
from subprocess import Popen
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AsyncMongoStore, Binding, Event, NotFoundError
from mongostore.index_definitions import load_indexes
from mongostore.repositories.connection import Connection
from mongostore.repositories.rooms import room_log
from mongostore.repositories.rooms.room_log import RoomLog
from tests.contract.command_log import CommandLog, logged_store

pytestmark = pytest.mark.server

PROCESSES = 4


def log_of(store: AsyncMongoStore) -> RoomLog:
    connection = Connection(store.engine, 20.0)
    connection.attach()
    return RoomLog(connection)


def heard(process: Popen[str], kill_after: int | None) -> dict[str, int]:
    """Return the indexes of the events that a process was told are stored, by their ids."""
    received: dict[str, int] = {}
    assert process.stdout
    for line in process.stdout:
        if not line.endswith("\n"):
            break
        index, id = line.split()
        assert id not in received
        received[id] = int(index)
        if len(received) == kill_after:
            process.kill()
    return received


async def paged(store: AsyncMongoStore, enough: int) -> list[tuple[int | None, str]]:
    """Read a room from its beginning, by what is above the last index that was seen."""
    seen: list[tuple[int | None, str]] = []
    after: int | None = None
    while len(seen) < enough:
        page = await store.rooms.events.list("r", after=after, limit=200)
        for event in page.items:
            seen.append((event.index, event.id))
            after = event.index
    return seen


async def watched(store: AsyncMongoStore, enough: int) -> list[tuple[int | None, str]]:
    seen: list[tuple[int | None, str]] = []
    async with aclosing(store.rooms.events.watch("r", after=-1)) as events:
        async for event in events:
            seen.append((event.index, event.id))
            if len(seen) == enough:
                break
    return seen


async def everything(store: AsyncMongoStore) -> list[Event]:
    return [event async for event in store.rooms.events.iter("r", blocked=True)]


# The three processes that live write enough events by themselves.
@pytest.mark.parametrize(("amount", "enough"), [(70, 830), pytest.param(840, 10_000, marks=pytest.mark.long)])
async def test_writers_of_which_some_are_killed_lose_double_and_reorder_nothing(
    child: Callable[..., Popen[str]],
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    amount: int,
    enough: int,
) -> None:
    killed_after = amount // 2
    await server_store.rooms.create("r")
    processes = [child("room_writer.py", server_uri, database, number, amount) for number in range(PROCESSES)]
    readers = [asyncio.create_task(read(server_store, enough)) for read in (paged, paged, watched)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    received = await asyncio.gather(
        *(
            asyncio.to_thread(heard, process, killed_after if number == 0 else None)
            for number, process in enumerate(processes)
        )
    )
    for number, process in enumerate(processes):
        assert process.wait() == (-9 if number == 0 else 0), process.stderr and process.stderr.read()
        if number:
            assert len(received[number]) == 4 * amount
    assert killed_after <= len(received[0]) < 4 * amount

    stored = await everything(server_store)
    assert [event.index for event in stored] == list(range(len(stored)))
    ranks = {event.id: event.index for event in stored}
    assert len(ranks) == len(stored)
    acknowledged: dict[str, Any] = {id: index for one in received for id, index in one.items()}
    assert {id: ranks.get(id) for id in acknowledged} == acknowledged
    # Of each killed writer one event at most is stored that nobody was told of.
    assert len(stored) - len(acknowledged) <= 4
    for writer in range(4 * PROCESSES):
        own = [int(event.id.partition(":")[2]) for event in stored if event.id.startswith(f"{writer}:")]
        assert own == list(range(len(own)))
    room = await server_store.rooms.get("r")
    assert (room.event_count, room.latest_index) == (len(stored), len(stored) - 1)

    for seen in await asyncio.wait_for(asyncio.gather(*readers), 60):
        assert seen[:enough] == [(event.index, event.id) for event in stored][:enough]


async def test_of_processes_that_write_to_one_room_none_is_starved(
    child: Callable[..., Popen[str]], server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    await server_store.rooms.create("r")
    processes = [
        child("room_writer.py", server_uri, database, number, 100_000) for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    started: set[int] = set()
    async with asyncio.timeout(60):
        while len(started) < PROCESSES:
            await asyncio.sleep(0.2)
            page = await server_store.rooms.events.list("r", newest=True, limit=200)
            started |= {int(event.id.partition(":")[0]) // 4 for event in page}
        begun = (await server_store.rooms.get("r")).event_count
        while (await server_store.rooms.get("r")).event_count < begun + 400:
            await asyncio.sleep(0.2)
    for process in processes:
        process.kill()
    stored = (await everything(server_store))[begun:]
    written = Counter(int(event.id.partition(":")[0]) // 4 for event in stored)
    assert min(written[number] for number in range(PROCESSES)) * 4 >= max(written.values()), written


async def test_commits_go_on_from_what_the_majority_has_alone(server_uri: str, database: str) -> None:
    wire = CommandLog()
    # Only as a member of a set has a server a majority.
    uri = server_uri.replace("directConnection=true", "directConnection=false")
    async with (
        AsyncMongoStore(uri, database) as other,
        logged_store(uri, database, wire) as store,
    ):
        await other.rooms.create("r")
        wire.sent.clear()
        # Its log is new to the process, and then the other one takes a position each time.
        for _ in range(3):
            await store.rooms.events.append("r", Event(channel_id="c"))
            await other.rooms.events.append("r", Event(channel_id="c"))
        await other.rooms.update("r", status="paused")
        await store.rooms.events.append("r", Event(channel_id="c"))
    reads = [
        sent for sent in wire.sent if sent.name in ("find", "aggregate") and "events" in sent.command.values()
    ]
    # The log at first, and what has the position each time.
    assert len(reads) >= 4
    local = [sent.command for sent in reads if sent.command.get("readConcern", {}).get("level") != "majority"]
    assert not local


async def test_commits_heed_what_another_process_has_changed_of_their_room(
    server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    rooms, now = server_store.rooms, datetime.now(UTC)
    for room_id in ("paused", "active", "expired"):
        await rooms.create(room_id)
        await rooms.events.append(room_id, Event(channel_id="c"))
    async with AsyncMongoStore(server_uri, database) as other:
        await other.rooms.update("paused", status="paused")
        await other.rooms.update("active", active_at=now + timedelta(days=1))
        await other.rooms.update("expired", expires_at=now - timedelta(days=1))
    await rooms.events.append("paused", Event(channel_id="c"))
    assert (await rooms.get("paused")).status == "active"
    await rooms.events.append("active", Event(channel_id="c"), activity=False)
    assert (await rooms.get("active")).active_at == now + timedelta(days=1)
    with pytest.raises(NotFoundError):
        await rooms.events.append("expired", Event(channel_id="c"))


async def test_a_process_that_was_elsewhere_takes_no_position_of_a_deleted_event(
    server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    rooms = server_store.rooms
    await rooms.create("r")
    await rooms.events.append("r", Event(channel_id="c"))
    async with AsyncMongoStore(server_uri, database) as other:
        deleted = await other.rooms.events.append("r", Event(channel_id="c"))
        assert await other.rooms.events.delete("r", deleted.id)
    assert (await rooms.events.append("r", Event(channel_id="c"))).index == 2
    assert (await rooms.get("r")).event_count == 3


async def test_a_position_of_a_deleted_event_outlives_the_memory_of_all_processes(
    server_uri: str, server_store: AsyncMongoStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [expiry] = [
        index["expireAfterSeconds"]
        for command in load_indexes()
        for index in command["indexes"]
        if index["name"] == "emptied_events_expire"
    ]
    # A call, with all its attempts, may begin with what is remembered just so long.
    assert expiry > room_log.FRESH_SECONDS + 600
    rooms = server_store.rooms
    await rooms.create("r")
    await rooms.events.append("r", Event(channel_id="c"))
    async with AsyncMongoStore(server_uri, database) as other:
        deleted = await other.rooms.events.append("r", Event(channel_id="c"))
        assert await other.rooms.events.delete("r", deleted.id)
    await server_store.engine.database["events"].delete_many({"emptied_at": {"$exists": True}})
    monkeypatch.setattr(room_log, "FRESH_SECONDS", 0.0)
    assert (await rooms.events.append("r", Event(channel_id="c"))).index == 2


async def test_an_event_below_the_next_index_moves_no_other_one(server_store: AsyncMongoStore) -> None:
    events = server_store.rooms.events
    await server_store.rooms.create("r", next_index=5)
    stored = await asyncio.gather(
        events.append("r", Event(channel_id="c")),
        events.create("r", Event(channel_id="c", index=2)),
        events.append("r", Event(channel_id="c")),
        events.create("r", Event(channel_id="c", index=9)),
        events.append("r", Event(channel_id="c")),
    )
    assert [event.index for event in stored] == [5, 2, 6, 9, 10]


async def test_no_event_below_the_next_index_is_stored_in_a_deleted_room(
    server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    rooms = server_store.rooms
    await rooms.create("r", next_index=5)
    await rooms.events.append("r", Event(channel_id="c"))
    async with AsyncMongoStore(server_uri, database) as other:
        assert await other.rooms.delete("r")
    with pytest.raises(NotFoundError):
        await rooms.events.create("r", Event(channel_id="c", index=2))
    left = {"room_id": "r", "index": {"$exists": True}}
    assert await server_store.engine.database["events"].count_documents(left) == 0


async def test_a_room_that_is_closed_just_before_it_is_opened_is_found_by_its_parts(
    server_uri: str, server_store: AsyncMongoStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, update_room = server_store.rooms, room_log.update_room
    await rooms.create("r")
    await rooms.bindings.upsert("r", Binding(channel_id="c"))

    async def update_late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(room_log, "update_room", update_room)
        await asyncio.create_task(other.rooms.update("r", status="closed"), context=Context())
        return await update_room(*arguments, **options)

    monkeypatch.setattr(room_log, "update_room", update_late)
    async with AsyncMongoStore(server_uri, database) as other:
        assert (await rooms.update("r", status="active")).status == "active"
    assert [room.id for room in await rooms.list_by_channel("c", status="active")] == ["r"]


async def test_commits_deletes_and_edits_at_once_leave_no_edit_of_what_is_deleted(
    server_store: AsyncMongoStore,
) -> None:
    events = server_store.rooms.events
    await server_store.rooms.create("r")
    for round in range(20):
        texts = await events.append("r", Event(id=f"{round}", channel_id="c", content="said"))
        changes = [
            Event(
                id=f"{round}-{change}-{n}",
                channel_id="c",
                type=change,
                change=change,
                target_event_id=texts.id,
                content="again",
            )
            for n, change in enumerate(["edit", "edit", "delete"])
        ]
        await asyncio.gather(*(events.append("r", change, target=texts) for change in changes))
    stored = await everything(server_store)
    erased = [event for event in stored if event.type == "delete"]
    assert len(erased) == 20
    for erasure in erased:
        for event in stored:
            if event.type == "edit" and event.target_event_id == erasure.target_event_id:
                before = (event.index or 0) < (erasure.index or 0)
                assert event.metadata.get("deleted", False) is before


async def test_an_update_that_the_majority_has_yet_to_learn_of_is_not_done_twice(
    server_uri: str, server_store: AsyncMongoStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = server_store.rooms
    await rooms.create("r", metadata={"k": "first"})
    before, logs = await log_of(server_store).read("r"), list[RoomLog]()
    read, update_room = RoomLog.read, room_log.update_room

    async def update_without_an_answer(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(room_log, "update_room", update_room)
        assert await update_room(*arguments, **options)
        # Another process goes on from there.
        await asyncio.create_task(other.rooms.update("r", metadata={"k": "third"}), context=Context())
        raise AutoReconnect("lost")

    async def read_late(log: RoomLog, room_id: str, **options: Any) -> Any:
        logs.append(log)
        # The first to read is the one whose update is lost, the other one reads what is there.
        is_late = log is logs[0] and logs.count(log) == 2
        return before if is_late else await read(log, room_id, **options)

    monkeypatch.setattr(room_log, "update_room", update_without_an_answer)
    monkeypatch.setattr(RoomLog, "read", read_late)
    async with AsyncMongoStore(server_uri, database) as other:
        await rooms.update("r", metadata={"k": "second"})
    assert logs.count(logs[0]) == 3
    assert (await rooms.get("r")).metadata == {"k": "third"}


async def test_who_meets_the_fence_of_a_dead_process_opens_the_next_log_with_the_counters_of_all(
    server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    rooms = server_store.rooms
    await rooms.create("r")
    await rooms.events.append("r", Event(channel_id="c"))
    async with AsyncMongoStore(server_uri, database) as other:
        # Unknown to the first process, as is the fence behind them.
        for _ in range(2):
            await other.rooms.events.append("r", Event(channel_id="c"))
        log = log_of(other)
        _, head = await log.read("r")
        assert await log.fence("r", head)
    assert (await rooms.events.append("r", Event(channel_id="c"))).index == 3
    room = await rooms.get("r")
    assert (room.event_count, room.latest_index) == (4, 3)
    assert [event.index for event in await everything(server_store)] == [0, 1, 2, 3]
