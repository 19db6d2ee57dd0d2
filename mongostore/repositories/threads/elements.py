"""Things that a user interface shows beside the messages of threads; `store.threads.elements`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.threads import to_element, to_stored_element
from mongostore.errors import ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Element, Page
from mongostore.repositories import CollectionOf, Repository, current_operation, long_running, reads, writes
from mongostore.repositories.expiry import new_tombstone
from mongostore.repositories.operation import find_done, remember
from mongostore.repositories.paging import by_creation, list_page, walk
from mongostore.repositories.parts import find_part, find_parts
from mongostore.repositories.threads.thread_writes import (
    FILES,
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
                Elements are listed in this order, and one that was deleted since stays deleted.

        Returns:
            The element as it is stored.

        Raises:
            NotFoundError: If the thread is deleted, or the element was after it began; nothing is stored,
                and the element's file is deleted too.
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
        await check_same_life(self._connection, thread_id, began)
        try:
            before = await self._replace(stored, began)
        except NotFoundError:
            await self._delete_file(stored)
            raise
        try:
            life = await record_activity(self._connection, thread_id, None)
            if life:
                await self._elements.update_one(_key(thread_id, stored["_id"]), {"$set": {"life": life}})
        except NotFoundError:
            # Written before it was looked at, so that a deletion at the same time finds the one or the other.
            late = {**_key(thread_id, stored["_id"]), "life": {"$exists": False}}
            await delete_elements(self._connection, late)
            await self._delete_file(stored)
            raise
        finally:
            if before:
                await delete_files(self._connection, *before)
                forget = {"$pull": {"file_keys": {"$in": [*before]}}}
                await self._elements.update_one(_key(thread_id, stored["_id"]), forget)
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
        found = await find_parts(self._connection, "elements", key, order, 1, FILES)
        deleted = await delete_found_elements(self._connection, found, key, new_tombstone())
        return deleted or current_operation().attempt > 0

    async def _replace(self, stored: StoredDocument, began: int) -> set[str]:
        """Store an element and return the keys of the files that it has no more."""
        key = {"_id": stored["_id"], "thread_id": stored["thread_id"]}
        update: StoredDocument = {"$set": stored, "$setOnInsert": {"created_at": began}}
        update["$push"] = remember(current_operation().token)
        if stored["file_key"] is not None:
            # Until a file is gone the element names it, for a retry does not see the element before.
            update["$addToSet"] = {"file_keys": stored["file_key"]}
        if done := await find_done(self._elements, key, projection=FILES):
            return {*done.get("file_keys", ())} - {done["file_key"]}
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
                return {before.get("file_key"), *before.get("file_keys", ())} - {None, stored["file_key"]}

    async def _delete_file(self, stored: StoredDocument) -> None:
        if stored.get("file_key") is not None:
            await delete_files(self._connection, stored["file_key"])


def _key(thread_id: str, element_id: str) -> StoredDocument:
    return {"_id": check_id("element_id", element_id), "thread_id": check_id("thread_id", thread_id)}
