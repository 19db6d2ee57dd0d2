"""How rooms, their events and all that hangs on them are stored.

Times are microseconds since 1970. A key of two parts is a document, whose order counts: `key_of` makes it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from beanie import Document
from pydantic import BaseModel

from mongostore.documents.stored import SCHEMA_VERSION, UNREADABLE, Raw, check_size, fields_of, given, sized
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import Binding, Event, Room, RoomParticipant
from mongostore.values import (
    MAX_ID_BYTES,
    check_flag,
    check_id,
    check_list,
    check_text,
    from_micros,
    pack,
    pack_members,
    pack_object,
    to_micros,
    unpack,
    unpack_members,
)

# A room's times, with their stored names.
ROOM_TIMES = {
    **{name: name for name in ("created_at", "updated_at", "paused_at", "closed_at")},
    "active_at": "last_activity_at",
}
# What a change of an event leaves as it is.
_EVENT_KEPT = {"_id", "room_id", "created_at", "delivery_results"}


class RoomFields(BaseModel):
    """A room, with the counters that its events move and what the service keeps for itself in `private`.

    `next_index` is the next event's, `next_position` that of the next binding, participant, task or
    observation. `state` is `open` or `purging`: its parts are being removed. `revised_by` and
    `delivered_by` name the calls that last did these, by which a retried call knows its own doing.
    """

    id: str
    organization_id: str | None = None
    status: str
    created_at: int
    updated_at: int
    paused_at: int | None = None
    closed_at: int | None = None
    last_activity_at: int | None = None
    data: Any = {}
    metadata: dict[str, Any] = {}
    private: dict[str, Any] = {}
    event_count: int = 0
    latest_index: int | None = None
    delivered_index: int = -1
    next_index: int = 0
    next_position: int = 0
    state: str = "open"
    revised_by: str | None = None
    delivered_by: str | None = None
    schema_version: int = SCHEMA_VERSION


class EventFields(BaseModel):
    """An event; members without a value are left out. `token` names the call that stored it."""

    id: str
    room_id: str
    index: int
    type: str
    status: str
    visibility: str
    channel_id: str
    channel_type: str | None = None
    participant_id: str | None = None
    content: Any = None
    parent_event_id: str | None = None
    responds_to: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    change: str | None = None
    target_event_id: str | None = None
    created_at: int
    data: Any = {}
    metadata: dict[str, Any] = {}
    delivery_results: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class BindingFields(BaseModel):
    """A binding, with the room's time for its place among the rooms, and the names that find it."""

    id: dict[str, str]
    room_id: str
    channel_id: str
    channel_type: str | None = None
    participant_id: str | None = None
    group: bool
    position: int
    room_created_at: int
    names: list[str]
    data: Any = {}
    metadata: dict[str, Any] = {}
    schema_version: int = SCHEMA_VERSION


class ParticipantFields(BaseModel):
    """A participant; `routes` are each of the channels with each of the names."""

    id: dict[str, str]
    room_id: str
    participant_id: str
    identity_id: str | None = None
    channel_ids: list[str]
    position: int
    room_created_at: int
    routes: list[str]
    data: Any = {}
    schema_version: int = SCHEMA_VERSION


class RoomDocument(RoomFields, Document):
    """How rooms are stored."""

    class Settings:
        """Where they are stored."""

        name = "rooms"


class EventDocument(EventFields, Document):
    """How events are stored."""

    class Settings:
        """Where they are stored."""

        name = "events"


class BindingDocument(BindingFields, Document):
    """How bindings are stored."""

    class Settings:
        """Where they are stored."""

        name = "bindings"


class ParticipantDocument(ParticipantFields, Document):
    """How participants are stored."""

    class Settings:
        """Where they are stored."""

        name = "participants"


def key_of(first: str, second: str) -> dict[str, str]:
    """Return the key of what belongs to two things, such as a room's binding of a channel."""
    return {"a": first, "b": second}


def time_of(path: str, value: datetime | None) -> int | None:
    """Return a time in its stored form.

    Raises:
        InvalidValueError: It is no datetime with a time zone.
    """
    return None if value is None else to_micros(path, value)


def _optional(path: str, value: str | None, check: Any = check_id) -> str | None:
    return None if value is None else check(path, value)


def to_stored_room(room: Room, now: int) -> Raw:
    """Return a room in its stored form, without its key and without what only the store moves.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    room = given("room", room, Room)
    stored: Raw = {
        "organization_id": _optional("organization_id", room.organization_id),
        "status": check_id("status", room.status),
        **{stored: time_of(name, getattr(room, name)) for name, stored in ROOM_TIMES.items()},
        "data": pack_object("data", room.data),
        "metadata": pack_members("metadata", room.metadata),
    }
    for name in ("created_at", "updated_at"):
        if stored[name] is None:
            stored[name] = now
    return sized(f"room {room.id!r}", stored)


def to_room(raw: Raw) -> Room:
    """Return a stored room as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        members = {name: raw[name] for name in Room.model_fields if name in raw}
        for name, stored in ROOM_TIMES.items():
            if (time := raw.get(stored)) is not None:
                members[name] = from_micros(time)
        members["id"] = raw["_id"]
        members["data"] = unpack(raw.get("data", {}))
        members["metadata"] = unpack_members(raw.get("metadata", {}))
        return Room.model_validate(members)
    except UNREADABLE as error:
        raise InvalidDocumentError("room", str(raw.get("_id")), fields_of(error)) from None


