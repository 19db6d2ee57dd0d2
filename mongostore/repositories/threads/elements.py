"""Things that a user interface shows beside the messages of threads; `store.threads.elements`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument, check_instance
from mongostore.documents.threads import to_element, to_stored_element
from mongostore.errors import ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Element, Page
from mongostore.repositories import (
    CollectionOf,
    Connection,
    Repository,
    current_operation,
    long_running,
    reads,
    writes,
)
from mongostore.repositories.expiry import is_open, new_tombstone
from mongostore.repositories.operation import MOST_OPS, find_done, remember
from mongostore.repositories.paging import by_creation, list_page, walk
from mongostore.repositories.parts import find_part, find_parts
from mongostore.repositories.threads.thread_writes import (
    FILES,
    TOMBSTONE,
    Life,
    check_same_life,
    delete_elements,
    delete_files,
    delete_found_elements,
    not_begun_since,
    record_activity,
    to_begun,
)


class AsyncThreadElements(Repository):
    """Things shown beside messages; they may come before these and the thread."""

    _elements = CollectionOf("elements")

    @writes
    async def upsert(self, thread_id: str, element: Element, *, begun_at: datetime | None = None) -> Element:
        """Store or replace an element; delete the earlier file if it differs.

        Args:
            thread_id: The thread.
            element: The element.
            begun_at: When the caller began to make it, by the clock of this host, now by default.
                Elements are listed in this order, and what was deleted since stays deleted.

        Returns:
            The element as it is stored.

        Raises:
            NotFoundError: If the thread is deleted, or the element or its message was after it began; nothing
                is stored, and the element's file is deleted too.
            ConflictError: If there is an element with that id in another thread.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the element takes more than a document can hold.
        """
        of_thread = {"thread_id": check_id("thread_id", thread_id)}
        element = check_instance("element", element, Element).model_copy(update=of_thread)
        stored = to_stored_element(element)
        # In the order of their calls, also those of one microsecond.
        own_start = current_operation().memory.setdefault("began", self._connection.clock.tick())
        began = to_begun(self._connection, begun_at) or own_start
        own = _key(thread_id, stored["_id"])
        try:
            await check_same_life(self._connection, thread_id, began)
            # First, so that the element has its life from the beginning: deletions of former ones spare it.
            life = await find_life(self._connection, thread_id, began)
            before, ops = await self._replace(stored, began, life or Life())
            try:
                life = life or await record_activity(self._connection, thread_id, None, began)
                # Last, so that a deletion at the same time finds the element, or is found.
                await check_not_deleted(self._connection, thread_id, life, element.message_id, began)
            except NotFoundError:
                await delete_elements(self._connection, {**own, "ops": ops})
                raise
            finally:
                if before:
                    await delete_files(self._connection, *before)
                    await self._elements.update_one(own, {"$pull": {"file_keys": {"$in": [*before]}}})
        except NotFoundError:
            await self._delete_file(stored)
            raise
        return element

    @reads
    async def get(self, thread_id: str, element_id: str) -> Element:
        """Return an element of a thread.

        Raises:
            NotFoundError: If the thread has no such element.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the element cannot be read.
        """
        return self._check_found("element", element_id, await self.find(thread_id, element_id))

    @reads
    async def find(self, thread_id: str, element_id: str) -> Element | None:
        """Return an element of a thread; None if it is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the element cannot be read.
        """
        document = await find_part(self._connection, "elements", _key(thread_id, element_id))
        return None if document is None else to_element(document)

    @reads
    async def find_by_id(self, element_id: str) -> Element | None:
        """Return an element whose thread is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the element cannot be read.
        """
        key = {"_id": check_id("element_id", element_id), "state": {"$ne": "deleted"}}
        document = await find_part(self._connection, "elements", key)
        return None if document is None else to_element(document)

    @reads
    async def list(
        self,
        thread_id: str,
        *,
        message_id: str | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Element]:
        """Return a page of elements, of one message or all, in order of arrival.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        filter: StoredDocument = {"thread_id": check_id("thread_id", thread_id)}
        if message_id is not None:
            filter["message_id"] = check_id("message_id", message_id)
        order = by_creation(newest)
        return await list_page(
            self._connection, "elements", filter, order, limit, cursor, to_element, find=find_parts
        )

    @long_running
    def iter(
        self,
        thread_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Element]:
        """Yield all elements of a thread as they came.

        `errors` collects those that cannot be read.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If an element cannot be read and there is no list of `errors`.
        """
        filter, order = {"thread_id": check_id("thread_id", thread_id)}, by_creation(newest)
        return walk(self._connection, "elements", filter, order, to_element, errors, find=find_parts)

    @writes
    async def delete(self, thread_id: str, element_id: str) -> bool:
        """Delete an element with its file, and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        key = _key(thread_id, element_id) | not_begun_since("created_at")
        order = by_creation(False)
        met: builtins.list[builtins.list[str] | None] = []
        while found := await find_parts(self._connection, "elements", key, order, 1, FILES):
            if (ops := found[0].get("ops")) in met:
                break
            # One that is stored again meanwhile may have a file of the same key, which goes with it.
            if await delete_found_elements(self._connection, found, {**key, "ops": ops}, new_tombstone()):
                return True
            met.append(ops)
        return current_operation().attempt > 0

    async def _replace(
        self, stored: StoredDocument, began: int, life: Life
    ) -> tuple[set[str], builtins.list[str]]:
        """Store an element, and return the keys of the files that it has no more, and its changes."""
        key, token = {"_id": stored["_id"], "thread_id": stored["thread_id"]}, current_operation().token
        update: StoredDocument = {"$set": stored, "$setOnInsert": {"created_at": began}, **life.stamp()}
        update["$push"] = remember(token)
        if stored["file_key"] is not None:
            # Until a file is gone the element names it, for a retry does not see the element before.
            update["$addToSet"] = {"file_keys": stored["file_key"]}
        if done := await find_done(self._elements, key, projection=FILES):
            ops = done["ops"][: done["ops"].index(token) + 1]
            return {*done.get("file_keys", ())} - {done["file_key"]}, ops
        while True:
            try:
                before: StoredDocument | None = await self._elements.find_one_and_update(
                    key, update, upsert=True, projection=FILES
                )
            except DuplicateKeyError:
                # Another thread's, or the same one stored at the same time.
                fields = {"thread_id": 1, "state": 1, "deleted_at": 1}
                existing = await self._elements.find_one({"_id": stored["_id"]}, fields)
                if existing is None:
                    continue
                if existing.get("state") == "deleted":
                    if began <= existing["deleted_at"]:
                        raise NotFoundError("element", stored["_id"]) from None
                    await self._elements.delete_one({**existing})
                elif existing["thread_id"] != stored["thread_id"]:
                    raise ConflictError(f"element {stored['_id']!r} belongs to another thread") from None
            else:
                before = before or {}
                keys = {before.get("file_key"), *before.get("file_keys", ())} - {None, stored["file_key"]}
                return keys, [*before.get("ops", ()), token][-MOST_OPS:]

    async def _delete_file(self, stored: StoredDocument) -> None:
        if stored.get("file_key") is not None:
            await delete_files(self._connection, stored["file_key"])


def _key(thread_id: str, element_id: str) -> StoredDocument:
    return {"_id": check_id("element_id", element_id), "thread_id": check_id("thread_id", thread_id)}


async def find_life(connection: Connection, thread_id: str, began: int) -> Life | None:
    """Return the life of a thread that a new part of it belongs to; None if there is no thread yet.

    Raises:
        NotFoundError: It is deleted, or was since the part began.
    """
    fields = {**TOMBSTONE, "schema_version": 1}
    thread = await connection.collection("threads").find_one({"_id": thread_id}, fields)
    if thread is None:
        return None
    if is_open(thread) and thread.get("schema_version", 0) <= SCHEMA_VERSION:
        life = Life.of(thread)
        if life.since < began:
            return life
    return await record_activity(connection, thread_id, None, began)


async def check_not_deleted(
    connection: Connection, thread_id: str, life: Life, message_id: str, began: int
) -> None:
    """Check that no thread in one of its lives, and no message, was deleted since a part of both began.

    Raises:
        NotFoundError: The one or the other was.
    """
    deleted = {"_id": message_id, "thread_id": {"$in": [thread_id, None]}, "state": "deleted"}
    head = [{"$match": {"_id": thread_id}}, {"$project": {"_id": 0, "state": 1, "life": 1, "expires_at": 1}}]
    union = {"$unionWith": {"coll": connection.collection("threads").name, "pipeline": head}}
    stages: list[StoredDocument] = [{"$match": deleted}, {"$project": {"deleted_at": 1}}, union]
    found = await connection.collection("messages").aggregate_all(stages, limit=2)
    thread = found.pop() if found and "_id" not in found[-1] else None
    if not is_open(thread) or thread.get("life", 0) != life.number:
        raise NotFoundError("thread", thread_id)
    if found and found[0]["deleted_at"] >= began:
        raise NotFoundError("message", message_id)
