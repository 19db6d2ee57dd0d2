"""The stored form of rooms, events, bindings and participants.

A key of two parts is a document, whose order counts: `part_id` makes it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from pydantic import Field

from mongostore.arguments import MAX_ID_BYTES
from mongostore.documents.mapping import (
    SCHEMA_VERSION,
    Searched,
    Stored,
    StoredDocument,
    check_fits,
    check_instance,
    check_size,
    reader,
    write,
    write_slim,
    writer,
)
from mongostore.models import Binding, Event, Room, RoomParticipant
from mongostore.models.fields import Id, JsonObject

# What a change of an event leaves as it is.
_UNCHANGED_BY_REPLACE = {"_id", "room_id", "created_at", "delivery_results"}


class StoredRoom(Room, Stored, Searched):
    """A room, with the counters that its events move and what the service keeps for itself in `private`.

    `merged_size` is at least the size of data, metadata and private together.

    `epoch` is its life: a room that is created again under its id has another one, and so have its parts.
    `log` is the open log of its events; `next_index` and the counters are those with which that began.
    `listed_at` is the second of its newest activity, or of its creation, by which it is listed.
    `next_part_position` is that of the next binding, participant, task or observation. `state` is `open`,
    `deleting` (its parts are being deleted) or `deleted`: it was erased with a person, and has its id and an
    end alone. `ops` are the tokens of its last changes, and `delete_op` that of its deletion, by which a call
    that is tried again recognizes its own. Parts that are stored after `deleted_at` wait for the next room.
    """

    private: JsonObject = Field(default_factory=dict)
    merged_size: int = 0
    epoch: str
    log: str
    next_index: int = 0
    listed_at: int
    next_part_position: int = 0
    state: str = "open"
    ops: list[str] = Field(default_factory=list)
    delete_op: str | None = None
    deleted_at: int | None = None


class StoredEvent(Event, Stored, Searched):
    """An event; members without a value are left out. `op` is the token of the operation that stored it.

    `ops` are the tokens of its last changes; `merged_size` is at least the size of what can grow.

    `log` and `log_index` are its position in a log of the room, `epoch` is the room's life, and `counters`
    are the room's `event_count`, `latest_index` and `active_at` as they are after it. Of a deleted event
    nothing but its position stays for a while, with the time at which it was emptied.
    """

    op: str
    ops: list[str] = Field(default_factory=list)
    merged_size: int = 0
    epoch: str
    log: str
    log_index: int
    emptied_at: datetime | None = None
    counters: JsonObject


class StoredBinding(Binding, Stored):
    """A binding, with the room's time for its place among the rooms, and the correspondents that find it.

    `epoch` is the room's life, `stored_at` the time at which it was attached, in microseconds, and `ops` are
    the tokens of its last replacements. `room_is_closed` is never true while the room is not closed.
    """

    epoch: str
    room_is_closed: bool
    stored_at: int
    ops: list[str] = Field(default_factory=list)
    position: int
    room_created_at: int
    correspondents: list[str]


class StoredRoomParticipant(RoomParticipant, Stored):
    """A participant; `routes` are each of the channels with each of the names, the rest as in a binding."""

    epoch: str
    room_is_closed: bool
    stored_at: int
    ops: list[str] = Field(default_factory=list)
    participant_id: Id
    position: int
    room_created_at: int
    routes: list[str]


to_room: Final = reader(Room, "room")
to_event: Final = reader(Event, "event")
to_binding: Final = reader(Binding, "binding", "channel_id")
to_participant: Final = reader(RoomParticipant, "participant", "participant_id")


def second_of(micros: int) -> int:
    """Return the second of a time, both in microseconds."""
    return micros - micros % 1_000_000


def is_closed(status: str) -> bool:
    """Return whether a room of a status is neither active nor waits for an activity."""
    return status not in ("active", "paused")


def part_id(first: str, second: str) -> dict[str, str]:
    """Return the key of what belongs to two things, such as a room's binding of a channel."""
    return {"a": first, "b": second}


def to_stored_room(room: Room, now: int) -> StoredDocument:
    """Return a room in its stored form, without its key and without what only the store moves."""
    stored = write(check_instance("room", room, Room))
    del stored["id"]
    for name in ("created_at", "updated_at"):
        if stored[name] is None:
            stored[name] = now
    return check_fits(f"room {room.id!r}", stored)


def to_stored_event(event: Event, now: int) -> StoredDocument:
    """Return an event in its stored form, without its index."""
    stored = write_slim(check_instance("event", event, Event))
    stored.setdefault("created_at", now)
    return {"_id": stored.pop("id"), **stored, "schema_version": SCHEMA_VERSION}


def to_replacement(event: Event) -> StoredDocument:
    """Return the update that replaces a stored event but for its place, its birth and its delivery."""
    stored = to_stored_event(event, 0)
    size = check_size(f"event {event.id!r}", stored)
    update: StoredDocument = {
        "$set": {name: value for name, value in stored.items() if name not in _UNCHANGED_BY_REPLACE},
        "$inc": {"merged_size": size},
    }
    if missing := Event.model_fields.keys() - stored.keys() - _UNCHANGED_BY_REPLACE - {"id", "index"}:
        update["$unset"] = dict.fromkeys(sorted(missing), "")
    return update


def correspondent_key(participant_id: str) -> str:
    """Return the name by which a binding of this correspondent is found."""
    return json.dumps([participant_id])


def recipient_key(key: str, address: str) -> str:
    """Return the name by which a binding with this address under a key of its metadata is found."""
    return json.dumps([key, address])


def binding_keys(binding: Binding) -> list[str]:
    """Return the names that find a binding: its correspondent's, or else those of all possible recipients."""
    if binding.participant_id is not None:
        return [correspondent_key(binding.participant_id)]
    if binding.group:
        return []
    addresses = {
        key: str(value)
        for key, value in binding.metadata.items()
        if (isinstance(value, str) and value.strip()) or type(value) is int
    }
    # No address is longer than an id; texts among the metadata are none.
    return [
        recipient_key(key, address)
        for key, address in addresses.items()
        if len(address.encode(errors="replace")) <= MAX_ID_BYTES
    ]


def route_key(channel_id: str, name: str) -> str:
    """Return the text by which a participant known as `name` is found on a channel."""
    return json.dumps([channel_id, name])


def _routes(participant: RoomParticipant, stored: StoredDocument) -> StoredDocument:
    names = dict.fromkeys(filter(None, [stored["participant_id"], stored["identity_id"]]))
    return {"routes": [route_key(channel, name) for channel in stored["channel_ids"] for name in names]}


to_stored_binding: Final = writer(
    Binding, "binding", "channel_id", more=lambda binding, stored: {"correspondents": binding_keys(binding)}
)
to_stored_participant: Final = writer(RoomParticipant, "participant", "participant_id", more=_routes)
