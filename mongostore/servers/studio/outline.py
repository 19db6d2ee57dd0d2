"""The map of a session: a bar for each message, with which somebody goes anywhere in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mongostore.models import Message
from mongostore.servers.studio.search import text_of

# Of a longer session the map has places alone: to know each message it would have to be read.
MOST = 400
HEIGHT, _WIDTH = 760, 40
_TICKS = 80
_LONG = 1500


@dataclass(frozen=True)
class Mark:
    """A bar, or a place.

    Attributes:
        style: Who speaks, or `e` where something failed.
    """

    position: int
    style: str
    y: float
    width: float
    height: float


def marks(messages: Iterable[Message], end: int) -> list[Mark]:
    """Return the bars of messages: longer texts are longer, and errors are red."""
    step = HEIGHT / max(end, 1)
    height = max(min(step - 1, 6), 0.8)
    found = []
    for message in messages:
        length = len(text_of(message.content))
        width = 6 + (_WIDTH - 6) * min((length / _LONG) ** 0.5, 1)
        failed = isinstance(message.content, dict) and bool(message.content.get("error"))
        style = "e" if failed else _STYLES.get(message.role, "a")
        found.append(
            Mark(
                message.position or 0,
                style,
                round((message.position or 0) * step, 1),
                round(width, 1),
                round(height, 1),
            )
        )
    return found


def places(end: int) -> list[Mark]:
    """Return evenly spread places of a long session."""
    return [
        Mark(end * number // _TICKS, "u", round(HEIGHT * number / _TICKS, 1), 10.0, 2.0)
        for number in range(_TICKS)
    ]


_STYLES = {"user": "u", "tool": "tl", "function": "tl", "system": "u", "developer": "u"}
