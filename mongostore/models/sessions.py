"""Sessions, their messages and what happens to them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol, Self, TypedDict

from pydantic import Field

from mongostore.arguments import check_id, check_text
from mongostore.errors import InvalidValueError
from mongostore.ids import GeneratedId
from mongostore.models.fields import Id, JsonObject, JsonValue, MergedMap, StoreOwned, Text, Time
from mongostore.models.model import Model, Search

MessageStatus = Literal["streaming", "complete", "interrupted"]
"""Whether a message is being written, is whole, or lost its writer before its end."""


class Message(Model):
    """One message of a session.

    `content`, `data` and `metadata` hold JSON values of any shape and come back equal. `data` is
    what belongs to the message (`tool_calls`, `name`, a framework's own members) and is replaced
    whole; `metadata` is what was noted about it and is merged key by key by an update.

    Attributes:
        id: Unique within its session; generated unless given.
        conversation_id: Groups the messages of a session; one session may hold many conversations.
        role: Who speaks, such as `user`, `assistant`, `system` or `tool`.
        status: `streaming` while `messages.stream` writes it, `interrupted` if that was cut short; so is a
            message whose writer has not shown for ten seconds, by the server's clock, that it is there.
        created_at: When it was first stored, aware UTC to the microsecond; set by the store unless given.
        updated_at: When it was last changed; likewise.
        position: Its place in the session, from 0, known once it was read; a place never changes
            and never goes to another message until the session is truncated.
    """

    id: Id = Field(default_factory=GeneratedId)
    conversation_id: Id = "default"
    role: Text
    content: JsonValue = None
    data: JsonObject = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)
    status: Annotated[MessageStatus, StoreOwned()] = "complete"
    created_at: Time | None = None
    updated_at: Time | None = None
    position: Annotated[int | None, StoreOwned()] = None

    @classmethod
    def from_openai(
        cls,
        message: Mapping[str, Any],
        *,
        id: str | None = None,
        conversation_id: str = "default",
        created_at: datetime | None = None,
    ) -> Self:
        """Build a message of OpenAI's chat form; what it has beside its role and content goes to `data`.

        Args:
            message: Such as `{"role": "tool", "content": "42", "tool_call_id": "c1"}`.
            id: The message's id; generated unless given.
            conversation_id: The conversation that it belongs to.
            created_at: When it was said; set by the store unless given.

        Raises:
            InvalidValueError: If it has no role, or no such form at all.
        """
        if not isinstance(message, Mapping):
            raise InvalidValueError("message", f"must be a dict, not {type(message).__name__}")
        role = check_text("role", message.get("role"))
        # A content of None is kept apart from none at all, for what `to_openai` returns is equal.
        apart = {"role", "content"} if message.get("content") is not None else {"role"}
        members = {} if id is None else {"id": check_id("id", id)}
        return cls(
            **members,
            conversation_id=check_id("conversation_id", conversation_id),
            role=role,
            content=message.get("content"),
            data={name: value for name, value in message.items() if name not in apart},
            created_at=created_at,
        )

    def to_openai(self) -> dict[str, Any]:
        """Return OpenAI's chat form: of a message from `from_openai` what that was given, equal."""
        message = (
            {"role": self.role} if self.content is None else {"role": self.role, "content": self.content}
        )
        return {**message, **{name: value for name, value in self.data.items() if name not in message}}


class Preview(Model):
    """The start of a message, as lists of sessions show it.

    Attributes:
        text: The first 200 characters of the message's text; empty when it has none.
    """

    id: str
    conversation_id: str
    role: str
    text: str
    created_at: Time


class ParticipantFields(Model):
    """What a participant and its form in the session's document have in common; see `SessionParticipant`."""

    id: str
    bound_at: Time
    turn_count: int = 0
    integrated_until: int | None = None


class SessionParticipant(ParticipantFields):
    """A participant bound to a session, with the insights of its turns.

    Attributes:
        turn_count: The number of its newest turn.
        insights: The insights that integrations have stored, in order.
        integrated_until: The number of the last turn that was integrated; None before the first.
    """

    insights: list[JsonValue] = Field(default_factory=list)


class SessionFields(Model):
    """What a session and its document have in common; see `Session`."""

    id: Id
    namespace: Id = "default"
    user_id: Id | None = None
    name: Text | None = None
    description: Text | None = None
    data: JsonObject = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)
    last: Preview | None = None
    revision: int = 0
    created_at: Time
    active_at: Time
    deleted_at: Time | None = None
    expires_at: Time | None = None


class Session(SessionFields):
    """A session without its messages; `messages.list` reads those.

    Attributes:
        id: Unique within its namespace.
        data: The session's own content, replaced whole by an update.
        metadata: Notes about the session, merged key by key by an update.
        participants: Those bound to it, in the order in which they were.
        count: How many messages it holds.
        last: The newest message, shortened; None in an empty session.
        has_context: Whether context messages are stored.
        revision: Grows with every change of what is shown here, but for messages and the context; hand it
            back to change only what you have seen.
        active_at: When it, its messages or its context were last changed; an import takes the times of
            the messages.
        deleted_at: When it was soft-deleted; None while it is open.
        expires_at: From when on it is not found any more; None for never.
    """

    participants: list[SessionParticipant] = Field(default_factory=list)
    count: int = 0
    has_context: bool = False


