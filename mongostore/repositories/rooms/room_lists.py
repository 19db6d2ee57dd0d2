"""Rooms as a list, by their creation or their newest activity."""

from __future__ import annotations

from collections.abc import Sequence

from mongostore.arguments import check_id
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.rooms import second_of, to_room
from mongostore.models import ListOrder, Room, RoomSearch
from mongostore.repositories import Connection, read_step
from mongostore.repositories.paging import (
    SortKey,
    SortOrder,
    count_documents,
    count_options,
    find_page,
    list_order,
)
from mongostore.repositories.rooms.room_counters import PUBLIC_FIELDS, count_rooms_events
from mongostore.repositories.rooms.room_lookup import find_rooms_of, room_search_filter
from mongostore.repositories.search.finder import ROOMS, TextSearch
from mongostore.repositories.search.lists import ConversationList, both, has_metadata
from mongostore.repositories.search.words import Terms


def room_order(order: ListOrder, newest: bool) -> SortOrder:
    """Return the order of a list of rooms."""
    return list_order(order, newest, active="listed_at")


async def list_rooms(
    connection: Connection, order: SortOrder, where: RoomSearch, *, is_counted: bool = True
) -> ConversationList[Room]:
    """Return the list of rooms that a filter means.

    Args:
        connection: The connection.
        order: The order.
        where: The filter.
        is_counted: Whether the counters of the rooms are up to date.
    """
    terms = Terms.parse(where.get("text"))
    filter = await _filter_of(connection, where, order)
    metadata, since, until = where.get("metadata"), where.get("since"), where.get("until")
    # Their index knows but the second of an activity.
    is_timed = order.field == "listed_at" and (since is not None or until is not None)

    def matches(room: Room) -> bool:
        at = room.active_at or room.created_at
        is_in_time = not is_timed or (at and (not since or since <= at) and (not until or at < until))
        return bool(is_in_time) and has_metadata(room.metadata, metadata)

    async def find(more: StoredDocument, after: SortKey | None, limit: int) -> Sequence[StoredDocument]:
        following = order.keyset_filter(both(filter, more), after)
        rooms = await find_page(connection, "rooms", following, order, limit, PUBLIC_FIELDS)
        return await count_rooms_events(connection, rooms) if is_counted else rooms

    return ConversationList(
        connection,
        order,
        find,
        to_room,
        matches if metadata or is_timed else None,
        TextSearch(connection, ROOMS, terms) if terms else None,
    )


async def count_rooms(connection: Connection, limit: int | None, where: RoomSearch) -> int:
    """Return how many rooms a filter means, `limit` at most."""
    count_options(limit)
    # Times are those of the activity, of which an index knows but the second.
    is_timed = where.get("since") is not None or where.get("until") is not None
    order = room_order("active" if is_timed else "created", True)
    if is_timed or Terms.parse(where.get("text")) or where.get("metadata"):
        return await (await list_rooms(connection, order, where, is_counted=is_timed)).count(limit)
    filter = await _filter_of(connection, where, order)
    return await read_step(connection, count_documents, connection, "rooms", filter, limit)


async def _filter_of(connection: Connection, where: RoomSearch, order: SortOrder) -> StoredDocument:
    """Return the query of the rooms that the filters of a list mean, but for its text."""
    filter, participant_id = room_search_filter(where, order), where.get("participant_id")
    if participant_id is None:
        return filter
    person = check_id("participant_id", participant_id)
    return both(filter, await read_step(connection, find_rooms_of, connection, person))


def cursor_after(room: Room, order: ListOrder) -> str:
    """Return the cursor of the page that begins behind a room."""
    by, time = room_order(order, True), check_instance("room", room, Room).created_at
    if order == "active":
        time = room.active_at or time
    micros = to_micros("created_at", time)
    return by.cursor((second_of(micros) if order == "active" else micros, check_id("id", room.id)))
