"""What is shown beside the messages of threads; `store.threads.elements`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.documents.stored import Raw
from mongostore.documents.threads import to_element, to_stored_element
from mongostore.errors import ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Element
from mongostore.repositories import Repository, current_call, long_running, reads, settled_step, writes
from mongostore.repositories.threads.upkeep import delete_elements, delete_files, touch_thread
from mongostore.values import check_id


class AsyncThreadElements(Repository):
    """What is shown beside messages. An element may come before its message and its thread."""

    @writes
    async def upsert(self, element: Element) -> Element:
        """Store an element, or replace it; the file of the one before is deleted if this one has another.

        Raises:
            NotFoundError: Its thread is deleted; nothing is stored, and its file is deleted too.
            ConflictError: There is an element with that id in another thread.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_element(element)
        before = await self._put(stored)
        try:
            await touch_thread(self._connection, element.thread_id, None)
        except NotFoundError:
            # Written before it was looked at, so that a deletion at the same time finds the one or the other.
            await delete_elements(self._connection, {"_id": stored["_id"]})
            await self._delete_file(stored)
            raise
        finally:
            if before and before.get("file_key") != stored["file_key"]:
                await self._delete_file(before)
        return element

    @reads
    async def get(self, element_id: str) -> Element:
        """Return an element.

        Raises:
            NotFoundError: There is no such element.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        element = await self.find(element_id)
        if element is None:
            raise NotFoundError("element", element_id)
        return element

    @reads
    async def find(self, element_id: str) -> Element | None:
        """Return an element, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._elements.find_one({"_id": check_id("element_id", element_id)})
        return None if raw is None else to_element(raw)

    @long_running
    async def iter(self, thread_id: str) -> AsyncIterator[Element]:
        """Yield all elements of a thread, in the order in which they came, passing over what cannot be read.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        where: Raw = {"thread_id": check_id("thread_id", thread_id)}
        for raw in await settled_step(self._connection, self._all, where):
            with suppress(InvalidDocumentError):
                yield to_element(raw)

    @writes
    async def delete(self, element_id: str) -> bool:
        """Delete an element with its file, and return whether it was there.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        deleted = await delete_elements(self._connection, {"_id": check_id("element_id", element_id)})
        return deleted or current_call().attempt > 0

    @property
    def _elements(self) -> Any:
        return self._connection.collection("elements")

    async def _put(self, stored: Raw) -> Raw | None:
        """Store an element and return the one that it replaces."""
        key = {"_id": stored["_id"], "thread_id": stored["thread_id"]}
        update = {"$set": stored, "$setOnInsert": {"created_at": current_call().now}}
        while True:
            try:
                before: Raw | None = await self._elements.find_one_and_update(
                    key, update, upsert=True, projection={"file_key": 1}
                )
            except DuplicateKeyError:
                # Another thread's, or the same one stored at the same time.
                there = await self._elements.find_one({"_id": stored["_id"]}, {"thread_id": 1})
                if there is not None and there["thread_id"] != stored["thread_id"]:
                    raise ConflictError(f"element {stored['_id']!r} belongs to another thread") from None
            else:
                return before

    async def _delete_file(self, stored: Raw) -> None:
        if stored.get("file_key") is not None:
            await delete_files(self._connection, stored["file_key"])

    async def _all(self, where: Raw) -> Any:
        async with self._elements.find(where, sort=[("created_at", 1), ("_id", 1)]) as found:
            return await found.to_list()
