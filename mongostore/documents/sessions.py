"""How sessions and their messages are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beanie import Document
from pydantic import BaseModel, TypeAdapter

from mongostore.documents.participants import StoredParticipant, participants_of
from mongostore.documents.stored import SCHEMA_VERSION, UNREADABLE, Raw, check_size, fields_of, given
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import Message, Session, Turn
from mongostore.values import (
    check_id,
    check_text,
    from_micros,
    pack,
    pack_members,
    pack_object,
    preview_text,
    to_micros,
    unpack,
    unpack_members,
)

_MESSAGES = TypeAdapter(list[Message])
MAX_NOTES_BYTES = 1024 * 1024
MAX_DATA_BYTES = 4 * 1024 * 1024
# What callers are shown of a session; to read all other fields as well would take half as long again.
SHOWN = [
    *("namespace", "session_id", "user_id", "name", "description", "data", "metadata", "revision"),
    *("created_at", "updated_at", "deleted_at", "message_count", "last", "context.overflow"),
    *("participants", "insights"),
]


class StoredPreview(BaseModel):
    """The start of a session's newest message."""

    id: str
    conversation_id: str
    role: str
    text: str
    created_at: int


class StoredMessage(BaseModel):
    """A message inside a session or a segment; its position is its place there and is not stored.

    `overflow` names the document that holds `content` and `data` when they are too large to embed.
    Chat turns alone have a `binding`, that of their participant, and a `number` within it.
    """

    id: str
    conversation_id: str
    role: str
    content: Any
    data: Any
    metadata: dict[str, Any]
    created_at: int
    updated_at: int
    overflow: str | None
    binding: str | None = None
    number: int | None = None


class StoredContext(BaseModel):
    """A session's context messages: the packed value, or the key of the document that holds it."""

    value: Any = None
    overflow: str | None = None


class StoredErasure(BaseModel):
    """The newest deletion of messages: which call did it, and how many there were."""

    token: str
    count: int


class SessionFields(BaseModel):
    """A session document with its newest messages embedded; None stands where a message was deleted.

    The messages before position `base` are in segments; `end` is the position of the next message.
    `messages_bytes` is at least the size of `messages`. `edits` grows with every change of messages
    but an append. `deletions` are ids that are being removed from segments, `unbound` the bindings whose
    chat turns are.

    `generation` changes when all messages go at once, so that segments of before can never be taken
    for those of after, and `stale` lists those whose parts still have to go. `origin` never changes:
    a large context belongs to it.

    `participants` and `insights` go by the participants' ids, escaped, in the order of binding.

    `state` is `open`, `deleted` (softly) or `purging` (its parts are being removed). `revised_by`,
    `state_by`, `context_by`, `purged_by` and `erasure` name the calls that last did these, by which a retried
    call knows its own doing. Times are microseconds since 1970.
    """

    id: str
    namespace: str
    session_id: str
    user_id: str | None = None
    name: str | None = None
    description: str | None = None
    data: Any = {}
    metadata: dict[str, Any] = {}
    participants: dict[str, StoredParticipant] = {}
    insights: dict[str, list[Any]] = {}
    state: str = "open"
    context: StoredContext | None = None
    revision: int = 0
    created_at: int
    updated_at: int
    deleted_at: int | None = None
    message_count: int = 0
    last: StoredPreview | None = None
    messages: list[StoredMessage | None] = []
    messages_bytes: int = 0
    base: int = 0
    end: int = 0
    edits: int = 0
    generation: str
    origin: str
    stale: list[str] = []
    deletions: list[str] = []
    unbound: list[str] = []
    erasure: StoredErasure | None = None
    revised_by: str | None = None
    state_by: str | None = None
    context_by: str | None = None
    purged_by: str | None = None
    schema_version: int = SCHEMA_VERSION


class SegmentFields(BaseModel):
    """Messages `start` to `end` (exclusive) of a session that have left its document."""

    id: str
    session: str
    generation: str
    start: int
    end: int
    edits: int
    bytes: int
    messages: list[StoredMessage | None]


class OverflowFields(BaseModel):
    """A value too large to be embedded, written once and never changed."""

    id: str
    session: str
    generation: str
    value: Any


class SessionDocument(SessionFields, Document):
    """How sessions are stored."""

    class Settings:
        """Where they are stored."""

        name = "sessions"


class SegmentDocument(SegmentFields, Document):
    """How the older messages of long sessions are stored."""

    class Settings:
        """Where they are stored."""

        name = "session_segments"


class OverflowDocument(OverflowFields, Document):
    """How single large values are stored."""

    class Settings:
        """Where they are stored."""

        name = "session_overflows"


