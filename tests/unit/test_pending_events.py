"""Which of the events that wait go together, and what becomes of them when something fails."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AsyncMongoStore, Event
from mongostore.engines.embedded.fake_driver import FakeCollection
from mongostore.repositories.rooms.pending_events import PendingEvent, take_group

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [([MIB] * 6, 4), ([5 * MIB, 1], 1), ([1, 4 * MIB], 1), ([1] * 120, 100), ([], 0)],
    ids=["up to 4 MiB", "one that is larger", "without the one that is too much", "up to 100", "none"],
)
async def test_a_group_has_a_hundred_events_and_4_mib_at_most(sizes: list[int], taken: int) -> None:
    waiting = deque(PendingEvent({}, size, is_counted=True, is_activity=True) for size in sizes)
    assert len(take_group(waiting)) == taken
    assert len(waiting) == len(sizes) - taken


async def test_an_event_whose_caller_is_gone_is_in_no_group() -> None:
    waiting = deque(PendingEvent({}, 1, is_counted=True, is_activity=True) for _ in range(3))
    waiting[1].done.cancel()
    assert len(take_group(waiting)) == 2
    assert not waiting


async def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


async def test_an_error_that_nobody_expects_reaches_those_whose_events_it_keeps_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with AsyncMongoStore(f"mongomock://{uuid4().hex}", timeout=5) as store:
        events = store.rooms.events
        await store.rooms.create("r")
        with monkeypatch.context() as patch:
            for name in ("insert_one", "insert_many"):
                patch.setattr(FakeCollection, name, broken)
            appends = [events.append("r", Event(id=f"e{n}", channel_id="c")) for n in range(3)]
            outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
        assert (await events.create("r", Event(id="far", channel_id="c", index=9))).index == 9
        with monkeypatch.context() as patch:
            patch.setattr(FakeCollection, "find_one", broken)
            with pytest.raises(ZeroDivisionError):
                # No log gives that index any more.
                await events.create("r", Event(id="below", channel_id="c", index=5))
        assert (await events.append("r", Event(id="e0", channel_id="c"))).index == 10
