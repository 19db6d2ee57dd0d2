"""The messages of sessions: `store.sessions.messages`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Unpack

from mongostore.arguments import (
    check_flag,
    check_id,
    check_limit,
    check_list,
    check_members,
)
from mongostore.codec import from_micros
from mongostore.documents.mapping import Raw
from mongostore.documents.session_participants import truncated_message_fields
from mongostore.documents.sessions import EMPTY, to_messages, to_stored_message, to_stored_preview
from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.models import (
    Conversation,
    GeneratedId,
    Message,
    MessageChange,
    MessageUpdate,
    Page,
    Preview,
    Session,
)
from mongostore.repositories import Repository, current_operation, long_running, reads, reads_majority, writes
from mongostore.repositories.paging import SortOrder, check_errors
from mongostore.repositories.sessions.message_patch import MessagePatch
from mongostore.repositories.sessions.message_watcher import MessageWatcher
from mongostore.repositories.sessions.storage import SessionStorage, check_number, decode_cursor


class AsyncSessionMessages(Repository):
    """The messages of sessions. A list is in reading order, whichever end it is taken from."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage = storage

    @writes
    async def append(self, session_id: str, message: Message) -> Message:
        """Append a message, exactly once however often the call is repeated.

        A message whose id is there with the same content is left as it is.

        Returns:
            The message as it is stored, with its times and its position.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the id is there with other content.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """
        return (await self.append_many(session_id, [message]))[0]

    @writes
    async def append_many(self, session_id: str, messages: Sequence[Message]) -> builtins.list[Message]:
        """Append messages in order, so that readers see all or none of them.

        Args:
            session_id: The session.
            messages: At most 1,000, taking at most 6 MiB beside those that are larger than 1 MiB each.

        Returns:
            The messages as they are stored, with their times and positions.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If an id is there with other content; nothing was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message, or all of them together, take too much.
        """
        key = self._storage.key(session_id)
        check_list("messages", messages)
        stored = [to_stored_message(message, current_operation().now) for message in messages]
        if not stored:
            await self._storage.tail.read(key)
            return []
        # Each of them is used now: only the first attempt of the first call may trust in new ids.
        fresh = sum(_claim_fresh_id(message) for message in messages) == len(messages)
        return to_messages(await self._storage.writer.append(key, stored, fresh=fresh))[0]

    @reads
    async def get(self, session_id: str, message_id: str) -> Message:
        """Return a message.

        Raises:
            NotFoundError: If there is no such session or message.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        key = self._storage.key(session_id)
        message = await self._storage.reader.find(key, check_id("message_id", message_id))
        if message is None:
            raise NotFoundError("message", message_id)
        return message

    @reads
    async def find(self, session_id: str, message_id: str) -> Message | None:
        """Return a message; None if the session or the message is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        try:
            return await self.get(session_id, message_id)
        except NotFoundError:
            return None

    @reads
    async def exists(self, session_id: str, message_id: str) -> bool:
        """Return whether there is such a message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        try:
            return await self.find(session_id, message_id) is not None
        except InvalidDocumentError:
            return True

    @reads
    async def count(self, session_id: str) -> int:
        """Return the number of messages.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If the id is no plain string.
        """
        found = await self._storage.tail.read_fields(self._storage.key(session_id), "message_count")
        return int(found["message_count"])

    @reads_majority
    async def list(
        self,
        session_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        before: int | None = None,
        after: int | None = None,
        conversation_id: str | None = None,
    ) -> Page[Message]:
        """Return a page of messages, the first or the last ones, in reading order.

        Args:
            session_id: The session.
            newest: Whether the page ends with the newest messages.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            before: The position before which the messages are.
            after: The position behind which the messages are.
            conversation_id: The conversation of the messages, if not of all.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, newest = self._storage.key(session_id), check_flag("newest", newest)
        if conversation_id is not None:
            check_id("conversation_id", conversation_id)
        start = 0 if after is None else check_number("after", after) + 1
        end = None if before is None else check_number("before", before)
        place = decode_cursor(cursor)
        if place is not None and newest:
            end = place if end is None else min(place, end)
        elif place is not None:
            start = max(place + 1, start)
        return await self._storage.reader.page(
            key,
            check_limit("limit", limit),
            newest=newest,
            start=start,
            before=end,
            conversation_id=conversation_id,
        )

    @long_running
    async def iter(
        self,
        session_id: str,
        *,
        conversation_id: str | None = None,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Message]:
        """Yield the messages that are there when the iteration begins, in order, a segment at a time.

        Args:
            session_id: The session.
            conversation_id: The conversation of the messages, if not of all.
            errors: A list that collects what cannot be read, so that it does not end the iteration.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If all messages were removed meanwhile.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If a message cannot be read and there is no list of `errors`.
        """
        key = self._storage.key(session_id)
        if conversation_id is not None:
            check_id("conversation_id", conversation_id)
        async for message in self._storage.reader.iterate(key, conversation_id, check_errors(errors)):
            yield message

    @reads
    async def list_conversations(
        self, session_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[Conversation]:
        """Return a page of a session's conversations, in the order in which they began.

        It reads all messages of the session.

        Args:
            session_id: The session.
            newest: Whether the page begins with the conversation that began last.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If a message cannot be read.
        """
        key, order = (
            self._storage.key(session_id),
            SortOrder("first", is_ascending=not check_flag("newest", newest)),
        )
        limit, place = check_limit("limit", limit), order.decode(cursor)
        found: dict[str, Raw] = {}
        async for message in self._storage.reader.iterate(key, None, None):
            name = message.conversation_id
            group = found.setdefault(name, {"_id": name, "first": message.position, "count": 0})
            group["count"] += 1
            group["last"] = message
        groups = [*found.values()][:: 1 if order.is_ascending else -1]
        if place is not None:
            groups = [
                group
                for group in groups
                if (order.sort_key(group) > place if order.is_ascending else order.sort_key(group) < place)
            ]
        return order.page(groups[: limit + 1], limit, _conversation)

    @writes
    async def update(self, session_id: str, message_id: str, **members: Unpack[MessageUpdate]) -> Message:
        """Change the given members of a message, and return it as it now is.

        Args:
            session_id: The session.
            message_id: The message, in whichever conversation.
            **members: `content`, `role`, `conversation_id` and `data` are replaced; `metadata` is merged
                key by key, None removing a key.

        Raises:
            NotFoundError: If there is no such session or message.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take more than 16 MiB; it is left as it was.
            InvalidDocumentError: If the message cannot be read, after it was changed.
        """
        key = self._storage.key(session_id)
        check_id("message_id", message_id)
        patch = MessagePatch.from_members(message_id, check_members(members, MessageUpdate))
        patch.members["updated_at"] = current_operation().now
        positioned = await self._storage.updater.update(key, message_id, patch)
        if positioned is None:
            raise NotFoundError("message", message_id)
        return _message(positioned)

    @writes
    async def upsert(self, session_id: str, message: Message) -> Message:
        """Put a message in the place of the one with its id, or append it, and return it as it is stored.

        A message that is replaced keeps its position and its `created_at`; everything else is that
        of the new one.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """
        key = self._storage.key(session_id)
        stored = to_stored_message(message, current_operation().now)
        _claim_fresh_id(message)
        replaced = {**EMPTY, "updated_at": current_operation().now, **stored}
        del replaced["id"], replaced["created_at"]
        return _message(await self._storage.updater.upsert(key, stored, MessagePatch(replaced)))

    @writes
    async def delete(self, session_id: str, message_id: str) -> bool:
        """Delete a message and return whether it was there; the others keep their positions.

        Raises:
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If an id is no plain string.
        """
        return await self.delete_many(session_id, [message_id]) == 1

    @writes
    async def delete_many(self, session_id: str, message_ids: Sequence[str]) -> int:
        """Delete messages in one step and return how many were there; the others keep their positions.

        Raises:
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If an id is no plain string.
        """
        key = self._storage.key(session_id)
        check_list("message_ids", message_ids)
        ids = [check_id(f"message_ids[{i}]", id) for i, id in enumerate(message_ids)]
        try:
            return await self._storage.deleter.delete(key, ids)
        except NotFoundError:
            return 0

    @writes
    async def truncate(self, session_id: str) -> Session:
        """Remove all messages in one step, turns among them, and return the session as it now is.

        Positions begin anew; the numbers of turns go on.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session cannot be read, after its messages were removed.
        """
        return await self._storage.deleter.truncate(
            self._storage.key(session_id), lambda session, _: truncated_message_fields(session), {}
        )

    @long_running
    async def watch(self, session_id: str, *, after: str | None = None) -> AsyncIterator[MessageChange]:
        """Yield the changes of a session's messages from now on, or behind a token, until it is deleted.

        Args:
            session_id: The session.
            after: The `token` of the last change seen; no change since then is left out.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            UnsupportedError: If the deployment has no change streams.
            InvalidValueError: If the token is not one that a change gave.
            TokenExpiredError: If the token is older than the server's history.
        """
        storage = self._storage
        watcher = MessageWatcher(self._connection, storage.tail, storage.overflows, storage.reader)
        async with aclosing(watcher.watch(storage.key(session_id), after)) as changes:
            async for change in changes:
                yield change


def _claim_fresh_id(message: Message) -> bool:
    """Return whether the message's id is certainly new; from now on it is not."""
    return isinstance(message.id, GeneratedId) and message.id.claim()


def _message(positioned: tuple[int | None, Raw]) -> Message:
    """Return a stored message as callers see it.

    Raises:
        InvalidDocumentError: If it cannot be read.
    """
    messages, errors = to_messages([positioned])
    if errors:
        raise errors[0]
    return messages[0]


def _conversation(group: Raw) -> Conversation:
    """Return the summary of a conversation's messages."""
    last: Message = group["last"]
    preview = to_stored_preview(to_stored_message(last, 0))
    return Conversation(
        id=group["_id"],
        count=group["count"],
        first_position=group["first"],
        last_position=last.position or 0,
        last=Preview(**{**preview, "created_at": from_micros(preview["created_at"])}),
    )
