"""The stored form of a message that is being written: its text lies in pieces, each of which is sent once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mongostore.documents.mapping import DECODE_ERRORS, StoredDocument, StoredPart

# A writer that has neither written nor renewed its message for so long is gone.
WRITER_SECONDS = 10.0


class StoredStream(StoredPart):
    """The part of a message that is there while the message is being written.

    The text is that of the message's `content`, of `parts` and of `pieces`, in this order. When the
    stream ends, the whole text becomes the `content`.

    Attributes:
        writer: The token of the writer; another writer takes the message over by setting its own.
        until: When the writer counts as gone, unless it has set a later time, in microseconds since 1970
            by the server's clock.
        flushes: The number of pieces that were added, by which a retry recognizes its own.
        parts: The keys of the overflows with the text that has left `pieces`.
    """

    writer: str
    until: int
    flushes: int = 0
    parts: list[str] = Field(default_factory=list)
    pieces: list[str] = Field(default_factory=list)


def new_stream(writer: str, now: int) -> StoredDocument:
    """Return the stored form of a stream that begins."""
    return StoredStream(writer=writer, until=writer_end(now)).model_dump()


def writer_end(now: int) -> int:
    """Return when a writer that writes now counts as gone."""
    return now + round(WRITER_SECONDS * 1_000_000)


def parts_of(message: StoredDocument) -> list[str]:
    """Return the keys of the overflows with the text of a message that is being written."""
    return [*(message.get("stream") or {}).get("parts", ())]


def join_stream(message: StoredDocument, parts: Sequence[str], now: int) -> StoredDocument:
    """Return a stored message that is being written as it reads at a time: with its text as `content`.

    Args:
        message: The message, its body in place.
        parts: The texts of its parts.
        now: The time by the server's clock.
    """
    stream, status = message["stream"], "unreadable"
    try:
        text = "".join([message.get("content") or "", *parts, *stream["pieces"]])
        status = "streaming" if stream["until"] > now else "interrupted"
    except DECODE_ERRORS:
        # No model has that status, so that readers report the message as one that cannot be read.
        text = ""
    joined = {name: value for name, value in message.items() if name != "stream"}
    return {**joined, "content": text, "status": status}


def status_of(message: StoredDocument) -> Literal["streaming", "interrupted", "complete"]:
    """Return the status of a stored message, which is `streaming` whether or not its writer is gone."""
    if message.get("stream") is not None:
        return "streaming"
    return "interrupted" if message.get("status") == "interrupted" else "complete"
