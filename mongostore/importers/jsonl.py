"""The lines of import and export files: conversations and messages with OpenAI's members beside ours."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mongostore.models import Message, Session

M = TypeVar("M", bound=BaseModel)

_MESSAGE_MEMBERS = (
    "id",
    "conversation_id",
    "role",
    "content",
    "data",
    "metadata",
    "created_at",
    "updated_at",
)
# Beside its message, a line may have `session_id`, and `messages` would make it a conversation.
_TAKEN = {*_MESSAGE_MEMBERS, "session_id", "messages"}
# JSON escapes the older control characters itself; of these, one begins sequences as well.
_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class LineError(Exception):
    """A line cannot be imported; the text gives the reason without the content."""


class _Head(BaseModel):
    """The members of a session as a line gives them."""

    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    id: str | None = None
    user_id: str | None = None
    name: str | None = None
    description: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None


@dataclass(frozen=True)
class SessionLine:
    """A conversation.

    Attributes:
        members: The arguments of `create` beside the id.
        context: The context messages, in a list of their own; empty when the line has none.
    """

    id: str
    members: dict[str, Any]
    context: list[Any]
    messages: list[Message]


@dataclass(frozen=True)
class MessageLine:
    """One message.

    Attributes:
        session_id: The session that the line names, if any.
        digest: Stands for the content where the message has no id of its own; else None.
    """

    session_id: str | None
    message: Message
    digest: str | None


def read_line(text: bytes) -> SessionLine | MessageLine:
    """Return the conversation or the message of a line."""
    try:
        return parse_line(json.loads(text.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise LineError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise LineError(f"not JSON, from column {error.colno} on") from None
    except RecursionError:
        raise LineError("nested too deep") from None
    except ValueError:
        raise LineError("a number has too many digits") from None


def parse_line(value: object) -> SessionLine | MessageLine:
    """Return the conversation or the message of a line's JSON."""
    if not isinstance(value, dict):
        raise LineError("not a JSON object")
    return _session_line(value) if "messages" in value else _message_line(value)


def line_digest(*parts: object) -> str:
    """Return an id that is the same for the same parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def session_members(session: Session) -> dict[str, Any]:
    """Return the members of a session's line beside its context and messages."""
    members = {
        "id": session.id,
        "user_id": session.user_id,
        "name": session.name,
        "description": session.description,
        "metadata": session.metadata or None,
        "data": session.data or None,
        "created_at": _iso(session.created_at),
    }
    return {name: value for name, value in members.items() if value is not None}


def message_members(message: Message) -> dict[str, Any]:
    """Return the members of a message's line, its data beside role and content as in OpenAI's files."""
    collides = not _TAKEN.isdisjoint(message.data)
    ours = {
        "id": message.id,
        "conversation_id": None if message.conversation_id == "default" else message.conversation_id,
        "metadata": message.metadata or None,
        "created_at": _iso(message.created_at),
        "updated_at": None if message.updated_at == message.created_at else _iso(message.updated_at),
    }
    return {
        "role": message.role,
        "content": message.content,
        **({"data": message.data} if collides else message.data),
        **{name: value for name, value in ours.items() if value is not None},
    }


def write_line(members: dict[str, Any]) -> bytes:
    """Return a line with its end, readable where UTF-8 has the characters and terminals only print them."""
    try:
        return json.dumps(members, ensure_ascii=False).translate(_CONTROLS).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(members).encode() + b"\n"


def _session_line(members: dict[str, Any]) -> SessionLine:
    messages = members["messages"]
    if not isinstance(messages, list):
        raise LineError("messages: not a list")
    own = {name: value for name, value in members.items() if name not in ("messages", "context")}
    head = _validate(_Head, _split_members(own, tuple(_Head.model_fields)))
    session_id = line_digest(members) if head.id is None else head.id
    return SessionLine(
        id=session_id,
        members={name: value for name, value in head if name != "id"},
        context=[members["context"]] if "context" in members else [],
        messages=[_message_of(session_id, index, message) for index, message in enumerate(messages)],
    )


def _message_of(session_id: str, index: int, members: object) -> Message:
    path = f"messages[{index}]"
    if not isinstance(members, dict):
        raise LineError(f"{path}: not a JSON object")
    own = _split_members(members, _MESSAGE_MEMBERS)
    return _validate(Message, {"id": line_digest(session_id, index), **own}, f"{path}.")


def _message_line(members: dict[str, Any]) -> MessageLine:
    session_id = members.get("session_id")
    if session_id is not None and not isinstance(session_id, str):
        raise LineError("session_id: not a string")
    rest = {name: value for name, value in members.items() if name != "session_id"}
    message = _validate(Message, _split_members(rest, _MESSAGE_MEMBERS))
    has_id = "id" in message.model_fields_set
    return MessageLine(session_id, message, None if has_id else line_digest(rest))


def _split_members(members: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return the known members, null being as good as absent, with all others in `data`."""
    own = {name: members[name] for name in known if members.get(name) is not None}
    others = {name: value for name, value in members.items() if name not in known}
    data = own.get("data", {})
    if others and isinstance(data, dict):
        own["data"] = {**data, **others}
    return own


def _validate(model: type[M], members: dict[str, Any], path: str = "") -> M:
    try:
        return model.model_validate(members)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise LineError(f"{path}{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")
