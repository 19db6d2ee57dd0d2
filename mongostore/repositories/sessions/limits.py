"""How much a session's document holds, and how long its changes are tried."""

from __future__ import annotations

from dataclasses import dataclass

from mongostore.errors import InvalidValueError

# Readers look for a position in segments that start so far before it, whatever `keep` their writers had. It
# is part of the stored form: what a version that allows more has written, an older one cannot read.
MAX_SEGMENT_MESSAGES = 256


@dataclass(frozen=True)
class TailLimits:
    """The most that a session's document embeds before messages and values move out of it.

    Attributes:
        keep: Messages that stay embedded at the least, and that a segment holds at the most.
        full: Embedded messages that make a tail full, so that the oldest move into a segment.
        full_bytes: Bytes of them that do.
        embed_bytes: Bytes up to which the body of a message is embedded.
        context_embed_bytes: Bytes up to which context messages are.
        attempts: How often a change is tried that others overtake.
        cached_positions: Sessions of which a store remembers where their tails begin.
    """

    keep: int = 64
    full: int = 128
    full_bytes: int = 256 * 1024
    embed_bytes: int = 1024 * 1024
    context_embed_bytes: int = 64 * 1024
    attempts: int = 60
    cached_positions: int = 4096

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= MAX_SEGMENT_MESSAGES or self.keep >= self.full:
            raise InvalidValueError("keep", f"must be from 1 to {MAX_SEGMENT_MESSAGES} and below full")
