"""What kinds of threads and messages promise, and messages that belong to no thread yet, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConflictError, NotFoundError
from tests.contract.edge_cases import NASTY, refused
from tests.contract.threads import at


async def threads(store: AsyncMongoStore, **where: Any) -> list[str]:
    return [thread.id async for thread in store.threads.iter(**where)]


async def messages(store: AsyncMongoStore, *thread: str, **where: Any) -> list[str]:
    return [message.id async for message in store.threads.messages.iter(*thread, **where)]


class TestThreadKinds:
    async def test_threads_of_a_kind_are_found_by_owner_name_and_data(self, store: AsyncMongoStore) -> None:
        await store.threads.create("a", kind="role", owner_id="ada", name="one", data={"public": True})
        await store.threads.create("b", kind="role", owner_id="ada", name="two", data={"public": False})
        await store.threads.create("c", kind="role", owner_id="bob", name="one", data={"public": True})
        await store.threads.create("d", kind="other", owner_id="ada")
        await store.threads.create("e", owner_id="ada")
        assert await threads(store, kind="role") == ["a", "b", "c"]
        assert await threads(store, kind="role", owner_id="ada") == ["a", "b"]
        assert await threads(store, kind="role", name="one") == ["a", "c"]
        assert await threads(store, kind="role", owner_id="ada", data={"public": True}) == ["a"]
        assert await threads(store, kind="role", data={"public": None}) == []
        assert await threads(store, kind="other", data={"public": None}) == ["d"]
        thread = await store.threads.get("a")
        assert (thread.kind, thread.owner_id) == ("role", "ada")
        await store.threads.merge("a", owner_id=None)
        assert await threads(store, kind="role", owner_id="ada") == ["b"]
        await store.threads.delete("b")
        assert await threads(store, kind="role") == ["a", "c"]

    @pytest.mark.parametrize("nasty", NASTY)
    async def test_odd_values_are_found_by_equality_alone(self, store: AsyncMongoStore, nasty: Any) -> None:
        await store.threads.create("a", kind="role", data={"k.$": nasty})
        await store.threads.create("b", kind="role", data={"k.$": [nasty, "other"]})
        await store.threads.messages.merge(None, "m", kind="role", content=nasty)
        await store.threads.messages.merge(None, "n", kind="role", content=["other"])
        if nasty is not None:
            assert await threads(store, kind="role", data={"k.$": nasty}) == ["a"]
            assert await messages(store, kind="role", content=nasty) == ["m"]

    async def test_a_thread_or_a_kind_of_messages_has_to_be_named(self, store: AsyncMongoStore) -> None:
        errors = await refused(
            anext(store.threads.messages.iter()),
            anext(store.threads.messages.iter(content="x")),
            anext(store.threads.iter(kind={"$gt": ""})),
            anext(store.threads.messages.iter(kind={"$gt": ""})),
        )
        assert [error.path for error in errors] == ["thread_id", "thread_id", "kind", "kind"]

    async def test_messages_of_a_kind_are_found_the_oldest_first(self, store: AsyncMongoStore) -> None:
        for number, (key, thread) in enumerate([("z", "t"), ("y", None), ("x", "u")]):
            await store.threads.messages.merge(
                thread,
                key,
                only_missing=True,
                kind="role",
                content="hi",
                data={"role": key},
                created_at=at(number),
            )
        await store.threads.messages.merge("t", "step", only_missing=True, content="hi")
        assert await messages(store, kind="role") == ["z", "y", "x"]
        assert await messages(store, kind="role", content="hi", data={"role": "y"}) == ["y"]
        assert await messages(store, "t", kind="role") == ["z"]
        assert await messages(store, "t") == ["z", "step"]
        assert (await store.threads.messages.get("t", "z")).kind == "role"

    async def test_a_message_without_a_thread_goes_to_the_first_that_takes_it(
        self, store: AsyncMongoStore
    ) -> None:
        await store.threads.messages.merge(None, "m", only_missing=True, content="hi", created_at=at(5))
        assert await store.threads.messages.find("t", "m") is None
        loose = await store.threads.messages.find_by_id("m")
        assert loose is not None
        assert (loose.thread_id, loose.content) == (None, "hi")
        await store.threads.messages.merge("t", "m", data={"k": 1})
        message = await store.threads.messages.get("t", "m")
        assert (message.thread_id, message.content, message.data) == ("t", "hi", {"k": 1})
        assert (await store.threads.get("t")).active_at == at(5)
        await store.threads.messages.merge(None, "m", content="ho")
        assert (await store.threads.messages.get("t", "m")).thread_id == "t"
        with pytest.raises(ConflictError):
            await store.threads.messages.merge("u", "m", content="mine")
        assert (await store.threads.messages.get("t", "m")).content == "ho"

    async def test_of_threads_that_take_a_message_at_once_one_gets_it(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge(None, "m", content="hi")
        outcomes = await asyncio.gather(
            *(store.threads.messages.merge(f"t{n}", "m", content=n) for n in range(5)), return_exceptions=True
        )
        assert sum(outcome is None for outcome in outcomes) == 1
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 4
        message = await store.threads.messages.find_by_id("m")
        assert message is not None
        assert message.thread_id == f"t{message.content}"

    async def test_a_deleted_thread_takes_no_message(self, store: AsyncMongoStore) -> None:
        await store.threads.create("t")
        await store.threads.delete("t")
        await store.threads.messages.merge(None, "m", content="hi")
        with pytest.raises(NotFoundError):
            await store.threads.messages.merge("t", "m", content="ho")
        message = await store.threads.messages.find_by_id("m")
        assert message is not None
        assert (message.thread_id, message.content) == (None, "hi")
        assert not await store.threads.messages.delete("t", "m")
        assert await store.threads.messages.delete(None, "m")
        assert await store.threads.messages.find_by_id("m") is None


async def test_values_are_compared_as_python_compares(store: AsyncMongoStore) -> None:
    values: list[Any] = [1, 1.0, True, 2, {"a": 1, "b": 2}, {"b": 2, "a": True}, [1], [[1]], {"a.b": 1}, None]
    for number, value in enumerate(values):
        await store.threads.create(f"t{number}", kind="k", data={"v": value})
        await store.threads.messages.merge(
            f"t{number}", f"m{number}", kind="k", content=value, data={"v": value}
        )
    for value in values:
        equal = [number for number, other in enumerate(values) if other == value]
        assert await threads(store, kind="k", data={"v": value}) == [f"t{number}" for number in equal]
        assert await messages(store, kind="k", data={"v": value}) == [f"m{number}" for number in equal]
        if value is not None:
            assert await messages(store, kind="k", content=value) == [f"m{number}" for number in equal]
