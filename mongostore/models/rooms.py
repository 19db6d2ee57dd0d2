"""Rooms, their events and all that hangs on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field

from mongostore.errors import InvalidValueError
from mongostore.ids import generate_id
from mongostore.models.fields import (
    Addresses,
    Codec,
    Flag,
    Id,
    Ids,
    JsonObject,
    JsonValue,
    MergedMap,
    Scope,
    StoreOwned,
    Text,
    Time,
)
from mongostore.models.model import Model, Search


def _check_change(path: str, value: object) -> str:
    if isinstance(value, str) and value in ("edit", "delete"):
        return value
    raise InvalidValueError(path, "must be 'edit', 'delete' or None")


class Room(Model):
    """A conversation that several channels and participants share, without its events.

    Attributes:
        id: Unique; generated unless it is given.
        status: `active`, `paused`, `closed` or what else the service says. An event that counts as
            activity makes a paused room active.
        created_at: Set when it is stored, unless given; never changed after that.
        updated_at: When its members were last changed; likewise.
        active_at: When the last event that counts as activity was appended.
        expires_at: From when on it is not found any more; None for never.
        data: The room's own content, replaced whole by an update.
        metadata: Notes about the room, merged key by key by an update.
        event_count: How many events were ever appended; a deletion does not lower it.
        latest_index: The index of the newest one; None before the first.
        delivered_index: The index up to which all events are delivered; -1 before the first.
    """

    id: Id = Field(default_factory=generate_id)
    organization_id: Id | None = None
    status: Id = "active"
    created_at: Time | None = None
    updated_at: Time | None = None
    paused_at: Time | None = None
    closed_at: Time | None = None
    active_at: Time | None = None
    expires_at: Time | None = None
    data: JsonObject = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)
    event_count: Annotated[int, StoreOwned()] = 0
    latest_index: Annotated[int | None, StoreOwned()] = None
    delivered_index: Annotated[int, StoreOwned()] = -1


class RoomCreate(TypedDict, total=False):
    """The members that a new room can be given; counters too, for a room that comes from elsewhere.

    `next_index` is the index of its next event, if that is above `latest_index` + 1.
    """

    organization_id: str | None
    status: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    active_at: datetime | None
    paused_at: datetime | None
    closed_at: datetime | None
    expires_at: datetime | None
    expires_in: timedelta
    event_count: int
    latest_index: int | None
    delivered_index: int
    next_index: int


class RoomUpdate(TypedDict, total=False):
    """The members of a room that an update can change; the others stay.

    Attributes:
        metadata: Merged key by key; None removes a key.
        unset: Keys to remove, as `metadata.<key>`; if it is given, even empty, None in `metadata` is a value.
    """

    organization_id: str | None
    status: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    unset: Sequence[str]
    active_at: datetime | None
    paused_at: datetime | None
    closed_at: datetime | None
    expires_at: datetime | None
    expires_in: timedelta


@dataclass(frozen=True, slots=True)
class RoomState:
    """What a room must still be for a guarded replacement; times are compared to the microsecond."""

    status: str
    paused_at: datetime | None
    active_at: datetime | None


class RoomFilter(TypedDict, total=False):
    """Which rooms are meant.

    Attributes:
        status: The room's status, or one of these.
    """

    status: str | Sequence[str]
    organization_id: str


class RoomSearch(RoomFilter, Search, total=False):
    """Which rooms a list has."""


class Event(Model):
    """One event of a room: a message, an edit, a tool call, anything that takes a place in its timeline.

    `content`, `data`, `metadata` and `delivery_results` hold JSON values of any shape and come back equal.

    Attributes:
        id: Unique in the store; generated unless it is given.
        room_id: Set by the store; if it is given, it must be the room that the verb names.
        index: Its place in the room, from 0, given by the room; never given twice.
        type: Such as `message`, `edit` or `delete`.
        status: Such as `pending` or `delivered`; lists pass over what is `blocked` unless asked.
        channel_id: The channel it came from.
        participant_id: Who sent it there.
        parent_event_id: The first event of the thread that it replies in.
        responds_to: The event that it answers.
        correlation_id: Groups events of one doing.
        idempotency_key: Taken by one event of a room and channel; nothing with a taken key is stored.
        change: Whether it edits or deletes another event, and `target_event_id` which one.
        data: What belongs to the event, replaced whole by an update.
        metadata: What was noted about it; `deleted` there says that a delete took its content back.
        delivery_results: The results of its delivery; a replacement leaves them.
    """

    id: Id = Field(default_factory=generate_id)
    room_id: Id | None = None
    index: Annotated[int | None, StoreOwned()] = None
    type: Id = "message"
    status: Id = "delivered"
    visibility: Text = "all"
    channel_id: Id
    channel_type: Id | None = None
    participant_id: Id | None = None
    content: JsonValue = None
    parent_event_id: Id | None = None
    responds_to: Id | None = None
    correlation_id: Id | None = None
    idempotency_key: Id | None = None
    change: Annotated[Literal["edit", "delete"], Codec(_check_change)] | None = None
    target_event_id: Id | None = None
    created_at: Time | None = None
    data: JsonObject = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)
    delivery_results: JsonObject = Field(default_factory=dict)


class EventUpdate(TypedDict, total=False):
    """The members of an event that an update can change; the others stay.

    Attributes:
        metadata: Merged key by key; None removes a key.
        delivery_results: Replaced whole.
    """

    status: str
    visibility: str
    content: Any
    data: dict[str, Any]
    metadata: dict[str, Any]
    delivery_results: dict[str, Any]


class EventFilter(TypedDict, total=False):
    """Which events of a room are meant.

    Attributes:
        types: The event's type is one of these.
        exclude_types: It is none of these.
        top_level: It replies to no other event.
        created_after: It was created later than this; to the microsecond, as `created_before`.
        blocked: Whether blocked events are meant as well.
    """

    types: Sequence[str]
    exclude_types: Sequence[str]
    visibility: str
    channel_id: str
    channel_type: str
    participant_id: str
    correlation_id: str
    responds_to: str
    parent_event_id: str
    top_level: bool
    created_after: datetime
    created_before: datetime
    blocked: bool


@dataclass(frozen=True, slots=True)
class ReplySummary:
    """The replies to one event, summed up.

    Attributes:
        count: How many there are, without the blocked ones.
        last_reply_at: When the newest was created.
    """

    event_id: str
    count: int
    last_reply_at: datetime


class Binding(Model):
    """A channel's attachment to a room.

    Attributes:
        participant_id: The one correspondent whom the channel reaches in this room.
        group: Whether several correspondents share it.
        data: What belongs to the binding.
        metadata: Notes about it. Where it names no correspondent and is no group, a value here can be the
            address that it was made for (see `store.rooms.find_by_binding`).
    """

    room_id: Id | None = None
    channel_id: Id
    channel_type: Id | None = None
    participant_id: Id | None = None
    group: Flag = False
    data: JsonObject = Field(default_factory=dict)
    metadata: MergedMap = Field(default_factory=dict)


class RoomParticipant(Model):
    """Somebody in a room.

    Attributes:
        id: Unique within the room.
        identity_id: The identity behind it, once it is known.
        channel_ids: The channels through which the room has reached this participant.
    """

    room_id: Id | None = None
    id: Id
    identity_id: Id | None = None
    channel_ids: Ids = Field(default_factory=list)
    data: JsonObject = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FullRoom:
    """A room with its bindings and participants, in the order in which they came."""

    room: Room
    bindings: list[Binding]
    participants: list[RoomParticipant]


class Identity(Model):
    """A person, whatever addresses they write from.

    Attributes:
        addresses: By the type of channel. Within an organization an address belongs to one identity.
    """

    id: Id = Field(default_factory=generate_id)
    organization_id: Scope = None
    addresses: Addresses = Field(default_factory=dict)
    data: JsonObject = Field(default_factory=dict)


class Verification(Model):
    """Whether an identity has proved to be who they say, within an organization.

    Attributes:
        status: Such as `unverified` or `verified`.
        expires_at: When a proof ends; None for never.
    """

    identity_id: Id
    organization_id: Scope = None
    status: Id
    expires_at: Time | None = None
    data: JsonObject = Field(default_factory=dict)


class VerificationRequest(Model):
    """An identity that is asked to prove who they are."""

    id: Id = Field(default_factory=generate_id)
    identity_id: Id
    data: JsonObject = Field(default_factory=dict)


class Task(Model):
    """Something to be done, noted in a room."""

    id: Id = Field(default_factory=generate_id)
    room_id: Id | None = None
    status: Id = "pending"
    data: JsonObject = Field(default_factory=dict)


class Observation(Model):
    """Something that was noticed in a room."""

    id: Id = Field(default_factory=generate_id)
    room_id: Id | None = None
    data: JsonObject = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadMarker:
    """The highest index of a room's events that a channel has read."""

    room_id: str
    channel_id: str
    index: int


class VoiceDelivery(Model):
    """One reserved injection of speech, kept until its room is deleted.

    Attributes:
        key: Names the injection within its room.
        content_hash: What is to be said; a retry must say the same.
        attempt_id: Who reserved it; only they may complete it.
        outcome: What became of it; None while nothing is known.
        retryable: Whether the outcome allows another attempt.
    """

    room_id: Id | None = None
    key: Id
    content_hash: Id
    attempt_id: Id = Field(default_factory=generate_id)
    outcome: JsonObject | None = None
    retryable: Flag = False
    data: JsonObject = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do something alone until it ends.

    Attributes:
        owner: Who has it.
        token: Grows with every lease of that name: whoever sees a higher one knows that this one is over.
        seconds: How long it lasted when it was given or renewed, by the server's clock.
    """

    name: str
    owner: str
    token: int
    seconds: float
