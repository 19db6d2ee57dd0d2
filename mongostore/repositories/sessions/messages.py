"""The messages of sessions: `store.sessions.messages`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Unpack

from mongostore.documents.participants import none_kept
from mongostore.documents.sessions import to_messages, to_stored, to_stored_preview
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import (
    Conversation,
    Message,
    MessageChange,
    MessageUpdate,
    MintedId,
    Page,
    Preview,
)
from mongostore.repositories import Repository, current_call, long_running, reads, reads_majority, writes
from mongostore.repositories.sessions.patches import Patch
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.watching import Watcher
from mongostore.values import (
    check_id,
    check_limit,
    check_list,
    check_members,
    check_position,
    from_micros,
)


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
            The message as it is stored, with its times; its position is known once it is read.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: The id is there with other content.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: The message takes more than 16 MiB.
        """
        return (await self.append_many(session_id, [message]))[0]

    @writes
    async def append_many(self, session_id: str, messages: Sequence[Message]) -> builtins.list[Message]:
        """Append messages so that readers see all or none of them, in the order given.

        Args:
            session_id: The session.
            messages: At most 1,000, taking at most 8 MiB beside those that are larger than 1 MiB each.

        Returns:
            The messages as they are stored.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: An id is there with other content; nothing was appended.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: A message, or all of them together, take too much.
        """
        key = self._storage.key(session_id)
        check_list("messages", messages)
        stored = [to_stored(message, current_call().now) for message in messages]
        if not stored:
            await self._storage.tail.read(key)
            return []
        # Each of them is used now: only the first attempt of the first call may trust in new ids.
        fresh = sum(_is_first_use(message) for message in messages) == len(messages)
        there = await self._storage.writer.append(key, stored, fresh=fresh)
        return to_messages([(None, message) for message in there])[0]

    @writes
    async def update(self, session_id: str, message_id: str, **members: Unpack[MessageUpdate]) -> None:
        """Change the given members of a message; the others stay.

        Args:
            session_id: The session.
            message_id: The message, in whichever conversation.
            **members: `content`, `role`, `conversation_id` and `data` are replaced; `metadata` is merged
                key by key, None removing a key.

        Raises:
            NotFoundError: There is no such session or message.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: The message would take more than 16 MiB; it is left as it was.
        """
        key = self._storage.key(session_id)
        check_id("message_id", message_id)
        patch = Patch.of(message_id, check_members(members, MessageUpdate))
        patch.members["updated_at"] = current_call().now
        if not await self._storage.writer.change(key, message_id, patch):
            raise NotFoundError("message", message_id)

    @writes
    async def upsert(self, session_id: str, message: Message) -> bool:
        """Put a message in the place of the one with its id, or append it; return whether it was new.

        A message that is replaced keeps its position and its `created_at`; everything else is that
        of the new one.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: The message takes more than 16 MiB.
        """
        key = self._storage.key(session_id)
        stored = to_stored(message, current_call().now)
        _is_first_use(message)
        replaced = {name: value for name, value in stored.items() if name not in ("id", "created_at")}
        if message.updated_at is None:
            replaced["updated_at"] = current_call().now
        return await self._storage.writer.upsert(key, stored, Patch(replaced))

    @reads
    async def get(self, session_id: str, message_id: str) -> Message:
        """Return a message.

        Raises:
            NotFoundError: There is no such session or message.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        message = await self._storage.history.find(
            self._storage.key(session_id), check_id("message_id", message_id)
        )
        if message is None:
            raise NotFoundError("message", message_id)
        return message

    @writes
    async def delete(self, session_id: str, message_id: str) -> bool:
        """Remove a message and return whether it was there; the others keep their positions.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: An id is no plain string.
        """
        return await self.delete_many(session_id, [message_id]) == 1

    @writes
    async def delete_many(self, session_id: str, message_ids: Sequence[str]) -> int:
        """Delete messages in one step and return how many were there; the others keep their positions.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If an id is no plain string.
        """
        key = self._storage.key(session_id)
        check_list("message_ids", message_ids)
        return await self._storage.eraser.delete(
            key, [check_id(f"message_ids[{i}]", id) for i, id in enumerate(message_ids)]
        )

    @writes
    async def truncate(self, session_id: str) -> int:
        """Remove all messages in one step and return how many were there; positions begin anew.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
        """
        return await self._storage.eraser.clear(self._storage.key(session_id), none_kept)

    @reads_majority
    async def list(
        self,
        session_id: str,
        *,
        limit: int = 50,
        newest: bool = False,
        before: int | str | None = None,
        after: int | str | None = None,
        conversation_id: str | None = None,
    ) -> Page[Message]:
        """Return a page of messages, always in ascending order.

        Args:
            session_id: The session.
            limit: How many at most, 1 to 1000.
            newest: The last messages, not the first.
            before: The last messages before this position.
            after: The first messages behind this position.
            conversation_id: Only those of one conversation.

        Returns:
            The page. Its `next_cursor` goes on in the same direction: hand it back as `after`, or as
            `before` when the page was read backwards.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: An argument is of the wrong type or out of range, or two directions are given.
        """
        key, limit = self._storage.key(session_id), check_limit("limit", limit)
        if conversation_id is not None:
            check_id("conversation_id", conversation_id)
        if type(newest) is not bool:
            raise InvalidValueError("newest", "must be True or False")
        if sum((newest, before is not None, after is not None)) > 1:
            raise InvalidValueError("newest, before, after", "at most one of them can be given")
        if newest:
            return await self._storage.history.page_before(key, None, limit, conversation_id)
        if before is not None:
            return await self._storage.history.page_before(
                key, check_position("before", before), limit, conversation_id
            )
        start = None if after is None else check_position("after", after)
        return await self._storage.history.page_after(key, start, limit, conversation_id)

    @long_running
    async def iter(self, session_id: str, *, conversation_id: str | None = None) -> AsyncIterator[Message]:
        """Yield the messages that are there when the iteration begins, in order, a segment at a time.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: All messages were removed meanwhile.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: A message cannot be read; `list` passes over it.
        """
        key = self._storage.key(session_id)
        if conversation_id is not None:
            check_id("conversation_id", conversation_id)
        async for message in self._storage.history.iterate(key, conversation_id):
            yield message

    @reads
    async def count(self, session_id: str) -> int:
        """Return the number of messages.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
        """
        return int(
            (await self._storage.read(self._storage.key(session_id), "message_count"))["message_count"]
        )

    @reads
    async def list_conversations(self, session_id: str) -> builtins.list[Conversation]:
        """Return the conversations of a session in the order in which they began; reads all its messages.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: A message cannot be read.
        """
        found: dict[str, Conversation] = {}
        async for message in self._storage.history.iterate(self._storage.key(session_id), None):
            assert message.position is not None
            last = _preview(message)
            if known := found.get(message.conversation_id):
                known.count, known.last_position, known.last = known.count + 1, message.position, last
            else:
                found[message.conversation_id] = Conversation(
                    id=message.conversation_id,
                    count=1,
                    first_position=message.position,
                    last_position=message.position,
                    last=last,
                )
        return list(found.values())

    @long_running
    async def watch(self, session_id: str, *, after: str | None = None) -> AsyncIterator[MessageChange]:
        """Yield what happens to a session's messages from now on, or from a token on, until it is deleted.

        Break off with `aclose()` (or `contextlib.aclosing`) to let go of the server's stream at once.

        Args:
            session_id: The session.
            after: The `token` of the last change seen; nothing since then is left out.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            UnsupportedError: The deployment has no change streams.
            InvalidValueError: The token is none of ours.
            ConflictError: The token is older than the server's history.
        """
        watcher = Watcher(
            self._connection, self._storage.tail, self._storage.overflows, self._storage.history
        )
        async with aclosing(watcher.watch(self._storage.key(session_id), after)) as changes:
            async for change in changes:
                yield change


def _is_first_use(message: Message) -> bool:
    """Return whether the message's id is certainly new; from now on it is not."""
    return isinstance(message.id, MintedId) and message.id.use()


def _preview(message: Message) -> Preview:
    stored = to_stored_preview(to_stored(message, 0))
    return Preview(**{**stored, "created_at": from_micros(stored["created_at"])})
