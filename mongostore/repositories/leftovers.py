"""Leftovers: deletions and uploads that were cut short, found and mended in all houses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import epochs_of
from mongostore.documents.session_streams import parts_of
from mongostore.repositories import Connection, Repository, long_running, retry_step
from mongostore.repositories.rooms.room_log import RoomLog
from mongostore.repositories.rooms.room_updates import PARTS, RoomUpdates
from mongostore.repositories.sessions.session_deleter import DELETED_FIELDS
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import Tail
from mongostore.repositories.threads.thread_writes import (
    TOMBSTONE,
    delete_elements,
    delete_versions,
    finish_deletion,
)

_BATCH = 500
_SESSION_FIELDS = dict.fromkeys(DELETED_FIELDS, 1)
_HEAD_FIELDS = {**_SESSION_FIELDS, **TOMBSTONE}
_NAMING_FIELDS = ["messages.overflow", "messages.stream.parts", "turns.overflow", "context.overflow"]
# A tombstone has one.
_NO_DATE = {"$not": {"$type": "date"}}
# Documents of other applications have no such fields, and their files no such ids.
_OWN_PARTS = {"session": {"$type": "string"}, "epoch": {"$type": "string"}}
_OWN_ADDRESSES = {"_id.o": {"$type": "string"}, "identity_id": {"$type": "string"}}
_OWN_ROOM_PARTS = {"room_id": {"$type": "string"}, "epoch": {"$type": "string"}}
_OWN_THREAD_PARTS = {"thread_id": {"$type": "string"}, "created_at": {"$type": "number"}}
_OWN_THREAD_PARTS |= {"schema_version": {"$type": "number"}}
# Longer than an upload takes.
_UPLOAD_LASTS = timedelta(days=1)


@dataclass(frozen=True)
class Leftover:
    """A document that a deletion or an upload has left when it was cut short.

    Attributes:
        collection: The collection.
        id: The document's `_id`; of the chunks of a file, that of the file; of parts of a room, that of the
            room; of addresses, that of their identity.
        reason: `unfinished deletion` of a head, or `orphan` for a part without one.
    """

    collection: str
    id: str
    reason: str


@dataclass(frozen=True)
class _Deletions:
    """The unfinished deletions of one collection of heads."""

    collection: str
    filter: StoredDocument
    finish: Callable[[StoredDocument], Awaitable[None]]


class Leftovers(Repository):
    """Finds and mends leftovers.

    Args:
        connection: The store's connection.
        tail: The tails of the store's sessions.
    """

    def __init__(self, connection: Connection, tail: Tail) -> None:
        super().__init__(connection)
        deleter = SessionStorage(connection, tail).session_deleter
        rooms = RoomUpdates(connection, RoomLog(connection)).finish_delete
        self._parts = _Deletions(
            "sessions",
            {"$or": [{f"{name}.0": {"$exists": True}} for name in ("stale", "unbound")]},
            lambda session: deleter.delete_epochs(session["_id"], session["stale"], session["unbound"]),
        )
        self._deletions = (
            _Deletions("sessions", {"state": "deleting", "expires_at": _NO_DATE}, deleter.finish_delete),
            _Deletions("rooms", {"state": "deleting"}, rooms),
            # A tombstone has an end when the rest of its thread is gone.
            _Deletions(
                "threads",
                {"state": "deleted", "expires_at": None},
                lambda thread: finish_deletion(connection, thread),
            ),
        )

    @long_running
    async def finish_all(self) -> None:
        """Finish all deletions that were cut short, those of parts of sessions that stay too.

        No index finds the latter, for which all sessions are read.

        Raises:
            MongoStoreError: If the server refuses.
        """
        for deletions in (*self._deletions, self._parts):
            await self._finish(deletions)

    @long_running
    async def find(self) -> list[Leftover]:
        """Return all leftovers; what another process is deleting or writing just now may be among them.

        Raises:
            MongoStoreError: If the server refuses to be asked.
        """
        unfinished = [
            Leftover(deletions.collection, str(head["_id"]), "unfinished deletion")
            for deletions in self._deletions
            for head in await retry_step(self._connection, self._heads, deletions, 0)
        ]
        orphans = [
            Leftover(name, str(id[0] if isinstance(id, tuple) else id), "orphan")
            for name, id in await self._orphans()
        ]
        return [*unfinished, *dict.fromkeys(orphans)]

    @long_running
    async def mend(self, *, grace: float = 60.0) -> int:
        """Finish deletions and delete orphans; return how many there were.

        Args:
            grace: Seconds after which a part that has no head is an orphan; more than a call may take that
                writes the part first.

        Raises:
            MongoStoreError: If the server refuses; what was mended stays so.
        """
        mended = sum([await self._finish(deletions) for deletions in self._deletions])
        if suspects := await self._orphans():
            await asyncio.sleep(grace)
            orphans = sorted({*suspects} & {*await self._orphans()}, key=str)
            for start in range(0, len(orphans), _BATCH):
                await retry_step(self._connection, self._delete, orphans[start : start + _BATCH])
            mended += len(orphans)
        return mended

    @long_running
    async def finish_some(self, limit: int) -> None:
        """Finish some deletions, for a store that opens.

        Raises:
            MongoStoreError: If the server refuses.
        """
        for deletions in self._deletions:
            for head in await retry_step(self._connection, self._heads, deletions, limit):
                await retry_step(self._connection, deletions.finish, head)

    async def _finish(self, deletions: _Deletions) -> int:
        """Finish all deletions of a collection; return how many there were."""
        finished = 0
        while heads := await retry_step(self._connection, self._heads, deletions, _BATCH):
            for head in heads:
                await retry_step(self._connection, deletions.finish, head)
            finished += len(heads)
        return finished

    async def _heads(self, deletions: _Deletions, limit: int) -> list[StoredDocument]:
        heads = self._connection.collection(deletions.collection)
        return await heads.find_all(deletions.filter, _HEAD_FIELDS, limit=limit)

    async def _orphans(self) -> list[tuple[str, Any]]:
        """Return the collections and ids of parts without a head.

        For chunks it is the id of their file; for parts of rooms the room's id and its epoch; for addresses
        the id of their identity, their own, and the call that gave them.
        """
        orphans: list[tuple[str, Any]] = []
        for name in ("session_segments", "session_overflows", "session_turns", "session_insights"):
            async for parts in self._walk(name, _OWN_PARTS, "_id", {"session": 1, "epoch": 1}):
                missing = await retry_step(self._connection, self._without_session, parts)
                orphans += [(name, part["_id"]) for part in missing]
                if name == "session_overflows":
                    living = [part for part in parts if part not in missing]
                    unnamed = await retry_step(self._connection, self._unnamed, living)
                    orphans += [(name, key) for key in unnamed]
        for name in PARTS:
            async for parts in self._walk(name, _OWN_ROOM_PARTS, "_id", {"room_id": 1, "epoch": 1}):
                gone = await retry_step(self._connection, self._without_room, parts)
                orphans += [(name, life) for life in gone]
        fields = {"identity_id": 1, "op": 1}
        async for addresses in self._walk("identity_addresses", _OWN_ADDRESSES, "_id", fields):
            unowned = await retry_step(self._connection, self._without_identity, addresses)
            orphans += [
                ("identity_addresses", (one["identity_id"], (*one["_id"].items(),), one.get("op")))
                for one in addresses
                if one["identity_id"] in unowned
            ]
        for name in ("messages", "elements"):
            async for parts in self._walk(name, _OWN_THREAD_PARTS, "_id", {"thread_id": 1, "life": 1}):
                missing = await retry_step(self._connection, self._without_thread, parts)
                orphans += [(name, part["_id"]) for part in missing]
        return orphans + await self._unfinished_uploads()

    async def _unfinished_uploads(self) -> list[tuple[str, Any]]:
        """Return the uploads that were cut short: the first chunks without a file, and unnamed files."""
        # Chunks are written before their file; an id tells when.
        before = ObjectId.from_datetime(datetime.now(UTC) - _UPLOAD_LASTS)
        first = {"n": 0, "_id": {"$lt": before}, "schema_version": {"$type": "number"}}
        uploads: list[tuple[str, Any]] = []
        async for chunks in self._walk("files.chunks", first, "files_id", {"files_id": 1}):
            missing = await retry_step(self._connection, self._without_file, chunks)
            uploads += [("files.chunks", chunk["files_id"]) for chunk in missing]
        announced = {"_id": {"$lt": before}, "uploading": {"$type": "string"}}
        async for files in self._walk("files.files", announced, "_id", {"_id": 1}):
            uploads += [("files.chunks", file["_id"]) for file in files]
        return uploads

    async def _walk(
        self, name: str, filter: StoredDocument, key: str, fields: StoredDocument
    ) -> AsyncIterator[list[StoredDocument]]:
        """Yield the documents of a collection in batches, in the order of a key."""
        after: Any = None
        while True:
            batch = await retry_step(self._connection, self._batch, name, filter, key, fields, after)
            if batch:
                yield batch
                after = batch[-1][key]
            if len(batch) < _BATCH:
                return

    async def _batch(
        self, name: str, filter: StoredDocument, key: str, fields: StoredDocument, after: Any
    ) -> list[StoredDocument]:
        page_filter = {} if after is None else {"$and": [{key: {"$gt": after}}]}
        documents = self._connection.collection(name)
        return await documents.find_all({**filter, **page_filter}, fields, sort=[(key, 1)], limit=_BATCH)

    async def _without_session(self, parts: Sequence[StoredDocument]) -> list[StoredDocument]:
        keys = [*{part["session"] for part in parts}]
        sessions = self._connection.collection("sessions")
        live = {
            session["_id"]: {session.get("epoch"), session.get("create_op"), *epochs_of(session)}
            for session in await sessions.find_all({"_id": {"$in": keys}}, _SESSION_FIELDS)
        }
        return [part for part in parts if part["epoch"] not in live.get(part["session"], ())]

    async def _unnamed(self, overflows: Sequence[StoredDocument]) -> set[str]:
        """Return the ids of those large values of living sessions that no document names."""
        unnamed = {overflow["_id"] for overflow in overflows}
        of_sessions = {"_id": {"$in": [*{overflow["session"] for overflow in overflows}]}}
        of_epochs = {"epoch": {"$in": [*{overflow["epoch"] for overflow in overflows}]}}
        # In this order, for messages move from sessions to segments.
        holders = {"sessions": of_sessions, "session_segments": of_epochs, "session_turns": of_epochs}
        for name, of_holders in holders.items() if unnamed else ():
            async with self._connection.collection(name).find(of_holders, _NAMING_FIELDS) as found:
                async for holder in found:
                    named = [*holder.get("messages", ()), *holder.get("turns", ()), holder.get("context")]
                    for one in filter(None, named):
                        unnamed -= {one.get("overflow"), *parts_of(one)}
        return unnamed

    async def _without_room(self, parts: Sequence[StoredDocument]) -> set[tuple[str, str]]:
        lives = {(part["room_id"], part["epoch"]) for part in parts}
        wanted = {"_id": {"$in": [room_id for room_id, _ in lives]}}
        rooms = await self._connection.collection("rooms").find_all(wanted, {"epoch": 1})
        return lives - {(room["_id"], room.get("epoch")) for room in rooms}

    async def _without_thread(self, parts: Sequence[StoredDocument]) -> list[StoredDocument]:
        """Return the parts whose thread is gone, or in another life; one being deleted takes them along."""
        wanted = {"_id": {"$in": [*{part["thread_id"] for part in parts}]}}
        threads = await self._connection.collection("threads").find_all(wanted, TOMBSTONE)
        lives = {
            thread["_id"]: thread.get("life", 0)
            for thread in threads
            if thread["state"] == "open" or "expires_at" not in thread
        }
        return [part for part in parts if part.get("life", 0) != lives.get(part["thread_id"])]

    async def _without_identity(self, addresses: Sequence[StoredDocument]) -> set[str]:
        owners = {address["identity_id"] for address in addresses}
        identities = self._connection.collection("identities")
        found = await identities.find_all({"_id": {"$in": [*owners]}}, {"_id": 1})
        return owners - {identity["_id"] for identity in found}

    async def _without_file(self, chunks: Sequence[StoredDocument]) -> list[StoredDocument]:
        wanted = {"_id": {"$in": [chunk["files_id"] for chunk in chunks]}}
        files = await self._connection.collection("files.files").find_all(wanted, {"_id": 1})
        live = {file["_id"] for file in files}
        return [chunk for chunk in chunks if chunk["files_id"] not in live]

    async def _delete(self, orphans: Sequence[tuple[str, Any]]) -> None:
        for name in {name for name, _ in orphans}:
            ids = [id for collection, id in orphans if collection == name]
            if name == "files.chunks":
                await delete_versions(self._connection, ids)
                continue
            if name == "elements":
                await delete_elements(self._connection, {"_id": {"$in": ids}, **_OWN_THREAD_PARTS})
                continue
            if name == "identity_addresses":
                # One that is claimed by now belongs to an identity that is being made.
                filters = [{"_id": dict(key), "op": op} for _, key, op in ids]
            elif name in PARTS:
                filters = [{"room_id": room_id, "epoch": epoch} for room_id, epoch in ids]
            else:
                filters = [{"_id": {"$in": ids}}]
            for filter in filters:
                await self._connection.collection(name).delete_many(filter)
