"""What files and elements promise, on every engine, and what is stored of them."""

from __future__ import annotations

import os
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gridfs import AsyncGridFSBucket

from mongostore import AsyncMongoStore, NotFoundError
from mongostore.testing.store import FilesSuite
from mongostore.testing.store.files import CHUNK_BYTES, SIZES, MiB, bad_uploads, read


async def counts(store: AsyncMongoStore) -> tuple[int, int]:
    database = store.engine.database
    return (
        await database["files.files"].count_documents({}),
        await database["files.chunks"].count_documents({}),
    )


class TestFiles(FilesSuite):
    """What files and elements promise."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_file_comes_back_byte_for_byte(self, store: AsyncMongoStore, size: int) -> None:
        await super().test_a_file_comes_back_byte_for_byte(store, size)
        assert await counts(store) == (0, 0)

    async def test_an_upload_takes_the_place_of_the_one_before(self, store: AsyncMongoStore) -> None:
        await super().test_an_upload_takes_the_place_of_the_one_before(store)
        assert await counts(store) == (2, 3)

    async def test_of_parallel_uploads_one_is_left_whole(self, store: AsyncMongoStore) -> None:
        await super().test_of_parallel_uploads_one_is_left_whole(store)
        assert await counts(store) == (5, 10)

    @bad_uploads
    async def test_bad_uploads_are_refused_by_their_paths(
        self, store: AsyncMongoStore, path: str, arguments: Any
    ) -> None:
        await super().test_bad_uploads_are_refused_by_their_paths(store, path, arguments)
        assert await counts(store) == (0, 0)

    async def test_too_large_data_are_refused_with_nothing_written(self, store: AsyncMongoStore) -> None:
        await super().test_too_large_data_are_refused_with_nothing_written(store)
        assert await counts(store) == (0, 0)

    async def test_elements_come_in_the_order_in_which_they_were_first_stored(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_elements_come_in_the_order_in_which_they_were_first_stored(store)
        unreadable = {"$set": {"data": 5, "message_id": 5}}
        await store.engine.database["elements"].update_one({"_id": "a"}, unreadable)
        assert [found.id async for found in store.elements.iter("t")] == ["c", "b"]

    async def test_an_element_is_deleted_with_its_file_alone(self, store: AsyncMongoStore) -> None:
        await super().test_an_element_is_deleted_with_its_file_alone(store)
        assert await counts(store) == (1, 1)

    async def test_the_file_of_a_replaced_element_goes_unless_it_is_the_same(
        self, store: AsyncMongoStore
    ) -> None:
        await super().test_the_file_of_a_replaced_element_goes_unless_it_is_the_same(store)
        assert await counts(store) == (1, 1)


async def test_20_mib_are_read_piece_by_piece(store: AsyncMongoStore) -> None:
    content = os.urandom(20 * MiB)
    await store.files.upload("k", content)
    await anext(pieces := store.files.read("k"))
    await pieces.aclose()  # type: ignore[attr-defined]
    position = 0
    tracemalloc.start()
    try:
        async for piece in store.files.read("k"):
            assert len(piece) <= CHUNK_BYTES
            assert piece == content[position : position + len(piece)]
            position += len(piece)
        assert tracemalloc.get_traced_memory()[1] < 4 * MiB
    finally:
        tracemalloc.stop()
    assert position == len(content)


async def test_an_upload_by_a_slow_clock_takes_the_place_all_the_same(store: AsyncMongoStore) -> None:
    await store.files.upload("k", b"old")
    later = datetime.now(UTC) + timedelta(days=1)
    await store.engine.database["files.files"].update_one({}, {"$set": {"uploadDate": later}})
    await store.files.upload("k", b"new")
    assert await read(store, "k") == b"new"
    assert await counts(store) == (1, 1)


async def test_a_deletion_that_was_cut_short_goes_on(store: AsyncMongoStore) -> None:
    await store.files.upload("k", b"x" * (3 * CHUNK_BYTES))
    await store.engine.database["files.chunks"].delete_many({"n": {"$lt": 2}})
    with pytest.raises(NotFoundError):
        await read(store, "k")
    assert await store.files.delete("k")
    assert await counts(store) == (0, 0)


@pytest.fixture
def bucket(server_store: AsyncMongoStore) -> AsyncGridFSBucket:
    """The driver's own view of the files."""
    return AsyncGridFSBucket(server_store.engine.database, bucket_name="files")


@pytest.mark.server
@pytest.mark.parametrize("size", SIZES)
async def test_gridfs_reads_what_we_write(
    server_store: AsyncMongoStore, bucket: AsyncGridFSBucket, size: int
) -> None:
    content = os.urandom(size)
    await server_store.files.upload("k", os.urandom(5))
    await server_store.files.upload("k", content, content_type="text/plain", data={"k": 1})
    stream = await bucket.open_download_stream_by_name("k")
    assert await stream.read() == content
    assert (stream.length, stream.chunk_size, stream.filename) == (size, CHUNK_BYTES, "k")
    assert stream.metadata == {"content_type": "text/plain", "data": {"k": 1}}
    await bucket.delete(stream._id)
    assert await server_store.files.find("k") is None
    assert await counts(server_store) == (0, 0)


@pytest.mark.server
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("metadata", [None, {"content_type": 5, "data": "x", "else": 1}])
async def test_we_read_what_gridfs_writes(
    server_store: AsyncMongoStore, bucket: AsyncGridFSBucket, size: int, metadata: Any
) -> None:
    content = os.urandom(size)
    await bucket.upload_from_stream("k", b"an older version")
    await bucket.upload_from_stream("k", content, chunk_size_bytes=70_001, metadata=metadata)
    file = await server_store.files.get("k")
    assert (file.size, file.content_type, file.data) == (size, "application/octet-stream", {})
    assert type(file.size) is int
    assert await read(server_store, "k") == content
    assert await read(server_store, "k", start=size // 3, end=size // 2) == content[size // 3 : size // 2]
    await server_store.files.upload("k", b"ours")
    assert await read(server_store, "k") == b"ours"
    assert await counts(server_store) == (1, 1)
