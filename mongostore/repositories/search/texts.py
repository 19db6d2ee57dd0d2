"""The texts of stored documents, by their collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mongostore.codec import decode
from mongostore.documents.mapping import StoredDocument

# Where a value has something to read: in the parts of contents, in tool calls and in their results.
_TEXT_KEYS: Final = (
    *("text", "content", "body", "name", "title", "caption", "transcript", "summary", "parts"),
    *("tool_calls", "function", "arguments", "input", "output", "result"),
)
_MAX_DEPTH = 20

# The fields whose change changes what is found.
TEXT_FIELDS: Mapping[str, frozenset[str]] = {
    "sessions": frozenset({"name", "description", "messages"}),
    "session_segments": frozenset({"messages"}),
    "session_turns": frozenset({"turns"}),
    "threads": frozenset({"name"}),
    "messages": frozenset({"content", "data"}),
    "rooms": frozenset({"name", "data"}),
    "events": frozenset({"content", "data"}),
}

# The fields of documents with several messages.
PACKED: Final = {"sessions": "messages", "session_segments": "messages", "session_turns": "turns"}


def texts_in(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a value: itself, or those of its parts."""
    if isinstance(value, str):
        # The bytes of an image are no words.
        if not value.startswith("data:"):
            yield value
    elif depth < _MAX_DEPTH and isinstance(value, list):
        for item in value:
            yield from texts_in(item, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, dict):
        for key in _TEXT_KEYS:
            if key in value:
                yield from texts_in(value[key], depth + 1)


def units_of(collection: str, document: StoredDocument) -> Iterator[list[str]]:
    """Yield the texts of each message in a document, and those of its name: a search looks in each."""
    if collection in PACKED:
        for message in document.get(PACKED[collection]) or ():
            if isinstance(message, dict):
                yield _texts_of(message, "content", "data")
    if collection in ("sessions", "threads"):
        yield _texts_of(document, "name", "description")
    elif collection == "rooms":
        yield _texts_of(document, "name", "data")
    elif collection in ("messages", "events"):
        yield _texts_of(document, "content", "data")


def _texts_of(document: StoredDocument, *fields: str) -> list[str]:
    try:
        return [text for field in fields for text in texts_in(decode(document.get(field)))]
    except ValueError:
        # What others have written is no value of ours.
        return []
