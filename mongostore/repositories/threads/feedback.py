"""What users think of messages; `store.threads.feedback`."""

from __future__ import annotations

from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.documents.threads import to_feedback, to_stored_feedback
from mongostore.errors import AlreadyExistsError, NotFoundError
from mongostore.models import Feedback
from mongostore.repositories import Repository, current_call, writes
from mongostore.repositories.threads.upkeep import record_vote
from mongostore.values import check_id


class AsyncThreadFeedback(Repository):
    """Feedback on messages: a message has one at most."""

    @writes
    async def upsert(self, feedback: Feedback) -> Feedback:
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
            await record_vote(self._connection, raw["thread_id"], key, given["value"], session)
            return to_feedback({"_id": key, "feedback": stored})

        try:
            return await self._connection.engine.transact(put)
        except DuplicateKeyError:
            raise AlreadyExistsError("feedback", given["id"]) from None

    @writes
    async def delete(self, feedback_id: str) -> bool:
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
            await record_vote(self._connection, raw["thread_id"], raw["_id"], None, session)
            return True

        return await self._connection.engine.transact(remove) or current_call().attempt > 0

    @property
    def _messages(self) -> Any:
        return self._connection.collection("messages")
