"""Files, in the layout of GridFS; `store.files`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from mongostore.documents.stored import Raw, check_size
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import File
from mongostore.repositories import Repository, current_call, long_running, reads, settled_step, writes
from mongostore.repositories.threads.upkeep import delete_files, delete_versions
from mongostore.values import check_id, check_offset, pack_object, unpack

CHUNK_BYTES = 255 * 1024
# Together below the size of one message to a server.
_CHUNKS_AT_ONCE = 32
_UNTYPED = "application/octet-stream"
_MILLISECOND = timedelta(milliseconds=1)
_NEWEST = [("uploadDate", -1)]


class FileRepository(Repository):
    """Files of any size, as every GridFS client reads them from the bucket `files`.

    They are written here and not by the driver's own GridFS classes, so that they work on every engine,
    within the store's timeout and with the right to insert alone.
    """

    @writes
    async def upload(
        self,
        key: str,
        content: bytes,
        *,
        content_type: str = _UNTYPED,
        data: dict[str, Any] | None = None,
    ) -> File:
        """Store a file, in the place of one that has the key: readers see the one or the other, whole.

        Raises:
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: The data take more than a document can hold.
        """
        call, key = current_call(), check_id("key", key)
        if not isinstance(content, bytes):
            raise InvalidValueError("content", f"must be bytes, not {type(content).__name__}")
        document = {
            "_id": call.token,
            "filename": key,
            "length": len(content),
            "chunkSize": CHUNK_BYTES,
            "metadata": {
                "content_type": check_id("content_type", content_type),
                "data": pack_object("data", {} if data is None else data),
            },
        }
        check_size("the file's data", document)
        if call.attempt:
            await self._chunks.delete_many({"files_id": call.token})
        view = memoryview(content)
        starts = range(0, len(content), CHUNK_BYTES)
        for first in range(0, len(starts), _CHUNKS_AT_ONCE):
            await self._chunks.insert_many(
                [
                    {"files_id": call.token, "n": n, "data": bytes(view[start : start + CHUNK_BYTES])}
                    for n, start in enumerate(starts[first : first + _CHUNKS_AT_ONCE], first)
                ]
            )
        # A clock that is behind must not make it older than what it replaces.
        dates = [_utc(raw["uploadDate"]) + _MILLISECOND for raw in await self._versions(key)]
        document["uploadDate"] = max([_now(), *dates])
        # Last, since a file is there as soon as this is; again if nobody knows whether it was.
        await self._files.replace_one({"_id": call.token}, document, upsert=True)
        # Of uploads at the same time all find the same one to be the newest.
        older = (await self._versions(key))[1:]
        await delete_versions(self._connection, [raw["_id"] for raw in older])
        return _to_file(document)

    @reads
    async def get(self, key: str) -> File:
        """Return what is known of a file.

        Raises:
            NotFoundError: There is no such file.
            InvalidValueError: The key is no plain string.
        """
        file = await self.find(key)
        if file is None:
            raise NotFoundError("file", key)
        return file

    @reads
    async def find(self, key: str) -> File | None:
        """Return what is known of a file, None where there is none.

        Raises:
            InvalidValueError: The key is no plain string.
        """
        raw = await self._newest(key)
        return None if raw is None else _to_file(raw)

    @long_running
    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the content of a file, piece by piece.

        Args:
            key: The file.
            start: The first byte.
            end: The byte behind the last one; None for all.

        Raises:
            NotFoundError: There is no such file, or it is deleted or replaced while it is read.
            InvalidValueError: An argument is of the wrong type or out of range.
        """
        check_offset("start", start)
        raw, chunk = await settled_step(self._connection, self._opened, key, start)
        stop = raw["length"] if end is None else check_offset("end", end)
        if stop > raw["length"]:
            raise InvalidValueError("end", "is behind the end of the file")
        if start > stop:
            raise InvalidValueError("start", "is behind the end")
        size = raw["chunkSize"]
        first = start // size
        for n in range(first, -(-stop // size) if start < stop else first):
            if n > first:
                chunk = await settled_step(self._connection, self._chunk, raw["_id"], n)
            if chunk is None:
                raise NotFoundError("file", key)
            yield bytes(chunk["data"])[max(start - n * size, 0) : stop - n * size]

    @writes
    async def delete(self, key: str) -> bool:
        """Delete a file and return whether it was there.

        Raises:
            InvalidValueError: The key is no plain string.
        """
        deleted = await delete_files(self._connection, check_id("key", key))
        return deleted or current_call().attempt > 0

    @property
    def _files(self) -> Any:
        return self._connection.engine.collection("files.files")

    @property
    def _chunks(self) -> Any:
        return self._connection.engine.collection("files.chunks")

    async def _newest(self, key: str) -> Raw | None:
        found: Raw | None = await self._files.find_one({"filename": check_id("key", key)}, sort=_NEWEST)
        return found

    async def _versions(self, key: str) -> Any:
        async with self._files.find({"filename": key}, {"uploadDate": 1}) as found:
            raws = await found.to_list()
        return sorted(raws, key=lambda raw: (raw["uploadDate"], str(raw["_id"])), reverse=True)

    async def _opened(self, key: str, start: int) -> tuple[Raw, Raw | None]:
        """Return a file and the chunk that a byte of it is in.

        Raises:
            NotFoundError: There is no such file.
        """
        replaced = None
        while True:
            raw = await self._newest(key)
            if raw is None:
                raise NotFoundError("file", key)
            chunk = await self._chunk(raw["_id"], start // raw["chunkSize"])
            # Gone between the two looks, it has a successor, unless it is deleted or ends before that byte.
            if chunk is not None or start >= raw["length"] or raw["_id"] == replaced:
                return raw, chunk
            replaced = raw["_id"]

    async def _chunk(self, file_id: Any, n: int) -> Raw | None:
        found: Raw | None = await self._chunks.find_one({"files_id": file_id, "n": n}, {"data": 1})
        return found


def _to_file(raw: Raw) -> File:
    # Others may write other metadata into the bucket, or none.
    notes = raw.get("metadata") or {}
    content_type, data = notes.get("content_type"), notes.get("data")
    return File(
        key=raw["filename"],
        size=int(raw["length"]),
        content_type=content_type if isinstance(content_type, str) else _UNTYPED,
        data=unpack(data) if isinstance(data, dict) else {},
        created_at=_utc(raw["uploadDate"]),
    )


def _now() -> datetime:
    # As a database keeps it.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
