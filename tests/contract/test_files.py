"""What files and elements promise, on every engine."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gridfs import AsyncGridFSBucket

from mongostore import (
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    Element,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)
from tests.contract.edge_cases import CURSORS, NASTY, NO_IDS, refused, same

MiB = 1024 * 1024


# How GridFS cuts files.
CHUNK_BYTES = 255 * 1024

SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 4 * MiB + 7]


async def read(store: AsyncMongoStore, key: str, **bounds: Any) -> bytes:
    return b"".join([piece async for piece in store.threads.files.iter_content(key, **bounds)])


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
        stored = await store.threads.files.upload("k", content, content_type="image/png", data={"a.b": 1})
        assert stored == await store.threads.files.get("k") == await store.threads.files.find("k")
        assert (stored.key, stored.size, stored.content_type) == ("k", size, "image/png")
        assert stored.data == {"a.b": 1}
        assert abs(datetime.now(UTC) - stored.created_at).total_seconds() < 60
        assert await read(store, "k") == await store.threads.files.read("k") == content
        assert await store.threads.files.exists("k")
        assert await store.threads.files.delete("k")
        assert not await store.threads.files.exists("k")
        assert await store.threads.files.find("k") is None
        assert await counts(store) == (0, 0)

    async def test_ranges_are_exact_across_the_borders_of_chunks(self, store: AsyncMongoStore) -> None:
        content = os.urandom(3 * CHUNK_BYTES + 5)
        await store.threads.files.upload("k", content)
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

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_file_is_uploaded_from_whatever_holds_it(
        self, store: AsyncMongoStore, size: int, tmp_path: Path
    ) -> None:
        content = os.urandom(size)
        (path := tmp_path / "file").write_bytes(content)
        pieces = [content[start : start + 100_000] for start in range(0, size, 100_000)]

        async def flow() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        with path.open("rb") as file:
            for source in (path, file, io.BytesIO(content), pieces, iter(pieces), flow(), [b"", content]):
                stored = await store.threads.files.upload("k", source)
                assert stored == await store.threads.files.get("k")
                assert (stored.size, await store.threads.files.read("k")) == (size, content)
            assert not file.closed
        assert await counts(store) == (1, -(-size // CHUNK_BYTES))

    @pytest.mark.parametrize("failure", [OSError("gone"), "text", None, 5, bytearray(b"x")], ids=repr)
    async def test_a_content_that_fails_leaves_nothing(self, store: AsyncMongoStore, failure: Any) -> None:
        def flow() -> Iterator[Any]:
            yield b"x" * 40 * CHUNK_BYTES
            if isinstance(failure, BaseException):
                raise failure
            yield failure

        await store.threads.files.upload("k", b"old")
        with pytest.raises(OSError if isinstance(failure, OSError) else InvalidValueError):
            await store.threads.files.upload("k", flow())
        assert await store.threads.files.read("k") == b"old"
        assert await counts(store) == (1, 1)

    async def test_no_file_at_a_path_is_told_as_it_is(self, store: AsyncMongoStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            await store.threads.files.upload("k", tmp_path / "none")
        assert await counts(store) == (0, 0)

    async def test_unknown_files(self, store: AsyncMongoStore) -> None:
        assert await store.threads.files.find("x") is None
        assert not await store.threads.files.delete("x")
        for call in (store.threads.files.get("x"), store.threads.files.read("x"), read(store, "x")):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("file", "x")

    @pytest.mark.smoke
    async def test_an_upload_takes_the_place_of_the_one_before(self, store: AsyncMongoStore) -> None:
        await store.threads.files.upload("other", b"other")
        for number in range(5):
            await store.threads.files.upload(
                "k", str(number).encode() * (CHUNK_BYTES + 1), data={"n": number}
            )
            assert (await store.threads.files.get("k")).data == {"n": number}
            assert await read(store, "k") == str(number).encode() * (CHUNK_BYTES + 1)
        assert await read(store, "other") == b"other"
        assert await counts(store) == (2, 3)

    async def test_of_parallel_uploads_one_is_left_whole(self, store: AsyncMongoStore) -> None:
        for key in "abcde":
            await asyncio.gather(
                *(store.threads.files.upload(key, bytes([n]) * (CHUNK_BYTES + 9)) for n in range(8))
            )
            content = await read(store, key)
            assert content == content[:1] * (CHUNK_BYTES + 9)
        assert await counts(store) == (5, 10)

    async def test_readers_see_one_or_the_other_whole(self, store: AsyncMongoStore) -> None:
        size = 4 * CHUNK_BYTES
        await store.threads.files.upload("k", b"\0" * size)
        is_over = asyncio.Event()

        async def reader() -> int:
            whole = 0
            while not is_over.is_set() or not whole:
                pieces: list[bytes] = []
                try:
                    async for piece in store.threads.files.iter_content("k"):
                        pieces.append(piece)  # noqa: PERF401  # what came before an error counts
                except NotFoundError:
                    # Replaced while it was read, and said so; never before the first piece.
                    assert pieces
                else:
                    content = b"".join(pieces)
                    assert content == content[:1] * size
                    whole += 1
                assert (await store.threads.files.get("k")).size == size
            return whole

        readers = [asyncio.create_task(reader()) for _ in range(4)]
        for number in range(30):
            await store.threads.files.upload("k", bytes([number]) * size)
        is_over.set()
        assert all(await asyncio.gather(*readers))

    async def test_data_come_back_as_they_were_given(self, store: AsyncMongoStore) -> None:
        data = {"a.b": 1, "$c": None, "": NASTY, "nul\0": 1}
        await store.threads.files.upload("k", b"", data=data)
        assert same((await store.threads.files.get("k")).data, data)

    @pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:20])
    async def test_ids_are_plain_strings(self, store: AsyncMongoStore, bad: Any) -> None:
        files, elements = store.threads.files, store.threads.elements
        calls = [files.upload(bad, b""), files.get(bad), files.find(bad), files.delete(bad), read(store, bad)]
        assert {error.path for error in await refused(*calls)} == {"key"}
        calls = [files.exists(bad), files.read(bad)]
        assert {error.path for error in await refused(*calls)} == {"key"}
        if bad is not None:
            errors = await refused(files.list(prefix=bad), anext(files.iter(prefix=bad)))
            assert {error.path for error in errors} == {"prefix"}
        calls = [elements.get("t", bad), elements.find("t", bad), elements.delete("t", bad)]
        calls += [elements.find_by_id(bad)]
        assert {error.path for error in await refused(*calls)} == {"element_id"}
        for name in ("id", "message_id", *([] if bad is None else ["file_key"])):
            sent = {"id": "e", "thread_id": "t", "message_id": "m", "file_key": None, "data": {}, name: bad}
            [error] = await refused(elements.upsert("t", Element.model_construct(**sent)))
            assert error.path == name
        calls = [elements.get(bad, "e"), elements.find(bad, "e"), elements.delete(bad, "e")]
        calls += [elements.upsert(bad, element("e")), elements.list(bad), anext(elements.iter(bad))]
        assert {error.path for error in await refused(*calls)} == {"thread_id"}

    async def test_files_are_listed_by_the_beginning_of_their_keys(self, store: AsyncMongoStore) -> None:
        files = store.threads.files
        keys = ["a", "a.", "a.b", "a/1", "a/2", "a/2/x", "aé", "b", "nul\0"]
        for key in reversed(keys):
            await files.upload(key, b"1")
        await files.upload("a/1", b"22")
        for prefix in ("", "a", "a.", "a/", "a/2", "nul\0", "é", ".*"):
            expected = [key for key in keys if key.startswith(prefix)]
            assert [file.key for file in await files.list(prefix=prefix)] == expected
            assert [file.key async for file in files.iter(prefix=prefix)] == expected
        assert (await files.list(prefix="a/"))[0].size == 2
        for newest, expected in ((False, keys), (True, keys[::-1])):
            seen, cursor = list[str](), None
            while True:
                page = await files.list(newest=newest, limit=4, cursor=cursor)
                seen += [file.key for file in page]
                if (cursor := page.next_cursor) is None:
                    break
                # Neither the cursor's own file is needed to go on, nor are those that are shown already.
                await files.delete(seen[-1])
                await files.upload(seen[-1], b"1")
            assert seen == expected

    @pytest.mark.parametrize(
        ("path", "arguments"),
        [
            *(("cursor", {"cursor": cursor}) for cursor in CURSORS),
            *(("limit", {"limit": limit}) for limit in (0, -1, 1001, None, True, 1.5, "1")),
            ("newest", {"newest": 1}),
        ],
        ids=lambda value: repr(value)[:40],
    )
    async def test_bad_arguments_of_lists_are_refused(
        self, store: AsyncMongoStore, path: str, arguments: Any
    ) -> None:
        threads = store.threads
        for call in (threads.files.list, functools.partial(threads.elements.list, "t"), threads.users.list):
            [error] = await refused(call(**arguments))
            assert error.path == path

    @bad_uploads
    async def test_bad_uploads_are_refused_by_their_paths(
        self, store: AsyncMongoStore, path: str, arguments: Any
    ) -> None:
        [error] = await refused(store.threads.files.upload("k", **{"content": b"x", **arguments}))
        assert error.path == path
        assert await store.threads.files.find("k") is None
        assert await counts(store) == (0, 0)

    @pytest.mark.parametrize("name", ["start", "end"])
    @pytest.mark.parametrize("bad", [-1, 1.0, True, "1", {"$gt": 0}, 2**64])
    async def test_bad_ranges_are_refused_by_their_paths(
        self, store: AsyncMongoStore, name: str, bad: Any
    ) -> None:
        await store.threads.files.upload("k", b"xyz")
        [error] = await refused(read(store, "k", **{name: bad}))
        assert error.path == name

    async def test_too_large_data_are_refused_with_nothing_written(self, store: AsyncMongoStore) -> None:
        with pytest.raises(DocumentTooLargeError):
            await store.threads.files.upload("k", b"x", data={"k": "x" * 17_000_000})
        with pytest.raises(DocumentTooLargeError):
            await store.threads.elements.upsert(
                "t", Element(id="e", thread_id="t", message_id="m", data={"k": "x" * 17_000_000})
            )
        assert await store.threads.files.find("k") is None
        assert await store.threads.elements.find("t", "e") is None
        assert await store.threads.find("t") is None
        assert await counts(store) == (0, 0)

    @pytest.mark.smoke
    async def test_an_element_is_stored_and_replaced_whole(self, store: AsyncMongoStore) -> None:
        first = element("e", data={"k": 1, "a.b": {"$set": [None]}})
        assert await store.threads.elements.upsert("t", first) == first
        assert (
            await store.threads.elements.get("t", "e") == await store.threads.elements.find("t", "e") == first
        )
        assert (await store.threads.get("t")).id == "t"
        second = element("e", message_id="n", data={"": 2**70})
        await store.threads.elements.upsert("t", second)
        assert await store.threads.elements.get("t", "e") == second
        for number, value in enumerate(NASTY):
            await store.threads.elements.upsert("t", element(f"n{number}", data={"k": value}))
            assert same((await store.threads.elements.get("t", f"n{number}")).data, {"k": value})

    async def test_elements_come_in_the_order_in_which_they_were_first_stored(
        self, store: AsyncMongoStore
    ) -> None:
        for name in "cab":
            await store.threads.elements.upsert("t", element(name))
        await store.threads.elements.upsert("other", element("x"))
        await store.threads.elements.upsert("t", element("c", data={"k": 1}))
        assert [found.id async for found in store.threads.elements.iter("t")] == ["c", "a", "b"]
        assert [found.id async for found in store.threads.elements.iter("nothing")] == []
        unreadable = {"$set": {"data": 5, "message_id": 5}}
        await store.engine.database["elements"].update_one({"_id": "a"}, unreadable)
        with pytest.raises(InvalidDocumentError):
            _ = [found async for found in store.threads.elements.iter("t")]
        errors: list[InvalidDocumentError] = []
        found = [one.id async for one in store.threads.elements.iter("t", errors=errors)]
        assert (found, [error.id for error in errors]) == (["c", "b"], ["a"])
        page = await store.threads.elements.list("t")
        assert ([one.id for one in page], [error.id for error in page.errors]) == (["c", "b"], ["a"])

    async def test_elements_are_paged_in_both_directions_and_by_message(self, store: AsyncMongoStore) -> None:
        for number, name in enumerate("abcde"):
            await store.threads.elements.upsert("t", element(name, message_id=f"m{number % 2}"))
        elements = store.threads.elements
        for newest, expected in ((False, ["ab", "cd", "e"]), (True, ["ed", "cb", "a"])):
            pages, cursor = list[str](), None
            while True:
                page = await elements.list("t", newest=newest, limit=2, cursor=cursor)
                pages.append("".join(one.id for one in page))
                if (cursor := page.next_cursor) is None:
                    break
            assert pages == expected
        assert [one.id for one in await elements.list("t", message_id="m0")] == ["a", "c", "e"]
        assert [one.id async for one in elements.iter("t", newest=True)] == [*"edcba"]

    async def test_an_element_belongs_to_the_thread_that_is_named(self, store: AsyncMongoStore) -> None:
        elements = store.threads.elements
        stored = await elements.upsert("t", Element(id="e", message_id="m"))
        assert stored == await elements.get("t", "e") == await elements.find_by_id("e")
        assert stored.thread_id == "t"
        assert await elements.find("other", "e") is None
        assert not await elements.delete("other", "e")
        assert await elements.find_by_id("e") == stored
        assert await elements.find_by_id("x") is None

    async def test_unknown_elements(self, store: AsyncMongoStore) -> None:
        assert await store.threads.elements.find("t", "x") is None
        assert not await store.threads.elements.delete("t", "x")
        with pytest.raises(NotFoundError) as caught:
            await store.threads.elements.get("t", "x")
        assert (caught.value.kind, caught.value.id) == ("element", "x")

    async def test_an_element_is_deleted_with_its_file_alone(self, store: AsyncMongoStore) -> None:
        for name in "ab":
            await store.threads.files.upload(name, name.encode())
            await store.threads.elements.upsert("t", element(name, file_key=name))
        assert await store.threads.elements.delete("t", "a")
        assert not await store.threads.elements.delete("t", "a")
        assert await store.threads.elements.find("t", "a") is None
        assert await store.threads.files.find("a") is None
        assert await read(store, "b") == b"b"
        assert await counts(store) == (1, 1)

    async def test_the_file_of_a_replaced_element_goes_unless_it_is_the_same(
        self, store: AsyncMongoStore
    ) -> None:
        for name in "ab":
            await store.threads.files.upload(name, b"x")
        await store.threads.elements.upsert("t", element("e", file_key="a"))
        await store.threads.elements.upsert("t", element("e", file_key="a", data={"k": 1}))
        assert await read(store, "a") == await read(store, "b") == b"x"
        await store.threads.elements.upsert("t", element("e", file_key="b"))
        assert await store.threads.files.find("a") is None
        assert await read(store, "b") == b"x"
        assert await counts(store) == (1, 1)

    async def test_an_element_stays_in_its_thread(self, store: AsyncMongoStore) -> None:
        await store.threads.elements.upsert("t", element("e", data={"k": 1}))
        with pytest.raises(ConflictError):
            await store.threads.elements.upsert("other", element("e"))
        assert (await store.threads.elements.get("t", "e")).data == {"k": 1}
        assert await store.threads.find("other") is None

    async def test_parallel_upserts_of_an_element_make_one(self, store: AsyncMongoStore) -> None:
        await asyncio.gather(
            *(store.threads.elements.upsert("t", element("e", data={"n": n})) for n in range(20))
        )
        assert len([found async for found in store.threads.elements.iter("t")]) == 1
        [error] = await refused(store.threads.elements.upsert("t", {"id": "e"}))
        assert error.path == "element"


async def test_20_mib_are_read_piece_by_piece(store: AsyncMongoStore) -> None:
    content = os.urandom(20 * MiB)
    await store.threads.files.upload("k", content)
    await anext(pieces := store.threads.files.iter_content("k"))
    await pieces.aclose()  # type: ignore[attr-defined]
    position = 0
    tracemalloc.start()
    try:
        async for piece in store.threads.files.iter_content("k"):
            assert len(piece) <= CHUNK_BYTES
            assert piece == content[position : position + len(piece)]
            position += len(piece)
        assert tracemalloc.get_traced_memory()[1] < 4 * MiB
    finally:
        tracemalloc.stop()
    assert position == len(content)


async def test_20_mib_are_uploaded_piece_by_piece(store: AsyncMongoStore) -> None:
    piece = os.urandom(MiB)
    sizes = []

    def flow() -> Iterator[bytes]:
        for _ in range(20):
            yield piece
            sizes.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        stored = await store.threads.files.upload("k", flow())
    finally:
        tracemalloc.stop()
    assert stored.size == 20 * MiB
    # The embedded engine keeps in memory all that is stored.
    if store.engine.is_shared:
        assert max(sizes) < 16 * MiB


async def test_an_upload_by_a_slow_clock_takes_the_place_all_the_same(store: AsyncMongoStore) -> None:
    await store.threads.files.upload("k", b"old")
    later = datetime.now(UTC) + timedelta(days=1)
    await store.engine.database["files.files"].update_one({}, {"$set": {"uploadDate": later}})
    await store.threads.files.upload("k", b"new")
    assert await read(store, "k") == b"new"
    assert await counts(store) == (1, 1)


async def test_a_deletion_that_was_cut_short_goes_on(store: AsyncMongoStore) -> None:
    await store.threads.files.upload("k", b"x" * (3 * CHUNK_BYTES))
    await store.engine.database["files.chunks"].delete_many({"n": {"$lt": 2}})
    with pytest.raises(NotFoundError):
        await read(store, "k")
    assert await store.threads.files.delete("k")
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
    await server_store.threads.files.upload("k", os.urandom(5))
    await server_store.threads.files.upload("k", content, content_type="text/plain", data={"k": 1})
    stream = await bucket.open_download_stream_by_name("k")
    assert await stream.read() == content
    assert (stream.length, stream.chunk_size, stream.filename) == (size, CHUNK_BYTES, "k")
    assert stream.metadata == {"content_type": "text/plain", "data": {"k": 1}}
    stored = await server_store.engine.database["files.files"].find_one({"filename": "k"})
    await bucket.delete(stored["_id"])
    assert await server_store.threads.files.find("k") is None
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
    file = await server_store.threads.files.get("k")
    assert (file.size, file.content_type, file.data) == (size, "application/octet-stream", {})
    assert type(file.size) is int
    assert await read(server_store, "k") == content
    assert await read(server_store, "k", start=size // 3, end=size // 2) == content[size // 3 : size // 2]
    await server_store.threads.files.upload("k", b"ours")
    assert await read(server_store, "k") == b"ours"
    assert await counts(server_store) == (1, 1)
