"""The stored form of tasks, observations, read markers, voice deliveries and leases."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from mongostore.documents.mapping import Stored, StoredPart, reader, writer
from mongostore.documents.rooms import part_id
from mongostore.models import Observation, Task, VoiceDelivery


class StoredTask(Task, Stored):
    """A task. `ops` are the tokens of the operations that stored it and replaced it last."""

    position: int
    stored_at: int
    ops: list[str]


class StoredObservation(Observation, Stored):
    """An observation. `ops` has the token of the operation that stored it."""

    position: int
    stored_at: int
    ops: list[str]


class StoredReadMarker(StoredPart):
    """The highest index of a room that a channel has read."""

    id: dict[str, str]
    room_id: str
    channel_id: str
    index: int


class StoredVoiceDelivery(VoiceDelivery, Stored):
    """A reserved injection of speech."""


class StoredLease(StoredPart):
    """A lease; its end is a date, which the server compares with its own clock.

    One that stands for a request has its `answer`, if `answered` is its token.
    """

    id: str
    owner: str
    token: int
    expires_at: datetime
    milliseconds: int = 0
    renewals: int = 0
    answered: int = 0
    answer: dict[str, Any] = Field(default_factory=dict)


to_task: Final = reader(Task, "task")
to_stored_task: Final = writer(Task, "task")
to_observation: Final = reader(Observation, "observation")
to_stored_observation: Final = writer(Observation, "observation")
to_delivery: Final = reader(VoiceDelivery, "voice delivery")
to_stored_delivery: Final = writer(
    VoiceDelivery,
    "voice delivery",
    "key",
    "delivery",
    lambda delivery, stored: {"_id": part_id(stored["room_id"], stored["key"])},
)
