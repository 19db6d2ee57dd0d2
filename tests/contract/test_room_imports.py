"""What an import of rooms needs of the store: the next index, markers by index, and events by the batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import (
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    Event,
    InvalidValueError,
    NotFoundError,
)
from mongostore.repositories.rooms.bulk import EventBatches
from tests.contract.interleaving import run_apart


def events(count: int, *, content: str = "said") -> list[Event]:
    return [
        Event(
            id=f"e{number}",
            index=number * 2,
            channel_id="c",
            content=f"{content} {number}",
            data={"a.b": number},
        )
        for number in range(count)
    ]


async def test_a_room_is_created_with_a_next_index(store: AsyncMongoStore) -> None:
    room = await store.rooms.create("r", latest_index=3, event_count=4, next_index=9)
    assert room.latest_index == 3
    assert (await store.rooms.events.append("r", Event(channel_id="c"))).index == 9
    # It is never below what the other counters say.
    await store.rooms.create("low", latest_index=3, next_index=1)
    assert (await store.rooms.events.append("low", Event(channel_id="c"))).index == 4
    with pytest.raises(InvalidValueError, match="next_index"):
        await store.rooms.create("bad", next_index=-1)


async def test_a_marker_advances_to_an_index_without_an_event(store: AsyncMongoStore) -> None:
    await store.rooms.create("r")
    for number in range(3):
        await store.rooms.events.append("r", Event(id=f"e{number}", channel_id="c"))
    await store.rooms.events.delete("r", "e1")
    assert await store.rooms.read_markers.advance("r", "c", index=1)
    marker = await store.rooms.read_markers.find("r", "c")
    assert marker is not None
    assert marker.index == 1
    assert await store.rooms.read_markers.count_unread("r", "c") == 1
    assert await store.rooms.read_markers.advance("r", "c", index=0)
    assert await store.rooms.read_markers.find("r", "c") == marker
    with pytest.raises(InvalidValueError, match="index"):
        await store.rooms.read_markers.advance("r", "c", "e2", index=1)
    with pytest.raises(InvalidValueError, match="index"):
        await store.rooms.read_markers.advance("r", "c", index=-1)


async def test_events_of_a_batch_are_as_if_created_one_by_one(store: AsyncMongoStore) -> None:
    for room_id in ("one", "many"):
        await store.rooms.create(room_id)
    await EventBatches.of(store.rooms).create_many("many", events(3))
    for event in events(3):
        await store.rooms.events.create("one", event.model_copy(update={"id": f"single-{event.id}"}))
    plain = {"id": "", "room_id": "", "created_at": None}
    many = [event.model_copy(update=plain) async for event in store.rooms.events.iter("many")]
    one = [event.model_copy(update=plain) async for event in store.rooms.events.iter("one")]
    assert many == one
    for room_id in ("one", "many"):
        assert (await store.rooms.events.append(room_id, Event(channel_id="c"))).index == 5


async def test_a_batch_again_changes_nothing_and_other_content_is_refused(store: AsyncMongoStore) -> None:
    await store.rooms.create("r")
    batches = EventBatches.of(store.rooms)
    stored = [
        event.model_copy(update={"created_at": room.created_at})
        for room in [await store.rooms.get("r")]
        for event in events(3)
    ]
    for _ in range(2):
        await batches.create_many("r", stored)
    with pytest.raises(ConflictError, match="'e0'"):
        await batches.create_many("r", events(1, content="other"))
    assert [event.content async for event in store.rooms.events.iter("r")] == ["said 0", "said 1", "said 2"]


async def test_a_batch_for_no_room_or_with_what_cannot_be_stored_stores_nothing(
    store: AsyncMongoStore,
) -> None:
    with pytest.raises(NotFoundError):
        await EventBatches.of(store.rooms).create_many("gone", events(2))
    await store.rooms.create("r")
    large = Event(id="large", index=9, channel_id="c", content="x" * 17_000_000)
    with pytest.raises(DocumentTooLargeError):
        await EventBatches.of(store.rooms).create_many("r", [*events(1), large])
    assert await store.rooms.events.count("r") == 0
    assert (await store.rooms.events.append("r", Event(channel_id="c"))).index == 0


def act_at_insert(
    monkeypatch: pytest.MonkeyPatch, store: AsyncMongoStore, act: Callable[[Any], Awaitable[object]]
) -> None:
    """Let somebody else act in place of the next insert of a batch, which `act` is given."""
    collection = type(store.engine.database["events"])
    insert = collection.insert_many

    async def call(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(collection, "insert_many", insert)
        return await act(lambda: insert(*arguments, **options))

    monkeypatch.setattr(collection, "insert_many", call)


async def make_anew(store: AsyncMongoStore) -> None:
    async def run() -> None:
        assert await store.rooms.delete("r")
        await store.rooms.create("r")
        await store.rooms.events.append("r", Event(id="own", channel_id="c"))

    await run_apart(run)


async def check_new_life(store: AsyncMongoStore) -> None:
    assert [event.id async for event in store.rooms.events.iter("r")] == ["own"]
    room = await store.rooms.get("r")
    assert (room.event_count, room.latest_index) == (1, 0)


async def test_a_batch_behind_the_deletion_of_its_room_leaves_nothing(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def delete_before(insert: Any) -> Any:
        await make_anew(store)
        return await insert()

    await store.rooms.create("r")
    act_at_insert(monkeypatch, store, delete_before)
    with pytest.raises(NotFoundError):
        await EventBatches.of(store.rooms).create_many("r", events(3))
    await check_new_life(store)


async def test_a_batch_that_is_tried_again_is_not_for_the_room_that_was_made_anew(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose_and_delete(insert: Any) -> Any:
        await make_anew(store)
        raise AutoReconnect("lost")

    await store.rooms.create("r")
    act_at_insert(monkeypatch, store, lose_and_delete)
    with pytest.raises(NotFoundError):
        await EventBatches.of(store.rooms).create_many("r", events(3))
    await check_new_life(store)


@pytest.mark.parametrize("is_made_anew", [True, False])
async def test_a_batch_that_is_stored_behind_the_deletion_is_taken_back_when_it_is_tried_again(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, is_made_anew: bool
) -> None:
    async def delete_and_lose(insert: Any) -> Any:
        if is_made_anew:
            await make_anew(store)
        else:
            await asyncio.create_task(store.rooms.delete("r"), context=Context())
        await insert()
        raise AutoReconnect("lost")

    await store.rooms.create("r")
    act_at_insert(monkeypatch, store, delete_and_lose)
    with pytest.raises(NotFoundError):
        await EventBatches.of(store.rooms).create_many("r", events(3))
    if not is_made_anew:
        await store.rooms.create("r")
        await store.rooms.events.append("r", Event(id="own", channel_id="c"))
    await check_new_life(store)


async def test_a_batch_of_a_deleted_room_is_stored_again_in_the_one_made_anew(store: AsyncMongoStore) -> None:
    batches = EventBatches.of(store.rooms)
    for _ in range(2):
        await store.rooms.create("r")
        await batches.create_many("r", events(3))
        assert [event.id async for event in store.rooms.events.iter("r")] == ["e0", "e1", "e2"]
        assert await store.rooms.delete("r")


async def test_a_batch_again_does_not_give_the_index_of_a_deleted_event(store: AsyncMongoStore) -> None:
    await store.rooms.create("r")
    batches = EventBatches.of(store.rooms)
    await batches.create_many("r", events(2))
    await store.rooms.events.delete("r", "e0")
    with pytest.raises(ConflictError, match="'e0'"):
        await batches.create_many("r", events(1))
    assert [event.id async for event in store.rooms.events.iter("r")] == ["e1"]


async def test_an_event_that_is_deleted_before_its_batch_is_retried_stays_deleted(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def delete_and_lose(insert: Any) -> Any:
        await insert()
        await asyncio.create_task(store.rooms.events.delete("r", "e1"), context=Context())
        raise AutoReconnect("lost")

    await store.rooms.create("r")
    act_at_insert(monkeypatch, store, delete_and_lose)
    await EventBatches.of(store.rooms).create_many("r", events(3))
    assert [event.id async for event in store.rooms.events.iter("r")] == ["e0", "e2"]
