"""The canonical form of what is compared: the same JSON from a source and from the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mongostore.models import Message, ThreadMessage

_SESSION_MEMBERS = ("user_id", "name", "description", "data", "metadata", "created_at")


class Digest:
    """The sha256 of many values.

    Args:
        in_order: Whether their order counts; if it does not, all are kept until the end.
    """

    def __init__(self, *, in_order: bool = True) -> None:
        self._hash = hashlib.sha256()
        self._lines: list[bytes] | None = None if in_order else []

    def add(self, value: Any) -> None:
        """Add a value."""
        self.add_line(canonical(value))

    def add_line(self, line: bytes) -> None:
        """Add the canonical JSON of a value."""
        if self._lines is None:
            self._hash.update(line + b"\n")
        else:
            self._lines.append(line)

    def hexdigest(self) -> str:
        """Return the sha256 of all that was added."""
        for line in sorted(self._lines or ()):
            self._hash.update(line + b"\n")
        self._lines = None
        return self._hash.hexdigest()


def canonical(value: Any) -> bytes:
    """Return the JSON of a value with sorted keys; times are texts in UTC."""
    return _encode(value).encode()


def digest_of(*parts: object) -> str:
    """Return an id that is the same for the same parts."""
    return hashlib.sha256(canonical(parts)).hexdigest()[:32]


def session_value(members: Mapping[str, Any] | Any) -> dict[str, Any]:
    """Return what is compared of a session; a time that a source does not know is left out."""
    read = members.get if isinstance(members, Mapping) else lambda name: getattr(members, name)
    value = {name: read(name) for name in _SESSION_MEMBERS}
    return value | {"data": value["data"] or {}, "metadata": value["metadata"] or {}}


def message_value(message: Message) -> dict[str, Any]:
    """Return what is compared of a message."""
    # Texts here, since to leave them to the encoder takes twice as long.
    created_at = None if message.created_at is None else to_text(message.created_at)
    has_changed = message.updated_at not in (None, message.created_at)
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "role": message.role,
        "content": message.content,
        "data": message.data,
        "metadata": message.metadata,
        "created_at": created_at,
        "updated_at": to_text(message.updated_at) if has_changed else created_at,
    }


def thread_message_value(message: ThreadMessage, thread_id: str | None) -> list[Any]:
    """Return what is compared of a thread's message."""
    names = ("id", "kind", "parent_id", "content", "data", "pinned", "created_at")
    return [thread_id, *(getattr(message, name) for name in names)]


def to_text(value: Any) -> str:
    """Return the text of a time, for the JSON of it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    raise TypeError(type(value).__name__)


# Made once: to make one takes as long as to encode a short message.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=to_text).encode
