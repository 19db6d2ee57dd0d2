"""Rooms found by their members, and by the bindings and participants that belong to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mongostore.arguments import check_flag, check_id, check_limit, check_list, check_members, check_text
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import (
    correspondent_key,
    is_closed,
    recipient_key,
    route_key,
    second_of,
    to_room,
)
from mongostore.errors import InvalidValueError
from mongostore.models import Page, Room, RoomFilter, RoomSearch
from mongostore.repositories import Connection
from mongostore.repositories.expiry import not_expired
from mongostore.repositories.paging import SortOrder, page_of
from mongostore.repositories.rooms.room_counters import PUBLIC_FIELDS, count_rooms_events
from mongostore.repositories.search.lists import metadata_filter, time_conditions

# The order of bindings and participants by the creation of their rooms.
_NEWEST = SortOrder("room_created_at", is_ascending=False, key="room_id")
_OLDEST = SortOrder("room_created_at", key="room_id")

_ROOM = {"localField": "room_id", "foreignField": "_id", "as": "room"}
# How many candidates are looked at in one round trip, at first and each time after that.
_CANDIDATES = 3
_MORE_CANDIDATES = 2000
# The ids of a person's rooms are in the query of a list, which can hold some 300,000.
MOST_ROOMS = 100_000


class RoomLookup:
    """Finds rooms by their bindings or their participants."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def by_binding(
        self, channel_id: str, names: Sequence[str], recipient: tuple[str, str] | None, rooms: StoredDocument
    ) -> Room | None:
        """Return the newest of these rooms whose binding of a channel is one of these people's."""
        check_list("names", names)
        wanted = [correspondent_key(check_id("names", name)) for name in names]
        if recipient is not None:
            wanted.append(_recipient(recipient))
        of_channel = {"channel_id": check_id("channel_id", channel_id), "correspondents": {"$in": wanted}}
        of_channel = _with_closed(of_channel, rooms)
        return await self._first(await self._find_by_part("bindings", of_channel, _NEWEST, rooms))

    async def by_route(self, channel_id: str, names: Sequence[str], rooms: StoredDocument) -> Room | None:
        """Return the newest of these rooms that reached one of these participants by a channel."""
        check_list("names", names)
        check_id("channel_id", channel_id)
        routes = {"$in": [route_key(channel_id, check_id("names", name)) for name in names]}
        of_route = _with_closed({"routes": routes}, rooms)
        return await self._first(await self._find_by_part("participants", of_route, _NEWEST, rooms))

    async def by_participant(
        self, participant_id: str, channel_type: str | None, rooms: StoredDocument
    ) -> Room | None:
        """Return the newest of these rooms that a person is in, as a participant or by a binding."""
        person = _with_closed({"participant_id": check_id("participant_id", participant_id)}, rooms)
        bound = {**person}
        if channel_type is not None:
            bound["channel_type"] = check_id("channel_type", channel_type)
        found = [
            *await self._find_by_part("participants", person, _NEWEST, rooms),
            *await self._find_by_part("bindings", bound, _NEWEST, rooms),
        ]
        return await self._first(
            sorted(found, key=lambda document: (document["created_at"], document["_id"]), reverse=True)
        )

    async def page_of_channel(
        self,
        channel_id: str,
        group: bool | None,
        newest: bool,
        limit: int,
        cursor: str | None,
        rooms: StoredDocument,
    ) -> Page[Room]:
        """Return a page of those of these rooms that a channel is bound to."""
        limit, order = check_limit("limit", limit), _NEWEST if check_flag("newest", newest) else _OLDEST
        groups = [False, True] if group is None else [check_flag("group", group)]
        of_channel = {"channel_id": check_id("channel_id", channel_id), "group": {"$in": groups}}
        following = order.keyset_filter(_with_closed(of_channel, rooms), order.decode(cursor))
        documents = await self._find_by_part("bindings", following, order, rooms, limit + 1)
        documents = [*await count_rooms_events(self._connection, documents)]
        return page_of(documents, SortOrder("created_at"), limit, to_room)

    async def _first(self, documents: Sequence[StoredDocument]) -> Room | None:
        """Return the first of some stored rooms, its counters up to date."""
        for document in await count_rooms_events(self._connection, documents[:1]):
            return to_room(document)
        return None

    async def _find_by_part(
        self, parts: str, match: StoredDocument, order: SortOrder, rooms: StoredDocument, limit: int = 1
    ) -> list[StoredDocument]:
        """Return the stored rooms of these parts, as far as they match, in the order of the parts.

        The server would look up the rooms of all candidates, however few of them are wanted: the candidates
        are cut before that, and mostly the first ones will do.
        """
        collection = self._connection.collection(parts)
        living = rooms | not_expired(self._connection.clock.now())
        wanted = {f"room.{name}": condition for name, condition in living.items()}
        keys = {"_id": 0, "room_id": 1, "room_created_at": 1}
        ordered: list[StoredDocument] = [{"$match": match}, {"$sort": dict(order.sort)}]
        lookup = {"$lookup": {"from": self._connection.collection("rooms").name, **_ROOM}}
        found: list[StoredDocument] = []
        seen, count = 0, min(_CANDIDATES + limit, _MORE_CANDIDATES)
        while True:
            # The last document that comes is no room, but the candidate behind these if there is one.
            more = [*ordered, {"$skip": seen + count}, {"$limit": 1}, {"$project": keys}]
            pipeline: list[StoredDocument] = [
                *(*ordered, {"$skip": seen}, {"$limit": count}, {"$project": keys}, lookup),
                *({"$match": wanted}, {"$limit": limit - len(found)}),
                *({"$replaceRoot": {"newRoot": {"$arrayElemAt": ["$room", 0]}}}, {"$project": PUBLIC_FIELDS}),
                {"$unionWith": {"coll": collection.name, "pipeline": more}},
            ]
            documents = await collection.aggregate_all(pipeline, limit=limit + 1)
            has_more = bool(documents) and "room_id" in documents[-1]
            found += documents[:-1] if has_more else documents
            if len(found) == limit or not has_more:
                return found
            seen, count = seen + count, _MORE_CANDIDATES


