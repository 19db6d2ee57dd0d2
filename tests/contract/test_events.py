"""What events promise, on every engine, and what is stored of them."""

from __future__ import annotations

import asyncio
import operator

from mongostore import AsyncMongoStore, Event, Room
from mongostore.testing.store import EventListsSuite, EventsSuite
from mongostore.testing.store.event_lists import COUNT, FILTERS, event
from tests.contract.furnishing import Stored


class TestEvents(Stored, EventsSuite):
    """What events promise when they are committed, changed and deleted."""


class TestEventLists(EventListsSuite):
    """How events are listed, counted, summed up and watched."""

    async def test_iter_goes_on_over_many_pages_and_past_what_cannot_be_read(
        self, store: AsyncMongoStore
    ) -> None:
        await store.rooms.create(Room(id="r"))
        await asyncio.gather(*(store.events.commit(Event(room_id="r", channel_id="c")) for _ in range(1203)))
        await store.engine.database["events"].update_one({"index": 600}, {"$set": {"type": 5}})
        met = [found.index async for found in store.events.iter("r")]
        assert met == [n for n in range(1203) if n != 600]
        page = await store.events.list("r", after=598, limit=3)
        assert [found.index for found in page.items] == [599, 601]
        assert len(page.errors) == 1
        assert page.next_cursor == "601"


def test_the_events_of_these_tests_differ_in_every_member() -> None:
    events = [event(n) for n in range(COUNT)]
    for name in FILTERS.keys() & Event.model_fields.keys() | {"type", "status", "created_at"}:
        assert len({*map(operator.attrgetter(name), events)}) > 1, name
