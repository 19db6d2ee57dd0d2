"""Who deletes beside others is told whether it was there; who creates beside deletions succeeds."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AsyncMongoStore, ConflictError, Event, Message, NotFoundError
from mongostore.repositories.sessions.overflows import Overflows
from tests.contract.interleaving import run_apart
from tests.contract.test_injection import EVERY_VERB, Names, furnish

N = Names("x")
OF_SESSION, OF_ROOM, OF_THREAD = (
    {name: getattr(N, name[:-3])} for name in ("session_id", "room_id", "thread_id")
)
DELETIONS: dict[str, dict[str, Any]] = {
    "sessions.delete": OF_SESSION,
    "sessions.soft_delete": OF_SESSION,
    "sessions.context.delete": OF_SESSION,
    "sessions.messages.delete": {**OF_SESSION, "message_id": N.message},
    "sessions.messages.delete_many": {**OF_SESSION, "message_ids": [N.message]},
    "sessions.participants.delete": {**OF_SESSION, "participant_id": N.participant},
    "rooms.delete": OF_ROOM,
    "rooms.bindings.delete": {**OF_ROOM, "channel_id": N.channel},
    "rooms.events.delete": {**OF_ROOM, "event_id": N.event},
    "rooms.identities.delete": {"identity_id": N.identity},
    "rooms.observations.delete": {**OF_ROOM, "observation_id": N.observation},
    "rooms.participants.delete": {**OF_ROOM, "participant_id": N.person},
    "rooms.tasks.delete": {**OF_ROOM, "task_id": N.task},
    "threads.delete": OF_THREAD,
    "threads.elements.delete": {**OF_THREAD, "element_id": N.element},
    "threads.feedback.delete": {**OF_THREAD, "message_id": N.message},
    "threads.files.delete": {"key": N.file},
    "threads.messages.delete": {**OF_THREAD, "message_id": N.message},
    "threads.users.delete": {},
    "keys.delete": {},
}


def test_every_deletion_is_tried_here() -> None:
    assert {verb for verb in EVERY_VERB if "delete" in verb.rpartition(".")[2].split("_")} - {
        "sessions.undelete"
    } == DELETIONS.keys()


@pytest.mark.smoke
@pytest.mark.parametrize("verb", DELETIONS)
async def test_one_of_parallel_deletions_tells_that_it_was_there(store: AsyncMongoStore, verb: str) -> None:
    await furnish(store, N)
    arguments = dict(DELETIONS[verb])
    if verb == "threads.users.delete":
        arguments["user_id"] = N.user_id
    if verb == "keys.delete":
        arguments["key_id"] = (await store.keys.list()).items[0].id
    delete = attrgetter(verb)(store)
    received = await asyncio.gather(*(delete(**arguments) for _ in range(6)))
    assert sorted(map(int, received)) == [0, 0, 0, 0, 0, 1]
    assert not await delete(**arguments)


# Kept beside what it belongs to.
LARGE = "x" * 1_100_000

CREATING: dict[str, dict[str, Any]] = {
    "rooms.events.append": {"room_id": "x", "event": Event(channel_id="c", content="new")},
    "sessions.branches.append_many": {"session_id": "x", "messages": [Message(role="user", content=LARGE)]},
    "sessions.context.set": {"session_id": "x", "value": LARGE},
    "sessions.messages.append": {"session_id": "x", "message": Message(role="user", content=LARGE)},
    "sessions.messages.append_many": {"session_id": "x", "messages": [Message(role="user", content=LARGE)]},
    "sessions.messages.upsert": {"session_id": "x", "message": Message(role="user", content="new")},
}


def test_every_creating_write_is_tried_here() -> None:
    store = AsyncMongoStore("mongomock://")
    creating = {
        verb
        for verb in EVERY_VERB
        if not {"create", "options"}.isdisjoint(inspect.signature(attrgetter(verb)(store)).parameters)
    }
    # A stream that loses its session says so at its end.
    assert creating - {"sessions.messages.stream"} == CREATING.keys()


OF_ENSURED: dict[str, tuple[dict[str, Any], Callable[[AsyncMongoStore], Awaitable[object]]]] = {
    "sessions.ensure": ({"session_id": "x"}, lambda store: store.sessions.delete("x")),
    "sessions.participants.ensure": (
        {"session_id": "held", "participant_id": "p"},
        lambda store: store.sessions.participants.delete("held", "p"),
    ),
    "rooms.ensure": ({"room_id": "x"}, lambda store: store.rooms.delete("x")),
    "threads.users.ensure": ({"identifier": "x"}, lambda store: delete_user(store)),
    "threads.users.upsert": ({"identifier": "x"}, lambda store: delete_user(store)),
}


async def delete_user(store: AsyncMongoStore) -> None:
    if user := await store.threads.users.find_by_identifier("x"):
        await store.threads.users.delete(user.id)


def test_every_ensuring_verb_is_tried_here() -> None:
    # A thread that was deleted stays so.
    ensuring = {verb for verb in EVERY_VERB if verb.endswith(".ensure")} - {"threads.ensure"}
    assert ensuring <= OF_ENSURED.keys()


@pytest.mark.smoke
@pytest.mark.parametrize("verb", OF_ENSURED)
async def test_what_is_ensured_is_returned_beside_deletions(store: AsyncMongoStore, verb: str) -> None:
    arguments, delete = OF_ENSURED[verb]
    await store.sessions.create("held")

    async def delete_often() -> None:
        for _ in range(60):
            await asyncio.sleep(0)
            await delete(store)

    ensured = [repeat(attrgetter(verb)(store), arguments, ()) for _ in range(4)]
    await asyncio.gather(*ensured, *(delete_often() for _ in range(3)))


@pytest.mark.smoke
@pytest.mark.parametrize("verb", CREATING)
async def test_a_write_that_may_create_succeeds_beside_deletions(store: AsyncMongoStore, verb: str) -> None:
    write, house = attrgetter(verb)(store), getattr(store, verb.partition(".")[0])
    # Who branches off is told that others did so first.
    refused = (ConflictError,) if "branches" in verb else ()
    arguments = {**CREATING[verb], "create": True}
    writers = (repeat(write, arguments, refused) for _ in range(4))
    await asyncio.gather(*writers, *(delete_often(house.delete) for _ in range(3)))
    await house.delete("x")
    await write(**CREATING[verb], create=True)
    assert await house.get("x")
    assert not await store.find_leftovers()
    read: dict[str, Callable[[], Awaitable[Any]]] = {
        "sessions.context.set": lambda: store.sessions.context.get("x"),
        "rooms.events.append": lambda: store.rooms.events.list("x"),
    }
    assert await read.get(verb, lambda: store.sessions.messages.list("x"))()


@pytest.mark.smoke
@pytest.mark.parametrize("verb", ["append", "upsert", "update"])
async def test_a_large_body_is_named_in_no_session_but_its_own(
    store: AsyncMongoStore,
    monkeypatch: pytest.MonkeyPatch,
    let_pass: Callable[[timedelta], None],
    verb: str,
) -> None:
    messages, put = store.sessions.messages, Overflows.put
    small, large = (Message(id="m", role="user", content=content) for content in ("small", LARGE))

    async def delete() -> None:
        # Of a session that has been there for long, no tombstone is left.
        let_pass(timedelta(hours=1))
        await store.sessions.delete("x")
        if verb == "update":
            await messages.append("x", small, create=True)

    async def put_and_delete(self: Overflows, *arguments: Any) -> str:
        overflow = await put(self, *arguments)
        monkeypatch.setattr(Overflows, "put", put)
        await run_apart(delete)
        return overflow

    if verb == "update":
        await messages.append("x", small, create=True)
        monkeypatch.setattr(Overflows, "put", put_and_delete)
        # It has met another session than is there now.
        with pytest.raises(NotFoundError):
            await messages.update("x", "m", content=LARGE)
        assert (await messages.get("x", "m")).content == "small"
    else:
        monkeypatch.setattr(Overflows, "put", put_and_delete)
        await getattr(messages, verb)("x", large, create=True)
        assert (await messages.get("x", "m")).content == LARGE
    assert not await store.find_leftovers()


async def repeat(
    write: Callable[..., Awaitable[object]], arguments: dict[str, Any], refused: tuple[type[Exception], ...]
) -> None:
    for _ in range(15):
        with suppress(*refused):
            await write(**{name: renewed(value) for name, value in arguments.items()})


def renewed(value: Any) -> Any:
    if isinstance(value, list):
        return [renewed(one) for one in value]
    return value.model_copy(update={"id": uuid4().hex}) if isinstance(value, Message | Event) else value


async def delete_often(delete: Callable[[str], Awaitable[bool]]) -> None:
    for _ in range(50):
        await asyncio.sleep(0.005)
        await delete("x")
