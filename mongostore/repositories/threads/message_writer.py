"""How messages of threads are merged."""

from __future__ import annotations

from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.errors import ConflictError, NotFoundError, UnsupportedError
from mongostore.repositories import CollectionOf, Connection, current_operation
from mongostore.repositories.operation import find_done, remember
from mongostore.repositories.search.texts import units_of
from mongostore.repositories.search.words import words_of
from mongostore.repositories.size_limits import SizeLimit
from mongostore.repositories.threads.thread_writes import (
    Life,
    check_same_life,
    record_activity,
    record_vote,
)

NOT_DELETED = {"$ne": "deleted"}
# With its feedback and the words of its texts, the message still fits into a document.
MERGED = SizeLimit("message", ("content", "data"), 15_500_000)
# Words for the search that a message has beside those of its present texts.
_MANY_WORDS: StoredDocument = {"words.10000": {"$exists": True}}
_NOT_MANY_WORDS: StoredDocument = {"words.10000": {"$exists": False}}
_HEAD = {"thread_id": 1, "created_at": 1, "life_since": 1, "state": 1, "deleted_at": 1}
_EMPTY_VALUES: tuple[Any, ...] = (None, "", {}, [])


class MessageWriter:
    """Merges into messages, whose start and end come in any order."""

    _messages = CollectionOf("messages")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def merge(
        self, key: StoredDocument, sets: StoredDocument, begun_at: int | None, *, only_missing: bool
    ) -> None:
        """Merge members into a message, which is made if it is not there.

        If it has begun after a deletion of its thread, it begins the thread anew.
        """
        message_id, thread_id = key["_id"], sets.get("thread_id")
        await check_same_life(self._connection, thread_id, begun_at or self._active_at(sets))
        if done := await find_done(self._messages, {"_id": message_id}, projection={"arrival": 1}):
            # What comes after it may be missing.
            active_at = self._active_at(sets) or done.get("arrival")
            await self._record_in_thread(message_id, sets, active_at, begun_at)
            return
        began = begun_at or self._active_at(sets) or current_operation().now
        if thread_id is None:
            existing = await self._messages.find_one(key, {"thread_id": 1})
            sets = self._stay(key, sets, (existing or {}).get("thread_id"))
        # What began before the thread's present life does not touch what is in it.
        key = {**key, "life_since": {"$not": {"$gte": began}}}
        merge = self._merge_start if only_missing else self._merge_update
        while not await merge(key, sets, begun_at):
            existing = await self._messages.find_one({"_id": message_id}, _HEAD)
            if existing is None:
                continue
            if existing.get("state") == "deleted":
                if began <= existing["deleted_at"]:
                    raise NotFoundError("message", message_id)
                await self._messages.delete_one({**existing})
            elif thread_id is None and existing["thread_id"] != key["thread_id"]:
                sets = self._stay(key, sets, existing["thread_id"])
            elif existing["thread_id"] != key["thread_id"]:
                if existing["thread_id"] is not None:
                    raise ConflictError(f"message {message_id!r} belongs to another thread")
                await self._move_to_thread(existing, key["thread_id"], began, begun_at)
            elif existing.get("life_since", -1) >= began:
                raise NotFoundError("thread", existing["thread_id"])
            elif not only_missing and await self._merge_exactly(key, {**sets, "is_begun": True}, begun_at):
                return

    @staticmethod
    def _stay(key: StoredDocument, sets: StoredDocument, thread_id: str | None) -> StoredDocument:
        """Let a merge that names no thread go where its message is, and return what it sets there."""
        key["thread_id"] = thread_id
        rest = {path: value for path, value in sets.items() if path != "thread_id"}
        return rest if thread_id is None else {**rest, "thread_id": thread_id}

    async def _merge_start(self, key: StoredDocument, sets: StoredDocument, begun_at: int | None) -> bool:
        """Merge in how a message began; return False if others were in the way."""
        try:
            return await self._upsert({**key, "is_begun": {"$ne": True}}, sets, begun_at)
        except DuplicateKeyError:
            return await self._merge_exactly(key, sets, begun_at, only_missing=True)

    async def _merge_update(self, key: StoredDocument, sets: StoredDocument, begun_at: int | None) -> bool:
        """Merge in how a message went on; return False if others were in the way."""
        sets = {**sets, "is_begun": True}
        added = MERGED.added(key["_id"], {"$set": sets})
        update = MERGED.counted(_once(sets), added)
        # What makes it newer than it was makes its thread so, too.
        older: StoredDocument = {"created_at": {"$gte": sets["created_at"]}} if "created_at" in sets else {}
        if begun_at is not None:
            # What begins after it has arrived may begin its thread anew.
            older["arrival"] = {"$not": {"$lt": begun_at}}
        changed = await self._messages.update_one({**key, **older, **_allowing(added)}, update)
        if not changed.matched_count:
            try:
                return await self._upsert(key, sets, begun_at)
            except DuplicateKeyError:
                return False
        elif sets.get("pinned"):
            return await self._record_in_thread(key["_id"], sets, self._active_at(sets))
        return True

    def _active_at(self, sets: StoredDocument) -> int | None:
        """Return when a message began by the server's clock; None if no caller named it."""
        if "created_at" not in sets:
            return None
        return self._connection.clock.from_host(sets["created_at"])

    async def _upsert(self, filter: StoredDocument, sets: StoredDocument, begun_at: int | None) -> bool:
        """Merge into a message, which is made if it is not there; return False if a deletion was in the way.

        Raises:
            DuplicateKeyError: It is there, but not as the filter has it.
            NotFoundError: The thread is deleted; nothing is stored.
        """
        new: StoredDocument = {
            "thread_id": None,
            "parent_id": None,
            "created_at": current_operation().now,
            "arrival": self._connection.clock.tick(),
            "schema_version": SCHEMA_VERSION,
        }
        update = _once(sets)
        update["$setOnInsert"] = {name: value for name, value in new.items() if name not in sets}
        added = MERGED.added(filter["_id"], update)
        update = {operator: part for operator, part in MERGED.counted(update, added).items() if part}
        result = await self._messages.update_one({**filter, **_allowing(added)}, update, upsert=True)
        is_new = result.upserted_id is not None or current_operation().attempt > 0
        active_at = self._active_at(sets) or (new["created_at"] if is_new else None)
        try:
            return await self._record_in_thread(filter["_id"], sets, active_at, begun_at)
        except UnsupportedError:
            # Its thread is one that only a newer version may change.
            if result.upserted_id is not None:
                await self._messages.delete_one({"_id": filter["_id"], "thread_id": filter["thread_id"]})
            raise

    async def _merge_exactly(
        self, key: StoredDocument, sets: StoredDocument, begun_at: int | None, *, only_missing: bool = False
    ) -> bool:
        """Merge into a message as it is read, whose true size is counted.

        Args:
            key: The filter of the message.
            sets: The members.
            begun_at: When they began.
            only_missing: Whether to leave what later merges have set.

        Returns:
            False if it is gone, another thread's or just changed.
        """
        document = await self._messages.find_one(key)
        if document is None:
            return False
        if only_missing and document.get("is_begun"):
            sets = {path: value for path, value in sets.items() if _is_missing(document, path)}
        # Then it may begin its thread anew.
        is_later = begun_at is not None and document.get("arrival", begun_at) < begun_at
        of_thread = {"thread_id": document["thread_id"]}
        if not sets:
            return not is_later or await self._record_in_thread(key["_id"], of_thread, None, begun_at)
        same = {**key, "revision": document["revision"]}
        update = _once(sets)
        if MERGED.added(key["_id"], update):
            update = MERGED.exact(key["_id"], document, update)
            same |= _NOT_MANY_WORDS
        merged = await self._messages.update_one(same, update)
        if not merged.matched_count:
            await self._trim_words({**key, "revision": document["revision"]}, document)
            return False
        if is_later or sets.keys() & {"pinned", "created_at"}:
            active_at, sets = self._active_at(sets), {**sets, **of_thread}
            return await self._record_in_thread(key["_id"], sets, active_at, begun_at)
        return True

    async def _trim_words(self, same: StoredDocument, document: StoredDocument) -> None:
        """Remove the words of former texts from a message that has too many."""
        texts = (text for unit in units_of("messages", document) for text in unit)
        await self._messages.update_one({**same, **_MANY_WORDS}, {"$set": {"words": words_of(texts)}})

    async def _move_to_thread(
        self, document: StoredDocument, thread_id: str, began: int, begun_at: int | None
    ) -> None:
        """Take a message that belongs to no thread into one, with the vote on it.

        Raises:
            NotFoundError: The thread is deleted; the message belongs to none, as before.
        """
        active_at, loose = self._active_at(document), {"_id": document["_id"], "thread_id": None}

        async def record() -> Life:
            return await record_activity(self._connection, thread_id, active_at, began, begun_at=begun_at)

        async def adopt(session: Any) -> bool:
            living = {**loose, "state": NOT_DELETED}
            found = await self._messages.find_one(living, {"feedback": 1}, session=session)
            update = {"$set": {"thread_id": thread_id}, **life.stamp()}
            if not (await self._messages.update_one(loose, update, session=session)).matched_count:
                return False
            if found and (feedback := found.get("feedback")):
                vote = thread_id, document["_id"], feedback["value"], session
                await record_vote(self._connection, *vote)
            return True

        # Before it comes, for the vote is recorded there, and after that, as of each that is new in it.
        life = await record()
        if not await self._connection.engine.transact(adopt):
            return
        own_write = {**loose, "thread_id": thread_id}
        try:
            life = await record()
        except NotFoundError:
            leave = {"$set": {"thread_id": None}, "$unset": {"life": "", "life_since": ""}}
            await self._messages.update_one(own_write, leave)
            raise
        if stamp := life.stamp():
            await self._messages.update_one(own_write, stamp)

    async def _record_in_thread(
        self, message_id: str, sets: StoredDocument, active_at: int | None, begun_at: int | None = None
    ) -> bool:
        """Record in its thread, if one is named, that a message was merged into; False if it is gone."""
        thread_id = sets.get("thread_id")
        if thread_id is None:
            return True
        own_write = {"_id": message_id, "thread_id": thread_id}
        pinned, began = bool(sets.get("pinned")), begun_at or self._active_at(sets)
        try:
            life = await record_activity(
                *(self._connection, thread_id, active_at, began), has_pinned=pinned, begun_at=begun_at
            )
        except NotFoundError:
            # Written before the thread was looked at, so that a deletion at the same time finds the one or
            # the other.
            await self._messages.delete_one({**own_write, "life": {"$exists": False}})
            raise
        if not (stamp := life.stamp()):
            return True
        # A deletion of the life before, which is still at work, spares it from now on.
        stamped = await self._messages.update_one(own_write, stamp)
        return bool(stamped.matched_count)


def _once(sets: StoredDocument) -> StoredDocument:
    """Return the update of a merge, which the message remembers."""
    return {"$set": sets, "$inc": {"revision": 1}, "$push": remember(current_operation().token)}


def _allowing(added: int) -> StoredDocument:
    """Return the filter of the messages that have room for so many bytes more, and for their words."""
    return {**MERGED.allowing(added), **_NOT_MANY_WORDS} if added else {}


def _is_missing(document: StoredDocument, path: str) -> bool:
    if path == "created_at":
        # Not the caller's: when the first merge came.
        return not document.get("has_created_at")
    parent, _, name = path.partition(".")
    return (document.get(parent, {}).get(name) if name else document.get(parent)) in _EMPTY_VALUES
