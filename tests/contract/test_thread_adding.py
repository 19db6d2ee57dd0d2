"""What is added to a thread is never put in the place of what somebody else has added, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AsyncMongoStore, ConflictError, InvalidValueError, NotFoundError
from mongostore.repositories.threads import threads


async def data(store: AsyncMongoStore, thread_id: str = "t") -> dict[str, Any]:
    return dict((await store.threads.get(thread_id)).data)


class TestThreadAdding:
    async def test_keys_that_are_there_are_left_as_they_are(self, store: AsyncMongoStore) -> None:
        await store.threads.create("t", name="old", data={"a": 1, "$.b": None})
        await store.threads.merge("t", if_absent=True, data={"c": 3}, metadata={"a": 1})
        for members in ({"a": 2, "new": 1}, {"c": 3}, {"new": 1, "c": 3}, {"$.b": 1}):
            with pytest.raises(ConflictError, match="'t'"):
                await store.threads.merge("t", if_absent=True, name="new", data=members)
        with pytest.raises(ConflictError):
            await store.threads.merge("t", if_absent=True, metadata={"a": 1})
        thread = await store.threads.get("t")
        assert (thread.name, thread.data, thread.metadata) == ("old", {"a": 1, "$.b": None, "c": 3}, {"a": 1})

    async def test_what_was_removed_can_be_added(self, store: AsyncMongoStore) -> None:
        await store.threads.merge("t", data={"a": 1})
        await store.threads.merge("t", unset=["data.a"])
        await store.threads.merge("t", if_absent=True, data={"a": 2})
        assert await data(store) == {"a": 2}

    async def test_a_thread_is_made_by_what_is_added(self, store: AsyncMongoStore) -> None:
        await store.threads.merge("t", if_absent=True, kind="role", data={"a": 1})
        assert await data(store) == {"a": 1}
        await store.threads.delete("t")
        with pytest.raises(NotFoundError):
            await store.threads.merge("t", if_absent=True, data={"a": 1})

    async def test_of_many_who_add_one_key_one_can(self, store: AsyncMongoStore) -> None:
        for key in ("a", "b"):
            calls = [store.threads.merge("t", if_absent=True, data={key: number}) for number in range(8)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert sorted(type(end).__name__ for end in ended) == ["ConflictError"] * 7 + ["NoneType"]
            assert (await data(store))[key] == ended.index(None)

    @pytest.mark.parametrize("if_absent", [None, 1, "yes"])
    async def test_what_is_no_flag_is_refused(self, store: AsyncMongoStore, if_absent: Any) -> None:
        with pytest.raises(InvalidValueError, match="if_absent"):
            await store.threads.merge("t", if_absent=if_absent, data={"a": 1})

    async def test_who_adds_again_because_no_answer_came_is_not_refused(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, upsert = [], threads.upsert_thread

        async def lose_the_answer(*arguments: Any, **options: Any) -> None:
            await upsert(*arguments, **options)
            calls.append(arguments)
            if len(calls) == 1:
                raise AutoReconnect("lost")

        monkeypatch.setattr(threads, "upsert_thread", lose_the_answer)
        await store.threads.merge("t", if_absent=True, data={"a": 1})
        # The second attempt finds what the first has done.
        assert len(calls) == 1
        assert await data(store) == {"a": 1}
        with pytest.raises(ConflictError):
            await store.threads.merge("t", if_absent=True, data={"a": 1})
