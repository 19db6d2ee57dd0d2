"""The live tail of a session while connections break and stores close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Message, MessageChange, NotOpenError, UnavailableError


async def follow(store: AsyncMongoStore, seen: list[MessageChange]) -> None:
    async for change in store.sessions.messages.watch("s"):
        seen.append(change)  # noqa: PERF401  # each one is looked at as it comes


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.server
@pytest.mark.parametrize("times", [1, 2, 6])
async def test_a_stream_that_is_cut_goes_on_without_loss_or_repetition(
    faults: Any, times: int, until_followed: Callable[[], Awaitable[None]]
) -> None:
    store: AsyncMongoStore = faults.store
    await store.sessions.create("s")
    seen: list[MessageChange] = []
    following = asyncio.create_task(follow(store, seen))
    await until_followed()
    for round_ in range(3):
        await store.sessions.messages.append("s", Message(role="user", content=[round_, "before"]))
        # The driver goes on by itself after one cut, but not when its new request is cut as well.
        await faults.fail(["getMore", "aggregate"], times, closeConnection=True)
        await store.sessions.messages.append("s", Message(role="user", content=[round_, "after"]))
        count = 2 * (round_ + 1)
        await until(lambda count=count: len(seen) >= count or following.done())
    following.cancel()
    assert [change.position for change in seen] == list(range(6))
    assert [change.message.content for change in seen if change.message] == [
        [round_, when] for round_ in range(3) for when in ("before", "after")
    ]


@pytest.mark.server
async def test_a_stream_that_stays_cut_ends_with_an_error_of_ours(
    faults: Any, database: str, monkeypatch: pytest.MonkeyPatch, until_followed: Callable[[], Awaitable[None]]
) -> None:
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "2")
    async with AsyncMongoStore(faults.uri, database) as store:
        await store.sessions.create("s")
        following = asyncio.create_task(follow(store, []))
        await until_followed()
        async with faults.failing(["getMore", "aggregate"], closeConnection=True):
            await store.sessions.messages.append("s", Message(role="user"))
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(following, 20)


async def test_closing_the_store_ends_its_streams(
    store_uri: str, database: str, until_followed: Callable[[], Awaitable[None]]
) -> None:
    store = AsyncMongoStore(store_uri, database)
    await store.open()
    await store.sessions.create("s")
    following = asyncio.create_task(follow(store, []))
    await until_followed()
    await store.close()
    with pytest.raises(NotOpenError):
        await asyncio.wait_for(following, 20)