def _with_closed(parts: StoredDocument, rooms: StoredDocument) -> StoredDocument:
    """Return the filter of parts with whether their rooms may be closed, which an index knows."""
    status = rooms.get("status", {})
    statuses = [status] if isinstance(status, str) else status.get("$in", ["active", "closed"])
    closed = sorted({is_closed(status) for status in statuses})
    return {**parts, "room_is_closed": closed[0] if len(closed) == 1 else {"$in": closed}}


def room_filter(filter: RoomFilter) -> StoredDocument:
    """Return the query of the rooms that a filter means."""
    members: dict[str, Any] = check_members(filter, RoomFilter)
    query: StoredDocument = {"state": "open"}
    if "organization_id" in members:
        query["organization_id"] = check_id("organization_id", members["organization_id"])
    if isinstance(status := members.get("status", ()), str):
        query["status"] = check_id("status", status)
    elif "status" in members:
        check_list("status", status)
        statuses = [check_id("status", one) for one in status]
        query["status"] = statuses[0] if len(statuses) == 1 else {"$in": statuses}
    return query


def room_search_filter(where: RoomSearch, order: SortOrder) -> StoredDocument:
    """Return the query of the rooms that the filters of a list mean, but for its text and its participant."""
    members = check_members(where, RoomSearch)
    own: Any = {name: value for name, value in members.items() if name in RoomFilter.__annotations__}
    query = room_filter(own) | metadata_filter(members.get("metadata"))
    conditions = time_conditions(order, members.get("since"), members.get("until"))
    if order.field == "listed_at" and members.get("since") is not None:
        # The list knows the second of an activity alone.
        conditions[0] = {"listed_at": {"$gte": second_of(to_micros("since", members["since"]))}}
    return {**query, "$and": conditions} if conditions else query


async def find_rooms_of(connection: Connection, participant_id: str) -> StoredDocument:
    """Return the query of the rooms that a person is in, as a participant or by a binding."""
    person, rooms = {"participant_id": participant_id}, set[str]()
    for parts in ("participants", "bindings"):
        documents, fields = connection.collection(parts), {"_id": 0, "room_id": 1}
        found = await documents.find_all(person, fields, limit=MOST_ROOMS + 1)
        rooms |= {part["room_id"] for part in found}
    if len(rooms) > MOST_ROOMS:
        raise InvalidValueError("participant_id", f"is in more than {MOST_ROOMS:,} rooms: iterate over all")
    return {"_id": {"$in": sorted(rooms)}}


def open_room_filter(room_id: str) -> StoredDocument:
    """Return the filter of a room that is not being deleted."""
    return {"_id": check_id("room_id", room_id), "state": "open"}


async def take_back_if_gone(
    connection: Connection, room_id: str, epoch: str, take_back: Callable[[], Awaitable[object]]
) -> bool:
    """Take back what was stored while the deletion of its room may have passed; return whether it has."""
    room = await connection.collection("rooms").find_one({"_id": room_id, "epoch": epoch}, {"state": 1})
    is_gone = room is None or room["state"] != "open"
    if is_gone:
        await take_back()
    return is_gone


def _recipient(recipient: object) -> str:
    """Return the name by which a binding with an address is found."""
    if not isinstance(recipient, tuple) or len(recipient) != 2:
        raise InvalidValueError("recipient", "must be a tuple of a key and an address")
    key, address = recipient
    return recipient_key(check_text("recipient", key), check_id("recipient", address))
