"""What has expired is not found, in every house; `expires_at` is set, moved and taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    InvalidValueError,
    Message,
    NotFoundError,
    RoomParticipant,
)

HOUR = timedelta(hours=1)
LetPass = Callable[[timedelta], None]
HOUSES = ("sessions", "threads", "rooms")


@pytest.fixture(params=HOUSES)
def house(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass
class Found:
    """What a verb that reads finds of a head: None, False, 0 or nothing if it is not there."""

    name: str
    read: Callable[[AsyncMongoStore], Awaitable[Any]]


async def _ids(found: Any) -> list[str]:
    return [one.id async for one in found]


def finders(house: str) -> list[Found]:
    """Return each verb that finds or counts heads of a house."""

    def of(name: str, read: Callable[[Any], Awaitable[Any]]) -> Found:
        return Found(name, lambda store: read(getattr(store, house)))

    async def listed(verbs: Any, **options: Any) -> list[str]:
        return [one.id for one in await verbs.list(**options)]

    return [
        of("find", lambda verbs: verbs.find("x")),
        of("exists", lambda verbs: verbs.exists("x")),
        of("count", lambda verbs: verbs.count()),
        of("count at most", lambda verbs: verbs.count(limit=1)),
        of("list", listed),
        of("list newest", lambda verbs: listed(verbs, newest=True)),
        of("list oldest", lambda verbs: listed(verbs, newest=False)),
        of("iter", lambda verbs: _ids(verbs.iter())),
    ]


def writers(house: str) -> dict[str, Callable[[AsyncMongoStore], Awaitable[Any]]]:
    """Return each verb that changes a head or adds to it, and finds none if there is none."""
    message, event = Message(role="user", content="x"), Event(channel_id="c")
    return {
        "sessions": {
            "get": lambda store: store.sessions.get("x"),
            "update": lambda store: store.sessions.update("x", name="y"),
            "truncate": lambda store: store.sessions.truncate("x"),
            "undelete": lambda store: store.sessions.undelete("x"),
            "append": lambda store: store.sessions.messages.append("x", message),
            "append many": lambda store: store.sessions.messages.append_many("x", [message]),
            "list messages": lambda store: store.sessions.messages.list("x"),
            "count messages": lambda store: store.sessions.messages.count("x"),
            "set context": lambda store: store.sessions.context.set("x", 1),
            "bind": lambda store: store.sessions.participants.ensure("x", "p"),
            "describe storage": lambda store: store.sessions.describe_storage("x"),
        },
        "threads": {
            "get": lambda store: store.threads.get("x"),
            "update": lambda store: store.threads.update("x", name="y"),
            "merge": lambda store: store.threads.merge("x", name="y"),
            "merge message": lambda store: store.threads.messages.merge("x", "m", content="y"),
        },
        "rooms": {
            "get": lambda store: store.rooms.get("x"),
            "get full": lambda store: store.rooms.get_full("x"),
            "update": lambda store: store.rooms.update("x", status="y"),
            "append": lambda store: store.rooms.events.append("x", event),
            "create event": lambda store: store.rooms.events.create("x", event),
            "bind": lambda store: store.rooms.bindings.upsert("x", Binding(channel_id="d")),
            "add": lambda store: store.rooms.participants.upsert("x", RoomParticipant(id="q")),
        },
    }[house]


@pytest.mark.smoke
async def test_expired_head_is_found_by_no_verb(
    store: AsyncMongoStore, let_pass: LetPass, house: str
) -> None:
    await getattr(store, house).create("x", expires_in=HOUR)
    for found in finders(house):
        assert await found.read(store), found.name
    let_pass(HOUR)
    for found in finders(house):
        assert not await found.read(store), found.name
    assert not await getattr(store, house).delete("x")


@pytest.mark.smoke
async def test_expired_head_is_written_to_by_no_verb(
    store: AsyncMongoStore, let_pass: LetPass, house: str
) -> None:
    await getattr(store, house).create("x", expires_in=HOUR)
    if house == "rooms":
        # The end of the log is remembered by the process from now on.
        await store.rooms.events.append("x", Event(channel_id="c"))
    let_pass(HOUR)
    for name, write in writers(house).items():
        with pytest.raises(NotFoundError):
            pytest.fail(f"{house}: {name} found it and returned {await write(store)}")


async def test_expired_room_is_found_by_no_part(store: AsyncMongoStore, let_pass: LetPass) -> None:
    await store.rooms.create("x", expires_in=HOUR)
    await store.rooms.bindings.upsert("x", Binding(channel_id="c", participant_id="p"))
    await store.rooms.participants.upsert("x", RoomParticipant(id="p", channel_ids=["c"]))
    ways = [
        lambda: store.rooms.find_by_binding("c", ["p"]),
        lambda: store.rooms.find_by_route("c", ["p"]),
        lambda: store.rooms.find_by_participant("p"),
    ]
    assert [bool(await way()) for way in ways] == [True] * 3
    assert len(await store.rooms.list_by_channel("c")) == 1
    let_pass(HOUR)
    assert [await way() for way in ways] == [None] * 3
    assert len(await store.rooms.list_by_channel("c")) == 0


@pytest.mark.parametrize("house", ["sessions", "rooms"])
async def test_create_after_expiry_makes_a_new_head(
    store: AsyncMongoStore, let_pass: LetPass, house: str
) -> None:
    verbs: Any = getattr(store, house)
    await verbs.create("x", metadata={"k": "old"}, expires_in=HOUR)
    let_pass(HOUR)
    created = await verbs.create("x")
    assert (created.metadata, created.expires_at) == ({}, None)
    assert await verbs.get("x") == created


async def test_append_after_expiry_begins_a_new_session(store: AsyncMongoStore, let_pass: LetPass) -> None:
    await store.sessions.create("x", expires_in=HOUR)
    await store.sessions.messages.append("x", Message(role="user", content="old"))
    let_pass(HOUR)
    await store.sessions.messages.append("x", Message(role="user", content="new"), create=True)
    assert [message.content for message in await store.sessions.messages.list("x")] == ["new"]


async def test_expired_thread_stays_gone_until_something_later_begins_it(
    store: AsyncMongoStore, let_pass: LetPass
) -> None:
    began = datetime.now(UTC)
    await store.threads.create("x", expires_in=HOUR)
    await store.threads.messages.merge("x", "old", content="old")
    let_pass(HOUR)
    with pytest.raises(NotFoundError):
        await store.threads.merge("x", name="y", begun_at=began)
    await store.threads.merge("x", name="y", begun_at=datetime.now(UTC) + HOUR)
    assert (await store.threads.get("x")).expires_at is None
    assert len(await store.threads.messages.list("x")) == 0


@pytest.mark.parametrize("house", ["sessions", "rooms"])
async def test_ensure_after_expiry_makes_a_new_head(
    store: AsyncMongoStore, let_pass: LetPass, house: str
) -> None:
    verbs: Any = getattr(store, house)
    await verbs.create("x", metadata={"k": "old"}, expires_in=HOUR)
    let_pass(HOUR)
    assert (await verbs.ensure("x", metadata={"k": "new"})).metadata == {"k": "new"}


@pytest.mark.smoke
async def test_update_moves_expiry_and_takes_it_back(
    store: AsyncMongoStore, let_pass: LetPass, house: str
) -> None:
    verbs: Any = getattr(store, house)
    at = datetime(2200, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert (await verbs.create("x", expires_at=at)).expires_at == at
    assert (await verbs.get("x")).expires_at == at
    assert (await verbs.update("x", expires_at=at - HOUR)).expires_at == at - HOUR
    left = (await verbs.update("x", expires_in=HOUR)).expires_at - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= HOUR
    assert (await verbs.update("x", metadata={"k": 1})).expires_at is not None
    assert (await verbs.update("x", expires_at=None)).expires_at is None
    let_pass(2 * HOUR)
    assert await verbs.exists("x")


async def test_replaced_room_keeps_its_expiry(store: AsyncMongoStore) -> None:
    room = await store.rooms.create("x", expires_in=HOUR)
    await store.rooms.replace(room.model_copy(update={"expires_at": None, "status": "y"}))
    assert (await store.rooms.get("x")).expires_at == room.expires_at


async def test_expiry_set_elsewhere_ends_the_log_of_a_room(store: AsyncMongoStore, let_pass: LetPass) -> None:
    await store.rooms.create("x")
    await store.rooms.events.append("x", Event(channel_id="c"))
    async with AsyncMongoStore(store.address, store.engine.database.name) as elsewhere:
        await elsewhere.rooms.update("x", expires_in=HOUR)
    let_pass(HOUR)
    with pytest.raises(NotFoundError):
        await store.rooms.events.append("x", Event(channel_id="c"))


@pytest.mark.parametrize(
    "expiry",
    [
        {"expires_in": timedelta(0)},
        {"expires_in": -HOUR},
        {"expires_in": 60},
        {"expires_in": None},
        {"expires_in": timedelta.max},
        {"expires_in": HOUR, "expires_at": datetime(2200, 1, 1, tzinfo=UTC)},
        {"expires_at": datetime(2200, 1, 1)},
        {"expires_at": "2200-01-01"},
    ],
    ids=str,
)
async def test_expiry_that_is_no_time_is_refused(
    store: AsyncMongoStore, house: str, expiry: dict[str, Any]
) -> None:
    verbs: Any = getattr(store, house)
    with pytest.raises(InvalidValueError):
        await verbs.create("x", **expiry)
    await verbs.create("x")
    with pytest.raises(InvalidValueError):
        await verbs.update("x", **expiry)
    assert (await verbs.get("x")).expires_at is None
