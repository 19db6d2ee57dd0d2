"""Rooms as a list, in the order of their creation."""

from __future__ import annotations

from collections.abc import Sequence

from mongostore.arguments import check_id
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.rooms import to_room
from mongostore.models import Room, RoomSearch
from mongostore.repositories import Connection, read_step
from mongostore.repositories.paging import (
    SortKey,
    SortOrder,
    by_creation,
    count_documents,
    count_options,
    find_page,
)
from mongostore.repositories.rooms.room_counters import PUBLIC_FIELDS, count_rooms_events
from mongostore.repositories.rooms.room_lookup import find_rooms_of, room_search_filter
from mongostore.repositories.search.finder import ROOMS, TextSearch
from mongostore.repositories.search.lists import ConversationList, both, has_metadata
from mongostore.repositories.search.words import Terms


async def list_rooms(
    connection: Connection, newest: bool, where: RoomSearch, *, is_counted: bool = True
) -> ConversationList[Room]:
    """Return the list of rooms that a filter means.

    Args:
        connection: The connection.
        newest: Whether the newest ones come first.
        where: The filter.
        is_counted: Whether the counters of the rooms are up to date.
    """
    order, terms = by_creation(newest), Terms.parse(where.get("text"))
    filter = await _filter_of(connection, where, order)
    metadata = where.get("metadata")

    async def find(more: StoredDocument, after: SortKey | None, limit: int) -> Sequence[StoredDocument]:
        following = order.keyset_filter(both(filter, more), after)
        rooms = await find_page(connection, "rooms", following, order, limit, PUBLIC_FIELDS)
        return await count_rooms_events(connection, rooms) if is_counted else rooms

    return ConversationList(
        connection,
        order,
        find,
        to_room,
        (lambda room: has_metadata(room.metadata, metadata)) if metadata else None,
        TextSearch(connection, ROOMS, terms) if terms else None,
    )


async def count_rooms(connection: Connection, limit: int | None, where: RoomSearch) -> int:
    """Return how many rooms a filter means, `limit` at most."""
    count_options(limit)
    if Terms.parse(where.get("text")) or where.get("metadata"):
        return await (await list_rooms(connection, True, where, is_counted=False)).count(limit)
    filter = await _filter_of(connection, where, by_creation(True))
    return await read_step(connection, count_documents, connection, "rooms", filter, limit)


async def _filter_of(connection: Connection, where: RoomSearch, order: SortOrder) -> StoredDocument:
    """Return the query of the rooms that the filters of a list mean, but for its text."""
    filter, participant_id = room_search_filter(where, order), where.get("participant_id")
    if participant_id is None:
        return filter
    person = check_id("participant_id", participant_id)
    return both(filter, await read_step(connection, find_rooms_of, connection, person))


def cursor_after(room: Room) -> str:
    """Return the cursor of the page that begins behind a room."""
    created_at = to_micros("created_at", check_instance("room", room, Room).created_at)
    return by_creation(False).cursor((created_at, check_id("id", room.id)))