class Conversation(Model):
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


class StorageStretch(Model):
    """Messages that follow each other, and how much they take.

    Attributes:
        start: The position of the first one.
        end: The position behind the last one.
        bytes: How much they take, about: what a deletion has freed is not counted.
    """

    start: int
    end: int
    bytes: int


class StorageLayout(Model):
    """Where the messages of a session lie: in its own document (the tail), and in segments.

    The position of a deleted message counts as long as its neighbours stay.

    Attributes:
        in_tail: The number of positions in the session's own document.
        in_segments: The number of older ones, which have moved to segments.
        segments: The number of segments.
        outline: The whole session in about a hundred stretches at the most, in order; the last one is the
            tail.
    """

    in_tail: int
    in_segments: int
    segments: int
    outline: list[StorageStretch]


class Turn(Model):
    """Something said by or to a participant of a session.

    Attributes:
        role: Who speaks, such as `user` or `assistant`.
        content: Any JSON value.
        number: From 1 without gaps among the participant's turns; set by the store. It never changes until
            the session is truncated or the participant unbound.
        created_at: When it was first stored, aware UTC; set by the store unless given.
    """

    role: Text
    content: JsonValue = None
    number: Annotated[int | None, StoreOwned()] = None
    created_at: Time | None = None


class Integrator(Protocol):
    """Makes insights (JSON values) of a participant's new turns, as a coroutine or blocking."""

    def __call__(
        self, participant_id: str, turns: Sequence[Turn], /
    ) -> Sequence[Any] | Awaitable[Sequence[Any]]:
        """Return the insights."""


class IntegrationStatus(StrEnum):
    """What became of a participant's new turns."""

    INTEGRATED = "integrated"
    NOTHING_NEW = "nothing_new"
    FAILED = "failed"


class ParticipantIntegration(Model):
    """What an integration did for one participant.

    Attributes:
        turns_integrated: The number of turns that it has covered.
        integrated_until: The number of the last turn covered by now; None before the first.
        error: The type of what was raised, as a rule by the integrator; None unless the status is `failed`.
    """

    participant_id: str
    status: IntegrationStatus
    turns_integrated: int = 0
    insights_added: int = 0
    integrated_until: int | None = None
    error: str | None = None


class Integration(Model):
    """What an integration did.

    Attributes:
        session: The session afterwards.
        results: One for each participant that was bound when it began, in the order of binding.
    """

    session: Session
    results: list[ParticipantIntegration]


class SessionFilter(Search, total=False):
    """Which sessions.

    Attributes:
        deleted: False for those that are not deleted, True for the softly deleted ones, None for both.
    """

    user_id: str | None
    deleted: bool | None


class SessionCreate(TypedDict, total=False):
    """The members with which a session can be created."""

    user_id: str | None
    name: str | None
    description: str | None
    data: dict[str, Any] | None
    metadata: dict[str, Any] | None
    created_at: datetime | None
    participants: Sequence[str]
    expires_at: datetime | None
    expires_in: timedelta


class SessionUpdate(TypedDict, total=False):
    """The members of a session that an update can change."""

    user_id: str | None
    name: str | None
    description: str | None
    data: dict[str, Any]
    metadata: dict[str, Any]
    expires_at: datetime | None
    expires_in: timedelta


class AppendOptions(TypedDict, total=False):
    """What an append does to its session in the same write, and the guards of that write.

    Attributes:
        create: Whether to create the session if it is not there, or the members to create it with.
        update: Members of the session to change.
        after: The newest position that the session may have, -1 for none.
        revision: The revision that the session must still have.
    """

    create: bool | SessionCreate
    update: SessionUpdate | None
    after: int | None
    revision: int | None


class MessageStart(TypedDict, total=False):
    """The members that a streamed message begins with.

    Attributes:
        role: `assistant`, unless the caller sets another one.
    """

    id: str
    conversation_id: str
    role: str
    content: str
    data: dict[str, Any]
    metadata: dict[str, Any]


class MessageUpdate(TypedDict, total=False):
    """The members of a message that an update can change.

    Attributes:
        status: `complete` or `interrupted`; either ends a stream that writes the message, as `content` does.
    """

    conversation_id: str
    role: str
    content: Any
    data: dict[str, Any]
    metadata: dict[str, Any]
    status: MessageStatus


class ChangeKind(StrEnum):
    """What happened to a session that is watched."""

    APPEND = "append"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    CLOSE = "close"


class MessageChange(Model):
    """One change that `messages.watch` yields.

    Attributes:
        kind: `append`, `update` or `delete` of a message; `truncate` if all messages were removed;
            `close` if the session was deleted, softly or not, which ends the iteration.
        position: The message's position; None for `truncate` and `close`.
        message: The message as it now is; None where it is gone.
        token: Hand it to `watch(after=…)` to go on behind this change.
    """

    kind: ChangeKind
    position: int | None = None
    message: Message | None = None
    token: str
