"""The limits of a session's document: what they refuse, and that a store keeps to its own."""

from __future__ import annotations

import pytest

from mongostore import AsyncMongoStore, InvalidValueError, Message, MongoStore
from mongostore.repositories import Connection
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.sessions import AsyncSessions, SessionStorage, Tail, TailLimits


@pytest.mark.parametrize(("keep", "full"), [(0, 8), (-1, 8), (8, 8), (9, 8), (257, 512)])
def test_limits_of_which_no_roll_moves_anything_are_refused(keep: int, full: int) -> None:
    with pytest.raises(InvalidValueError, match="keep"):
        TailLimits(keep=keep, full=full)


async def test_each_store_rolls_at_its_own_limits() -> None:
    sealed = {}
    for limits in (TailLimits(keep=2, full=4), TailLimits(keep=1, full=8), None):
        async with AsyncMongoStore("mongomock://", tail_limits=limits) as store:
            await store.sessions.create("s")
            for n in range(6):
                await store.sessions.in_namespace("default").messages.append(
                    "s", Message(role="user", content=n)
                )
            sealed[limits] = (await store.sessions.describe_storage("s")).in_segments
            assert [one.content async for one in store.sessions.messages.iter("s")] == [*range(6)]
    assert [*sealed.values()] == [2, 0, 0]


async def test_what_rolled_by_larger_limits_is_read_by_smaller_ones(store: AsyncMongoStore) -> None:
    texts = [*range(500)]
    await store.sessions.create("s")
    await store.sessions.messages.append_many("s", [Message(role="user", content=n) for n in texts])
    assert (await store.sessions.describe_storage("s")).segments > 1
    connection = Connection(store.engine, 20.0)
    connection.attach()
    tail = Tail(connection, TailLimits(keep=4, full=8))
    smaller = AsyncSessions(SessionStorage(connection, tail), ChangeFeed(connection)).messages
    for newest in (False, True):
        found: list[int] = []
        page = await smaller.list("s", limit=37, newest=newest)
        while True:
            items = [one.content for one in page.items]
            found = [*items, *found] if newest else [*found, *items]
            if page.next_cursor is None:
                break
            page = await smaller.list("s", limit=37, newest=newest, cursor=page.next_cursor)
        assert found == texts
    between = await smaller.list("s", newest=True, after=99, before=150, limit=1000)
    assert [one.content for one in between.items] == [*range(100, 150)]


def test_the_blocking_store_passes_its_limits_on() -> None:
    with MongoStore("mongomock://", tail_limits=TailLimits(keep=2, full=4)) as store:
        store.sessions.create("s")
        for n in range(6):
            store.sessions.messages.append("s", Message(role="user", content=n))
        assert store.sessions.describe_storage("s").in_segments == 2
