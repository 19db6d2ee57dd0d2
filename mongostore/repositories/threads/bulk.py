"""The calls of imports and exports on threads beside the public verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.codec import from_micros, is_same, to_micros
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.documents.threads import to_stored_feedback, to_stored_message, to_thread_message
from mongostore.engines.driver_errors import refused_writes
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Feedback, ThreadMessage
from mongostore.repositories import CollectionOf, InternalRepository, current_operation, long_running, writes
from mongostore.repositories.operation import find_done, remember
from mongostore.repositories.paging import by_creation, walk
from mongostore.repositories.threads.message_writer import MERGED
from mongostore.repositories.threads.thread_writes import check_same_life, record_activity, record_new_votes


class ThreadMessageBatches(InternalRepository):
    """Stores many messages at once."""

    _messages = CollectionOf("messages")

    @staticmethod
    def check(message: ThreadMessage) -> None:
        """Check that a message can be stored.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the message takes too much.
        """
        _to_document(None, message)

    @writes
    async def create_many(self, thread_id: str | None, messages: Sequence[ThreadMessage]) -> None:
        """Store messages of a thread, with their own ids and times, and without feedback.

        Raises:
            NotFoundError: If the thread is deleted; nothing is stored.
            ConflictError: If an id is there with other content; the other messages are stored.
            InvalidValueError: If a value cannot be stored; nothing is stored.
            DocumentTooLargeError: If a message takes too much; nothing is stored.
        """
        if thread_id is not None:
            check_id("thread_id", thread_id)
        clock, memory = self._connection.clock, current_operation().memory
        arrivals = memory.setdefault("arrivals", [clock.tick() for _ in messages])
        documents = [
            {**_to_document(thread_id, message), "arrival": arrival}
            for message, arrival in zip(messages, arrivals, strict=True)
        ]
        try:
            await self._messages.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            refused = refused_writes(error)
            if not all(isinstance(one, DuplicateKeyError) for one in refused.values()):
                raise
            for number in refused:
                await self._check_equal(documents[number])
        if thread_id is None:
            return
        try:
            await self.join(thread_id, messages)
        except NotFoundError:
            # Written before the thread was looked at, so that a deletion at the same time finds the one or
            # the other. What was there already is another life's.
            own = {"arrival": {"$in": arrivals}, "life": {"$exists": False}}
            await self._messages.delete_many({**_of_thread(thread_id, messages), **own})
            raise

    @writes
    async def join(self, thread_id: str, messages: Sequence[ThreadMessage]) -> None:
        """Have a thread know of messages that are stored: as active as they are, with a pin if one has it.

        Raises:
            NotFoundError: If the thread is deleted.
        """
        now = current_operation().now
        times = [to_micros("created_at", message.created_at or from_micros(now)) for message in messages]
        # A clock that was ahead must not keep the thread on top of all others.
        active_at = min(max(times), now)
        has_pinned = any(message.pinned for message in messages)
        life = await record_activity(self._connection, thread_id, active_at, has_pinned=has_pinned)
        if stamp := life.stamp():
            await self._messages.update_many(_of_thread(thread_id, messages), stamp)

    @writes
    async def add_feedback(self, thread_id: str, feedback: Sequence[Feedback]) -> None:
        """Store the feedback of messages of a thread that have none.

        Raises:
            ConflictError: If a message has feedback, an id is there, or there is no such message or thread;
                nothing is stored where the server has transactions.
            InvalidValueError: If a value cannot be stored; nothing is stored.
            DocumentTooLargeError: If the thread would take too much.
        """
        votes = {check_id("message_id", one.message_id): to_stored_feedback(one) for one in feedback}
        messages = self._messages
        of_thread = {"thread_id": check_id("thread_id", thread_id)}
        refusal = ConflictError(f"thread {thread_id!r} does not take the feedback at once")

        async def put(session: Any) -> None:
            first = {"_id": next(iter(votes)), **of_thread}
            if await find_done(messages, first, projection={"_id": 1}, session=session):
                return
            push = remember(current_operation().token)
            found = await messages.update_each(
                [
                    ({"_id": id, **of_thread, "feedback": None}, {"$set": {"feedback": vote}, "$push": push})
                    for id, vote in votes.items()
                ],
                session=session,
            )
            values = {id: vote["value"] for id, vote in votes.items()}
            if found < len(votes) or not await record_new_votes(self._connection, thread_id, values, session):
                raise refusal

        await check_same_life(self._connection, thread_id)
        ids = {"feedback.id": {"$in": [vote["id"] for vote in votes.values()]}}
        if await messages.find_one(ids, {"_id": 1}) is not None:
            raise refusal
        try:
            await self._connection.engine.transact(put)
        except (BulkWriteError, DuplicateKeyError):
            raise refusal from None

    @long_running
    def iter_loose(self) -> AsyncIterator[ThreadMessage]:
        """Yield the messages that belong to no thread."""
        return walk(
            self._connection, "messages", {"thread_id": None}, by_creation(False), to_thread_message, None
        )

    async def _check_equal(self, document: StoredDocument) -> None:
        stored = await self._messages.find_one({"_id": document["_id"]})
        if stored is None or not is_same(
            to_thread_message({**stored, "feedback": None}).model_dump(),
            to_thread_message(document).model_dump(),
        ):
            raise ConflictError(f"message {document['_id']!r} is already there with other content")


def _of_thread(thread_id: str, messages: Sequence[ThreadMessage]) -> StoredDocument:
    return {"_id": {"$in": [message.id for message in messages]}, "thread_id": thread_id}


def _to_document(thread_id: str | None, message: ThreadMessage) -> StoredDocument:
    members: dict[str, Any] = {
        name: getattr(message, name) for name in ("kind", "parent_id", "content", "data", "created_at")
    }
    if message.pinned:
        members["pinned"] = True
    document = {
        "_id": check_id("message.id", message.id),
        "thread_id": thread_id,
        **to_stored_message(members),
        "revision": 1,
        "schema_version": SCHEMA_VERSION,
    }
    return document | MERGED.count(message.id, document)
