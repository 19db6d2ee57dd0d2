"""Between two steps of a call on a room another caller acts, and the room is as if they had taken turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, PyMongoError

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    MongoStoreError,
    NotFoundError,
    Observation,
    RoomParticipant,
    Task,
)
from mongostore.documents.rooms import second_of
from mongostore.repositories.rooms import room_log
from mongostore.repositories.rooms.bulk import EventBatches
from mongostore.repositories.rooms.commit_queue import CommitQueue
from mongostore.repositories.rooms.room_log import RoomLog
from mongostore.repositories.rooms.room_updates import RoomUpdates
from mongostore.repositories.server_clock import ServerClock
from mongostore.repositories.store_collection import StoreCollection
from tests.contract.fixtures import T
from tests.contract.interleaving import act_after, act_before, run_apart


def slow_down(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let each call of a function give way to others first."""
    function = getattr(owner, name)

    async def call(*arguments: Any, **options: Any) -> Any:
        for _ in range(50):
            await asyncio.sleep(0)
        return await function(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


async def test_an_edit_in_a_later_log_keeps_its_index_when_its_event_is_deleted(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = store.rooms.events
    await store.rooms.create("r")
    target = await events.append("r", Event(channel_id="c"))

    async def edit() -> None:
        # A pause opens another log, in which the edit is.
        await store.rooms.update("r", status="paused")
        change = Event(channel_id="c", type="edit", change="edit", target_event_id=target.id)
        assert (await events.append("r", change, target=target)).index == 1

    act_after(monkeypatch, RoomLog, "change", edit)
    assert await events.delete("r", target.id)
    room = await store.rooms.get("r")
    assert (room.event_count, room.latest_index) == (2, 1)
    assert (await events.append("r", Event(channel_id="c"))).index == 2


async def cut_short_deletion(store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin to delete a room, as a process does that is killed then."""

    async def crash(*arguments: Any, **options: Any) -> None:
        raise PyMongoError("crashed")

    with monkeypatch.context() as broken:
        broken.setattr(type(store.engine.database["rooms"]), "delete_many", crash)
        with pytest.raises(MongoStoreError):
            await store.rooms.delete("r")


async def check_waiting(store: AsyncMongoStore, *task_ids: str) -> None:
    """Check that these tasks are there, and are those of the room once it is created, in this order."""
    for _ in range(2):
        assert [task.id for task in await store.rooms.tasks.list("r")] == [*task_ids]
        await store.rooms.ensure("r")
    assert not await store.find_leftovers()


async def test_what_is_stored_behind_a_deletion_that_was_cut_short_waits_for_the_next_room(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.create("r")
    await store.rooms.tasks.create("r", Task(id="former"))
    await cut_short_deletion(store, monkeypatch)
    await store.rooms.tasks.create("r", Task(id="task"))
    await store.rooms.observations.create("r", Observation(id="observation"))
    await check_waiting(store, "task")
    assert [one.id for one in await store.rooms.observations.list("r")] == ["observation"]


async def test_a_slow_deletion_leaves_what_was_stored_behind_the_end_of_its_room(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.tasks.create("r", Task(id="former"))
    await store.rooms.create("r")
    collections = type(store.engine.database["rooms"])

    async def delete_and_store() -> None:
        await store.rooms.delete("r")
        await store.rooms.tasks.create("r", Task(id="task"))

    act_before(monkeypatch, collections, "delete_many", delete_and_store)
    assert await store.rooms.delete("r")
    await check_waiting(store, "task")


async def test_nothing_waits_for_a_room_that_was_erased_with_a_person(store: AsyncMongoStore) -> None:
    await store.rooms.create("r")
    await store.rooms.participants.upsert("r", RoomParticipant(id="p"))
    await store.people.erase(await store.people.get("p"))
    assert not await store.rooms.exists("r")
    for verb in (store.rooms.tasks.create, store.rooms.tasks.upsert):
        with pytest.raises(NotFoundError):
            await verb("r", Task())
    with pytest.raises(NotFoundError):
        await store.rooms.observations.create("r", Observation())
    for name in ("tasks", "observations"):
        assert await store.engine.database[name].count_documents({}) == 0


async def test_what_waits_for_a_room_is_in_the_order_of_its_arrival(store: AsyncMongoStore) -> None:
    for name in "dbca":
        await store.rooms.tasks.create("r", Task(id=name))
    await check_waiting(store, *"dbca")
    for name in "ZA":
        await store.rooms.tasks.create("r", Task(id=name))
    await check_waiting(store, *"dbcaZA")


async def test_a_task_of_another_room_comes_into_this_one_whole(store: AsyncMongoStore) -> None:
    tasks = store.rooms.tasks
    await store.rooms.create("former")
    await tasks.create("r", Task(id="waiting"))
    for name in ("r", "former"):
        await tasks.upsert(name, Task(id="task", status=f"in {name}"))
    assert [task.id for task in await tasks.list("r")] == ["waiting"]
    assert [task.status for task in await tasks.list("former")] == ["in former"]
    await store.rooms.create("r")
    await tasks.upsert("r", Task(id="task", status="in r"))
    assert await tasks.find("former", "task") is None
    await check_waiting(store, "waiting", "task")
    await store.rooms.delete("former")
    await check_waiting(store, "waiting", "task")
    await store.rooms.delete("r")
    assert await tasks.find_by_id("task") is None


async def test_a_task_that_was_made_anew_before_its_replacement_is_retried_stays(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, collections = store.rooms.tasks, type(store.engine.database["tasks"])
    await tasks.create("r", Task(id="task"))
    update = collections.find_one_and_update

    async def make_anew() -> None:
        await tasks.delete("r", "task")
        await tasks.create("r", Task(id="task", status="anew"))

    async def lose(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(collections, "find_one_and_update", update)
        await update(*arguments, **options)
        await run_apart(make_anew)
        raise AutoReconnect("lost")

    monkeypatch.setattr(collections, "find_one_and_update", lose)
    async with asyncio.timeout(10):
        await tasks.upsert("r", Task(id="task", status="replaced"))
    assert (await tasks.get("r", "task")).status == "anew"


@pytest.mark.parametrize("verb", ["create", "ensure"])
async def test_a_room_is_created_though_others_create_ended_ones_before(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await store.rooms.create("r", expires_at=T)
    act_after(
        monkeypatch, RoomUpdates, "finish_delete", lambda: store.rooms.create("r", expires_at=T, name="other")
    )
    async with asyncio.timeout(10):
        await getattr(store.rooms, verb)("r", name="ours")
    assert (await store.rooms.get("r")).name == "ours"


async def test_appends_under_way_end_well_when_their_store_is_closed(
    store: AsyncMongoStore, store_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "rs":
        await store.rooms.create(name)
    later = second_of(time.time_ns() // 1000) + 60_000_000
    monkeypatch.setattr(ServerClock, "now", lambda clock: later)
    collections = type(store.engine.database["rooms"])
    for verb in ("bulk_write", "update_one"):
        slow_down(monkeypatch, collections, verb)
    closing = AsyncMongoStore(store_uri, database)
    await closing.open()
    # More than go together.
    appending = [
        asyncio.create_task(closing.rooms.events.append("rst"[n % 3], Event(channel_id="c"), create=True))
        for n in range(450)
    ]
    await asyncio.sleep(0)
    await closing.close()
    stored = await asyncio.gather(*appending)
    for name in "rst":
        indexes = [event.index async for event in store.rooms.events.iter(name)]
        assert indexes == sorted(event.index or 0 for event in stored if event.room_id == name)
        assert len(indexes) == 150
        room = await store.engine.database["rooms"].find_one({"_id": name})
        assert room
        assert room["listed_at"] == later


async def test_a_room_that_could_not_be_listed_is_listed_by_the_event_behind_the_one_under_way(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.create("r")
    later = second_of(time.time_ns() // 1000) + 60_000_000
    monkeypatch.setattr(ServerClock, "now", lambda clock: later)
    collections = type(store.engine.database["rooms"])
    insert, is_inserting, has_failed = collections.insert_one, asyncio.Event(), asyncio.Event()

    async def fail(*arguments: Any, **options: Any) -> None:
        await is_inserting.wait()
        has_failed.set()
        raise AutoReconnect("lost")

    async def insert_slowly(*arguments: Any, **options: Any) -> Any:
        is_inserting.set()
        await has_failed.wait()
        return await insert(*arguments, **options)

    async def append() -> None:
        await store.rooms.events.append("r", Event(channel_id="c"))

    with monkeypatch.context() as failing:
        failing.setattr(collections, "update_one", fail)
        await append()
        failing.setattr(collections, "insert_one", insert_slowly)
        await append()
        await store.rooms.list()
    await append()
    await store.rooms.list()
    room = await store.engine.database["rooms"].find_one({"_id": "r"})
    assert room
    assert room["listed_at"] == later


async def test_an_append_creates_its_room_anew_if_that_expires_meanwhile(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, let_pass: Callable[[timedelta], None]
) -> None:
    hour = timedelta(hours=1)
    await store.rooms.create("r", expires_in=hour, name="former")

    async def wait() -> None:
        let_pass(hour)

    act_before(monkeypatch, CommitQueue, "commit", wait)
    async with asyncio.timeout(10):
        await store.rooms.events.append("r", Event(channel_id="c"), create=True)
    room = await store.rooms.get("r")
    assert (room.name, room.event_count) == (None, 1)


async def test_an_append_that_creates_an_ended_room_ends(store: AsyncMongoStore) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(NotFoundError):
            await store.rooms.events.append("r", Event(channel_id="c"), create={"expires_at": T})


@pytest.mark.parametrize("verb", ["list", "ensure"])
async def test_a_room_that_is_read_while_events_are_imported_has_its_counters(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await store.rooms.create("r")
    for _ in range(2):
        await store.rooms.events.append("r", Event(channel_id="c"))
    imported = [Event(channel_id="c", index=9)]
    batches = EventBatches.of(store.rooms)
    act_before(monkeypatch, StoreCollection, "aggregate_all", lambda: batches.create_many("r", imported))
    if verb == "list":
        [room] = await store.rooms.list()
    else:
        room = await store.rooms.ensure("r")
    assert (room.event_count, room.latest_index) == (2, 1)
    assert await store.rooms.events.count("r") == 3


CHANGING: dict[str, Callable[[AsyncMongoStore], Awaitable[object]]] = {
    "bind": lambda store: store.rooms.bindings.upsert("r", Binding(channel_id="c")),
    "create-task": lambda store: store.rooms.tasks.create("r", Task(id="t")),
    "update": lambda store: store.rooms.update("r", metadata={"by": "ours"}),
    "pause": lambda store: store.rooms.update("r", status="paused"),
}


@pytest.mark.parametrize("verb", CHANGING)
async def test_a_retry_leaves_a_room_that_was_made_anew_by_a_call_that_began_before(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await store.rooms.create("r")
    create, has_begun, may_go_on = RoomUpdates.create, asyncio.Event(), asyncio.Event()

    async def create_late(*arguments: Any, **options: Any) -> Any:
        has_begun.set()
        await may_go_on.wait()
        return await create(*arguments, **options)

    monkeypatch.setattr(RoomUpdates, "create", create_late)
    creating = asyncio.create_task(store.rooms.create("r"))
    await has_begun.wait()

    async def make_anew() -> None:
        await store.rooms.delete("r")
        may_go_on.set()
        await creating

    def losing(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        async def lose(*arguments: Any, **options: Any) -> None:
            monkeypatch.undo()
            await function(*arguments, **options)
            await run_apart(make_anew)
            raise AutoReconnect("lost")

        monkeypatch.setattr(owner, name, lose)

    losing(type(store.engine), "transact")
    losing(room_log, "update_room")
    with pytest.raises(NotFoundError):
        await CHANGING[verb](store)
    room = await store.rooms.get_full("r")
    assert (room.room.status, room.room.metadata, room.bindings) == ("active", {}, [])
    assert [*await store.rooms.tasks.list("r")] == []
