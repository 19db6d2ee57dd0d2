"""Stores sessions: what is there is compared, what is missing is appended, and all is read back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from mongostore.documents.mapping import check_size
from mongostore.documents.sessions import to_stored_message
from mongostore.errors import AlreadyExistsError
from mongostore.importers.batches import each, in_batches, in_thread, with_times
from mongostore.importers.digests import Digest, canonical, message_value, session_value
from mongostore.importers.files import write_files
from mongostore.importers.pace import Pace
from mongostore.importers.participants import ParticipantImport
from mongostore.importers.report import REFUSALS, Outcome, RefusedError, Report
from mongostore.importers.timeline import TimelineImport
from mongostore.importers.units import SessionUnit
from mongostore.models import Message, Session
from mongostore.repositories import activity_of
from mongostore.repositories.sessions.bulk import SessionTransfer
from mongostore.store import AsyncMongoStore

# An export that is made later may say these anew. The data of a message depend on the form of the export.
_LATER_MEMBERS = ("conversation_id", "metadata")


class SessionImport(TimelineImport[Message]):
    """Stores one session.

    Args:
        store: The store.
        namespace: The namespace of units that name none.
        unit: The session.
        report: Counts the messages and names those that are refused.
        thread: Where the source is read.
        pace: The pace at which the server is written to.
        writes: Whether to write, and not only to compare.
    """

    def __init__(
        self,
        store: AsyncMongoStore,
        namespace: str,
        unit: SessionUnit,
        report: Report,
        thread: Executor,
        pace: Pace,
        *,
        writes: bool,
    ) -> None:
        digest = Digest(in_order=not unit.is_tree)
        super().__init__(unit.id, "messages", report, digest, thread, pace, writes=writes)
        self._store = store
        self._sessions = store.sessions.in_namespace(unit.namespace or namespace)
        self._transfer = SessionTransfer.of(self._sessions)
        self._unit = unit
        self._members = dict(unit.members)
        self._context = [*unit.context]
        self._changed_ids: set[str] = set()
        # The first so many messages have no time, and neither has the session; of a tree, these.
        self._timeless_count = 0
        self._timeless_ids: set[str] = set()

    @property
    def key(self) -> str:
        """The name of the session in the report."""
        return f"sessions/{self._sessions.namespace}/{self._id}"

    async def run(self, *, verifies: bool) -> tuple[Outcome, str]:
        """Store the session, and return its outcome and its digest."""
        batches = in_thread(self._thread, in_batches(self._timed()))
        async with aclosing(batches):
            first: list[Message] = await anext(batches, [])
            if self._members.get("created_at") is None and first:
                self._members["created_at"] = first[0].created_at
            existing = await self._begin()
            # Messages are activity of their own times, and nothing else is any.
            with activity_of(existing.active_at if existing else self._members.get("created_at")):
                outcome = await self._add(existing, first, batches)
        await write_files(self._store, self._unit.files, self._report, self._writes)
        self._digest.add(self._head(self._members))
        digest = self._digest.hexdigest()
        if verifies and self._writes and (self._has_written or outcome == "changed"):
            await self._verify(digest)
        return outcome, digest

    async def _add(
        self, existing: Session | None, first: list[Message], batches: AsyncIterator[list[Message]]
    ) -> Outcome:
        """Store what belongs to the session that was created, or is there, and return the outcome."""
        if existing is None:
            outcome: Outcome = "new"
            await self._set_context()
            await self._append(first)
            async for batch in batches:
                await self._append(batch)
        else:
            has_changed = await self._go_on(existing, each(first, batches))
            outcome = "changed" if has_changed or self._has_written else "known"
        if await self._add_participants(is_new=outcome == "new") and outcome == "known":
            outcome = "changed"
        return outcome

    def _timed(self) -> Iterator[Message]:
        for message in with_times(self._unit.messages, self._members.get("created_at")):
            if message.created_at is None:
                self._timeless_count += 1
                if self._unit.is_tree:
                    self._timeless_ids.add(message.id)
            yield message

    async def _begin(self) -> Session | None:
        """Create the session; return the one that is there already."""
        if not self._writes:
            return await self._sessions.find(self._id)
        try:
            await self._sessions.create(self._id, **self._members)
        except AlreadyExistsError:
            existing = await self._sessions.find(self._id)
            if existing is None:
                raise RefusedError("deleted: it was deleted in the store") from None
            return existing
        self._has_written = True
        return None

    async def _add_participants(self, *, is_new: bool) -> bool:
        """Store the participants with their turns and insights; return whether something was missing."""
        if not self._unit.participants:
            return is_new and not self._writes
        counts, is_missing = self._report.of("turns"), False
        if is_new and not self._writes:
            counts.new += (
                turns := sum(1 for one in self._unit.participants for _ in self._unit.turns(one.id))
            )
            counts.read += turns
            return True
        arguments = (self._sessions, self._id, self._thread, counts)
        participants = ParticipantImport(*arguments, writes=self._writes)
        for participant in self._unit.participants:
            is_missing |= await participants.add(participant, self._unit.turns(participant.id))
            if is_new:
                await participants.verify(participant)
        return is_missing

    async def _write_many(self, batch: Sequence[Message]) -> None:
        await self._transfer.append_many(self._id, batch)

    def _check(self, message: Message) -> None:
        check_size("the message", to_stored_message(message, 0))

    def _stored(self) -> AsyncIterator[Message]:
        return self._sessions.messages.iter(self._id)

    def _stored_value(self, old: Message, new: Message) -> dict[str, Any]:
        value = message_value(old)
        return value if new.created_at else _without_times(value)

    async def _go_on(self, existing: Session, messages: AsyncIterator[Message]) -> bool:
        """Compare with the session that is there and append the rest; return whether members changed."""
        if self._unit.is_tree:
            changed = await self._update_tree([message async for message in messages])
            # Another form of the same export says other things of the session.
            if not (changed or self._has_written):
                self._members = self._head(existing)
                return False
        else:
            changed = False
            await self._compare(messages)
        return await self._update_head(existing) or changed

    async def _update_tree(self, messages: list[Message]) -> bool:
        """Append the new messages of a tree and update those that are there."""
        new = {message.id: message for message in messages}
        async for old in self._sessions.messages.iter(self._id):
            message = new.pop(old.id, None)
            if message is None:
                raise RefusedError(f"shorter: the source has no message {old.id!r}")
            if (message.role, canonical(message.content)) != (old.role, canonical(old.content)):
                raise RefusedError(f"diverged: message {old.id!r} has another content")
            self._counts.read += 1
            later = {**message.__dict__, "metadata": {**old.metadata, **message.metadata}}
            changes = _changes(_LATER_MEMBERS, later, old)
            if changes and self._writes:
                await self._sessions.messages.update(self._id, old.id, **changes)
            if changes:
                self._counts.changed += 1
                self._changed_ids.add(old.id)
            else:
                self._counts.known += 1
            self._digest.add(self._value(old.model_copy(update=changes)))
        for batch in in_batches(new.values()):
            await self._append(batch)
        return bool(self._changed_ids)

    async def _update_head(self, existing: Session) -> bool:
        """Set the members that the source says and the store has otherwise; return whether there were any."""
        old, members = session_value(existing), session_value(self._members)
        new = {name: old[name] if value in (None, {}) else value for name, value in members.items()}
        new["metadata"] = {**old["metadata"], **members["metadata"]}
        new["created_at"] = members["created_at"] and old["created_at"]
        changes = {
            name: value
            for name, value in new.items()
            if name != "created_at" and canonical(value) != canonical(old[name])
        }
        if changes and self._writes:
            await self._sessions.update(self._id, **changes)
        self._members = new
        context = [await self._sessions.context.get(self._id)] if existing.has_context else []
        if not self._context or canonical(context) == canonical(self._context):
            return bool(changes)
        await self._set_context()
        return bool(changes or self._context)

    async def _set_context(self) -> None:
        """Store the context, if there is one; one that is refused leaves the rest of the session."""
        try:
            if self._context and self._writes:
                await self._sessions.context.set(self._id, self._context[0])
        except REFUSALS as error:
            self._report.refuse("contexts", self._id, str(error))
            self._context = []

    async def _verify(self, digest: str) -> None:
        """Read back what is stored, as the majority of the servers has it."""
        stored = Digest(in_order=not self._unit.is_tree)
        session = await self._sessions.get(self._id)
        number = 0
        async for message in self._sessions.messages.iter(self._id):
            value = self._value(message)
            is_timeless = (
                message.id in self._timeless_ids if self._unit.is_tree else number < self._timeless_count
            )
            stored.add(_without_times(value) if is_timeless else value)
            number += 1
        stored.add(self._head(session))
        if self._context:
            context = await self._sessions.context.get(self._id)
            if canonical(context) != canonical(self._context[0]):
                raise RefusedError("the stored context differs from the source")
        if stored.hexdigest() != digest:
            raise RefusedError("the stored session differs from the source")
        self._report.verified += 1

    def _head(self, session: Any) -> dict[str, Any]:
        value = session_value(session)
        return value if self._members.get("created_at") else {**value, "created_at": None}

    def _value(self, message: Message) -> dict[str, Any]:
        value = message_value(message)
        if message.id in self._changed_ids:
            # The time of the update.
            del value["updated_at"]
        return _without_times(value) if message.created_at is None else value


def _changes(names: Sequence[str], new: dict[str, Any], old: Message) -> dict[str, Any]:
    return {name: new[name] for name in names if canonical(new[name]) != canonical(getattr(old, name))}


def _without_times(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, **{name: None for name in ("created_at", "updated_at") if name in value}}
