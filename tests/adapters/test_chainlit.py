"""Chainlit's data layer, on each engine, far from UTC."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref

import pytest

from mongostore import AsyncMongoStore, NotFoundError
from tests.adapters.chainlit_parts import (
    THREAD,
    BaseDataLayer,
    DataLayerSuite,
    FakeStorage,
    Feedback,
    MongoDataLayer,
    Pagination,
    ThreadFilter,
    at,
    claim,
    message,
    steps_of,
    stored,
)

INHERITED: set[str] = set()


async def count(store: AsyncMongoStore, *names: str) -> int:
    """How many documents some collections hold."""
    return sum([await store.engine.database[name].count_documents({}) for name in names])


class TestDataLayer(DataLayerSuite):
    """What Chainlit asks of any data layer, and what is left in the database."""

    async def test_a_deleted_thread_stays_deleted(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await super().test_a_deleted_thread_stays_deleted(layer)
        assert await count(store, "elements", "files.files", "files.chunks") == 0
        assert await count(store, "messages") == 1

    async def test_whatever_runs_beside_a_deletion_leaves_nothing(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await super().test_whatever_runs_beside_a_deletion_leaves_nothing(layer)
        assert await count(store, "messages", "elements", "files.files", "files.chunks") == 0

    async def test_deleting_a_step_takes_its_own_and_leaves_its_children(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await super().test_deleting_a_step_takes_its_own_and_leaves_its_children(layer)
        assert await count(store, "files.files") == 1
        with pytest.raises(NotFoundError):
            await layer.upsert_feedback(Feedback(forId="s", value=1))

    async def test_a_custom_element_has_props_and_no_file(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await super().test_a_custom_element_has_props_and_no_file(layer)
        assert await count(store, "files.files") == 0

    async def test_an_element_with_an_address_keeps_it_and_nothing_is_fetched(
        self, layer: MongoDataLayer, store: AsyncMongoStore
    ) -> None:
        await super().test_an_element_with_an_address_keeps_it_and_nothing_is_fetched(layer)
        assert await count(store, "files.files") == 0

    async def test_all_that_is_returned_is_strict_json_in_utf_8(self, layer: MongoDataLayer) -> None:
        await super().test_all_that_is_returned_is_strict_json_in_utf_8(layer)
        found = (await steps_of(layer))["m"]
        assert found["output"] == "half ?"
        assert found["new"] == {"nan": [None, None], "half": "?!", "?": 2**80, "nul": "\0"}


def test_every_method_of_the_base_class_is_overridden() -> None:
    methods = {name for name, _ in inspect.getmembers(BaseDataLayer, inspect.isfunction)}
    assert {name for name in methods if name not in MongoDataLayer.__dict__} == INHERITED


async def test_nothing_is_connected_before_it_is_used_and_closing_twice_is_harmless(
    database: str, open_stores: set[AsyncMongoStore]
) -> None:
    layer = MongoDataLayer("mongodb://nowhere.invalid:1/?serverSelectionTimeoutMS=100", database)
    await layer.close()
    await layer.close()
    used = MongoDataLayer("mongomock://chainlit-closing", database)
    await claim(used)
    [shared] = map(weakref.ref, open_stores)
    await used.close()
    assert not open_stores
    gc.collect()
    assert shared() is None
    await used.close()
    assert await used.get_user("ada") is not None
    await used.close()


async def test_many_first_calls_at_once_open_one_store(
    database: str, open_stores: set[AsyncMongoStore]
) -> None:
    layer = MongoDataLayer("mongomock://chainlit-opening", database)
    await asyncio.gather(*(layer.get_user("ada") for _ in range(20)))
    assert len(open_stores) == 1
    await layer.close()


async def test_closing_closes_the_storage_and_also_the_store_if_that_fails(
    database: str, open_stores: set[AsyncMongoStore]
) -> None:
    storage = FakeStorage()
    layer = MongoDataLayer("mongomock://chainlit-shelf", database, storage_provider=storage)
    await layer.get_user("ada")
    assert len(open_stores) == 1
    storage.fails = True
    with pytest.raises(OSError, match="does not close"):
        await layer.close()
    assert not open_stores
    storage.fails = False
    await layer.close()
    assert storage.closed == 2


async def test_a_given_store_stays_open(store: AsyncMongoStore) -> None:
    await MongoDataLayer(store=store).close()
    assert await store.threads.find("t") is None


async def test_there_is_no_debug_url(layer: MongoDataLayer) -> None:
    assert await layer.build_debug_url() == ""


async def test_a_user_that_is_unknown_is_said_so(layer: MongoDataLayer) -> None:
    with pytest.raises(NotFoundError, match="user"):
        await layer.update_thread(THREAD, name="mine", user_id="nobody")


async def test_a_name_is_cut(layer: MongoDataLayer) -> None:
    text = "ä🙂" * 300_000
    await layer.update_thread(THREAD, name=text)
    thread = await layer.get_thread(THREAD)
    assert thread is not None
    assert thread["name"] == text[:255]


async def test_a_list_without_a_user_is_refused(layer: MongoDataLayer) -> None:
    for user_id in (None, ""):
        with pytest.raises(ValueError, match="userId"):
            await layer.list_threads(Pagination(first=5), ThreadFilter(userId=user_id))


async def test_a_list_has_the_time_of_the_last_step_and_no_steps(layer: MongoDataLayer) -> None:
    user_id = await claim(layer, THREAD)
    later = 10 * 365 * 86400
    await layer.create_step(message("m", seconds=later))
    page = await layer.list_threads(Pagination(first=1), ThreadFilter(userId=user_id))
    assert (page.data[0]["createdAt"], page.data[0]["steps"]) == (at(later), [])


async def test_the_file_of_an_element_is_found_by_its_thread_its_id_and_its_name(
    layer: MongoDataLayer, store: AsyncMongoStore
) -> None:
    found = await stored(layer, id="e", content=b"x")
    assert found["objectKey"] == f"threads/{THREAD}/e/it.bin"
    assert await store.threads.files.find(found["objectKey"]) is not None
