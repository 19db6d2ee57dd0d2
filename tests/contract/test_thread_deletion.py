"""That a deleted thread stays deleted, whatever comes late, on every engine, and what is left of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Element, NotFoundError
from mongostore.repositories import Connection
from mongostore.repositories.threads import elements
from mongostore.repositories.threads.upkeep import delete_elements
from mongostore.testing.store import ThreadDeletionSuite
from mongostore.testing.store.thread_deletion import fill
from mongostore.testing.store.threads import user_id

UNSET = ("user_id", "user_identifier", "name", "tags", "data", "metadata", "votes", "has_pinned")


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
            *("_id", "state", "created_at", "active_at", "created_by", "deleted_by", "expires_at"),
            "schema_version",
        }
        assert tombstone["state"] == "deleted"


class TestThreadDeletion(ThreadDeletionSuite):
    """That a deleted thread stays deleted."""

    async def test_delete_leaves_nothing_of_a_thread_and_other_threads(self, store: AsyncMongoStore) -> None:
        await super().test_delete_leaves_nothing_of_a_thread_and_other_threads(store)
        await store.threads.delete("other")
        await assert_tombstones_alone(store, 2)

    async def test_exactly_one_of_parallel_deletes_did_it(self, store: AsyncMongoStore) -> None:
        await super().test_exactly_one_of_parallel_deletes_did_it(store)
        await assert_tombstones_alone(store)

    async def test_what_comes_late_is_refused_and_leaves_nothing(self, store: AsyncMongoStore) -> None:
        await super().test_what_comes_late_is_refused_and_leaves_nothing(store)
        await assert_tombstones_alone(store)

    async def test_an_element_that_comes_again_at_any_moment_of_a_deletion_leaves_nothing(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_an_element_that_comes_again_at_any_moment_of_a_deletion_leaves_nothing(store)
        await assert_tombstones_alone(store, 12)

    async def test_late_writers_leave_nothing_of_a_thread_that_is_deleted_meanwhile(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_late_writers_leave_nothing_of_a_thread_that_is_deleted_meanwhile(store)
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
        {"$set": {"state": "deleted", "deleted_by": "x"}, "$unset": dict.fromkeys(UNSET, "")},
    )
    # Some of the rest went, too: a message, an element's file, and only the content of another.
    await database["messages"].delete_one({"_id": "t-m1"})
    await store.files.delete("t/0")
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
    await store.files.upload("f", b"x")
    with pytest.raises(NotFoundError):
        await store.elements.upsert(Element(id="e", thread_id="t", message_id="m", file_key="f"))
    await assert_tombstones_alone(store)
