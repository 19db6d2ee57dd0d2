"""The stored form of threads, their messages and elements, and of users."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from mongostore.arguments import check_id
from mongostore.codec import to_micros
from mongostore.documents.mapping import (
    Searched,
    Stored,
    StoredDocument,
    StoredPart,
    check_instance,
    check_size,
    reader,
    write,
    write_members,
    writer,
)
from mongostore.models import Element, Feedback, Thread, ThreadMessage, User

# With the content and the data of a message, and the words of its texts, this still fits into a document.
MAX_FEEDBACK_BYTES = 64 * 1024


class StoredUser(User, Stored):
    """A user; `state` is as that of a message.

    `create_op` is the token of the operation that created it, by the server's time: `created_at` may come
    from elsewhere.
    """

    create_op: str | None = None
    state: str | None = None
    deleted_at: int | None = None
    expires_at: datetime | None = None


class StoredVote(StoredPart):
    """The feedback of one of a thread's messages, as lists of threads are filtered by."""

    message_id: str
    value: int


class StoredThread(Thread, Stored, Searched):
    """A thread.

    `create_op` and `delete_op` are the tokens of the operations that did these, by which a retried one
    recognizes its own work.
    `state` is `open`, or `deleted`: then nothing else is left of it, and what began before `deleted_at` does
    not bring it back until `expires_at`, then a date, after which no call can still be writing to it. Without
    that date the deletion is not over. A later write begins the next `life` of the thread.
    `merged_size` is at least the size of data, metadata, tags and name together, `votes_size` that of the
    votes.
    """

    votes: list[StoredVote] = Field(default_factory=list)
    votes_size: int = 0
    merged_size: int = 0
    has_pinned: bool = False
    state: str = "open"
    create_op: str | None = None
    delete_op: str | None = None
    deleted_at: int | None = None
    life: int = 0


class StoredThreadMessage(ThreadMessage, Stored, Searched):
    """A message of a thread.

    `is_begun`: more was merged into it than its start; `has_created_at`: `created_at` is the
    caller's, and `revision` grows with each merge. `merged_size` is at least the size of content and data
    together. `arrival` orders messages of one `created_at`. `life` is
    that of the thread, where it is not its first one, and `life_since` when the one before was deleted.
    `state` is `deleted` if nothing else is left until `expires_at`.
    """

    is_begun: bool = False
    has_created_at: bool = False
    revision: int = 0
    arrival: int = 0
    merged_size: int = 0
    life: int = 0
    life_since: int = -1
    state: str | None = None
    deleted_at: int | None = None
    expires_at: datetime | None = None


class StoredElement(Element, Stored):
    """An element of a message; `created_at` is its place among the others.

    `life`, `life_since` and `state` are as those of a message.
    """

    created_at: int
    life: int = 0
    life_since: int = -1
    state: str | None = None
    deleted_at: int | None = None
    expires_at: datetime | None = None


def to_feedback(document: StoredDocument) -> Feedback:
    """Return the feedback of a stored message as callers see it."""
    members = {**document["feedback"], "thread_id": document.get("thread_id"), "message_id": document["_id"]}
    return Feedback.model_validate(members, strict=True, extra="ignore")


def feedback_of(document: StoredDocument) -> StoredDocument:
    """Return the feedback of a stored message, which does not repeat whose it is, as a member."""
    return {"feedback": to_feedback(document)} if document.get("feedback") else {}


to_user: Final = reader(User, "user")
to_thread: Final = reader(Thread, "thread")
to_thread_message: Final = reader(ThreadMessage, "message", prepare=feedback_of)
to_element: Final = reader(Element, "element")
to_stored_element: Final = writer(Element, "element")


def to_stored_thread_member(name: str, value: Any) -> Any:
    """Return a member of a thread, other than those that are merged, in its stored form."""
    # No other user takes a thread from its own.
    return check_id(name, value) if name == "user_id" else write_members(Thread, {name: value})[name]


def to_stored_message(members: dict[str, Any]) -> StoredDocument:
    """Return members of a message in their stored form."""
    stored = write_members(ThreadMessage, members)
    if "created_at" in members:
        stored |= {"created_at": to_micros("created_at", members["created_at"]), "has_created_at": True}
    return stored


def to_stored_message_members(members: dict[str, Any]) -> StoredDocument:
    """Return members of a message in their stored form, by their paths."""
    stored = to_stored_message(members)
    data = {f"data.{key}": item for key, item in stored.pop("data", {}).items()}
    return {**stored, **data}


def to_stored_feedback(feedback: Feedback) -> StoredDocument:
    """Return a feedback in its stored form."""
    stored = write(check_instance("feedback", feedback, Feedback))
    check_size(f"the feedback on message {feedback.message_id!r}", stored, MAX_FEEDBACK_BYTES)
    return stored
