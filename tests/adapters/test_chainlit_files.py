"""Files of elements of Chainlit's data layer, in GridFS and elsewhere, on each engine."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from mongostore import AsyncMongoStore, DocumentTooLargeError
from tests.adapters.chainlit_parts import (
    THREAD,
    FakeStorage,
    FileSuite,
    GridFSStorageClient,
    MongoDataLayer,
    Served,
    StorageSuite,
    element,
    stored,
)


class TestFiles(FileSuite):
    """What Chainlit asks of any data layer, with files in GridFS that its own application serves."""

    @pytest.fixture
    def served(self, browser: httpx.AsyncClient) -> Served:
        async def served(url: str) -> bytes | None:
            answer = await browser.get(url)
            assert answer.status_code in (200, 404)
            return answer.content if answer.status_code == 200 else None

        return served

    async def test_deleting_an_element_deletes_its_file(
        self, layer: MongoDataLayer, served: Served, store: AsyncMongoStore
    ) -> None:
        await super().test_deleting_an_element_deletes_its_file(layer, served)
        for name in ("files.files", "files.chunks"):
            assert await store.engine.database[name].count_documents({}) == 0


class TestStorage(StorageSuite):
    """The same with files in a storage that is not ours."""

    @pytest.fixture
    def layer(self, store: AsyncMongoStore, storage: FakeStorage) -> MongoDataLayer:
        return MongoDataLayer(store=store, storage_provider=storage)

    async def test_the_storage_gets_files_and_is_asked_for_addresses(
        self, layer: MongoDataLayer, storage: FakeStorage, store: AsyncMongoStore
    ) -> None:
        await super().test_the_storage_gets_files_and_is_asked_for_addresses(layer, storage)
        assert [*storage.files] == [f"threads/{THREAD}/e/a.png"]
        assert await store.engine.database["files.files"].count_documents({}) == 0

    async def test_what_is_not_stored_is_an_error_that_names_the_element(
        self, layer: MongoDataLayer, storage: FakeStorage, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage.fails = True
        sent = element(content=b"x")
        with pytest.raises(OSError, match="has not stored"):
            await layer.create_element(sent)
        assert f"element {sent.id} is not stored" in caplog.text
        assert await layer.get_element(THREAD, sent.id) is None


async def test_a_missing_file_is_an_error_that_names_the_element(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    sent = element(path=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        await layer.create_element(sent)
    assert f"element {sent.id} is not stored" in caplog.text


async def test_too_many_props_are_an_error_that_names_the_element(
    layer: MongoDataLayer, caplog: pytest.LogCaptureFixture
) -> None:
    sent = element("CustomElement", props={"x": "y" * 17_000_000})
    with pytest.raises(DocumentTooLargeError):
        await layer.create_element(sent)
    assert f"element {sent.id} is not stored" in caplog.text


async def test_files_may_lie_in_another_database(layer: MongoDataLayer, store: AsyncMongoStore) -> None:
    async with AsyncMongoStore("mongomock://", "files") as other:
        apart = MongoDataLayer(store=store, storage_provider=GridFSStorageClient(store=other))
        await stored(apart, id="e", name="a", content=b"x")
        assert await other.threads.files.find(f"threads/{THREAD}/e/a") is not None
        await apart.delete_thread(THREAD)
        assert await other.threads.files.find(f"threads/{THREAD}/e/a") is None