def to_stored(message: Message, now: int) -> Raw:
    """Return a message in the form of `StoredMessage`, not yet looked at for size.

    Args:
        message: What a caller gave.
        now: The time, in microseconds, for the times that it does not carry.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: Its metadata take more than 1 MiB.
    """
    if not isinstance(message, Message):
        raise InvalidValueError("message", f"must be a Message, not {type(message).__name__}")
    created = now if message.created_at is None else to_micros("created_at", message.created_at)
    return {
        "id": check_id("id", message.id),
        "conversation_id": check_id("conversation_id", message.conversation_id),
        "role": check_text("role", message.role),
        "content": pack("content", message.content),
        "data": pack_object("data", message.data),
        "metadata": to_notes(message.id, message.metadata),
        "created_at": created,
        "updated_at": created if message.updated_at is None else to_micros("updated_at", message.updated_at),
        "overflow": None,
    }


def to_messages(placed: Sequence[tuple[int | None, Raw]]) -> tuple[list[Message], list[InvalidDocumentError]]:
    """Return stored messages, each with its position, as callers see them, and what cannot be read."""
    try:
        # All at once: half of the time that it takes one by one.
        return _MESSAGES.validate_python([_members_of(stored, position) for position, stored in placed]), []
    except UNREADABLE:
        pass
    messages: list[Message] = []
    errors: list[InvalidDocumentError] = []
    for position, stored in placed:
        try:
            messages.append(Message.model_validate(_members_of(stored, position)))
        except UNREADABLE as error:
            known = stored.get("id") if isinstance(stored, dict) else None
            errors.append(InvalidDocumentError("message", str(known), fields_of(error)))
    return messages, errors


def to_session(raw: Raw) -> Session:
    """Return a stored session as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        deleted_at, last = raw.get("deleted_at"), raw.get("last")
        return Session.model_validate(
            {
                "id": raw["session_id"],
                "namespace": raw["namespace"],
                "user_id": raw.get("user_id"),
                "name": raw.get("name"),
                "description": raw.get("description"),
                "data": unpack(raw.get("data", {})),
                "metadata": unpack_members(raw.get("metadata", {})),
                "participants": participants_of(raw),
                "count": raw.get("message_count", 0),
                "last": last and {**last, "created_at": from_micros(last["created_at"])},
                "has_context": raw.get("context") is not None,
                "revision": raw.get("revision", 0),
                "created_at": from_micros(raw["created_at"]),
                "updated_at": from_micros(raw["updated_at"]),
                "deleted_at": None if deleted_at is None else from_micros(deleted_at),
            }
        )
    except UNREADABLE as error:
        raise InvalidDocumentError("session", str(raw["_id"]), fields_of(error)) from None


def to_stored_turn(path: str, participant: str, turn: Turn, message_id: str, now: int) -> Raw:
    """Return a chat turn in the form of `StoredMessage`, without its binding and its number.

    Raises:
        InvalidValueError: It is no chat turn, or one of its members cannot be stored.
    """
    given(path, turn, Turn)
    # Checked by what follows, in words of ours.
    message = Message.model_construct(
        id=message_id,
        conversation_id=participant,
        role=turn.role,
        content=turn.content,
        created_at=turn.created_at,
    )
    return to_stored(message, now)


def _members_of(stored: Raw, position: int | None) -> Raw:
    created, updated = stored["created_at"], stored["updated_at"]
    # A copy and its few changes take two thirds of the time of a new dict; most texts need no unpacking,
    # few messages were ever changed, and making a datetime is a fifth of the cost of a message.
    members = stored.copy()
    members["position"] = position
    members["created_at"] = members["updated_at"] = from_micros(created)
    if updated != created:
        members["updated_at"] = from_micros(updated)
    if type(members["content"]) is not str:
        members["content"] = unpack(members["content"])
    if members["data"]:
        members["data"] = unpack(members["data"])
    if members["metadata"]:
        members["metadata"] = unpack_members(members["metadata"])
    return members


def to_stored_preview(stored: Raw) -> Raw:
    """Return the start of a stored message, whose content is in place, in the form of `StoredPreview`."""
    preview = {name: stored[name] for name in ("id", "conversation_id", "role", "created_at")}
    return {**preview, "text": preview_text(unpack(stored["content"]))}


def to_notes(message_id: str, metadata: object) -> Raw:
    """Return the metadata of a message in its stored form.

    Raises:
        InvalidValueError: It cannot be stored.
        DocumentTooLargeError: It takes more than 1 MiB.
    """
    notes = pack_members("metadata", metadata)
    if notes:
        check_size(f"the metadata of message {message_id!r}", notes, MAX_NOTES_BYTES)
    return notes


def to_stored_members(members: Mapping[str, Any]) -> Raw:
    """Return members of a session, its metadata apart, in their stored form.

    Raises:
        InvalidValueError: One cannot be stored.
        DocumentTooLargeError: Its `data` take more than 4 MiB.
    """
    packed: Raw = {}
    for name, value in members.items():
        if name == "data":
            packed[name] = sized_member(name, pack_object(name, value))
        elif value is None:
            packed[name] = None
        else:
            packed[name] = check_id(name, value) if name == "user_id" else check_text(name, value)
    return packed


def sized_member(name: str, packed: Any) -> Any:
    """Return a packed member of a session that is not too large.

    Raises:
        DocumentTooLargeError: It takes more than 4 MiB.
    """
    check_size(f"the session's {name}", packed, MAX_DATA_BYTES)
    return packed