def to_stored_event(event: Event, now: int) -> Raw:
    """Return an event in its stored form, without its index.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    event = given("event", event, Event)
    stored: Raw = {
        "_id": check_id("id", event.id),
        "room_id": check_id("room_id", event.room_id),
        "type": check_id("type", event.type),
        "status": check_id("status", event.status),
        "visibility": check_text("visibility", event.visibility),
        "channel_id": check_id("channel_id", event.channel_id),
        "created_at": now if event.created_at is None else to_micros("created_at", event.created_at),
        "schema_version": SCHEMA_VERSION,
    }
    for name in _EVENT_LINKS:
        if (value := getattr(event, name)) is not None:
            stored[name] = check_id(name, value)
    if stored.get("change") not in (None, "edit", "delete"):
        raise InvalidValueError("change", "must be 'edit', 'delete' or None")
    if event.content is not None:
        stored["content"] = pack("content", event.content)
    if event.data != {}:
        stored["data"] = pack_object("data", event.data)
    if event.metadata != {}:
        stored["metadata"] = pack_members("metadata", event.metadata)
    if event.delivery_results != {}:
        stored["delivery_results"] = pack_object("delivery_results", event.delivery_results)
    return stored


_EVENT_LINKS = (
    *("channel_type", "participant_id", "parent_event_id", "responds_to", "correlation_id"),
    *("idempotency_key", "change", "target_event_id"),
)
_EVENT_OPTIONAL = {*_EVENT_LINKS, "content", "data", "metadata"}


def to_rewrite(event: Event) -> Raw:
    """Return the update that replaces a stored event but for its place, its birth and its delivery.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    stored = to_stored_event(event, 0)
    check_size(f"event {event.id!r}", stored)
    update: Raw = {"$set": {name: value for name, value in stored.items() if name not in _EVENT_KEPT}}
    if gone := _EVENT_OPTIONAL - stored.keys():
        update["$unset"] = dict.fromkeys(sorted(gone), "")
    return update


def to_event(raw: Raw) -> Event:
    """Return a stored event as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        members = raw.copy()
        members["id"] = members.pop("_id")
        members["created_at"] = from_micros(members["created_at"])
        for name in ("content", "data", "delivery_results"):
            if name in members:
                members[name] = unpack(members[name])
        if "metadata" in members:
            members["metadata"] = unpack_members(members["metadata"])
        return Event.model_validate(members)
    except UNREADABLE as error:
        raise InvalidDocumentError("event", str(raw.get("_id")), fields_of(error)) from None


def to_stored_binding(binding: Binding) -> Raw:
    """Return a binding in its stored form, without what its room gives it.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    binding = given("binding", binding, Binding)
    stored: Raw = {
        "room_id": check_id("room_id", binding.room_id),
        "channel_id": check_id("channel_id", binding.channel_id),
        "channel_type": _optional("channel_type", binding.channel_type),
        "participant_id": _optional("participant_id", binding.participant_id),
        "group": check_flag("group", binding.group),
        "data": pack_object("data", binding.data),
        "metadata": pack_members("metadata", binding.metadata),
        "names": binding_names(binding),
        "schema_version": SCHEMA_VERSION,
    }
    return sized(f"binding {binding.channel_id!r}", stored)


def to_binding(raw: Raw) -> Binding:
    """Return a stored binding as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        members = {**raw, "data": unpack(raw["data"]), "metadata": unpack_members(raw["metadata"])}
        return Binding.model_validate(members)
    except UNREADABLE as error:
        raise InvalidDocumentError("binding", str(raw.get("channel_id")), fields_of(error)) from None


def correspondent_name(participant_id: str) -> str:
    """Return the name by which a binding of this correspondent is found."""
    return json.dumps([participant_id])


def recipient_name(key: str, address: str) -> str:
    """Return the name by which a binding with this address under a key of its metadata is found."""
    return json.dumps([key, address])


def binding_names(binding: Binding) -> list[str]:
    """Return the names that find a binding: its correspondent's, or else those of all possible recipients."""
    if binding.participant_id is not None:
        return [correspondent_name(binding.participant_id)]
    if binding.group:
        return []
    addresses = {
        key: str(value)
        for key, value in binding.metadata.items()
        if (isinstance(value, str) and value.strip()) or type(value) is int
    }
    # No address is longer than an id; texts among the metadata are none.
    return [
        recipient_name(key, address)
        for key, address in addresses.items()
        if len(address.encode(errors="replace")) <= MAX_ID_BYTES
    ]


def route_name(channel_id: str, name: str) -> str:
    """Return the text by which a participant known as `name` is found on a channel."""
    return json.dumps([channel_id, name])


def to_stored_participant(participant: RoomParticipant) -> Raw:
    """Return a participant in its stored form, without what its room gives it.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    participant = given("participant", participant, RoomParticipant)
    identity_id = _optional("identity_id", participant.identity_id)
    check_list("channel_ids", participant.channel_ids)
    channel_ids = [check_id("channel_ids", channel) for channel in participant.channel_ids]
    names = dict.fromkeys(filter(None, [check_id("id", participant.id), identity_id]))
    stored: Raw = {
        "room_id": check_id("room_id", participant.room_id),
        "participant_id": participant.id,
        "identity_id": identity_id,
        "channel_ids": channel_ids,
        "routes": [route_name(channel, name) for channel in channel_ids for name in names],
        "data": pack_object("data", participant.data),
        "schema_version": SCHEMA_VERSION,
    }
    return sized(f"participant {participant.id!r}", stored)


def to_participant(raw: Raw) -> RoomParticipant:
    """Return a stored participant as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        members = {**raw, "id": raw["participant_id"], "data": unpack(raw["data"])}
        return RoomParticipant.model_validate(members)
    except UNREADABLE as error:
        raise InvalidDocumentError("participant", str(raw.get("participant_id")), fields_of(error)) from None
