"""Rooms with their counters, which the newest event of each carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mongostore.documents.mapping import StoredDocument
from mongostore.repositories import Connection
from mongostore.repositories.expiry import is_expired as has_expired

# What callers never see, and may be large.
PUBLIC_FIELDS: StoredDocument = {"private": 0, "ops": 0}
# Any index: fences and events that were deleted have none.
HAS_INDEX: StoredDocument = {"$gte": 0}
# Any life of a room: what others have written there has none.
HAS_EPOCH: StoredDocument = {"$gte": ""}

_HEAD_FIELDS = {"_id": 0, **dict.fromkeys(("room_id", "epoch", "log", "log_index", "index", "counters"), 1)}
_BATCH = 200


async def find_room(
    connection: Connection, room_id: str, fields: StoredDocument = PUBLIC_FIELDS
) -> StoredDocument | None:
    """Return a room, its counters up to date, read in one round trip."""
    room, newest, _ = await find_with_newest(connection, connection.collection("events"), room_id, fields)
    return None if room is None else count_events(room, newest)


async def find_full_room(
    connection: Connection, room_id: str
) -> tuple[StoredDocument | None, list[StoredDocument]]:
    """Return a room, its counters up to date, and its bindings and participants, read in one round trip."""
    of_room: list[StoredDocument] = [{"$match": {"room_id": room_id}}, {"$sort": {"position": 1}}]
    parts = [
        {"$unionWith": {"coll": connection.collection(name).name, "pipeline": of_room}}
        for name in ("bindings", "participants")
    ]
    events = connection.collection("events")
    room, newest, found = await find_with_newest(connection, events, room_id, PUBLIC_FIELDS, parts)
    return None if room is None else count_events(room, newest), found


async def find_with_newest(
    connection: Connection,
    events: Any,
    room_id: str,
    fields: StoredDocument,
    parts: Sequence[StoredDocument] = (),
    *,
    is_expired: bool = False,
) -> tuple[StoredDocument | None, StoredDocument | None, list[StoredDocument]]:
    """Return a room as it is stored, its newest event, and what further stages find.

    The event is read first: as long as the room has its log, it was the newest one.
    """
    # By its key alone the server finds the room at once; with its state as well, a plan takes a sixth of all.
    room: list[StoredDocument] = [{"$match": {"_id": room_id}}, {"$project": fields}]
    rooms = {"$unionWith": {"coll": connection.collection("rooms").name, "pipeline": room}}
    pipeline = [*_newest_pipeline(room_id), rooms, *parts]
    async with await events.aggregate(pipeline, batchSize=_BATCH) as cursor:
        documents: list[StoredDocument] = await cursor.to_list()
    newest = documents.pop(0) if documents and "room_id" in documents[0] else None
    # Where there is no room, something may be there that belonged to one.
    if not documents or documents[0].get("state") != "open" or "room_id" in documents[0]:
        return None, newest, []
    if not is_expired and has_expired(documents[0], connection.clock.now()):
        return None, newest, []
    return documents[0], newest, documents[1:]


def _newest_pipeline(room_id: str) -> list[StoredDocument]:
    """Return the pipeline that finds the newest event of a room."""
    return [
        {"$match": {"room_id": room_id, "index": HAS_INDEX, "epoch": HAS_EPOCH}},
        {"$sort": {"index": -1}},
        {"$limit": 1},
        {"$project": _HEAD_FIELDS},
    ]


async def count_rooms_events(
    connection: Connection, rooms: Sequence[StoredDocument]
) -> Sequence[StoredDocument]:
    """Return stored rooms with their counters up to date, by one look-up of their newest events."""
    if not rooms:
        return rooms
    first = {name: {"$first": f"${name}"} for name in ("epoch", "index", "counters")}
    # In this form the server jumps from one room's newest event to the next room's.
    pipeline: list[StoredDocument] = [
        {"$match": {"room_id": {"$in": [room["_id"] for room in rooms]}, "index": HAS_INDEX}},
        {"$sort": {"room_id": -1, "index": -1}},
        {"$group": {"_id": "$room_id", **first}},
    ]
    events = connection.collection("events")
    newest: dict[str, StoredDocument] = {}
    for event in await events.aggregate_all(pipeline, limit=len(rooms)):
        if not isinstance(event.get("epoch"), str):
            # What others have written there is in front of it.
            event |= next(iter(await events.aggregate_all(_newest_pipeline(event["_id"]))), {})
        newest[event["_id"]] = event
    return [await _count_events_or_reread(connection, room, newest.get(room["_id"])) for room in rooms]


async def _count_events_or_reread(
    connection: Connection, room: StoredDocument, newest: StoredDocument | None
) -> StoredDocument:
    """Return a stored room with the counters of its newest event, which was read after it."""
    if newest is None or newest["counters"] is not None or not _is_counted(room, newest):
        return count_events(room, newest)
    # Another log has begun since, below which events have come: those have no counters.
    return await find_room(connection, room["_id"]) or room


def count_events(room: StoredDocument, newest: StoredDocument | None) -> StoredDocument:
    """Return a stored room with the counters of its newest event."""
    # What a log began with goes before the events of earlier logs, and of an earlier room of that id.
    if newest is not None and _is_counted(room, newest):
        room |= newest["counters"]
        room["next_index"] = newest["index"] + 1
    return room


def _is_counted(room: StoredDocument, newest: StoredDocument) -> bool:
    """Return whether an event is of this life of its room, and no longer counted in its document."""
    index = newest.get("index")
    return newest.get("epoch") == room.get("epoch") and index is not None and index >= room["next_index"]
