"""Messages of a unit in batches, each with a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from concurrent.futures import Executor
from datetime import datetime
from typing import Protocol, TypeVar

MESSAGES = 128
CHARACTERS = 2 * 1024 * 1024
_END = object()

T = TypeVar("T")


class _Timed(Protocol):
    created_at: datetime | None
    content: object


M = TypeVar("M", bound=_Timed)


async def in_thread(thread: Executor, values: Iterable[T]) -> AsyncGenerator[T]:
    """Yield what an iterable yields, which may read a disk or a network, outside of the event loop."""
    iterator, loop = iter(values), asyncio.get_running_loop()
    while (value := await loop.run_in_executor(thread, next, iterator, _END)) is not _END:
        yield value  # type: ignore[misc]


def in_batches(messages: Iterable[M]) -> Iterator[list[M]]:
    """Yield messages in batches that fit into one append."""
    batch: list[M] = []
    size = 0
    for message in messages:
        length = _length(message.content)
        if batch and (len(batch) == MESSAGES or size + length > CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch


def with_times(messages: Iterable[M], began: datetime | None) -> Iterator[M]:
    """Yield messages, one without a time with that of the message before it, else that of the session."""
    time = began
    for message in messages:
        if message.created_at is None:
            message.created_at = time
        time = message.created_at
        yield message


def _length(value: object) -> int:
    """Return about how many characters a JSON value takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    return sum(map(_length, value)) if isinstance(value, list) else 8
