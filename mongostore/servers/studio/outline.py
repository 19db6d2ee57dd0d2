"""The map of a session: a bar for each message, which leads to any place in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mongostore.models import Message, StorageStretch
from mongostore.repositories.search.texts import texts_in

# Of a longer session the map has stretches: to know each message it would have to be read.
MOST = 400
HEIGHT, _WIDTH = 760, 40
_LONG = 1500


@dataclass(frozen=True)
class Bar:
    """A bar: a message, or a stretch of them.

    Attributes:
        style: The speaker, or `e` where something failed.
    """

    position: int
    style: str
    y: float
    width: float
    height: float


def bars(messages: Iterable[Message], end: int) -> list[Bar]:
    """Return the bars of messages: longer texts are longer, and errors are red."""
    step = HEIGHT / max(end, 1)
    height = max(min(step - 1, 6), 0.8)
    found = []
    for message in messages:
        length = sum(map(len, texts_in(message.content)))
        width = 6 + (_WIDTH - 6) * min((length / _LONG) ** 0.5, 1)
        failed = isinstance(message.content, dict) and bool(message.content.get("error"))
        style = "e" if failed else _STYLES.get(message.role, "a")
        found.append(
            Bar(
                message.position or 0,
                style,
                round((message.position or 0) * step, 1),
                round(width, 1),
                round(height, 1),
            )
        )
    return found


def stretches(outline: Sequence[StorageStretch], end: int) -> list[Bar]:
    """Return the bars of parts of a long session: wider where messages are longer."""
    step = HEIGHT / max(end, 1)
    sizes = [one.bytes / max(one.end - one.start, 1) for one in outline]
    most = max(sizes, default=0) or 1
    return [
        Bar(
            one.start,
            "a",
            round(one.start * step, 1),
            round(6 + (_WIDTH - 6) * (size / most) ** 0.5, 1),
            round(max((one.end - one.start) * step - 1, 0.8), 1),
        )
        for one, size in zip(outline, sizes, strict=True)
    ]


_STYLES = {"user": "u", "tool": "tl", "function": "tl", "system": "u", "developer": "u"}
