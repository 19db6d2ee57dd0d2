"""That a deleted thread stays deleted, whatever comes late, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import AlreadyExistsError, AsyncMongoStore, Element, Feedback, NotFoundError
from mongostore.repositories import Connection
from mongostore.repositories.threads import elements
from mongostore.repositories.threads.thread_writes import delete_elements
from tests.contract.threads import listed, user_id

Write = Callable[[int], Awaitable[object]]


async def fill(store: AsyncMongoStore, thread_id: str, ada: str) -> None:
    await store.threads.create(thread_id, user_id=ada, name="n", data={"k": 1}, metadata={"k": 1}, tags=["x"])
    for number in range(3):
        message = f"{thread_id}-m{number}"
        await store.threads.messages.merge(thread_id, message, only_missing=True, content="x", pinned=True)
        await store.threads.feedback.upsert(thread_id, Feedback(message_id=message, value=1))
        key = f"{thread_id}/{number}"
        await store.threads.files.upload(key, b"x" * 600_000)
        await store.threads.elements.upsert(
            thread_id, Element(id=key, message_id=message, file_key=key, data={"k": 1})
        )


UNSET = (
    "user_id",
    "user_identifier",
    "name",
    "tags",
    "data",
    "metadata",
    "votes",
    "has_pinned",
    "merged_size",
    "votes_size",
    "words",
)


async def left(store: AsyncMongoStore) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for name in ("threads", "messages", "elements", "files.files", "files.chunks"):
        async with store.engine.database[name].find({}) as cursor:
            found[name] = await cursor.to_list()
    return found


async def assert_tombstones_alone(store: AsyncMongoStore, count: int = 1) -> None:
    found = await left(store)
    tombstones = found.pop("threads")
    assert len(tombstones) == count
    assert {name: len(documents) for name, documents in found.items()} == dict.fromkeys(found, 0)
    for tombstone in tombstones:
        assert tombstone.keys() <= {
            *("_id", "state", "created_at", "active_at", "create_op", "delete_op", "deleted_at"),
            "expires_at",
            "schema_version",
        }
        assert tombstone["state"] == "deleted"


class TestThreadDeletion:
    async def test_delete_leaves_nothing_of_a_thread_and_other_threads(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        await fill(store, "t", ada)
        await fill(store, "other", ada)
        assert await store.threads.delete("t")
        assert not await store.threads.delete("t")
        assert await store.threads.find("t") is None
        assert await listed(store, ada) == ["other"]
        assert await listed(store, ada, vote=1) == ["other"]
        assert await store.threads.messages.find_by_id("t-m0") is None
        assert await store.threads.feedback.find("t", "t-m0") is None
        pinned = await store.threads.messages.list_pinned(ada)
        assert {message.thread_id for message in pinned} == {"other"}
        assert len([message async for message in store.threads.messages.iter("other")]) == 3
        assert [element.id async for element in store.threads.elements.iter("other")] == [
            "other/0",
            "other/1",
            "other/2",
        ]
        assert await store.threads.files.find("t/0") is None
        assert len(await store.threads.files.read("other/2")) == 600_000
        await store.threads.delete("other")
        await assert_tombstones_alone(store, 2)

    async def test_exactly_one_of_parallel_deletes_did_it(self, store: AsyncMongoStore) -> None:
        await fill(store, "t", await user_id(store))
        assert sum(await asyncio.gather(*(store.threads.delete("t") for _ in range(8)))) == 1
        assert await store.threads.find("t") is None
        await assert_tombstones_alone(store)

    async def test_what_comes_late_is_refused_and_leaves_nothing(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        await fill(store, "t", ada)
        await store.threads.delete("t")
        await store.threads.files.upload("late", b"x")
        late = Element(id="e", thread_id="t", message_id="t-m0", file_key="late")
        for call in (
            store.threads.merge("t", metadata={"k": 1}),
            store.threads.merge("t", user_id=ada, name="n"),
            store.threads.messages.merge("t", "t-m0", only_missing=True, content="x"),
            store.threads.messages.merge("t", "t-m0", content="x", pinned=True),
            store.threads.messages.merge("t", "new", content="x"),
            store.threads.elements.upsert("t", late),
            store.threads.get("t"),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("thread", "t")
        with pytest.raises(NotFoundError):
            await store.threads.feedback.upsert("t", Feedback(message_id="t-m0", value=1))
        with pytest.raises(AlreadyExistsError):
            await store.threads.create("t")
        assert await store.threads.find("t") is None
        await assert_tombstones_alone(store)

    async def test_an_element_that_comes_again_at_any_moment_of_a_deletion_leaves_nothing(
        self, store: AsyncMongoStore
    ) -> None:
        async def come_again(name: str, pauses: int) -> None:
            for _ in range(pauses):
                await store.threads.find("nothing")
            await store.threads.files.upload(name, b"x")
            with suppress(NotFoundError):
                await store.threads.elements.upsert(name, Element(id=name, message_id="m", file_key=name))

        for pauses in range(12):
            name = f"t{pauses}"
            await come_again(name, 0)
            await asyncio.gather(store.threads.delete(name), come_again(name, pauses))
            assert [element.id async for element in store.threads.elements.iter(name)] == []
            assert await store.threads.files.find(name) is None
        await assert_tombstones_alone(store, 12)

    async def test_late_writers_leave_nothing_of_a_thread_that_is_deleted_meanwhile(
        self, store: AsyncMongoStore
    ) -> None:
        ada = await user_id(store)
        await fill(store, "t", ada)
        is_over = asyncio.Event()

        async def element(number: int) -> None:
            # One id whose file is another each time, and many ids.
            key = f"late {number}"
            await store.threads.files.upload(key, b"x" * 300_000)
            for name in ("t/0", key):
                await store.threads.elements.upsert(
                    "t",
                    Element(id=name, thread_id="t", message_id="t-m0", file_key=key if name != key else None),
                )

        async def keep_on(write: Write) -> set[type[BaseException]]:
            seen: set[type[BaseException]] = set()
            number = 0
            while len(seen) < 5 and not (is_over.is_set() and seen):
                number += 1
                try:
                    await write(number)
                except (NotFoundError, AlreadyExistsError) as error:
                    seen.add(type(error))
            return seen

        writes: list[Write] = [
            lambda n: store.threads.merge("t", metadata={f"k{n}": n}),
            lambda n: store.threads.merge("t", user_id=ada, name=str(n)),
            lambda n: store.threads.messages.merge("t", f"new{n}", only_missing=True, content="x"),
            lambda n: store.threads.messages.merge("t", f"changed{n}", content="x", pinned=True),
            lambda n: store.threads.messages.merge("t", "t-m0", content="x" * n),
            lambda n: store.threads.messages.merge("t", "t-m1", only_missing=True, content="x" * n),
            lambda n: store.threads.messages.merge(
                "t", "both", only_missing=bool(n % 2), content="x", data={str(n): n}
            ),
            lambda n: store.threads.feedback.upsert("t", Feedback(message_id="t-m0", value=n)),
            element,
            lambda _: store.threads.create("t"),
        ]
        writers = [asyncio.create_task(keep_on(write)) for write in writes]
        await asyncio.sleep(0.3)
        assert await store.threads.delete("t")
        is_over.set()
        seen = await asyncio.wait_for(asyncio.gather(*writers), 60)
        assert seen[:-1] == [{NotFoundError}] * (len(writes) - 1)
        assert seen[-1] == {AlreadyExistsError}
        assert await store.threads.find("t") is None
        await assert_tombstones_alone(store)


async def test_a_tombstone_expires(store: AsyncMongoStore) -> None:
    await store.threads.create("t")
    await store.threads.delete("t")
    found = await store.engine.database["threads"].find_one({"_id": "t"})
    assert found is not None
    expires_at = found["expires_at"].replace(tzinfo=UTC)
    assert timedelta(days=29) < expires_at - datetime.now(UTC) < timedelta(days=31)


async def test_an_interrupted_deletion_goes_on(store: AsyncMongoStore) -> None:
    await fill(store, "t", await user_id(store))
    database = store.engine.database
    await database["threads"].update_one(
        {"_id": "t"},
        {"$set": {"state": "deleted", "delete_op": "x"}, "$unset": dict.fromkeys(UNSET, "")},
    )
    # Some of the rest went, too: a message, an element's file, and only the content of another.
    await database["messages"].delete_one({"_id": "t-m1"})
    await store.threads.files.delete("t/0")
    entry = await database["files.files"].find_one({"filename": "t/1"})
    assert entry is not None
    await database["files.chunks"].delete_many({"files_id": entry["_id"]})
    assert await store.threads.find("t") is None
    assert not await store.threads.delete("t")
    await assert_tombstones_alone(store)


async def test_the_file_goes_of_a_late_element_that_the_deletion_meets_first(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_late(connection: Connection, where: dict[str, Any]) -> bool:
        await store.engine.database["elements"].delete_many(where)
        return await delete_elements(connection, where)

    monkeypatch.setattr(elements, "delete_elements", too_late)
    await store.threads.create("t")
    await store.threads.delete("t")
    await store.threads.files.upload("f", b"x")
    with pytest.raises(NotFoundError):
        await store.threads.elements.upsert("t", Element(id="e", thread_id="t", message_id="m", file_key="f"))
    await assert_tombstones_alone(store)
