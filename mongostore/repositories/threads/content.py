"""The content of files, from bytes, paths, files and iterators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import IO, Any

from mongostore.errors import InvalidValueError

# Anything but bytes is read piece by piece.
Content = bytes | PathLike[str] | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]


async def chunks_of(content: Content, size: int) -> AsyncIterator[bytes]:
    """Yield a content in chunks of so many bytes, the last of which may be shorter.

    Raises:
        InvalidValueError: If it is no content, or a piece of it is not bytes.
        OSError: If a file cannot be read.
    """
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
            content = stack.enter_context(await asyncio.to_thread(Path(content).open, "rb"))
        if hasattr(content, "read"):
            pieces: Any = iter(lambda: content.read(size), b"")
        elif isinstance(content, Iterable) and not isinstance(content, str | bytearray | memoryview):
            pieces = iter(content)
        else:
            raise InvalidValueError("content", f"must be bytes or a file, not {type(content).__name__}")
        # Not in the event loop: they may come from a disk or a network.
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
