"""In what order rooms are listed and by what they are found, on every engine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any, Unpack

import pytest

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    InvalidDocumentError,
    InvalidValueError,
    Page,
    Room,
    RoomFilter,
    RoomParticipant,
)
from mongostore.codec import to_micros
from mongostore.repositories.rooms import room_log, room_lookup
from mongostore.repositories.rooms.offsets import Offsets
from mongostore.repositories.rooms.room_log import LogHead, RoomLog
from mongostore.repositories.server_clock import ServerClock
from mongostore.repositories.store_collection import StoreCollection
from tests.contract.fixtures import T

MICROSECOND = timedelta(microseconds=1)
SECOND, DAY = 1_000_000, timedelta(days=1)
CREATED: Any = {"order": "created", "newest": False}


async def make(store: AsyncMongoStore, *rooms: tuple[str, int], **members: Any) -> None:
    """Make rooms of these ids, so many microseconds after T."""
    for room_id, micros in rooms:
        await store.rooms.create(room_id, created_at=T + micros * MICROSECOND, **members)


def ids(found: Page[Room] | Sequence[Room]) -> list[str]:
    return [room.id for room in found]


async def id_of(room: Awaitable[Room | None]) -> str | None:
    found = await room
    return found and found.id


METADATA: list[Any] = [
    *(1, 1.0, True, 0, 0.0, -0.0, False, 2, 2.5, 2**62, 2**53, 2**53 + 1, float(2**53)),
    *(2**70, float(2**70), -(2**70), 10**400, math.inf, -math.inf, math.nan),
    *("", "1", "a", "$a", "\0", "half \ud800", None, "x" * 5000),
    *([], [1], [True], ["a"], [["a"]], [None], [{"a": 1}], [math.nan], [2**70]),
    *({}, {"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1.0}, {"$a": 1}, {"a.b": 1}, {"__json__": "1"}),
    *({"": 1}, {"a": None}, {"a": []}, {"a": {"b": [1, "x"]}}, {"a": {"b": ["x", True]}}, {"a": 2**70}),
    *(
        {"a": float(2**70)},
        {"a.b": 1, "c": 2},
        {"c": 2.0},
        [None, "a"],
        [{}],
        [{"$exists": True}, "a"],
        {"$exists": True},
        {str(n): n for n in range(30)},
    ),
]


def same_to_python(one: Any, other: Any) -> bool:
    # What came from elsewhere is never the same NaN, which alone makes lists of one equal.
    return bool(one == other) and "nan" not in repr(one)


async def bind(store: AsyncMongoStore, room_id: str, channel_id: str = "c", **members: Any) -> None:
    await store.rooms.bindings.upsert(room_id, Binding(channel_id=channel_id, **members))


RECIPIENTS: list[tuple[Any, str, bool]] = [
    ("+1", "+1", True),
    (4242, "4242", True),
    (-7, "-7", True),
    (10**30, str(10**30), True),
    (" +1 ", " +1 ", True),
    (" +1 ", "+1", False),
    (4242.0, "4242.0", False),
    (4242.0, "4242", False),
    (True, "True", False),
    (True, "1", False),
    ("", "", False),
    ("  ", "  ", False),
    (None, "None", False),
    (["+1"], "+1", False),
    ({"+1": 1}, "+1", False),
]


class TestRoomLists:
    async def test_rooms_are_listed_by_creation_and_then_by_code_point(self, store: AsyncMongoStore) -> None:
        names = ["-a", "-B", "-Z", "é", "\U0001f600", "\uffff", "10", "9", ""]
        await make(store, ("late", 1), *((name, 0) for name in names), ("early", -1))
        expected = ["early", *sorted(names), "late"]
        assert ids(await store.rooms.list(**CREATED)) == expected
        assert ids([room async for room in store.rooms.iter()]) == expected
        assert await store.rooms.count() == len(expected)

    async def test_pages_over_ties_meet_every_room_once_whatever_comes_and_goes(
        self, store: AsyncMongoStore
    ) -> None:
        await make(store, *((f"r{n:02}", n // 8) for n in range(25)))
        seen: list[str] = []
        cursor = None
        while True:
            page = await store.rooms.list(**CREATED, limit=4, cursor=cursor)
            seen += ids(page)
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.items) == 4
            # Those before the cursor: one is made, one is gone, even the one that the cursor names.
            await make(store, (f"new{len(seen)}", -1))
            await store.rooms.delete(seen[-1])
        assert seen == [f"r{n:02}" for n in range(25)]

    async def test_a_room_made_behind_the_cursor_is_met(self, store: AsyncMongoStore) -> None:
        await make(store, ("a", 0), ("c", 0))
        page = await store.rooms.list(**CREATED, limit=1)
        await make(store, ("b", 0))
        assert ids(await store.rooms.list(**CREATED, cursor=page.next_cursor)) == ["b", "c"]

    async def test_iter_meets_every_room_of_three_pages(self, store: AsyncMongoStore) -> None:
        await make(store, *((f"r{n:03}", 0) for n in range(450)))
        met = []
        async for room in store.rooms.iter():
            met.append(room.id)
            await store.rooms.delete(room.id)
        assert met == [f"r{n:03}" for n in range(450)]

    async def test_a_person_in_more_rooms_than_a_list_can_be_of_is_refused(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await make(store, *((f"r{n}", n) for n in range(4)))
        for n in range(3):
            await bind(store, f"r{n}", participant_id="p")
        monkeypatch.setattr(room_lookup, "MOST_ROOMS", 3)
        assert ids(await store.rooms.list(**CREATED, participant_id="p")) == ["r0", "r1", "r2"]
        await store.rooms.participants.upsert("r3", RoomParticipant(id="p"))
        with pytest.raises(InvalidValueError, match="participant_id: is in more than 3 rooms: iterate"):
            await store.rooms.list(**CREATED, participant_id="p")

    async def test_filters_and_offsets(self, store: AsyncMongoStore) -> None:
        for n in range(12):
            await make(
                store,
                (f"r{n:02}", n),
                status=("active", "paused", "closed")[n % 3],
                organization_id=("o", "p", None)[n // 4],
                metadata={"even": n % 2 == 0},
            )

        async def found(metadata: dict[str, Any] | None = None, **filter: Unpack[RoomFilter]) -> list[int]:
            listed = [
                int(name[1:]) for name in ids(await store.rooms.list(**CREATED, metadata=metadata, **filter))
            ]
            assert await store.rooms.count(metadata=metadata, **filter) == len(listed)
            walk = store.rooms.iter(metadata=metadata, **filter)
            assert ids([room async for room in walk]) == [f"r{n:02}" for n in listed]
            return listed

        async def found_by_offset(offset: int, limit: int = 50, **filter: Unpack[RoomFilter]) -> list[int]:
            cursor = await Offsets.of(store.rooms).find_room_cursor(offset, **filter)
            if cursor is None:
                return []
            page = await store.rooms.list(**CREATED, limit=limit, cursor=cursor, **filter)
            return [int(name[1:]) for name in ids(page)]

        assert await found() == [*range(12)]
        assert await found(status=["paused"]) == [1, 4, 7, 10] == await found(status="paused")
        assert await found(status=("closed", "paused")) == [1, 2, 4, 5, 7, 8, 10, 11]
        assert await found(status=[]) == []
        assert await found(status="unknown") == []
        assert await found(organization_id="p") == [4, 5, 6, 7]
        assert await found(status="active", organization_id="p") == [6]
        assert await found(status=["active", "closed"], organization_id="o") == [0, 2, 3]
        assert await found(status="active", metadata={"even": True}) == [0, 6]
        assert await found_by_offset(10) == [10, 11]
        assert await found_by_offset(2**40) == []
        assert await found_by_offset(1, limit=2, status="paused") == [4, 7]
        assert await Offsets.of(store.rooms).find_room_cursor(0) is None
        page = await store.rooms.list(**CREATED, metadata={"even": False}, limit=3)
        assert ids(page) == ["r01", "r03", "r05"]
        assert ids(await store.rooms.list(**CREATED, metadata={"even": False}, cursor=page.next_cursor)) == [
            "r07",
            "r09",
            "r11",
        ]

    async def test_lists_begin_at_either_end_and_behind_any_room(self, store: AsyncMongoStore) -> None:
        await make(store, *((f"r{n}", n // 2) for n in range(9)))
        names, rooms = [f"r{n}" for n in range(9)], store.rooms
        assert ids([room async for room in rooms.iter(newest=True)]) == names[::-1]
        seen: list[str] = []
        page = await rooms.list(order="created", limit=2)
        while page.next_cursor:
            seen += ids(page)
            page = await rooms.list(order="created", limit=2, cursor=page.next_cursor)
        assert seen + ids(page) == names[::-1]
        cursor = rooms.cursor_of(await rooms.get("r4"), order="created")
        assert ids(await rooms.list(**CREATED, cursor=cursor, limit=2)) == ["r5", "r6"]
        assert ids(await rooms.list(order="created", cursor=cursor, limit=2)) == ["r3", "r2"]
        assert [await rooms.count(limit=limit) for limit in (1, 8, 5000)] == [1, 8, 9]

    async def test_metadata_are_compared_as_python_compares(self, store: AsyncMongoStore) -> None:
        await make(store, ("without", -1))
        for number, value in enumerate(METADATA):
            await make(store, (str(number), number), metadata={"k": value})
        for wanted in METADATA:
            expected = [str(number) for number, value in enumerate(METADATA) if same_to_python(value, wanted)]
            if wanted is None:
                expected = ["without", *expected]
            assert ids(await store.rooms.list(**CREATED, metadata={"k": wanted}, limit=100)) == expected, (
                wanted
            )
            assert await store.rooms.count(metadata={"k": wanted}) == len(expected)

    @pytest.mark.parametrize(
        "key", ["a.b", "$a", "0", "", "\0", "\ud800", "%2E;", "__json__", "a", "é", "_id"]
    )
    async def test_any_key_of_metadata_can_be_asked_for(self, store: AsyncMongoStore, key: str) -> None:
        await make(store, ("r", 0), metadata={key: "v", "other": "w"})
        await make(store, ("s", 0), metadata={"a": {"b": "v"}, "other": ["v"]})
        assert ids(await store.rooms.list(**CREATED, metadata={key: "v", "other": "w"})) == ["r"]
        assert ids(await store.rooms.list(**CREATED, metadata={key: "w"})) == []

    async def test_a_page_of_metadata_goes_on_until_it_is_full(self, store: AsyncMongoStore) -> None:
        # The index finds the lists as well, which are no matches.
        await make(store, *((f"a{n:02}", n) for n in range(30)), metadata={"k": ["v"]})
        await make(store, *((f"b{n}", 50 + n) for n in range(3)), metadata={"k": "v"})
        page = await store.rooms.list(**CREATED, metadata={"k": "v"}, limit=2)
        assert ids(page) == ["b0", "b1"]
        page = await store.rooms.list(**CREATED, metadata={"k": "v"}, limit=2, cursor=page.next_cursor)
        assert (ids(page), page.next_cursor) == (["b2"], None)

    async def test_the_latest_room_is_that_of_a_participant_or_a_correspondent(
        self, store: AsyncMongoStore
    ) -> None:
        await make(store, ("r0", 0), ("r1", 1), ("r2", 2), ("tie-a", 3), ("tie-B", 3))
        await store.rooms.participants.upsert("r0", RoomParticipant(id="p"))
        await bind(store, "r1", participant_id="p", channel_type="sms")
        await bind(store, "r2", participant_id="p", channel_type="email")
        latest = store.rooms.find_by_participant

        async def found(*args: Any, **options: Any) -> Any:
            room = await latest(*args, **options)
            assert room is None or room == await store.rooms.get(room.id)
            return room and room.id

        assert await found("p") == "r2"
        assert await found("p", channel_type="sms") == "r1"
        assert await found("p", channel_type="voice") == "r0"
        assert await found("unknown") is None
        await store.rooms.update("r2", status="closed")
        assert await found("p", status=["active"]) == "r1"
        assert await found("p", status=["closed", "active"]) == "r2"
        assert await found("p", organization_id="o") is None
        for name in ("tie-a", "tie-B"):
            await store.rooms.participants.upsert(name, RoomParticipant(id="p"))
        assert await found("p") == "tie-a"
        await store.rooms.delete("tie-a")
        assert await found("p") == "tie-B"

    async def test_a_room_is_found_by_a_binding_of_that_very_channel(self, store: AsyncMongoStore) -> None:
        await make(store, ("r0", 0), ("r1", 1), ("r2", 2), ("r3", 2))
        await bind(store, "r0", participant_id="+1")
        await bind(store, "r1", participant_id="i")
        await bind(store, "r2", "other", participant_id="+1")
        await bind(store, "r3", participant_id="someone")
        find = store.rooms.find_by_binding
        assert await id_of(find("c", ["+1"])) == "r0"
        assert await id_of(find("c", ["+1", "i"])) == "r1"
        assert await id_of(find("other", ["+1", "i"])) == "r2"
        assert await id_of(find("c", ["unknown"])) is None
        assert await id_of(find("c", [])) is None
        await store.rooms.update("r1", status="closed")
        assert await id_of(find("c", ["+1", "i"], status=["active"])) == "r0"
        await bind(store, "r0", participant_id="moved")
        assert await id_of(find("c", ["+1"])) is None
        await store.rooms.bindings.delete("r0", "c")
        assert await id_of(find("c", ["moved"])) is None

    @pytest.mark.parametrize(("value", "address", "found"), RECIPIENTS)
    async def test_a_recipient_is_a_text_or_an_integer_under_its_key(
        self, store: AsyncMongoStore, value: Any, address: str, found: bool
    ) -> None:
        await make(store, ("old", 0), ("r", 1), ("bound", 2), ("group", 2), ("elsewhere", 2), ("key", 2))
        records = {"to": value}
        await bind(store, "r", metadata=records)
        await bind(store, "bound", participant_id="someone", metadata=records)
        await bind(store, "group", group=True, metadata=records)
        await bind(store, "elsewhere", "other", metadata=records)
        await bind(store, "key", metadata={"from": value, "to.x": value})
        find = store.rooms.find_by_binding
        assert await id_of(find("c", [], recipient=("to", address))) == ("r" if found else None)
        assert await id_of(find("c", ["x"], recipient=("to", address))) == ("r" if found else None)
        # A name is no recipient, nor is a recipient a name.
        assert await id_of(find("c", [address] if address.strip() else ["x"])) is None
        await bind(store, "old", participant_id="i")
        assert await id_of(find("c", ["i"], recipient=("to", address))) == ("r" if found else "old")

    async def test_a_room_is_found_by_a_participant_through_a_channel(self, store: AsyncMongoStore) -> None:
        await make(store, ("r0", 0), ("r1", 1), ("r2", 2), ("tie-a", 3), ("tie-B", 3))
        await store.rooms.participants.upsert("r0", RoomParticipant(id="p", channel_ids=["c", "d"]))
        await store.rooms.participants.upsert(
            "r1", RoomParticipant(id="q", identity_id="i", channel_ids=["c"])
        )
        await bind(store, "r2", participant_id="p")
        find = store.rooms.find_by_route
        assert await id_of(find("c", ["p"])) == "r0"
        assert await id_of(find("d", ["p", "i"])) == "r0"
        assert await id_of(find("c", ["p", "i"])) == "r1"
        assert await id_of(find("c", ["q"])) == "r1"
        assert await id_of(find("d", ["i"])) is None
        assert await id_of(find("c", [])) is None
        await store.rooms.update("r1", status="closed")
        assert await id_of(find("c", ["p", "i"])) == "r1"
        assert await id_of(find("c", ["p", "i"], status=["active"])) == "r0"
        await store.rooms.participants.upsert(
            "r1", RoomParticipant(id="q", identity_id="j", channel_ids=["e"])
        )
        assert await id_of(find("c", ["q", "i", "j"])) is None
        assert await id_of(find("e", ["j"])) == "r1"
        for name in ("tie-a", "tie-B"):
            await store.rooms.participants.upsert(name, RoomParticipant(id="z", channel_ids=["c"]))
        assert await id_of(find("c", ["p", "z"])) == "tie-a"

    async def test_the_rooms_of_a_channel_are_listed_oldest_first(self, store: AsyncMongoStore) -> None:
        await make(store, ("late", 2), ("tie-a", 1), ("tie-B", 1), ("early", 0))
        for name in ("late", "tie-a", "tie-B", "early"):
            await bind(store, name, group=name.startswith("tie"))
        await bind(store, "late", "other")
        by_channel = store.rooms.list_by_channel
        assert ids(await by_channel("c")) == ["early", "tie-B", "tie-a", "late"]
        assert ids(await by_channel("c", limit=2)) == ["early", "tie-B"]
        assert ids(await by_channel("c", group=True)) == ["tie-B", "tie-a"]
        assert ids(await by_channel("c", group=False)) == ["early", "late"]
        assert ids(await by_channel("other")) == ["late"]
        assert ids(await by_channel("unknown")) == []
        await store.rooms.update("early", status="closed")
        await store.rooms.update("late", organization_id="o")
        assert ids(await by_channel("c", group=False, status=["active"])) == ["late"]
        assert ids(await by_channel("c", organization_id="o")) == ["late"]
        assert ids(await by_channel("c", status=["closed", "paused"], limit=1)) == ["early"]
        await store.rooms.bindings.delete("tie-B", "c")
        assert ids(await by_channel("c", group=True)) == ["tie-a"]

    async def test_a_room_behind_many_that_are_not_meant_is_found(self, store: AsyncMongoStore) -> None:
        for n in range(120):
            await make(store, (f"r{n:03}", n), status="closed" if 5 < n < 118 else "active")
            await bind(store, f"r{n:03}", participant_id="p" if n < 118 else None)
            await store.rooms.participants.upsert(f"r{n:03}", RoomParticipant(id="p", channel_ids=["d"]))
        await store.rooms.update("r118", status="closed")
        await store.rooms.update("r119", status="closed")
        assert await id_of(store.rooms.find_by_binding("c", ["p"], status=["active"])) == "r005"
        assert await id_of(store.rooms.find_by_route("d", ["p"], status=["active"])) == "r005"
        latest = await store.rooms.find_by_participant("p", status=["active", "paused"])
        assert latest == await store.rooms.get("r005")
        closed = [f"r{n:03}" for n in range(6, 120)]
        assert ids(await store.rooms.list_by_channel("c", status=["closed"], limit=1000)) == closed
        for newest, expected in ((False, closed), (True, closed[::-1])):
            seen: list[str] = []
            cursor = None
            while len(seen) < len(closed):
                page = await store.rooms.list_by_channel(
                    "c", status="closed", newest=newest, limit=38, cursor=cursor
                )
                seen, cursor = seen + ids(page), page.next_cursor
            assert (seen, cursor) == (expected, None)
        assert ids(await store.rooms.list_by_channel("c", status=["unknown"])) == []

    async def test_a_name_does_not_run_into_another(self, store: AsyncMongoStore) -> None:
        await make(store, ("r", 0))
        await bind(store, "r", metadata={'k", "x': "a", "k": 'b"]'})
        await store.rooms.participants.upsert("r", RoomParticipant(id='p", "q', channel_ids=['c", "d']))
        for recipient in (("k", 'x", "a'), ('k", "x", "a', ""), ("k", "b")):
            assert await id_of(store.rooms.find_by_binding("c", [], recipient=recipient)) is None
        assert await id_of(store.rooms.find_by_binding("c", [], recipient=('k", "x', "a"))) == "r"
        assert await id_of(store.rooms.find_by_route("c", ['d", "p", "q'])) is None
        assert await id_of(store.rooms.find_by_route('c", "d', ['p", "q'])) == "r"

    async def test_a_room_that_cannot_be_read_is_told_of_and_the_others_are_listed(
        self, store: AsyncMongoStore
    ) -> None:
        await make(store, *((name, n) for n, name in enumerate("abcd")))
        await store.engine.database["rooms"].update_one({"_id": "b"}, {"$set": {"event_count": "many"}})
        page = await store.rooms.list(**CREATED, limit=2)
        assert ids(page) == ["a", "c"]
        assert [error.id for error in page.errors] == ["b"]
        assert ids(await store.rooms.list(**CREATED, cursor=page.next_cursor)) == ["d"]
        for name in "abcd":
            await bind(store, name)
        page = await store.rooms.list_by_channel("c", limit=3)
        assert (ids(page), [error.id for error in page.errors]) == (["a", "c"], ["b"])
        assert ids(await store.rooms.list_by_channel("c", cursor=page.next_cursor)) == ["d"]
        errors: list[InvalidDocumentError] = []
        assert ids([room async for room in store.rooms.iter(errors=errors)]) == ["a", "c", "d"]
        assert [error.id for error in errors] == ["b"]
        walk = store.rooms.iter()
        assert (await anext(walk)).id == "a"
        with pytest.raises(InvalidDocumentError):
            await anext(walk)


class TestRoomsByActivity:
    async def test_the_most_recently_active_come_first_and_then_by_id(self, store: AsyncMongoStore) -> None:
        await make(store, ("a", 0), ("b", 1), ("c", SECOND))
        assert ids(await store.rooms.list()) == ["c", "b", "a"], "before the first event, that of creation"
        await store.rooms.events.append("a", Event(channel_id="x"))
        await store.rooms.events.append("b", Event(channel_id="x"), activity=False)
        await store.rooms.events.create("b", Event(channel_id="x"))
        assert ids(await store.rooms.list()) == ["a", "c", "b"]
        assert ids(await store.rooms.list(newest=False)) == ["b", "c", "a"]
        assert [room.event_count for room in await store.rooms.list()] == [1, 0, 1]

    async def test_activities_of_one_second_are_by_id(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = to_micros("", T.replace(microsecond=0) + DAY)
        await make(store, ("a", 0), ("b", 0))
        for room_id, micros, expected in (
            ("b", 0, ["b", "a"]),
            ("a", SECOND - 1, ["b", "a"]),
            ("a", SECOND, ["a", "b"]),
            ("b", SECOND - 1, ["a", "b"]),
            ("b", SECOND + 1, ["b", "a"]),
        ):
            monkeypatch.setattr(ServerClock, "now", lambda clock, at=micros: start + at)
            await store.rooms.events.append(room_id, Event(channel_id="x"))
            assert ids(await store.rooms.list()) == expected, (room_id, micros)

    async def test_a_change_of_the_times_moves_a_room(self, store: AsyncMongoStore) -> None:
        await make(store, ("a", 0), ("b", 0), ("c", 0))
        await store.rooms.events.append("b", Event(channel_id="x"))
        await store.rooms.events.append("c", Event(channel_id="x"))
        await store.rooms.update("c", active_at=T - DAY)
        assert ids(await store.rooms.list()) == ["b", "a", "c"]
        await store.rooms.update("b", active_at=None)
        await store.rooms.replace(Room(id="a", created_at=T - 2 * DAY))
        assert ids(await store.rooms.list()) == ["b", "c", "a"]
        await store.rooms.update("b", status="paused")
        await store.rooms.events.append("a", Event(channel_id="x"))
        await store.rooms.update("a", status="paused")
        assert ids(await store.rooms.list()) == ["a", "b", "c"]

    async def test_what_an_ended_process_left_out_is_made_up_for(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await make(store, ("a", 0), ("b", SECOND))

        def end(log: RoomLog, room_id: str, head: LogHead, seconds: float) -> LogHead:
            return head

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RoomLog, "list_anew", end)
            await store.rooms.events.append("a", Event(channel_id="x"))
        assert ids(await store.rooms.list()) == ["b", "a"]
        monkeypatch.setattr(room_log, "FRESH_SECONDS", 0)
        await store.rooms.events.append("a", Event(channel_id="x"), activity=False)
        assert ids(await store.rooms.list()) == ["a", "b"]

    async def test_lists_and_the_end_wait_until_rooms_are_listed_and_no_commit_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line, update_one = asyncio.Event(), StoreCollection.update_one

        async def update(collection: StoreCollection, where: Any, update: Any, **options: Any) -> Any:
            if "listed_at" in update.get("$max", ()):
                await line.wait()
            return await update_one(collection, where, update, **options)

        monkeypatch.setattr(StoreCollection, "update_one", update)
        await (store := AsyncMongoStore("mongomock://")).open()
        await make(store, ("a", 0), ("b", SECOND))
        await store.rooms.events.append("a", Event(channel_id="x"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.rooms.list(), 0.05)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        line.set()
        await closing

    @pytest.mark.parametrize(
        "filter", [{}, {"status": "open"}, {"organization_id": "o"}, {"metadata": {"k": 1}}]
    )
    async def test_pages_meet_every_room_once(self, store: AsyncMongoStore, filter: Any) -> None:
        members: Any = {"status": "open", "organization_id": "o", "metadata": {"k": 1}}
        await make(store, *((f"r{n:02}", n // 3 * SECOND) for n in range(20)), **members)
        seen, cursor = list[str](), None
        while len(seen) < 20:
            page = await store.rooms.list(limit=7, cursor=cursor, **filter)
            seen += ids(page)
            cursor = page.next_cursor
        assert seen == sorted((f"r{n:02}" for n in range(20)), reverse=True)
        assert cursor is None
        cursor = store.rooms.cursor_of(await store.rooms.get("r12"))
        assert ids(await store.rooms.list(cursor=cursor, limit=2, **filter)) == ["r11", "r10"]
        assert ids(await store.rooms.list(cursor=cursor, limit=2, newest=False, **filter)) == ["r13", "r14"]

    async def test_times_are_those_of_the_order(self, store: AsyncMongoStore) -> None:
        await make(store, ("a", 0), ("b", 0))
        for room_id, micros in (("a", 300_000), ("b", 300_002)):
            await store.rooms.update(room_id, active_at=DAY + T + micros * MICROSECOND)
        middle = DAY + T + 300_001 * MICROSECOND
        assert ids(await store.rooms.list(since=middle)) == ["b"]
        assert ids(await store.rooms.list(until=middle)) == ["a"]
        assert await store.rooms.count(since=middle) == await store.rooms.count(until=middle) == 1
        assert await store.rooms.count(since=middle, until=middle) == 0
        assert ids(await store.rooms.list(**CREATED, until=middle)) == ["a", "b"]

    async def test_rooms_have_names(self, store: AsyncMongoStore) -> None:
        room = await store.rooms.create("r", name="Café Central")
        assert (await store.rooms.get("r")).name == room.name == "Café Central"
        assert ids(await store.rooms.list(text="cafe")) == ["r"]
        assert (await store.rooms.update("r", name="Bar")).name == "Bar"
        assert not await store.rooms.list(text="cafe")
        assert ids(await store.rooms.list(text="bar")) == ["r"]
        with pytest.raises(InvalidValueError, match="name"):
            await store.rooms.update("r", name=1)  # type: ignore[typeddict-item]
