"""The content of files, from bytes, paths, files and iterators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeVar

from mongostore.errors import InvalidValueError
from mongostore.repositories.daemon_threads import DaemonThreads

R = TypeVar("R")

# Anything but bytes is read piece by piece.
Content = bytes | PathLike[str] | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]


async def chunks_of(content: Content, size: int) -> AsyncIterator[bytes]:
    """Yield a content in chunks of so many bytes, the last of which may be shorter."""
    if isinstance(content, bytes):
        for start in range(0, len(content), size):
            yield content[start : start + size]
        return
    buffer = bytearray()
    async for piece in _pieces(content, size):
        if not isinstance(piece, bytes):
            raise InvalidValueError("content", f"must consist of bytes, not {type(piece).__name__}")
        buffer += piece
        whole = len(buffer) - len(buffer) % size
        for start in range(0, whole, size):
            yield bytes(buffer[start : start + size])
        del buffer[:whole]
    if buffer:
        yield bytes(buffer)


async def _pieces(content: Any, size: int) -> AsyncIterator[Any]:
    if isinstance(content, AsyncIterable):
        async for piece in content:
            yield piece
        return
    with ExitStack() as stack:
        if isinstance(content, PathLike):
            content = stack.enter_context(await _run(Path(content).open, "rb"))
        if hasattr(content, "read"):
            pieces: Any = iter(lambda: content.read(size), b"")
        elif isinstance(content, Iterable) and not isinstance(content, str | bytearray | memoryview):
            pieces = iter(content)
        else:
            raise InvalidValueError("content", f"must be bytes or a file, not {type(content).__name__}")
        # As many as make a chunk at once, for each time has a thread.
        while taken := await _run(_take, pieces, size):
            for piece in taken:
                yield piece


def _take(pieces: Iterator[Any], size: int) -> list[Any]:
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece) if isinstance(piece, bytes) else size
        if length >= size:
            break
    return taken


async def _run(call: Callable[..., R], *arguments: Any) -> R:
    # Not in the event loop: it may wait for a disk or a network, and as long as it likes.
    return await asyncio.get_running_loop().run_in_executor(DaemonThreads(), call, *arguments)
