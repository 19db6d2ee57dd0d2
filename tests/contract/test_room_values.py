"""What callers give about rooms and events comes back equal, or is refused by the path of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import AsyncMongoStore, DocumentTooLargeError, Event, EventFilter, Room, RoomFilter, RoomState
from tests.contract.furnishing import T, altered, furnish, rows
from tests.contract.oddities import CURSORS, NASTY, NO_IDS, Colour, refused, same


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
async def test_odd_values_come_back_equal(store: AsyncMongoStore, value: Any) -> None:
    await store.rooms.create(Room(id="r", data={"k": value}, metadata={"k": value}))
    await store.rooms.set_private("r", "p", value)
    for room in (
        await store.rooms.get("r"),
        await store.rooms.update("r", data={"k": value}, metadata={"k": value}),
        await store.rooms.replace(Room(id="r", data={"k": value}, metadata={"k": value})),
    ):
        assert same(room.data, {"k": value})
        assert same(room.metadata, {"k": value})
    assert same(await store.rooms.get_private("r", "p"), value)


async def test_what_would_grow_too_large_is_refused_and_leaves_the_room(store: AsyncMongoStore) -> None:
    half = "x" * 9_000_000
    room = await store.rooms.create(Room(id="r", metadata={"half": half}))
    for call in (
        store.rooms.create(Room(id="s", data={"k": half}, metadata={"k": half})),
        store.rooms.update("r", data={"k": half}),
        store.rooms.merge_metadata("r", {"k": half}),
        store.rooms.set_private("r", "k", half),
        store.rooms.set_private("r", "k", half * 2),
        store.rooms.replace(room.model_copy(update={"data": {"k": half}})),
    ):
        with pytest.raises(DocumentTooLargeError):
            await call
    assert await store.rooms.get("r") == room
    assert await store.rooms.get_private("r", "k") is None


@pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
async def test_ids_that_are_no_plain_strings_never_reach_a_query(store: AsyncMongoStore, bad: Any) -> None:
    rooms = store.rooms
    room = await rooms.create(Room(id="r", organization_id="o"))
    calls: dict[str, list[Any]] = {
        "id": [rooms.create(Room.model_construct(id=bad)), rooms.create(room.model_copy(update={"id": bad}))],
        "status": [
            rooms.create(Room.model_construct(id="s", status=bad)),
            rooms.update("r", status=bad),
            rooms.replace(room.model_copy(update={"status": bad})),
            rooms.replace(room, expected=RoomState(bad, None, None)),
        ],
        "room_id": [
            rooms.get(bad),
            rooms.find(bad),
            rooms.exists(bad),
            rooms.context(bad),
            rooms.delete(bad),
            rooms.update(bad, status="closed"),
            rooms.merge_metadata(bad, {}),
            rooms.replace(room.model_copy(update={"id": bad})),
            rooms.get_delivered_index(bad),
            rooms.advance_delivered_index(bad, 0),
            rooms.get_private(bad, "k"),
            rooms.set_private(bad, "k", 1),
        ],
        "statuses": [rooms.list(where=RoomFilter(statuses=[bad])), rooms.count(where=RoomFilter([bad]))],
    }
    if bad != "x" * 513:
        calls["key"] = [rooms.get_private("r", bad), rooms.set_private("r", bad, 1)]
    if bad is not None:
        calls["where"] = [
            rooms.list(where=bad),
            rooms.count(where=bad),
            anext(rooms.iter(where=bad)),
            rooms.find_latest("p", where=bad),
            rooms.find_by_binding("c", ["p"], where=bad),
        ]
        calls["expected"] = [rooms.replace(room, expected=bad)]
        calls["organization_id"] = [
            rooms.update("r", organization_id=bad),
            rooms.list(where=RoomFilter(organization_id=bad)),
            rooms.create(Room.model_construct(id="s", organization_id=bad)),
        ]
    for path, refusing in calls.items():
        assert {error.path for error in await refused(*refusing)} == {path}
    assert [found async for found in rooms.iter()] == [room]


@pytest.mark.parametrize("bad", ["x", 5, [1], {"$ne": 1}, 1.5, T.replace(tzinfo=None)], ids=str)
async def test_wrong_shapes_are_refused(store: AsyncMongoStore, bad: Any) -> None:
    rooms = store.rooms
    room = await rooms.create(Room(id="r"))
    calls: list[Any] = [
        rooms.create(bad),
        rooms.replace(bad),
        rooms.update("r", unknown=bad),
        rooms.update("r", paused_at=bad),
        rooms.replace(room, expected=RoomState("active", bad, None)),
        rooms.replace(room, expected=RoomState("active", None, bad)),
        rooms.create(Room.model_construct(id="s", created_at=bad)),
        rooms.advance_delivered_index("r", bad if bad != 5 else True),
        rooms.advance_delivered_index("r", 2**70),
        rooms.advance_delivered_index("r", 0, force=bad),
        rooms.create(Room.model_construct(id="s", delivered_index=bad if bad != 5 else -2)),
        rooms.create(Room.model_construct(id="s", event_count=bad if bad != 5 else 2**70)),
        rooms.create(Room.model_construct(id="s", latest_index=bad if bad != 5 else -1)),
        rooms.merge_metadata("r", {}, unset=bad),
        rooms.list(offset=bad if bad != 5 else -1),
        rooms.list(limit=bad if bad != 5 else 1001),
    ]
    if not isinstance(bad, dict):
        calls += [
            rooms.update("r", data=bad),
            rooms.update("r", metadata=bad),
            rooms.merge_metadata("r", bad, unset=["k"]),
            rooms.list(metadata=bad),
            rooms.count(metadata=bad),
            anext(rooms.iter(metadata=bad)),
        ]
    if not isinstance(bad, list):
        calls.append(rooms.list(where=RoomFilter(statuses=bad)))
    await refused(*calls)
    assert [found async for found in rooms.iter()] == [room]


async def test_what_is_no_json_is_refused_with_its_path(store: AsyncMongoStore) -> None:
    room = await store.rooms.create(Room(id="r", metadata={"k": 1}))
    for value, path in ((object(), ""), ({"a": [b"x"]}, ".a[0]"), ({1: 2}, "")):
        errors = await refused(
            store.rooms.create(Room(id="s", data={"k": value})),
            store.rooms.update("r", data={"k": value}),
            store.rooms.update("r", metadata={"k": value}),
            store.rooms.merge_metadata("r", {"k": value}),
            store.rooms.set_private("r", "k", value),
            store.rooms.list(metadata={"k": value}),
        )
        roots = ["data", "data", "metadata", "metadata", "private", "metadata"]
        assert [error.path for error in errors] == [f"{root}.k{path}" for root in roots]
    assert [found async for found in store.rooms.iter()] == [room]


async def test_nul_is_a_character_as_any_other(store: AsyncMongoStore) -> None:
    room = await store.rooms.create(Room(id="r\0", organization_id="\0", status="\0"))
    assert (await store.rooms.list(where=RoomFilter(["\0"], "\0"))).items == [room]
    assert await store.rooms.set_private("r\0", "k\0", 1)
    assert await store.rooms.get_private("r\0", "k\0") == 1


@pytest.mark.parametrize("bad", CURSORS, ids=range(len(CURSORS)))
async def test_cursors_of_others_are_refused(store: AsyncMongoStore, bad: Any) -> None:
    [error] = await refused(store.rooms.list(cursor=bad))
    assert error.path == "cursor"


async def test_subclasses_of_plain_values_are_found_as_plain_values(store: AsyncMongoStore) -> None:
    await store.rooms.create(Room(id="r", metadata={"colour": Colour.RED}))
    for wanted in ("red", Colour.RED):
        assert await store.rooms.count(metadata={"colour": wanted}) == 1


@pytest.mark.parametrize("bad", NO_IDS, ids=range(len(NO_IDS)))
async def test_of_events_bad_arguments_never_reach_a_query(store: AsyncMongoStore, bad: Any) -> None:
    await furnish(store)
    before = await rows(store)
    events, event = store.events, Event(id="n", room_id="r", channel_id="c")
    calls: dict[str, list[Any]] = {
        "room_id": [
            events.commit(altered(event, room_id=bad)),
            events.create(altered(event, room_id=bad)),
            events.create(altered(event, room_id=bad, index=5)),
            events.replace(altered(event, id="e", room_id=bad)),
            events.find_by_key(bad, "k"),
            events.list(bad),
            anext(events.iter(bad)),
            events.count(bad),
            events.count(bad, where=EventFilter()),
            events.threads(bad, ["e"]),
            events.record_delivery(bad, "e", {}),
            events.delete(bad, "e"),
            anext(events.watch(bad)),
        ],
        "event_id": [
            events.get(bad),
            events.find(bad),
            events.update(bad, status="x"),
            events.record_delivery("r", bad, {}),
            events.delete("r", bad),
        ],
        "id": [
            events.commit(altered(event, id=bad)),
            events.create(altered(event, id=bad, index=5)),
            events.replace(altered(event, id=bad)),
            events.commit(event, target=altered(event, id=bad)),
        ],
        "event_ids": [events.threads("r", [bad])],
        "key": [events.find_by_key("r", bad)],
        "types": [events.list("r", where=EventFilter(types=[bad]))],
        "exclude_types": [events.count("r", where=EventFilter(exclude_types=[bad]))],
        "status": [events.update("e", status=bad), events.commit(altered(event, status=bad))],
        "type": [events.commit(altered(event, type=bad))],
    }
    if bad != "x" * 513:
        calls["visibility"] = [
            events.update("e", visibility=bad),
            events.commit(altered(event, visibility=bad)),
        ]
    for name in ("channel_type", "participant_id", "correlation_id", "responds_to", "parent_event_id"):
        if bad is not None:
            calls[name] = [
                events.commit(altered(event, **{name: bad})),
                events.replace(altered(event, id="e", **{name: bad})),
                events.list("r", where=EventFilter(**{name: bad})),
                anext(events.iter("r", where=EventFilter(**{name: bad}))),
            ]
    if bad is not None:
        calls |= {
            "idempotency_key": [events.commit(altered(event, idempotency_key=bad))],
            "target_event_id": [events.commit(altered(event, target_event_id=bad))],
            "change": [events.commit(altered(event, change=bad))],
            "channel_id": [
                events.find_by_key("r", "k", channel_id=bad),
                events.commit(altered(event, channel_id=bad)),
                events.list("r", where=EventFilter(channel_id=bad)),
            ],
            "where": [events.list("r", where=bad), events.count("r", where=bad)],
        }
    for path, refusing in calls.items():
        assert {error.path for error in await refused(*refusing)} == {path}
    assert await rows(store) == before


@pytest.mark.parametrize("bad", ["no", 1.5, [1], {"$gt": 0}, -2, 2**70, T.replace(tzinfo=None)], ids=str)
async def test_of_events_wrong_shapes_are_refused(store: AsyncMongoStore, bad: Any) -> None:
    await furnish(store)
    before = await rows(store)
    events, event = store.events, Event(id="n", room_id="r", channel_id="c")
    calls: dict[str, list[Any]] = {
        "event": [
            events.commit(bad),
            events.create(bad),
            events.replace(bad),
            events.commit(event, target=bad),
        ],
        "limit": [events.list("r", limit=bad)],
        "offset": [events.list("r", offset=bad)],
        "newest": [events.list("r", newest=bad)],
        "before": [events.list("r", before=bad)],
        "after": [events.list("r", after=bad), anext(events.watch("r", after=bad))],
        "index": [events.create(altered(event, index=bad))],
        "blocked": [events.list("r", where=EventFilter(blocked=bad))],
        "top_level": [events.list("r", where=EventFilter(top_level=bad))],
        "created_after": [events.list("r", where=EventFilter(created_after=bad))],
        "created_before": [events.list("r", where=EventFilter(created_before=bad))],
        "created_at": [events.commit(altered(event, created_at=bad))],
        "activity": [events.commit(event, activity=bad)],
        "erase_edits": [events.replace(altered(event, id="e"), erase_edits=bad)],
        "replies": [events.delete("r", "e", replies=bad)],
        "unknown": [events.update("e", unknown=bad)],
    }
    if not isinstance(bad, dict):
        calls |= {
            "data": [events.commit(altered(event, data=bad)), events.update("e", data=bad)],
            "metadata": [events.commit(altered(event, metadata=bad)), events.update("e", metadata=bad)],
            "delivery_results": [events.commit(altered(event, delivery_results=bad))],
            "results": [events.record_delivery("r", "e", bad)],
        }
    if not isinstance(bad, list):
        calls |= {
            "types": [events.list("r", where=EventFilter(types=bad))],
            "event_ids": [events.threads("r", bad)],
        }
    for path, refusing in calls.items():
        assert {error.path for error in await refused(*refusing)} == {path}, path
    await refused(events.update("e"))
    assert await rows(store) == before
