"""The units of a source: what is stored, compared and counted as one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mongostore.models import (
    Binding,
    Element,
    Event,
    Feedback,
    Identity,
    Message,
    Observation,
    RoomCreate,
    RoomParticipant,
    SessionParticipant,
    Task,
    ThreadMessage,
    Turn,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)


@dataclass(frozen=True)
class Refusal:
    """A row that is not stored as it is in the source.

    Attributes:
        table: The table, collection or file of the source.
        key: The row in it.
        reason: Why, without what the row holds.
    """

    table: str
    key: str
    reason: str


@dataclass(frozen=True)
class FileUnit:
    """A file that belongs to a unit.

    Attributes:
        read: Returns the content, each time anew.
        data: The other members of the file.
    """

    key: str
    read: Callable[[], bytes | Path]
    content_type: str = "application/octet-stream"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UserUnit:
    """A user of threads; `members` is what `users.create` takes beside the identifier."""

    identifier: str
    members: dict[str, Any]


@dataclass(frozen=True)
class SessionUnit:
    """A session with its messages.

    Attributes:
        namespace: The namespace that the source asks for; None for that of the options.
        members: The arguments of `sessions.create` beside the id.
        messages: In their order; may be read once only.
        context: The context in a list of its own; empty if there is none.
        participants: Those bound to it, with their insights.
        turns: Returns the turns of a participant, in order; each may be read once only.
        is_tree: Whether a later state of the source may have changed conversation ids, data and metadata
            of the same messages, and put new ones between them.
    """

    id: str
    members: dict[str, Any]
    messages: Iterable[Message]
    namespace: str | None = None
    context: list[Any] = field(default_factory=list)
    files: Sequence[FileUnit] = ()
    participants: Sequence[SessionParticipant] = ()
    turns: Callable[[str], Iterable[Turn]] = lambda participant_id: ()
    is_tree: bool = False


@dataclass(frozen=True)
class ThreadUnit:
    """A thread with its messages, elements and files.

    Attributes:
        members: The arguments of `threads.create` beside the id.
        user_identifier: The identifier of its user, if the user may be stored with another id.
        messages: In their order, each with its time; may be read once only.
    """

    id: str
    members: dict[str, Any]
    messages: Iterable[ThreadMessage]
    user_identifier: str | None = None
    feedback: Sequence[Feedback] = ()
    elements: Sequence[Element] = ()
    files: Sequence[FileUnit] = ()


@dataclass(frozen=True)
class LooseMessageUnit:
    """A message that belongs to no thread."""

    message: ThreadMessage


@dataclass(frozen=True)
class RoomUnit:
    """A room with all that belongs to it.

    Attributes:
        members: The arguments of `rooms.create` beside the id, its counters among them.
        events: By their indexes; may be read once only.
        private: The room's private values by their keys.
        read_markers: The index that each channel has read.
    """

    id: str
    members: RoomCreate
    events: Iterable[Event]
    private: dict[str, Any] = field(default_factory=dict)
    bindings: Sequence[Binding] = ()
    participants: Sequence[RoomParticipant] = ()
    tasks: Sequence[Task] = ()
    observations: Sequence[Observation] = ()
    read_markers: dict[str, int] = field(default_factory=dict)
    voice_deliveries: Sequence[VoiceDelivery] = ()


@dataclass(frozen=True)
class RecordUnit:
    """Something that belongs to no room."""

    record: Identity | Verification | VerificationRequest


Unit = UserUnit | SessionUnit | ThreadUnit | LooseMessageUnit | RoomUnit | RecordUnit | FileUnit
