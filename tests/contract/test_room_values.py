"""What callers give about rooms and events comes back equal, or is refused by the path of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import AsyncMongoStore, DocumentTooLargeError, Room, RoomState
from mongostore.repositories.rooms.offsets import Offsets
from tests.contract.edge_cases import CURSORS, NASTY, NO_IDS, Colour, refused, same
from tests.contract.fixtures import T


class TestRoomValues:
    @pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
    async def test_odd_values_come_back_equal(self, store: AsyncMongoStore, value: Any) -> None:
        await store.rooms.create("r", data={"k": value}, metadata={"k": value})
        await store.rooms.set_private("r", "p", value)
        for room in (
            await store.rooms.get("r"),
            await store.rooms.update("r", data={"k": value}, metadata={"k": value}),
            await store.rooms.replace(Room(id="r", data={"k": value}, metadata={"k": value})),
        ):
            assert same(room.data, {"k": value})
            assert same(room.metadata, {"k": value})
        assert same(await store.rooms.find_private("r", "p"), value)

    async def test_what_would_grow_too_large_is_refused_and_leaves_the_room(
        self, store: AsyncMongoStore
    ) -> None:
        half = "x" * 9_000_000
        room = await store.rooms.create("r", metadata={"half": half})
        for call in (
            store.rooms.create("s", data={"k": half}, metadata={"k": half}),
            store.rooms.update("r", data={"k": half}),
            store.rooms.update("r", metadata={"k": half}, unset=[]),
            store.rooms.set_private("r", "k", half),
            store.rooms.set_private("r", "k", half * 2),
            store.rooms.replace(room.model_copy(update={"data": {"k": half}})),
        ):
            with pytest.raises(DocumentTooLargeError):
                await call
        assert await store.rooms.get("r") == room
        assert await store.rooms.find_private("r", "k") is None

    @pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
    async def test_ids_that_are_no_plain_strings_never_reach_a_query(
        self, store: AsyncMongoStore, bad: Any
    ) -> None:
        rooms = store.rooms
        room = await rooms.create("r", organization_id="o")
        calls: dict[str, list[Any]] = {
            "status": [
                rooms.create("s", status=bad),
                rooms.update("r", status=bad),
                rooms.replace(room.model_copy(update={"status": bad})),
                rooms.replace(room, expected=RoomState(bad, None, None)),
            ],
            "room_id": [
                rooms.get(bad),
                rooms.find(bad),
                rooms.exists(bad),
                rooms.get_full(bad),
                rooms.delete(bad),
                rooms.update(bad, status="closed"),
                rooms.ensure(bad),
                rooms.update(bad, metadata={}, unset=[]),
                rooms.advance_delivered_index(bad, 0),
                rooms.find_private(bad, "k"),
                rooms.set_private(bad, "k", 1),
            ],
        }
        calls["id"] = [rooms.replace(room.model_copy(update={"id": bad}))]
        calls["status"] += [rooms.list(status=[bad]), rooms.count(status=["x", bad])]
        if bad != "x" * 513:
            calls["key"] = [rooms.find_private("r", bad), rooms.set_private("r", bad, 1)]
        calls["where"] = [
            rooms.list(where=bad),
            rooms.count(where=bad),
            anext(rooms.iter(where=bad)),
            rooms.find_by_participant("p", where=bad),
            rooms.find_by_binding("c", ["p"], where=bad),
        ]
        if bad is not None:
            calls["room_id"].append(rooms.create(bad))
            calls["expected"] = [rooms.replace(room, expected=bad)]
            calls["organization_id"] = [
                rooms.update("r", organization_id=bad),
                rooms.list(organization_id=bad),
                rooms.create("s", organization_id=bad),
            ]
        for path, refusing in calls.items():
            assert {error.path for error in await refused(*refusing)} == {path}
        assert [found async for found in rooms.iter()] == [room]

    @pytest.mark.parametrize("bad", ["x", 5, [1], {"$ne": 1}, 1.5, T.replace(tzinfo=None)], ids=str)
    async def test_wrong_shapes_are_refused(self, store: AsyncMongoStore, bad: Any) -> None:
        rooms = store.rooms
        room = await rooms.create("r")
        calls: list[Any] = [
            rooms.create("s", unknown=bad),
            rooms.replace(bad),
            rooms.update("r", unknown=bad),
            rooms.update("r", paused_at=bad),
            rooms.replace(room, expected=RoomState("active", bad, None)),
            rooms.replace(room, expected=RoomState("active", None, bad)),
            rooms.create("s", created_at=bad),
            rooms.advance_delivered_index("r", bad if bad != 5 else True),
            rooms.advance_delivered_index("r", 2**70),
            rooms.advance_delivered_index("r", 0, force=bad),
            rooms.create("s", delivered_index=bad if bad != 5 else -2),
            rooms.create("s", event_count=bad if bad != 5 else 2**70),
            rooms.create("s", latest_index=bad if bad != 5 else -1),
            rooms.update("r", metadata={}, unset=bad),
            Offsets.of(rooms).find_room_cursor(bad if bad != 5 else -1),
            rooms.list(newest=bad),
            rooms.count(limit=bad if bad != 5 else 0),
            rooms.list(limit=bad if bad != 5 else 1001),
        ]
        if not isinstance(bad, dict):
            calls += [
                rooms.update("r", data=bad),
                rooms.update("r", metadata=bad),
                rooms.update("r", metadata=bad, unset=["metadata.k"]),
                rooms.list(metadata=bad),
                rooms.count(metadata=bad),
                anext(rooms.iter(metadata=bad)),
            ]
        if not isinstance(bad, list):
            calls += [rooms.list(status=bad if bad != "x" else "x" * 513), rooms.update("r", unset=[bad])]
        await refused(*calls)
        assert [found async for found in rooms.iter()] == [room]

    async def test_what_is_no_json_is_refused_with_its_path(self, store: AsyncMongoStore) -> None:
        room = await store.rooms.create("r", metadata={"k": 1})
        for value, path in ((object(), ""), ({"a": [b"x"]}, ".a[0]"), ({1: 2}, "")):
            errors = await refused(
                store.rooms.create("s", data={"k": value}),
                store.rooms.update("r", data={"k": value}),
                store.rooms.update("r", metadata={"k": value}),
                store.rooms.update("r", metadata={"k": value}, unset=[]),
                store.rooms.set_private("r", "k", value),
                store.rooms.list(metadata={"k": value}),
            )
            roots = ["data", "data", "metadata", "metadata", "private", "metadata"]
            assert [error.path for error in errors] == [f"{root}.k{path}" for root in roots]
        assert [found async for found in store.rooms.iter()] == [room]

    async def test_nul_is_a_character_as_any_other(self, store: AsyncMongoStore) -> None:
        room = await store.rooms.create("r\0", organization_id="\0", status="\0")
        assert (await store.rooms.list(status=["\0"], organization_id="\0")).items == [room]
        await store.rooms.set_private("r\0", "k\0", 1)
        assert await store.rooms.find_private("r\0", "k\0") == 1

    @pytest.mark.parametrize("bad", CURSORS, ids=range(len(CURSORS)))
    async def test_cursors_of_others_are_refused(self, store: AsyncMongoStore, bad: Any) -> None:
        [error] = await refused(store.rooms.list(cursor=bad))
        assert error.path == "cursor"

    async def test_subclasses_of_plain_values_are_found_as_plain_values(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r", metadata={"colour": Colour.RED})
        for wanted in ("red", Colour.RED):
            assert await store.rooms.count(metadata={"colour": wanted}) == 1
