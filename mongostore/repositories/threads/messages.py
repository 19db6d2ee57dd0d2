"""The messages and steps of threads; `store.threads.messages`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any, Unpack

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id, check_limit, check_members
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance, to_extended_json
from mongostore.documents.threads import to_stored_message_members, to_thread_message
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import Page, ThreadMessage, ThreadMessageFilter, ThreadMessageUpdate
from mongostore.repositories import (
    CollectionOf,
    Connection,
    Repository,
    current_operation,
    long_running,
    reads,
    writes,
)
from mongostore.repositories.expiry import new_tombstone
from mongostore.repositories.paging import SortOrder, find_page, list_page, page_of, walk
from mongostore.repositories.parts import count_parts, find_part, find_parts
from mongostore.repositories.search.lists import value_filter
from mongostore.repositories.threads.message_writer import NOT_DELETED, MessageWriter
from mongostore.repositories.threads.thread_writes import (
    delete_elements,
    not_begun_since,
    record_vote,
    to_begun,
)

# What goes with a deleted message.
_ERASED_FIELDS = dict.fromkeys(
    (
        *("kind", "parent_id", "content", "data", "pinned", "created_at", "feedback"),
        *("is_begun", "has_created_at", "revision", "arrival", "life_since", "ops"),
    ),
    "",
)


class AsyncThreadMessages(Repository):
    """Messages and steps of threads, the oldest first.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` when the server does not answer within the store's timeout, `AccessDeniedError`
    when the user lacks the right, and `NotOpenError` on a store that is not open.
    """

    _messages = CollectionOf("messages")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._writer = MessageWriter(connection)

    @writes
    async def merge(
        self,
        thread_id: str | None,
        message_id: str,
        *,
        only_missing: bool = False,
        begun_at: datetime | None = None,
        **members: Unpack[ThreadMessageUpdate],
    ) -> None:
        """Change members of a message, begun with its thread if not there.

        A message that belongs to no thread yet goes to the one that is named. `data` is merged key by key,
        where None is a value. The beginning of a message may come after its end: with `only_missing` it fills
        what is absent or empty.

        A message of an expired thread is changed until the thread is pruned, but not found.

        Args:
            thread_id: The thread of the message; None leaves it where it is, which may be in none.
            message_id: The message.
            only_missing: Whether to leave what later merges have set.
            begun_at: When the message began, by the clock of this host: a thread that was deleted before that
                is begun anew. None leaves it deleted.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted, or the message was after it began; nothing is stored.
            ConflictError: If the message belongs to another thread.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take too much; it is left as it was.
        """
        key: StoredDocument = {"_id": check_id("message_id", message_id)}
        sets = to_stored_message_members(check_members(members, ThreadMessageUpdate))
        if thread_id is not None:
            sets["thread_id"] = check_id("thread_id", thread_id)
            key["thread_id"] = thread_id
        else:
            key["state"] = NOT_DELETED
        begun = to_begun(self._connection, begun_at)
        await self._writer.merge(key, sets, begun, only_missing=check_flag("only_missing", only_missing))

    @reads
    async def get(self, thread_id: str, message_id: str) -> ThreadMessage:
        """Return a message of a thread.

        Raises:
            NotFoundError: If the thread has no such message.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        return self._check_found("message", message_id, await self.find(thread_id, message_id))

    @reads
    async def find(self, thread_id: str, message_id: str) -> ThreadMessage | None:
        """Return a message of a thread; None if it is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        key = _key(check_id("thread_id", thread_id), message_id)
        document = await find_part(self._connection, "messages", key)
        return None if document is None else to_thread_message(document)

    @reads
    async def describe_document(self, thread_id: str, message_id: str) -> str:
        """Return a stored message, readable or not, in Extended JSON.

        Raises:
            NotFoundError: If the thread has no such message.
            InvalidValueError: If an id is no plain string.
        """
        key = _key(check_id("thread_id", thread_id), message_id)
        document = await find_part(self._connection, "messages", key)
        return to_extended_json(self._check_found("message", message_id, document))

    @reads
    async def find_by_id(self, message_id: str) -> ThreadMessage | None:
        """Return a message whose thread is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        key = {"_id": check_id("message_id", message_id), "state": NOT_DELETED}
        document = await find_part(self._connection, "messages", key)
        return None if document is None else to_thread_message(document)

    @reads
    async def exists(self, thread_id: str, message_id: str) -> bool:
        """Return whether a thread has such a message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        filter = _key(check_id("thread_id", thread_id), message_id)
        return await find_part(self._connection, "messages", filter, {"_id": 1}) is not None

    @reads
    async def count(self, thread_id: str, *, limit: int | None = None) -> int:
        """Return how many messages a thread has, `limit` at most.

        Raises:
            InvalidValueError: If the id is no plain string, or the limit is out of range.
        """
        filter = {"thread_id": check_id("thread_id", thread_id)}
        return await count_parts(self._connection, "messages", filter, limit)

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
        order = _by_arrival(newest)
        cursor = await self._with_arrival(order, cursor)
        page = await list_page(
            self._connection, "messages", filter, order, limit, cursor, to_thread_message, find=find_parts
        )
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
        """Yield all messages of a thread or of a kind, the oldest first.

        Args:
            thread_id: The thread; None for all.
            newest: Whether the newest come first.
            errors: Collects the errors of messages that cannot be read, instead of raising them.
            **where: Only those with these members.

        Raises:
            InvalidValueError: If an argument is of the wrong type, or there is neither a thread nor a kind.
            InvalidDocumentError: If a message cannot be read and there is no list of `errors`.
        """
        if thread_id is None and "kind" not in where:
            raise InvalidValueError("thread_id", "must be set, or a kind")
        filter, order = _filter(where), _by_arrival(newest)
        if thread_id is not None:
            filter["thread_id"] = check_id("thread_id", thread_id)
        steps = walk(self._connection, "messages", filter, order, to_thread_message, errors, find=find_parts)
        async with aclosing(steps) as messages:
            async for message in messages:
                if _is_equal(message, where):
                    yield message

    @reads
    async def list_pinned(
        self, user_id: str, *, newest: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[ThreadMessage]:
        """Return a page of a user's pinned messages, the newest first.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        check_limit("limit", limit)
        threads = self._connection.collection("threads")
        with_pinned = {"user_id": check_id("user_id", user_id), "has_pinned": True, "state": "open"}
        ids = [thread["_id"] for thread in await threads.find_all(with_pinned, {"_id": 1})]
        order = _by_arrival(newest)
        filter: StoredDocument = {"thread_id": {"$in": ids}, "pinned": True}
        if sort_key := order.decode(await self._with_arrival(order, cursor)):
            # In one piece, of which an index still merges the threads in their order.
            operator = "$lt" if newest else "$gt"
            created_at, arrival, key = sort_key
            filter["created_at"] = {f"{operator}e": created_at}
            filter["$or"] = [
                {"created_at": {operator: created_at}},
                {"arrival": {operator: arrival}},
                {"arrival": arrival, "_id": {operator: key}},
            ]
        documents = await find_page(self._connection, "messages", filter, order, limit + 1)
        return page_of(documents, order, limit, to_thread_message)

    @staticmethod
    def cursor_of(message: ThreadMessage) -> str:
        """Return the cursor of the page behind a message, in either direction.

        Raises:
            InvalidValueError: If it is no message that a list has shown.
        """
        checked = check_instance("message", message, ThreadMessage)
        # Its arrival is looked up where it is needed.
        return _by_arrival(False).cursor(
            (to_micros("created_at", checked.created_at), None, check_id("id", checked.id))
        )

    @writes
    async def delete(self, thread_id: str | None, message_id: str) -> bool:
        """Delete a message with all that is its own; return whether it was there.

        Its feedback, elements and files go with it. The steps of the message stay.

        Args:
            thread_id: The thread of the message; None for one that belongs to none.
            message_id: The message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        key = _key(None if thread_id is None else check_id("thread_id", thread_id), message_id)

        tombstone = new_tombstone()
        existing = {**key, **not_begun_since("arrival")}
        was_there = thread_id is None or await find_part(self._connection, "messages", existing, {"_id": 1})

        async def remove(session: Any) -> bool:
            update = {"$set": tombstone, "$unset": _ERASED_FIELDS}
            document = await self._messages.find_one_and_update(
                existing, update, {"feedback": 1}, session=session
            )
            if document is None:
                return False
            if document.get("feedback") and thread_id is not None:
                return await record_vote(self._connection, thread_id, message_id, None, session)
            return True

        existed = bool(was_there) and await self._connection.engine.transact(remove)
        if not existed and thread_id is None:
            # Its start may still be on its way.
            with suppress(DuplicateKeyError):
                await self._messages.insert_one({**key, **tombstone})
        elif thread_id is not None and not existed and await self._was_deleted(key):
            # Without a transaction it may have left its vote.
            await record_vote(self._connection, thread_id, message_id, None, None)
        elements = {"thread_id": thread_id, "message_id": message_id, **not_begun_since("created_at")}
        await delete_elements(self._connection, elements, tombstone)
        return existed or current_operation().attempt > 0

    async def _was_deleted(self, key: StoredDocument) -> bool:
        """Return whether an earlier attempt has deleted a message."""
        tombstone = {**key, "state": "deleted"}
        return (
            current_operation().attempt > 0
            and await self._messages.find_one(tombstone, {"_id": 1}) is not None
        )

    async def _with_arrival(self, order: SortOrder, cursor: str | None) -> str | None:
        """Return a cursor that says when its message arrived, which that of a message does not."""
        match order.decode(cursor):
            case [created_at, None, key]:
                found = await self._messages.find_one({"_id": key}, {"arrival": 1})
                return order.cursor((created_at, (found or {}).get("arrival"), key))
        return cursor


def _by_arrival(newest: bool) -> SortOrder:
    """Return the order of messages, of which those of one time come as they arrived."""
    return SortOrder("created_at", is_ascending=not check_flag("newest", newest), tie="arrival")


def _key(thread_id: str | None, message_id: str) -> StoredDocument:
    return {"_id": check_id("message_id", message_id), "thread_id": thread_id}


def _filter(where: ThreadMessageFilter) -> StoredDocument:
    stored = to_stored_message_members(check_members(where, ThreadMessageFilter))
    filter: StoredDocument = {}
    for path, value in stored.items():
        filter |= {path: value} if path in ("kind", "pinned") else value_filter(path, value)
    return filter


def _is_equal(message: ThreadMessage, where: ThreadMessageFilter) -> bool:
    # A server finds a list by what is in it, too.
    return where.get("content", message.content) == message.content and all(
        message.data.get(key) == value for key, value in where.get("data", {}).items()
    )
