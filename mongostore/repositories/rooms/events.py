"""Events: appended, read, changed, deleted and watched; `store.rooms.events`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from typing import Unpack

from mongostore.arguments import check_flag, check_id, check_int, check_limit, check_position, encode_cursor
from mongostore.documents.mapping import check_instance, to_extended_json
from mongostore.documents.rooms import to_event
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import Event, EventFilter, EventUpdate, Page, ReplySummary, RoomCreate
from mongostore.repositories import Connection, Repository, long_running, reads, reads_majority, writes
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.paging import page_around
from mongostore.repositories.parts import find_part
from mongostore.repositories.rooms.event_queries import EventQueries
from mongostore.repositories.rooms.event_stream import EventStream
from mongostore.repositories.rooms.event_updates import EventUpdates
from mongostore.repositories.rooms.room_counters import HAS_INDEX
from mongostore.repositories.rooms.room_log import RoomLog


class AsyncRoomEvents(Repository):
    """The events of rooms. A list is in the order of indexes, from either end."""

    def __init__(self, connection: Connection, log: RoomLog, changes: ChangeFeed) -> None:
        super().__init__(connection)
        self._reader = EventQueries(connection)
        self._updates = EventUpdates(connection, log)
        self._stream = EventStream(connection, changes)

    @writes
    async def append(
        self,
        room_id: str,
        event: Event,
        *,
        create: bool | RoomCreate = False,
        target: Event | None = None,
        activity: bool = True,
    ) -> Event:
        """Store an event at the room's next index, in one step, and return it.

        Events of one room become visible in the order of their indexes, from any process. On
        a server without transactions a crash midway may leave an edit or a delete without its effect on its
        target, or a paused room active without the event.

        Args:
            room_id: The room.
            event: The event; an index that it has is ignored.
            create: Whether to create the room if it is not there, or the members to create it with. That is
                a step before: if the event is refused, or the process dies, the room is there without it.
            target: The event that this one edits or deletes, as it is to be: replaced in the same step.
                A delete also marks all edits of its target, which hold its former content, as deleted.
            activity: Whether this is activity of the room: moves `active_at`, wakes a paused room.

        Raises:
            NotFoundError: If there is no such room, or no such target in it; nothing is written.
            AlreadyExistsError: If the event's id is taken; nothing is written.
            IdempotencyKeyError: If its idempotency key is taken in its room and channel; likewise.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        appended = await self._updates.append(room_id, event, create, target, activity)
        return self._report_append(room_id, [appended])[0]

    @writes
    async def create(self, room_id: str, event: Event) -> Event:
        """Store an event at its own or the next index; no counter changes.

        Raises:
            NotFoundError: If there is no such room.
            AlreadyExistsError: If its id or its index is taken; nothing is written.
            IdempotencyKeyError: If its idempotency key is taken in its room and channel; likewise.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        return await self._updates.create(room_id, event)

    @reads
    async def get(self, room_id: str, event_id: str) -> Event:
        """Return an event.

        Raises:
            NotFoundError: If the room has no such event.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("event", event_id, await self.find(room_id, event_id))

    @reads
    async def find(self, room_id: str, event_id: str) -> Event | None:
        """Return an event; None if the room has no such event.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        document = await self._reader.find_one(check_id("room_id", room_id), check_id("event_id", event_id))
        return None if document is None else to_event(document)

    @reads
    async def describe_document(self, room_id: str, event_id: str) -> str:
        """Return a stored event, readable or not, in Extended JSON.

        Raises:
            NotFoundError: If the room has no such event.
            InvalidValueError: If an id is no plain string.
        """
        document = await self._reader.find_one(check_id("room_id", room_id), check_id("event_id", event_id))
        return to_extended_json(self._check_found("event", event_id, document))

    @reads
    async def find_by_id(self, event_id: str) -> Event | None:
        """Return an event whose room is not known; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        event = {"_id": check_id("event_id", event_id), "index": HAS_INDEX}
        document = await find_part(self._connection, "events", event)
        return None if document is None else to_event(document)

    @reads
    async def find_by_key(self, room_id: str, key: str, *, channel_id: str | None = None) -> Event | None:
        """Return the event of an idempotency key, blocked or not, or None.

        Args:
            room_id: The room.
            key: The idempotency key.
            channel_id: The channel that the key belongs to; None for any, and then the event of the lowest
                index.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the event cannot be read.
        """
        return await self._reader.find_by_key(room_id, key, channel_id)

    @reads
    async def exists(self, room_id: str, event_id: str) -> bool:
        """Return whether the room has such an event.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        check_id("room_id", room_id)
        return await self._reader.find_one(room_id, check_id("event_id", event_id), {"_id": 1}) is not None

    @reads
    async def count(self, room_id: str, *, limit: int | None = None, **filter: Unpack[EventFilter]) -> int:
        """Return how many events a list would show, `limit` at most.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        return await self._reader.count(room_id, limit, filter)

    @reads_majority
    async def list(
        self,
        room_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        **filter: Unpack[EventFilter],
    ) -> Page[Event]:
        """Return a page of events, the first or the last ones; blocked ones only if `blocked` is set.

        Args:
            room_id: The room.
            newest: Whether to take the last ones and not the first.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same `newest`.
            before: Only events below this index.
            after: Only events above this index.
            around: The index in the middle of the page, in place of all other bounds; the next page has
                what follows.
            **filter: Which events.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        read = self._reader.page
        if around is None:
            return await read(room_id, newest, limit, cursor, before, after, filter)
        if newest or (cursor, before, after) != (None, None, None):
            raise InvalidValueError("around", "cannot be set with another bound")
        middle = check_position("around", around)
        return await page_around(
            check_limit("limit", limit),
            lambda half: read(room_id, True, half, None, middle, None, filter),
            lambda rest: read(room_id, False, rest, None, None, middle - 1 if middle else None, filter),
        )

    @long_running
    def iter(
        self,
        room_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **filter: Unpack[EventFilter],
    ) -> AsyncIterator[Event]:
        """Yield a room's events by index, or backwards; blocked ones only if `blocked` is set.

        Args:
            room_id: The room.
            newest: Whether to begin with the last one.
            errors: Collects the errors of events that cannot be read.
            **filter: Which events.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If an event cannot be read and `errors` is None.
        """
        return self._reader.iterate(room_id, newest, errors, filter)

    @staticmethod
    def cursor_of(event: Event) -> str:
        """Return the cursor of the page behind an event, in either direction.

        Raises:
            InvalidValueError: If it is no event, or has no index.
        """
        return encode_cursor([check_position("index", check_instance("event", event, Event).index)])

    @reads
    async def summarize_replies(self, room_id: str, event_ids: Sequence[str]) -> dict[str, ReplySummary]:
        """Return the summaries of replies to these events, if they have any.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """
        return await self._reader.summarize_replies(room_id, event_ids)

    @writes
    async def update(self, room_id: str, event_id: str, **members: Unpack[EventUpdate]) -> Event:
        """Change members of an event; the others stay.

        An event of an expired room is changed until the room is pruned, but not found.

        Raises:
            NotFoundError: If the room has no such event.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If it cannot be read, after it was changed.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """
        return await self._updates.update(room_id, event_id, members)

    @writes
    async def replace(self, room_id: str, event: Event, *, erase_edits: bool = False) -> Event:
        """Replace an event but for its index, creation and delivery results.

        An event of an expired room is replaced until the room is pruned, but not found.

        Args:
            room_id: The room.
            event: The event as it is to be.
            erase_edits: Mark all edits of it, which hold its former content, as deleted in the same step.

        Raises:
            NotFoundError: If the room has no such event.
            IdempotencyKeyError: If its idempotency key is taken by another event.
            InvalidValueError: If a value cannot be stored.
            InvalidDocumentError: If it cannot be read, after it was replaced.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        return await self._updates.replace(room_id, event, check_flag("erase_edits", erase_edits))

    @writes
    async def pop(self, room_id: str, event_id: str, *, replies: bool = True) -> builtins.list[Event]:
        """Delete an event as `delete` does; return all the deleted events.

        The event comes first, then its replies, then the edits and deletes, each by index.

        Args:
            room_id: The room.
            event_id: The event.
            replies: Whether its replies are deleted as well.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If one of them cannot be read; nothing is deleted.
        """
        return await self._updates.remove(room_id, event_id, replies, to_event)

    @writes
    async def delete(self, room_id: str, event_id: str, *, replies: bool = True) -> bool:
        """Delete an event but no counter or index; return whether it existed.

        All edits and deletes of what is deleted go with it.

        Args:
            room_id: The room.
            event_id: The event.
            replies: Whether its replies are deleted as well.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return bool(await self._updates.remove(room_id, event_id, replies))

    @long_running
    def watch(
        self, room_id: str, *, after: int | None = None, last: int | None = None
    ) -> AsyncIterator[Event]:
        """Yield new events once, in order, until the room is deleted.

        Needs a replica set or the embedded engine. A lost connection is made again, and the stream goes on
        behind the last event; a caller that starts anew hands its index to `after`. An event that cannot be
        read is passed over with a WARNING.

        Args:
            room_id: The room.
            after: Begin with the events above this index, -1 for all; None for those from now on.
            last: Begin with so many of the last events, 1,000 at most.

        Raises:
            NotFoundError: If there is no such room.
            UnsupportedError: If the deployment has no change streams.
            InvalidValueError: If an argument is of the wrong type or out of range, or both are set.
        """
        check_id("room_id", room_id)
        if after is not None:
            check_int("after", after, -1, 2**62, "must be an index, an integer from -1")
        if last is not None and after is not None:
            raise InvalidValueError("last", "cannot be set with `after`, which goes on where a watcher was")
        return self._stream.tail(room_id, after, None if last is None else check_limit("last", last))
