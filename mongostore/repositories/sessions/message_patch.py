"""What a change sets and removes in one message, put into the words of an update."""

from __future__ import annotations

from dataclasses import dataclass, field

from mongostore.codec import decode, preview_text
from mongostore.documents.mapping import StoredDocument, bson_size, write_members
from mongostore.documents.sessions import to_metadata
from mongostore.models import Message


@dataclass
class MessagePatch:
    """What a change sets and removes in one message.

    Attributes:
        members: Stored members by name; `metadata` here replaces it whole.
        notes: Packed metadata to merge, by escaped key.
        dropped: Escaped keys of metadata to remove.
    """

    members: StoredDocument
    metadata: StoredDocument = field(default_factory=dict)
    unset: list[str] = field(default_factory=list)

    @classmethod
    def from_members(cls, message_id: str, members: StoredDocument) -> MessagePatch:
        """Return the patch that changes the given members of a message as callers name them.

        Raises:
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: The metadata take more than 1 MiB.
        """
        metadata = to_metadata(message_id, members.get("metadata", {}))
        return cls(
            write_members(Message, {name: value for name, value in members.items() if name != "metadata"}),
            {key: value for key, value in metadata.items() if value is not None},
            [key for key, value in metadata.items() if value is None],
        )

    @property
    def size(self) -> int:
        """At most so many bytes does the patch add."""
        return bson_size("message", {**self.members, "notes": self.metadata})

    def update(self, size_field: str) -> StoredDocument:
        """Return the update of the document that holds the message, for a positional filter."""
        sets = {f"messages.$.{name}": value for name, value in self.members.items()}
        sets |= {f"messages.$.metadata.{key}": value for key, value in self.metadata.items()}
        update: StoredDocument = {"$set": sets, "$inc": {"edit_count": 1, size_field: self.size}}
        if self.unset:
            update["$unset"] = {f"messages.$.metadata.{key}": "" for key in self.unset}
        return update

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
