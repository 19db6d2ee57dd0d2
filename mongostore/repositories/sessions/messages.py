"""The messages of sessions: `store.sessions.messages`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Unpack

from mongostore.arguments import check_flag, check_id, check_limit, check_members, check_optional_id
from mongostore.documents.mapping import check_instance, to_extended_json
from mongostore.documents.sessions import to_message, to_messages
from mongostore.errors import InvalidDocumentError, InvalidValueError, NotFoundError
from mongostore.models import (
    AppendOptions,
    Message,
    MessageChange,
    MessageStart,
    MessageUpdate,
    Page,
    Session,
    SessionCreate,
)
from mongostore.repositories import current_operation, long_running, reads, reads_majority, writes
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.paging import check_errors, count_options
from mongostore.repositories.sessions.filters import check_number, position_bounds
from mongostore.repositories.sessions.message_arguments import check_ids, seen_at, store_messages
from mongostore.repositories.sessions.message_patch import MessagePatch
from mongostore.repositories.sessions.message_stream import AsyncMessageStream, open_message_stream
from mongostore.repositories.sessions.message_watcher import MessageWatcher
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.storage import SessionRepository, SessionStorage
from mongostore.repositories.sessions.stored_messages import get_stored_message


class AsyncSessionMessages(SessionRepository):
    """The messages of sessions. A list is in reading order, from either end."""

    def __init__(self, storage: SessionStorage, changes: ChangeFeed) -> None:
        super().__init__(storage)
        self._changes = changes

    @writes
    async def append(self, session_id: str, message: Message, **options: Unpack[AppendOptions]) -> Message:
        """Append a message exactly once, and return it as it is stored.

        A message whose id is there with the same content is left as it is, and so is the session.
        The options change the session in the same write, or guard that write: see `AppendOptions`.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the id has other content, or `after` or `revision` fail; nothing is written.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """
        return (await self.append_many(session_id, [message], **options))[0]

    @writes
    async def append_many(
        self, session_id: str, messages: Sequence[Message], **options: Unpack[AppendOptions]
    ) -> builtins.list[Message]:
        """Append at most 1,000 messages in order; readers see all or none.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If an id has other content, or `after` or `revision` fail; nothing is written.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB.
        """
        key, (stored, fresh) = self._storage.key(session_id), store_messages(messages)
        change = SessionChange.from_options(key, options)
        if not stored:
            await self._storage.tail.read(key)
            return []
        appended = await self._storage.writer.append(key, stored, fresh=fresh, change=change)
        return self._report_append(session_id, to_messages(appended)[0])

    def stream(
        self,
        session_id: str,
        *,
        create: bool | SessionCreate = False,
        flush_every: float = 0.2,
        **members: Unpack[MessageStart],
    ) -> AbstractAsyncContextManager[AsyncMessageStream]:
        """Write a message that grows while readers and watchers see it.

        The block begins with a message whose status is `streaming`. Its end stores the rest, shielded from
        cancellation: the status is `complete`, or `interrupted` if the block raised, was cancelled or was
        closed. `AsyncMessageStream` describes what is left if the process dies.

        Args:
            session_id: The session.
            create: Whether to create the session if it is not there, or the members to create it with.
            flush_every: Seconds from a write to the flush that stores it, 5 at most.
            **members: The members that the message begins with; `role` is `assistant` by default.

        Raises:
            NotFoundError: If there is no such session, or it, or the message, is deleted in between.
            ConflictError: If a message of that id is complete, or another writer takes this one over.
            InvalidValueError: If an argument is of the wrong type or out of range.
            DocumentTooLargeError: If the message would take more than 16 MiB; the text before is kept.
            NotOpenError: If the store is closed before the end of the block.
        """
        return open_message_stream(self._storage, session_id, members, create, flush_every)

    @reads
    async def get(self, session_id: str, message_id: str) -> Message:
        """Return a message.

        Raises:
            NotFoundError: If there is no such session or message.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """
        key, checked_id = self._storage.key(session_id), check_id("message_id", message_id)
        return self._check_found("message", message_id, await self._storage.reader.find(key, checked_id))

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
    async def describe_document(self, session_id: str, position: int) -> str:
        """Return a stored message, readable or not, in Extended JSON.

        Raises:
            NotFoundError: If there is no such session, or no message at the position.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, position = self._storage.key(session_id), check_number("position", position)
        return to_extended_json(await get_stored_message(self._storage.tail, key, position))

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
    async def count(
        self, session_id: str, *, limit: int | None = None, conversation_id: str | None = None
    ) -> int:
        """Return how many messages a conversation or all have, at most `limit`.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, most = self._storage.key(session_id), count_options(limit).get("limit")
        count = await self._storage.reader.count(key, check_optional_id("conversation_id", conversation_id))
        return count if most is None else min(count, most)

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
        around: int | None = None,
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
            around: The position in the middle, in place of all other bounds; the next page follows.
            conversation_id: The conversation of the messages, if not of all.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        key, bounds = self._storage.key(session_id), position_bounds(newest, cursor, before, after)
        size, line = check_limit("limit", limit), check_optional_id("conversation_id", conversation_id)
        if around is None:
            return await self._storage.reader.page(key, size, bounds, newest=newest, conversation_id=line)
        if newest or bounds != (0, None):
            raise InvalidValueError("around", "cannot be set with another bound")
        return await self._storage.reader.page_around(key, size, check_number("around", around), line)

    @long_running
    async def iter(
        self,
        session_id: str,
        *,
        newest: bool = False,
        conversation_id: str | None = None,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Message]:
        """Yield the messages that are there when the iteration begins, in order.

        They are read a segment at a time.

        Args:
            session_id: The session.
            newest: Whether the newest comes first.
            conversation_id: The conversation of the messages, if not of all.
            errors: A list that collects what cannot be read, so that it does not end the iteration.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If all messages were removed in between.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If a message cannot be read and there is no list of `errors`.
        """
        key, line = self._storage.key(session_id), check_optional_id("conversation_id", conversation_id)
        reader, errors = self._storage.reader, check_errors(errors)
        iterate = reader.iterate_newest if check_flag("newest", newest) else reader.iterate
        async for message in iterate(key, line, errors):
            yield message

    @staticmethod
    def cursor_of(message: Message) -> str:
        """Return the cursor of the page behind a message, in either direction.

        Raises:
            InvalidValueError: If it is no message, or has no position.
        """
        return str(check_number("position", check_instance("message", message, Message).position))

    @writes
    async def update(
        self,
        session_id: str,
        message_id: str,
        *,
        expected: Message | None = None,
        **members: Unpack[MessageUpdate],
    ) -> Message:
        """Change members of a message of any conversation, and return it.

        `content`, `role`, `conversation_id` and `data` are replaced; `metadata` is merged key by key,
        None removing a key. `content` and `status` end a stream that writes the message.

        Raises:
            NotFoundError: If there is no such session or message.
            ConflictError: If the message differs from `expected`, or the session kept changing for too long.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take more than 16 MiB; it is left as it was.
            InvalidDocumentError: If the message cannot be read, after it was changed.
        """
        key, id = self._storage.key(session_id), check_id("message_id", message_id)
        patch = MessagePatch.from_members(id, check_members(members, MessageUpdate))
        patch.members["updated_at"], patch.seen_at = current_operation().now, seen_at(expected)
        return await self._update(key, id, patch)

    @writes
    async def upsert(
        self, session_id: str, message: Message, *, create: bool | SessionCreate = False
    ) -> Message:
        """Replace the message of that id, or append it; return it as stored.

        A message that is replaced keeps its position and its `created_at`; everything else is that
        of the new one. `create` creates a missing session, with members if it is a dict of them.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """
        key, ([stored], _) = self._storage.key(session_id), store_messages([message])
        patch = MessagePatch.replacing(stored, current_operation().now)
        change = SessionChange.from_options(key, {"create": create})
        return to_message(await self._storage.updater.upsert(key, stored, patch, change))

    @writes
    async def replace(self, session_id: str, message: Message) -> Message:
        """Replace the message of that id as `upsert` does; return it as stored.

        Raises:
            NotFoundError: If there is no such session or message.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """
        key, ([stored], _) = self._storage.key(session_id), store_messages([message])
        patch = MessagePatch.replacing(stored, current_operation().now)
        return await self._update(key, message.id, patch)

    @writes
    async def replace_newest(
        self, session_id: str, message_ids: Sequence[str], messages: Sequence[Message]
    ) -> builtins.list[Message]:
        """Replace the newest messages by others, of new ids, and return these.

        It is one step. `message_ids` names all the messages that go, the newest of the session, the oldest
        first.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If those are not the newest messages, or a new id is there already.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB.
        """
        key, ids = self._storage.key(session_id), check_ids("message_ids", message_ids)
        stored, _ = store_messages(messages)
        return to_messages(await self._storage.replacer.replace_newest(key, ids, stored))[0]

    @writes
    async def pop(self, session_id: str) -> Message | None:
        """Delete the newest message and return it; None if there is none.

        Raises:
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the message cannot be read; nothing is deleted.
        """
        return await self._storage.replacer.pop(self._storage.key(session_id), to_message)

    @writes
    async def delete(self, session_id: str, message_id: str, *, expected: Message | None = None) -> bool:
        """Delete a message but move no other; return whether it existed.

        Raises:
            ConflictError: If the message differs from `expected`, or the session kept changing for too long.
            InvalidValueError: If an id is no plain string.
        """
        key, ids = self._storage.key(session_id), check_ids("message_ids", [message_id])
        return await self._storage.deleter.delete(key, ids, seen_at(expected)) == 1

    @writes
    async def delete_many(self, session_id: str, message_ids: Sequence[str]) -> int:
        """Delete messages in one step, moving no other; return how many existed.

        Raises:
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If an id is no plain string.
        """
        key, ids = self._storage.key(session_id), check_ids("message_ids", message_ids)
        return await self._storage.deleter.delete(key, ids)

    @writes
    async def truncate(self, session_id: str) -> Session:
        """Remove all messages in one step, but no turns; positions begin anew.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session cannot be read, after its messages were removed.
        """
        key = self._storage.key(session_id)
        return await self._storage.to_session(await self._storage.deleter.truncate(key, lambda *_: {}, {}))

    @long_running
    def watch(
        self, session_id: str, *, after: str | None = None, last: int | None = None
    ) -> AsyncIterator[MessageChange]:
        """Yield the changes of a session's messages until it is deleted.

        They are those from now on, or behind a token.

        Args:
            session_id: The session.
            after: The `token` of the last change seen; no change since then is left out.
            last: The number of the newest messages, 1,000 at most, to yield first, as if they were appended
                now; no change of them since is left out.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            UnsupportedError: If the deployment has no change streams.
            InvalidValueError: If the token is none of a change, `last` is out of range, or both are set.
            TokenExpiredError: If the token is older than the server's history.
        """
        watcher = MessageWatcher(self._storage, self._changes)
        return watcher.watch(self._storage.key(session_id), after, last)

    async def _update(self, key: str, message_id: str, patch: MessagePatch) -> Message:
        positioned = await self._storage.updater.update(key, message_id, patch)
        if positioned is None:
            raise NotFoundError("message", message_id)
        return to_message(positioned)
