"""Chat turns as integrators read them: as text, and in parts that are not too long."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mongostore.models import Turn


def text_of(content: Any) -> str:
    """Return the readable text of a turn's content: its text, those of its parts, else its JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def parts_of(turns: Sequence[Turn], characters: int) -> Iterator[list[tuple[Turn, str]]]:
    """Yield turns with their texts, in order, as many at a time as have so many characters together.

    A longer text stands alone, and is cut.
    """
    part: list[tuple[Turn, str]] = []
    size = 0
    for turn in turns:
        text = text_of(turn.content)[:characters]
        if part and size + len(text) > characters:
            yield part
            part, size = [], 0
        part.append((turn, text))
        size += len(text)
    if part:
        yield part
