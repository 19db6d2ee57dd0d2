"""What files and elements promise, on every engine."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gridfs import AsyncGridFSBucket

from mongostore import (
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    Element,
    InvalidValueError,
    NotFoundError,
)
from tests.contract.oddities import NASTY, NO_IDS, refused, same

MiB = 1024 * 1024


# How GridFS cuts files.
CHUNK_BYTES = 255 * 1024

SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 4 * MiB + 7]


async def read(store: AsyncMongoStore, key: str, **bounds: Any) -> bytes:
    return b"".join([piece async for piece in store.files.read(key, **bounds)])


NO_CONTENT: list[Any] = [None, "text", 5, bytearray(b"x"), memoryview(b"x"), [1]]

NO_DATA: list[Any] = ["x", [], {1: 1}]

bad_uploads = pytest.mark.parametrize(
    ("path", "arguments"),
    [
        *(("content", {"content": bad}) for bad in NO_CONTENT),
        *(("content_type", {"content_type": bad}) for bad in (None, 5, "x" * 513)),
        *(("data", {"data": bad}) for bad in NO_DATA),
        ("data.k[0]", {"data": {"k": [b"x"]}}),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0][:40],
)


def element(name: str, **members: Any) -> Element:
    return Element(**{"id": name, "thread_id": "t", "message_id": "m", **members})


async def counts(store: AsyncMongoStore) -> tuple[int, int]:
    database = store.engine.database
    return (
        await database["files.files"].count_documents({}),
        await database["files.chunks"].count_documents({}),
    )


class TestFiles:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.smoke
    async def test_a_file_comes_back_byte_for_byte(self, store: AsyncMongoStore, size: int) -> None:
        content = os.urandom(size)
        stored = await store.files.upload("k", content, content_type="image/png", data={"a.b": 1})
        assert stored == await store.files.get("k") == await store.files.find("k")
        assert (stored.key, stored.size, stored.content_type) == ("k", size, "image/png")
        assert stored.data == {"a.b": 1}
        assert abs(datetime.now(UTC) - stored.created_at).total_seconds() < 60
        assert await read(store, "k") == content
        assert await store.files.delete("k")
        assert await store.files.find("k") is None
        assert await counts(store) == (0, 0)

    async def test_ranges_are_exact_across_the_borders_of_chunks(self, store: AsyncMongoStore) -> None:
        content = os.urandom(3 * CHUNK_BYTES + 5)
        await store.files.upload("k", content)
        borders = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 4]
        for start in [*borders, len(content)]:
            assert await read(store, "k", start=start) == content[start:]
            for end in [border for border in [*borders, len(content)] if border >= start]:
                assert await read(store, "k", start=start, end=end) == content[start:end]
        for bounds, path in (
            ({"start": 0, "end": len(content) + 1}, "end"),
            ({"start": 2, "end": 1}, "start"),
            ({"start": len(content) + 1, "end": None}, "start"),
        ):
            with pytest.raises(InvalidValueError) as caught:
                await read(store, "k", **bounds)
            assert caught.value.path == path

    async def test_unknown_files(self, store: AsyncMongoStore) -> None:
        assert await store.files.find("x") is None
        assert not await store.files.delete("x")
        for call in (store.files.get("x"), read(store, "x")):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("file", "x")

    @pytest.mark.smoke
    async def test_an_upload_takes_the_place_of_the_one_before(self, store: AsyncMongoStore) -> None:
        await store.files.upload("other", b"other")
        for number in range(5):
            await store.files.upload("k", str(number).encode() * (CHUNK_BYTES + 1), data={"n": number})
            assert (await store.files.get("k")).data == {"n": number}
            assert await read(store, "k") == str(number).encode() * (CHUNK_BYTES + 1)
        assert await read(store, "other") == b"other"
        assert await counts(store) == (2, 3)

    async def test_of_parallel_uploads_one_is_left_whole(self, store: AsyncMongoStore) -> None:
        for key in "abcde":
            await asyncio.gather(*(store.files.upload(key, bytes([n]) * (CHUNK_BYTES + 9)) for n in range(8)))
            content = await read(store, key)
            assert content == content[:1] * (CHUNK_BYTES + 9)
        assert await counts(store) == (5, 10)

    async def test_readers_see_one_or_the_other_whole(self, store: AsyncMongoStore) -> None:
        size = 4 * CHUNK_BYTES
        await store.files.upload("k", b"\0" * size)
        is_over = asyncio.Event()

        async def reader() -> int:
            whole = 0
            while not is_over.is_set() or not whole:
                pieces: list[bytes] = []
                try:
                    async for piece in store.files.read("k"):
                        pieces.append(piece)  # noqa: PERF401  # what came before an error counts
                except NotFoundError:
                    # Replaced while it was read, and said so; never before the first piece.
                    assert pieces
                else:
                    content = b"".join(pieces)
                    assert content == content[:1] * size
                    whole += 1
                assert (await store.files.get("k")).size == size
            return whole

        readers = [asyncio.create_task(reader()) for _ in range(4)]
        for number in range(30):
            await store.files.upload("k", bytes([number]) * size)
        is_over.set()
        assert all(await asyncio.gather(*readers))

    async def test_data_come_back_as_they_were_given(self, store: AsyncMongoStore) -> None:
        data = {"a.b": 1, "$c": None, "": NASTY, "nul\0": 1}
        await store.files.upload("k", b"", data=data)
        assert same((await store.files.get("k")).data, data)

    @pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:20])
    async def test_ids_are_plain_strings(self, store: AsyncMongoStore, bad: Any) -> None:
        files, elements = store.files, store.elements
        calls = [files.upload(bad, b""), files.get(bad), files.find(bad), files.delete(bad), read(store, bad)]
        assert {error.path for error in await refused(*calls)} == {"key"}
        calls = [elements.get(bad), elements.find(bad), elements.delete(bad)]
        assert {error.path for error in await refused(*calls)} == {"element_id"}
        for name in ("id", "thread_id", "message_id", *([] if bad is None else ["file_key"])):
            given = {"id": "e", "thread_id": "t", "message_id": "m", "file_key": None, "data": {}, name: bad}
            [error] = await refused(elements.upsert(Element.model_construct(**given)))
            assert error.path == name
        iterated: AsyncIterator[Element] = elements.iter(bad)
        [error] = await refused(anext(iterated))
        assert error.path == "thread_id"

    @bad_uploads
    async def test_bad_uploads_are_refused_by_their_paths(
        self, store: AsyncMongoStore, path: str, arguments: Any
    ) -> None:
        [error] = await refused(store.files.upload("k", **{"content": b"x", **arguments}))
        assert error.path == path
        assert await store.files.find("k") is None
        assert await counts(store) == (0, 0)

    @pytest.mark.parametrize("name", ["start", "end"])
    @pytest.mark.parametrize("bad", [-1, 1.0, True, "1", {"$gt": 0}, 2**64])
    async def test_bad_ranges_are_refused_by_their_paths(
        self, store: AsyncMongoStore, name: str, bad: Any
    ) -> None:
        await store.files.upload("k", b"xyz")
        [error] = await refused(read(store, "k", **{name: bad}))
        assert error.path == name

    async def test_too_large_data_are_refused_with_nothing_written(self, store: AsyncMongoStore) -> None:
        with pytest.raises(DocumentTooLargeError):
            await store.files.upload("k", b"x", data={"k": "x" * 17_000_000})
        with pytest.raises(DocumentTooLargeError):
            await store.elements.upsert(
                Element(id="e", thread_id="t", message_id="m", data={"k": "x" * 17_000_000})
            )
        assert await store.files.find("k") is None
        assert await store.elements.find("e") is None
        assert await store.threads.find("t") is None
        assert await counts(store) == (0, 0)

    @pytest.mark.smoke
    async def test_an_element_is_stored_and_replaced_whole(self, store: AsyncMongoStore) -> None:
        first = element("e", data={"k": 1, "a.b": {"$set": [None]}})
        assert await store.elements.upsert(first) == first
        assert await store.elements.get("e") == await store.elements.find("e") == first
        assert (await store.threads.get("t")).id == "t"
        second = element("e", message_id="n", data={"": 2**70})
        await store.elements.upsert(second)
        assert await store.elements.get("e") == second
        for number, value in enumerate(NASTY):
            await store.elements.upsert(element(f"n{number}", data={"k": value}))
            assert same((await store.elements.get(f"n{number}")).data, {"k": value})

    async def test_elements_come_in_the_order_in_which_they_were_first_stored(
        self, store: AsyncMongoStore
    ) -> None:
        for name in "cab":
            await store.elements.upsert(element(name))
        await store.elements.upsert(element("x", thread_id="other"))
        await store.elements.upsert(element("c", data={"k": 1}))
        assert [found.id async for found in store.elements.iter("t")] == ["c", "a", "b"]
        assert [found.id async for found in store.elements.iter("nothing")] == []
        unreadable = {"$set": {"data": 5, "message_id": 5}}
        await store.engine.database["elements"].update_one({"_id": "a"}, unreadable)
        assert [found.id async for found in store.elements.iter("t")] == ["c", "b"]

    async def test_unknown_elements(self, store: AsyncMongoStore) -> None:
        assert await store.elements.find("x") is None
        assert not await store.elements.delete("x")
        with pytest.raises(NotFoundError) as caught:
            await store.elements.get("x")
        assert (caught.value.kind, caught.value.id) == ("element", "x")

    async def test_an_element_is_deleted_with_its_file_alone(self, store: AsyncMongoStore) -> None:
        for name in "ab":
            await store.files.upload(name, name.encode())
            await store.elements.upsert(element(name, file_key=name))
        assert await store.elements.delete("a")
        assert not await store.elements.delete("a")
        assert await store.elements.find("a") is None
        assert await store.files.find("a") is None
        assert await read(store, "b") == b"b"
        assert await counts(store) == (1, 1)

    async def test_the_file_of_a_replaced_element_goes_unless_it_is_the_same(
        self, store: AsyncMongoStore
    ) -> None:
        for name in "ab":
            await store.files.upload(name, b"x")
        await store.elements.upsert(element("e", file_key="a"))
        await store.elements.upsert(element("e", file_key="a", data={"k": 1}))
        assert await read(store, "a") == await read(store, "b") == b"x"
        await store.elements.upsert(element("e", file_key="b"))
        assert await store.files.find("a") is None
        assert await read(store, "b") == b"x"
        assert await counts(store) == (1, 1)

    async def test_an_element_stays_in_its_thread(self, store: AsyncMongoStore) -> None:
        await store.elements.upsert(element("e", data={"k": 1}))
        with pytest.raises(ConflictError):
            await store.elements.upsert(element("e", thread_id="other"))
        assert (await store.elements.get("e")).data == {"k": 1}
        assert await store.threads.find("other") is None

    async def test_parallel_upserts_of_an_element_make_one(self, store: AsyncMongoStore) -> None:
        await asyncio.gather(*(store.elements.upsert(element("e", data={"n": n})) for n in range(20)))
        assert len([found async for found in store.elements.iter("t")]) == 1
        [error] = await refused(store.elements.upsert({"id": "e"}))
        assert error.path == "element"


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
    stored = await server_store.engine.database["files.files"].find_one({"filename": "k"})
    await bucket.delete(stored["_id"])
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
