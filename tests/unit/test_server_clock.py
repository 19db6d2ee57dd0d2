"""What is known of the server's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from mongostore import AsyncMongoStore
from mongostore.codec import from_micros, to_micros
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


@pytest.mark.parametrize(("days", "last"), [(-1, datetime.min), (1, datetime.max)])
def test_a_time_that_no_datetime_shows_is_the_last_one_that_does(days: int, last: datetime) -> None:
    clock, last = ServerClock(), last.replace(tzinfo=UTC)
    clock.set(datetime.now(UTC) + timedelta(days=days), now())
    assert from_micros(clock.from_host(to_micros("last", last))) == last


def test_what_the_way_to_the_server_may_explain_is_no_difference() -> None:
    clock = ServerClock()
    clock.set(datetime.now(UTC) + timedelta(seconds=0.9), now())
    assert clock.offset == 0
    clock.set(datetime.now(UTC) - timedelta(seconds=3), now() - 5_000_000)
    assert clock.offset == 0


def test_a_clock_that_is_set_is_stale_until_the_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    assert not clock.is_stale
    set_back(monkeypatch, 40)
    assert clock.is_stale
    clock.set(datetime.now(UTC), now())
    assert not clock.is_stale


def test_each_tick_is_later_than_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    first = clock.tick()
    set_back(monkeypatch, 40)
    assert [clock.tick(), clock.tick()] == [first + 1, first + 2]


async def test_times_that_decide_are_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncMongoStore("mongomock://") as before:
        set_back(monkeypatch, 40)
        async with AsyncMongoStore("mongomock://") as after:
            for store in (before, after):
                thread = await store.threads.create("t")
                session = await store.sessions.create("s")
                for created_at in (thread.created_at, session.created_at):
                    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=1)
                await store.threads.messages.merge("t", "m")
                assert abs(datetime.now(UTC) - (await store.threads.get("t")).active_at) < timedelta(
                    minutes=1
                )


def set_back(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Set the clock of this host back, but not that of the embedded engine, which asks for a date."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - days * DAY * 1000)
