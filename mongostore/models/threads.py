"""Threads, their messages, elements and files, and the users they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict

from pydantic import Field

from mongostore.ids import generate_id
from mongostore.models.fields import (
    AnyText,
    Flag,
    Id,
    JsonObject,
    JsonValue,
    MergedMap,
    StoreOwned,
    Text,
    Texts,
    Time,
    Vote,
)
from mongostore.models.model import Model, Search


class User(Model):
    """Somebody who has threads.

    Attributes:
        identifier: How they are known outside, such as a mail address; unique.
        created_at: When they were first stored.
    """

    id: Id
    identifier: Text
    metadata: JsonObject = Field(default_factory=dict)
    created_at: Time


class Thread(Model):
    """A conversation of any length, without its messages; `store.threads.messages` reads those.

    Attributes:
        kind: What sort of thread it is, where one store keeps several that know nothing of each other.
        owner_id: Who it belongs to, by a name that is no user of the store.
        user_id: The user that it belongs to; None as long as nobody said.
        user_identifier: That user's identifier.
        created_at: When it was first stored.
        active_at: When its newest message was created, or the thread if it has none.
        data: The thread's own content, merged key by key as `metadata` is.
        metadata: Notes about the thread.
        expires_at: From when on it is not found any more; None for never.
    """

    id: Id
    kind: Id | None = None
    owner_id: Id | None = None
    user_id: Id | None = None
    user_identifier: Annotated[str | None, StoreOwned()] = None
    name: AnyText | None = None
    tags: Texts = Field(default_factory=list)
    created_at: Time
    active_at: Time
    expires_at: Time | None = None
    data: MergedMap = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)


class ThreadUpdate(TypedDict, total=False):
    """The members of a thread that `create`, `ensure`, `update` and `merge` can set.

    `unset` names keys to remove, as `metadata.<key>` or `data.<key>`; if it is given, even empty, None in
    `metadata` is a value.
    """

    kind: str | None
    owner_id: str | None
    user_id: str
    name: str | None
    tags: list[str]
    data: dict[str, Any]
    metadata: dict[str, Any]
    expires_at: datetime | None
    expires_in: timedelta
    unset: Sequence[str]


class ThreadFilter(Search, total=False):
    """Which threads; those of a `vote` have feedback of this value on one of their messages."""

    user_id: str
    kind: str
    owner_id: str
    name: str
    data: dict[str, Any]
    vote: int


class Feedback(Model):
    """What a user thinks of a message; a message has one at most.

    Attributes:
        id: Of its own; generated unless given, and kept when the feedback is replaced.
        thread_id: The thread of the message, set by the store.
        value: Such as 0 for bad and 1 for good.
    """

    id: Id = Field(default_factory=generate_id)
    thread_id: Annotated[str | None, StoreOwned()] = None
    message_id: Annotated[str, StoreOwned()]
    value: Vote
    comment: Text | None = None


class ThreadMessage(Model):
    """One message, or one step, of a thread.

    Attributes:
        id: Unique in the store.
        thread_id: The thread that it belongs to; None for one that belongs to none yet.
        kind: What sort of message it is, as a thread has one.
        parent_id: The message that it is a step of.
        content: What a search looks at, if it is a text.
        data: All else that belongs to it, any keys as they come.
        pinned: Whether it is among its user's favourites.
        created_at: Orders the messages of a thread; as of now unless given.
    """

    id: Id = Field(default_factory=generate_id)
    thread_id: Id | None = None
    kind: Id | None = None
    parent_id: Id | None = None
    content: JsonValue = None
    data: MergedMap = Field(default_factory=dict)
    pinned: Flag = False
    created_at: Time | None = None
    feedback: Feedback | None = None


class ThreadMessageUpdate(TypedDict, total=False):
    """The members of a thread's message that `merge` can set; in `data` None is a value."""

    kind: str | None
    parent_id: str | None
    content: Any
    data: dict[str, Any]
    pinned: bool
    created_at: datetime


class ThreadMessageFilter(TypedDict, total=False):
    """Which messages of threads."""

    kind: str
    content: Any
    data: dict[str, Any]
    pinned: bool


class Element(Model):
    """Something that is shown beside a message, such as an image.

    Attributes:
        thread_id: The thread that it belongs to, set by the store.
        message_id: The message.
        file_key: The file that holds it, if one does.
        data: All else that belongs to it, any keys as they come.
    """

    id: Id = Field(default_factory=generate_id)
    thread_id: Id | None = None
    message_id: Id
    file_key: Id | None = None
    data: JsonObject = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A stored file, without its content.

    Attributes:
        size: In bytes.
        content_type: Its media type.
        data: What else was said when it was stored.
        created_at: When that was.
    """

    key: str
    size: int
    content_type: str
    data: dict[str, Any]
    created_at: datetime
