"""Which of the events that wait go together."""

from __future__ import annotations

from collections import deque

import pytest

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
