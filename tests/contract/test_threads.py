"""What threads, their messages and their users promise, on every engine, and what is stored of them."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AsyncMongoStore, ConflictError
from mongostore.repositories.threads import threads
from mongostore.testing.store import (
    FeedbackSuite,
    ThreadAddingSuite,
    ThreadKindsSuite,
    ThreadMessagesSuite,
    ThreadSearchSuite,
    ThreadsSuite,
    UsersSuite,
)
from mongostore.testing.store.thread_adding import data
from mongostore.testing.store.thread_messages import ids
from mongostore.testing.store.threads import at, user_id


class TestThreads(ThreadsSuite):
    """What threads promise."""

    async def test_one_unreadable_thread_does_not_hide_the_others(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        for name in "abc":
            await store.threads.create(name, user_id=ada)
        threads = store.engine.database["threads"]
        await threads.update_one({"_id": "b"}, {"$set": {"created_at": "yesterday", "name": 5}})
        old = {"schema_version": "", "metadata": "", "data": "", "tags": "", "votes": ""}
        await threads.update_one({"_id": "c"}, {"$unset": old})
        page = await store.threads.list(ada)
        assert [thread.id for thread in page.items] == ["c", "a"]
        assert [error.id for error in page.errors] == ["b"]
        assert "yesterday" not in str(page.errors[0])
        assert [thread.id async for thread in store.threads.iter(ada)] == ["a", "c"]


class TestThreadAdding(ThreadAddingSuite):
    """That what is added is never put in the place of what somebody else has added."""

    async def test_who_adds_again_because_no_answer_came_is_not_refused(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, upsert = [], threads.upsert_thread

        async def lose_the_answer(*arguments: Any) -> None:
            await upsert(*arguments)
            calls.append(arguments)
            if len(calls) == 1:
                raise AutoReconnect("lost")

        monkeypatch.setattr(threads, "upsert_thread", lose_the_answer)
        await store.threads.merge("t", adds=True, data={"a": 1})
        assert len(calls) == 2
        assert await data(store) == {"a": 1}
        with pytest.raises(ConflictError):
            await store.threads.merge("t", adds=True, data={"a": 1})


class TestThreadKinds(ThreadKindsSuite):
    """What kinds of threads and messages, and messages that belong to no thread yet, promise."""


class TestThreadMessages(ThreadMessagesSuite):
    """What the messages of threads promise."""

    async def test_one_unreadable_message_does_not_hide_the_others(self, store: AsyncMongoStore) -> None:
        for number, name in enumerate("abc"):
            await store.messages.merge("t", name, begins=True, created_at=at(number), pinned=True)
        messages = store.engine.database["messages"]
        await messages.update_one({"_id": "b"}, {"$set": {"data": "secret"}})
        page = await store.messages.list("t")
        assert ([message.id for message in page.items], [error.id for error in page.errors]) == (
            ["a", "c"],
            ["b"],
        )
        assert "secret" not in str(page.errors[0])
        assert await ids(store) == ["a", "c"]


class TestThreadSearch(ThreadSearchSuite):
    """What the search among threads promises."""


class TestFeedback(FeedbackSuite):
    """What the feedback of messages promises."""


class TestUsers(UsersSuite):
    """What users promise."""

    async def test_parallel_upserts_make_one_user(self, store: AsyncMongoStore) -> None:
        await super().test_parallel_upserts_make_one_user(store)
        assert await store.engine.database["users"].count_documents({}) == 1
