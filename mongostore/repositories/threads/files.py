"""Files, in the layout of GridFS; `store.files`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from mongostore.documents.stored import Raw
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import File
from mongostore.repositories import Repository, current_call, step
from mongostore.repositories.threads.upkeep import delete_files
from mongostore.values import check_id, pack_object, unpack

CHUNK_BYTES = 255 * 1024
# Together below the size of one message to a server.
_CHUNKS_AT_ONCE = 32


class FileRepository(Repository):
    """Files of any size, as every GridFS client reads them from the bucket `files`.

    They are written here and not by the driver's own GridFS classes, so that they work on every engine,
    within the store's timeout and with the right to insert alone.
    """

    async def upload(
        self,
        key: str,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        data: dict[str, Any] | None = None,
    ) -> File:
        """Store a file, in the place of one that has the key: readers see the one or the other, whole.

        Raises:
            InvalidValueError: A value cannot be stored.
        """
        call, key = current_call(), check_id("key", key)
        if not isinstance(content, bytes | bytearray | memoryview):
            raise InvalidValueError("content", f"must be bytes, not {type(content).__name__}")
        document = {
            "_id": call.token,
            "filename": key,
            "length": len(content),
            "chunkSize": CHUNK_BYTES,
            "uploadDate": datetime.now(UTC),
            "metadata": {
                "content_type": check_id("content_type", content_type),
                "data": pack_object("data", data or {}),
            },
        }
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
        # Last, since a file is there as soon as this is; again if nobody knows whether it was.
        await self._files.replace_one({"_id": call.token}, document, upsert=True)
        await delete_files(self._connection, {"filename": key, "_id": {"$ne": call.token}})
        return _to_file(document)

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

    async def find(self, key: str) -> File | None:
        """Return what is known of a file, None where there is none.

        Raises:
            InvalidValueError: The key is no plain string.
        """
        raw = await self._newest(key)
        return None if raw is None else _to_file(raw)

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the content of a file, piece by piece.

        Args:
            key: The file.
            start: The first byte.
            end: The byte behind the last one; None for all.

        Raises:
            NotFoundError: There is no such file, or it is deleted while it is read.
            InvalidValueError: An argument is of the wrong type or out of range.
        """
        raw = await step(self._connection, self._newest, key)
        if raw is None:
            raise NotFoundError("file", key)
        end = raw["length"] if end is None else end
        if not 0 <= start <= end <= raw["length"]:
            raise InvalidValueError("start", "must lie within the file, and before its end")
        size = raw["chunkSize"]
        for n in range(start // size, -(-end // size)):
            chunk = await step(self._connection, self._chunk, raw["_id"], n)
            if chunk is None:
                raise NotFoundError("file", key)
            piece = bytes(chunk["data"])[max(start - n * size, 0) : end - n * size]
            if piece:
                yield piece

    async def delete(self, key: str) -> bool:
        """Delete a file and return whether it was there.

        Raises:
            InvalidValueError: The key is no plain string.
        """
        deleted = await delete_files(self._connection, {"filename": check_id("key", key)})
        return deleted or current_call().attempt > 0

    @property
    def _files(self) -> Any:
        return self._connection.engine.database["files.files"]

    @property
    def _chunks(self) -> Any:
        return self._connection.engine.database["files.chunks"]

    async def _newest(self, key: str) -> Raw | None:
        found: Raw | None = await self._files.find_one(
            {"filename": check_id("key", key)}, sort=[("uploadDate", -1)]
        )
        return found

    async def _chunk(self, file_id: Any, n: int) -> Raw | None:
        found: Raw | None = await self._chunks.find_one({"files_id": file_id, "n": n}, {"data": 1})
        return found


def _to_file(raw: Raw) -> File:
    created = raw["uploadDate"]
    notes = raw.get("metadata") or {}
    return File(
        key=raw["filename"],
        size=raw["length"],
        content_type=notes.get("content_type", "application/octet-stream"),
        data=unpack(notes.get("data", {})),
        created_at=created if created.tzinfo else created.replace(tzinfo=UTC),
    )
