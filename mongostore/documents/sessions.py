"""The stored form of sessions and their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ConfigDict, Field, TypeAdapter

from mongostore.codec import decode, preview_text
from mongostore.documents.mapping import (
    DECODE_ERRORS,
    Searched,
    Stored,
    StoredDocument,
    StoredPart,
    check_instance,
    check_size,
    invalid_fields,
    reader,
    write_members,
    write_slim,
)
from mongostore.documents.session_participants import StoredParticipant, participant_documents
from mongostore.documents.session_streams import StoredStream
from mongostore.errors import InvalidDocumentError
from mongostore.models import Message, Session
from mongostore.models.fields import Id, JsonValue
from mongostore.models.sessions import SessionFields

_MESSAGES = TypeAdapter(list[Message], config=ConfigDict(defer_build=True))
MAX_METADATA_BYTES = 1024 * 1024
MAX_DATA_BYTES = 4 * 1024 * 1024
# What callers are shown of a session; to read all other fields as well would take half as long again.
PUBLIC_FIELDS = [
    *("namespace", "session_id", "user_id", "name", "description", "data", "metadata", "revision"),
    *("created_at", "updated_at", "active_at", "deleted_at", "expires_at", "message_count", "last"),
    *("context.overflow", "participants"),
]
# What is left out of a stored message.
EMPTY_BODY: StoredDocument = {"content": None, "data": {}, "metadata": {}}
EMPTY: StoredDocument = {**EMPTY_BODY, "overflow": None}


class StoredMessage(Message):
    """A message inside a session or a segment; its position is its place there and is not stored.

    Members that read back by default are left out, and `updated_at` as long as it is `created_at`.
    `stream` is there while the message is being written, and `status` on one that was interrupted.
    `overflow` names the document that holds `content`, `data` and `metadata` when they are too large to
    embed. `op` is the token of the operation that appended the message, unless its id was new, which is
    proof enough.
    """

    overflow: str | None = None
    op: str | None = None
    stream: StoredStream | None = None


class StoredContext(StoredPart):
    """A session's context messages: the encoded value, or the key of the document that holds it."""

    value: JsonValue = None
    overflow: str | None = None


class StoredSession(SessionFields, Stored, Searched):
    """A session document with its newest messages embedded; None stands where a message was deleted.

    The messages before position `tail_start` are in segments; the next message gets `next_position`.
    `messages_bytes` is at least the size of `messages`. `edit_count` grows with every change of messages
    but an append. `merged_size` is at least the size of name, description and metadata together,
    `participants_size` that of the participants. `pending_deletes` are ids that are being removed from
    segments.

    `epoch` changes when all messages go at once, so that older segments are never taken for newer ones, and
    `stale` lists the epochs whose parts still have to go, `unbound` those of participants. `create_op` never
    changes: a large context belongs to it.

    `participants` go by their ids, escaped, in the order of binding; `participant_names` are these once
    more, for an index.

    `state` is `open`, `deleted` (softly) or `deleting` (its parts are being removed, and nothing else is left
    of one whose `expires_at` is a date); `is_erased` marks one that went with a person. `recent_ops` are the
    tokens of the newest operations, by which a retry recognizes what it has done, and of those whose messages
    were removed. Times are microseconds since 1970.
    """

    session_id: Id
    message_count: int = 0
    participants: dict[str, StoredParticipant] = Field(default_factory=dict)
    participant_names: list[str] = Field(default_factory=list)
    state: str = "open"
    is_erased: bool = False
    context: StoredContext | None = None
    messages: list[StoredMessage | None] = Field(default_factory=list)
    messages_bytes: int = 0
    merged_size: int = 0
    participants_size: int = 0
    tail_start: int = 0
    next_position: int = 0
    edit_count: int = 0
    epoch: str
    create_op: str
    stale: list[str] = Field(default_factory=list)
    pending_deletes: list[str] = Field(default_factory=list)
    unbound: list[str] = Field(default_factory=list)
    recent_ops: list[str] = Field(default_factory=list)


class StoredSegment(Searched):
    """Messages `start` to `end` (exclusive) of a session that have left its document."""

    id: str
    session: str
    epoch: str
    start: int
    end: int
    edit_count: int
    size: int
    messages: list[StoredMessage | None]
    recent_ops: list[str] = Field(default_factory=list)


