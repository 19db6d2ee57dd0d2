"""Messages that branch: `store.sessions.branches`."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mongostore.arguments import check_id, check_limit
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import PUBLIC_FIELDS, to_messages, to_session
from mongostore.errors import InvalidValueError, NotFoundError
from mongostore.models import AppendOptions, Message, Page, Session, SessionCreate, SessionUpdate
from mongostore.repositories import current_operation, reads, reads_majority, writes
from mongostore.repositories.sessions.filters import position_bounds
from mongostore.repositories.sessions.lines import BRANCHES, branches_of, find_message, get_message, is_tip
from mongostore.repositories.sessions.message_arguments import store_messages
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.storage import SessionRepository
from mongostore.repositories.sessions.tail import TailPosition


class AsyncSessionBranches(SessionRepository):
    """The branches of sessions, where several messages continue the same one.

    Each branch is a conversation of the session or the continuation of one, and all of its messages are
    messages of the session. The session's metadata say under `branches` where they leave each other.
    """

    @writes
    async def append_many(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        parent_id: str | None = None,
        create: bool | SessionCreate = False,
        update: SessionUpdate | None = None,
        revision: int | None = None,
    ) -> builtins.list[Message]:
        """Append a chain of messages that continues another one, exactly once.

        Args:
            session_id: The session.
            messages: As for `messages.append_many`; their `conversation_id` becomes that of the branch.
            parent_id: The message that the first of them continues; None if it continues none.
            create: Whether to create the session if it is not there, or the members to create it with.
            update: Members of the session that the same write changes.
            revision: The revision that the session must still have.

        Returns:
            The messages as they are stored, with their times, conversation and positions.

        Raises:
            NotFoundError: If there is no such session or message, or the session is deleted.
            ConflictError: If an id is there with other content, the session has another revision, or
                others have appended in between; nothing was written.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB, or the branches more than 4 MiB.
        """
        key, (stored, fresh) = self._storage.key(session_id), store_messages(messages)
        if not stored:
            raise InvalidValueError("messages", "must not be empty")
        if update is not None and not isinstance(update, Mapping):
            raise InvalidValueError("update", "must be a dict of members")
        guard: AppendOptions = {"create": create, "revision": revision}
        while True:
            try:
                appended = await self._append(key, stored, fresh, parent_id, update or {}, guard)
                return self._report_append(session_id, to_messages(appended)[0])
            except NotFoundError:
                means_any = create is not False and parent_id is None and revision is None
                if not (means_any and await self._storage.session_deleter.may_begin_again(key)):
                    raise
                current_operation().memory.pop("line", None)

    @reads_majority
    async def list(
        self,
        session_id: str,
        message_id: str | Callable[[Session], str | None],
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Message]:
        """Return a page of a message and those that lead to it, in order.

        Args:
            session_id: The session.
            message_id: The last of the messages, or a function that returns its id, or None for no
                messages, of the session as the same command has read it.
            newest: Whether the page ends with the last ones.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session or message, or the session is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If the session cannot be read, and a function wants it.
        """
        key, bounds = self._storage.key(session_id), position_bounds(newest, cursor, None, None)
        size = check_limit("limit", limit)
        if not callable(message_id):
            check_id("message_id", message_id)

        def head_of(document: StoredDocument) -> str | None:
            if not callable(message_id):
                return message_id
            head = message_id(to_session(document))
            if head is not None:
                return check_id("message_id", head)
            # No caller gets its messages, so that it stays as it was read.
            self._storage.tail.keep(document)
            return None

        return await self._storage.reader.page(key, size, bounds, newest=newest, head_of=head_of)

    @reads
    async def find_by_message(self, message_id: str) -> Session | None:
        """Return a session with a message in one of its branches, or None.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session cannot be read.
        """
        tail, named = self._storage.tail, {"messages.id": check_id("message_id", message_id)}
        session = {"namespace": self._storage.namespace, "state": "open"}
        branched = {**session, f"metadata.{BRANCHES}": {"$exists": True}, **named}
        document = await tail.sessions.find_one(branched, PUBLIC_FIELDS)
        if document is not None:
            return to_session(document)
        async with tail.segments.find({**named, "is_branched": True}, {"session": 1, "epoch": 1}) as cursor:
            async for segment in cursor:
                owner = {**session, "_id": segment["session"], "epoch": segment["epoch"]}
                document = await tail.sessions.find_one(owner, PUBLIC_FIELDS)
                if document is not None:
                    return to_session(document)
        return None

    async def _append(
        self,
        key: str,
        messages: Sequence[StoredDocument],
        fresh: bool,
        parent_id: str | None,
        update: SessionUpdate,
        guard: AppendOptions,
    ) -> builtins.list[tuple[int | None, StoredDocument]]:
        """Append a chain of messages to the line of its parent, or to a new one."""
        memory, may_create = current_operation().memory, guard["create"] is not False
        if "line" not in memory:
            # A retry finds what the first attempt has written: it must not take that for another branch.
            memory["line"] = await self._locate(
                key, parent_id, messages[0]["id"], guard["revision"], may_create
            )
        line, branches, after, absent_at, seen = memory["line"]
        if branches is not None:
            update = {**update, "metadata": {**update.get("metadata", {}), BRANCHES: branches}}
        change = SessionChange.from_options(key, {**guard, "update": update, "after": after})
        # The parent may have gone since; or all messages, and as many others come.
        change = replace(change, seen=seen)
        branched = [{**message, "conversation_id": line} for message in messages]
        return await self._storage.writer.append(
            key, branched, fresh=fresh, change=change, absent_at=absent_at
        )

    async def _locate(
        self, key: str, parent_id: str | None, new_id: str, revision: int | None, may_create: bool
    ) -> tuple[str, dict[str, Any] | None, int, TailPosition | None, StoredDocument]:
        """Return the line of new messages, all lines if it is new, and the newest position before them.

        Also the position of the tail, if nothing continues their parent: they were not appended before. And
        what shows whether others have removed messages since.
        """
        tail, left = self._storage.tail, None
        try:
            document = await tail.take(key, revision)
        except NotFoundError:
            if not may_create or parent_id is not None:
                raise
            return new_id, {new_id: None}, -1, None, {}
        newest = document["next_position"] - 1
        seen = {"epoch": document["epoch"], "message_count": document["message_count"]}
        # As it is read here anyhow: an append that meets a full tail has to read it once more.
        await tail.roll_if_full(document)
        if parent_id is not None:
            parent = await get_message(tail, document, check_id("parent_id", parent_id))
            left = [parent[1]["conversation_id"], parent[0]]
            if is_tip(document, parent):
                return left[0], None, newest, tail.cached_position(key), seen
        if stored := await find_message(tail, document, new_id):
            # They were appended before.
            return stored[1]["conversation_id"], None, newest, None, seen
        return new_id, {**branches_of(document), new_id: left}, newest, None, seen
