"""RoomKit's methods on events, and on how far they are read."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from roomkit.core.exceptions import RoomNotFoundError
from roomkit.models.event import RoomEvent, ThreadSummary
from roomkit.models.store_filter import EventFilter
from roomkit.store.base import is_marked_deleted, key_taken, target_gone

from mongostore import models
from mongostore.adapters.roomkit.conversions import event_filter as to_filter
from mongostore.adapters.roomkit.conversions import from_event, read_all, to_event
from mongostore.adapters.roomkit.rooms import RoomMethods, collect, collect_pages
from mongostore.errors import AlreadyExistsError, IdempotencyKeyError, NotFoundError
from mongostore.repositories.rooms.offsets import Offsets


class EventMethods(RoomMethods):
    """Events and read markers."""

    async def add_event(self, event: RoomEvent) -> RoomEvent:
        store = await self._user.get()
        try:
            await store.rooms.events.create(event.room_id, from_event(event, event.room_id))
        except (AlreadyExistsError, NotFoundError) as error:
            raise _translate_error(error, event) from None
        return event

    async def add_event_auto_index(self, room_id: str, event: RoomEvent) -> RoomEvent:
        store = await self._user.get()
        try:
            fresh = from_event(event, room_id).model_copy(update={"index": None})
            stored = await store.rooms.events.create(room_id, fresh)
        except (AlreadyExistsError, NotFoundError) as error:
            raise _translate_error(error, event) from None
        return event.model_copy(update={"index": stored.index})

    async def commit_event(
        self,
        room_id: str,
        event: RoomEvent,
        *,
        target: RoomEvent | None = None,
        activity: bool = True,
    ) -> RoomEvent:
        store = await self._user.get()
        change = None if target is None else from_event(target, room_id)
        try:
            stored = await store.rooms.events.append(
                room_id, from_event(event, room_id), target=change, activity=activity
            )
        except (AlreadyExistsError, NotFoundError) as error:
            raise _translate_error(error, event, target) from None
        return event.model_copy(update={"index": stored.index})

    async def write_change_target(self, room_id: str, target: RoomEvent) -> None:
        store = await self._user.get()
        try:
            await store.rooms.events.replace(
                room_id, from_event(target, room_id), erase_edits=is_marked_deleted(target)
            )
        except (AlreadyExistsError, NotFoundError) as error:
            raise _translate_error(error, target, target) from None

    async def get_event(self, event_id: str) -> RoomEvent | None:
        store = await self._user.get()
        event = await store.rooms.events.find_by_id(event_id)
        return None if event is None else to_event(event)

    async def update_event(self, event: RoomEvent) -> RoomEvent:
        store = await self._user.get()
        try:
            await store.rooms.events.replace(event.room_id, from_event(event, event.room_id))
        except AlreadyExistsError as error:
            raise _translate_error(error, event) from None
        except NotFoundError:
            # Deleted meanwhile: as with RoomKit's own shared store there is nothing to update then.
            pass
        return event

    async def record_delivery_results(self, room_id: str, event_id: str, results: dict[str, Any]) -> None:
        store = await self._user.get()
        with suppress(NotFoundError):
            await store.rooms.events.update(room_id, event_id, delivery_results=results)

    async def delete_event(
        self, room_id: str, event_id: str, *, cascade_replies: bool = True
    ) -> list[RoomEvent]:
        store = await self._user.get()
        deleted = await store.rooms.events.pop(room_id, event_id, replies=cascade_replies)
        return read_all(to_event, deleted)

    async def list_events(
        self,
        room_id: str,
        offset: int = 0,
        limit: int = 50,
        visibility_filter: str | None = None,
        *,
        after_index: int | None = None,
        before_index: int | None = None,
        event_filter: EventFilter | None = None,
        newest_first: bool = False,
    ) -> list[RoomEvent]:
        if after_index is not None and before_index is not None:
            raise ValueError("after_index and before_index are mutually exclusive")
        if before_index is not None and before_index <= 0:
            return []
        has_cursor = after_index is not None or before_index is not None
        falling = before_index is not None or (newest_first and not has_cursor)
        rooms, filter = (await self._user.get()).rooms, to_filter(event_filter, visibility_filter)
        cursor = None
        if offset and not has_cursor:
            cursor = await Offsets.of(rooms).find_event_cursor(room_id, offset, newest=falling, **filter)
            if cursor is None:
                return []
        after = after_index if after_index is not None and after_index >= 0 else None
        list_page = partial(
            rooms.events.list, room_id, newest=falling, before=before_index, after=after, **filter
        )
        try:
            found = await collect_pages(list_page, limit, cursor, is_backward=falling)
        except NotFoundError:
            return []
        return read_all(to_event, found)

    async def get_event_count(self, room_id: str, event_filter: EventFilter | None = None) -> int:
        store = await self._user.get()
        try:
            filter = models.EventFilter(blocked=True) if event_filter is None else to_filter(event_filter)
            return await store.rooms.events.count(room_id, **filter)
        except NotFoundError:
            return 0

    async def get_thread_summaries(self, room_id: str, root_event_ids: list[str]) -> dict[str, ThreadSummary]:
        store = await self._user.get()
        replies = await store.rooms.events.summarize_replies(room_id, root_event_ids)
        return {
            root: ThreadSummary(
                root_event_id=root, reply_count=summary.count, last_reply_at=summary.last_reply_at
            )
            for root, summary in replies.items()
        }

    async def check_idempotency(self, room_id: str, key: str, *, channel_id: str | None) -> bool:
        store = await self._user.get()
        return await store.rooms.events.find_by_key(room_id, key, channel_id=channel_id) is not None

    async def get_event_by_idempotency_key(
        self, room_id: str, key: str, *, channel_id: str | None
    ) -> RoomEvent | None:
        store = await self._user.get()
        event = await store.rooms.events.find_by_key(room_id, key, channel_id=channel_id)
        return None if event is None else to_event(event)

    async def mark_read(self, room_id: str, channel_id: str, event_id: str) -> None:
        store = await self._user.get()
        await store.rooms.read_markers.advance(room_id, channel_id, event_id)

    async def mark_all_read(self, room_id: str, channel_id: str) -> None:
        store = await self._user.get()
        await store.rooms.read_markers.advance(room_id, channel_id)

    async def get_unread_count(self, room_id: str, channel_id: str) -> int:
        store = await self._user.get()
        return await store.rooms.read_markers.count_unread(room_id, channel_id)

    async def list_read_markers(self, room_id: str) -> dict[str, int]:
        store = await self._user.get()
        markers = await collect(store.rooms.read_markers.iter, room_id)
        return {marker.channel_id: marker.index for marker in markers}


def _translate_error(
    error: AlreadyExistsError | NotFoundError, event: RoomEvent, target: RoomEvent | None = None
) -> Exception:
    """Return RoomKit's error for ours; that of a held id stays ours, the database's own."""
    translated: Exception = error
    if error.kind == "room":
        translated = RoomNotFoundError(event.room_id)
    elif isinstance(error, NotFoundError) and target is not None:
        translated = target_gone(target)
    elif isinstance(error, IdempotencyKeyError):
        translated = key_taken(event)
    return translated
