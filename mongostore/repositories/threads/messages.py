"""The messages of threads, found by their own ids; `store.messages`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Unpack

from pymongo.errors import DuplicateKeyError

from mongostore.documents.stored import SCHEMA_VERSION, Raw
from mongostore.documents.threads import (
    to_feedback,
    to_stored_feedback,
    to_stored_message_members,
    to_thread_message,
)
from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
    UnsupportedError,
)
from mongostore.models import Feedback, Page, ThreadMessage, ThreadMessageMembers
from mongostore.repositories import Repository, current_call, long_running, reads, settled_step, writes
from mongostore.repositories.paging import Order
from mongostore.repositories.threads.upkeep import delete_elements, touch_thread
from mongostore.values import check_flag, check_id, check_limit, check_members

_ITER_PAGE = 500
_ORDER = Order("created_at")
_EMPTY: tuple[Any, ...] = (None, "", {}, [])


class ThreadMessageRepository(Repository):
    """Messages and steps of threads.

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
        begins: bool = False,
        **members: Unpack[ThreadMessageMembers],
    ) -> None:
        """Change the given members of a message, which is made, with its thread, if it is not there.

        A message that belongs to no thread yet goes to the one that is named. What says how a message began
        may come after what says how it went on: then it only fills what is still absent or empty.

        Args:
            thread_id: The thread that it belongs to; None leaves it where it is, which may be nowhere.
            message_id: The message.
            begins: Whether this says how the message began.
            **members: Those of `ThreadMessageMembers`; `data` is merged key by key, where None is a value as
                any other.

        Raises:
            NotFoundError: The thread is deleted; nothing is stored.
            ConflictError: The message belongs to another thread.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        key: Raw = {"_id": check_id("message_id", message_id)}
        sets = to_stored_message_members(check_members(members, ThreadMessageMembers))
        if thread_id is not None:
            sets["thread_id"] = check_id("thread_id", thread_id)
            key["thread_id"] = thread_id
        merge = self._begin if check_flag("begins", begins) else self._change
        while not await merge(key, sets):
            there = await self._messages.find_one({"_id": message_id}, {"thread_id": 1, "created_at": 1})
            if there is not None and thread_id is not None and there["thread_id"] != thread_id:
                if there["thread_id"] is not None:
                    raise ConflictError(f"message {message_id!r} belongs to another thread")
                await self._adopt(there, thread_id)

    @reads
    async def get(self, message_id: str) -> ThreadMessage:
        """Return a message.

        Raises:
            NotFoundError: There is no such message.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        message = await self.find(message_id)
        if message is None:
            raise NotFoundError("message", message_id)
        return message

    @reads
    async def find(self, message_id: str) -> ThreadMessage | None:
        """Return a message, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._messages.find_one({"_id": check_id("message_id", message_id)})
        return None if raw is None else to_thread_message(raw)

    @reads
    async def list(
        self, thread_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ThreadMessage]:
        """Return a page of a thread's messages, the oldest first.

        Args:
            thread_id: The thread.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; messages that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """
        limit = check_limit("limit", limit)
        where: Raw = {"thread_id": check_id("thread_id", thread_id)}
        raws = await self._page(_ORDER.behind(where, _ORDER.decode(cursor)), limit + 1)
        return _ORDER.page(raws, limit, to_thread_message)

    @long_running
    async def iter(
        self,
        thread_id: str | None = None,
        *,
        kind: str | None = None,
        content: Any = None,
        data: dict[str, Any] | None = None,
    ) -> AsyncIterator[ThreadMessage]:
        """Yield all messages of a thread, or of a kind, the oldest first, passing over what cannot be read.

        Args:
            thread_id: Only those of this thread.
            kind: Only those of this kind.
            content: Only those with this very content.
            data: Only those whose data have these values.

        Raises:
            InvalidValueError: An argument is of the wrong type, or neither a thread nor a kind is given.
        """
        if thread_id is None and kind is None:
            raise InvalidValueError("thread_id", "must be given, or a kind")
        given = {"kind": kind, "content": content, "data": data}
        stored = to_stored_message_members({name: it for name, it in given.items() if it is not None})
        # By `$eq`, for a key of a value may look like an operator.
        among: Raw = {path: {"$eq": value} for path, value in stored.items()}
        if thread_id is not None:
            among["thread_id"] = check_id("thread_id", thread_id)
        where = among
        while True:
            raws = await settled_step(self._connection, self._page, where, _ITER_PAGE)
            for raw in raws:
                with suppress(InvalidDocumentError):
                    message = to_thread_message(raw)
                    # A server finds a list by what is in it, too.
                    if content in (None, message.content) and all(
                        message.data.get(key) == value for key, value in (data or {}).items()
                    ):
                        yield message
            if len(raws) < _ITER_PAGE:
                return
            where = _ORDER.behind(among, _ORDER.place_of(raws[-1]))

    @long_running
    async def iter_pinned(self, user_id: str) -> AsyncIterator[ThreadMessage]:
        """Yield the pinned messages of a user's threads, the newest first.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        for raw in await settled_step(self._connection, self._pinned, check_id("user_id", user_id)):
            with suppress(InvalidDocumentError):
                yield to_thread_message(raw)

    @reads
    async def count(self, thread_id: str) -> int:
        """Return how many messages a thread has.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        return int(await self._messages.count_documents({"thread_id": check_id("thread_id", thread_id)}))

    @writes
    async def delete(self, message_id: str) -> bool:
        """Delete a message with its feedback, its elements and their files; return whether it was there.

        What it is the parent of stays.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        key = check_id("message_id", message_id)

        async def remove(session: Any) -> bool:
            raw = await self._messages.find_one(
                {"_id": key}, {"thread_id": 1, "feedback": 1}, session=session
            )
            if raw is None:
                return False
            await self._messages.delete_one({"_id": key}, session=session)
            if raw.get("feedback"):
                await self._vote(raw["thread_id"], key, None, session)
            return True

        was_there = await self._connection.engine.transact(remove)
        await delete_elements(self._connection, {"message_id": key})
        return was_there or current_call().attempt > 0

    @writes
    async def upsert_feedback(self, feedback: Feedback) -> Feedback:
        """Store the feedback of a message, or replace it, which keeps its id.

        Returns:
            The feedback as it is stored.

        Raises:
            NotFoundError: There is no such message.
            AlreadyExistsError: The id is that of another message's feedback.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: The message would take too much with it.
        """
        given = to_stored_feedback(feedback)
        key = check_id("message_id", feedback.message_id)

        async def put(session: Any) -> Feedback:
            raw = await self._messages.find_one(
                {"_id": key}, {"thread_id": 1, "feedback": 1}, session=session
            )
            if raw is None:
                raise NotFoundError("message", key)
            stored = {**given, "id": (raw.get("feedback") or given)["id"]}
            put_in = {"$set": {"feedback": stored}}
            if not (await self._messages.update_one({"_id": key}, put_in, session=session)).matched_count:
                raise NotFoundError("message", key)
            await self._vote(raw["thread_id"], key, given["value"], session)
            return to_feedback({"_id": key, "feedback": stored})

        try:
            return await self._connection.engine.transact(put)
        except DuplicateKeyError:
            raise AlreadyExistsError("feedback", given["id"]) from None

    @writes
    async def delete_feedback(self, feedback_id: str) -> bool:
        """Delete a feedback and return whether it was there.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        of_feedback = {"feedback.id": check_id("feedback_id", feedback_id)}

        async def remove(session: Any) -> bool:
            raw = await self._messages.find_one(of_feedback, {"thread_id": 1}, session=session)
            if raw is None:
                return False
            await self._messages.update_one(of_feedback, {"$unset": {"feedback": ""}}, session=session)
            await self._vote(raw["thread_id"], raw["_id"], None, session)
            return True

        return await self._connection.engine.transact(remove) or current_call().attempt > 0

    @property
    def _messages(self) -> Any:
        return self._connection.collection("messages")

    async def _begin(self, key: Raw, sets: Raw) -> bool:
        """Merge in how a message began; return False if others were in the way."""
        try:
            await self._place({**key, "changed": {"$ne": True}}, sets)
        except DuplicateKeyError:
            return await self._fill(key, sets)
        return True

    async def _change(self, key: Raw, sets: Raw) -> bool:
        """Merge in how a message went on; return False if others were in the way."""
        update = {"$set": {**sets, "changed": True}, "$inc": {"revision": 1}}
        # What makes it newer than it was makes its thread so, too.
        older = {"created_at": {"$gte": sets["created_at"]}} if "created_at" in sets else {}
        changed = await self._messages.update_one({**key, **older}, update)
        if not changed.matched_count:
            try:
                await self._place(key, update["$set"])
            except DuplicateKeyError:
                return False
        elif sets.get("pinned") or current_call().attempt:
            await self._touch(key["_id"], sets, sets.get("created_at"))
        return True

    async def _place(self, where: Raw, sets: Raw) -> None:
        """Merge into a message, which is made if it is not there.

        Raises:
            DuplicateKeyError: It is there, but not as the filter has it.
            NotFoundError: The thread is deleted; nothing is stored.
        """
        new: Raw = {
            "thread_id": None,
            "parent_id": None,
            "created_at": current_call().now,
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
        is_new = placed.upserted_id is not None or current_call().attempt > 0
        created_at = sets.get("created_at", new["created_at"] if is_new else None)
        try:
            await self._touch(where["_id"], sets, created_at)
        except UnsupportedError:
            # Its thread is one that only a newer version may change.
            if placed.upserted_id is not None:
                await self._messages.delete_one({"_id": where["_id"]})
            raise

    async def _fill(self, key: Raw, sets: Raw) -> bool:
        """Set what a message still lacks; return False if it is gone, another thread's or just changed."""
        raw = await self._messages.find_one(key)
        if raw is None:
            return False
        fills = {path: value for path, value in sets.items() if _lacks(raw, path)}
        if not fills:
            return True
        filled = await self._messages.update_one(
            {**key, "revision": raw["revision"]}, {"$set": fills, "$inc": {"revision": 1}}
        )
        if filled.matched_count and fills.keys() & {"pinned", "created_at"}:
            await self._touch(key["_id"], {**fills, "thread_id": raw["thread_id"]}, fills.get("created_at"))
        return bool(filled.matched_count)

    async def _adopt(self, raw: Raw, thread_id: str) -> None:
        """Take a message that belongs to no thread into one.

        Raises:
            NotFoundError: The thread is deleted; the message belongs to none, as before.
        """
        adopted = {"_id": raw["_id"], "thread_id": None}
        if (await self._messages.update_one(adopted, {"$set": {"thread_id": thread_id}})).matched_count:
            try:
                await touch_thread(self._connection, thread_id, raw["created_at"])
            except NotFoundError:
                mine = {"_id": raw["_id"], "thread_id": thread_id}
                await self._messages.update_one(mine, {"$set": {"thread_id": None}})
                raise

    async def _touch(self, message_id: str, sets: Raw, created_at: int | None) -> None:
        """Note in its thread, if one is named, what was merged into a message."""
        thread_id = sets.get("thread_id")
        if thread_id is None:
            return
        pinned = bool(sets.get("pinned"))
        try:
            await touch_thread(self._connection, thread_id, created_at, has_pinned=pinned)
        except NotFoundError:
            # Written before the thread was looked at, so that a deletion at the same time finds the one or
            # the other.
            await self._messages.delete_one({"_id": message_id, "thread_id": thread_id})
            raise

    async def _vote(self, thread_id: str, message_id: str, value: int | None, session: Any) -> None:
        """Note in a thread what is thought of one of its messages, by which lists of threads are filtered."""
        threads = self._connection.collection("threads")
        thread = {"_id": thread_id, "state": "open"}
        await threads.update_one(thread, {"$pull": {"votes": {"message_id": message_id}}}, session=session)
        if value is not None:
            vote = {"message_id": message_id, "value": value}
            await threads.update_one(thread, {"$push": {"votes": vote}}, session=session)

    async def _pinned(self, user_id: str) -> Any:
        threads = self._connection.collection("threads")
        with_pinned = {"user_id": user_id, "has_pinned": True, "state": "open"}
        async with threads.find(with_pinned, {"_id": 1}) as found:
            ids = [raw["_id"] for raw in await found.to_list()]
        pinned = {"thread_id": {"$in": ids}, "pinned": True}
        async with self._messages.find(pinned, sort=[("created_at", -1), ("_id", -1)]) as found:
            return await found.to_list()

    async def _page(self, where: Raw, limit: int) -> Any:
        async with self._messages.find(where, sort=_ORDER.sort, limit=limit, batch_size=limit + 1) as found:
            return await found.to_list()


def _lacks(raw: Raw, path: str) -> bool:
    if path == "created_at":
        # Not the caller's: when the first merge came.
        return not raw.get("dated")
    parent, _, name = path.partition(".")
    return (raw.get(parent, {}).get(name) if name else raw.get(parent)) in _EMPTY
