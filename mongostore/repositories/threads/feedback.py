"""The votes of users on messages; `store.threads.feedback`."""

from __future__ import annotations

from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id, check_vote
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument, decode_document
from mongostore.documents.threads import to_feedback, to_stored_feedback
from mongostore.errors import AlreadyExistsError, ConflictError, NotFoundError
from mongostore.models import Feedback, Page
from mongostore.repositories import CollectionOf, Repository, current_operation, reads, writes
from mongostore.repositories.operation import find_done, remember
from mongostore.repositories.paging import by_creation, list_page
from mongostore.repositories.parts import find_part, find_parts
from mongostore.repositories.threads.thread_writes import check_same_life, record_vote

_PARTS = {"thread_id": 1, "feedback": 1}


class AsyncThreadFeedback(Repository):
    """Feedback on messages: a message has one at most."""

    _messages = CollectionOf("messages")

    @writes
    async def upsert(self, thread_id: str | None, feedback: Feedback) -> Feedback:
        """Store the feedback of a message, or replace it, which keeps its id.

        Args:
            thread_id: The thread of the message; None for a message that is not stored yet, and joined by its
                feedback when it is.
            feedback: The feedback.

        Returns:
            The feedback as it is stored.

        Raises:
            NotFoundError: If the thread has no such message, or the message is deleted.
            ConflictError: If there is no `thread_id`, and the message is in a thread.
            AlreadyExistsError: If the id is that of another message's feedback.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the message would take too much with it.
        """
        members = to_stored_feedback(feedback)
        key = _key(thread_id, feedback.message_id)

        async def put(session: Any) -> Feedback:
            if done := await find_done(self._messages, key, session=session):
                await self._record_again(key, done, session)
                return to_feedback({**key, "feedback": done.get("feedback") or members})
            document = await self._messages.find_one(key, {"feedback": 1}, session=session)
            if document is None and thread_id is None:
                document = {}
                await self._messages.insert_one({**key, **_new_message()}, session=session)
            elif document is None:
                raise NotFoundError("message", key["_id"])
            stored = {**members, "id": (document.get("feedback") or members)["id"]}
            put_in = {"$set": {"feedback": stored}, "$push": remember(current_operation().token)}
            if not (await self._messages.update_one(key, put_in, session=session)).matched_count:
                raise NotFoundError("message", key["_id"])
            vote = key["_id"], members["value"], session
            if thread_id is not None and not await record_vote(self._connection, thread_id, *vote):
                raise NotFoundError("message", key["_id"])
            return to_feedback({**key, "feedback": stored})

        # Unique by an index within a thread alone: on a cluster no index goes over all of them.
        await check_same_life(self._connection, thread_id)
        holder = await self._messages.find_one({"feedback.id": members["id"]}, {"thread_id": 1})
        if holder is not None and holder["_id"] != key["_id"]:
            raise AlreadyExistsError("feedback", members["id"])
        try:
            return await self._connection.engine.transact(put)
        except DuplicateKeyError as error:
            if (error.details or {}).get("keyPattern") == {"_id": 1}:
                # A message joins its thread with the feedback that an earlier attempt has stored.
                if done := await find_done(self._messages, {"_id": key["_id"]}):
                    return to_feedback({**done, "feedback": done.get("feedback") or members})
                existing = await self._messages.find_one({"_id": key["_id"]}, {"state": 1})
                if existing and existing.get("state") == "deleted":
                    raise NotFoundError("message", key["_id"]) from None
                raise ConflictError(f"message {key['_id']!r} is in a thread") from None
            raise AlreadyExistsError("feedback", members["id"]) from None

    @reads
    async def find(self, thread_id: str, message_id: str) -> Feedback | None:
        """Return the feedback of a message; None if it has none.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the feedback cannot be read.
        """
        key = _key(check_id("thread_id", thread_id), message_id)
        return _read(await find_part(self._connection, "messages", key, _PARTS))

    @reads
    async def find_by_id(self, feedback_id: str) -> Feedback | None:
        """Return feedback whose message is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the feedback cannot be read.
        """
        filter = {"feedback.id": check_id("feedback_id", feedback_id)}
        return _read(await find_part(self._connection, "messages", filter, _PARTS))

    @reads
    async def list(
        self, *, value: int | None = None, newest: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[Feedback]:
        """Return a page of all threads' feedback, by their messages' creation.

        Feedback that cannot be read is in the `errors` of the page.

        Args:
            value: Only feedback of this value.
            newest: Whether that on the newest messages comes first.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        filter: StoredDocument = {"feedback.id": {"$gt": ""}}
        if value is not None:
            filter["feedback.value"] = check_vote("value", value)
        fields, order = _PARTS | {"created_at": 1}, by_creation(newest)
        return await list_page(
            self._connection,
            "messages",
            filter,
            order,
            limit,
            cursor,
            _decode,
            fields=fields,
            find=find_parts,
        )

    @writes
    async def delete(self, thread_id: str | None, message_id: str) -> bool:
        """Delete the feedback of a message and return whether it had some.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        filter = {**_key(thread_id, message_id), "feedback": {"$exists": True}}

        try:
            await check_same_life(self._connection, thread_id)
        except NotFoundError:
            return True

        async def remove(session: Any) -> bool:
            if done := await find_done(self._messages, _key(thread_id, message_id), session=session):
                await self._record_again(done, done, session)
                return True
            if await self._messages.find_one(filter, {"_id": 1}, session=session) is None:
                return False
            update = {"$unset": {"feedback": ""}, "$push": remember(current_operation().token)}
            await self._messages.update_one(filter, update, session=session)
            if thread_id is None:
                return True
            return await record_vote(self._connection, thread_id, message_id, None, session)

        return await self._connection.engine.transact(remove) or current_operation().attempt > 0

    async def _record_again(self, key: StoredDocument, message: StoredDocument, session: Any) -> None:
        """Record the vote on a message that an earlier attempt may have left out without a transaction."""
        thread_id, message_id = key["thread_id"], key["_id"]
        if session is not None or thread_id is None:
            return
        value = (message.get("feedback") or {}).get("value")
        vote = {"message_id": message_id, "value": value}
        votes = {"votes.message_id": {"$ne": message_id}} if value is None else {"votes": vote}
        is_recorded = {"_id": thread_id, "state": "open", **votes}
        if await self._connection.collection("threads").find_one(is_recorded, {"_id": 1}) is None:
            await record_vote(self._connection, thread_id, message_id, value, None)


def _key(thread_id: str | None, message_id: str) -> StoredDocument:
    thread_id = None if thread_id is None else check_id("thread_id", thread_id)
    return {"_id": check_id("message_id", message_id), "thread_id": thread_id}


def _new_message() -> StoredDocument:
    now = current_operation().now
    return {"parent_id": None, "created_at": now, "revision": 0, "schema_version": SCHEMA_VERSION}


def _read(document: StoredDocument | None) -> Feedback | None:
    return None if document is None or document.get("feedback") is None else _decode(document)


def _decode(document: StoredDocument) -> Feedback:
    return decode_document("feedback", document, lambda: to_feedback(document))
