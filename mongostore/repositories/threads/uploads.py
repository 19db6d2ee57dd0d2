"""Uploads of files, in steps that a slow line or a stop of the server does not undo."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError

from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.engines.driver_errors import refused_writes
from mongostore.errors import UnavailableError
from mongostore.repositories import Connection, current_operation, retry_step
from mongostore.repositories.threads.thread_writes import delete_versions

# 4 MiB at once; on a slow line fewer, so that a step is over long before its time is.
_MOST_CHUNKS = 16
_FEWEST_SECONDS, _MOST_SECONDS = 0.5, 1.5
_MILLISECOND = timedelta(milliseconds=1)


class Upload:
    """A file on its way: a key, then chunks, then the entry by which readers find them.

    An upload of more than one step has an entry without a name from the beginning, by which a later upload
    or deletion of its key finds its chunks if it is cut short.

    Args:
        connection: The connection.
        document: The entry of the file, without its id, length and date.
    """

    def __init__(self, connection: Connection, document: StoredDocument) -> None:
        self._connection = connection
        self._document: StoredDocument = {"_id": ObjectId(), **document, "length": 0}
        self._chunks: list[StoredDocument] = []
        self._at_once = _MOST_CHUNKS
        self._count = 0

    async def add(self, data: bytes) -> None:
        """Add a chunk, all of which but the last one are of the same size."""
        if len(self._chunks) == self._at_once:
            if self._count == len(self._chunks):
                await retry_step(self._connection, self._announce)
            await self._send()
        chunk = {"_id": ObjectId(), "files_id": self._document["_id"], "n": self._count, "data": data}
        if not self._count:
            # Tells the chunks of an upload that was cut short from those of others, who use no such member.
            chunk["schema_version"] = SCHEMA_VERSION
        self._chunks.append(chunk)
        self._document["length"] += len(data)
        self._count += 1

    async def finish(self) -> StoredDocument:
        """Put the file in the place of the one with its key, and return its entry."""
        if self._chunks:
            await self._send()
        if not self._count:
            # Without chunks nothing else tells a retry that another call has replaced the file.
            await retry_step(self._connection, self._announce)
        return await retry_step(self._connection, self._show)

    async def abort(self, error: BaseException) -> None:
        """Delete what was stored, unless the server does not answer: the next upload of the key does then."""
        if self._count and not isinstance(error, UnavailableError):
            await retry_step(self._connection, delete_versions, self._connection, [self._document["_id"]])

    @property
    def _files(self) -> Any:
        return self._connection.engine.collection("files.files")

    @property
    def _is_announced(self) -> bool:
        return "uploading" in self._document

    async def _announce(self) -> None:
        key, began = self._document["filename"], _date(current_operation().now)
        self._document |= {"uploading": key, "uploadDate": began}
        entry = {name: value for name, value in self._document.items() if name != "filename"}
        await self._files.replace_one({"_id": entry["_id"]}, entry, upsert=True)

    async def _send(self) -> None:
        """Store the chunks, in steps that each have the time of a call for as few as the line can take."""
        while self._chunks:
            began = time.monotonic()
            stored = await retry_step(self._connection, self._insert)
            seconds = time.monotonic() - began
            if stored < min(len(self._chunks), self._at_once):
                self._at_once = stored
            elif seconds < _FEWEST_SECONDS:
                self._at_once = min(self._at_once * 2, _MOST_CHUNKS)
            elif seconds > _MOST_SECONDS:
                self._at_once = max(self._at_once // 2, 1)
            self._chunks = self._chunks[stored:]

    async def _insert(self) -> int:
        """Insert chunks, of which an attempt before may have left some, or still be on its way.

        Returns:
            How many; later attempts insert fewer, for the line may be slow.
        """
        chunks = self._chunks[: max(self._at_once >> current_operation().attempt, 1)]
        try:
            await self._connection.engine.collection("files.chunks").insert_many(chunks, ordered=False)
        except BulkWriteError as error:
            # Those of the same ids are the same chunks.
            refused = refused_writes(error)
            if not all(isinstance(one, DuplicateKeyError) for one in refused.values()):
                raise
        return len(chunks)

    async def _show(self) -> StoredDocument:
        key, own_id = self._document["filename"], self._document["_id"]
        versions = await self._versions(key)
        own = next((one for one in versions if one["_id"] == own_id and "uploading" not in one), None)
        began = self._document.get("uploadDate")
        entry = {name: value for name, value in self._document.items() if name != "uploading"}
        if own is None:
            # A clock that was set back must not make it older than what it replaces.
            dates = [_utc(one["uploadDate"]) + _MILLISECOND for one in versions if "uploading" not in one]
            entry["uploadDate"] = max([_date(current_operation().now), *dates])
            if await self._is_replaced() or not await self._store_entry(entry):
                await delete_versions(self._connection, [own_id])
                return entry
            # Of uploads at the same time all find the same one to be the newest.
            versions = await self._versions(key)
        else:
            # An attempt before stored it: a newer date now would put it above what came since.
            entry["uploadDate"] = own["uploadDate"]
        newest = next((one for one in versions if "uploading" not in one), None)
        if newest is None:
            # Another call has deleted it already.
            return entry
        began = _utc(began or entry["uploadDate"])
        older = [
            one["_id"]
            for one in versions
            if one is not newest and ("uploading" not in one or _utc(one["uploadDate"]) < began)
        ]
        await delete_versions(self._connection, older)
        return entry

    async def _store_entry(self, entry: StoredDocument) -> bool:
        """Store the entry by which readers find the file, unless another call has replaced it."""
        stored = await self._files.replace_one({"_id": entry["_id"]}, entry, upsert=not self._is_announced)
        return bool(stored.matched_count) or stored.upserted_id is not None

    async def _is_replaced(self) -> bool:
        """Return whether an attempt before has stored the entry, and another call has deleted it since.

        A deletion of an entry deletes its chunks first.
        """
        if self._is_announced or not current_operation().attempt:
            return False
        chunks = self._connection.engine.collection("files.chunks")
        return await chunks.find_one({"files_id": self._document["_id"]}, {"_id": 1}) is None

    async def _versions(self, key: str) -> list[StoredDocument]:
        """Return the entries of a key, the newest first, with those of its uploads on their way."""
        filter = {"$or": [{"filename": key}, {"uploading": key}]}
        async with self._files.find(filter, {"uploadDate": 1, "uploading": 1}) as found:
            versions: list[StoredDocument] = await found.to_list()
        return sorted(
            versions, key=lambda version: (version["uploadDate"], str(version["_id"])), reverse=True
        )


def _date(micros: int) -> datetime:
    # As a database keeps it.
    return datetime.fromtimestamp(micros // 1000 / 1000, UTC)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
