"""Pydantic AI's `ConversationStore` on MongoDB: a session a conversation, its entries the messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.run import AgentRunResult

from mongostore.adapters.pydantic_ai.entries import (
    as_stored,
    has_image,
    to_data,
    to_entries,
    to_messages,
    to_record,
)
from mongostore.arguments import MAX_LIMIT, check_id
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidValueError, NotFoundError
from mongostore.models import Message, Session, SessionUpdate
from mongostore.recent import Recent
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.filters import LifeRevision
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore

R = TypeVar("R")

NAMESPACE = "pydantic_ai"
# So many conversations and entries are remembered as they were read last.
_REMEMBERED = 10_000


class MongoConversationStore(ConversationStore):
    """Conversations of Pydantic AI, in the namespace `pydantic_ai` unless another is named.

    Connects when it is first used, in the event loop that uses it. A scope is the user of the session. A fork
    has copies of the entries that lead to it, with their ids, so that expiry, erasure and deletion of one
    conversation leave no other without its history; deleting a conversation deletes all of its entries.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays open when this one is closed.
        namespace: The namespace of the conversations: one for each tenant.
    """

    def __init__(
        self,
        uri: str | None = None,
        database: str | None = None,
        *,
        store: AsyncMongoStore | None = None,
        namespace: str = NAMESPACE,
    ) -> None:
        self._store = SharedStore(uri, database, store)
        self._namespace = namespace
        # By conversation, the revision of its record and that of its session at the time.
        self._revisions = Recent[str, tuple[str, LifeRevision]](_REMEMBERED)
        # By entry, a conversation that has it.
        self._owners = Recent[str, str](_REMEMBERED)

    async def sessions(self) -> AsyncSessions:
        """Return the verbs of the namespace: `list(user_id=…)`, `messages.watch(…)` and others.

        Raises:
            MongoStoreError: If the store cannot be opened.
        """
        return (await self._store.get()).sessions.in_namespace(self._namespace)

    async def close(self) -> None:
        """Close the store, if no other object of this event loop uses it."""
        await self._store.close()

    async def save(
        self, conversation: Conversation | AgentRunResult[Any], *, scope: str | None = None
    ) -> list[ConversationEntry]:
        entries: list[ConversationEntry]
        if isinstance(conversation, AgentRunResult) or not any(map(has_image, conversation.messages)):
            entries = await super().save(conversation, scope=scope)
            return entries
        # An image comes back as another type than it had, which the base class would take for a change.
        stored = dataclasses.replace(conversation, messages=as_stored(conversation.messages))
        entries = await super().save(stored, scope=scope)
        conversation.revision, conversation.new_message_index = stored.revision, stored.new_message_index
        return entries

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        record: ConversationRecord | None = None

        def read(session: Session) -> None:
            nonlocal record
            record = self._read_session(session)

        sessions = await self.sessions()
        # As branches are read, for then the append of a save need not read the session again.
        with suppress(NotFoundError):
            await sessions.branches.list(_check(conversation_id), read)
        return record

    def _read_session(self, session: Session) -> ConversationRecord | None:
        record = to_record(session.data)
        if record is not None:
            self._revisions[session.id] = (record.revision, LifeRevision.of(session))
            for entry_id in filter(None, [record.head_id, *record.branches]):
                self._owners[entry_id] = session.id
        return record

    async def _read(
        self, conversation_id: str, *, limit: int | None = None, scope: str | None = None
    ) -> tuple[ConversationRecord, list[ConversationEntry]] | None:
        """Return a record and its history, whose newest entries come in the same command."""
        record: ConversationRecord | None = None

        def read(session: Session) -> str | None:
            nonlocal record
            record = self._read_session(session)
            return None if record is None or scope not in (None, record.scope) else record.head_id

        if limit is None or limit > 0:
            sessions = await self.sessions()
            with suppress(LookupError):
                messages = await _read_history(sessions, _check(conversation_id), read, limit)
                if record is not None and messages:
                    return record, _to_history(messages, limit)
        # There is nothing to read, or something is missing: the base class tells these apart.
        return await super()._read(conversation_id, limit=limit, scope=scope)

    async def read_records(
        self, *, scope: str | None = None, limit: int | None = None
    ) -> Sequence[ConversationRecord]:
        sessions, user_id = await self.sessions(), None if scope is None else _check(scope)
        found, cursor = list[ConversationRecord](), None
        while limit is None or len(found) < limit:
            count = MAX_LIMIT if limit is None else min(limit - len(found), MAX_LIMIT)
            page = await sessions.list(user_id=user_id, limit=count, cursor=cursor)
            found += filter(None, (to_record(session.data) for session in page))
            cursor = page.next_cursor
            if cursor is None:
                break
        return sorted(found, key=lambda one: (one.updated_at, one.conversation_id), reverse=True)

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        if record.format_version != 1:
            raise UserError(f"conversation {record.conversation_id!r} has the format of a newer Pydantic AI")
        conversation_id = _check(record.conversation_id)
        user_id = None if record.scope is None else _check(record.scope)
        change: SessionUpdate = {"data": to_data(record), "user_id": user_id}
        parent_id = new_entries[0].parent_id if new_entries else None
        with _conflicts(conversation_id):
            sessions = await self.sessions()
            write = _Write(sessions, conversation_id, expected_revision)
            if parent_id is None or not write.is_seen(self._revisions.get(conversation_id)):
                await write.begin()
            try:
                messages = to_messages(new_entries)
                if not messages and record.head_id is not None:
                    messages = await self._missing(sessions, record)
                await write.finish(messages, parent_id, change)
            except BaseException:
                await write.undo()
                raise

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation with all of its entries."""
        with _conflicts(conversation_id):
            sessions = await self.sessions()
            session = await sessions.get(_check(conversation_id))
            if revision_of(session) != expected_revision:
                raise ConversationConflict(conversation_id)
            if not await sessions.delete(conversation_id, revision=LifeRevision.of(session)):
                raise ConversationConflict(conversation_id)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        sessions = await self.sessions()
        message = await self._with_owner(
            sessions, entry_id, lambda owner: sessions.messages.get(owner, entry_id)
        )
        return to_entries([message])[0]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        if head_id is None or limit == 0:
            return []
        sessions = await self.sessions()
        messages = await self._with_owner(
            sessions, head_id, lambda owner: _read_history(sessions, owner, head_id, limit)
        )
        return _to_history(messages, limit)

    async def _with_owner(
        self, sessions: AsyncSessions, entry_id: str, read: Callable[[str], Awaitable[R]]
    ) -> R:
        """Return what is read in a conversation that has an entry.

        Raises:
            NotFoundError: If none has it; it is a `LookupError`, too.
        """
        if (owner := self._owners.get(_check(entry_id))) is not None:
            with suppress(NotFoundError):
                return await read(owner)
        session = await sessions.branches.find_by_message(entry_id)
        if session is None:
            raise NotFoundError("entry", entry_id)
        self._owners[entry_id] = session.id
        return await read(session.id)

    async def _missing(self, sessions: AsyncSessions, record: ConversationRecord) -> list[Message]:
        """Return copies of the entries that lead to a record's head, if its conversation lacks them.

        Raises:
            NotFoundError: If no conversation has them.
        """
        head_id = record.head_id
        assert head_id is not None, "without a head nothing is missing"
        if await sessions.messages.exists(record.conversation_id, head_id):
            return []
        if record.forked_from is not None:
            self._owners[head_id] = record.forked_from
        return await self._with_owner(
            sessions, head_id, lambda owner: _read_history(sessions, owner, head_id, None)
        )


