"""Entries of transcripts as messages, and keys of transcripts as ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from mongostore.arguments import check_id, check_text
from mongostore.errors import InvalidValueError
from mongostore.models import Message

_ENTRY = "entry"


def to_messages(entries: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return the messages of entries, of those with one uuid the first."""
    messages: dict[str, Message] = {}
    for entry in entries:
        message = _to_message(entry)
        messages.setdefault(message.id, message)
    return [*messages.values()]


def to_entry(message: Message) -> dict[str, Any]:
    """Return the entry of a message; one that others have stored becomes an entry of its role."""
    entry = message.data.get(_ENTRY)
    if not isinstance(entry, dict):
        body = {"role": message.role, "content": message.content}
        return {"type": message.role, "uuid": message.id, "message": body}
    if message.content is None:
        return entry
    return {**entry, "message": {**entry["message"], "content": message.content}}


def title_of(entries: Sequence[Mapping[str, Any]], title: str | None) -> str | None:
    """Return the title that entries give a session which has another one, or none, before them."""
    for entry in entries:
        custom, generated = entry.get("customTitle"), entry.get("aiTitle")
        title = _text_or_none(custom) or title or _text_or_none(generated)
    return title


def id_of(*texts: str) -> str:
    """Return the id that texts make: one text itself, and no two keys the same."""
    text = texts[0] if len(texts) == 1 else json.dumps(texts)
    # A namespace has no slash, and neither it nor an id is empty.
    with suppress(InvalidValueError):
        if text and "/" not in text and not text.startswith("sha256="):
            return check_id("key", text)
    return f"sha256={hashlib.sha256(json.dumps(texts).encode()).hexdigest()}"


def _to_message(entry: Mapping[str, Any]) -> Message:
    body = entry.get("message")
    body = body if isinstance(body, dict) else {}
    content, role = body.get("content"), _text_or_none(body.get("role"))
    members: dict[str, Any] = {"data": {_ENTRY: dict(entry)}}
    if content is not None:
        # Once: as the content of the message.
        rest = {name: value for name, value in body.items() if name != "content"}
        members = {"content": content, "data": {_ENTRY: {**entry, "message": rest}}}
    # An entry without a uuid gets an id of its own: it is another one each time.
    with suppress(InvalidValueError):
        members["id"] = check_id("uuid", entry.get("uuid"))
    return Message(
        role=role or _text_or_none(entry.get("type")) or "entry",
        created_at=_to_time(entry.get("timestamp")),
        **members,
    )


def _text_or_none(value: Any) -> str | None:
    try:
        return check_text("text", value) or None
    except InvalidValueError:
        return None


def _to_time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else None
