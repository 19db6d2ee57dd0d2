"""How the events of a room are listed, counted, summed up and watched, on every engine."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    Event,
    EventFilter,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)
from mongostore.repositories.rooms.offsets import Offsets
from tests.contract.fixtures import T

MICROSECOND = timedelta(microseconds=1)

COUNT = 60


def event(n: int) -> Event:
    """Event `n` of a room in which no two members of events go together."""
    return Event(
        id=f"e{n:02}",
        type=("message", "tool", "edit")[n % 3],
        status=("delivered", "blocked", "pending", "read")[n % 4],
        visibility=("all", "internal")[n % 2],
        channel_id=f"c{n % 5}",
        channel_type=("sms", "email", None)[n % 3],
        participant_id=("p", None, "q", None, "p")[n % 5],
        correlation_id=("run", None, None, "walk")[n % 4],
        responds_to="e00" if n % 7 == 3 else None,
        parent_event_id=(None, "e00", "e01")[n % 6 % 3],
        created_at=T + n // 2 * MICROSECOND,
    )


async def stored(store: AsyncMongoStore) -> list[Event]:
    found = [
        event(n).model_copy(update={"index": n, "room_id": "r"}) for n in range(COUNT) if n not in (7, 19, 31)
    ]
    assert [found async for found in store.rooms.events.iter("r", blocked=True)] == found
    return found


FILTERS: dict[str, tuple[EventFilter, Callable[[Any], bool]]] = {
    "nothing": (EventFilter(), lambda e: True),
    "types": (EventFilter(types=["tool", "edit"]), lambda e: e.type in ("tool", "edit")),
    "no types": (EventFilter(types=[]), lambda e: False),
    "exclude_types": (EventFilter(exclude_types=("tool",)), lambda e: e.type != "tool"),
    "types and exclude_types": (
        EventFilter(types=["tool", "edit"], exclude_types=["edit", "message"]),
        lambda e: e.type == "tool",
    ),
    "visibility": (EventFilter(visibility="internal"), lambda e: e.visibility == "internal"),
    "channel_id": (EventFilter(channel_id="c3"), lambda e: e.channel_id == "c3"),
    "channel_type": (EventFilter(channel_type="sms"), lambda e: e.channel_type == "sms"),
    "participant_id": (EventFilter(participant_id="p"), lambda e: e.participant_id == "p"),
    "correlation_id": (EventFilter(correlation_id="run"), lambda e: e.correlation_id == "run"),
    "responds_to": (EventFilter(responds_to="e00"), lambda e: e.responds_to == "e00"),
    "parent_event_id": (EventFilter(parent_event_id="e01"), lambda e: e.parent_event_id == "e01"),
    "top_level": (EventFilter(top_level=True), lambda e: e.parent_event_id is None),
    "top_level reply": (EventFilter(top_level=True, parent_event_id="e01"), lambda e: False),
    "created_after": (
        EventFilter(created_after=T + 9 * MICROSECOND),
        lambda e: e.created_at > T + 9 * MICROSECOND,
    ),
    "created_between": (
        EventFilter(created_after=T, created_before=T + 9 * MICROSECOND),
        lambda e: T < e.created_at < T + 9 * MICROSECOND,
    ),
    "blocked": (EventFilter(blocked=True), lambda e: True),
    "everything": (
        EventFilter(
            types=["message", "tool"],
            exclude_types=["edit"],
            visibility="all",
            channel_type="sms",
            top_level=True,
            created_before=T + 20 * MICROSECOND,
            blocked=True,
        ),
        lambda e: (
            e.type != "edit"
            and e.visibility == "all"
            and e.channel_type == "sms"
            and e.parent_event_id is None
            and e.created_at < T + 20 * MICROSECOND
        ),
    ),
}


def matching(events: Sequence[Event], name: str) -> list[Event]:
    filter, matches = FILTERS[name]
    return [
        found for found in events if matches(found) and (filter.get("blocked") or found.status != "blocked")
    ]


def taking(events: AsyncIterator[Event], count: int) -> asyncio.Task[list[Event]]:
    async def take() -> list[Event]:
        async with asyncio.timeout(60):
            return [await anext(events) for _ in range(count)]

    return asyncio.create_task(take())


async def begun(store: AsyncMongoStore, room_id: str = "r", **options: Any) -> Any:
    """Return a watch that is following, and what it told first."""
    watch = store.rooms.events.watch(room_id, **options)
    first = asyncio.ensure_future(anext(watch))
    async with asyncio.timeout(60):
        while not (await asyncio.wait([first], timeout=0.3))[0]:
            await store.rooms.events.append(room_id, Event(channel_id="c", type="wake"))
    return watch, first.result()


class TestEventLists:
    @pytest.fixture
    async def filled(self, store: AsyncMongoStore) -> Any:
        """A store with a room of many events that are no longer dense, and another room beside it."""
        for name in ("r", "s"):
            await store.rooms.create(name)
        for n in range(COUNT):
            await store.rooms.events.append("r", event(n))
            if n % 10 == 0:
                await store.rooms.events.append("s", Event(channel_id="c0"))
        for n in (7, 19, 31):
            await store.rooms.events.delete("r", f"e{n:02}")
        return store

    @pytest.mark.parametrize("name", FILTERS)
    async def test_a_filter_shows_what_it_says_without_the_blocked_ones(
        self, filled: AsyncMongoStore, name: str
    ) -> None:
        expected, filter = matching(await stored(filled), name), FILTERS[name][0]
        events = filled.rooms.events
        assert (await events.list("r", **filter, limit=1000)).items == expected
        assert [found async for found in events.iter("r", **filter)] == expected
        assert await events.count("r", **filter) == len(expected)

    @pytest.mark.parametrize("name", ["nothing", "types", "top_level", "participant_id", "blocked"])
    @pytest.mark.parametrize("limit", [1, 7, 1000])
    async def test_pages_meet_every_event_once_in_both_directions(
        self, filled: AsyncMongoStore, name: str, limit: int
    ) -> None:
        expected, filter = matching(await stored(filled), name), FILTERS[name][0]
        forth: list[Event] = []
        back: list[Event] = []
        page = await filled.rooms.events.list("r", **filter, limit=limit)
        while True:
            assert len(page.items) == limit or page.next_cursor is None
            forth = [*forth, *page.items]
            if page.next_cursor is None:
                break
            page = await filled.rooms.events.list("r", **filter, limit=limit, cursor=page.next_cursor)
        page = await filled.rooms.events.list("r", **filter, limit=limit, newest=True)
        while True:
            assert len(page.items) == limit or page.next_cursor is None
            back = [*page.items, *back]
            if page.next_cursor is None:
                break
            page = await filled.rooms.events.list(
                "r", **filter, limit=limit, newest=True, cursor=page.next_cursor
            )
        assert forth == expected == back

    @pytest.mark.parametrize("name", ["nothing", "exclude_types", "blocked"])
    async def test_windows_are_cut_from_what_a_filter_shows(self, filled: AsyncMongoStore, name: str) -> None:
        expected, filter = matching(await stored(filled), name), FILTERS[name][0]

        async def listed(limit: int, **window: Any) -> list[Event]:
            return [*await filled.rooms.events.list("r", **filter, limit=limit, **window)]

        async def listed_by_offset(offset: int, newest: bool) -> list[Event]:
            find_cursor = Offsets.of(filled.rooms).find_event_cursor
            cursor = await find_cursor("r", offset, newest=newest, **filter)
            return await listed(4, newest=newest, cursor=cursor) if cursor or not offset else []

        for index in (0, 1, 6, 7, 8, 30, 58, 59, 60, 500):
            above = [found for found in expected if (found.index or 0) > index]
            below = [found for found in expected if (found.index or 0) < index]
            for limit in (1, 5, 100):
                assert await listed(limit, after=index) == above[:limit]
                assert await listed(limit, before=index) == below[:limit]
                assert await listed(limit, before=index, newest=True) == below[-limit:]
                assert await listed(limit, after=index, newest=True) == above[-limit:]
                between = [found for found in below if (found.index or 0) > 5]
                assert await listed(limit, after=5, before=index) == between[:limit]
                assert await listed(limit, after=5, before=index, newest=True) == between[-limit:]
        for offset in (0, 1, 10, len(expected) - 1, len(expected), 2**40):
            assert await listed_by_offset(offset, newest=False) == expected[offset : offset + 4]
            below = expected[: max(len(expected) - offset, 0)]
            assert await listed_by_offset(offset, newest=True) == below[-4:]

    async def test_a_page_goes_on_behind_any_event_in_either_direction(self, filled: AsyncMongoStore) -> None:
        events, expected = filled.rooms.events, matching(await stored(filled), "nothing")
        for index in (0, 20, len(expected) - 1):
            cursor = events.cursor_of(expected[index])
            assert [*await events.list("r", cursor=cursor, limit=5)] == expected[index + 1 : index + 6]
            before = expected[max(index - 5, 0) : index]
            assert [*await events.list("r", cursor=cursor, limit=5, newest=True)] == before
            bounded = await events.list("r", cursor=cursor, limit=5, before=30, after=3)
            assert [*bounded] == [found for found in expected[index + 1 :] if 3 < (found.index or 0) < 30][:5]

    @pytest.mark.parametrize("name", ["nothing", "exclude_types", "blocked"])
    async def test_a_page_has_an_index_in_its_middle(self, filled: AsyncMongoStore, name: str) -> None:
        events, (filter, *_) = filled.rooms.events, FILTERS[name]
        expected = matching(await stored(filled), name)
        for index in (0, 1, 6, 30, 59, 500):
            below = [found for found in expected if (found.index or 0) < index][-4:]
            above = [found for found in expected if (found.index or 0) >= index]
            page = await events.list("r", around=index, limit=8, **filter)
            assert [*page] == below + above[: 8 - len(below)]
        for bound in ({"newest": True}, {"before": 9}, {"after": 9}, {"cursor": page.next_cursor or "x"}):
            with pytest.raises(InvalidValueError, match="around"):
                await events.list("r", around=9, **bound)

    async def test_iter_goes_backwards_and_a_count_can_end_early(self, filled: AsyncMongoStore) -> None:
        expected = matching(await stored(filled), "types")
        types = ["tool", "edit"]
        walked = [found async for found in filled.rooms.events.iter("r", newest=True, types=types)]
        assert walked == expected[::-1]
        assert await filled.rooms.events.count("r", types=types, limit=5) == 5
        assert await filled.rooms.events.count("r", types=types, limit=1000) == len(expected)

    async def test_a_count_is_of_what_a_list_shows(self, filled: AsyncMongoStore) -> None:
        events = filled.rooms.events
        assert await events.count("r", blocked=True) == COUNT - 3
        assert await events.count("r") == len(matching(await stored(filled), "nothing")) < COUNT - 3

    async def test_nothing_is_listed_of_a_room_that_is_not_there(self, filled: AsyncMongoStore) -> None:
        events = filled.rooms.events
        await filled.rooms.create("empty")
        assert [*await events.list("empty")] == [] == [found async for found in events.iter("empty")]
        assert await events.count("empty") == 0
        assert [*await events.list("r", participant_id="unknown")] == []
        for call in (
            events.list("unknown"),
            events.list("unknown", limit=1, after=5),
            events.count("unknown"),
            anext(events.iter("unknown")),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("room", "unknown")

    async def test_threads_are_summed_up_without_the_blocked_ones(self, filled: AsyncMongoStore) -> None:
        threads = await filled.rooms.events.summarize_replies("r", ["e00", "e01", "e02", "unknown"])
        output = matching(await stored(filled), "nothing")
        for root in ("e00", "e01"):
            replies = [found for found in output if found.parent_event_id == root]
            assert threads[root].event_id == root
            assert threads[root].count == len(replies)
            assert threads[root].last_reply_at == max(
                found.created_at for found in replies if found.created_at
            )
        assert threads.keys() == {"e00", "e01"}
        assert await filled.rooms.events.summarize_replies("s", ["e00"]) == {}
        assert await filled.rooms.events.summarize_replies("r", []) == {}

    async def test_a_watch_tells_all_events_once_in_order_to_everybody(self, store: AsyncMongoStore) -> None:
        for name in ("r", "s"):
            await store.rooms.create(name)
        one, first = await begun(store)
        other, _ = await begun(store)
        committed = [Event(room_id=name, channel_id="c", content=n) for n in range(40) for name in "rs"]
        following = taking(one, 40), taking(other, 40)
        await asyncio.gather(
            *(
                store.rooms.events.append(found.room_id, found)
                if n % 4
                else store.rooms.events.create(found.room_id, found)
                for n, found in enumerate(committed)
            )
        )
        for received in await asyncio.gather(*following):
            assert all(found.room_id == "r" for found in received)
            sent = [found.index or 0 for found in received]
            assert sent == [*range(sent[0], sent[0] + 40)]
            assert (first.index or 0) < sent[0]
        await one.aclose()
        await other.aclose()

    async def test_a_watch_goes_on_behind_an_index(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r")
        for n in range(250):
            await store.rooms.events.append("r", Event(channel_id="c", content=n))
        for after in (-1, 0, 100, 248):
            async with aclosing(store.rooms.events.watch("r", after=after)) as watch:
                received = await taking(watch, 249 - after)
                assert [found.content for found in received] == [*range(after + 1, 250)]
                following = taking(watch, 1)
                fresh = await store.rooms.events.append("r", Event(channel_id="c", content="fresh"))
                assert await following == [fresh]
            await store.rooms.events.delete("r", fresh.id)

    async def test_a_watch_begins_with_the_last_events(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r")
        for n in range(10):
            await store.rooms.events.append("r", Event(id=f"{n}", channel_id="c"))
        for n in (7, 9):
            await store.rooms.events.delete("r", f"{n}")
        for last, expected in ((1, ["8"]), (3, ["5", "6", "8"]), (1000, [*"01234568"])):
            async with aclosing(store.rooms.events.watch("r", last=last)) as watch:
                received = await taking(watch, len(expected))
                assert [found.id for found in received] == expected
                following = taking(watch, 1)
                fresh = await store.rooms.events.append("r", Event(channel_id="c"))
                assert await following == [fresh]
            await store.rooms.events.delete("r", fresh.id)
        for options in ({"last": 1, "after": 0}, *({"last": bad} for bad in (0, 1001, True, "1"))):
            with pytest.raises(InvalidValueError, match="last"):
                await anext(store.rooms.events.watch("r", **options))

    async def test_a_watch_of_an_empty_room_begins_with_what_comes(self, store: AsyncMongoStore) -> None:
        await store.rooms.create("r")
        watch, first = await begun(store, last=5)
        async with aclosing(watch):
            assert first.type == "wake"

    async def test_a_watch_tells_blocked_events_but_no_edit_or_deletion_of_old_ones(
        self,
        store: AsyncMongoStore,
    ) -> None:
        await store.rooms.create("r")
        for name in ("a", "b"):
            await store.rooms.events.append("r", Event(id=name, channel_id="c"))
        async with aclosing(store.rooms.events.watch("r", after=1)) as watch:
            following = taking(watch, 1)
            await asyncio.sleep(0.1)
            await store.rooms.events.update("r", "a", content="new")
            await store.rooms.events.delete("r", "b")
            blocked = await store.rooms.events.append("r", Event(channel_id="c", status="blocked"))
            assert await following == [blocked]

    async def test_a_watch_passes_over_what_cannot_be_read_with_a_warning(
        self, store: AsyncMongoStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        await store.rooms.create("r")
        for name in ("a", "b"):
            await store.rooms.events.append("r", Event(id=name, channel_id="c", content="secret"))
        await store.engine.database["events"].update_one({"_id": "a"}, {"$set": {"type": 5}})
        async with aclosing(store.rooms.events.watch("r", after=-1)) as watch:
            assert [event.id for event in await taking(watch, 1)] == ["b"]
        [record] = [record for record in caplog.records if record.name == "mongostore.documents"]
        assert record.levelname == "WARNING"
        assert record.getMessage() == "passed over event 'a', which cannot be read: type"

    async def test_a_watch_ends_when_its_room_is_deleted(self, store: AsyncMongoStore) -> None:
        for name in ("r", "s"):
            await store.rooms.create(name)
        watch, _ = await begun(store)
        following = asyncio.ensure_future(anext(watch, "over"))
        await store.rooms.delete("s")
        assert not (await asyncio.wait([following], timeout=0.2))[0]
        await store.rooms.delete("r")
        assert await asyncio.wait_for(following, 20) == "over"

    async def test_a_watch_of_an_unknown_room_is_refused(self, store: AsyncMongoStore) -> None:
        with pytest.raises(NotFoundError):
            await anext(store.rooms.events.watch("unknown"))

    async def test_iter_goes_on_over_many_pages_and_past_what_cannot_be_read_if_told(
        self, store: AsyncMongoStore
    ) -> None:
        await store.rooms.create("r")
        await asyncio.gather(*(store.rooms.events.append("r", Event(channel_id="c")) for _ in range(1203)))
        await store.engine.database["events"].update_one({"index": 600}, {"$set": {"type": 5}})
        errors: list[InvalidDocumentError] = []
        met = [found.index async for found in store.rooms.events.iter("r", errors=errors)]
        assert met == [n for n in range(1203) if n != 600]
        assert len(errors) == 1
        walk = store.rooms.events.iter("r")
        assert [(await anext(walk)).index for _ in range(600)] == [*range(600)]
        with pytest.raises(InvalidDocumentError):
            await anext(walk)
        page = await store.rooms.events.list("r", after=598, limit=3)
        assert [found.index for found in page] == [599, 601]
        assert len(page.errors) == 1
        page = await store.rooms.events.list("r", cursor=page.next_cursor, limit=1)
        assert page[0].index == 602


def test_the_events_of_these_tests_differ_in_every_member() -> None:
    events = [event(n) for n in range(COUNT)]
    for name in FILTERS.keys() & Event.model_fields.keys() | {"type", "status", "created_at"}:
        assert len({*map(operator.attrgetter(name), events)}) > 1, name
