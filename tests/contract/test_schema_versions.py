"""What was stored by other versions of the package, and by other hands beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

from mongostore import (
    AsyncMongoStore,
    Binding,
    Element,
    Event,
    Feedback,
    Message,
    Room,
    RoomParticipant,
    Task,
    Turn,
    UnsupportedError,
    Verification,
)
from mongostore.documents.mapping import SCHEMA_VERSION
from mongostore.repositories.rooms import room_log
from tests.contract.fixtures import T, furnish

# What each version has written: a new version adds a file, and never changes one.
STORED = sorted((Path(__file__).with_name("stored")).glob("version_*.json"))
COLLECTIONS = (
    *("rooms", "events", "bindings", "participants", "identities", "identity_addresses", "verifications"),
    *("verification_requests", "tasks", "observations", "read_markers", "voice_deliveries", "leases"),
    *("sessions", "session_segments", "session_overflows", "session_turns", "session_insights"),
    *("users", "threads", "messages", "elements", "api_keys"),
)
LONG = 150
LATER = {"of_later": {"k": [1]}}

Verb = Callable[[AsyncMongoStore], Awaitable[Any]]


async def fill(store: AsyncMongoStore) -> None:
    """Store one of each kind: what a file of a version is made of."""
    await furnish(store)
    await store.sessions.create("s", user_id="u", name="n", metadata={"k.": 1}, participants=["p"])
    await store.sessions.messages.append_many(
        "s", [Message(id=f"m{n}", role="user", content=f"text {n}") for n in range(LONG)]
    )
    # So large that it is apart from the session.
    await store.sessions.context.set("s", {"reasoning": [{"role": "system", "content": "x" * 70_000}]})
    await store.sessions.turns.append_many("s", "p", [Turn(role="user", content="turn")])
    await store.sessions.turns.integrate("s", lambda *_: [{"insight": 1}])
    await store.sessions.turns.append_many("s", "p", [Turn(role="user", content="new")])
    user = await store.threads.users.upsert("ada", metadata={"k": 1})
    await store.threads.create("t", user_id=user.id, name="n", tags=["x"], data={"k": {"$a": 1}})
    await store.threads.messages.merge("t", "m", only_missing=True, content="hi", data={"k": 1}, created_at=T)
    await store.threads.feedback.upsert("t", Feedback(id="f", message_id="m", value=1))
    await store.threads.elements.upsert("t", Element(id="x", thread_id="t", message_id="m", data={"k": 1}))
    await store.keys.create(name="k", namespaces=["a"])


# Each changes something that `fill` has stored, by its collection.
CHANGES: list[tuple[str, str, Verb]] = [
    ("sessions", "update", lambda s: s.sessions.update("s", name="new")),
    ("sessions", "append", lambda s: s.sessions.messages.append("s", Message(role="user", content="new"))),
    ("sessions", "update_message", lambda s: s.sessions.messages.update("s", "m149", content="new")),
    ("sessions", "delete_message", lambda s: s.sessions.messages.delete("s", "m149")),
    ("sessions", "set_context", lambda s: s.sessions.context.set("s", {"chat": []})),
    ("sessions", "bind", lambda s: s.sessions.participants.ensure("s", "q")),
    (
        "sessions",
        "turns",
        lambda s: s.sessions.turns.append_many("s", "p", [Turn(role="user", content=1)]),
    ),
    ("sessions", "integrate", lambda s: s.sessions.turns.integrate("s", lambda *_: [1])),
    ("sessions", "unbind", lambda s: s.sessions.participants.delete("s", "p")),
    ("sessions", "truncate", lambda s: s.sessions.truncate("s")),
    ("sessions", "delete", lambda s: s.sessions.soft_delete("s")),
    ("sessions", "purge", lambda s: s.sessions.delete("s")),
    ("users", "upsert", lambda s: s.threads.users.upsert("ada", metadata={"k": 2})),
    ("threads", "merge", lambda s: s.threads.merge("t", name="new")),
    ("threads", "new message", lambda s: s.threads.messages.merge("t", "new", content="new")),
    ("threads", "delete", lambda s: s.threads.delete("t")),
    ("messages", "merge", lambda s: s.threads.messages.merge("t", "m", content="new")),
    ("messages", "feedback", lambda s: s.threads.feedback.upsert("t", Feedback(message_id="m", value=0))),
    ("messages", "delete", lambda s: s.threads.messages.delete("t", "m")),
    (
        "elements",
        "upsert",
        lambda s: s.threads.elements.upsert("t", Element(id="x", thread_id="t", message_id="m")),
    ),
    ("rooms", "update", lambda s: s.rooms.update("r", metadata={"k": 1})),
    ("rooms", "replace", lambda s: s.rooms.replace(Room(id="r"))),
    ("rooms", "commit", lambda s: s.rooms.events.append("r", Event(channel_id="c"))),
    ("rooms", "delete", lambda s: s.rooms.delete("r")),
    ("events", "update", lambda s: s.rooms.events.update("r", "e", status="new")),
    ("bindings", "upsert", lambda s: s.rooms.bindings.upsert("r", Binding(channel_id="c"))),
    ("participants", "upsert", lambda s: s.rooms.participants.upsert("r", RoomParticipant(id="p"))),
    ("identities", "link", lambda s: s.rooms.identities.link_address("i", "sms", "2")),
    (
        "verifications",
        "upsert",
        lambda s: s.rooms.verifications.upsert(Verification(identity_id="i", status="y", expires_at=T)),
    ),
    ("tasks", "upsert", lambda s: s.rooms.tasks.upsert("r", Task(id="t"))),
]


async def documents(store: AsyncMongoStore) -> dict[str, Any]:
    database = store.engine.database
    return {name: await database[name].find({}, sort=[("_id", 1)]).to_list() for name in COLLECTIONS}


async def stamp(store: AsyncMongoStore, *collections: str, **members: Any) -> None:
    for name in collections:
        await store.engine.database[name].update_many({}, {"$set": members})


@pytest.mark.parametrize(
    ("collection", "verb"),
    [(one, verb) for one, _, verb in CHANGES],
    ids=[f"{one}-{name}" for one, name, _ in CHANGES],
)
async def test_what_a_newer_version_has_written_is_refused_and_not_damaged(
    store: AsyncMongoStore, collection: str, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was remembered of rooms is read again.
    monkeypatch.setattr(room_log, "FRESH_SECONDS", 0)
    await fill(store)
    await stamp(store, collection, schema_version=SCHEMA_VERSION + 1, **LATER)
    before = await documents(store)
    with pytest.raises(UnsupportedError, match="newer version"):
        await verb(store)
    assert await documents(store) == before


async def test_what_a_newer_version_has_written_is_read(store: AsyncMongoStore) -> None:
    await fill(store)
    await stamp(store, *COLLECTIONS, schema_version=SCHEMA_VERSION + 1, **LATER)
    await read_all(store)


@pytest.mark.parametrize(
    ("collection", "verb"),
    [(one, verb) for one, _, verb in CHANGES],
    ids=[f"{one}-{name}" for one, name, _ in CHANGES],
)
async def test_a_field_of_others_survives_every_change(
    store: AsyncMongoStore, collection: str, verb: Verb
) -> None:
    await fill(store)
    await stamp(store, collection, **LATER)
    before = {
        document["_id"] if not isinstance(document["_id"], dict) else str(document["_id"])
        for document in (await documents(store))[collection]
    }
    await verb(store)
    for document in (await documents(store))[collection]:
        key = str(document["_id"]) if isinstance(document["_id"], dict) else document["_id"]
        # Of a session that was deleted, no more is left than that it was there.
        if key in before and document.get("state") != "deleting":
            assert document["of_later"] == LATER["of_later"]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_what_each_version_has_written_is_read_listed_and_changed(
    store: AsyncMongoStore, path: Path
) -> None:
    for name, documents in json_util.loads(path.read_text()).items():
        if documents:
            await store.engine.database[name].insert_many(documents)
    await read_all(store)
    for _, name, verb in CHANGES:
        if name not in ("delete", "purge", "unbind", "truncate", "delete_message"):
            await verb(store)
    await read_all(store)


def test_there_is_a_file_of_every_version() -> None:
    assert [path.stem for path in STORED] == [f"version_{n}" for n in range(1, SCHEMA_VERSION + 1)]


async def read_all(store: AsyncMongoStore) -> None:
    """Read and list everything that `fill` has stored."""
    session = await store.sessions.get("s")
    assert session.participants[0].id == "p"
    assert session.participants[0].insights[:1] == [{"insight": 1}]
    assert [one.id for one in (await store.sessions.list(user_id="u")).items] == ["s"]
    messages = [message async for message in store.sessions.messages.iter("s")]
    assert [message.id for message in messages[:LONG]] == [f"m{n}" for n in range(LONG)]
    assert messages[0].content == "text 0"
    assert await store.sessions.context.get("s")
    assert (await store.sessions.turns.list("s", "p")).items[0].content == "turn"
    user = await store.threads.users.find_by_identifier("ada")
    assert user is not None
    assert [thread.data for thread in (await store.threads.list(user_id=user.id)).items] == [{"k": {"$a": 1}}]
    assert "m" in [one.id async for one in store.threads.messages.iter("t")]
    assert [one.id async for one in store.threads.elements.iter("t")] == ["x"]
    assert (await store.rooms.get("r")).id == "r"
    assert "e" in [event.id for event in (await store.rooms.events.list("r")).items]
    assert await store.rooms.bindings.find("r", "c")
    assert await store.rooms.participants.find("r", "p")
    assert await store.rooms.identities.get("i")
    assert await store.rooms.tasks.get("r", "t")
    assert [one.id for one in (await store.rooms.observations.list("r")).items] == ["o"]
    assert [key.name for key in (await store.keys.list()).items] == ["k"]
