"""What RoomKit's contract says and its own tests leave out, on each engine."""

from __future__ import annotations

import asyncio
import math
import sys
from datetime import timedelta
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    Event,
    Identity,
    InvalidDocumentError,
    Observation,
    RoomParticipant,
    Task,
    UnavailableError,
)

if sys.version_info < (3, 12):
    pytest.skip("RoomKit needs Python 3.12", allow_module_level=True)

from roomkit import RoomKit
from roomkit.models.enums import RoomStatus
from roomkit.models.event import TextContent
from roomkit.models.room import Room
from roomkit.models.store_filter import EventFilter
from roomkit.store.base import ConversationStore

from mongostore.adapters.roomkit import MongoConversationStore, MongoRoomLockManager
from mongostore.testing.roomkit import ConversationStoreSuite
from mongostore.testing.roomkit.parts import NOON, event
from mongostore.testing.roomkit.suite import public

# Two calls of `list_events` each, and nothing that a database is asked for.
INHERITED = {"get_conversation", "get_timeline", "connection"}


class TestConversationStore(ConversationStoreSuite):
    """What RoomKit asks of any store, and what ours says where RoomKit leaves it open."""

    @pytest.fixture
    def rooms(self, store: AsyncMongoStore) -> MongoConversationStore:
        return MongoConversationStore(store=store)

    # In memory each of so many rooms would be looked for among them all.
    @pytest.mark.server
    @pytest.mark.parametrize("store_uri", ["server"], indirect=True)
    async def test_lists_of_rooms_of_any_size(self, rooms: MongoConversationStore) -> None:
        await super().test_lists_of_rooms_of_any_size(rooms)

    async def test_what_is_there_is_an_error_of_ours(self, rooms: MongoConversationStore) -> None:
        held = await rooms.commit_event("r", event(id="e", idempotency_key="k"))
        for refused in (
            rooms.commit_event("r", held),
            rooms.add_event(held.model_copy(update={"index": 9})),
            rooms.add_event_auto_index("r", held),
        ):
            with pytest.raises(AlreadyExistsError) as caught:
                await refused
            assert caught.value.kind == "event"
        with pytest.raises(AlreadyExistsError):
            await rooms.add_event(event(held.index, id="other"))

    async def test_what_others_have_stored_is_left_out_of_lists_and_refused_by_name(
        self, rooms: MongoConversationStore, store: AsyncMongoStore
    ) -> None:
        own, before = await rooms.commit_event("r", event(id="e")), await rooms.list_rooms()
        verbs = store.rooms
        await verbs.create("plain")
        await verbs.create("odd", data={"timers": 5})
        await verbs.events.append("r", Event(id="theirs", channel_id="c"))
        await verbs.bindings.upsert("r", Binding(channel_id="c"))
        await verbs.participants.upsert("r", RoomParticipant(id="p"))
        await verbs.tasks.create("r", Task(id="t"))
        await verbs.observations.create("r", Observation(id="o"))
        await verbs.identities.create(Identity(id="i", data={"display_name": 5}))

        assert [one.id for one in await rooms.list_rooms()] == [*(one.id for one in before), "plain"]
        assert [one.id for one in await rooms.list_events("r")] == [own.id]
        for found in (
            rooms.list_bindings,
            rooms.list_participants,
            rooms.list_tasks,
            rooms.list_observations,
        ):
            assert await found("r") == []
        for read, id in (
            (rooms.get_room("odd"), "odd"),
            (rooms.get_event("theirs"), "theirs"),
            (rooms.get_binding("r", "c"), "c"),
            (rooms.get_participant("r", "p"), "p"),
            (rooms.get_task("t"), "t"),
            (rooms.get_identity("i"), "i"),
        ):
            with pytest.raises(InvalidDocumentError) as caught:
                await read
            assert caught.value.id == id

    async def test_a_list_logs_in_one_line_that_it_left_something_out(
        self, rooms: MongoConversationStore, store: AsyncMongoStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        await rooms.commit_event("r", event())
        for id in ("t", "u", "v"):
            await store.rooms.tasks.create("r", Task(id=id))
        assert await rooms.list_tasks("r") == []
        (record,) = caplog.records
        assert (record.levelname, record.name) == ("WARNING", "mongostore.documents")
        assert record.getMessage() == "passed over task 't', which cannot be read: data; and 2 more"

    async def test_floats_that_are_no_numbers_are_null_as_in_roomkits_own_json(
        self, rooms: MongoConversationStore
    ) -> None:
        await rooms.commit_event("r", event(metadata={"nan": math.nan, "inf": -math.inf, "least": 5e-324}))
        read = await rooms.get_event("e0")
        assert read is not None
        assert read.metadata == {"nan": None, "inf": None, "least": 5e-324}

    async def test_times_without_a_zone_are_in_utc(self, rooms: MongoConversationStore) -> None:
        naive = NOON.replace(tzinfo=None)
        stored = await rooms.commit_event("r", event().model_copy(update={"created_at": naive}))
        read = await rooms.get_event(stored.id)
        assert read is not None
        assert read.created_at == NOON
        tick = timedelta(microseconds=1)
        for where in (
            EventFilter(after_time=naive - tick, before_time=naive + tick),
            EventFilter(after_time=NOON - tick, before_time=NOON + tick),
        ):
            assert await rooms.list_events("r", event_filter=where) == [read]
        assert await rooms.list_events("r", event_filter=EventFilter(after_time=naive)) == []
        room = Room(id="naive", status=RoomStatus.PAUSED, created_at=NOON)
        room.paused_at = room.timers.last_activity_at = naive
        await rooms.create_room(room)
        moved = await rooms.update_room_if(
            room, status=RoomStatus.PAUSED, paused_at=naive, last_activity_at=naive
        )
        assert moved is not None
        assert moved.paused_at == NOON

    async def test_an_offset_passes_over_rooms_that_metadata_find(
        self, rooms: MongoConversationStore
    ) -> None:
        for n in range(12):
            await rooms.create_room(Room(id=f"n{n:02}", metadata={"even": n % 2 == 0, "tags": [n % 3]}))
        found = await rooms.find_rooms(metadata_filter={"even": False}, offset=2, limit=3)
        assert [room.id for room in found] == ["n05", "n07", "n09"]
        found = await rooms.find_rooms(metadata_filter={"even": False, "tags": [0]}, offset=1)
        assert [room.id for room in found] == ["n09"]
        assert await rooms.find_rooms(metadata_filter={"even": False}, offset=6) == []

    async def test_half_a_character_comes_back(self, rooms: MongoConversationStore) -> None:
        sent = event(content=TextContent(body="\ud800"), metadata={"text": "\udfff"})
        await rooms.commit_event("r", sent)
        assert await rooms.get_event("e0") == sent

    async def test_what_an_update_returns_belongs_to_the_caller(self, rooms: MongoConversationStore) -> None:
        metadata: dict[str, Any] = {"list": [1]}
        room = Room(id="other", metadata=metadata, event_count=7, latest_index=6)
        updated = await rooms.update_room(await rooms.create_room(room))
        metadata["list"].append(2)
        assert updated.metadata == {"list": [1]}
        assert await rooms.get_room("other") == updated


def test_every_method_of_the_interface_is_ours_or_knowingly_inherited() -> None:
    ours = {
        name
        for name in public(MongoConversationStore)
        if getattr(MongoConversationStore, name) is not getattr(ConversationStore, name, None)
    }
    assert public(ConversationStore) - ours == INHERITED


def test_the_store_says_that_processes_share_it(caplog: pytest.LogCaptureFixture) -> None:
    assert not MongoConversationStore.is_process_local
    RoomKit(store=MongoConversationStore(), lock_manager=MongoRoomLockManager())
    assert not caplog.records


async def test_objects_on_one_database_share_a_client_until_the_last_one_leaves(
    store_uri: str, database: str, open_stores: set[AsyncMongoStore]
) -> None:
    rooms = MongoConversationStore(store_uri, database)
    locks = MongoRoomLockManager(store_uri, database)
    assert len(open_stores) == 0
    await rooms.create_room(Room(id="r"))
    async with locks.locked("r"):
        assert len(open_stores) == 1
    await rooms.close()
    await rooms.close()
    assert len(open_stores) == 1
    async with locks.locked("r"):
        pass
    await locks.close()
    assert len(open_stores) == 0
    async with MongoConversationStore(store_uri, database) as again:
        assert len(open_stores) == 1
        if not store_uri.startswith("mongomock"):
            assert await again.room_exists("r")
    assert len(open_stores) == 0


async def test_a_closed_store_connects_again_when_it_is_used(store_uri: str, database: str) -> None:
    rooms = MongoConversationStore(store_uri, database)
    await rooms.close()
    await rooms.init()
    await rooms.close()
    await rooms.create_room(Room(id="r"))
    assert await rooms.room_exists("r")
    await rooms.close()


async def test_a_given_store_stays_open(store: AsyncMongoStore) -> None:
    async with MongoConversationStore(store=store) as rooms:
        await rooms.create_room(Room(id="r"))
    assert await store.rooms.exists("r")


@pytest.mark.server
def test_one_object_serves_one_event_loop_after_the_other(server_uri: str, database: str) -> None:
    rooms = MongoConversationStore(server_uri, database)
    locks = MongoRoomLockManager(server_uri, database)

    async def write(room_id: str) -> list[str]:
        async with locks.locked("r"):
            await rooms.create_room(Room(id=room_id))
            found = [room.id for room in await rooms.list_rooms()]
        await rooms.close()
        await locks.close()
        return found

    assert asyncio.run(write("a")) == ["a"]
    assert asyncio.run(write("b")) == ["a", "b"]


async def test_a_server_that_is_not_there_is_said_so() -> None:
    rooms = MongoConversationStore("mongodb://127.0.0.1:1/", "d")
    with pytest.raises(UnavailableError):
        await rooms.get_room("r")
    await rooms.close()
