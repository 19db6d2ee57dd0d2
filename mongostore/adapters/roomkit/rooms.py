"""RoomKit's methods on rooms, and on those who are in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from roomkit.core.exceptions import RoomNotFoundError
from roomkit.models.channel import ChannelBinding
from roomkit.models.enums import RoomStatus
from roomkit.models.participant import Participant
from roomkit.models.room import Room
from roomkit.models.store_filter import RoomFilter
from roomkit.store.base import ConversationStore, room_taken, sender_names

from mongostore.adapters.roomkit.conversions import (
    from_binding,
    from_participant,
    from_room,
    read_all,
    room_members,
    to_binding,
    to_participant,
    to_room,
    to_utc,
)
from mongostore.adapters.roomkit.conversions import room_filter as to_filter
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Page, RoomState
from mongostore.repositories.rooms.offsets import Offsets
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore
from mongostore.unreadable import log_unreadable

T = TypeVar("T")

_PAGE = 1000


class RoomMethods(ConversationStore):
    """Rooms, bindings and participants."""

    def __init__(
        self, uri: str | None = None, database: str | None = None, *, store: AsyncMongoStore | None = None
    ) -> None:
        self._user = SharedStore(uri, database, store)

    async def create_room(self, room: Room) -> Room:
        store = await self._user.get()
        try:
            await store.rooms.create(room.id, **room_members(room))
        except AlreadyExistsError:
            raise room_taken(room.id) from None
        return room

    async def get_room(self, room_id: str) -> Room | None:
        store = await self._user.get()
        room = await store.rooms.find(room_id)
        return None if room is None else to_room(room)

    async def room_exists(self, room_id: str) -> bool:
        store = await self._user.get()
        return await store.rooms.exists(room_id)

    async def update_room(self, room: Room) -> Room:
        store = await self._user.get()
        try:
            return to_room(await store.rooms.replace(from_room(room)))
        except NotFoundError:
            raise RoomNotFoundError(room.id) from None

    async def update_room_if(
        self,
        room: Room,
        *,
        status: RoomStatus,
        paused_at: datetime | None,
        last_activity_at: datetime | None,
    ) -> Room | None:
        store = await self._user.get()
        expected = RoomState(str(status), to_utc(paused_at), to_utc(last_activity_at))
        try:
            return to_room(await store.rooms.replace(from_room(room), expected=expected))
        except (ConflictError, NotFoundError):
            return None

    async def patch_room_metadata(
        self, room_id: str, patch: dict[str, Any], *, unset: Sequence[str] = ()
    ) -> Room | None:
        store = await self._user.get()
        try:
            paths = [f"metadata.{key}" for key in unset]
            return to_room(await store.rooms.update(room_id, metadata=patch, unset=paths))
        except NotFoundError:
            return None

    async def get_delivered_index(self, room_id: str) -> int:
        store = await self._user.get()
        try:
            return (await store.rooms.get(room_id)).delivered_index
        except NotFoundError:
            return -1

    async def advance_delivered_index(self, room_id: str, index: int, *, force: bool = False) -> bool:
        store = await self._user.get()
        return await store.rooms.advance_delivered_index(room_id, index, force=force)

    async def get_private_state(self, room_id: str, key: str) -> dict[str, Any] | None:
        store = await self._user.get()
        value = await store.rooms.find_private(room_id, key)
        return value if isinstance(value, dict) else None

    async def set_private_state(self, room_id: str, key: str, value: dict[str, Any] | None) -> None:
        store = await self._user.get()
        with suppress(NotFoundError):
            await store.rooms.set_private(room_id, key, value)

    async def delete_room(self, room_id: str) -> bool:
        store = await self._user.get()
        return await store.rooms.delete(room_id)

    async def list_rooms(self, offset: int = 0, limit: int = 50) -> list[Room]:
        return await self.find_rooms(limit=limit, offset=offset)

    async def find_rooms(
        self,
        organization_id: str | None = None,
        status: str | None = None,
        metadata_filter: dict[str, Any] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Room]:
        rooms = (await self._user.get()).rooms
        filter = to_filter(status=status, organization_id=organization_id)
        cursor = None
        # What an index does not know alone is read, also to be passed over.
        if offset and not metadata_filter:
            if (cursor := await Offsets.of(rooms).find_room_cursor(offset, **filter)) is None:
                return []
            offset = 0
        list_page = partial(rooms.list, order="created", newest=False, metadata=metadata_filter, **filter)
        found = await collect_pages(list_page, offset + max(limit, 0), cursor)
        return read_all(to_room, found[offset:])

    async def find_latest_room(
        self, participant_id: str, channel_type: str | None = None, status: str | None = None
    ) -> Room | None:
        store = await self._user.get()
        room = await store.rooms.find_by_participant(
            participant_id,
            channel_type=None if channel_type is None else str(channel_type),
            **to_filter(status=status),
        )
        return None if room is None else to_room(room)

    async def find_room_id_by_channel(self, channel_id: str, status: str | None = None) -> str | None:
        store = await self._user.get()
        page = await store.rooms.list_by_channel(channel_id, limit=1, **to_filter(status=status))
        return next((room.id for room in collect_readable(page)), None)

    async def find_room_ids_by_channel(
        self,
        channel_id: str,
        room_filter: RoomFilter | None = None,
        limit: int = 2,
        *,
        group: bool | None = None,
    ) -> list[str]:
        rooms = (await self._user.get()).rooms
        list_page = partial(rooms.list_by_channel, channel_id, group=group, **to_filter(room_filter))
        return [room.id for room in await collect_pages(list_page, limit)]

    async def find_room_id_by_binding(
        self,
        channel_id: str,
        participant_id: str,
        identity_id: str | None = None,
        room_filter: RoomFilter | None = None,
        *,
        recipient_key: str | None = None,
    ) -> str | None:
        store = await self._user.get()
        room = await store.rooms.find_by_binding(
            channel_id,
            sorted(sender_names(participant_id, identity_id)),
            recipient=None if recipient_key is None else (recipient_key, participant_id),
            **to_filter(room_filter),
        )
        return None if room is None else room.id

    async def find_room_id_by_participant(
        self,
        channel_id: str,
        participant_id: str,
        identity_id: str | None = None,
        room_filter: RoomFilter | None = None,
    ) -> str | None:
        store = await self._user.get()
        names = sorted(sender_names(participant_id, identity_id))
        room = await store.rooms.find_by_route(channel_id, names, **to_filter(room_filter))
        return None if room is None else room.id

    async def load_room_context(
        self, room_id: str
    ) -> tuple[Room | None, list[ChannelBinding], list[Participant]]:
        store = await self._user.get()
        try:
            full = await store.rooms.get_full(room_id)
        except NotFoundError:
            return None, [], []
        bindings = read_all(to_binding, full.bindings)
        return to_room(full.room), bindings, read_all(to_participant, full.participants)

    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        store = await self._user.get()
        try:
            await store.rooms.bindings.upsert(binding.room_id, from_binding(binding))
        except NotFoundError:
            raise RoomNotFoundError(binding.room_id) from None
        return binding

    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
        store = await self._user.get()
        binding = await store.rooms.bindings.find(room_id, channel_id)
        return None if binding is None else to_binding(binding)

    async def binding_exists(self, room_id: str, channel_id: str) -> bool:
        store = await self._user.get()
        return await store.rooms.bindings.exists(room_id, channel_id)

    async def update_binding(self, binding: ChannelBinding) -> ChannelBinding:
        return await self.add_binding(binding)

    async def remove_binding(self, room_id: str, channel_id: str) -> bool:
        store = await self._user.get()
        return await store.rooms.bindings.delete(room_id, channel_id)

    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        store = await self._user.get()
        return read_all(to_binding, await collect(store.rooms.bindings.iter, room_id))

    async def add_participant(self, participant: Participant) -> Participant:
        store = await self._user.get()
        try:
            await store.rooms.participants.upsert(participant.room_id, from_participant(participant))
        except NotFoundError:
            raise RoomNotFoundError(participant.room_id) from None
        return participant

    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None:
        store = await self._user.get()
        participant = await store.rooms.participants.find(room_id, participant_id)
        return None if participant is None else to_participant(participant)

    async def update_participant(self, participant: Participant) -> Participant:
        return await self.add_participant(participant)

    async def list_participants(self, room_id: str) -> list[Participant]:
        store = await self._user.get()
        return read_all(to_participant, await collect(store.rooms.participants.iter, room_id))


async def collect(iterate: Callable[..., AsyncIterator[T]], *arguments: Any, **options: Any) -> list[T]:
    """Return all that can be read of what a verb yields, and log the rest."""
    errors: list[InvalidDocumentError] = []
    items = [item async for item in iterate(*arguments, **options, errors=errors)]
    return collect_readable(Page(items, errors=errors))


async def collect_pages(
    list_page: Callable[..., Awaitable[Page[T]]],
    limit: int,
    cursor: str | None = None,
    *,
    is_backward: bool = False,
) -> list[T]:
    """Return the first items of a list, of those that can be read.

    Args:
        list_page: Returns a page; it takes `limit` and `cursor`.
        limit: How many at most.
        cursor: The cursor of the page before.
        is_backward: Whether each page stands before the one that was read before it.
    """
    found: list[T] = []
    while limit > len(found):
        page = await list_page(limit=min(limit - len(found), _PAGE), cursor=cursor)
        read = collect_readable(page)
        found = read + found if is_backward else found + read
        if (cursor := page.next_cursor) is None:
            break
    return found


def collect_readable(page: Page[T]) -> list[T]:
    """Return what of a page can be read, and log the rest."""
    log_unreadable(page.errors)
    return page.items
