"""How what is noted about rooms is stored: tasks, observations, marks, reservations and leases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from beanie import Document
from pydantic import BaseModel

from mongostore.documents.rooms import key_of
from mongostore.documents.stored import SCHEMA_VERSION, Raw, given, read_as, record, sized
from mongostore.models import Observation, Task, VoiceDelivery
from mongostore.values import check_flag, check_id, pack_object, unpack


class TaskFields(BaseModel):
    """A task. `token` names the call that stored it."""

    id: str
    room_id: str
    status: str
    position: int
    data: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class ObservationFields(BaseModel):
    """An observation. `token` names the call that stored it."""

    id: str
    room_id: str
    position: int
    data: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class ReadMarkerFields(BaseModel):
    """The highest index of a room that a channel has read."""

    id: dict[str, str]
    room_id: str
    channel_id: str
    index: int


class VoiceDeliveryFields(BaseModel):
    """A reserved injection of speech."""

    id: dict[str, str]
    room_id: str
    key: str
    content_hash: str
    attempt_id: str
    outcome: Any = None
    retryable: bool
    data: Any = {}
    schema_version: int = SCHEMA_VERSION


class LeaseFields(BaseModel):
    """A lease; its end is a date, which the server compares with its own clock."""

    id: str
    owner: str
    token: int
    expires_at: datetime
    renewals: int = 0


class TaskDocument(TaskFields, Document):
    """How tasks are stored."""

    class Settings:
        """Where they are stored."""

        name = "tasks"


class ObservationDocument(ObservationFields, Document):
    """How observations are stored."""

    class Settings:
        """Where they are stored."""

        name = "observations"


class ReadMarkerDocument(ReadMarkerFields, Document):
    """How read markers are stored."""

    class Settings:
        """Where they are stored."""

        name = "read_markers"


class VoiceDeliveryDocument(VoiceDeliveryFields, Document):
    """How voice deliveries are stored."""

    class Settings:
        """Where they are stored."""

        name = "voice_deliveries"


class LeaseDocument(LeaseFields, Document):
    """How leases are stored."""

    class Settings:
        """Where they are stored."""

        name = "leases"


def to_stored_task(task: Task) -> Raw:
    """Return a task in its stored form, without its place.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    task = given("task", task, Task)
    return record("task", task.id, task.data, room_id=check_id("room_id", task.room_id), status=task.status)


def to_task(raw: Raw) -> Task:
    """Return a stored task as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "task",
        raw,
        lambda: Task(id=raw["_id"], room_id=raw["room_id"], status=raw["status"], data=unpack(raw["data"])),
    )


def to_stored_observation(observation: Observation) -> Raw:
    """Return an observation in its stored form, without its place.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    observation = given("observation", observation, Observation)
    room_id = check_id("room_id", observation.room_id)
    return record("observation", observation.id, observation.data, room_id=room_id)


def to_observation(raw: Raw) -> Observation:
    """Return a stored observation as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "observation",
        raw,
        lambda: Observation(id=raw["_id"], room_id=raw["room_id"], data=unpack(raw["data"])),
    )


def to_stored_delivery(delivery: VoiceDelivery) -> Raw:
    """Return a voice delivery in its stored form.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    delivery = given("delivery", delivery, VoiceDelivery)
    room_id, key = check_id("room_id", delivery.room_id), check_id("key", delivery.key)
    return sized(
        f"voice delivery {delivery.key!r}",
        {
            "_id": key_of(room_id, key),
            "room_id": room_id,
            "key": key,
            "content_hash": check_id("content_hash", delivery.content_hash),
            "attempt_id": check_id("attempt_id", delivery.attempt_id),
            "outcome": None if delivery.outcome is None else pack_object("outcome", delivery.outcome),
            "retryable": check_flag("retryable", delivery.retryable),
            "data": pack_object("data", delivery.data),
            "schema_version": SCHEMA_VERSION,
        },
    )


def to_delivery(raw: Raw) -> VoiceDelivery:
    """Return a stored voice delivery as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "voice delivery",
        raw,
        lambda: VoiceDelivery.model_validate(
            {**raw, "outcome": unpack(raw["outcome"]), "data": unpack(raw["data"])}
        ),
    )
