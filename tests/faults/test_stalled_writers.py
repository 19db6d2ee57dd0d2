"""Who stalls between two steps while others go on neither undoes nor misses their work, nor leaves waste."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from operator import attrgetter
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConflictError, Message, NotFoundError
from mongostore.repositories.sessions import TailLimits

Readers = list[Callable[[AsyncMongoStore, str], Awaitable[list[Message]]]]
KEEP, FULL = TailLimits().keep, TailLimits().full


def messages(first: int, end: int) -> list[Message]:
    return [Message(id=f"m{n}", role="user", content=f"text {n}") for n in range(first, end)]


async def edit(store: AsyncMongoStore) -> None:
    await store.sessions.messages.update("s", "m5", content="edited")


async def roll(store: AsyncMongoStore) -> None:
    await store.sessions.messages.append_many("s", messages(FULL, FULL + 1))


async def delete(store: AsyncMongoStore) -> None:
    await store.sessions.messages.delete("s", "m5")


async def truncate(store: AsyncMongoStore) -> None:
    await store.sessions.truncate("s")


async def fill(store: AsyncMongoStore) -> None:
    await store.sessions.messages.append_many("s", messages(1000, 1000 + FULL))


async def purge(store: AsyncMongoStore) -> None:
    await store.sessions.delete("s")
    await store.sessions.create("s")


MEANWHILE = [
    [edit],
    [delete],
    [roll],
    [roll, edit],
    [roll, delete],
    [edit, roll, delete],
    [truncate],
    [truncate, fill],
    [purge],
    [purge, fill],
]


@pytest.fixture
async def stalled(store_uri: str, database: str) -> AsyncIterator[AsyncMongoStore]:
    """A second store on the same data."""
    async with AsyncMongoStore(store_uri, database) as opened:
        yield opened


class Stall:
    """Holds up whoever is the first to call a method of a collection, before that is done or behind it.

    Attributes:
        reached: Somebody is held up.
        go: He may go on.
    """

    def __init__(self, patch: pytest.MonkeyPatch, store: AsyncMongoStore) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._patch = patch
        # Whatever options a collection was made with, it is of the same class.
        self._collections = type(store.engine.database["sessions"])

    def at(self, name: str, method: str, *, done: bool) -> None:
        """Say which method of which collection it is, and whether it is done before the stall."""
        call, is_first = getattr(self._collections, method), True

        async def stalling(collection: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal is_first
            if collection.name != name or not is_first:
                return await call(collection, *arguments, **options)
            is_first = False
            result = await call(collection, *arguments, **options) if done else None
            self.reached.set()
            await self.go.wait()
            return result if done else await call(collection, *arguments, **options)

        self._patch.setattr(self._collections, method, stalling)


@pytest.fixture
def stall(monkeypatch: pytest.MonkeyPatch, store: AsyncMongoStore) -> Stall:
    return Stall(monkeypatch, store)


async def everything(store: AsyncMongoStore, readers: Readers) -> list[tuple[str, Any]]:
    views = [[(message.id, message.content) for message in await read(store, "s")] for read in readers]
    assert views[0] == views[1] == views[2]
    return views[0]


@pytest.mark.parametrize("meanwhile", MEANWHILE, ids=lambda steps: "-".join(step.__name__ for step in steps))
@pytest.mark.parametrize("sealed", [False, True], ids=["before-sealing", "before-trimming"])
async def test_a_roll_that_stalls_harms_nothing(
    store: AsyncMongoStore,
    stalled: AsyncMongoStore,
    readers: Readers,
    stall: Stall,
    sealed: bool,
    meanwhile: list[Callable[[AsyncMongoStore], Awaitable[None]]],
) -> None:
    await store.sessions.create("s")
    for first in range(0, FULL, 32):
        await store.sessions.messages.append_many("s", messages(first, first + 32))
    stall.at("session_segments", "replace_one", done=sealed)
    late = asyncio.create_task(stalled.sessions.messages.append("s", Message(id="late", role="user")))
    await stall.reached.wait()
    for step in meanwhile:
        await step(store)
    before = await everything(store, readers)
    stall.go.set()
    # Who has to look again sees that the session is another one by now; an empty one has room for him.
    if meanwhile == [purge, fill]:
        with pytest.raises(NotFoundError):
            await late
        expected = before
    else:
        await late
        expected = [*before, ("late", None)]
    assert await everything(store, readers) == expected
    assert await store.sessions.messages.count("s") == len(expected)

    await purge_all(store)


async def test_a_deletion_that_stalls_keeps_the_preview_of_what_was_appended_meanwhile(
    store: AsyncMongoStore, stalled: AsyncMongoStore, stall: Stall
) -> None:
    await store.sessions.create("s")
    await store.sessions.messages.append_many("s", messages(0, 3))
    # By then it has found what the new preview is to be.
    stall.at("sessions", "update_one", done=False)
    late = asyncio.create_task(stalled.sessions.messages.delete("s", "m2"))
    await stall.reached.wait()
    await store.sessions.messages.append("s", messages(3, 4)[0])
    stall.go.set()
    assert await late
    session = await store.sessions.get("s")
    assert (session.count, session.last and session.last.id) == (3, "m3")


async def iterated(store: AsyncMongoStore) -> list[Message]:
    return [message async for message in store.sessions.messages.iter("s")]


async def first_page(store: AsyncMongoStore) -> list[Message]:
    return (await store.sessions.messages.list("s", limit=1000)).items


async def newest_page(store: AsyncMongoStore) -> list[Message]:
    return (await store.sessions.messages.list("s", limit=1000, newest=True)).items


async def page_before(store: AsyncMongoStore) -> list[Message]:
    return (await store.sessions.messages.list("s", limit=1000, newest=True, before=1000)).items


@pytest.mark.parametrize("read", [iterated, first_page, newest_page, page_before])
async def test_a_reader_that_stalls_while_all_is_removed_meets_no_gap(
    store: AsyncMongoStore,
    stalled: AsyncMongoStore,
    stall: Stall,
    read: Callable[[AsyncMongoStore], Awaitable[list[Message]]],
) -> None:
    await store.sessions.create("s")
    for first in range(0, 2 * FULL, KEEP):
        await store.sessions.messages.append_many("s", messages(first, first + KEEP))
    stall.at("sessions", "find_one", done=True)
    late = asyncio.create_task(read(stalled))
    await stall.reached.wait()
    await truncate(store)
    await store.sessions.messages.append("s", messages(7, 8)[0])
    stall.go.set()
    if read is iterated:
        with pytest.raises(ConflictError, match="removed"):
            await late
    else:
        assert [message.id for message in await late] == ["m7"]


@pytest.mark.parametrize("meanwhile", [truncate, purge])
@pytest.mark.parametrize("way", ["append", "upsert", "context"])
async def test_a_large_value_that_is_stored_while_all_is_removed_is_there_or_refused(
    store: AsyncMongoStore,
    stalled: AsyncMongoStore,
    readers: Readers,
    stall: Stall,
    way: str,
    meanwhile: Callable[[AsyncMongoStore], Awaitable[None]],
) -> None:
    await store.sessions.create("s")
    large = Message(id="large", role="user", content="x" * 1_100_000)
    stall.at("session_overflows", "insert_one", done=True)
    match way:
        case "append":
            work = stalled.sessions.messages.append("s", large)
        case "upsert":
            work = stalled.sessions.messages.upsert("s", large)
        case _:
            work = stalled.sessions.context.set("s", large.content)
    late = asyncio.create_task(work)
    await stall.reached.wait()
    await meanwhile(store)
    stall.go.set()
    is_refused = meanwhile is purge
    # The session for which it was stored is gone, and the one of the same id is another.
    with pytest.raises(NotFoundError) if is_refused else nullcontext():
        await late

    async with asyncio.timeout(5):
        if way == "context":
            assert await store.sessions.context.find("s") == (None if is_refused else large.content)
        else:
            assert await everything(store, readers) == ([] if is_refused else [("large", large.content)])
    await purge_all(store)


@pytest.mark.parametrize("remove", ["truncate", "messages.truncate"])
async def test_a_large_context_outlives_the_messages(store: AsyncMongoStore, remove: str) -> None:
    await store.sessions.create("s")
    await store.sessions.context.set("s", "x" * 100_000)
    for _ in range(2):
        await store.sessions.messages.append("s", messages(0, 1)[0])
        await attrgetter(remove)(store.sessions)("s")
        async with asyncio.timeout(5):
            assert await store.sessions.context.get("s") == "x" * 100_000
    await purge_all(store)


async def purge_all(store: AsyncMongoStore) -> None:
    """Purge the session and check that nothing is left of it."""
    await store.sessions.delete("s")
    for collection in ("session_segments", "session_overflows"):
        assert await store.engine.database[collection].count_documents({}) == 0
