"""Compares messages of a source with those that are stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from mongostore.importers.report import RefusedError
from mongostore.models import Event, Message, ThreadMessage

M = TypeVar("M", Event, Message, ThreadMessage)


async def skip_stored(
    messages: AsyncIterator[M],
    stored: AsyncIterator[M],
    *,
    is_equal: Callable[[M, M], bool],
    is_refused: Callable[[M], bool],
) -> AsyncGenerator[M]:
    """Yield the messages behind the stored ones, which have to be a beginning of all.

    Args:
        messages: The messages of the source.
        stored: Those that are there.
        is_equal: Returns whether the first is the second, and is called once for each that is there.
        is_refused: Returns whether the store refuses a message, which therefore is not there.
    """
    async for old in stored:
        while (new := await anext(messages, None)) is not None:
            if new.id == old.id or not is_refused(new):
                break
        if new is None:
            raise RefusedError("shorter: more messages are stored than the source has")
        if not is_equal(new, old):
            raise RefusedError(f"diverged: message {new.id!r} is not the stored one in its place")
    async for message in messages:
        yield message
