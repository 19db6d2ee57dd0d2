"""The messages and steps of threads; `store.threads.messages`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Any, Unpack

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import (
    check_flag,
    check_id,
    check_limit,
    check_members,
)
from mongostore.codec import to_micros
from mongostore.documents.mapping import SCHEMA_VERSION, Raw, check_instance
from mongostore.documents.threads import to_stored_message_members, to_thread_message
from mongostore.errors import (
    ConflictError,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
    UnsupportedError,
)
from mongostore.models import Page, ThreadMessage, ThreadMessageFilter, ThreadMessageUpdate
from mongostore.repositories import Repository, current_operation, long_running, reads, writes
from mongostore.repositories.paging import find_page, walk
from mongostore.repositories.threads.pages import by_creation, count, read_page
from mongostore.repositories.threads.thread_writes import delete_elements, record_activity, record_vote

_EMPTY_VALUES: tuple[Any, ...] = (None, "", {}, [])


class AsyncThreadMessages(Repository):
    """Messages and steps of threads, the oldest first.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` when the server does not answer within the store's timeout, `AccessDeniedError`
    when the user lacks the right, and `NotOpenError` on a store that is not open.
    """

    @writes
    async def merge(
        self,
        thread_id: str | None,
        message_id: str,
        *,
        only_missing: bool = False,
        **members: Unpack[ThreadMessageUpdate],
    ) -> None:
        """Change the given members of a message, which is begun, with its thread, if it is not there.

        A message that belongs to no thread yet goes to the one that is named. `data` is merged key by key,
        where None is a value. The beginning of a message may come after its end: with `only_missing` it fills
        what is absent or empty.

        Args:
            thread_id: The thread of the message; None leaves it where it is, which may be in none.
            message_id: The message.
            only_missing: Whether to leave what later merges have set.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted; nothing is stored.
            ConflictError: If the message belongs to another thread.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take too much; it is left as it was.
        """
        key: Raw = {"_id": check_id("message_id", message_id)}
        sets = to_stored_message_members(check_members(members, ThreadMessageUpdate))
        if thread_id is not None:
            sets["thread_id"] = check_id("thread_id", thread_id)
            key["thread_id"] = thread_id
        merge = self._merge_start if check_flag("only_missing", only_missing) else self._merge_update
        while not await merge(key, sets):
            existing = await self._messages.find_one({"_id": message_id}, {"thread_id": 1, "created_at": 1})
            if existing is not None and thread_id is not None and existing["thread_id"] != thread_id:
                if existing["thread_id"] is not None:
                    raise ConflictError(f"message {message_id!r} belongs to another thread")
                await self._move_to_thread(existing, thread_id)

    @reads
    async def get(self, thread_id: str, message_id: str) -> ThreadMessage:
        """Return a message of a thread.

        Raises:
            NotFoundError: If the thread has no such message.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        message = await self.find(thread_id, message_id)
        if message is None:
            raise NotFoundError("message", message_id)
        return message

    @reads
    async def find(self, thread_id: str, message_id: str) -> ThreadMessage | None:
        """Return a message of a thread; None if it is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        document = await self._messages.find_one(_key(check_id("thread_id", thread_id), message_id))
        return None if document is None else to_thread_message(document)

    @reads
    async def find_by_id(self, message_id: str) -> ThreadMessage | None:
        """Return a message whose thread is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        document = await self._messages.find_one({"_id": check_id("message_id", message_id)})
        return None if document is None else to_thread_message(document)

    @reads
    async def exists(self, thread_id: str, message_id: str) -> bool:
        """Return whether a thread has such a message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        where = _key(check_id("thread_id", thread_id), message_id)
        return await self._messages.find_one(where, {"_id": 1}) is not None

    @reads
    async def count(self, thread_id: str, *, limit: int | None = None) -> int:
        """Return how many messages a thread has, `limit` at most.

        Raises:
            InvalidValueError: If the id is no plain string, or the limit is out of range.
        """
        where = {"thread_id": check_id("thread_id", thread_id)}
        return await count(self._connection, "messages", where, limit)

    @reads
    async def list(
        self,
        thread_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[ThreadMessageFilter],
    ) -> Page[ThreadMessage]:
        """Return a page of messages in reading order, the first or the last ones.

        Args:
            thread_id: The thread.
            newest: Whether the page is of the last messages.
            limit: How many at most, 1 to 1,000.
            cursor: The `next_cursor` of the page before.
            **where: Only those with these members.

        Returns:
            The page; messages that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        filter = {"thread_id": check_id("thread_id", thread_id), **_filter(where)}
        order = by_creation(newest)
        page = await read_page(self._connection, "messages", filter, order, limit, cursor, to_thread_message)
        page.items = [message for message in page.items if _is_equal(message, where)]
        if newest:
            page.items.reverse()
        return page

    @long_running
    async def iter(
        self,
        thread_id: str | None = None,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[ThreadMessageFilter],
    ) -> AsyncIterator[ThreadMessage]:
        """Yield all messages of a thread, or of a kind in all threads, the oldest first.

        Args:
            thread_id: The thread; None for all.
            newest: Whether the newest come first.
            errors: Collects the errors of messages that cannot be read, instead of raising them.
            **where: Only those with these members.

        Raises:
            InvalidValueError: If an argument is of the wrong type, or neither a thread nor a kind is given.
            InvalidDocumentError: If a message cannot be read and `errors` is not given.
        """
        if thread_id is None and "kind" not in where:
            raise InvalidValueError("thread_id", "must be given, or a kind")
        filter, order = _filter(where), by_creation(newest)
        if thread_id is not None:
            filter["thread_id"] = check_id("thread_id", thread_id)
        async for message in walk(self._connection, "messages", filter, order, to_thread_message, errors):
            if _is_equal(message, where):
                yield message

    @reads
    async def list_pinned(
        self, user_id: str, *, newest: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[ThreadMessage]:
        """Return a page of the pinned messages of a user's threads, the newest first.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        check_limit("limit", limit)
        threads = self._connection.collection("threads")
        with_pinned = {"user_id": check_id("user_id", user_id), "has_pinned": True, "state": "open"}
        async with threads.find(with_pinned, {"_id": 1}) as found:
            ids = [document["_id"] for document in await found.to_list()]
        order = by_creation(newest)
        where: Raw = {"thread_id": {"$in": ids}, "pinned": True}
        if place := order.decode(cursor):
            # In one piece, of which an index still merges the threads in their order.
            behind = "$lt" if newest else "$gt"
            where["created_at"] = {f"{behind}e": place[0]}
            where["$or"] = [{"created_at": {behind: place[0]}}, {"_id": {behind: place[1]}}]
        documents = await find_page(self._connection, "messages", where, order, limit + 1)
        return order.page(documents, limit, to_thread_message)

    @staticmethod
    def cursor_of(message: ThreadMessage) -> str:
        """Return the cursor of the page that begins behind a message, in either direction.

        Raises:
            InvalidValueError: If it is no message that a list has shown.
        """
        shown = check_instance("message", message, ThreadMessage)
        return by_creation(False).cursor(
            (to_micros("created_at", shown.created_at), check_id("id", shown.id))
        )

    @writes
    async def delete(self, thread_id: str | None, message_id: str) -> bool:
        """Delete a message with its feedback, elements and files, and return whether it was there.

        The steps of the message stay.

        Args:
            thread_id: The thread of the message; None for one that belongs to none.
            message_id: The message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        key = _key(None if thread_id is None else check_id("thread_id", thread_id), message_id)

        async def remove(session: Any) -> bool:
            document = await self._messages.find_one(key, {"feedback": 1}, session=session)
            if document is None:
                return False
            await self._messages.delete_one(key, session=session)
            if document.get("feedback") and thread_id is not None:
                await record_vote(self._connection, thread_id, message_id, None, session)
            return True

        has_matched = await self._connection.engine.transact(remove)
        await delete_elements(self._connection, {"thread_id": thread_id, "message_id": message_id})
        return has_matched or current_operation().attempt > 0

    @property
    def _messages(self) -> Any:
        return self._connection.collection("messages")

    async def _merge_start(self, key: Raw, sets: Raw) -> bool:
        """Merge in how a message began; return False if others were in the way."""
        try:
            await self._upsert({**key, "is_begun": {"$ne": True}}, sets)
        except DuplicateKeyError:
            return await self._fill_missing(key, sets)
        return True

    async def _merge_update(self, key: Raw, sets: Raw) -> bool:
        """Merge in how a message went on; return False if others were in the way."""
        update = {"$set": {**sets, "is_begun": True}, "$inc": {"revision": 1}}
        # What makes it newer than it was makes its thread so, too.
        older = {"created_at": {"$gte": sets["created_at"]}} if "created_at" in sets else {}
        changed = await self._messages.update_one({**key, **older}, update)
        if not changed.matched_count:
            try:
                await self._upsert(key, update["$set"])
            except DuplicateKeyError:
                return False
        elif sets.get("pinned") or current_operation().attempt:
            await self._record_in_thread(key["_id"], sets, sets.get("created_at"))
        return True

    async def _upsert(self, where: Raw, sets: Raw) -> None:
        """Merge into a message, which is made if it is not there.

        Raises:
            DuplicateKeyError: It is there, but not as the filter has it.
            NotFoundError: The thread is deleted; nothing is stored.
        """
        new: Raw = {
            "thread_id": None,
            "parent_id": None,
            "created_at": current_operation().now,
            "schema_version": SCHEMA_VERSION,
        }
        update: Raw = {
            "$set": sets,
            "$setOnInsert": {name: value for name, value in new.items() if name not in sets},
            "$inc": {"revision": 1},
        }
        placed = await self._messages.update_one(
            where, {operator: part for operator, part in update.items() if part}, upsert=True
        )
        is_new = placed.upserted_id is not None or current_operation().attempt > 0
        created_at = sets.get("created_at", new["created_at"] if is_new else None)
        try:
            await self._record_in_thread(where["_id"], sets, created_at)
        except UnsupportedError:
            # Its thread is one that only a newer version may change.
            if placed.upserted_id is not None:
                await self._messages.delete_one({"_id": where["_id"]})
            raise

    async def _fill_missing(self, key: Raw, sets: Raw) -> bool:
        """Set what a message still lacks; return False if it is gone, another thread's or just changed."""
        document = await self._messages.find_one(key)
        if document is None:
            return False
        fills = {path: value for path, value in sets.items() if _is_missing(document, path)}
        if not fills:
            return True
        filled = await self._messages.update_one(
            {**key, "revision": document["revision"]}, {"$set": fills, "$inc": {"revision": 1}}
        )
        if filled.matched_count and fills.keys() & {"pinned", "created_at"}:
            await self._record_in_thread(
                key["_id"], {**fills, "thread_id": document["thread_id"]}, fills.get("created_at")
            )
        return bool(filled.matched_count)

    async def _move_to_thread(self, document: Raw, thread_id: str) -> None:
        """Take a message that belongs to no thread into one.

        Raises:
            NotFoundError: The thread is deleted; the message belongs to none, as before.
        """
        adopted = {"_id": document["_id"], "thread_id": None}
        if (await self._messages.update_one(adopted, {"$set": {"thread_id": thread_id}})).matched_count:
            try:
                await record_activity(self._connection, thread_id, document["created_at"])
            except NotFoundError:
                own_write = {"_id": document["_id"], "thread_id": thread_id}
                await self._messages.update_one(own_write, {"$set": {"thread_id": None}})
                raise

    async def _record_in_thread(self, message_id: str, sets: Raw, created_at: int | None) -> None:
        """Note in its thread, if one is named, what was merged into a message."""
        thread_id = sets.get("thread_id")
        if thread_id is None:
            return
        pinned = bool(sets.get("pinned"))
        try:
            await record_activity(self._connection, thread_id, created_at, has_pinned=pinned)
        except NotFoundError:
            # Written before the thread was looked at, so that a deletion at the same time finds the one or
            # the other.
            await self._messages.delete_one({"_id": message_id, "thread_id": thread_id})
            raise


def _key(thread_id: str | None, message_id: str) -> Raw:
    return {"_id": check_id("message_id", message_id), "thread_id": thread_id}


def _filter(where: ThreadMessageFilter) -> Raw:
    stored = to_stored_message_members(check_members(where, ThreadMessageFilter))
    # By `$eq`, for a key of a value may look like an operator.
    return {path: {"$eq": value} for path, value in stored.items()}


def _is_equal(message: ThreadMessage, where: ThreadMessageFilter) -> bool:
    # A server finds a list by what is in it, too.
    return where.get("content", message.content) == message.content and all(
        message.data.get(key) == value for key, value in where.get("data", {}).items()
    )


def _is_missing(document: Raw, path: str) -> bool:
    if path == "created_at":
        # Not the caller's: when the first merge came.
        return not document.get("has_created_at")
    parent, _, name = path.partition(".")
    return (document.get(parent, {}).get(name) if name else document.get(parent)) in _EMPTY_VALUES