class _Write:
    """One write of a record with new entries, which are there together or not at all.

    More entries than one step holds are written before the step that writes the record, which alone makes
    them part of the conversation.
    """

    def __init__(self, sessions: AsyncSessions, conversation_id: str, expected: str | None) -> None:
        self._sessions = sessions
        self._id = conversation_id
        self._expected = expected
        self._revision: LifeRevision | None = None
        self._is_created = False
        # The ids of the entries, those of the last step apart.
        self._early: list[str] = []
        self._last: list[str] = []

    def is_seen(self, seen: tuple[str, LifeRevision] | None) -> bool:
        """Return whether the session's revision is known from when the record was read."""
        if seen is not None and seen[0] == self._expected:
            self._revision = seen[1]
        return self._revision is not None

    async def begin(self) -> None:
        """Create the session of a new conversation, or read the revision of the one that is there.

        Raises:
            ConversationConflict: If the record has another revision than the one that is expected.
        """
        if self._expected is None:
            with suppress(AlreadyExistsError):
                self._revision = LifeRevision.of(await self._sessions.create(self._id))
                self._is_created = True
                return
        # One without a record is left of a write that was cut short.
        await self._read_revision()

    async def finish(self, messages: list[Message], parent_id: str | None, change: SessionUpdate) -> None:
        """Append the entries and change the record in the last step."""
        if not messages:
            await self._sessions.update(self._id, revision=self._revision, **change)
            return
        ids, last = [message.id for message in messages], (len(messages) - 1) // MAX_LIMIT * MAX_LIMIT
        self._early, self._last = ids[:last], ids[last:]
        for start in range(0, len(messages), MAX_LIMIT):
            batch = messages[start : start + MAX_LIMIT]
            is_last = batch[-1] is messages[-1]
            await self._sessions.branches.append_many(
                self._id,
                batch,
                parent_id=parent_id,
                update=change if is_last else None,
                revision=self._revision,
            )
            parent_id = batch[-1].id
            if not is_last:
                await self._read_revision()

    async def undo(self) -> None:
        """Leave nothing of a write that has failed, unless its last step was done all the same."""
        if self._is_created:
            with suppress(ConflictError):
                await self._sessions.delete(self._id, revision=self._revision)
                return
        if not self._early:
            return
        with suppress(ConflictError, NotFoundError):
            # No step that is still under way can be done behind this.
            user_id = (await self._sessions.get(self._id)).user_id
            await self._sessions.update(self._id, revision=self._revision, user_id=user_id)
        if await self._sessions.messages.exists(self._id, self._last[0]):
            return
        for start in range(0, len(self._early), MAX_LIMIT):
            await self._sessions.messages.delete_many(self._id, self._early[start : start + MAX_LIMIT])

    async def _read_revision(self) -> None:
        session = await self._sessions.get(self._id)
        if revision_of(session) != self._expected:
            raise ConversationConflict(self._id)
        self._revision = LifeRevision.of(session)


