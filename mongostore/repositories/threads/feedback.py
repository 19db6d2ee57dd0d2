"""What users think of messages; `store.threads.feedback`."""

from __future__ import annotations

from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.documents.mapping import Raw, decode_document
from mongostore.documents.threads import to_feedback, to_stored_feedback
from mongostore.errors import AlreadyExistsError, NotFoundError
from mongostore.models import Feedback
from mongostore.repositories import Repository, current_operation, reads, writes
from mongostore.repositories.threads.thread_writes import record_vote

_PARTS = {"thread_id": 1, "feedback": 1}


class AsyncThreadFeedback(Repository):
    """Feedback on messages: a message has one at most."""

    @writes
    async def upsert(self, thread_id: str, feedback: Feedback) -> Feedback:
        """Store the feedback of a message, or replace it, which keeps its id.

        Returns:
            The feedback as it is stored.

        Raises:
            NotFoundError: If the thread has no such message.
            AlreadyExistsError: If the id is that of another message's feedback.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the message would take too much with it.
        """
        given = to_stored_feedback(feedback)
        key = _key(thread_id, feedback.message_id)

        async def put(session: Any) -> Feedback:
            document = await self._messages.find_one(key, {"feedback": 1}, session=session)
            if document is None:
                raise NotFoundError("message", key["_id"])
            stored = {**given, "id": (document.get("feedback") or given)["id"]}
            put_in = {"$set": {"feedback": stored}}
            if not (await self._messages.update_one(key, put_in, session=session)).matched_count:
                raise NotFoundError("message", key["_id"])
            await record_vote(self._connection, thread_id, key["_id"], given["value"], session)
            return to_feedback({**key, "feedback": stored})

        try:
            return await self._connection.engine.transact(put)
        except DuplicateKeyError:
            raise AlreadyExistsError("feedback", given["id"]) from None

    @reads
    async def find(self, thread_id: str, message_id: str) -> Feedback | None:
        """Return the feedback of a message; None if it has none.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the feedback cannot be read.
        """
        return _read(await self._messages.find_one(_key(thread_id, message_id), _PARTS))

    @reads
    async def find_by_id(self, feedback_id: str) -> Feedback | None:
        """Return feedback whose message is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the feedback cannot be read.
        """
        where = {"feedback.id": check_id("feedback_id", feedback_id)}
        return _read(await self._messages.find_one(where, _PARTS))

    @writes
    async def delete(self, thread_id: str, message_id: str) -> bool:
        """Delete the feedback of a message and return whether it had some.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        where = {**_key(thread_id, message_id), "feedback": {"$exists": True}}

        async def remove(session: Any) -> bool:
            if await self._messages.find_one(where, {"_id": 1}, session=session) is None:
                return False
            await self._messages.update_one(where, {"$unset": {"feedback": ""}}, session=session)
            await record_vote(self._connection, thread_id, message_id, None, session)
            return True

        return await self._connection.engine.transact(remove) or current_operation().attempt > 0

    @property
    def _messages(self) -> Any:
        return self._connection.collection("messages")


def _key(thread_id: str, message_id: str) -> Raw:
    return {"_id": check_id("message_id", message_id), "thread_id": check_id("thread_id", thread_id)}


def _read(document: Raw | None) -> Feedback | None:
    if document is None or document.get("feedback") is None:
        return None
    return decode_document("feedback", document, lambda: to_feedback(document))
