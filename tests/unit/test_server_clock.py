"""What is known of the server's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from mongostore import AsyncMongoStore
from mongostore.repositories import server_clock
from mongostore.repositories.server_clock import ServerClock

DAY = 86_400_000_000


def now() -> int:
    return time.time_ns() // 1000


@pytest.mark.parametrize("days", [-40, 40, 25_000])
def test_a_host_that_is_days_off_tells_the_time_of_the_server(days: int) -> None:
    clock = ServerClock()
    clock.set(datetime.now(UTC) + timedelta(days=days), now())
    assert abs(clock.now() - now() - days * DAY) < 2_000_000
    assert abs(clock.from_host(5) - 5 - days * DAY) < 2_000_000


def test_what_the_way_to_the_server_may_explain_is_no_difference() -> None:
    clock = ServerClock()
    clock.set(datetime.now(UTC) + timedelta(seconds=0.9), now())
    assert clock.offset == 0
    clock.set(datetime.now(UTC) - timedelta(seconds=3), now() - 5_000_000)
    assert clock.offset == 0


def test_a_clock_that_is_set_is_stale_until_the_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    assert not clock.is_stale
    base = server_clock._base()
    monkeypatch.setattr(server_clock, "_base", lambda: base + 40 * DAY)
    assert clock.is_stale
    clock.set(datetime.now(UTC), now())
    assert not clock.is_stale


async def test_times_that_decide_are_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncMongoStore("mongomock://") as store:
        store._connection.clock.offset = -40 * DAY
        thread = await store.threads.create("t")
        await store.sessions.create("s")
        for created_at in (thread.created_at, (await store.sessions.get("s")).created_at):
            assert timedelta(days=39) < datetime.now(UTC) - created_at < timedelta(days=41)
        base = server_clock._base()
        monkeypatch.setattr(server_clock, "_base", lambda: base + DAY)
        thread = await store.threads.create("u")
        assert abs(datetime.now(UTC) - thread.created_at) < timedelta(minutes=1)
