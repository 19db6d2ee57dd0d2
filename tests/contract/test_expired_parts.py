"""From the expiry of a thread or a room on, nothing that belongs to it is found, before it is pruned too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Element,
    Event,
    Feedback,
    Message,
    NotFoundError,
    Observation,
    RoomParticipant,
    Task,
    Turn,
    VoiceDelivery,
)
from tests.contract.command_log import repositories_of, verbs_of

HOUR = timedelta(hours=1)
LetPass = Callable[[timedelta], None]
READS = ("get", "find", "exists", "list", "count", "iter", "summarize", "describe")
# These belong to no conversation, and files to those that name their keys.
OWN = {"threads.users", "threads.files", "rooms.identities", "rooms.verifications"}


async def _all(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


PARTS: dict[str, dict[str, Callable[[Any], Awaitable[Any]]]] = {
    "threads.messages": {
        "describe_document": lambda verbs: verbs.describe_document("x", "m"),
        "get": lambda verbs: verbs.get("x", "m"),
        "find": lambda verbs: verbs.find("x", "m"),
        "find_by_id": lambda verbs: verbs.find_by_id("m"),
        "exists": lambda verbs: verbs.exists("x", "m"),
        "count": lambda verbs: verbs.count("x"),
        "list": lambda verbs: verbs.list("x"),
        "list_pinned": lambda verbs: verbs.list_pinned("u"),
        "iter": lambda verbs: _all(verbs.iter(kind="k")),
    },
    "threads.feedback": {
        "find": lambda verbs: verbs.find("x", "m"),
        "find_by_id": lambda verbs: verbs.find_by_id("f"),
        "list": lambda verbs: verbs.list(),
    },
    "threads.elements": {
        "get": lambda verbs: verbs.get("x", "e"),
        "find": lambda verbs: verbs.find("x", "e"),
        "find_by_id": lambda verbs: verbs.find_by_id("e"),
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
    },
    "rooms.events": {
        "describe_document": lambda verbs: verbs.describe_document("x", "e"),
        "get": lambda verbs: verbs.get("x", "e"),
        "find": lambda verbs: verbs.find("x", "e"),
        "find_by_id": lambda verbs: verbs.find_by_id("e"),
        "find_by_key": lambda verbs: verbs.find_by_key("x", "k"),
        "exists": lambda verbs: verbs.exists("x", "e"),
        "count": lambda verbs: verbs.count("x"),
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
        "summarize_replies": lambda verbs: verbs.summarize_replies("x", ["e"]),
    },
    "rooms.bindings": {
        "get": lambda verbs: verbs.get("x", "c"),
        "find": lambda verbs: verbs.find("x", "c"),
        "exists": lambda verbs: verbs.exists("x", "c"),
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
    },
    "rooms.participants": {
        "get": lambda verbs: verbs.get("x", "p"),
        "find": lambda verbs: verbs.find("x", "p"),
        "exists": lambda verbs: verbs.exists("x", "p"),
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
    },
    "rooms.tasks": {
        "get": lambda verbs: verbs.get("x", "t"),
        "find": lambda verbs: verbs.find("x", "t"),
        "find_by_id": lambda verbs: verbs.find_by_id("t"),
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
    },
    "rooms.observations": {
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
    },
    "rooms.read_markers": {
        "find": lambda verbs: verbs.find("x", "c"),
        "list": lambda verbs: verbs.list("x"),
        "iter": lambda verbs: _all(verbs.iter("x")),
        "count_unread": lambda verbs: verbs.count_unread("x", "c"),
    },
    "rooms.voice_deliveries": {"find": lambda verbs: verbs.find("x", "d")},
}


async def fill(store: AsyncMongoStore) -> None:
    """Store one of each part in a thread and a room that expire in an hour."""
    await store.threads.users.create("user", user_id="u")
    await store.threads.create("x", user_id="u", expires_in=HOUR)
    await store.threads.messages.merge("x", "m", kind="k", content="text", pinned=True)
    await store.threads.messages.merge("x", "plain")
    await store.threads.feedback.upsert("x", Feedback(id="f", message_id="m", value=1))
    await store.threads.elements.upsert("x", Element(id="e", message_id="m"))
    rooms = store.rooms
    await rooms.create("x", expires_in=HOUR)
    await rooms.events.append("x", Event(id="e", channel_id="c", idempotency_key="k"))
    await rooms.read_markers.advance("x", "c")
    await rooms.events.append("x", Event(channel_id="c", parent_event_id="e"))
    await rooms.bindings.upsert("x", Binding(channel_id="c"))
    await rooms.participants.upsert("x", RoomParticipant(id="p"))
    await rooms.tasks.create("x", Task(id="t"))
    await rooms.observations.create("x", Observation(id="o"))
    await rooms.voice_deliveries.claim("x", VoiceDelivery(key="d", content_hash="h", attempt_id="a"))


def _verbs(store: AsyncMongoStore, path: str) -> Any:
    return repositories_of(store)[path]


async def _read(read: Callable[[Any], Awaitable[Any]], verbs: Any) -> Any:
    try:
        return await read(verbs)
    except NotFoundError:
        return None


@pytest.mark.smoke
async def test_parts_of_what_has_expired_are_found_by_no_verb(
    store: AsyncMongoStore, let_pass: LetPass
) -> None:
    await fill(store)
    for path, reads in PARTS.items():
        for name, read in reads.items():
            assert await read(_verbs(store, path)), f"{path}.{name} finds nothing before"
    let_pass(HOUR)
    for path, reads in PARTS.items():
        for name, read in reads.items():
            assert not await _read(read, _verbs(store, path)), f"{path}.{name} finds it"


@pytest.mark.smoke
async def test_parts_of_others_are_found_beside_what_has_expired(
    store: AsyncMongoStore, let_pass: LetPass
) -> None:
    for number in range(5):
        thread, expiry = f"t{number}", {"expires_in": HOUR} if number % 2 else {}
        await store.threads.create(thread, **expiry)
        await store.threads.messages.merge(thread, f"m{number}", kind="k")
        feedback = Feedback(id=f"f{number}", message_id=f"m{number}", value=1)
        await store.threads.feedback.upsert(thread, feedback)
    let_pass(HOUR)
    first = await store.threads.feedback.list(newest=False, limit=2)
    rest = await store.threads.feedback.list(newest=False, limit=2, cursor=first.next_cursor)
    assert [[one.id for one in page] for page in (first, rest)] == [["f0", "f2"], ["f4"]]
    assert [one.id for one in await _all(store.threads.messages.iter(kind="k"))] == ["m0", "m2", "m4"]


def test_each_verb_that_reads_parts_is_asked(store: AsyncMongoStore) -> None:
    found = {
        path: {name for name in verbs_of(type(verbs)) if name.startswith(READS)}
        for path, verbs in repositories_of(store).items()
        if path.startswith(("threads.", "rooms.")) and not path.startswith(tuple(OWN))
    }
    assert {path: names for path, names in found.items() if names} == {
        path: set(reads) for path, reads in PARTS.items()
    }


WRITES: dict[str, Callable[[AsyncMongoStore], Awaitable[Any]]] = {
    "merge": lambda store: store.threads.messages.merge("x", "new", content="late"),
    "delete message": lambda store: store.threads.messages.delete("x", "m"),
    "delete plain message": lambda store: store.threads.messages.delete("x", "plain"),
    "vote": lambda store: store.threads.feedback.upsert("x", Feedback(message_id="m", value=0)),
    "unvote": lambda store: store.threads.feedback.delete("x", "m"),
    "put element": lambda store: store.threads.elements.upsert("x", Element(id="new", message_id="m")),
    "delete element": lambda store: store.threads.elements.delete("x", "e"),
    "append": lambda store: store.rooms.events.append("x", Event(channel_id="c")),
    "delete event": lambda store: store.rooms.events.delete("x", "e", replies=True),
    "delete older event": lambda store: store.rooms.events.delete("x", "e", replies=False),
    "pop": lambda store: store.rooms.events.pop("x", "e", replies=False),
    "bind": lambda store: store.rooms.bindings.upsert("x", Binding(channel_id="new")),
    "add": lambda store: store.rooms.participants.upsert("x", RoomParticipant(id="new")),
    "mark": lambda store: store.rooms.read_markers.advance("x", "c"),
    "claim": lambda store: store.rooms.voice_deliveries.claim("x", VoiceDelivery(key="d", content_hash="h")),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_to_what_has_expired_finds_nothing(
    store: AsyncMongoStore, let_pass: LetPass, name: str
) -> None:
    await fill(store)
    let_pass(HOUR)
    with suppress(NotFoundError):
        assert not await WRITES[name](store)


# These write to one part that their caller names and read no head, which would be a command more for each.
BLIND_WRITES: dict[str, Callable[[AsyncMongoStore], Awaitable[Any]]] = {
    "merge": lambda store: store.threads.messages.merge("x", "m", content="late"),
    "update": lambda store: store.rooms.events.update("x", "e", content="late"),
    "replace": lambda store: store.rooms.events.replace("x", Event(id="e", channel_id="late")),
    "bind": lambda store: store.rooms.bindings.upsert("x", Binding(channel_id="c", metadata={"k": "late"})),
    "unbind": lambda store: store.rooms.bindings.delete("x", "c"),
    "put participant": lambda store: store.rooms.participants.upsert("x", RoomParticipant(id="p")),
    "delete participant": lambda store: store.rooms.participants.delete("x", "p"),
    "put task": lambda store: store.rooms.tasks.upsert("x", Task(id="t", status="late")),
    "delete task": lambda store: store.rooms.tasks.delete("x", "t"),
    "delete observation": lambda store: store.rooms.observations.delete("x", "o"),
    "complete": lambda store: store.rooms.voice_deliveries.complete(
        "x", VoiceDelivery(key="d", content_hash="h", attempt_id="a", outcome={"k": "late"})
    ),
}


async def test_a_write_to_a_part_of_what_has_expired_shows_nothing(
    store: AsyncMongoStore, let_pass: LetPass
) -> None:
    await fill(store)
    let_pass(HOUR)
    for name, write in BLIND_WRITES.items():
        assert await write(store) is not False, name
    for path, reads in PARTS.items():
        for name, read in reads.items():
            assert not await _read(read, _verbs(store, path)), f"{path}.{name} finds it"
    await store.retention.prune()
    for name in ("threads", "messages", "rooms", "bindings", "participants", "tasks", "observations"):
        left = await store.engine.collection(name).count_documents({"state": {"$nin": ["deleted"]}})
        assert left == 0, name


NEW_PARTS: dict[str, Callable[[AsyncMongoStore], Awaitable[Any]]] = {
    "create task": lambda store: store.rooms.tasks.create("x", Task(id="late")),
    "upsert task": lambda store: store.rooms.tasks.upsert("x", Task(id="late")),
    "observe": lambda store: store.rooms.observations.create("x", Observation(id="late")),
}


@pytest.mark.parametrize("name", NEW_PARTS)
async def test_parts_of_no_room_outlive_one_that_had_expired(
    store: AsyncMongoStore, let_pass: LetPass, name: str
) -> None:
    await fill(store)
    let_pass(HOUR)
    await NEW_PARTS[name](store)
    await store.retention.prune()
    await store.rooms.create("x")
    rooms = store.rooms
    kind = rooms.observations if name == "observe" else rooms.tasks
    assert [one.id for one in await kind.list("x")] == ["late"]


async def _stream(store: AsyncMongoStore, id: str) -> None:
    async with store.sessions.messages.stream(id) as stream:
        await stream.write("late")


async def _insights(participant: str, turns: Sequence[Turn]) -> list[str]:
    return ["late"]


def _late() -> Message:
    return Message(role="user", content="late")


# Of sessions each verb that writes, but those that begin one.
SESSION_WRITES: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
    "update": lambda s, id: s.update(id, name="late"),
    "truncate": lambda s, id: s.truncate(id),
    "soft_delete": lambda s, id: s.soft_delete(id),
    "undelete": lambda s, id: s.undelete(id),
    "messages.append": lambda s, id: s.messages.append(id, _late()),
    "messages.append_many": lambda s, id: s.messages.append_many(id, [_late()]),
    "messages.update": lambda s, id: s.messages.update(id, f"{id} m", content="late"),
    "messages.replace": lambda s, id: s.messages.replace(id, Message(id=f"{id} m", role="user")),
    "messages.upsert": lambda s, id: s.messages.upsert(id, Message(id=f"{id} m", role="user")),
    "messages.delete": lambda s, id: s.messages.delete(id, f"{id} m"),
    "messages.delete_many": lambda s, id: s.messages.delete_many(id, [f"{id} m"]),
    "messages.pop": lambda s, id: s.messages.pop(id),
    "messages.truncate": lambda s, id: s.messages.truncate(id),
    "messages.replace_newest": lambda s, id: s.messages.replace_newest(id, [f"{id} m"], [_late()]),
    "branches.append_many": lambda s, id: s.branches.append_many(id, [_late()], parent_id=f"{id} m"),
    "context.set": lambda s, id: s.context.set(id, "late"),
    "context.delete": lambda s, id: s.context.delete(id),
    "participants.create": lambda s, id: s.participants.create(id, "late"),
    "participants.ensure": lambda s, id: s.participants.ensure(id, "late"),
    "participants.delete": lambda s, id: s.participants.delete(id, "p"),
    "turns.append": lambda s, id: s.turns.append(id, "p", Turn(role="user", content="late")),
    "turns.append_many": lambda s, id: s.turns.append_many(id, "p", [Turn(role="user", content="late")]),
    "turns.integrate": lambda s, id: s.turns.integrate(id, _insights),
}


@pytest.mark.smoke
async def test_no_verb_writes_to_a_session_that_has_expired(
    store: AsyncMongoStore, let_pass: LetPass
) -> None:
    sessions, ids = store.sessions, [*SESSION_WRITES, "stream"]
    for id in ids:
        await sessions.create(id, expires_in=HOUR, participants=["p"])
        await sessions.messages.append(id, Message(id=f"{id} m", role="user"))
        await sessions.turns.append(id, "p", Turn(role="user"))
        await sessions.context.set(id, "first")
    stored = store.engine.database["sessions"]
    before = {id: await stored.find_one({"session_id": id}) for id in ids}
    let_pass(HOUR)
    for id in ids:
        write = _stream(store, id) if id == "stream" else SESSION_WRITES[id](sessions, id)
        with suppress(NotFoundError):
            assert not await write, id
            assert id != "stream"
        assert await stored.find_one({"session_id": id}) == before[id], id


def test_each_verb_that_writes_to_sessions_is_tried(store: AsyncMongoStore) -> None:
    begin = {"create", "ensure", "delete", "messages.stream"}
    others = ("watch", "cursor_of", "in_namespace", *READS)
    found = {
        f"{path}.{name}".removeprefix("sessions.")
        for path, verbs in repositories_of(store).items()
        if path.startswith("sessions") and path != "sessions.namespaces"
        for name in verbs_of(type(verbs))
        if not name.startswith(others)
    }
    assert found - begin == {*SESSION_WRITES}