def revision_of(session: Session) -> str | None:
    """Return the revision of the record in a session; None if it has none."""
    record = to_record(session.data)
    return None if record is None else record.revision


async def _read_history(
    sessions: AsyncSessions,
    conversation_id: str,
    head: str | Callable[[Session], str | None],
    limit: int | None,
) -> list[Message]:
    found, cursor = list[Message](), None
    while limit is None or len(found) < limit:
        count = MAX_LIMIT if limit is None else min(limit - len(found), MAX_LIMIT)
        page = await sessions.branches.list(conversation_id, head, newest=True, limit=count, cursor=cursor)
        if page.errors:
            raise page.errors[0]
        found, cursor = page.items + found, page.next_cursor
        if cursor is None:
            break
        # Of the same head, whatever the session names by then.
        head = found[-1].id
    return found


def _to_history(messages: list[Message], limit: int | None) -> list[ConversationEntry]:
    """Return the entries of messages, each of which has to continue the one before it.

    Raises:
        LookupError: If one is missing.
    """
    entries = to_entries(messages)
    first = None if limit is None else entries[0].parent_id
    if [entry.parent_id for entry in entries] != [first, *(entry.id for entry in entries[:-1])]:
        raise LookupError(f"an entry before {entries[-1].id!r} is missing")
    return entries


@contextmanager
def _conflicts(conversation_id: str) -> Iterator[None]:
    """Raise the framework's error where the store says that the conversation is not as it was."""
    try:
        yield
    except (ConflictError, NotFoundError):
        raise ConversationConflict(conversation_id) from None


def _check(text: str) -> str:
    try:
        return check_id("id", text)
    except InvalidValueError as error:
        raise UserError(f"a conversation, scope or entry: {error}") from None
