"""Messages of a unit in batches, each with a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TypeVar

from mongostore.models import Event, Message, ThreadMessage, Turn

MESSAGES = 128
CHARACTERS = 2 * 1024 * 1024
_END = object()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T")


M = TypeVar("M", Event, Message, ThreadMessage, Turn)
Timed = TypeVar("Timed", Message, ThreadMessage)


async def in_thread(thread: Executor, values: Iterable[T]) -> AsyncGenerator[T]:
    """Yield what an iterable yields, which may read a disk or a network, outside of the event loop."""
    iterator, loop = iter(values), asyncio.get_running_loop()
    while (value := await loop.run_in_executor(thread, next, iterator, _END)) is not _END:
        yield value  # type: ignore[misc]  # `next` may return its default, which ends the loop


def in_batches(messages: Iterable[M]) -> Iterator[list[M]]:
    """Yield messages in batches that fit into one append."""
    batch: list[M] = []
    size = 0
    for message in messages:
        length = count_characters(message.content)
        if batch and (len(batch) == MESSAGES or size + length > CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch


def with_times(messages: Iterable[Timed], began: datetime | None) -> Iterator[Timed]:
    """Yield messages, one without a time with that of the message before it, else that of the session."""
    time = began
    for message in messages:
        if message.created_at is None:
            message = message.model_copy(update={"created_at": time})
        time = message.created_at
        yield message


def with_rising_times(messages: Iterable[Timed], began: datetime | None) -> Iterator[Timed]:
    """Yield messages in an order that their times say as well: equal and unknown ones are raised.

    Messages without a time come first in a thread, at most as many as a batch.
    """
    timeless: list[Timed] = []
    following = iter(messages)
    first: list[Timed] = []
    for message in following:
        if message.created_at is not None or len(timeless) == MESSAGES:
            first = [message]
            break
        timeless.append(message)
    # The same in each import, so that messages are known again.
    time = began or _EPOCH
    if first and first[0].created_at is not None:
        time = min(time, first[0].created_at - (len(timeless) + 1) * _MICROSECOND)
    for message in chain(timeless, first, following):
        own = message.created_at
        time = time + _MICROSECOND if own is None or own <= time else own
        yield message if own == time else message.model_copy(update={"created_at": time})


async def each(first: Sequence[M], batches: AsyncIterator[Sequence[M]]) -> AsyncIterator[M]:
    """Yield the messages of batches."""
    for message in first:
        yield message
    async for batch in batches:
        for message in batch:
            yield message


async def batched(messages: AsyncIterator[M]) -> AsyncIterator[list[M]]:
    """Yield messages in batches."""
    batch: list[M] = []
    size = 0
    async for message in messages:
        batch.append(message)
        size += count_characters(message.content)
        if len(batch) == MESSAGES or size > CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def count_characters(value: object) -> int:
    """Return about how many characters a JSON value takes."""
    count, remaining = 0, [value]
    # What is nested too deep is refused by its name when it is stored.
    while remaining:
        match remaining.pop():
            case str(text):
                count += len(text)
            case dict(members):
                remaining += members.values()
            case list(items):
                remaining += items
            case _:
                count += 8
    return count
