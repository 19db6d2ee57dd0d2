"""Rooms on a server without transactions: what one write or a unique key can keep is kept."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, PyMongoError

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    Capability,
    ConflictError,
    Event,
    Identity,
    MongoStoreError,
    NotFoundError,
    Observation,
    Room,
    RoomParticipant,
    Task,
    UnsupportedError,
    VoiceDelivery,
)
from tests.contract.interleaving import Act, run_apart

pytestmark = pytest.mark.server


@pytest.fixture
async def store(standalone_uri: str, database: str) -> AsyncIterator[AsyncMongoStore]:
    """An open store on that server, with a room."""
    async with AsyncMongoStore(standalone_uri, database, transactions="off") as opened:
        await opened.rooms.create("r")
        yield opened
        await opened.engine.database.client.drop_database(database)


def new_event(n: int | str, **members: Any) -> Event:
    return Event(**{"id": f"e{n}", "room_id": "r", "channel_id": "c", "content": "said", **members})


async def everything(store: AsyncMongoStore) -> dict[str, Any]:
    """Return all that is stored."""
    database = store.engine.database
    names = [name for name in await database.list_collection_names() if not name.startswith("system.")]
    # What is left of deleted events is empty, and expires.
    filter = {"emptied_at": None}
    return {name: [one async for one in database[name].find(filter).sort("_id", 1)] for name in sorted(names)}


async def counters(store: AsyncMongoStore) -> tuple[int, int | None]:
    room = await store.rooms.get("r")
    return room.event_count, room.latest_index


async def test_a_server_without_transactions_is_refused_unless_asked_for(
    standalone_uri: str, database: str
) -> None:
    with pytest.raises(UnsupportedError, match='transactions="off"'):
        await AsyncMongoStore(standalone_uri, database).open()
    async with AsyncMongoStore(standalone_uri, database, transactions="off") as store:
        assert Capability.TRANSACTIONS not in store.capabilities
        with pytest.raises(UnsupportedError):
            await anext(aiter(store.rooms.events.watch("r")))


async def test_commits_at_once_are_dense_and_counted(store: AsyncMongoStore) -> None:
    committed = await asyncio.gather(*(store.rooms.events.append("r", new_event(n)) for n in range(300)))
    assert sorted(event.index or 0 for event in committed) == list(range(300))
    stored = [event async for event in store.rooms.events.iter("r")]
    assert stored == sorted(committed, key=lambda event: event.index or 0)
    assert await counters(store) == (300, 299)


async def test_commits_of_several_stores_take_no_index_twice(
    store: AsyncMongoStore, standalone_uri: str, database: str
) -> None:
    async with AsyncMongoStore(standalone_uri, database, transactions="off") as other:
        stores = (store, other)
        committed = await asyncio.gather(
            *(stores[n % 2].rooms.events.append("r", new_event(n)) for n in range(200))
        )
    assert sorted(event.index or 0 for event in committed) == list(range(200))
    assert await counters(store) == (200, 199)


REFUSED = {
    "taken-id": (new_event("0", idempotency_key="other"), None, AlreadyExistsError),
    "taken-key": (new_event("new", idempotency_key="k"), None, AlreadyExistsError),
    "missing-target": (new_event("new", type="edit", change="edit"), new_event("none"), NotFoundError),
    "taken-key-with-target": (
        new_event("new", idempotency_key="k"),
        new_event("0", content="new"),
        AlreadyExistsError,
    ),
    "missing-room": (new_event("new", room_id="none"), None, NotFoundError),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_commit_that_is_refused_writes_nothing(store: AsyncMongoStore, case: str) -> None:
    await store.rooms.events.append("r", new_event("0", idempotency_key="k"))
    before = await everything(store)
    event, target, refusal = REFUSED[case]
    with pytest.raises(refusal):
        await store.rooms.events.append(event.room_id or "r", event, target=target)
    assert await everything(store) == before


async def test_a_key_that_several_commits_want_at_once_is_taken_once_and_counted_once(
    store: AsyncMongoStore,
) -> None:
    ended = await asyncio.gather(
        *(store.rooms.events.append("r", new_event(n, idempotency_key=f"k{n % 10}")) for n in range(40)),
        return_exceptions=True,
    )
    stored = [one for one in ended if isinstance(one, Event)]
    assert sorted(one.idempotency_key or "" for one in stored) == [f"k{n}" for n in range(10)]
    assert all(isinstance(one, Event | AlreadyExistsError) for one in ended)
    assert [event.index async for event in store.rooms.events.iter("r")] == list(range(10))
    assert await counters(store) == (10, 9)


async def test_a_commit_that_fails_leaves_no_gap(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.events.append("r", new_event(0))
    events = type(store.engine.database["events"])
    insert = events.insert_one

    async def crash(*arguments: Any, **options: Any) -> None:
        raise PyMongoError("crashed")

    monkeypatch.setattr(events, "insert_one", crash)
    with pytest.raises(Exception, match="PyMongoError"):
        await store.rooms.events.append("r", new_event(1))
    monkeypatch.setattr(events, "insert_one", insert)
    assert await counters(store) == (1, 0)
    assert (await store.rooms.events.append("r", new_event(1))).index == 1
    assert [event.index async for event in store.rooms.events.iter("r")] == [0, 1]
    assert await counters(store) == (2, 1)


@pytest.mark.parametrize("is_lost", [True, False])
async def test_an_edit_whose_effect_fails_is_stored_once_and_has_its_effect(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    target = await store.rooms.events.append("r", new_event(0))
    events = type(store.engine.database["events"])
    update, failures = events.update_one, 0

    async def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures > 1:
            return await update(*arguments, **options)
        if is_lost:
            await update(*arguments, **options)
        raise AutoReconnect("lost")

    monkeypatch.setattr(events, "update_one", fail)
    edit = new_event("edit", type="edit", change="edit", target_event_id="e0")
    edited = target.model_copy(update={"content": "new"})
    assert (await store.rooms.events.append("r", edit, target=edited)).index == 1
    assert failures > 1
    assert (await store.rooms.events.get("r", "e0")).content == "new"
    assert [event.index async for event in store.rooms.events.iter("r")] == [0, 1]
    assert await counters(store) == (2, 1)


async def test_activity_wakes_a_paused_room_though_its_first_attempt_fails(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.update("r", status="paused")
    rooms = type(store.engine.database["rooms"])
    update, failures = rooms.update_one, 0

    async def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise AutoReconnect("lost")
        return await update(*arguments, **options)

    monkeypatch.setattr(rooms, "update_one", fail)
    assert (await store.rooms.events.append("r", new_event(0))).index == 0
    assert (await store.rooms.get("r")).status == "active"
    assert await counters(store) == (1, 0)


@pytest.mark.parametrize(("amount", "method"), [(1, "insert_one"), (8, "insert_many")])
async def test_commits_whose_answer_is_lost_are_stored_once(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, amount: int, method: str
) -> None:
    events = type(store.engine.database["events"])
    insert, lost = getattr(events, method), 0

    async def lose(*arguments: Any, **options: Any) -> Any:
        nonlocal lost
        answer = await insert(*arguments, **options)
        lost += 1
        if lost == 1:
            raise AutoReconnect("lost")
        return answer

    monkeypatch.setattr(events, method, lose)
    committed = await asyncio.gather(*(store.rooms.events.append("r", new_event(n)) for n in range(amount)))
    assert lost
    assert sorted(event.index or 0 for event in committed) == list(range(amount))
    assert await counters(store) == (amount, amount - 1)


async def test_a_process_killed_before_its_write_leaves_no_gap(
    child: Callable[..., subprocess.Popen[str]], store: AsyncMongoStore, standalone_uri: str, database: str
) -> None:
    process = child("room_crasher.py", standalone_uri, database)
    output, errors = await asyncio.to_thread(process.communicate, "go\n")
    assert (process.returncode, output) == (-9, "0\n"), errors
    stored = [event async for event in store.rooms.events.iter("r")]
    assert [(event.id, event.index) for event in stored] == [("e0", 0)]
    assert await counters(store) == (1, 0)
    assert (await store.rooms.events.append("r", new_event(1))).index == 1


async def test_what_one_write_does_holds(store: AsyncMongoStore) -> None:
    with pytest.raises(AlreadyExistsError):
        await store.rooms.create("r")
    ended = await asyncio.gather(
        *(store.rooms.create("new", metadata={"n": n}) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(one, Room) for one in ended) == 1
    await asyncio.gather(*(store.rooms.update("r", metadata={f"n{n}": n}) for n in range(16)))
    room = await store.rooms.get("r")
    assert room.metadata == {f"n{n}": n for n in range(16)}
    await store.rooms.events.create("r", new_event(5, index=5))
    with pytest.raises(AlreadyExistsError):
        await store.rooms.events.create("r", new_event("other", index=5))
    assert (await store.rooms.events.create("r", new_event(6))).index == 6
    assert await store.rooms.events.delete("r", "e6")
    # Never again, though it is free.
    assert (await store.rooms.events.create("r", new_event(7))).index == 7


async def test_only_one_of_several_gets_an_address_or_a_claim(store: AsyncMongoStore) -> None:
    await asyncio.gather(*(store.rooms.identities.create(Identity(id=f"i{n}")) for n in range(8)))
    linking = [store.rooms.identities.link_address(f"i{n}", "sms", "1") for n in range(8)]
    ended = await asyncio.gather(*linking, return_exceptions=True)
    assert sum(isinstance(one, ConflictError) for one in ended) == 7
    winner = await store.rooms.identities.find_by_address("sms", "1")
    assert winner is not None
    assert [one for one in ended if isinstance(one, Identity)] == [winner]
    claims = [VoiceDelivery(room_id="r", key="k", content_hash="h", attempt_id=f"a{n}") for n in range(8)]
    held = await asyncio.gather(*(store.rooms.voice_deliveries.claim("r", claim) for claim in claims))
    assert len({one.attempt_id for one in held}) == 1
    with pytest.raises(NotFoundError):
        await store.rooms.voice_deliveries.claim("none", VoiceDelivery(key="k", content_hash="h"))


async def test_a_room_that_is_deleted_takes_all_with_it(store: AsyncMongoStore) -> None:
    await store.rooms.events.append("r", new_event(0))
    await asyncio.gather(*(store.rooms.bindings.upsert("r", Binding(channel_id="c")) for _ in range(8)))
    await store.rooms.participants.upsert("r", RoomParticipant(id="p"))
    await store.rooms.tasks.create("r", Task(id="t"))
    await store.rooms.observations.create("r", Observation(id="o"))
    assert len((await store.rooms.bindings.list("r")).items) == 1
    assert await store.rooms.delete("r")
    assert not any((await everything(store)).values())


STORING: dict[str, Callable[[AsyncMongoStore], Awaitable[object]]] = {
    "bind": lambda store: store.rooms.bindings.upsert("r", Binding(channel_id="c")),
    "add-participant": lambda store: store.rooms.participants.upsert("r", RoomParticipant(id="p")),
    "create-task": lambda store: store.rooms.tasks.create("r", Task(id="t")),
    "create-observation": lambda store: store.rooms.observations.create("r", Observation(id="o")),
    "claim": lambda store: store.rooms.voice_deliveries.claim("r", VoiceDelivery(key="k", content_hash="h")),
    "create-event-below": lambda store: store.rooms.events.create("r", new_event("below", index=3)),
}


def act_after_change(
    monkeypatch: pytest.MonkeyPatch,
    store: AsyncMongoStore,
    methods: Sequence[str],
    act: Act,
) -> None:
    """Let another caller act once, behind the next change of a room by one of these methods."""
    collections, has_acted = type(store.engine.database["rooms"]), False

    def acting(change: Any) -> Any:
        async def call(collection: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal has_acted
            result = await change(collection, *arguments, **options)
            if collection.name == "rooms" and not has_acted:
                has_acted = True
                await run_apart(act)
            return result

        return call

    for method in methods:
        monkeypatch.setattr(collections, method, acting(getattr(collections, method)))


@pytest.mark.parametrize("verb", STORING)
async def test_what_is_stored_beside_the_deletion_of_its_room_is_not_in_the_next_one(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async def make_anew() -> None:
        assert await store.rooms.delete("r")
        await store.rooms.create("r")

    await store.rooms.events.create("r", new_event("first", index=9))
    act_after_change(monkeypatch, store, ["find_one_and_update", "update_one"], make_anew)
    with suppress(NotFoundError):
        await STORING[verb](store)
    stored = await everything(store)
    [room] = stored.pop("rooms")
    lives = {document["epoch"] for documents in stored.values() for document in documents}
    assert lives <= {room["epoch"]}


async def test_a_room_that_is_opened_while_it_is_closed_is_found_by_its_parts(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.participants.upsert("r", RoomParticipant(id="p"))
    act_after_change(
        monkeypatch, store, ["find_one_and_update"], lambda: store.rooms.update("r", status="active")
    )
    await store.rooms.update("r", status="closed")
    assert (await store.rooms.get("r")).status == "active"
    assert await store.rooms.find_by_participant("p", status="active")


async def test_a_room_that_is_opened_while_its_closing_ends_late_is_found_by_its_parts(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.rooms.participants.upsert("r", RoomParticipant(id="p"))
    await store.rooms.update("r", status="closed")
    participants = store.engine.database["participants"]
    update, updates = type(participants).update_many, 0

    async def update_late(*arguments: Any, **options: Any) -> Any:
        nonlocal updates
        updates += 1
        result = await update(*arguments, **options)
        if updates == 2:
            # By now the one that opens it has marked both kinds of parts, and not yet the room.
            await update(participants, {}, {"$set": {"room_is_closed": True}})
        return result

    monkeypatch.setattr(type(participants), "update_many", update_late)
    await store.rooms.update("r", status="active")
    assert await store.rooms.find_by_participant("p", status="active")


async def test_a_replacement_erases_its_edits_though_the_answer_was_lost(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await store.rooms.events.append("r", new_event(0))
    edit = new_event("edit", type="edit", change="edit", target_event_id="e0")
    await store.rooms.events.append("r", edit, target=target)
    lose_first(monkeypatch, type(store.engine.database["events"]), "update_many", is_done=False)
    await store.rooms.events.replace("r", target, erase_edits=True)
    assert (await store.rooms.events.get("r", "eedit")).metadata == {"deleted": True}


def lose_first(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, is_done: bool) -> None:
    """Lose the answer to the next call of a function, or the call itself."""
    function = getattr(owner, name)

    async def lose(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(owner, name, function)
        if is_done:
            await function(*arguments, **options)
        raise AutoReconnect("lost")

    monkeypatch.setattr(owner, name, lose)


@pytest.mark.parametrize("is_done", [True, False])
async def test_an_address_follows_its_identity_though_an_answer_was_lost(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    identities = store.rooms.identities
    await identities.create(Identity(id="i"))
    collections = type(store.engine.database["identities"])
    update, calls = collections.find_one_and_update, 0

    async def lose(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 and not is_done:
            raise AutoReconnect("lost")
        result = await update(*arguments, **options)
        if calls == 2:
            raise AutoReconnect("lost")
        return result

    monkeypatch.setattr(collections, "find_one_and_update", lose)
    linked = await identities.link_address("i", "sms", "1")
    assert linked.addresses == {"sms": ["1"]}
    assert await identities.find_by_address("sms", "1") == linked
    lose_first(monkeypatch, collections, "delete_one", is_done=is_done)
    assert (await identities.unlink_address("i", "sms", "1")).addresses == {}
    assert await identities.find_by_address("sms", "1") is None


async def test_an_identity_that_is_refused_keeps_no_address(store: AsyncMongoStore) -> None:
    identities = store.rooms.identities

    async def stored() -> dict[str, Any]:
        found = await everything(store)
        for address in found["identity_addresses"]:
            # Of the last call that wanted it, whether it got it or not.
            del address["op"]
        return found

    await identities.create(Identity(id="i", addresses={"sms": ["1"]}))
    before = await stored()
    for refused in (
        Identity(id="new", addresses={"sms": ["2", "1"]}),
        Identity(id="i", addresses={"sms": ["3"]}),
    ):
        with pytest.raises(MongoStoreError, match=r"belongs|exists"):
            await identities.create(refused)
    assert await stored() == before
    other = await identities.create(Identity(id="other", addresses={"sms": ["2"]}))
    with pytest.raises(ConflictError):
        await identities.link_address("other", "sms", "1")
    assert await identities.get("other") == other
