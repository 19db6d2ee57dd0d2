"""How what is noted about rooms is stored: tasks, observations, marks, reservations and leases."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from mongostore.documents.rooms import key_of
from mongostore.documents.stored import SCHEMA_VERSION, reader, writer
from mongostore.models import Observation, Task, VoiceDelivery


class StoredTask(Task):
    """A task. `token` names the call that stored it."""

    position: int
    token: str
    schema_version: int = SCHEMA_VERSION


class StoredObservation(Observation):
    """An observation. `token` names the call that stored it."""

    position: int
    token: str
    schema_version: int = SCHEMA_VERSION


class StoredReadMarker(BaseModel):
    """The highest index of a room that a channel has read."""

    id: dict[str, str]
    room_id: str
    channel_id: str
    index: int


class StoredVoiceDelivery(VoiceDelivery):
    """A reserved injection of speech."""

    schema_version: int = SCHEMA_VERSION


class StoredLease(BaseModel):
    """A lease; its end is a date, which the server compares with its own clock."""

    id: str
    owner: str
    token: int
    expires_at: datetime
    renewals: int = 0


to_task = reader(Task, "task")
to_stored_task = writer(Task, "task")
to_observation = reader(Observation, "observation")
to_stored_observation = writer(Observation, "observation")
to_delivery = reader(VoiceDelivery, "voice delivery")
to_stored_delivery = writer(
    VoiceDelivery,
    "voice delivery",
    "key",
    "delivery",
    lambda delivery, stored: {"_id": key_of(stored["room_id"], stored["key"])},
)
