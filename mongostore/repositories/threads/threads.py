"""Threads: merged into, listed by activity, searched and deleted; `store.threads`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final, Unpack

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure

from mongostore.arguments import check_flag, check_id, check_limit
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.threads import to_thread
from mongostore.errors import AlreadyExistsError, InvalidDocumentError
from mongostore.models import ListOrder, Page, Thread, ThreadFilter, ThreadUpdate
from mongostore.repositories import (
    CollectionOf,
    Connection,
    Repository,
    current_operation,
    long_running,
    read_step,
    reads,
    writes,
)
from mongostore.repositories.expiry import is_open
from mongostore.repositories.operation import find_done, remember, update_once
from mongostore.repositories.paging import count_documents, count_options, list_order
from mongostore.repositories.threads.elements import AsyncThreadElements
from mongostore.repositories.threads.feedback import AsyncThreadFeedback
from mongostore.repositories.threads.files import AsyncFiles
from mongostore.repositories.threads.filters import thread_filters
from mongostore.repositories.threads.messages import AsyncThreadMessages
from mongostore.repositories.threads.thread_lists import list_threads
from mongostore.repositories.threads.thread_updates import MERGED, MERGED_MEMBERS, to_update
from mongostore.repositories.threads.thread_writes import (
    delete_thread,
    finish_if_gone,
    new_thread,
    not_begun_since,
    to_begun,
    upsert_thread,
)
from mongostore.repositories.threads.users import AsyncUsers

AFTER = ReturnDocument.AFTER


class AsyncThreads(Repository):
    """Threads of users, and those without a user yet.

    A deleted thread stays deleted: for thirty days nothing that began before brings it back. A merge of the
    thread or of a message with a later `begun_at` begins it anew. Ids are plain strings of at most 512 bytes.
    Beside the errors that it names, every verb raises `UnavailableError` when the server does not answer
    within the store's timeout, `AccessDeniedError` when the user lacks the right, and `NotOpenError` on a
    store that is not open.

    Attributes:
        messages: The messages and steps of threads.
        elements: Things that a user interface shows beside messages.
        feedback: The votes of users on messages.
        files: Files of any size, in GridFS.
        users: The users that threads belong to.
    """

    _threads = CollectionOf("threads")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.messages: Final = AsyncThreadMessages(connection)
        self.elements: Final = AsyncThreadElements(connection)
        self.feedback: Final = AsyncThreadFeedback(connection)
        self.files: Final = AsyncFiles(connection)
        self.users: Final = AsyncUsers(connection)

    @writes
    async def create(
        self,
        thread_id: str | None = None,
        *,
        created_at: datetime | None = None,
        **members: Unpack[ThreadUpdate],
    ) -> Thread:
        """Create a thread, by default with a new id and the current time.

        Raises:
            AlreadyExistsError: If the id is taken, if only by a deleted thread.
            NotFoundError: If there is no such user.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the thread takes more than a document can hold.
        """
        call = current_operation()
        key = check_id("thread_id", call.token if thread_id is None else thread_id)
        document = await self._new(key, members)
        if created_at is not None:
            document["created_at"] = document["active_at"] = to_micros("created_at", created_at)
        try:
            await self._threads.insert_one({"_id": key, **document})
        except DuplicateKeyError:
            existing = await self._threads.find_one({"_id": key}, {"create_op": 1})
            if existing is None or existing.get("create_op") != call.token:
                raise AlreadyExistsError("thread", key) from None
        return to_thread({"_id": key, **document})

    @writes
    async def ensure(self, thread_id: str, **members: Unpack[ThreadUpdate]) -> Thread:
        """Return a thread, created with these members if it is not there.

        If it is, they are ignored.

        Raises:
            NotFoundError: If the thread is deleted, or there is no such user.
            InvalidValueError: If a value cannot be stored; names its path.
            InvalidDocumentError: If the thread cannot be read.
            DocumentTooLargeError: If the thread takes more than a document can hold.
        """
        where = {"_id": check_id("thread_id", thread_id), "state": "open"}
        new = {"$setOnInsert": await self._new(thread_id, members)}
        try:
            document: Any = await self._threads.find_one_and_update(
                where, new, upsert=True, return_document=AFTER
            )
        except DuplicateKeyError:
            # Deleted, or created by another call at the same time.
            return await self.get(thread_id)
        return to_thread(document)

    @writes
    async def update(self, thread_id: str, **members: Unpack[ThreadUpdate]) -> Thread:
        """Change members of a thread.

        `data` is replaced whole. `metadata` is merged key by key, where None removes a key unless `unset` is
        set.

        Raises:
            NotFoundError: If the thread is not there, or there is no such user; nothing is changed.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If the thread cannot be read, after it was changed.
            DocumentTooLargeError: If the thread would take too much; it is left as it was.
        """
        where = {"_id": check_id("thread_id", thread_id), "state": "open", **not_begun_since("deleted_at")}
        update = await to_update(self._connection, members, replaces=True)
        if not update:
            return await self.get(thread_id)
        run = partial(update_once, self._threads)
        document = await MERGED.write(self._threads, thread_id, where, update, run)
        return to_thread(self._check_found("thread", thread_id, document))

    @writes
    async def merge(
        self,
        thread_id: str,
        *,
        if_absent: bool = False,
        begun_at: datetime | None = None,
        **members: Unpack[ThreadUpdate],
    ) -> None:
        """Change members of a thread, which is begun if it is not there.

        `data` and `metadata` are merged key by key. In `metadata` None removes a key unless `unset` is set.

        Args:
            thread_id: The thread.
            if_absent: Whether to change nothing if one of the keys to set in `data` and `metadata` is there.
            begun_at: When the talk began that this is said of, by the clock of this host: a thread that was
                deleted before that is begun anew. None leaves it deleted.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted, or there is no such user; nothing is changed.
            ConflictError: If `if_absent` is set and one of the keys is there.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the thread would take too much; it is left as it was.
        """
        key = check_id("thread_id", thread_id)
        update = await to_update(self._connection, members)
        sets = update.get("$set", {})
        added = [path for path in sets if "." in path] if check_flag("if_absent", if_absent) else []
        begun = to_begun(self._connection, begun_at)
        if await find_done(self._threads, {"_id": key}, projection={"_id": 1}):
            return
        update["$push"] = {**update.get("$push", {}), **remember(current_operation().token)}
        await upsert_thread(self._connection, key, update, if_absent=added, begun_at=begun)

    @reads
    async def get(self, thread_id: str) -> Thread:
        """Return a thread.

        Raises:
            NotFoundError: If there is no such thread, or it is deleted.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the thread cannot be read.
        """
        return self._check_found("thread", thread_id, await self.find(thread_id))

    @reads
    async def find(self, thread_id: str) -> Thread | None:
        """Return a thread; None if there is none, or it is deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the thread cannot be read.
        """
        document = await self._threads.find_one({"_id": check_id("thread_id", thread_id)})
        if is_open(document):
            return to_thread(document)
        if document is not None:
            # Those without the right to write still read.
            with suppress(OperationFailure):
                await finish_if_gone(self._connection, document)
        return None

    @reads
    async def exists(self, thread_id: str) -> bool:
        """Return whether there is such a thread, not deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        where = {"_id": check_id("thread_id", thread_id), "state": "open"}
        return await self._threads.find_one(where, {"_id": 1}) is not None

    @long_running
    async def count(self, *, limit: int | None = None, **where: Unpack[ThreadFilter]) -> int:
        """Return how many threads there are, `limit` at most.

        Raises:
            InvalidValueError: If the limit or a filter is of the wrong type or out of range.
        """
        count_options(limit)
        # By creation, in which more indexes have threads; only times are those of the activity.
        has_times = where.get("since") or where.get("until")
        sort = list_order("active" if has_times else "created", False)
        filter = sort.keyset_filter_of_any(thread_filters(where, sort), None)
        if where.get("text") or where.keys() & {*MERGED_MEMBERS}:
            return await list_threads(self._connection, sort, where).count(limit)
        return await read_step(self._connection, count_documents, self._connection, "threads", filter, limit)

    @long_running
    async def list(
        self,
        *,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[ThreadFilter],
    ) -> Page[Thread]:
        """Return a page of threads, the most recently active first.

        With `text` a page may be short, even empty, while others follow.

        Args:
            order: Whether by activity or by creation.
            newest: Whether the newest come first.
            limit: How many at most, 1 to 1,000.
            cursor: The `next_cursor` of the page before.
            **where: Only those with these members.

        Returns:
            The page; threads that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        limit, sort = check_limit("limit", limit), list_order(order, newest)
        return await list_threads(self._connection, sort, where).page(limit, cursor)

    @long_running
    def iter(
        self,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[ThreadFilter],
    ) -> AsyncIterator[Thread]:
        """Yield all threads in the order of their creation.

        Args:
            newest: Whether the newest come first.
            errors: Collects the errors of threads that cannot be read, instead of raising them.
            **where: Only those with these members.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If a thread cannot be read and there is no list of `errors`.
        """
        return list_threads(self._connection, list_order("created", newest), where).iterate(errors)

    @staticmethod
    def cursor_of(thread: Thread, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page that begins behind a thread.

        Raises:
            InvalidValueError: If it is no thread that a list has shown, or there is no such order.
        """
        checked, sort = check_instance("thread", thread, Thread), list_order(order, True)
        return sort.cursor((to_micros(sort.field, getattr(checked, sort.field)), check_id("id", checked.id)))

    @writes
    async def delete(self, thread_id: str) -> bool:
        """Delete a thread with all parts for good; return whether it was there.

        From the first moment on it is not found. A deletion that is cut short is finished by the next verb
        that meets the thread.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        return await delete_thread(self._connection, check_id("thread_id", thread_id))

    async def _new(self, thread_id: str, members: ThreadUpdate) -> StoredDocument:
        """Return the document of a new thread with these members, without its id."""
        call = current_operation()
        document = {**new_thread(call.now), "create_op": call.token}
        for path, value in (await to_update(self._connection, members)).get("$set", {}).items():
            parent, _, name = path.partition(".")
            (document[parent] if name else document)[name or parent] = value
        return document | MERGED.count(thread_id, document)
