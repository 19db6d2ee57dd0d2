"""How threads, their messages and elements, and users are stored; times are microseconds since 1970."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from beanie import Document
from pydantic import BaseModel

from mongostore.documents.stored import SCHEMA_VERSION, UNREADABLE, Raw, fields_of, given, read_as, sized
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import Element, Feedback, Thread, ThreadMessage, User
from mongostore.values import (
    check_flag,
    check_id,
    check_list,
    check_text,
    from_micros,
    pack,
    pack_members,
    pack_object,
    to_micros,
    unpack,
    unpack_members,
)


class UserFields(BaseModel):
    """A user."""

    id: str
    identifier: str
    metadata: Any = {}
    created_at: int
    schema_version: int = SCHEMA_VERSION


class StoredVote(BaseModel):
    """The feedback of one of a thread's messages, as lists of threads are filtered by."""

    message_id: str
    value: int


class ThreadFields(BaseModel):
    """A thread.

    `created_by` and `deleted_by` name the calls that did these, by which a retried call knows its own doing.
    `state` is `open`, or `deleted`: then nothing else is left of it, and it cannot come back until
    `expires_at`, a date, after which nobody can still be writing to it.
    """

    id: str
    kind: str | None = None
    owner_id: str | None = None
    user_id: str | None = None
    user_identifier: str | None = None
    name: str | None = None
    tags: list[str] = []
    created_at: int
    active_at: int
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    votes: list[StoredVote] = []
    has_pinned: bool = False
    state: str = "open"
    created_by: str | None = None
    deleted_by: str | None = None
    expires_at: datetime | None = None
    schema_version: int = SCHEMA_VERSION


class StoredFeedback(BaseModel):
    """A user's opinion of the message that it is in."""

    id: str
    value: int
    comment: str | None = None


class MessageFields(BaseModel):
    """A message of a thread.

    `changed` says that more was merged into it than how it began, `dated` that `created_at` is the caller's,
    and `revision` grows with each merge.
    """

    id: str
    thread_id: str | None = None
    kind: str | None = None
    parent_id: str | None = None
    content: Any = None
    data: dict[str, Any] = {}
    pinned: bool = False
    created_at: int
    feedback: StoredFeedback | None = None
    changed: bool = False
    dated: bool = False
    revision: int = 0
    schema_version: int = SCHEMA_VERSION


class ElementFields(BaseModel):
    """An element of a message."""

    id: str
    thread_id: str
    message_id: str
    file_key: str | None = None
    data: Any = {}
    created_at: int
    schema_version: int = SCHEMA_VERSION


class UserDocument(UserFields, Document):
    """How users are stored."""

    class Settings:
        """Where they are stored."""

        name = "users"


class ThreadDocument(ThreadFields, Document):
    """How threads are stored."""

    class Settings:
        """Where they are stored."""

        name = "threads"


class MessageDocument(MessageFields, Document):
    """How the messages of threads are stored."""

    class Settings:
        """Where they are stored."""

        name = "messages"


class ElementDocument(ElementFields, Document):
    """How elements are stored."""

    class Settings:
        """Where they are stored."""

        name = "elements"


def to_user(raw: Raw) -> User:
    """Return a stored user as callers see them.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "user",
        raw,
        lambda: User(
            id=raw["_id"],
            identifier=raw["identifier"],
            metadata=unpack(raw["metadata"]),
            created_at=from_micros(raw["created_at"]),
        ),
    )


def to_thread(raw: Raw) -> Thread:
    """Return a stored thread as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "thread",
        raw,
        lambda: Thread(
            id=raw["_id"],
            kind=raw.get("kind"),
            owner_id=raw.get("owner_id"),
            user_id=raw.get("user_id"),
            user_identifier=raw.get("user_identifier"),
            name=unpack(raw.get("name")),
            tags=raw.get("tags", []),
            created_at=from_micros(raw["created_at"]),
            active_at=from_micros(raw["active_at"]),
            data=unpack_members(raw.get("data", {})),
            metadata=unpack_members(raw.get("metadata", {})),
        ),
    )


