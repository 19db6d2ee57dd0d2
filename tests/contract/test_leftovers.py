"""Deletions and uploads that were cut short: found by the doctor, mended by it and by a store that opens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from bson import ObjectId

from mongostore import AsyncMongoStore, Binding, Event, Identity, Message, Turn
from mongostore.repositories.leftovers import Leftover
from mongostore.repositories.store_collection import StoreCollection

MESSAGES = 140
LARGE = 1_200_000
OLD = ObjectId.from_datetime(datetime.now(UTC) - timedelta(days=2))
FOREIGN: Mapping[str, list[dict[str, Any]]] = {
    "sessions": [{"_id": "theirs", "state": "being written"}],
    "session_segments": [{"_id": "theirs"}, {"_id": 7, "session": 7, "epoch": None}],
    "session_overflows": [{"_id": "theirs", "session": ["x"]}],
    "read_markers": [{"_id": "theirs", "room_id": "theirs"}, {"_id": 7, "room_id": 7, "epoch": "theirs"}],
    "identity_addresses": [{"_id": "theirs", "identity_id": "theirs"}, {"_id": {"o": ""}, "identity_id": 7}],
    "files.chunks": [{"_id": OLD, "files_id": ObjectId(), "n": 0, "data": b"x"}],
}


async def filled(store: AsyncMongoStore) -> dict[str, int]:
    """Fill sessions with segments and large values, a room and a file; return the counts of documents."""
    for session_id in ("kept", "cut"):
        await store.sessions.create(session_id)
        for number in range(MESSAGES):
            content = "x" * (LARGE if number == 9 else 10)
            message = Message(id=f"m{number}", role="user", content=content)
            await store.sessions.messages.append(session_id, message)
    for room_id in ("kept", "cut"):
        await store.rooms.create(room_id)
        await store.rooms.events.create(room_id, Event(channel_id="c", type="message"))
        await store.rooms.bindings.upsert(room_id, Binding(channel_id="c"))
        await store.rooms.read_markers.advance(room_id, "c")
    for thread_id in ("kept", "cut"):
        await store.threads.create(thread_id)
        await store.threads.messages.merge(thread_id, "m" + thread_id, content="x")
    for identity_id in ("kept", "cut"):
        await store.rooms.identities.create(Identity(id=identity_id, addresses={"sms": [identity_id]}))
    await store.threads.files.upload("kept", b"x" * 300_000)
    return await counts(store)


async def counts(store: AsyncMongoStore) -> dict[str, int]:
    # What is left of deleted events is empty, and expires.
    events = await store.engine.collection("events").count_documents({"emptied_at": None})
    # One that has just been created leaves a tombstone.
    sessions = await store.engine.collection("sessions").count_documents({"session_id": {"$gt": ""}})
    usages = {usage.collection: usage.documents for usage in await store.usage()}
    return usages | {"events": events, "sessions": sessions}


async def cut_short(store: AsyncMongoStore, house: str) -> None:
    """Leave a head as a deletion leaves it that is killed after its first write."""
    key = "default/cut" if house == "sessions" else "cut"
    state = "deleted" if house == "threads" else "deleting"
    await store.engine.collection(house).update_one({"_id": key}, {"$set": {"state": state}})


async def test_unfinished_deletions_are_found_and_finished(store: AsyncMongoStore) -> None:
    await filled(store)
    for house in ("sessions", "rooms", "threads"):
        await cut_short(store, house)
    assert await store.find_leftovers() == [
        Leftover("sessions", "default/cut", "unfinished deletion"),
        Leftover("rooms", "cut", "unfinished deletion"),
        Leftover("threads", "cut", "unfinished deletion"),
    ]
    assert await store.mend_leftovers(grace=0) == 3
    assert await store.find_leftovers() == []
    left = await counts(store)
    assert (left["sessions"], left["rooms"], left["events"], left["messages"]) == (1, 1, 1, 1)
    assert await store.sessions.messages.count("kept") == MESSAGES
    assert [m async for m in store.sessions.messages.iter("kept")][9].content == "x" * LARGE


async def test_opening_finishes_some_deletions(store: AsyncMongoStore, store_uri: str, database: str) -> None:
    await filled(store)
    for house in ("sessions", "rooms", "threads"):
        await cut_short(store, house)
    # An operator's store, that may not write indexes, looks at nothing either.
    async with AsyncMongoStore(store_uri, database, ensure_indexes=False) as other:
        assert len(await other.find_leftovers()) == 3
    async with AsyncMongoStore(store_uri, database, ensure_indexes=True) as other:
        assert await other.find_leftovers() == []
    assert not await store.sessions.exists("cut")
    assert await store.sessions.exists("kept")


async def cut_upload(store: AsyncMongoStore, *, announced: bool) -> str:
    """Leave the chunks of an upload that was killed two days ago, as it has stored them; return its id."""
    files, chunks = (store.engine.collection(name) for name in ("files.files", "files.chunks"))
    await store.threads.files.upload("cut", b"x" * 300_000)
    file = await files.find_one({"filename": "cut"})
    assert file
    await files.delete_one({"_id": file["_id"]})
    upload = ObjectId(OLD.binary[:-1] + bytes([1 + announced]))
    async with chunks.find({"files_id": file["_id"]}) as cursor:
        stored = await cursor.to_list()
    await chunks.delete_many({"files_id": file["_id"]})
    for chunk in stored:
        id = ObjectId(upload.binary[:-2] + bytes([1 + announced, chunk["n"]]))
        await chunks.insert_one({**chunk, "_id": id, "files_id": upload})
    if announced:
        await files.insert_one({"_id": upload, "uploading": "cut", "uploadDate": upload.generation_time})
    return str(upload)


async def test_orphans_are_deleted_and_nothing_else(store: AsyncMongoStore) -> None:
    before = await filled(store)
    for collection, documents in FOREIGN.items():
        await store.engine.collection(collection).insert_many([*documents])
    await store.engine.collection("sessions").delete_one({"_id": "default/cut"})
    await store.engine.collection("identities").delete_one({"_id": "cut"})
    # What comes to a room just behind its deletion, made anew since.
    await store.engine.collection("rooms").delete_one({"_id": "cut"})
    await store.rooms.create("cut")
    await store.rooms.bindings.upsert("cut", Binding(channel_id="new"))
    uploads = [await cut_upload(store, announced=announced) for announced in (False, True)]
    # One whose file is still to come.
    await store.engine.collection("files.chunks").insert_one(
        {"files_id": ObjectId(), "n": 0, "schema_version": 1}
    )
    leftovers = await store.find_leftovers()
    assert {leftover.reason for leftover in leftovers} == {"orphan"}
    assert {Leftover("files.chunks", upload, "orphan") for upload in uploads} <= {*leftovers}
    assert {Leftover(name, "cut", "orphan") for name in ("bindings", "read_markers")} <= {*leftovers}
    assert Leftover("identity_addresses", "cut", "orphan") in leftovers
    assert await store.mend_leftovers(grace=0) == len(leftovers)
    assert await store.find_leftovers() == []
    owner = await store.rooms.identities.find_by_address("sms", "kept")
    assert owner is not None
    await store.rooms.identities.create(Identity(id="new", addresses={"sms": ["cut"]}))
    assert [binding.channel_id for binding in await store.rooms.bindings.list("cut")] == ["new"]
    assert len(await store.rooms.read_markers.list("kept")) == 1
    after = await counts(store)
    foreign = {collection: len(documents) for collection, documents in FOREIGN.items()}
    assert after["files.chunks"] == before["files.chunks"] + foreign["files.chunks"] + 1
    for parts in ("session_segments", "session_overflows"):
        assert after[parts] == before[parts] / 2 + foreign[parts]
    assert len([m async for m in store.sessions.messages.iter("kept")]) == MESSAGES


async def test_large_values_that_nothing_names_are_deleted_and_no_others(store: AsyncMongoStore) -> None:
    sessions, overflows = store.sessions, store.engine.collection("session_overflows")
    await sessions.create("s", participants=["p"])
    large = "x" * LARGE
    for number in range(MESSAGES):
        content = large if number in (9, MESSAGES - 1) else "small"
        await sessions.messages.append("s", Message(id=f"m{number}", role="user", content=content))
    assert (await sessions.describe_storage("s")).in_segments > 9
    await sessions.turns.append_many("s", "p", [Turn(role="user", content=one) for one in ("small", large)])
    await sessions.context.set("s", large)
    named = await overflows.count_documents({})
    assert named == 4
    assert await store.find_leftovers() == []
    # As writers leave them that die before they name what they have stored.
    stored = await overflows.find({}).to_list()
    await overflows.insert_many([{**one, "_id": f"{one['_id']}-left"} for one in stored])
    left = await store.find_leftovers()
    assert sorted(one.id for one in left) == sorted(f"{one['_id']}-left" for one in stored)
    assert await store.mend_leftovers(grace=0) == named
    assert await overflows.count_documents({}) == named
    assert (await sessions.messages.get("s", "m9")).content == large
    assert (await sessions.turns.list("s", "p")).items[1].content == large
    assert await sessions.context.get("s") == large


async def test_part_whose_head_comes_meanwhile_is_no_orphan(store: AsyncMongoStore) -> None:
    await filled(store)
    sessions = store.engine.collection("sessions")
    head = await sessions.find_one({"_id": "default/cut"})
    await sessions.delete_one({"_id": "default/cut"})
    assert head is not None
    assert await store.find_leftovers()
    mending = asyncio.create_task(store.mend_leftovers(grace=1.5))
    await asyncio.sleep(0.5)
    await sessions.insert_one(head)
    assert await mending == 0
    assert len([m async for m in store.sessions.messages.iter("cut")]) == MESSAGES


async def test_the_addresses_of_an_identity_that_is_made_at_that_moment_stay(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"_id": {"t": "sms", "a": "1", "o": ""}, "identity_id": "i"}
    await store.engine.collection("identity_addresses").insert_one(left)
    find_all, identities, looks = StoreCollection.find_all, store.rooms.identities, count(1)

    async def find_late(self: StoreCollection, filter: Any, *arguments: Any, **options: Any) -> Any:
        found = await find_all(self, filter, *arguments, **options)
        # The last of what is looked at, before it is mended.
        if "uploading" in filter and next(looks) == 2:
            made = identities.create(Identity(id="i", addresses={"sms": ["1", "2"]}))
            await asyncio.create_task(made, context=Context())
        return found

    monkeypatch.setattr(StoreCollection, "find_all", find_late)
    await store.mend_leftovers(grace=0)
    for address in ("1", "2"):
        assert await identities.find_by_address("sms", address) is not None
