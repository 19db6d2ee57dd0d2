"""RoomKit's records as values of the store, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from pydantic import BaseModel
from roomkit.models.channel import ChannelBinding
from roomkit.models.event import RoomEvent
from roomkit.models.identity import Identity
from roomkit.models.participant import Participant
from roomkit.models.room import Room
from roomkit.models.store_filter import EventFilter, RoomFilter
from roomkit.models.task import Observation, Task
from roomkit.models.verification import Verification, VerificationRequest
from roomkit.models.voice_delivery import VoiceDeliveryRecord

from mongostore import models
from mongostore.errors import InvalidDocumentError
from mongostore.unreadable import log_unreadable

Json = dict[str, Any]
S = TypeVar("S", bound=BaseModel)
R = TypeVar("R")


def _reads(kind: str, name: str = "id") -> Callable[[Callable[[S], R]], Callable[[S], R]]:
    """Have a conversion name what others have stored in the shape of their own, by a member of it."""

    def decorate(convert: Callable[[S], R]) -> Callable[[S], R]:
        @functools.wraps(convert)
        def read(stored: S) -> R:
            try:
                return convert(stored)
            except (KeyError, TypeError, ValueError):
                raise InvalidDocumentError(kind, getattr(stored, name), ("data",)) from None

        return read

    return decorate


def read_all(convert: Callable[[S], R], stored: Iterable[S]) -> list[R]:
    """Return what RoomKit can read of some stored records, and log the rest."""
    records, errors = list[R](), list[InvalidDocumentError]()
    for one in stored:
        try:
            records.append(convert(one))
        except InvalidDocumentError as error:
            errors.append(error)
    log_unreadable(errors)
    return records


def _dump(record: BaseModel) -> Json:
    # Callers assign plain strings to members that are enums: no reason to warn.
    return record.model_dump(mode="json", warnings=False)


def to_utc(time: datetime | None) -> datetime | None:
    """Return a time as RoomKit reads it: one without a zone is in UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def from_room(room: Room) -> models.Room:
    """Return a room as it is stored."""
    timers = room.timers.model_dump(mode="json", exclude={"last_activity_at"})
    return models.Room(
        id=room.id,
        organization_id=room.organization_id,
        status=str(room.status),
        created_at=to_utc(room.created_at),
        updated_at=to_utc(room.updated_at),
        paused_at=to_utc(room.paused_at),
        closed_at=to_utc(room.closed_at),
        active_at=to_utc(room.timers.last_activity_at),
        data={"timers": timers, "agent_response_policy": str(room.agent_response_policy)},
        metadata=_dump(room)["metadata"],
        event_count=room.event_count,
        latest_index=room.latest_index,
        delivered_index=room.delivered_index,
    )


@_reads("room")
def to_room(room: models.Room) -> Room:
    """Return a stored room as RoomKit knows it."""
    # RoomKit passes over the members that it does not know; lists have many rooms, and no look at each.
    timers = {**room.data.get("timers", {}), "last_activity_at": room.active_at}
    return Room.model_validate({**room.data, **room.__dict__, "timers": timers})


def room_members(room: Room) -> models.RoomCreate:
    """Return the members of a new room."""
    stored = from_room(room)
    names = models.RoomCreate.__annotations__.keys() & models.Room.model_fields.keys()
    members = {name: getattr(stored, name) for name in names}
    return cast(models.RoomCreate, members)


def room_filter(
    where: RoomFilter | None = None, *, status: str | None = None, organization_id: str | None = None
) -> models.RoomFilter:
    """Return the filter of rooms."""
    filter = models.RoomFilter()
    if where is not None:
        organization_id = where.organization_id
        if (statuses := _texts(where.statuses)) is not None:
            filter["status"] = statuses
    elif status is not None:
        filter["status"] = str(status)
    if organization_id is not None:
        filter["organization_id"] = organization_id
    return filter


def from_event(event: RoomEvent, room_id: str) -> models.Event:
    """Return an event as it is stored in a room."""
    # What is None is so by default, and left out: that is most of an event's members.
    data = event.model_dump(mode="json", warnings=False, exclude_none=True)
    source, content = data["source"], data.pop("content")
    change = content["type"] if content["type"] in ("edit", "delete") else None
    lifted = {name: data.pop(name, None) for name in _LIFTED}
    return models.Event(
        **lifted,
        room_id=room_id,
        created_at=to_utc(event.created_at),
        channel_id=source.pop("channel_id"),
        channel_type=source.pop("channel_type"),
        participant_id=source.pop("participant_id", None),
        content=content,
        change=change,
        target_event_id=content["target_event_id"] if change else None,
        data={name: value for name, value in data.items() if name not in ("room_id", "created_at")},
    )


_LIFTED = (
    *("id", "index", "type", "status", "visibility", "parent_event_id", "responds_to", "correlation_id"),
    *("idempotency_key", "metadata", "delivery_results"),
)


@_reads("event")
def to_event(event: models.Event) -> RoomEvent:
    """Return a stored event as RoomKit knows it."""
    source = {
        **event.data["source"],
        "channel_id": event.channel_id,
        "channel_type": event.channel_type,
        "participant_id": event.participant_id,
    }
    return RoomEvent.model_validate({**event.data, **event.__dict__, "source": source})


