"""The requests and answers of the operations on messages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from mongostore.models import Message
from mongostore.servers.sessions.models import ID_PATTERN, Id, Json, JsonObject, Model, to_json_safe

MAX_MESSAGES = 1000
# A message of that id could not be read: its path is that of the stream.
STREAM = "stream"


def _check_no_path(id: str) -> str:
    if id == STREAM:
        raise ValueError(f"{STREAM} is a path of the service")
    return id


MessageId = Annotated[
    str,
    Field(pattern=ID_PATTERN, json_schema_extra={"not": {"const": STREAM}}),
    AfterValidator(_check_no_path),
]
Role = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(to_json_safe)]


class MessageCreateV1(Model):
    """A message to append."""

    id: MessageId | None = Field(None, description="Unique in the session; generated unless set.")
    conversation_id: Id = Field("default", description="Groups the messages of a session.")
    role: Role = Field(description="The speaker, such as `user` or `assistant`.")
    content: Json = Field(None, description="Any JSON value.")
    data: JsonObject = Field(default={}, description="The members of the message, such as tool calls.")
    metadata: JsonObject = Field(default={}, description="Remarks about the message.")
    created_at: AwareDatetime | None = Field(None, description="When it was said, if not now.")


class MessagesAppendRequestV1(Model):
    """Messages, appended all or none."""

    messages: list[MessageCreateV1] = Field(
        min_length=1, max_length=MAX_MESSAGES, examples=[[{"role": "user", "content": "Who painted them?"}]]
    )


class MessageUpdateRequestV1(Model):
    """The members of a message to change; others stay."""

    # No defaults that a schema would show: generated clients might send them, and clear what is stored.
    conversation_id: Id = Field(default_factory=str)
    role: Role = Field(default_factory=str)
    content: Json = Field(
        default_factory=lambda: None, description="Any JSON value.", examples=["Who painted the roses?"]
    )
    data: JsonObject = Field(default_factory=dict, description="Replaces the whole.")
    metadata: JsonObject = Field(default_factory=dict, description="Changed key by key; null removes one.")


class MessageV1(Model):
    """A message."""

    id: str
    conversation_id: str
    role: str
    content: Any
    data: dict[str, Any]
    metadata: dict[str, Any]
    status: Literal["streaming", "complete", "interrupted"] = Field(
        description="Whether it is being written, is whole, or lost its writer before its end."
    )
    position: int | None = Field(
        description="Its place in the session, from 0; null for one that was removed again."
    )
    created_at: datetime
    updated_at: datetime


class MessagesV1(Model):
    """The messages that were appended."""

    messages: list[MessageV1]


class MessagePageV1(Model):
    """Some messages of a session, in the order in which they were appended."""

    items: list[MessageV1]
    next_cursor: str | None = Field(description="Where the next page starts; null on the last.")


def to_message(created: MessageCreateV1, generated_id: str | None) -> Message:
    """Return the message to append.

    Args:
        created: The message of the request.
        generated_id: The id of a message that has none, if the store is not to generate it.
    """
    id = created.id or generated_id
    return Message(**created.model_dump(exclude={"id"}), **({} if id is None else {"id": id}))


def to_message_v1(message: Message) -> dict[str, Any]:
    """Return a message as a MessageV1."""
    assert message.created_at, "a stored message has its times"
    assert message.updated_at, "a stored message has its times"
    return {
        "id": to_json_safe(message.id),
        "conversation_id": to_json_safe(message.conversation_id),
        "role": to_json_safe(message.role),
        "content": to_json_safe(message.content),
        "data": to_json_safe(message.data),
        "metadata": to_json_safe(message.metadata),
        "status": message.status,
        "position": message.position,
        "created_at": message.created_at.isoformat(),
        "updated_at": message.updated_at.isoformat(),
    }
