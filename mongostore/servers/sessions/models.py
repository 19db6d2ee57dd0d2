"""The requests and answers of the sessions service, and their making from stored sessions."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mongostore.models import Integration, Session, SessionParticipant, Turn

ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}$"
MAX_TURNS = 1000
MAX_PARTICIPANTS = 1000


def check_json(value: Any) -> Any:
    """Return a value that every reader of JSON takes.

    Raises:
        ValueError: If there is one that does not.
    """
    if not _is_json(value):
        raise ValueError("Numbers must be finite and texts without half a surrogate pair")
    return value


def _is_json(value: Any) -> bool:
    """Return whether every reader of JSON takes a value, which need not be so where Python has read it."""
    match value:
        case str():
            return _is_encodable(value)
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(map(_is_json, value)) and all(map(_is_json, value.values()))
    return True


def _is_encodable(text: str) -> bool:
    return text.isascii() or text == text.encode(errors="replace").decode()


Id = Annotated[str, Field(pattern=ID_PATTERN)]
Json = Annotated[Any, AfterValidator(check_json)]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]


class Model(BaseModel):
    """The base of requests and answers."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SessionCreateRequestV1(Model):
    """A new session."""

    id: Id | None = Field(None, description="Unique in the namespace; generated unless given.")
    name: str | None = Field(None, max_length=256)
    description: str | None = Field(None, max_length=4096)
    user_id: Id | None = Field(None, description="The user whose session it is.")
    data: JsonObject = Field(default={}, description="The session's own content.")
    metadata: JsonObject = Field(
        default={}, description="Notes about the session, by which lists can be filtered."
    )
    participants: list[Id] = Field(
        default=[],
        max_length=MAX_PARTICIPANTS,
        description="The participants to bind at once, in this order.",
        json_schema_extra={"uniqueItems": True},
    )

    @model_validator(mode="after")
    def _bind_once(self) -> SessionCreateRequestV1:
        if len({*self.participants}) < len(self.participants):
            raise ValueError("participants must be unique")
        return self


class SessionUpdateRequestV1(Model):
    """The members of a session to change; others stay, null clears."""

    name: str | None = Field(None, max_length=256)
    description: str | None = Field(None, max_length=4096)
    # No default that a schema would show: generated clients might send it, and clear the stored data.
    data: JsonObject = Field(default_factory=dict, description="Replaces the whole content.")
    user_id: Id | None = Field(None, description="The user whose session it is.")
    metadata: JsonObject = Field(
        default_factory=dict, description="Notes to change, key by key; null removes one."
    )


class ChatTurnV1(Model):
    """A message by or to a participant."""

    role: str = Field(min_length=1, max_length=128)
    content: Json = Field(description="Any JSON value.")


class ChatTurnsAppendRequestV1(Model):
    """Chat turns, appended all or none."""

    turns: list[ChatTurnV1] = Field(min_length=1, max_length=MAX_TURNS)


class StoredChatTurnV1(Model):
    """A chat turn as it is stored."""

    number: int = Field(description="From 1 among the participant's chat turns; it never changes.")
    role: str
    content: Any
    created_at: datetime


class ChatTurnPageV1(Model):
    """Some chat turns of a participant, in the order in which they were appended."""

    items: list[StoredChatTurnV1]
    next_cursor: str | None = Field(description="Where the next page starts; null on the last.")


class ChatTurnsV1(Model):
    """How many chat turns a participant has had."""

    chat_turn_count: int


class ContextV1(Model):
    """The context of a session."""

    value: Json = Field(description="Any JSON value, such as the prompt that a model was last sent.")


class ParticipantV1(Model):
    """A participant of a session."""

    participant: str
    bound_at: datetime
    chat_turn_count: int
    insights: list[Any]
    last_integration_turn: int | None = Field(description="The last chat turn, from 1, that was integrated.")


class SessionV1(Model):
    """A session."""

    id: str
    namespace: str
    name: str | None
    description: str | None
    user_id: str | None
    data: dict[str, Any]
    metadata: dict[str, Any]
    message_count: int
    participants: list[ParticipantV1] = Field(description="In the order in which they were bound.")
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class SessionPageV1(Model):
    """Some sessions, in the order in which they were created."""

    items: list[SessionV1]
    next_cursor: str | None = Field(description="Where the next page starts; null on the last.")


class ParticipantIntegrationV1(Model):
    """The result of an integration for one participant."""

    participant: str
    status: Literal["integrated", "nothing_new", "failed"]
    turns_integrated: int
    insights_added: int
    last_integration_turn: int | None
    error: str | None = Field(None, description="The kind of error, where the status is `failed`.")


class IntegrationResultV1(Model):
    """The result of an integration."""

    session: SessionV1
    results: list[ParticipantIntegrationV1] = Field(description="One for each participant that was bound.")


# Answers are made by hand: pydantic refuses values that are nested as deep as the store allows.


def to_session_v1(session: Session) -> dict[str, Any]:
    """Return a session as a SessionV1."""
    return {
        "id": session.id,
        "namespace": session.namespace,
        "name": to_json_safe(session.name),
        "description": to_json_safe(session.description),
        "user_id": to_json_safe(session.user_id),
        "data": to_json_safe(session.data),
        "metadata": to_json_safe(session.metadata),
        "message_count": session.count,
        "participants": [to_participant_v1(participant) for participant in session.participants],
        "created_at": session.created_at.isoformat(),
        "updated_at": session.active_at.isoformat(),
        "deleted_at": session.deleted_at and session.deleted_at.isoformat(),
    }


def to_participant_v1(participant: SessionParticipant) -> dict[str, Any]:
    """Return a participant as a ParticipantV1."""
    return {
        "participant": participant.id,
        "bound_at": participant.bound_at.isoformat(),
        "chat_turn_count": participant.turn_count,
        "insights": to_json_safe(participant.insights),
        "last_integration_turn": participant.integrated_until,
    }


def to_chat_turn_v1(turn: Turn) -> dict[str, Any]:
    """Return a chat turn as a StoredChatTurnV1."""
    return {
        "number": turn.number,
        "role": to_json_safe(turn.role),
        "content": to_json_safe(turn.content),
        "created_at": turn.created_at and turn.created_at.isoformat(),
    }


def to_integration_result_v1(integration: Integration) -> dict[str, Any]:
    """Return the result of an integration as an IntegrationResultV1."""
    results = [
        {
            "participant": result.participant_id,
            "status": result.status,
            "turns_integrated": result.turns_integrated,
            "insights_added": result.insights_added,
            "last_integration_turn": result.integrated_until,
            "error": result.error,
        }
        for result in integration.results
    ]
    return {"session": to_session_v1(integration.session), "results": results}


def to_json_safe(value: Any) -> Any:
    """Return a stored value in a form that every reader of JSON takes; other writers may have stored more."""
    match value:
        case str():
            return value if _is_encodable(value) else value.encode(errors="replace").decode()
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [*map(to_json_safe, value)]
        case dict():
            return {to_json_safe(key): to_json_safe(item) for key, item in value.items()}
    return value