def event_filter(where: EventFilter | None, visibility: str | None = None) -> models.EventFilter:
    """Return the filter of events; a visibility of the filter's own goes before the other one."""
    if where is None:
        return {} if visibility is None else {"visibility": visibility}
    filter = {
        "types": _texts(where.event_types),
        "exclude_types": _texts(where.exclude_types),
        "visibility": visibility if where.visibility is None else where.visibility,
        "channel_id": where.source_channel_id,
        "channel_type": where.source_channel_type and str(where.source_channel_type),
        "participant_id": where.participant_id,
        "correlation_id": where.correlation_id,
        "responds_to": where.responds_to,
        "parent_event_id": where.parent_event_id,
        "top_level": where.top_level_only,
        "created_after": to_utc(where.after_time),
        "created_before": to_utc(where.before_time),
        "blocked": where.include_blocked,
    }
    named = {name: value for name, value in filter.items() if value is not None}
    return cast(models.EventFilter, named)


def _texts(values: Iterable[object] | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]


def from_binding(binding: ChannelBinding) -> models.Binding:
    """Return a binding as it is stored."""
    data = _dump(binding)
    lifted = {
        name: data.pop(name)
        for name in ("room_id", "channel_id", "channel_type", "participant_id", "group", "metadata")
    }
    return models.Binding(**lifted, data=data)


@_reads("binding", "channel_id")
def to_binding(binding: models.Binding) -> ChannelBinding:
    """Return a stored binding as RoomKit knows it."""
    return ChannelBinding.model_validate({**binding.__dict__, **binding.data})


def from_participant(participant: Participant) -> models.RoomParticipant:
    """Return a participant as it is stored."""
    data = _dump(participant)
    lifted = {name: data.pop(name) for name in ("room_id", "id", "identity_id")}
    return models.RoomParticipant(**lifted, channel_ids=data.pop("connected_via"), data=data)


@_reads("participant")
def to_participant(participant: models.RoomParticipant) -> Participant:
    """Return a stored participant as RoomKit knows it."""
    known = {**participant.data, **participant.__dict__, "connected_via": participant.channel_ids}
    return Participant.model_validate(known)


def from_identity(identity: Identity) -> models.Identity:
    """Return an identity as it is stored."""
    data = _dump(identity)
    lifted = {name: data.pop(name) for name in ("id", "organization_id")}
    return models.Identity(**lifted, addresses=data.pop("channel_addresses"), data=data)


@_reads("identity")
def to_identity(identity: models.Identity) -> Identity:
    """Return a stored identity as RoomKit knows it."""
    members = {
        "id": identity.id,
        "organization_id": identity.organization_id,
        "channel_addresses": identity.addresses,
    }
    return Identity.model_validate({**identity.data, **members})


def from_verification(verification: Verification) -> models.Verification:
    """Return a verification as it is stored."""
    return models.Verification(
        identity_id=verification.identity_id,
        organization_id=verification.organization_id,
        status=str(verification.status),
        expires_at=to_utc(verification.expires_at),
        data=_dump(verification),
    )


@_reads("verification", "identity_id")
def to_verification(verification: models.Verification) -> Verification:
    """Return a stored verification as RoomKit knows it."""
    return Verification.model_validate(verification.data)


def from_request(request: VerificationRequest) -> models.VerificationRequest:
    """Return a request as it is stored."""
    return models.VerificationRequest(id=request.id, identity_id=request.identity_id, data=_dump(request))


@_reads("verification request")
def to_request(request: models.VerificationRequest) -> VerificationRequest:
    """Return a stored request as RoomKit knows it."""
    return VerificationRequest.model_validate(request.data)


def from_task(task: Task) -> models.Task:
    """Return a task as it is stored."""
    return models.Task(id=task.id, room_id=task.room_id, status=str(task.status), data=_dump(task))


@_reads("task")
def to_task(task: models.Task) -> Task:
    """Return a stored task as RoomKit knows it."""
    return Task.model_validate(task.data)


def from_observation(observation: Observation) -> models.Observation:
    """Return an observation as it is stored."""
    return models.Observation(id=observation.id, room_id=observation.room_id, data=_dump(observation))


@_reads("observation")
def to_observation(observation: models.Observation) -> Observation:
    """Return a stored observation as RoomKit knows it."""
    return Observation.model_validate(observation.data)


def from_delivery(record: VoiceDeliveryRecord) -> models.VoiceDelivery:
    """Return a reservation as it is stored."""
    data = _dump(record)
    return models.VoiceDelivery(
        room_id=record.room_id,
        key=record.key_hash,
        content_hash=record.content_hash,
        attempt_id=record.attempt_id,
        outcome=data.pop("outcome"),
        retryable=record.retryable,
        data=data,
    )


@_reads("voice delivery", "key")
def to_delivery(delivery: models.VoiceDelivery) -> VoiceDeliveryRecord:
    """Return a stored reservation as RoomKit knows it."""
    return VoiceDeliveryRecord.model_validate({**delivery.data, "outcome": delivery.outcome})
