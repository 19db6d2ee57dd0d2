"""Entries of a conversation's log as messages, and records as data, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import BinaryContent, ModelMessage, ModelMessagesTypeAdapter

from mongostore.errors import InvalidDocumentError
from mongostore.models import Message

_RECORD: TypeAdapter[ConversationRecord] = TypeAdapter(ConversationRecord)
# A part that the common form cannot return equal is stored whole under this type.
_WHOLE = "part"
_ROLES = {"user-prompt": "user", "system-prompt": "system"}
# The type of a part in the common form, and the names that its members have there.
_FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "text": ("text", {"content": "text"}),
    "user-prompt": ("input_text", {"content": "text"}),
    "system-prompt": ("system", {"content": "body"}),
    "thinking": ("reasoning", {"content": "text"}),
    "tool-call": (
        "tool_use",
        {"id": "part_id", "tool_call_id": "id", "tool_name": "name", "args": "input"},
    ),
    "tool-return": ("tool_result", {"tool_call_id": "tool_use_id"}),
}
_COMPOSITE = ("composite", {"content": "parts"})
_KINDS = {
    form: (kind, {common: name for name, common in names.items()})
    for kind, (form, names) in [*_FORMS.items(), ("user-prompt", _COMPOSITE)]
}


def to_messages(entries: Sequence[ConversationEntry]) -> list[Message]:
    """Return the messages of entries: role and parts in the common form, all else as data."""
    dumped = ModelMessagesTypeAdapter.dump_python([entry.message for entry in entries], mode="json")
    return [_to_message(entry, message) for entry, message in zip(entries, dumped, strict=True)]


def to_entries(messages: Sequence[Message]) -> list[ConversationEntry]:
    """Return the entries of messages.

    Raises:
        InvalidDocumentError: If one of them is no entry.
    """
    try:
        return _read(messages)
    except (KeyError, TypeError, ValueError):
        for message in messages:
            _check_entry(message)
        raise


def _check_entry(message: Message) -> None:
    try:
        _read([message])
    except (KeyError, TypeError, ValueError):
        raise InvalidDocumentError("message", message.id, ("data",), position=message.position) from None


def _read(messages: Sequence[Message]) -> list[ConversationEntry]:
    stored = [
        {**message.data["message"], "parts": [_to_part(part) for part in message.content or ()]}
        for message in messages
    ]
    return [
        ConversationEntry(
            id=message.id, parent_id=message.data["parent_id"], message=encoded, kind=message.data["kind"]
        )
        for message, encoded in zip(messages, ModelMessagesTypeAdapter.validate_python(stored), strict=True)
    ]


def as_stored(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Return messages as they come back from the store."""
    dumped = ModelMessagesTypeAdapter.dump_python([*messages], mode="json")
    stored: list[ModelMessage] = ModelMessagesTypeAdapter.validate_python(dumped)
    return stored


def has_image(message: ModelMessage) -> bool:
    """Return whether a message has an image that comes back as another type than it has."""
    items: list[Any] = []
    for part in message.parts:
        content = getattr(part, "content", None)
        items += content if isinstance(content, list) else [content]
    return any(type(item) is BinaryContent and item.is_image for item in items)


def to_data(record: ConversationRecord) -> dict[str, Any]:
    """Return the data of a record's session."""
    return {"record": _RECORD.dump_python(record, mode="json")}


def to_record(data: dict[str, Any]) -> ConversationRecord | None:
    """Return the record in the data of a session; None if there is none."""
    stored = data.get("record")
    if stored is None:
        return None
    # Another format is read as far as it fits.
    record = _RECORD.validate_python({**stored, "format_version": 1})
    record.format_version = stored.get("format_version", 1)
    return record


def _to_message(entry: ConversationEntry, encoded: dict[str, Any]) -> Message:
    parts = encoded.get("parts", ())
    kinds = {part.get("part_kind") for part in parts}
    role = next((role for kind, role in _ROLES.items() if kind in kinds), "tool")
    return Message(
        id=entry.id,
        role="assistant" if encoded.get("kind") == "response" else role,
        content=[_from_part(part) for part in parts],
        data={
            "parent_id": entry.parent_id,
            "kind": entry.kind,
            "message": {name: value for name, value in encoded.items() if name != "parts"},
        },
    )


def _from_part(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part in the common form, by which texts and calls of tools are known."""
    kind = part.get("part_kind", "")
    has_several = kind == "user-prompt" and isinstance(part.get("content"), list)
    form, names = _COMPOSITE if has_several else _FORMS.get(kind, (kind, {}))
    common = {"type": form, **{names.get(name, name): part[name] for name in part if name != "part_kind"}}
    return common if _to_part(common) == part else {"type": _WHOLE, _WHOLE: part}


def _to_part(common: dict[str, Any]) -> dict[str, Any]:
    form = common.get("type", "")
    if form == _WHOLE:
        return dict(common[_WHOLE])
    kind, names = _KINDS.get(form, (form, {}))
    return {"part_kind": kind, **{names.get(name, name): common[name] for name in common if name != "type"}}
