"""Between two steps of a call on a room another process acts: each mechanism that heeds it, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from contextvars import Context
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    ConflictError,
    Event,
    NotFoundError,
    Room,
    RoomState,
    Task,
    VoiceDelivery,
)
from mongostore.repositories.rooms import commit_queue, event_stream, room_log
from mongostore.repositories.rooms.event_updates import EventUpdates
from tests.contract.command_log import CommandLog, logged_store
from tests.contract.interleaving import act_before

pytestmark = pytest.mark.server

T = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
async def other(server_uri: str, server_store: AsyncMongoStore, database: str) -> AsyncIterator[Any]:
    """The store of another process, and a room with three events that both know."""
    await server_store.rooms.create("r")
    for name in "abc":
        await server_store.rooms.events.append("r", Event(id=name, channel_id="c"))
    async with AsyncMongoStore(server_uri, database) as store:
        yield store


async def test_activity_in_between_is_a_conflict_of_a_guarded_replacement(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await server_store.rooms.get("r")
    state = RoomState(room.status, room.paused_at, room.active_at)

    async def append() -> None:
        await other.rooms.events.append("r", Event(id="d", channel_id="c"))

    act_before(monkeypatch, room_log, "update_room", append)
    with pytest.raises(ConflictError):
        await server_store.rooms.replace(room.model_copy(update={"metadata": {"k": 1}}), expected=state)
    assert (await server_store.rooms.get("r")).metadata == {}


async def test_an_edit_in_between_is_deleted_with_its_event(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await other.rooms.events.get("r", "a")

    async def edit() -> None:
        change = Event(id="edit", channel_id="c", type="edit", change="edit", target_event_id="a")
        await other.rooms.events.append("r", change, target=target)

    act_before(monkeypatch, EventUpdates, "_has_later", edit)
    assert await server_store.rooms.events.delete("r", "a")
    assert [event.id async for event in other.rooms.events.iter("r")] == ["b", "c"]


async def test_an_event_that_is_deleted_before_its_append_is_retried_stays_deleted(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = type(server_store.engine.database["events"])
    insert = events.insert_one

    async def lose(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(events, "insert_one", insert)
        await insert(*arguments, **options)
        await asyncio.create_task(other.rooms.events.delete("r", "d"), context=Context())
        raise AutoReconnect("lost")

    monkeypatch.setattr(events, "insert_one", lose)
    assert (await server_store.rooms.events.append("r", Event(id="d", channel_id="c"))).index == 3
    assert not await other.rooms.events.exists("r", "d")
    assert (await server_store.rooms.events.append("r", Event(channel_id="c"))).index == 4


async def make_anew(store: AsyncMongoStore, **members: Any) -> None:
    await store.rooms.delete("r")
    await store.rooms.create("r", **members)
    await store.rooms.bindings.upsert("r", Binding(channel_id="c"))


async def test_a_replacement_that_meets_a_room_made_anew_moves_its_parts_as_well(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_anew(other, created_at=T)
    act_before(monkeypatch, room_log, "update_room", lambda: make_anew(other))
    await server_store.rooms.replace(Room(id="r", created_at=T, metadata={"k": 1}))
    binding = await server_store.engine.database["bindings"].find_one({"room_id": "r"})
    room = await server_store.engine.database["rooms"].find_one({"_id": "r"})
    assert binding
    assert room
    assert binding["room_created_at"] == room["created_at"]


async def test_an_event_below_the_next_index_belongs_to_the_room_that_was_made_anew(
    server_store: AsyncMongoStore, other: AsyncMongoStore
) -> None:
    await make_anew(other, next_index=5)
    stored = await server_store.rooms.events.create("r", Event(channel_id="c", index=2))
    assert stored.index == 2
    assert await other.rooms.delete("r")
    left = {"room_id": "r", "index": {"$exists": True}}
    assert await other.engine.database["events"].count_documents(left) == 0


async def test_what_is_late_of_a_former_room_counts_for_nothing_in_the_one_made_anew(
    server_store: AsyncMongoStore, other: AsyncMongoStore
) -> None:
    rooms, database = server_store.rooms, server_store.engine.database
    await rooms.read_markers.advance("r", "c")
    late = {name: await database[name].find_one({"room_id": "r"}, sort=[("index", -1)]) for name in LATE}
    await make_anew(other)
    for name, document in late.items():
        assert document
        # A deleted event has left its position there.
        await database[name].replace_one({"_id": document["_id"]}, document, upsert=True)
    room = await rooms.get("r")
    assert (room.event_count, room.latest_index) == (0, None)
    assert room in await rooms.list()
    assert await rooms.read_markers.advance("r", "c", index=0)
    marker = await rooms.read_markers.find("r", "c")
    assert marker
    assert marker.index == 0


LATE = ("events", "read_markers")


async def test_of_a_hundred_events_one_that_is_refused_costs_two_commands(
    server_uri: str, database: str, other: AsyncMongoStore
) -> None:
    wire, group = CommandLog(), [Event(id=f"{n}", channel_id="c") for n in range(100)]
    group[40] = Event(id="a", channel_id="c")
    async with logged_store(server_uri, database, wire) as store:
        await store.rooms.events.append("r", Event(channel_id="c"))
        wire.sent.clear()
        appending = (store.rooms.events.append("r", event) for event in group)
        outcomes = await asyncio.gather(*appending, return_exceptions=True)
        sent = [(one.name, len(one.command.get("documents", ()))) for one in wire.commits]
    assert [number for number, one in enumerate(outcomes) if not isinstance(one, Event)] == [40]
    # The group, what is behind the refused event, and a look at what has its id.
    assert sorted(sent) == [("find", 0), ("insert", 59), ("insert", 100)]
    stored = [event.index async for event in other.rooms.events.iter("r")]
    assert stored == [*range(4 + 99)]


async def test_a_process_that_met_another_one_in_a_room_leaves_it_to_that_one_first(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def choose() -> float:
        pauses.append(0.0)
        return 0.0

    await server_store.rooms.create("s")
    await other.rooms.events.append("r", Event(channel_id="c"))
    await server_store.rooms.events.append("r", Event(channel_id="c"))
    monkeypatch.setattr("mongostore.repositories.rooms.commit_queue.random.random", choose)
    await server_store.rooms.events.append("s", Event(channel_id="c"))
    assert not pauses
    await server_store.rooms.events.append("r", Event(channel_id="c"))
    assert pauses


async def test_a_process_remembers_the_rooms_alone_in_which_it_met_another_one_last(
    server_uri: str, database: str, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_queue, "MOST_CONTENDED", 1)
    pauses: list[float] = []
    await other.rooms.create("s")
    async with AsyncMongoStore(server_uri, database) as store:
        for room_id in ("r", "s"):
            for one in (store, other, store):
                await one.rooms.events.append(room_id, Event(channel_id="c"))
        monkeypatch.setattr(commit_queue.random, "random", lambda: pauses.append(0.0) or 0.0)
        await store.rooms.events.append("r", Event(channel_id="c"))
    assert not pauses


async def test_a_commit_after_one_whose_answer_was_lost_is_one_command(
    server_uri: str, database: str, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        await store.rooms.events.append("r", Event(channel_id="c"))
        events = type(store.engine.database["events"])
        insert = events.insert_one

        async def lose(*arguments: Any, **options: Any) -> None:
            monkeypatch.setattr(events, "insert_one", insert)
            await insert(*arguments, **options)
            raise AutoReconnect("lost")

        monkeypatch.setattr(events, "insert_one", lose)
        await store.rooms.events.append("r", Event(channel_id="c"))
        wire.sent.clear()
        await store.rooms.events.append("r", Event(channel_id="c"))
        assert [sent.name for sent in wire.commits] == ["insert"]
    assert [event.index async for event in other.rooms.events.iter("r")] == [*range(6)]


async def test_an_update_whose_answer_is_lost_is_found_done(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_room, updates = room_log.update_room, 0

    async def lose(*arguments: Any, **options: Any) -> Any:
        nonlocal updates
        updates += 1
        # Where it is tried for ever, the test need not wait for its end.
        assert updates == 1
        await update_room(*arguments, **options)
        raise AutoReconnect("lost")

    monkeypatch.setattr(room_log, "update_room", lose)
    assert (await server_store.rooms.update("r", metadata={"k": 1})).metadata == {"k": 1}
    assert (await other.rooms.get("r")).metadata == {"k": 1}


async def test_a_room_that_is_deleted_before_its_creation_is_retried_stays_deleted(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = type(server_store.engine.database["rooms"])
    create = rooms.find_one_and_update

    async def lose(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(rooms, "find_one_and_update", create)
        await create(*arguments, **options)
        assert await asyncio.create_task(other.rooms.delete("s"), context=Context())
        raise AutoReconnect("lost")

    monkeypatch.setattr(rooms, "find_one_and_update", lose)
    assert (await server_store.rooms.create("s")).id == "s"
    assert not await other.rooms.exists("s")


async def test_of_two_events_at_one_index_below_the_next_one_is_refused(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_anew(server_store, next_index=5)

    async def create() -> None:
        await other.rooms.events.create("r", Event(id="first", channel_id="c", index=2))

    act_before(monkeypatch, type(server_store.engine), "transact", create)
    with pytest.raises(AlreadyExistsError):
        await server_store.rooms.events.create("r", Event(id="second", channel_id="c", index=2))
    assert [event.id async for event in other.rooms.events.iter("r")] == ["first"]


BESIDE_DELETION: dict[str, Callable[[AsyncMongoStore], Awaitable[object]]] = {
    "bind": lambda store: store.rooms.bindings.upsert("r", Binding(channel_id="new")),
    "create-task": lambda store: store.rooms.tasks.create("r", Task(id="t")),
    "claim": lambda store: store.rooms.voice_deliveries.claim("r", VoiceDelivery(key="k", content_hash="h")),
    "create-event-below": lambda store: store.rooms.events.create("r", Event(channel_id="c", index=2)),
}


@pytest.mark.parametrize("verb", BESIDE_DELETION)
async def test_what_is_stored_while_its_room_is_deleted_is_not_in_the_next_one(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await make_anew(other, next_index=5)
    await server_store.rooms.events.append("r", Event(channel_id="c"))
    deleting: list[asyncio.Task[None]] = []
    collections = type(server_store.engine.database["rooms"])

    def acting(change: Any) -> Any:
        async def call(collection: Any, *arguments: Any, **options: Any) -> Any:
            result = await change(collection, *arguments, **options)
            if options.get("session") and not deleting:
                deleting.append(asyncio.create_task(make_anew(other), context=Context()))
                # It waits for the transaction, unless that has not changed the room.
                await asyncio.wait(deleting, timeout=1)
            return result

        return call

    for name in ("find_one_and_update", "update_one"):
        monkeypatch.setattr(collections, name, acting(getattr(collections, name)))
    with suppress(NotFoundError):
        await BESIDE_DELETION[verb](server_store)
    await asyncio.gather(*deleting)
    assert deleting
    database = server_store.engine.database
    room = await database["rooms"].find_one({"_id": "r"})
    assert room
    for name in ("bindings", "tasks", "voice_deliveries", "events"):
        async for stored in database[name].find({"room_id": "r", "emptied_at": None}):
            assert stored["epoch"] == room["epoch"], name


async def test_the_first_commit_to_a_room_of_this_process_is_one_command(
    server_uri: str, database: str, other: AsyncMongoStore
) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        await store.rooms.create("s")
        wire.sent.clear()
        await store.rooms.events.append("s", Event(channel_id="c"))
        assert [sent.name for sent in wire.commits] == ["insert"]


async def test_an_event_whose_caller_is_gone_before_its_turn_is_not_stored(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, appending = asyncio.Event(), []
    act_before(monkeypatch, type(server_store.engine.database["events"]), "insert_one", gate.wait)
    for name in ("first", "gone", "last"):
        event = Event(id=name, channel_id="c")
        appending.append(asyncio.create_task(server_store.rooms.events.append("r", event)))
        # The first one is on its way, and the others wait for it.
        await asyncio.sleep(0.01)
    appending[1].cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*appending, return_exceptions=True)
    assert [event.id async for event in other.rooms.events.iter("r")] == [*"abc", "first", "last"]


async def test_an_event_that_comes_while_a_watch_opens_is_yielded_once(
    server_store: AsyncMongoStore, other: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append() -> None:
        await other.rooms.events.append("r", Event(id="d", channel_id="c"))

    # By now the change stream is open, and the events that were missed are still to be read.
    act_before(monkeypatch, event_stream, "find_room", append)
    async with aclosing(server_store.rooms.events.watch("r", after=1)) as watch:
        seen = [(await anext(watch)).id, (await anext(watch)).id]
        await other.rooms.events.append("r", Event(id="e", channel_id="c"))
        seen.append((await anext(watch)).id)
    assert seen == ["c", "d", "e"]