def to_stored_thread_member(name: str, value: Any) -> Any:
    """Return a member of a thread, other than those that are merged, in its stored form.

    Raises:
        InvalidValueError: It cannot be stored.
    """
    match name:
        case "tags":
            check_list(name, value)
            return [check_text(f"{name}[{n}]", tag) for n, tag in enumerate(value)]
        case "user_id":
            return check_id(name, value)
        case "kind" | "owner_id":
            return None if value is None else check_id(name, value)
    if not isinstance(value, str | None):
        raise InvalidValueError(name, f"must be a string, not {type(value).__name__}")
    return pack(name, value)


def to_stored_message_members(members: dict[str, Any]) -> Raw:
    """Return members of a message in their stored form, by their paths.

    Raises:
        InvalidValueError: One of them cannot be stored; names its path.
        DocumentTooLargeError: They take more than a document can hold.
    """
    stored: Raw = {}
    for name, value in members.items():
        match name:
            case "data":
                stored |= {f"data.{key}": item for key, item in pack_members(name, value).items()}
            case "content":
                stored[name] = pack(name, value)
            case "pinned":
                stored[name] = check_flag(name, value)
            case "created_at":
                stored |= {name: to_micros(name, value), "dated": True}
            case "kind" | "parent_id":
                stored[name] = None if value is None else check_id(name, value)
    return sized("a message", stored)


def to_thread_message(raw: Raw) -> ThreadMessage:
    """Return a stored message of a thread as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        feedback = raw.get("feedback")
        return ThreadMessage(
            id=raw["_id"],
            thread_id=raw.get("thread_id"),
            kind=raw.get("kind"),
            parent_id=raw.get("parent_id"),
            content=unpack(raw.get("content")),
            data=unpack_members(raw.get("data", {})),
            pinned=raw.get("pinned", False),
            created_at=from_micros(raw["created_at"]),
            feedback=feedback and to_feedback(raw),
        )
    except UNREADABLE as error:
        raise InvalidDocumentError("message", str(raw.get("_id")), fields_of(error)) from None


def to_feedback(raw: Raw) -> Feedback:
    """Return the feedback of a stored message as callers see it."""
    return Feedback(thread_id=raw.get("thread_id"), message_id=raw["_id"], **raw["feedback"])


def check_vote(path: str, value: object) -> int:
    """Return `value`, that of a feedback: an integer of at most 64 bits.

    Raises:
        InvalidValueError: It is anything else.
    """
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise InvalidValueError(path, "must be an integer of at most 64 bits")
    return value


def to_stored_feedback(feedback: Feedback) -> Raw:
    """Return a feedback in its stored form.

    Raises:
        InvalidValueError: One of its members cannot be stored.
    """
    feedback = given("feedback", feedback, Feedback)
    comment = feedback.comment
    return {
        "id": check_id("id", feedback.id),
        "value": check_vote("value", feedback.value),
        "comment": None if comment is None else check_text("comment", comment),
    }


def to_stored_element(element: Element) -> Raw:
    """Return an element in its stored form, without the time at which it came.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    element = given("element", element, Element)
    stored: Raw = {
        "_id": check_id("id", element.id),
        "thread_id": check_id("thread_id", element.thread_id),
        "message_id": check_id("message_id", element.message_id),
        "file_key": None if element.file_key is None else check_id("file_key", element.file_key),
        "data": pack_object("data", element.data),
        "schema_version": SCHEMA_VERSION,
    }
    return sized(f"element {element.id!r}", stored)


def to_element(raw: Raw) -> Element:
    """Return a stored element as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "element",
        raw,
        lambda: Element(
            id=raw["_id"],
            thread_id=raw["thread_id"],
            message_id=raw["message_id"],
            file_key=raw.get("file_key"),
            data=unpack(raw["data"]),
        ),
    )
