"""Many live tails on one store: one change stream for all of them, which no slow reader holds up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from mongostore import AsyncMongoStore, SlowReaderError
from mongostore.repositories import Connection, change_feed
from mongostore.repositories.change_feed import ChangeFeed
from tests.faults.deployments import with_options
from tests.faults.tails import HOUSES, SECONDS, append, content_of, streams, tails_of, watch


async def read_on(changes: AsyncIterator[Any], seen: list[Any]) -> None:
    async with asyncio.timeout(SECONDS):
        async for change in changes:
            seen.append(change)  # noqa: PERF401  # what was seen counts when it ends with an error


class Answers(CommandListener):
    """Counts the answers that a client has asked of its cursors."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += event.command_name == "getMore"

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.mark.server
async def test_a_stream_asks_for_many_changes_at_once(server_uri: str, database: str) -> None:
    pause, answers = 0.1, Answers()
    async with (
        AsyncMongoClient[dict[str, Any]](server_uri, event_listeners=[answers]) as client,
        AsyncMongoStore(client, database) as store,
    ):
        for key in ("watched", "another"):
            await store.sessions.create(key)
        connection = Connection(store.engine, SECONDS)
        connection.attach()
        feed = ChangeFeed(connection, pause=pause)
        async with feed.read("sessions", "default/watched") as reader, asyncio.timeout(SECONDS):
            before, began = answers.count, time.monotonic()
            for number in range(60):
                await append(store, "sessions", "another", number)
            await append(store, "sessions", "watched", "last")
            assert (await reader.next())["documentKey"] == {"_id": "default/watched"}
            assert answers.count - before <= (time.monotonic() - began) / pause + 2


@pytest.mark.server
async def test_200_tails_are_one_stream_and_starve_no_verb(
    server_uri: str, admin_uri: str, database: str
) -> None:
    uri = with_options(server_uri, appName=database)
    async with (
        AsyncMongoClient[dict[str, Any]](admin_uri) as admin,
        AsyncMongoStore(uri, database, timeout=6) as store,
        tails_of(store, owners=25, readers=200) as tails,
    ):
        assert await streams(admin, database) == 1
        for round_ in range(3):
            for n in range(25):
                for house in HOUSES:
                    await append(store, house, f"o{n}", [house, n, round_])
        await tails.until(lambda: all(len(seen) == 3 for *_, seen in tails.seen))
        for house, key, seen in tails.seen:
            assert seen == [[house, int(key[1:]), round_] for round_ in range(3)]
        assert await streams(admin, database) == 1
        await tails.stop()
        async with asyncio.timeout(SECONDS):
            while await streams(admin, database):
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("house", HOUSES)
async def test_a_slow_reader_ends_alone_and_goes_on_where_it_was(
    store: AsyncMongoStore,
    house: str,
    monkeypatch: pytest.MonkeyPatch,
    until_followed: Callable[[], Awaitable[None]],
) -> None:
    monkeypatch.setattr(change_feed, "MAX_CHANGES", 10)
    async with tails_of(store, owners=1, readers=2) as tails:
        async with aclosing(watch(store, house, "o0")) as changes:  # type: ignore[type-var]
            first = asyncio.ensure_future(anext(changes))
            await until_followed()
            await append(store, house, "o0", 0)
            seen = [await asyncio.wait_for(first, SECONDS)]
            for n in range(1, 30):
                await append(store, house, "o0", n)
            (others,) = (of_others for name, _, of_others in tails.seen if name == house)
            await tails.until(lambda: len(others) == 30)
            assert others == [*range(30)]
            with pytest.raises(SlowReaderError, match=r"watch\(after="):
                await read_on(changes, seen)
        assert len(seen) == 11
        after = seen[-1].index if house == "rooms" else seen[-1].token
        async with aclosing(watch(store, house, "o0", after)) as changes, asyncio.timeout(SECONDS):  # type: ignore[type-var]
            seen += [await anext(changes) for _ in range(19)]
    assert [content_of(change) for change in seen] == [*range(30)]


async def test_many_large_changes_end_a_slow_reader(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, until_followed: Callable[[], Awaitable[None]]
) -> None:
    monkeypatch.setattr(change_feed, "MAX_BYTES", 5000)
    await store.sessions.create("s")
    async with aclosing(watch(store, "sessions", "s")) as changes:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(changes))
        await until_followed()
        for _ in range(8):
            await append(store, "sessions", "s", "x" * 2000)
            await asyncio.sleep(0.02)
        await asyncio.wait_for(first, SECONDS)
        with pytest.raises(SlowReaderError):
            await read_on(changes, [])


@pytest.mark.server
async def test_all_tails_go_on_after_a_cut_and_all_end_when_it_lasts(faults: Any) -> None:
    store: AsyncMongoStore = faults.store
    async with tails_of(store, owners=2, readers=8) as tails:
        for round_ in range(3):
            await faults.fail(["getMore", "aggregate"], 3, closeConnection=True)
            for n in range(2):
                for house in HOUSES:
                    await append(store, house, f"o{n}", round_)
            await tails.until(lambda: all(len(seen) == round_ + 1 for *_, seen in tails.seen))  # noqa: B023
        assert [seen for *_, seen in tails.seen] == [[0, 1, 2]] * 8


@pytest.mark.server
async def test_tails_that_go_on_from_old_tokens_join_the_one_stream(
    server_store: AsyncMongoStore,
) -> None:
    store = server_store
    for n in range(10):
        await store.sessions.create(f"o{n}")
    tokens: dict[str, str] = {}

    async def first(key: str) -> None:
        async with aclosing(watch(store, "sessions", key)) as changes:  # type: ignore[type-var]
            tokens[key] = (await anext(changes)).token

    async with asyncio.timeout(SECONDS):
        reading = [asyncio.create_task(first(f"o{n}")) for n in range(10)]
        while len(tokens) < 10:
            for n in range(10):
                if f"o{n}" not in tokens:
                    await append(store, "sessions", f"o{n}", "first")
            await asyncio.sleep(0.3)
        await asyncio.gather(*reading)
        for n in range(10):
            for content in range(30):
                await append(store, "sessions", f"o{n}", content)

        async def rest(key: str) -> list[object]:
            async with aclosing(watch(store, "sessions", key, tokens[key])) as changes:  # type: ignore[type-var]
                found = []
                while 60 not in found:
                    found.append(content_of(await anext(changes)))
                return [content for content in found if content != "first"]

        resumed = [asyncio.create_task(rest(f"o{n}")) for n in range(10) for _ in range(5)]
        for content in range(30, 61):
            for n in range(10):
                await append(store, "sessions", f"o{n}", content)
        assert await asyncio.gather(*resumed) == [[*range(61)]] * 50


@pytest.mark.long
@pytest.mark.server
async def test_1000_tails_see_100_appends_a_second(server_store: AsyncMongoStore) -> None:
    store = server_store
    async with tails_of(store, owners=100, readers=1000) as tails:
        began, times = time.monotonic(), 1000
        for n in range(times):
            await asyncio.sleep(max(0.0, began + n / 100 - time.monotonic()))
            await append(store, HOUSES[n % 2], f"o{n // 2 % 100}", n)
        await tails.until(lambda: all(len(seen) == times // 200 for *_, seen in tails.seen))
        for house, key, seen in tails.seen:
            start = 2 * int(key[1:]) + HOUSES.index(house)
            assert seen == [*range(start, times, 200)]
