"""A message that grows while readers see it: what `store.sessions.messages.stream` opens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import Context
from typing import Any, TypeVar, Unpack

from mongostore.arguments import check_members, check_text
from mongostore.background_tasks import BackgroundTasks
from mongostore.documents.mapping import MAX_VALUE_BYTES, bson_size
from mongostore.documents.session_streams import WRITER_SECONDS
from mongostore.documents.sessions import to_stored_message
from mongostore.errors import (
    ConflictError,
    DocumentTooLargeError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
)
from mongostore.models import Message, MessageStart, MessageStatus, MessageUpdate, SessionCreate
from mongostore.repositories.sessions.message_patch import MessagePatch
from mongostore.repositories.sessions.message_streams import Growth, MessageStreams
from mongostore.repositories.sessions.storage import SessionStorage

T = TypeVar("T")

# A writer that is silent shows so often that it is there.
RENEWAL_SECONDS = WRITER_SECONDS / 3
# In which a writer that writes is not taken for gone.
_LONGEST_PAUSE = WRITER_SECONDS / 2
# A caller that writes faster than the server stores waits for it.
_MOST_UNFLUSHED = 1024 * 1024


def _new_message(members: dict[str, Any]) -> Message:
    """Return the message that a stream begins with."""
    content = check_text("content", members.get("content", ""))
    # The other members are checked when they are put into their stored form.
    return Message.model_construct(**{"role": "assistant", **members, "content": content})


def _check_flush_every(seconds: float) -> float:
    """Return the seconds between two flushes."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= _LONGEST_PAUSE:
        raise InvalidValueError("flush_every", f"must be a number of seconds from 0 to {_LONGEST_PAUSE:.0f}")
    return seconds


def open_message_stream(
    storage: SessionStorage,
    session_id: str,
    members: MessageStart,
    create: bool | SessionCreate,
    flush_every: float,
) -> AbstractAsyncContextManager[AsyncMessageStream]:
    """Write a growing message; see `AsyncSessionMessages.stream`."""
    key, message = storage.key(session_id), _new_message(check_members(members, MessageStart))
    return _stream(MessageStreams(storage), key, message, create, _check_flush_every(flush_every))


@asynccontextmanager
async def _stream(
    streams: MessageStreams, key: str, message: Message, create: bool | SessionCreate, flush_every: float
) -> AsyncGenerator[AsyncMessageStream, None]:
    growth = Growth(key, message.id)
    stream = AsyncMessageStream(streams, growth, await streams.begin(growth, message, create), flush_every)
    try:
        yield stream
    except BaseException:
        # The block's own error goes before those of its end.
        with suppress(MongoStoreError):
            await stream._end("interrupted")
        raise
    await stream._end("complete")


