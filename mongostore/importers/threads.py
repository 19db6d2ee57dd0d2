"""Stores threads with their messages, elements, feedback and files, and the users that they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from mongostore.codec import EPOCH, is_same
from mongostore.errors import AlreadyExistsError, NotFoundError
from mongostore.importers.batches import MESSAGES, each, in_batches, in_thread, with_rising_times
from mongostore.importers.digests import Digest, canonical, thread_message_value
from mongostore.importers.files import write_files
from mongostore.importers.pace import Pace
from mongostore.importers.report import REFUSALS, Outcome, RefusedError, Report
from mongostore.importers.timeline import TimelineImport
from mongostore.importers.units import LooseMessageUnit, ThreadUnit, UserUnit
from mongostore.models import Element, Feedback, Thread, ThreadMessage
from mongostore.repositories.threads.bulk import ThreadMessageBatches
from mongostore.store import AsyncMongoStore

_HEAD = ("kind", "owner_id", "user_id", "name", "tags", "data", "metadata", "created_at")
_EMPTY: dict[str, Any] = {"tags": [], "data": {}, "metadata": {}}


class UserImport:
    """Stores one user."""

    def __init__(self, store: AsyncMongoStore, unit: UserUnit, report: Report, *, writes: bool) -> None:
        self._users = store.threads.users
        self._unit = unit
        self._report = report
        self._writes = writes
        self.key: str = f"users/{unit.identifier}"

    async def run(self, *, verifies: bool) -> tuple[Outcome, str]:
        """Store the user, unless there is one with that identifier; return the outcome and the digest."""
        digest = Digest()
        members = self._unit.members
        digest.add([self._unit.identifier, members.get("metadata") or {}])
        existing = await self._users.find_by_identifier(self._unit.identifier)
        if existing is None and self._writes:
            try:
                await self._users.create(self._unit.identifier, **members)
            except AlreadyExistsError:
                # Stored by another one since, or it is the id that is taken.
                existing = await self._users.find_by_identifier(self._unit.identifier)
                if existing is None:
                    raise RefusedError("another user has its id") from None
        if existing is None:
            return "new", digest.hexdigest()
        if existing.id != members.get("user_id"):
            self._report.warn(
                "users", self._unit.identifier, f"is stored already, with the id {existing.id!r}"
            )
        return "known", digest.hexdigest()


class ThreadImport(TimelineImport[ThreadMessage]):
    """Stores one thread.

    Args:
        store: The store.
        unit: The thread.
        report: Counts what belongs to the thread and names what is refused.
        thread: Where the source is read.
        pace: The pace at which the server is written to.
        writes: Whether to write, and not only to compare.
    """

    def __init__(
        self,
        store: AsyncMongoStore,
        unit: ThreadUnit,
        report: Report,
        thread: Executor,
        pace: Pace,
        *,
        writes: bool,
    ) -> None:
        super().__init__(unit.id, "messages", report, Digest(), thread, pace, writes=writes)
        self._store = store
        self._threads = store.threads
        self._batches = ThreadMessageBatches.of(store.threads)
        self._unit = unit
        self._members = dict(unit.members)
        self._parts: list[Any] = []
        self._active_at = EPOCH
        self._unjoined: list[ThreadMessage] = []
        self._feedback: dict[str, Feedback] = {}
        self.key: str = f"threads/{unit.id}"

    async def run(self, *, verifies: bool) -> tuple[Outcome, str]:
        """Store the thread, and return its outcome and its digest."""
        existing = await self._begin()
        batches = in_thread(self._thread, in_batches(self._timed()))
        async with aclosing(batches):
            if existing is None:
                async for batch in batches:
                    await self._append(batch)
            else:
                self._active_at = existing.active_at
                await self._compare(each([], batches))
                if self._unjoined and self._writes:
                    await self._batches.join(self._id, self._unjoined)
                await self._update_head(existing)
        await self._write_feedback()
        await self._write_elements()
        await write_files(self._store, self._unit.files, self._report, self._writes)
        self._digest.add([_head(self._members), sorted(canonical(part).decode() for part in self._parts)])
        digest = self._digest.hexdigest()
        if verifies and self._writes and self._has_written:
            await self._verify(digest)
        return "new" if existing is None else "changed" if self._has_written else "known", digest

    def _timed(self) -> Iterator[ThreadMessage]:
        return with_rising_times(self._unit.messages, self._members.get("created_at"))

    async def _begin(self) -> Thread | None:
        """Create the thread; return the one that is there already."""
        if not self._writes:
            return await self._threads.find(self._id)
        try:
            await self._create()
        except AlreadyExistsError:
            existing = await self._threads.find(self._id)
            if existing is None:
                raise RefusedError("deleted: it was deleted in the store") from None
            return existing
        self._has_written = True
        return None

    async def _create(self) -> None:
        try:
            await self._threads.create(self._id, unset=[], **self._members)
        except NotFoundError as error:
            if error.kind != "user":
                raise
            await self._find_user()
            await self._threads.create(self._id, unset=[], **self._members)

    async def _find_user(self) -> None:
        """Give the thread to the user with the identifier that the source says, if there is one."""
        identifier = self._unit.user_identifier
        user = identifier and await self._threads.users.find_by_identifier(identifier)
        if user:
            self._members["user_id"] = user.id
        else:
            self._report.warn("threads", self._id, f"its user {self._members['user_id']!r} is not there")
            del self._members["user_id"]

    async def _write_many(self, batch: Sequence[ThreadMessage]) -> None:
        await self._batches.create_many(self._id, batch)

    def _check(self, message: ThreadMessage) -> None:
        ThreadMessageBatches.check(message)

    def _value(self, message: ThreadMessage) -> list[Any]:
        return thread_message_value(message, self._id)

    async def _stored(self) -> AsyncIterator[ThreadMessage]:
        async for old in self._threads.messages.iter(self._id):
            # An import that was killed may have stored them, and not have told their thread.
            if old.pinned or (old.created_at and old.created_at > self._active_at):
                self._unjoined.append(old)
            if old.feedback is not None:
                self._feedback[old.id] = old.feedback
            yield old

    async def _update_head(self, existing: Thread) -> None:
        """Set the members that the source says and the store has otherwise."""
        self._members["user_id"] = existing.user_id
        old, new = _head(existing), _head(self._members)
        changes = {
            name: value
            for name, value in new.items()
            if name != "created_at" and canonical(value) != canonical(old[name])
        }
        if changes:
            self._has_written = True
            if self._writes:
                await self._threads.update(self._id, unset=[], **changes)

    async def _write_feedback(self) -> None:
        new, counts = [], self._report.of("feedback")
        for feedback in self._unit.feedback:
            old = self._feedback.get(feedback.message_id)
            if old is None:
                new.append(feedback)
            else:
                await self._write_one(
                    feedback, is_known=is_same(_feedback_value(old), _feedback_value(feedback))
                )
        for start in range(0, len(new), MESSAGES):
            batch = new[start : start + MESSAGES]
            try:
                if self._writes:
                    await self._batches.add_feedback(self._id, batch)
            except REFUSALS:
                for feedback in batch:
                    await self._write_one(feedback, is_known=False)
            else:
                self._has_written = True
                counts.read += len(batch)
                counts.new += len(batch)
                self._parts.extend(map(_feedback_value, batch))

    async def _write_one(self, feedback: Feedback, *, is_known: bool) -> None:
        if await self._write_part("feedback", feedback.id, is_known, feedback):
            self._parts.append(_feedback_value(feedback))

    async def _write_elements(self) -> None:
        known = {one.id: _element_value(one) async for one in self._threads.elements.iter(self._id)}
        for element in self._unit.elements:
            value = _element_value(element)
            if await self._write_part("elements", element.id, is_same(known.get(element.id), value), element):
                self._parts.append(value)

    async def _write_part(self, noun: str, id: str, is_known: bool, part: Any) -> bool:
        counts = self._report.of(noun)
        counts.read += 1
        if is_known:
            counts.known += 1
            return True
        try:
            if self._writes:
                await getattr(self._threads, noun).upsert(self._id, part)
        except REFUSALS as error:
            counts.refused += 1
            self._report.refuse(noun, id, str(error))
            return False
        counts.new += 1
        self._has_written = True
        return True

    async def _verify(self, digest: str) -> None:
        """Read back what is stored."""
        stored = Digest()
        parts = []
        async for message in self._stored():
            stored.add(self._value(message))
            if message.feedback is not None:
                parts.append(_feedback_value(message.feedback))
        parts.extend([_element_value(one) async for one in self._threads.elements.iter(self._id)])
        head = _head(await self._threads.get(self._id))
        if self._members.get("created_at") is None:
            head["created_at"] = None
        stored.add([head, sorted(canonical(part).decode() for part in parts)])
        if stored.hexdigest() != digest:
            raise RefusedError("the stored thread differs from the source")
        self._report.verified += 1


def _head(thread: Thread | dict[str, Any]) -> dict[str, Any]:
    members = thread.__dict__ if isinstance(thread, Thread) else thread
    return {name: members.get(name) or _EMPTY.get(name) for name in _HEAD}


def _feedback_value(feedback: Feedback) -> list[Any]:
    return [feedback.message_id, feedback.id, feedback.value, feedback.comment]


def _element_value(element: Element) -> list[Any]:
    return [element.id, element.message_id, element.file_key, element.data]


class LooseMessageImport:
    """Stores a message that belongs to no thread."""

    def __init__(
        self, store: AsyncMongoStore, unit: LooseMessageUnit, report: Report, *, writes: bool
    ) -> None:
        self._threads = store.threads
        self._message = unit.message
        self._writes = writes
        self.key: str = f"messages/{unit.message.id}"

    async def run(self, *, verifies: bool) -> tuple[Outcome, str]:
        """Store the message unless it is there, and return the outcome and the digest."""
        digest, value = Digest(), thread_message_value(self._message, None)
        digest.add(value)
        existing = await self._threads.messages.find_by_id(self._message.id)
        if existing is None:
            if self._writes:
                await ThreadMessageBatches.of(self._threads).create_many(None, [self._message])
            return "new", digest.hexdigest()
        if canonical(thread_message_value(existing, existing.thread_id)) != canonical(value):
            raise RefusedError("diverged: the stored message is another one")
        return "known", digest.hexdigest()
