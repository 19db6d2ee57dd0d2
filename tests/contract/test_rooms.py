"""What rooms promise, on every engine, and what is stored of them."""

from __future__ import annotations

import pytest

from mongostore import AsyncMongoStore, Event, NotFoundError, Room
from mongostore.testing.store import RoomArgumentsSuite, RoomListsSuite, RoomsSuite, RoomValuesSuite
from mongostore.testing.store.room_lists import ids, make
from mongostore.testing.store.rooms import fill
from tests.contract.furnishing import Stored

PARTS = (
    *("events", "bindings", "participants", "tasks", "observations", "read_markers", "voice_deliveries"),
)


async def parts(store: AsyncMongoStore) -> dict[str, int]:
    return {name: await store.engine.database[name].count_documents({}) for name in PARTS}


class TestRooms(RoomsSuite):
    """What rooms promise."""

    async def test_a_deletion_takes_all_that_hangs_on_a_room_and_nothing_else(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_a_deletion_takes_all_that_hangs_on_a_room_and_nothing_else(store)
        assert await parts(store) == dict.fromkeys(PARTS, 1)

    async def test_a_room_created_again_is_empty(self, store: AsyncMongoStore) -> None:
        await super().test_a_room_created_again_is_empty(store)
        # The one event is that of the room that was made last.
        assert await parts(store) == {**dict.fromkeys(PARTS, 0), "events": 1}

    async def test_one_of_many_concurrent_deletes_did_it(self, store: AsyncMongoStore) -> None:
        await super().test_one_of_many_concurrent_deletes_did_it(store)
        assert await parts(store) == dict.fromkeys(PARTS, 0)

    @pytest.mark.parametrize("finish", ["delete", "create"])
    async def test_a_deletion_that_was_cut_short_is_finished(
        self, store: AsyncMongoStore, finish: str
    ) -> None:
        rooms = store.engine.database["rooms"]
        await store.rooms.create(Room(id="r"))
        await fill(store)
        await rooms.update_one({}, {"$set": {"state": "purging", "revised_by": "other"}})
        assert await store.rooms.find("r") is None
        assert await store.rooms.context("r") is None
        assert await store.rooms.count() == 0
        assert await store.rooms.find_latest("p") is None
        assert await store.rooms.list_by_channel("c") == []
        with pytest.raises(NotFoundError):
            await store.events.commit(Event(room_id="r", channel_id="c"))
        if finish == "delete":
            assert not await store.rooms.delete("r")
            assert await rooms.count_documents({}) == 0
        else:
            await store.rooms.create(Room(id="r"))
        assert await parts(store) == dict.fromkeys(PARTS, 0)


class TestRoomLists(RoomListsSuite):
    """By what rooms are found, and in which order."""

    async def test_a_room_that_cannot_be_read_is_told_of_and_the_others_are_listed(
        self, store: AsyncMongoStore
    ) -> None:
        await make(store, *((name, n) for n, name in enumerate("abcd")))
        await store.engine.database["rooms"].update_one({"_id": "b"}, {"$set": {"event_count": "many"}})
        page = await store.rooms.list(limit=2)
        assert ids(page) == ["a", "c"]
        assert [error.id for error in page.errors] == ["b"]
        assert ids(await store.rooms.list(cursor=page.next_cursor)) == ["d"]
        assert ids([room async for room in store.rooms.iter()]) == ["a", "c", "d"]


class TestRoomValues(RoomValuesSuite):
    """What a room takes and refuses."""


class TestRoomArguments(Stored, RoomArgumentsSuite):
    """What is refused about all that hangs on a room."""
