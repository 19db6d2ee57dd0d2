"""How the events of a room are read: in the order of their indexes, one by one, or summed up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from mongostore.arguments import (
    check_flag,
    check_id,
    check_int,
    check_limit,
    check_list,
    check_members,
    check_text,
    decode_cursor,
    encode_cursor,
)
from mongostore.codec import from_micros, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import to_event
from mongostore.errors import InvalidDocumentError, InvalidValueError, NotFoundError
from mongostore.models import Event, EventFilter, Page, ReplySummary
from mongostore.repositories import CollectionOf, Connection
from mongostore.repositories.paging import KeyOrder, read_page, walk
from mongostore.repositories.parts import aggregate_parts, count_parts, find_part, find_parts
from mongostore.repositories.rooms.room_counters import HAS_INDEX
from mongostore.repositories.rooms.room_lookup import open_room_filter

_BLOCKED = "blocked"
# What only commits need would be a fifth of what a list reads.
_PUBLIC_FIELDS = dict.fromkeys(("epoch", "log", "log_index", "counters", "op", "ops", "merged_size"), 0)
_EQUAL = (
    *("visibility", "channel_id", "channel_type", "participant_id"),
    *("correlation_id", "responds_to", "parent_event_id"),
)


class EventQueries:
    """Reads events."""

    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_one(
        self, room_id: str, event_id: str, fields: StoredDocument | None = None
    ) -> StoredDocument | None:
        """Return a stored event of a room, or some of its fields."""
        event = {"_id": event_id, "room_id": room_id, "index": HAS_INDEX}
        return await find_part(self._connection, "events", event, fields)

    async def find_by_key(self, room_id: str, key: str, channel_id: str | None) -> Event | None:
        """Return the event that has an idempotency key."""
        of_key = {"room_id": check_id("room_id", room_id), "idempotency_key": check_id("key", key)}
        if channel_id is not None:
            of_key["channel_id"] = check_id("channel_id", channel_id)
        sort = () if channel_id else event_order(False).sort
        document = await find_part(self._connection, "events", of_key, sort=sort)
        return None if document is None else to_event(document)

    async def page(
        self,
        room_id: str,
        newest: bool,
        limit: int,
        cursor: str | None,
        before: int | None,
        after: int | None,
        filter: EventFilter,
    ) -> Page[Event]:
        """Return a page of events."""
        limit, order = check_limit("limit", limit), event_order(newest)
        query = event_filter(room_id, filter)
        bounds = _bounds(before, after, cursor, newest)
        if bounds:
            query["index"] = HAS_INDEX | bounds
        documents = await find_parts(self._connection, "events", query, order, limit + 1, _PUBLIC_FIELDS)
        if not documents:
            await self._check_room(room_id)
        more, documents = len(documents) > limit, documents[:limit]
        next_cursor = encode_cursor([order.sort_key(documents[-1])]) if more else None
        return read_page(reversed(documents) if newest else documents, next_cursor, to_event)

    def iterate(
        self, room_id: str, newest: bool, errors: list[InvalidDocumentError] | None, filter: EventFilter
    ) -> AsyncGenerator[Event, None]:
        """Yield events; `errors` collects those that cannot be read."""
        query, order = event_filter(room_id, filter), event_order(newest)
        check_room = partial(self._check_room, room_id)
        return walk(
            self._connection,
            "events",
            query,
            order,
            to_event,
            errors,
            fields=_PUBLIC_FIELDS,
            find=find_parts,
            when_empty=check_room,
        )

    async def count(self, room_id: str, limit: int | None, filter: EventFilter) -> int:
        """Return how many events there are, `limit` at most."""
        counted = await count_parts(self._connection, "events", event_filter(room_id, filter), limit)
        if not counted:
            await self._check_room(room_id)
        return counted

    async def summarize_replies(self, room_id: str, event_ids: Sequence[str]) -> dict[str, ReplySummary]:
        """Return the summaries of the replies to these events."""
        check_list("event_ids", event_ids)
        roots = [check_id("event_ids", event_id) for event_id in event_ids]
        replies = {
            "room_id": check_id("room_id", room_id),
            "parent_event_id": {"$in": roots, "$gte": ""},
            "status": {"$ne": _BLOCKED},
        }
        summed = {"_id": "$parent_event_id", "count": {"$sum": 1}, "last": {"$max": "$created_at"}}
        found = await aggregate_parts(
            self._connection, "events", replies, [{"$group": summed}], len(roots) + 1
        )
        return {
            document["_id"]: ReplySummary(document["_id"], document["count"], from_micros(document["last"]))
            for document in found
        }

    async def _check_room(self, room_id: str) -> None:
        """Refuse a room that is not there."""
        if await self._rooms.find_one(open_room_filter(room_id), {"_id": 1}) is None:
            raise NotFoundError("room", room_id)


def event_order(newest: bool) -> KeyOrder:
    """Return the order of a list of events."""
    return KeyOrder("index", kind=int, is_ascending=not check_flag("newest", newest))


def _bounds(before: int | None, after: int | None, cursor: object, newest: bool) -> StoredDocument:
    """Return the condition on the index that a list is bound by."""
    lower = [] if after is None else [_check_index("after", after)]
    upper = [] if before is None else [_check_index("before", before)]
    if cursor is not None:
        match decode_cursor(cursor):
            case [index] if type(index) is int and 0 <= index < 2**63:
                (upper if newest else lower).append(index)
            case _:
                raise InvalidValueError("cursor", "is not one that a page gave")
    bounds: StoredDocument = {}
    if lower:
        bounds["$gt"] = max(lower)
    if upper:
        bounds["$lt"] = min(upper)
    return bounds


def _check_index(path: str, value: object) -> int:
    return check_int(path, value, 0, 2**63, "must be an index, an integer from 0")


def event_filter(room_id: str, filter: EventFilter) -> StoredDocument:
    """Return the query of the events that a filter means: the one place where such a query begins."""
    members = check_members(filter, EventFilter)
    query: StoredDocument = {"room_id": check_id("room_id", room_id), "index": HAS_INDEX}
    if not check_flag("blocked", members.get("blocked", False)):
        query["status"] = {"$ne": _BLOCKED}
    types: StoredDocument = {}
    for name, operator in (("types", "$in"), ("exclude_types", "$nin")):
        if name in members:
            check_list(name, members[name])
            types[operator] = [check_id(name, type_) for type_ in members[name]]
    if types:
        query["type"] = types
    for name in _EQUAL:
        if name in members:
            check = check_text if name == "visibility" else check_id
            query[name] = check(name, members[name])
    if check_flag("top_level", members.get("top_level", False)):
        # No reply to anything is a reply to a certain event.
        query["parent_event_id"] = {"$in": []} if "parent_event_id" in members else None
    times: StoredDocument = {}
    for name, operator in (("created_after", "$gt"), ("created_before", "$lt")):
        if name in members:
            times[operator] = to_micros(name, members[name])
    if times:
        query["created_at"] = times
    return query
