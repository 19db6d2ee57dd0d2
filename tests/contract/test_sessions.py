"""What sessions and their messages promise, on every engine, and what is stored of them."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest

from mongostore import AsyncMongoStore, InvalidDocumentError, Message
from mongostore.repositories.sessions import writing
from mongostore.testing.store import MessagesSuite, SessionsSuite, ValuesSuite, WatchSuite
from mongostore.testing.store.messages import all_of, contents, fill
from mongostore.testing.store.sessions import paged


async def stored(store: AsyncMongoStore, kind: str) -> int:
    return await store.engine.database[kind].count_documents({})


class TestSessions(SessionsSuite):
    """What sessions promise."""

    async def test_purge_leaves_nothing_behind(self, store: AsyncMongoStore) -> None:
        await super().test_purge_leaves_nothing_behind(store)
        for name in ("session_segments", "session_overflows"):
            assert await stored(store, name) == 0, name
        await store.sessions.purge("s")
        assert await stored(store, "sessions") == 0

    async def test_truncate_clears_data_and_messages_alone(self, store: AsyncMongoStore) -> None:
        await super().test_truncate_clears_data_and_messages_alone(store)
        assert await stored(store, "session_segments") == 0
        assert await stored(store, "session_overflows") == 1

    async def test_pages_of_a_list_meet_every_session_once(self, store: AsyncMongoStore) -> None:
        await super().test_pages_of_a_list_meet_every_session_once(store)
        names = [session.id async for session in store.sessions.iter()]
        # All at one time: the id has to decide.
        await store.engine.database["sessions"].update_many({}, {"$set": {"updated_at": 1}})
        assert sorted(await paged(store)) == names

    async def test_context_is_kept_in_any_size(self, store: AsyncMongoStore) -> None:
        await super().test_context_is_kept_in_any_size(store)
        assert await stored(store, "session_overflows") == 0
        await store.sessions.set_context("s", ["x" * 5_000_000])
        await store.sessions.set_context("s", "small")
        assert await stored(store, "session_overflows") == 0

    async def test_a_large_context_written_again_and_again_does_not_grow(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_a_large_context_written_again_and_again_does_not_grow(store)
        assert await stored(store, "session_overflows") == 1


class TestMessages(MessagesSuite):
    """What the messages of sessions promise."""

    @pytest.mark.parametrize("message_id", ["m299", "m280", "m3"])
    async def test_a_message_grows_and_shrinks_through_every_size(
        self, store: AsyncMongoStore, sessions: Any, message_id: str
    ) -> None:
        await super().test_a_message_grows_and_shrinks_through_every_size(sessions, message_id)
        assert await stored(store, "session_overflows") == 1
        assert await sessions.delete_message("s", message_id)
        assert await stored(store, "session_overflows") == 0

    async def test_a_tail_of_large_messages_stays_small(self, store: AsyncMongoStore, sessions: Any) -> None:
        for n in range(30):
            await sessions.append_message(
                "s", Message(id=f"m{n}", role="user", content=f"{n:04}" + "x" * 200_000)
            )
            document = await store.engine.database["sessions"].find_one({})
            assert len(bson.encode(document)) < 700_000
        assert [content[:4] for content in contents(await all_of(sessions))] == [f"{n:04}" for n in range(30)]

    async def test_large_messages_of_many_callers_all_come_in(
        self, sessions: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Far fewer than there are: five suffice where nobody takes the room that another has made.
        monkeypatch.setattr(writing, "ATTEMPTS", 12)
        callers = asyncio.Semaphore(16)

        async def append(n: int) -> None:
            # One alone fills a tail, so that each caller has to make room first.
            async with callers:
                message = Message(role="user", content=n, data={"k": "x" * 300_000})
                await sessions.append_message("s", message)

        await asyncio.gather(*map(append, range(80)))
        assert sorted(contents(await all_of(sessions))) == [*range(80)]

    async def test_an_unreadable_message_does_not_hide_the_others(
        self, store: AsyncMongoStore, sessions: Any
    ) -> None:
        await fill(sessions, 5)
        await store.engine.database["sessions"].update_one(
            {}, {"$set": {"messages.2": {"id": "m2", "role": 5}, "messages.3.content": {"__json__": "{"}}}
        )
        page = await sessions.list_messages("s")
        assert contents(page.items) == [0, 1, 4]
        assert [error.id for error in page.errors] == ["m2", "m3"]
        with pytest.raises(InvalidDocumentError):
            await sessions.get_message("s", "m2")


class TestValues(ValuesSuite):
    """What a session takes and refuses."""


class TestWatch(WatchSuite):
    """What the live tail of a session tells."""


async def test_purge_of_a_crashed_purge_goes_on(store: AsyncMongoStore) -> None:
    await store.sessions.create("s")
    await store.sessions.append_messages("s", [Message(role="user", content=str(n)) for n in range(300)])
    await store.engine.database["sessions"].update_one(
        {}, {"$set": {"state": "purging", "purged_by": "another"}}
    )
    assert await store.sessions.find("s") is None
    assert await store.sessions.count(deleted=None) == 0
    await store.sessions.create("s")
    assert await store.engine.database["session_segments"].count_documents({}) == 0


async def test_one_unreadable_session_does_not_hide_the_others(store: AsyncMongoStore) -> None:
    for name in "abcd":
        await store.sessions.create(name)
    sessions = store.engine.database["sessions"]
    await sessions.update_one({"session_id": "b"}, {"$set": {"created_at": "yesterday", "name": 5}})
    old = {"schema_version": "", "metadata": "", "revision": "", "last": "", "context": "", "data": ""}
    for name in "cd":
        await sessions.update_one({"session_id": name}, {"$unset": old})
    page = await store.sessions.list()
    assert {session.id for session in page.items} == {"a", "c", "d"}
    assert [error.id for error in page.errors] == ["default/b"]
    assert "yesterday" not in str(page.errors[0])
    assert {session.id async for session in store.sessions.iter()} == {"a", "c", "d"}
