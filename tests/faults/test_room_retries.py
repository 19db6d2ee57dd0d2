"""A verb of rooms whose answer is lost acts once, whatever another client does before it is tried again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    Identity,
    Observation,
    Room,
    RoomParticipant,
    Task,
    VoiceDelivery,
)
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.connection import Connection
from mongostore.repositories.rooms import AsyncRooms
from mongostore.repositories.rooms.bulk import EventBatches
from mongostore.repositories.store_collection import StoreCollection
from tests.faults.test_retries_beside_others import (
    LOST_WRITES,
    Loss,
    LossyCollection,
    attempt,
    comparable,
    store_uri,
)

__all__ = ["store_uri"]

Verb = Callable[[Any, str], Awaitable[Any]]

PARTS = ("bindings", "participants", "tasks", "observations")
# What is lost of a transaction is the answer to its commit.
in_transaction = ContextVar("in_transaction", default=False)
VARYING = {
    *("op", "ops", "delete_op", "created_at", "updated_at", "active_at", "room_created_at", "stored_at"),
    *("epoch", "log", "log_index", "counters", "merged_size", "position", "next_part_position", "unindexed"),
    "listed_at",
}


def delivery(key: str, **members: Any) -> VoiceDelivery:
    return VoiceDelivery(key=key, content_hash="h", **members)


def event(id: str, name: str, **members: Any) -> Event:
    return Event(id=f"{id} {name}", channel_id="c", **members)


async def prepare(store: Any, id: str) -> None:
    """Make a room with one of everything."""
    rooms = store.rooms
    await rooms.create(id)
    await rooms.events.append(id, event(id, "first"))
    await rooms.events.append(id, event(id, "last"))
    await rooms.bindings.upsert(id, Binding(channel_id="old"))
    await rooms.participants.upsert(id, RoomParticipant(id="old"))
    await rooms.tasks.create(id, Task(id=f"{id} old"))
    await rooms.observations.create(id, Observation(id=f"{id} old"))
    await rooms.events.create(id, event(id, "far", index=9))
    await rooms.voice_deliveries.claim(id, delivery("old", attempt_id="first"))
    await rooms.identities.create(Identity(id=id, addresses={"sms": [f"{id} old"]}))


VERBS: dict[str, Verb] = {
    "bind": lambda s, id: s.rooms.bindings.upsert(id, Binding(channel_id="new", metadata={"by": "ours"})),
    "bind-again": lambda s, id: s.rooms.bindings.upsert(
        id, Binding(channel_id="old", metadata={"by": "ours"})
    ),
    "unbind": lambda s, id: s.rooms.bindings.delete(id, "old"),
    "add-participant": lambda s, id: s.rooms.participants.upsert(id, RoomParticipant(id="new")),
    "remove-participant": lambda s, id: s.rooms.participants.delete(id, "old"),
    "create-task": lambda s, id: s.rooms.tasks.create(id, Task(id=f"{id} new", status="ours")),
    "upsert-new-task": lambda s, id: s.rooms.tasks.upsert(id, Task(id=f"{id} new", status="ours")),
    "upsert-task": lambda s, id: s.rooms.tasks.upsert(id, Task(id=f"{id} old", status="ours")),
    "delete-task": lambda s, id: s.rooms.tasks.delete(id, f"{id} old"),
    "delete-observation": lambda s, id: s.rooms.observations.delete(id, f"{id} old"),
    "update-event": lambda s, id: s.rooms.events.update(id, f"{id} first", metadata={"by": "ours"}),
    "replace-event": lambda s, id: s.rooms.events.replace(id, event(id, "first", content="ours")),
    "erase-event": lambda s, id: s.rooms.events.replace(id, event(id, "first"), erase_edits=True),
    "delete-event": lambda s, id: s.rooms.events.delete(id, f"{id} first"),
    "update-room": lambda s, id: s.rooms.update(id, metadata={"by": "ours"}),
    "replace-room": lambda s, id: s.rooms.replace(Room(id=id, data={"by": "ours"})),
    "pause-room": lambda s, id: s.rooms.update(id, status="paused"),
    "set-private": lambda s, id: s.rooms.set_private(id, "k", "ours"),
    "advance-index": lambda s, id: s.rooms.advance_delivered_index(id, 0),
    "create-room": lambda s, id: s.rooms.create(f"{id}", data={"by": "ours"}),
    "ensure-room": lambda s, id: s.rooms.ensure(f"{id}", data={"by": "ours"}),
    "delete-room": lambda s, id: s.rooms.delete(id),
    "append-event": lambda s, id: s.rooms.events.append(id, event(id, "new", content="ours")),
    "append-with-create": lambda s, id: s.rooms.events.append(
        id, event(id, "new", content="ours"), create={"data": {"by": "ours"}}
    ),
    "append-with-key": lambda s, id: s.rooms.events.append(id, event(id, "new", idempotency_key=f"{id} key")),
    "append-edit": lambda s, id: s.rooms.events.append(
        id, event(id, "new", type="edit"), target=event(id, "first", content="ours")
    ),
    "create-event": lambda s, id: s.rooms.events.create(id, event(id, "new", index=17)),
    "create-event-below": lambda s, id: s.rooms.events.create(id, event(id, "new", index=5)),
    "import-events": lambda s, id: EventBatches.of(s.rooms).create_many(id, [event(id, "new", index=17)]),
    "pop-event": lambda s, id: s.rooms.events.pop(id, f"{id} first"),
    "create-observation": lambda s, id: s.rooms.observations.create(
        id, Observation(id=f"{id} new", data={"by": "ours"})
    ),
    "claim": lambda s, id: s.rooms.voice_deliveries.claim(id, delivery("new", attempt_id="ours")),
    "claim-again": lambda s, id: s.rooms.voice_deliveries.claim(id, delivery("old", attempt_id="ours")),
    "complete": lambda s, id: s.rooms.voice_deliveries.complete(
        id, delivery("old", attempt_id="first", outcome={"by": "ours"})
    ),
    "mark": lambda s, id: s.rooms.read_markers.advance(id, "c", f"{id} first"),
    "link": lambda s, id: s.rooms.identities.link_address(id, "sms", f"{id} new"),
    "unlink": lambda s, id: s.rooms.identities.unlink_address(id, "sms", f"{id} old"),
}


async def change(store: Any, id: str) -> None:
    """Change all that is there."""
    rooms, theirs = store.rooms, {"by": "theirs"}
    for name in ("old", "new"):
        if await rooms.bindings.exists(id, name):
            await rooms.bindings.upsert(id, Binding(channel_id=name, metadata=theirs))
        if await rooms.participants.exists(id, name):
            await rooms.participants.upsert(id, RoomParticipant(id=name, data=theirs))
        if await rooms.tasks.find(id, f"{id} {name}"):
            await rooms.tasks.upsert(id, Task(id=f"{id} {name}", status="theirs"))
    if await rooms.events.exists(id, f"{id} first"):
        edit = event(id, "edit", type="edit", change="edit", target_event_id=f"{id} first")
        target = event(id, "first", content="theirs", metadata=theirs)
        await rooms.events.append(id, edit, target=target)
    await rooms.update(id, metadata=theirs, data=theirs)
    await rooms.set_private(id, "k", "theirs")
    await rooms.events.append(id, event(id, "more"))


async def delete(store: Any, id: str) -> None:
    """Delete what the verbs make."""
    rooms = store.rooms
    for name in ("old", "new"):
        await rooms.bindings.delete(id, name)
        await rooms.participants.delete(id, name)
        await rooms.tasks.delete(id, f"{id} {name}")
        await rooms.identities.unlink_address(id, "sms", f"{id} {name}")


async def make_anew(store: Any, id: str) -> None:
    """Delete and make again what the verbs delete."""
    rooms, theirs = store.rooms, {"by": "theirs"}
    await delete(store, id)
    await rooms.bindings.upsert(id, Binding(channel_id="old", metadata=theirs))
    await rooms.participants.upsert(id, RoomParticipant(id="old", data=theirs))
    await rooms.tasks.create(id, Task(id=f"{id} old", status="theirs"))
    await rooms.observations.delete(id, f"{id} old")
    await rooms.observations.create(id, Observation(id=f"{id} old", data=theirs))
    await rooms.identities.link_address(id, "sms", f"{id} old")


async def renew(store: Any, id: str) -> None:
    """Delete the room and the identity, and make them with the same parts, events and addresses."""
    rooms, theirs = store.rooms, {"by": "theirs"}
    await rooms.identities.delete(id)
    await rooms.identities.create(Identity(id=id, addresses={"sms": [f"{id} old"]}, data=theirs))
    await rooms.delete(id)
    await rooms.create(id, data=theirs)
    for name in ("first", "last"):
        await rooms.events.append(id, event(id, name, content="theirs"))
    for name in ("old", "new"):
        await rooms.bindings.upsert(id, Binding(channel_id=name, metadata=theirs))
        await rooms.participants.upsert(id, RoomParticipant(id=name, data=theirs))
        await rooms.tasks.create(id, Task(id=f"{id} {name}", status="theirs"))
        await rooms.observations.create(id, Observation(id=f"{id} {name}", data=theirs))


async def renew_empty(store: Any, id: str) -> None:
    await store.rooms.delete(id)
    await store.rooms.create(id, data={"by": "theirs"})
    await store.rooms.identities.delete(id)
    await store.rooms.identities.create(Identity(id=id, data={"by": "theirs"}))


async def delete_room(store: Any, id: str) -> None:
    await store.rooms.delete(id)


async def make_events_anew(store: Any, id: str) -> None:
    """Delete and append again what the verbs change, and append what takes their key."""
    rooms = store.rooms
    for name in ("first", "new"):
        if await rooms.events.delete(id, f"{id} {name}"):
            await rooms.events.append(id, event(id, name, content="theirs"))
    await rooms.events.append(id, event(id, "theirs", idempotency_key=f"{id} key"))
    await rooms.update(id, metadata={"by": "theirs"}, status="closed")


OTHERS: dict[str, Verb] = {
    other.__name__: other
    for other in (change, delete, make_anew, renew, renew_empty, delete_room, make_events_anew)
}
# The indexes are reserved before the events are stored, which can be seen, and others may act in between.
IN_STEPS = {("import-events", "make_events_anew")}
# It does not know in which room it has replaced the task, and stores it behind the deletion of that one.
MEANS_ANY = {("upsert-task", "delete_room")}
PAIRS = [
    pytest.param(name, other, marks=() if other in ("make_anew", "renew") else pytest.mark.long)
    for name, other in itertools.product(VERBS, OTHERS)
    if (name, other) not in IN_STEPS | MEANS_ANY
]


class Client:
    """Another client of the same data."""

    def __init__(self, store: AsyncMongoStore) -> None:
        self.connection = Connection(store.engine, 20.0)
        self.connection.attach()
        self.rooms = AsyncRooms(self.connection, ChangeFeed(self.connection))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(one) for name, one in sorted(value.items()) if name not in VARYING}
    return [*map(plain, value)] if isinstance(value, list) else value


async def state(store: AsyncMongoStore, id: str) -> Any:
    """Return what is stored of a room, and of the identity of that id."""
    database, found = store.engine.database, dict[str, Any]()
    for name in (
        "rooms",
        "events",
        *PARTS,
        "read_markers",
        "voice_deliveries",
        "identities",
        "identity_addresses",
    ):
        key = {"rooms": "_id", "identities": "_id", "identity_addresses": "identity_id"}.get(name, "room_id")
        documents = [one async for one in database[name].find({key: id, "emptied_at": None})]
        found[name] = sorted((plain(one) for one in documents), key=repr)
    return found


def losing_commits(engine: type, loss: Loss) -> Any:
    """Return what carries out a transaction of an engine, and may lose the answer to its commit."""
    transact: Any = engine.transact  # type: ignore[attr-defined]

    async def lose(self: Any, statements: Any) -> Any:
        token = in_transaction.set(True)
        try:
            result = await transact(self, statements)
        finally:
            in_transaction.reset(token)
        await loss.happen()
        return result

    return lose


async def check_acts_once(
    store: AsyncMongoStore,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Verb,
    verb: Verb,
    act: Verb,
    state: Verb,
) -> None:
    """Lose the answer to each write of a verb in turn, and have another client act before the retry.

    Args:
        store: The store of the verb.
        client: The other client.
        monkeypatch: The fixture.
        prepare: Makes what there is before.
        verb: The verb.
        act: What the other client does.
        state: Returns what there is, which must be as if both had acted once, one after the other.
    """
    orders = {}
    for order, steps in {"before": [verb, act], "behind": [act, verb]}.items():
        await prepare(store, order)
        for step in steps:
            await attempt(step, store, order)
        orders[order] = comparable(await state(store, order), order)
    happened = 0
    for number in range(1, LOST_WRITES + 1):
        id = f"write{number}"
        await prepare(store, id)
        # Otherwise the listing of a room, which its events do not wait for, might be the write that is lost.
        await store.rooms.list(limit=1)
        loss = Loss(number, lambda: attempt(act, client, id), lambda: state(store, id))  # noqa: B023
        await loss.begin()
        with monkeypatch.context() as patch:
            collection = Connection.collection

            def lossy(self: Connection, name: str, collection: Any = collection) -> Any:
                found = collection(self, name)
                is_lossy = self is not client.connection
                return LossyCollection(found, loss, in_transaction) if is_lossy else found  # noqa: B023

            patch.setattr(Connection, "collection", lossy)
            patch.setattr(type(store.engine), "transact", losing_commits(type(store.engine), loss))
            patch.setattr("mongostore.repositories.retry.random.uniform", lambda *_: 0.01)
            await asyncio.create_task(attempt(verb, store, id))
            await store.rooms.list(limit=1)
        if not loss.has_happened:
            break
        happened += 1
        legal = [orders["before"]] if loss.is_visible else [*orders.values()]
        assert comparable(await state(store, id), id) in legal, f"after write {number}"
    assert happened


@pytest.mark.parametrize(("name", "other"), PAIRS)
async def test_a_lost_answer_makes_a_verb_of_rooms_act_once_beside_another_client(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    await check_acts_once(store, Client(store), monkeypatch, prepare, VERBS[name], OTHERS[other], state)


async def do_nothing(store: Any, id: str) -> None:
    """Leave everything as it is."""


@pytest.mark.parametrize("other", [do_nothing, delete_room])
async def test_a_lost_answer_makes_an_append_create_its_room_once(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, other: Verb
) -> None:
    verb = VERBS["append-with-create"]
    await check_acts_once(store, Client(store), monkeypatch, do_nothing, verb, other, state)


async def test_a_room_made_anew_remembers_nothing_of_the_parts_of_the_one_before(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, delete = Client(store), StoreCollection.find_one_and_delete

    async def delete_slowly(self: Any, *arguments: Any, **options: Any) -> Any:
        gone = await delete(self, *arguments, **options)

        async def make_anew() -> None:
            await client.rooms.delete("r")
            await client.rooms.create("r")

        await asyncio.get_running_loop().create_task(make_anew(), context=Context())
        return gone

    await store.rooms.create("r")
    for _ in range(2):
        await store.rooms.bindings.upsert("r", Binding(channel_id="c"))
    monkeypatch.setattr(StoreCollection, "find_one_and_delete", delete_slowly)
    assert await store.rooms.bindings.delete("r", "c")
    room = await store.engine.database["rooms"].find_one({"_id": "r"})
    assert room is not None
    assert room["ops"] == []


async def test_a_deletion_that_is_tried_again_spares_an_identity_made_since(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities, transact = store.rooms.identities, type(store.engine).transact
    await identities.create(Identity(id="i"))
    made = Identity(id="i", data={"by": "theirs"})

    async def lose(engine: Any, statements: Any) -> None:
        await transact(engine, statements)
        monkeypatch.undo()
        await asyncio.create_task(identities.create(made), context=Context())
        raise AutoReconnect("the answer was lost")

    monkeypatch.setattr(type(store.engine), "transact", lose)
    assert await identities.delete("i")
    assert await identities.get("i") == made
