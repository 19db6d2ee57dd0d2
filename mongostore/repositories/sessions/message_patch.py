"""The members that a change sets and removes in one message, as an update document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mongostore.arguments import take_metadata
from mongostore.codec import decode, preview_text
from mongostore.documents.mapping import StoredDocument, bson_size, write_members
from mongostore.documents.sessions import EMPTY, check_metadata_fit
from mongostore.errors import ConflictError, InvalidValueError
from mongostore.models import Message


@dataclass
class MessagePatch:
    """The members that a change sets and removes in one message.

    Attributes:
        members: Stored members by name; `metadata` here replaces it whole, and a `status` of None goes.
        metadata: Packed metadata to merge, by escaped key.
        unset: Escaped keys of metadata to remove.
        expected: Values that the message must have, by path.
        seen_at: When the message must have been changed last, if that matters.
        drops_stream: Whether the message has a stream, which goes.
    """

    members: StoredDocument
    metadata: StoredDocument = field(default_factory=dict)
    unset: list[str] = field(default_factory=list)
    expected: StoredDocument = field(default_factory=dict)
    seen_at: int | None = None
    drops_stream: bool = False

    @classmethod
    def from_members(cls, message_id: str, members: StoredDocument) -> MessagePatch:
        """Return the patch that changes members of a message as callers name them."""
        others = dict(members)
        metadata, removed = take_metadata(others)
        check_metadata_fit(message_id, metadata)
        status = {"status": _to_status(others.pop("status"))} if "status" in others else {}
        return cls({**write_members(Message, others), **status}, metadata, removed)

    @classmethod
    def replacing(cls, stored: StoredDocument, now: int) -> MessagePatch:
        """Return the patch that puts a stored message in the place of another, whose creation stays."""
        members = {**EMPTY, "status": None, "updated_at": now, **stored}
        del members["id"], members["created_at"]
        return cls(members)

    def then(self, later: MessagePatch) -> MessagePatch:
        """Return the patch that changes what this one and then a later one change."""
        metadata = {key: value for key, value in self.metadata.items() if key not in later.unset}
        unset = [key for key in self.unset if key not in later.metadata]
        return MessagePatch(
            {**self.members, **later.members}, {**metadata, **later.metadata}, [*unset, *later.unset]
        )

    @property
    def size(self) -> int:
        """At most so many bytes does the patch add."""
        return bson_size("message", {**self.members, "metadata": self.metadata})

    def update(self, size_field: str) -> StoredDocument:
        """Return the update of the document that holds the message, for a positional filter."""
        gone = ["status"] if self.members.get("status", "") is None else []
        sets = {f"messages.$.{name}": value for name, value in self.members.items() if name not in gone}
        gone += ["stream"] if self.drops_stream else []
        sets |= {f"messages.$.metadata.{key}": value for key, value in self.metadata.items()}
        update: StoredDocument = {"$set": sets, "$inc": {"edit_count": 1, size_field: self.size}}
        if unset := [*gone, *(f"metadata.{key}" for key in self.unset)]:
            update["$unset"] = {f"messages.$.{name}": "" for name in unset}
        return update

    def is_met(self, message: StoredDocument) -> bool:
        """Return whether a stored message has the values that the patch expects."""
        is_seen = self.seen_at in (None, changed_at(message))
        return is_seen and all(_value_at(message, path) == value for path, value in self.expected.items())

    @property
    def ends_stream(self) -> bool:
        """Whether nothing writes the message afterwards that writes it before."""
        return not {"content", "status", "stream"}.isdisjoint(self.members)

    def merge_into(self, metadata: StoredDocument) -> StoredDocument:
        """Return what a message that has these metadata has afterwards."""
        merged = {**self.members.get("metadata", metadata), **self.metadata}
        return {key: value for key, value in merged.items() if key not in self.unset}

    def preview(self) -> StoredDocument:
        """Return what changes in the session's preview when the message is its newest."""
        sets = {
            f"last.{name}": self.members[name] for name in ("conversation_id", "role") if name in self.members
        }
        if "content" in self.members:
            sets["last.text"] = preview_text(decode(self.members["content"]))
        return sets


def other_version_error(message_id: str) -> ConflictError:
    """Return the error of a change whose message is not as its caller has seen or left it."""
    return ConflictError(f"message {message_id!r} has changed since, or has another writer by now")


def changed_at(message: StoredDocument) -> int:
    """Return when a stored message was last changed."""
    changed: int = message.get("updated_at") or message["created_at"]
    return changed


def _to_status(status: object) -> str | None:
    if status not in ("complete", "interrupted"):
        raise InvalidValueError("status", "must be complete or interrupted: `stream` alone writes a message")
    return None if status == "complete" else "interrupted"


def _value_at(message: StoredDocument, path: str) -> Any:
    value: Any = message
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
