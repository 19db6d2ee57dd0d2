"""Files, in the layout of GridFS; `store.threads.files`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from mongostore.arguments import check_flag, check_id, check_limit, check_offset, decode_cursor, encode_cursor
from mongostore.codec import decode, encode_object
from mongostore.documents.mapping import StoredDocument, check_size
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import File, Page
from mongostore.repositories import Repository, current_operation, long_running, majority_step, reads, writes
from mongostore.repositories.threads.content import Content, chunks_of
from mongostore.repositories.threads.thread_writes import delete_files
from mongostore.repositories.threads.uploads import Upload

CHUNK_BYTES = 255 * 1024
_UNTYPED = "application/octet-stream"
_ITER_PAGE = 500
_NEWEST = [("uploadDate", -1)]


class AsyncFiles(Repository):
    """Files of any size, which GridFS clients read from the bucket `files`.

    They are written here and not by the driver's own GridFS classes, so that they work on every engine,
    with the right to insert alone. The store's timeout bounds each step of an upload or a download.
    """

    @long_running
    async def upload(
        self,
        key: str,
        content: Content,
        *,
        content_type: str = _UNTYPED,
        data: dict[str, Any] | None = None,
    ) -> File:
        """Store or replace a file; readers see the old or the new one, whole.

        Args:
            key: The file.
            content: Bytes, a path, an open file, or an iterator of bytes; these are read piece by piece.
            content_type: Its media type.
            data: The other members of the file.

        Raises:
            InvalidValueError: If a value cannot be stored, or the content does not consist of bytes.
            DocumentTooLargeError: If the data take more than a document can hold.
            OSError: If the content cannot be read.
        """
        document: StoredDocument = {
            "filename": check_id("key", key),
            "chunkSize": CHUNK_BYTES,
            "metadata": {
                "content_type": check_id("content_type", content_type),
                "data": encode_object("data", {} if data is None else data),
            },
        }
        check_size("the file's data", document)
        upload = Upload(self._connection, document)
        try:
            async for chunk in chunks_of(content, CHUNK_BYTES):
                await upload.add(chunk)
            return _to_file(await upload.finish())
        except Exception as error:
            await upload.abort(error)
            raise

    @reads
    async def get(self, key: str) -> File:
        """Return what is known of a file.

        Raises:
            NotFoundError: If there is no such file.
            InvalidValueError: If the key is no plain string.
        """
        return self._check_found("file", key, await self.find(key))

    @reads
    async def find(self, key: str) -> File | None:
        """Return what is known of a file; None if there is none.

        Raises:
            InvalidValueError: If the key is no plain string.
        """
        document = await self._newest(key)
        return None if document is None else _to_file(document)

    @reads
    async def exists(self, key: str) -> bool:
        """Return whether there is such a file.

        Raises:
            InvalidValueError: If the key is no plain string.
        """
        return await self._files.find_one({"filename": check_id("key", key)}, {"_id": 1}) is not None

    @reads
    async def list(
        self, *, prefix: str = "", newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[File]:
        """Return a page of the files whose keys begin so, by key.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        check_limit("limit", limit)
        direction = -1 if check_flag("newest", newest) else 1
        documents = await self._page(_with_prefix(prefix), _decode(cursor), direction, limit + 1)
        more = len(documents) > limit
        files = {document["filename"]: _to_file(document) for document in documents[:limit]}
        return Page([*files.values()], encode_cursor([documents[limit - 1]["filename"]]) if more else None)

    @long_running
    async def iter(self, *, prefix: str = "") -> AsyncIterator[File]:
        """Yield the files whose keys begin so, by key.

        Raises:
            InvalidValueError: If the prefix is no plain string.
        """
        filter, last = _with_prefix(prefix), None
        while documents := await majority_step(self._connection, self._page, filter, last, 1, _ITER_PAGE):
            for file in {document["filename"]: _to_file(document) for document in documents}.values():
                yield file
            last = documents[-1]["filename"]

    @long_running
    async def read(self, key: str) -> bytes:
        """Return the whole content of a file.

        Raises:
            NotFoundError: If there is no such file, or it is deleted or replaced while it is read.
            InvalidValueError: If the key is no plain string.
        """
        return b"".join([piece async for piece in self.iter_content(key)])

    @long_running
    async def iter_content(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the content of a file, piece by piece.

        Args:
            key: The file.
            start: The first byte.
            end: The byte behind the last one; None for all.

        Raises:
            NotFoundError: If there is no such file, or it is deleted or replaced while it is read.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        check_offset("start", start)
        document, chunk = await majority_step(self._connection, self._find_with_chunk, key, start)
        stop = document["length"] if end is None else check_offset("end", end)
        if stop > document["length"]:
            raise InvalidValueError("end", "is behind the end of the file")
        if start > stop:
            raise InvalidValueError("start", "is behind the end")
        size = document["chunkSize"]
        first = start // size
        for n in range(first, -(-stop // size) if start < stop else first):
            if n > first:
                chunk = await majority_step(self._connection, self._chunk, document["_id"], n)
            if chunk is None:
                raise NotFoundError("file", key)
            yield bytes(chunk["data"])[max(start - n * size, 0) : stop - n * size]

    @writes
    async def delete(self, key: str) -> bool:
        """Delete a file and return whether it was there.

        Raises:
            InvalidValueError: If the key is no plain string.
        """
        deleted = await delete_files(self._connection, check_id("key", key))
        return deleted or current_operation().attempt > 0

    @property
    def _files(self) -> Any:
        return self._connection.engine.collection("files.files")

    @property
    def _chunks(self) -> Any:
        return self._connection.engine.collection("files.chunks")

    async def _newest(self, key: str) -> StoredDocument | None:
        found: StoredDocument | None = await self._files.find_one(
            {"filename": check_id("key", key)}, sort=_NEWEST
        )
        return found

    async def _page(self, filter: StoredDocument, last: str | None, direction: int, limit: int) -> Any:
        """Return the first files behind a key; of two versions of one the last is the one that counts."""
        if last is not None:
            filter = {"$and": [filter, {"filename": {"$gt" if direction > 0 else "$lt": last}}]}
        order = [("filename", direction), ("uploadDate", direction)]
        async with self._files.find(filter, sort=order, limit=limit, batch_size=limit + 1) as found:
            return await found.to_list()

    async def _find_with_chunk(self, key: str, start: int) -> tuple[StoredDocument, StoredDocument | None]:
        """Return a file and the chunk that a byte of it is in."""
        replaced = None
        while True:
            document = self._check_found("file", key, await self._newest(key))
            chunk = await self._chunk(document["_id"], start // document["chunkSize"])
            # Gone between the two looks, it has a successor, unless it is deleted or ends before that byte.
            if chunk is not None or start >= document["length"] or document["_id"] == replaced:
                return document, chunk
            replaced = document["_id"]

    async def _chunk(self, file_id: Any, n: int) -> StoredDocument | None:
        found: StoredDocument | None = await self._chunks.find_one({"files_id": file_id, "n": n}, {"data": 1})
        return found


def _with_prefix(prefix: str) -> StoredDocument:
    pattern = re.escape(check_id("prefix", prefix)).replace("\0", "\\x00")
    return {"filename": {"$regex": f"^{pattern}"} if prefix else {"$gte": ""}}


def _decode(cursor: object) -> str | None:
    if cursor is None:
        return None
    match decode_cursor(cursor):
        case [str(key)]:
            return check_id("cursor", key)
    raise InvalidValueError("cursor", "is not one that a page gave")


def _to_file(document: StoredDocument) -> File:
    # Others may write other metadata into the bucket, or none.
    metadata = document.get("metadata") or {}
    content_type, data = metadata.get("content_type"), metadata.get("data")
    return File(
        key=document["filename"],
        size=int(document["length"]),
        content_type=content_type if isinstance(content_type, str) else _UNTYPED,
        data=decode(data) if isinstance(data, dict) else {},
        created_at=_utc(document["uploadDate"]),
    )


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
