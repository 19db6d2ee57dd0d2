"""How much a session's document holds, and how long its changes are tried."""

from __future__ import annotations

from dataclasses import dataclass

from mongostore.errors import InvalidValueError


@dataclass(frozen=True)
class TailLimits:
    """What a session's document embeds before messages and values move out of it.

    `keep` is not stored: all processes that use the same data must be given the same one.

    Attributes:
        keep: Messages that stay embedded at the least, and that a segment holds at the most.
        full: Embedded messages that make a tail full, so that the oldest move into a segment.
        full_bytes: Bytes of them that do.
        embed_bytes: Bytes up to which the body of a message is embedded.
        context_embed_bytes: Bytes up to which context messages are.
        attempts: How often a change is tried that others overtake.
        places: Sessions of which a store remembers where their tails begin.

    Raises:
        InvalidValueError: A roll would move nothing: `keep` is below 1, or not below `full`.
    """

    keep: int = 64
    full: int = 128
    full_bytes: int = 256 * 1024
    embed_bytes: int = 1024 * 1024
    context_embed_bytes: int = 64 * 1024
    attempts: int = 60
    places: int = 4096

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.full:
            raise InvalidValueError("keep", "must be from 1 and below full")
