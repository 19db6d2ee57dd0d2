"""Plain values that go in and come out: no document, cursor or driver type among them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Self, TypedDict, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from mongostore.errors import InvalidDocumentError

T = TypeVar("T")

NEW_SECONDS = 3.0


class MintedId(str):
    """A new id, which knows whether it was used: an unused one need not be looked for before it is stored.

    All copies of a message share its id and so this knowledge. In another process it counts as used,
    and so it does after a few seconds: it may have gone somewhere as text, and come from there.
    """

    __slots__ = ("_unused_in",)
    _unused_in: list[tuple[int, float]]

    def __new__(cls) -> Self:
        """Mint an id."""
        minted = super().__new__(cls, uuid4().hex)
        minted._unused_in = [(os.getpid(), time.monotonic())]
        return minted

    def use(self) -> bool:
        """Return whether this is the first use; of calls in several threads only one is."""
        try:
            process, minted_at = self._unused_in.pop()
        except IndexError:
            return False
        return process == os.getpid() and time.monotonic() - minted_at < NEW_SECONDS

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        self.use()
        return str, (str(self),)


class _Value(BaseModel):
    # A validation error must not carry what the user said.
    model_config = ConfigDict(hide_input_in_errors=True)


class Message(_Value):
    """One message of a session.

    `content`, `data` and `metadata` hold JSON values of any shape and come back equal. `data` is
    what belongs to the message (`tool_calls`, `name`, a framework's own members) and is replaced
    whole; `metadata` is what was noted about it and is merged key by key by an update.

    Attributes:
        id: Unique within its session; minted when not given.
        conversation_id: Groups the messages of a session; one session may hold many conversations.
        role: Who speaks, such as `user`, `assistant`, `system` or `tool`.
        created_at: When it was first stored, aware UTC to the microsecond; set by the store unless given.
        updated_at: When it was last changed; likewise.
        position: Its place in the session, from 0, known once it was read; a place never changes
            and never goes to another message until the session is truncated.
    """

    id: str = Field(default_factory=MintedId)
    conversation_id: str = "default"
    role: str
    content: Any = None
    data: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    position: int | None = None


class Preview(_Value):
    """The start of a message, as lists of sessions show it.

    Attributes:
        text: The first 200 characters of the message's text; empty when it has none.
    """

    id: str
    conversation_id: str
    role: str
    text: str
    created_at: datetime


class Session(_Value):
    """A session without its messages; `list_messages` reads those.

    Attributes:
        id: Unique within its namespace.
        data: The session's own content, replaced whole by an update.
        metadata: Notes about the session, merged key by key by an update.
        count: How many messages it holds.
        last: The newest message, shortened; None in an empty session.
        has_context: Whether context messages are stored.
        revision: Grows with every `update`; hand it back to change only what you have seen.
        updated_at: The newest activity: a message, a change of the session or of its context.
        deleted_at: When it was soft-deleted; None while it is open.
    """

    id: str
    namespace: str = "default"
    user_id: str | None = None
    name: str | None = None
    description: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    count: int = 0
    last: Preview | None = None
    has_context: bool = False
    revision: int = 0
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


class Conversation(_Value):
    """The messages of a session that share a conversation id, summed up.

    Attributes:
        first_position: The position of its first message.
        last_position: The position of its newest message.
    """

    id: str
    count: int
    first_position: int
    last_position: int
    last: Preview


class Layout(_Value):
    """Where the messages of a session lie; the place of a deleted one counts as long as it is kept.

    Attributes:
        embedded: How many of them, the newest, are in the session's own document.
        sealed: How many older ones have moved to segments.
        segments: How many segments there are.
    """

    embedded: int
    sealed: int
    segments: int


class SessionMembers(TypedDict, total=False):
    """What an update of a session may be given; what is left out stays as it is."""

    user_id: str | None
    name: str | None
    description: str | None
    data: dict[str, Any]
    metadata: dict[str, Any]


class MessageMembers(TypedDict, total=False):
    """What an update of a message may be given; what is left out stays as it is."""

    conversation_id: str
    role: str
    content: Any
    data: dict[str, Any]
    metadata: dict[str, Any]


class ChangeKind(StrEnum):
    """What happened to a session that is watched."""

    APPEND = "append"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    CLOSE = "close"


class Change(_Value):
    """One event of a live tail.

    Attributes:
        kind: `append`, `update` or `delete` of a message; `truncate` when all messages went;
            `close` when the session was deleted or purged, which ends the tail.
        position: The message's place; None for `truncate` and `close`.
        message: The message as it now stands; None when it is gone.
        token: Hand it to `watch(after=…)` to go on behind this event.
    """

    kind: ChangeKind
    position: int | None = None
    message: Message | None = None
    token: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list.

    Attributes:
        items: What was found, in the order the verb promises.
        next_cursor: Where the next page starts; None on the last page.
        errors: Stored documents of this page that could not be read; the others are in `items`.
    """

    items: list[T]
    next_cursor: str | None = None
    errors: list[InvalidDocumentError] = field(default_factory=list)
