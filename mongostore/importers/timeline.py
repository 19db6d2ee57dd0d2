"""Stores the messages or events of a conversation: what is there is compared, what is missing is appended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from mongostore.errors import DocumentTooLargeError, InvalidValueError
from mongostore.importers.batches import batched
from mongostore.importers.digests import Digest, canonical
from mongostore.importers.pace import Pace
from mongostore.importers.report import REFUSALS, RefusedError, Report
from mongostore.models import Event, Message, ThreadMessage

M = TypeVar("M", Event, Message, ThreadMessage)


class TimelineImport(ABC, Generic[M]):
    """The import of one conversation.

    Args:
        id: Its id.
        noun: The name of its messages in the report.
        report: Counts what belongs to it and names what is refused.
        digest: Of the messages and of all else that the conversation has.
        thread: Where the source is read.
        pace: The pace at which the server is written to.
        writes: Whether to write, and not only to compare.
    """

    def __init__(
        self,
        id: str,
        noun: str,
        report: Report,
        digest: Digest,
        thread: Executor,
        pace: Pace,
        *,
        writes: bool,
    ) -> None:
        self._id = id
        self._noun = noun
        self._report = report
        self._digest = digest
        self._thread = thread
        self._pace = pace
        self._writes = writes
        self._counts = report.of(noun)
        self._has_written = False

    @abstractmethod
    async def _write_many(self, batch: Sequence[M]) -> object:
        """Store messages behind those that are there."""

    @abstractmethod
    def _check(self, message: M) -> object:
        """Raise what the store raises for a message that it refuses."""

    @abstractmethod
    def _value(self, message: M) -> Any:
        """Return what is compared of a message."""

    @abstractmethod
    def _stored(self) -> AsyncIterator[M]:
        """Yield the messages that are there."""

    def _stored_value(self, old: M, new: M) -> Any:
        """Return what is compared of a message that is there with one of the source."""
        return self._value(old)

    async def _append(self, batch: Sequence[M]) -> None:
        if not batch:
            return
        self._has_written = True
        self._counts.read += len(batch)
        stored = batch
        if self._writes:
            try:
                await self._pace.write(batch, self._write_many)
            except REFUSALS:
                stored = [message for message in batch if await self._append_one(message)]
        self._counts.new += len(stored)
        for message in stored:
            self._digest.add(self._value(message))

    async def _append_one(self, message: M) -> bool:
        try:
            await self._pace.write([message], self._write_many)
        except REFUSALS as error:
            self._refuse(message, error)
            return False
        return True

    async def _compare(self, messages: AsyncIterator[M]) -> None:
        """Append the messages behind the stored ones, which have to be a beginning of all."""
        async with aclosing(self._skip_stored(messages)) as more:
            async for batch in batched(more):
                await self._append(batch)

    async def _skip_stored(self, messages: AsyncIterator[M]) -> AsyncGenerator[M]:
        async for old in self._stored():
            while (new := await anext(messages, None)) is not None:
                if new.id == old.id or not self._is_refused(new):
                    break
            if new is None:
                raise RefusedError("shorter: more messages are stored than the source has")
            line = canonical(self._value(new))
            if line != canonical(self._stored_value(old, new)):
                raise RefusedError(f"diverged: message {new.id!r} is not the stored one in its place")
            self._counts.read += 1
            self._counts.known += 1
            self._digest.add_line(line)
        async for message in messages:
            yield message

    def _is_refused(self, message: M) -> bool:
        """Return whether the store refuses a message, which therefore is not there."""
        try:
            self._check(message)
        except (DocumentTooLargeError, InvalidValueError) as error:
            self._counts.read += 1
            self._refuse(message, error)
            return True
        return False

    def _refuse(self, message: M, error: Exception) -> None:
        self._counts.refused += 1
        self._report.refuse(self._noun, f"{self._id}/{message.id}", str(error))