class StoredOverflow(StoredPart):
    """A value too large to be embedded, written once and never changed."""

    id: str
    session: str
    epoch: str
    value: Any


# How the members of a new session begin. To ask pydantic for each of them takes 0.6 ms a session.
_BEGINNINGS: Final = {
    name: (member.default, member.default_factory)
    for name, member in StoredSession.model_fields.items()
    if not member.is_required() and name not in Searched.model_fields
}


def to_new_session(members: StoredDocument) -> StoredDocument:
    """Return the document of a new session: its members in their stored form, and how all else begins."""
    begin = {name: make() if make else default for name, (default, make) in _BEGINNINGS.items()}  # type: ignore[call-arg]
    return {**begin, **members}


def to_stored_message(message: Message, now: int) -> StoredDocument:
    """Return a message in the form of `StoredMessage`, not yet looked at for size.

    Args:
        message: The message of a caller.
        now: The time, in microseconds, for the times that it does not carry.
    """
    stored = write_slim(check_instance("message", message, Message))
    if "metadata" in stored:
        check_metadata_fit(message.id, stored["metadata"])
    if message.status != "complete":
        # Nothing writes a copy of a message any more.
        stored["status"] = "interrupted"
    stored.setdefault("created_at", now)
    return stored


def to_messages(
    positioned: Sequence[tuple[int | None, StoredDocument]],
) -> tuple[list[Message], list[InvalidDocumentError]]:
    """Return stored messages, each with its position, as callers see them, and errors for the unreadable."""
    errors: list[InvalidDocumentError] = []
    try:
        # All at once: half of the time that it takes one by one.
        messages = _MESSAGES.validate_python(
            [stored for _, stored in positioned], strict=True, extra="ignore"
        )
    except DECODE_ERRORS:
        messages, positioned, errors = _one_by_one(positioned)
    for (position, _), message in zip(positioned, messages, strict=True):
        # To copy each document for these two members would take a tenth of the time of all.
        members = message.__dict__
        members["position"] = position
        if members["updated_at"] is None:
            members["updated_at"] = members["created_at"]
    return messages, errors


def to_message(positioned: tuple[int | None, StoredDocument]) -> Message:
    """Return a stored message, with its position, as callers see it."""
    messages, errors = to_messages([positioned])
    if errors:
        raise errors[0]
    return messages[0]


def _one_by_one(
    positioned: Sequence[tuple[int | None, StoredDocument]],
) -> tuple[list[Message], list[tuple[int | None, StoredDocument]], list[InvalidDocumentError]]:
    """Return the readable messages with their positions, and errors for the others."""
    messages, readable, errors = [], [], []
    for position, stored in positioned:
        try:
            messages.append(Message.model_validate(stored, strict=True, extra="ignore"))
            readable.append((position, stored))
        except DECODE_ERRORS as error:
            known = stored.get("id") if isinstance(stored, dict) else None
            fields = invalid_fields(error)
            errors.append(InvalidDocumentError("message", str(known), fields, position=position))
    return messages, readable, errors


def _fields_of_session(document: StoredDocument) -> StoredDocument:
    return {
        "id": document["session_id"],
        "participants": participant_documents(document),
        "count": document.get("message_count", 0),
        "has_context": document.get("context") is not None,
    }


to_session: Final = reader(Session, "session", prepare=_fields_of_session)


def to_stored_preview(stored: StoredDocument) -> StoredDocument:
    """Return the start of a stored message, whose content is in place, in the form of `StoredPreview`."""
    preview = {name: stored[name] for name in ("id", "conversation_id", "role", "created_at")}
    return {**preview, "text": preview_text(decode(stored.get("content")))}


def check_metadata_fit(message_id: str, stored: StoredDocument) -> None:
    """Refuse stored metadata of a message that are too large."""
    if stored:
        check_size(f"the metadata of message {message_id!r}", stored, MAX_METADATA_BYTES)


def to_stored_members(members: Mapping[str, Any]) -> StoredDocument:
    """Return members of a session, its metadata apart, in their stored form."""
    encoded = write_members(Session, members)
    if "data" in encoded:
        check_size("the session's data", encoded["data"], MAX_DATA_BYTES)
    return encoded
