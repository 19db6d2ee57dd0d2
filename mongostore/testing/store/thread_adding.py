"""What is added to a thread is never put in the place of what somebody else has added."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongostore import ConflictError, InvalidValueError, NotFoundError


async def data(store: Any, thread_id: str = "t") -> dict[str, Any]:
    return dict((await store.threads.get(thread_id)).data)


class ThreadAddingSuite:
    """What adding to a thread has to do.

    Fixtures:
        store: An open one, empty for each test.
    """

    pytestmark = pytest.mark.asyncio

    async def test_keys_that_are_there_are_left_as_they_are(self, store: Any) -> None:
        await store.threads.create("t", name="old", data={"a": 1, "$.b": None})
        await store.threads.merge("t", adds=True, data={"c": 3}, metadata={"a": 1})
        for members in ({"a": 2, "new": 1}, {"c": 3}, {"new": 1, "c": 3}):
            with pytest.raises(ConflictError, match="'t'"):
                await store.threads.merge("t", adds=True, name="new", data=members)
        with pytest.raises(ConflictError):
            await store.threads.merge("t", adds=True, metadata={"a": 1})
        thread = await store.threads.get("t")
        assert (thread.name, thread.data, thread.metadata) == ("old", {"a": 1, "c": 3}, {"a": 1})

    async def test_what_was_removed_can_be_added(self, store: Any) -> None:
        await store.threads.merge("t", data={"a": 1})
        await store.threads.merge("t", data={"a": None})
        await store.threads.merge("t", adds=True, data={"a": 2})
        assert await data(store) == {"a": 2}

    async def test_a_thread_is_made_by_what_is_added(self, store: Any) -> None:
        await store.threads.merge("t", adds=True, kind="role", data={"a": 1})
        assert await data(store) == {"a": 1}
        await store.threads.delete("t")
        with pytest.raises(NotFoundError):
            await store.threads.merge("t", adds=True, data={"a": 1})

    async def test_of_many_who_add_one_key_one_can(self, store: Any) -> None:
        for key in ("a", "b"):
            calls = [store.threads.merge("t", adds=True, data={key: number}) for number in range(8)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert sorted(type(end).__name__ for end in ended) == ["ConflictError"] * 7 + ["NoneType"]
            assert (await data(store))[key] == ended.index(None)

    @pytest.mark.parametrize("adds", [None, 1, "yes"])
    async def test_what_is_no_flag_is_refused(self, store: Any, adds: Any) -> None:
        with pytest.raises(InvalidValueError, match="adds"):
            await store.threads.merge("t", adds=adds, data={"a": 1})