class AsyncMessageStream:
    """A message that is being written.

    If the process dies, the message has the text of the last flush, and it is read as `interrupted` once its
    writer has been silent for ten seconds by the server's clock. Another stream of the same id takes over a
    message that is not complete: the text begins anew, and the first writer fails.
    """

    def __init__(self, streams: MessageStreams, growth: Growth, message: Message, flush_every: float) -> None:
        self._streams = streams
        self._growth = growth
        self._message = message
        self._flush_every = flush_every
        self._stored: list[str] = [message.content or ""]
        self._sent: str | None = None
        self._unflushed: list[str] = []
        self._patch = MessagePatch({})
        # What every part of the message takes at the most, and its unflushed text alone.
        self._size = bson_size("message", to_stored_message(message, 0))
        self._unflushed_size = 0
        self._error: MongoStoreError | None = None
        self._lock = asyncio.Lock()
        self._has_news = asyncio.Event()
        self._tasks = BackgroundTasks()
        self._ending: asyncio.Task[None] | None = None
        self._flushing = asyncio.create_task(self._flush_regularly(), context=Context())
        streams.add(self._close)

    @property
    def message(self) -> Message:
        """The message as it was last stored."""
        return self._message.model_copy(update={"content": "".join(self._stored)})

    @property
    def text(self) -> str:
        """The whole text so far, flushed or not."""
        return "".join([*self._stored, self._sent or "", *self._unflushed])

    async def write(self, text: str) -> None:
        """Add text, which the next flush stores.

        Raises:
            NotFoundError: If the message or its session is gone.
            ConflictError: If another writer has taken the message over, or the stream has ended.
            InvalidValueError: If it is no text that can be stored.
            DocumentTooLargeError: If the message would take more than 16 MiB; the text is not added.
            NotOpenError: If the store was closed.
        """
        self._check_open()
        size = len(check_text("text", text).encode())
        self._check_size(size)
        self._unflushed.append(text)
        self._unflushed_size += size
        self._has_news.set()
        if self._unflushed_size > _MOST_UNFLUSHED:
            await self.flush()

    async def update(self, **members: Unpack[MessageUpdate]) -> None:
        """Change other members with the next flush, such as `data` with tool calls or usage.

        Args:
            **members: As for `messages.update`, but for `content` and `status`, which are the stream's own.

        Raises:
            NotFoundError: If the message or its session is gone.
            ConflictError: If another writer has taken the message over, or the stream has ended.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take more than 16 MiB; nothing is changed.
            NotOpenError: If the store was closed.
        """
        self._check_open()
        checked = check_members(members, MessageUpdate)
        for name in ("content", "status"):
            if name in checked:
                raise InvalidValueError(name, "belongs to the stream: `write` adds text")
        patch = MessagePatch.from_members(self._growth.message_id, checked)
        self._check_size(patch.size)
        self._patch = self._patch.then(patch)
        self._has_news.set()

    async def flush(self) -> Message:
        """Store unstored text and members now, and return the message.

        Raises:
            NotFoundError: If the message or its session is gone.
            ConflictError: If another writer has taken the message over, or the stream has ended.
            UnavailableError: If the server was away for too long; a later flush stores them.
            NotOpenError: If the store was closed.
        """
        self._check_open()
        # Not to be cut short: the outcome of a flush that was cancelled is unknown to the next one.
        await asyncio.shield(self._tasks.start(self._flush()))
        return self.message

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ending is not None:
            raise ConflictError(f"message {self._growth.message_id!r}: its stream has ended")

    def _check_size(self, more: int) -> None:
        if self._size + more > MAX_VALUE_BYTES:
            raise DocumentTooLargeError(
                f"message {self._growth.message_id!r}", self._size + more, MAX_VALUE_BYTES
            )
        self._size += more

    async def _flush_regularly(self) -> None:
        while self._error is None:
            try:
                async with asyncio.timeout(RENEWAL_SECONDS):
                    await self._has_news.wait()
            except TimeoutError:
                work = self._renew()
            else:
                await asyncio.sleep(self._flush_every)
                work = self._flush()
            # A server that is away gets the text later.
            with suppress(MongoStoreError):
                await asyncio.shield(self._tasks.start(work))

    async def _renew(self) -> None:
        async with self._lock:
            await self._run(self._streams.renew(self._growth))

    async def _flush(self) -> None:
        async with self._lock:
            self._has_news.clear()
            # A piece whose outcome is unknown goes again as it was, before that which came since.
            for _ in range(2):
                if self._sent is None and self._unflushed:
                    self._sent = "".join(self._unflushed)
                    self._unflushed, self._unflushed_size = [], 0
                if self._sent is not None:
                    await self._run(self._streams.flush(self._growth, self._sent))
                    self._stored.append(self._sent)
                    self._sent = None
            if self._patch != MessagePatch({}):
                patch, self._patch = self._patch, MessagePatch({})
                try:
                    self._message = await self._run(self._streams.update(self._growth, patch))
                except UnavailableError:
                    self._patch = patch.then(self._patch)
                    raise

    async def _run(self, work: Awaitable[T]) -> T:
        """Return the result of a statement; an error that no other one will mend ends the stream."""
        try:
            return await work
        except UnavailableError:
            raise
        except MongoStoreError as error:
            self._error = error
            raise

    async def _close(self) -> None:
        """End the stream of a store that is being closed."""
        self._error = self._error or NotOpenError("the store was closed before the message was complete")
        with suppress(MongoStoreError):
            await self._end("interrupted")

    async def _end(self, status: MessageStatus) -> None:
        """Store the rest, once, whatever becomes of the caller."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._store_rest(status), context=Context())
        await asyncio.shield(self._ending)
        if status == "complete" and self._error is not None:
            raise self._error

    async def _store_rest(self, status: MessageStatus) -> None:
        self._flushing.cancel()
        try:
            async with self._lock:
                if isinstance(self._error, NotFoundError | ConflictError):
                    raise self._error
                if self._error is None:
                    with suppress(DocumentTooLargeError):
                        await self._run(self._finish(status, self._patch))
                        return
                # The text is kept all the same.
                await self._finish("interrupted", MessagePatch({}))
        finally:
            self._streams.discard(self._close)

    async def _finish(self, status: MessageStatus, patch: MessagePatch) -> None:
        self._message = await self._streams.end(self._growth, self.text, status, patch)
        self._stored, self._sent, self._unflushed = [self.text], None, []
