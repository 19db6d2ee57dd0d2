"""Sessions, their messages and what happens to them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Protocol, Self, TypedDict

from pydantic import Field

from mongostore.errors import InvalidValueError
from mongostore.ids import MintedId
from mongostore.models.fields import Id, JsonObject, JsonValue, MergedMap, StoreOwned, Text, Time
from mongostore.models.value import Value
from mongostore.values import check_id, check_text


class Message(Value):
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
        number: Its number among its participant's chat turns, known once it was read; None for what
            is no chat turn.
    """

    id: Id = Field(default_factory=MintedId)
    conversation_id: Id = "default"
    role: Text
    content: JsonValue = None
    data: JsonObject = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)
    created_at: Time | None = None
    updated_at: Time | None = None
    position: Annotated[int | None, StoreOwned()] = None
    number: Annotated[int | None, StoreOwned()] = None

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
            id: The message's id; minted when not given.
            conversation_id: The conversation that it belongs to.
            created_at: When it was said; set by the store when not given.

        Raises:
            InvalidValueError: If it has no role, or no such form at all.
        """
        if not isinstance(message, Mapping):
            raise InvalidValueError("message", f"must be a dict, not {type(message).__name__}")
        role = check_text("role", message.get("role"))
        # A content of None is kept apart from none at all, for what `to_openai` returns is equal.
        kept = {"role", "content"} if message.get("content") is not None else {"role"}
        given = {} if id is None else {"id": check_id("id", id)}
        return cls(
            **given,
            conversation_id=check_id("conversation_id", conversation_id),
            role=role,
            content=message.get("content"),
            data={name: value for name, value in message.items() if name not in kept},
            created_at=created_at,
        )

    def to_openai(self) -> dict[str, Any]:
        """Return OpenAI's chat form: of a message from `from_openai` what that was given, equal."""
        told = {"role": self.role} if self.content is None else {"role": self.role, "content": self.content}
        return {**told, **{name: value for name, value in self.data.items() if name not in told}}


class Preview(Value):
    """The start of a message, as lists of sessions show it.

    Attributes:
        text: The first 200 characters of the message's text; empty when it has none.
    """

    id: str
    conversation_id: str
    role: str
    text: str
    created_at: Time


class SessionParticipant(Value):
    """One who is bound to a session; `list_chat_turns` reads the turns.

    Attributes:
        participant: The participant's id.
        chat_turn_count: How many chat turns came in so far, which is the newest one's number.
        insights: What integrations found in the turns, in order.
        last_integration_turn: The number of the last turn that was integrated; None before the first.
    """

    participant: str
    bound_at: Time
    chat_turn_count: int = 0
    insights: list[JsonValue] = Field(default_factory=list)
    last_integration_turn: int | None = None


class SessionFields(Value):
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
    updated_at: Time
    deleted_at: Time | None = None


class Session(SessionFields):
    """A session without its messages; `list_messages` reads those.

    Attributes:
        id: Unique within its namespace.
        data: The session's own content, replaced whole by an update.
        metadata: Notes about the session, merged key by key by an update.
        participants: Those bound to it, in the order in which they were.
        count: How many messages it holds.
        last: The newest message, shortened; None in an empty session.
        has_context: Whether context messages are stored.
        revision: Grows with every change of what is shown here, but for messages that are no chat turns
            and for the context; hand it back to change only what you have seen.
        updated_at: The newest activity: a message, a change of the session or of its context.
        deleted_at: When it was soft-deleted; None while it is open.
    """

    participants: list[SessionParticipant] = Field(default_factory=list)
    count: int = 0
    has_context: bool = False


class Conversation(Value):
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


class Layout(Value):
    """Where the messages of a session lie; the place of a deleted one counts as long as it is kept.

    Attributes:
        embedded: How many of them, the newest, are in the session's own document.
        sealed: How many older ones have moved to segments.
        segments: How many segments there are.
    """

    embedded: int
    sealed: int
    segments: int


class ChatTurn(Value):
    """Something said by or to a participant, kept as a message of the session.

    Attributes:
        role: Who speaks, such as `user` or `assistant`.
        content: Any JSON value.
        number: From 1 among the participant's turns; set by the store. It never changes and never goes
            to another turn until the session is truncated or the participant unbound.
        created_at: When it was first stored, aware UTC; set by the store unless given.
    """

    role: Text
    content: JsonValue = None
    number: Annotated[int | None, StoreOwned()] = None
    created_at: Time | None = None


class Integrator(Protocol):
    """Makes insights, JSON values, of a participant's new chat turns, as a coroutine or blocking."""

    def __call__(
        self, participant: str, turns: Sequence[ChatTurn], /
    ) -> Sequence[Any] | Awaitable[Sequence[Any]]:
        """Return the insights."""


class IntegrationStatus(StrEnum):
    """What became of a participant's new chat turns."""

    INTEGRATED = "integrated"
    NOTHING_NEW = "nothing_new"
    FAILED = "failed"


class ParticipantIntegration(Value):
    """What an integration did for one participant.

    Attributes:
        turns_integrated: How many chat turns it has covered.
        last_integration_turn: The number of the last turn covered by now; None before the first.
        error: The type of what was raised, as a rule by the integrator; None unless the status is `failed`.
    """

    participant: str
    status: IntegrationStatus
    turns_integrated: int = 0
    insights_added: int = 0
    last_integration_turn: int | None = None
    error: str | None = None


class Integration(Value):
    """What an integration did.

    Attributes:
        session: The session afterwards.
        results: One for each participant that was bound when it began, in the order of binding.
    """

    session: Session
    results: list[ParticipantIntegration]


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


class Change(Value):
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
