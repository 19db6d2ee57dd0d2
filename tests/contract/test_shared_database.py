"""A database that others use as well: what is theirs stays as it is, and disturbs nothing of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import pytest
from bson import DatetimeMS, ObjectId
from pymongo import IndexModel

from mongostore import (
    AsyncMongoStore,
    Binding,
    ConfigurationError,
    Event,
    IndexConflictError,
    InvalidDocumentError,
    Page,
    ReadMarker,
)
from mongostore.documents import COLLECTIONS
from mongostore.index_definitions import load_indexes
from tests.contract.test_injection import CALLS, OURS, Names, furnish, outcome_of

PAST = datetime.now(UTC) - timedelta(days=40)
# The fields by which lists are ordered, and those that say what is alive.
ODD: list[dict[str, Any]] = [
    {},
    dict.fromkeys(("created_at", "active_at", "position", "index", "bound_at", "room_created_at"), "soon"),
    dict.fromkeys(("created_at", "active_at", "position", "index", "bound_at", "room_created_at"), 3.5),
    dict.fromkeys(("created_at", "active_at", "position", "index", "bound_at", "room_created_at"), PAST),
    {"created_at": 4, "active_at": 4, "position": 4, "index": 4, "room_created_at": 4},
]
MANY = 100
KEYS = (ObjectId, lambda: f"theirs-{ObjectId()}", lambda: int(str(ObjectId())[-6:], 16))


def theirs(names: Names) -> list[dict[str, Any]]:
    """Return documents as others may have them, some of them in the way of our lists."""
    way = {"state": "open", "room_id": names.room, "thread_id": names.thread, "organization_id": names.org}
    return [
        {"_id": key(), "title": "theirs", "expires_at": PAST, "when": DatetimeMS(2**52), **odd, **more}
        for key in KEYS
        for odd in ODD
        for more in ({}, way)
    ]


async def read(store: AsyncMongoStore, name: str) -> list[str]:
    """Return all that is theirs in a collection."""
    found = store.engine.database[name].find({"title": "theirs"})
    return sorted([repr(one) async for one in found])


async def seed(store: AsyncMongoStore, names: Names) -> dict[str, list[str]]:
    """Put documents and an index of others into every collection of a store, and return what is theirs."""
    for name in COLLECTIONS:
        collection = store.engine.database[name]
        await collection.create_indexes([IndexModel([("title", 1)], name="theirs")])
        await collection.insert_many([{"files_id": ObjectId(), "n": 0, **one} for one in theirs(names)])
    return {name: await read(store, name) for name in COLLECTIONS}


async def test_what_is_others_stays_and_what_is_ours_works(store: AsyncMongoStore) -> None:
    names = Names("own")
    before = await seed(store, names)
    await furnish(store, names)
    strange: dict[str, Any] = {}
    for path, call in CALLS.items():
        needed, more = call(names)
        ways = [{"newest": True}, {"newest": False}] if "newest" in more else [{}]
        for way in ways:
            arguments = {**needed, **way, **({"limit": 1} if "cursor" in more else {})}
            outcome = await outcome_of(attrgetter(path)(store), arguments)
            pages = 1
            while isinstance(outcome, Page) and outcome.next_cursor and pages < MANY:
                arguments["cursor"] = outcome.next_cursor
                outcome = await outcome_of(attrgetter(path)(store), arguments)
                pages += 1
            if isinstance(outcome, Exception) and not isinstance(outcome, (*OURS, InvalidDocumentError)):
                strange[path] = outcome
            if pages == MANY:
                strange[path] = "does not end"
    assert not strange

    after = {name: await read(store, name) for name in COLLECTIONS}
    assert after == before
    for name in COLLECTIONS:
        assert "theirs" in await store.engine.database[name].index_information()


async def test_events_of_others_hide_no_counters_of_a_room(store: AsyncMongoStore) -> None:
    rooms, foreign = store.rooms, store.engine.database["events"]
    await rooms.create("r")
    await rooms.bindings.upsert("r", Binding(channel_id="c"))
    first, last = [await rooms.events.append("r", Event(channel_id="c")) for _ in range(2)]
    await foreign.insert_many(
        [{"room_id": "r", "index": 10**6 + n, "epoch": epoch} for n, epoch in enumerate((None, 5, {}))]
    )
    await foreign.insert_one({"room_id": "r", "index": 10**7})

    async def check() -> None:
        found = [await rooms.get("r"), (await rooms.get_full("r")).room, await rooms.update("r", data={})]
        found += [*await rooms.list(), *await rooms.list_by_channel("c")]
        assert {(room.event_count, room.latest_index) for room in found} == {(2, last.index)}

    await check()
    assert await rooms.events.delete("r", last.id)
    await check()
    assert await rooms.read_markers.advance("r", "c")
    assert (await rooms.read_markers.find("r", "c")) == ReadMarker("r", "c", first.index or 0)
    assert (await rooms.events.append("r", Event(channel_id="c"))).index == 2


async def test_an_event_of_a_former_room_of_that_id_counts_for_nothing(store: AsyncMongoStore) -> None:
    await store.rooms.create("r")
    counters = {"event_count": 10, "latest_index": 9, "active_at": None}
    # As a process leaves it, without transactions, that was writing while the room was deleted.
    former = {"room_id": "r", "index": 9, "epoch": "former", "counters": counters}
    await store.engine.database["events"].insert_one(former)
    for room in (
        await store.rooms.get("r"),
        (await store.rooms.get_full("r")).room,
        *await store.rooms.list(),
    ):
        assert (room.event_count, room.latest_index) == (0, None)


def test_no_index_of_ours_binds_or_deletes_documents_of_others() -> None:
    loose = [
        index["name"]
        for command in load_indexes()
        for index in command["indexes"]
        if ("unique" in index or "expireAfterSeconds" in index) and "partialFilterExpression" not in index
    ]
    # GridFS itself wants this one, and gives it to every bucket.
    assert loose == ["files_id_1_n_1"]


@pytest.mark.parametrize("collection", ["sessions", "threads", "messages", "rooms", "events", "users"])
async def test_a_unique_index_of_others_is_named_at_once(
    store_uri: str, database: str, collection: str
) -> None:
    async with AsyncMongoStore(store_uri, database) as store:
        await store.engine.database[collection].create_indexes(
            [IndexModel([("slug", 1)], name="their_slugs", unique=True)]
        )
        await store.engine.database[collection].insert_one({"_id": "theirs"})
        with pytest.raises(IndexConflictError, match=rf"{collection}: the unique index their_slugs is not"):
            await furnish(store, Names("own"))


@pytest.mark.server
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"viewOn": "others", "pipeline": []}, "it is a view and no collection"),
        ({"validator": {"slug": {"$exists": True}}}, "a validator of the collection refuses our documents"),
        ({"capped": True, "size": 2**20}, "the collection sessions is capped"),
        ({"collation": {"locale": "en", "strength": 1}}, "the collection sessions has a collation"),
        ({"timeseries": {"timeField": "t"}}, "the collection sessions is a time series"),
    ],
)
async def test_a_collection_of_others_that_cannot_be_used_is_named(
    server_uri: str, database: str, options: dict[str, Any], reason: str
) -> None:
    async with AsyncMongoStore(server_uri, database, ensure_indexes=False) as store:
        await store.engine.database.create_collection("sessions", **options)

    async def use() -> None:
        async with AsyncMongoStore(server_uri, database) as store:
            await store.sessions.create()

    with pytest.raises(ConfigurationError, match=rf"{reason}.*: use another database, or a prefix"):
        await use()


async def test_documents_that_forbid_a_unique_index_are_named_with_it(store_uri: str, database: str) -> None:
    async with AsyncMongoStore(store_uri, database, ensure_indexes=False) as store:
        await store.engine.database["users"].insert_many([{"identifier": "ada"}, {"identifier": "ada"}])
    with pytest.raises(
        IndexConflictError, match=r"users do not fit its unique index user_by_identifier: use"
    ):
        await AsyncMongoStore(store_uri, database).open()
