"""RoomKit's methods on rooms, and on those who are in them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from roomkit.core.exceptions import RoomNotFoundError
from roomkit.models.channel import ChannelBinding
from roomkit.models.enums import RoomStatus
from roomkit.models.participant import Participant
from roomkit.models.room import Room
from roomkit.models.store_filter import RoomFilter
from roomkit.store.base import ConversationStore, room_taken, sender_names

from mongostore.adapters.roomkit.records import (
    from_binding,
    from_participant,
    from_room,
    in_utc,
    to_binding,
    to_participant,
    to_room,
)
from mongostore.adapters.roomkit.records import room_filter as to_filter
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Page, RoomState
from mongostore.sharing import StoreUser
from mongostore.store import AsyncMongoStore

T = TypeVar("T")

logger: Final = logging.getLogger(__name__)

PAGE = 1000


class RoomMethods(ConversationStore):
    """Rooms, bindings and participants."""

    def __init__(
        self, uri: str | None = None, database: str | None = None, *, store: AsyncMongoStore | None = None
    ) -> None:
        self._user = StoreUser(uri, database, store)

    async def create_room(self, room: Room) -> Room:
        store = await self._user.open()
        try:
            await store.rooms.create(from_room(room))
        except AlreadyExistsError:
            raise room_taken(room.id) from None
        return room

    async def get_room(self, room_id: str) -> Room | None:
        store = await self._user.open()
        room = await store.rooms.find(room_id)
        return None if room is None else to_room(room)

    async def room_exists(self, room_id: str) -> bool:
        store = await self._user.open()
        return await store.rooms.exists(room_id)

    async def update_room(self, room: Room) -> Room:
        store = await self._user.open()
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
        store = await self._user.open()
        expected = RoomState(str(status), in_utc(paused_at), in_utc(last_activity_at))
        try:
            return to_room(await store.rooms.replace(from_room(room), expected=expected))
        except (ConflictError, NotFoundError):
            return None

    async def patch_room_metadata(
        self, room_id: str, patch: dict[str, Any], *, unset: Sequence[str] = ()
    ) -> Room | None:
        store = await self._user.open()
        try:
            return to_room(await store.rooms.merge_metadata(room_id, patch, unset=unset))
        except NotFoundError:
            return None

    async def get_delivered_index(self, room_id: str) -> int:
        store = await self._user.open()
        try:
            return await store.rooms.get_delivered_index(room_id)
        except NotFoundError:
            return -1

    async def advance_delivered_index(self, room_id: str, index: int, *, force: bool = False) -> bool:
        store = await self._user.open()
        return await store.rooms.advance_delivered_index(room_id, index, force=force)

    async def get_private_state(self, room_id: str, key: str) -> dict[str, Any] | None:
        store = await self._user.open()
        value = await store.rooms.get_private(room_id, key)
        return value if isinstance(value, dict) else None

    async def set_private_state(self, room_id: str, key: str, value: dict[str, Any] | None) -> None:
        store = await self._user.open()
        await store.rooms.set_private(room_id, key, value)

    async def delete_room(self, room_id: str) -> bool:
        store = await self._user.open()
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
        rooms = (await self._user.open()).rooms
        where = to_filter(status=status, organization_id=organization_id)
        found: list[Room] = []
        cursor = None
        while limit > len(found):
            page = await rooms.list(
                where=where,
                metadata=metadata_filter,
                limit=min(limit - len(found), PAGE),
                offset=0 if cursor else offset,
                cursor=cursor,
            )
            found += map(to_room, readable(page))
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def find_latest_room(
        self, participant_id: str, channel_type: str | None = None, status: str | None = None
    ) -> Room | None:
        store = await self._user.open()
        room = await store.rooms.find_latest(
            participant_id,
            channel_type=None if channel_type is None else str(channel_type),
            where=to_filter(status=status),
        )
        return None if room is None else to_room(room)

    async def find_room_id_by_channel(self, channel_id: str, status: str | None = None) -> str | None:
        store = await self._user.open()
        found = await store.rooms.list_by_channel(channel_id, where=to_filter(status=status), limit=1)
        return found[0] if found else None

    async def find_room_ids_by_channel(
        self,
        channel_id: str,
        room_filter: RoomFilter | None = None,
        limit: int = 2,
        *,
        group: bool | None = None,
    ) -> list[str]:
        rooms = (await self._user.open()).rooms
        where = to_filter(room_filter)
        found: list[str] = []
        while limit > len(found):
            wanted = min(limit - len(found), PAGE)
            page = await rooms.list_by_channel(
                channel_id, group=group, where=where, limit=wanted, offset=len(found)
            )
            found += page
            if len(page) < wanted:
                break
        return found

    async def find_room_id_by_binding(
        self,
        channel_id: str,
        participant_id: str,
        identity_id: str | None = None,
        room_filter: RoomFilter | None = None,
        *,
        recipient_key: str | None = None,
    ) -> str | None:
        store = await self._user.open()
        return await store.rooms.find_by_binding(
            channel_id,
            sorted(sender_names(participant_id, identity_id)),
            recipient=None if recipient_key is None else (recipient_key, participant_id),
            where=to_filter(room_filter),
        )

    async def find_room_id_by_participant(
        self,
        channel_id: str,
        participant_id: str,
        identity_id: str | None = None,
        room_filter: RoomFilter | None = None,
    ) -> str | None:
        store = await self._user.open()
        names = sorted(sender_names(participant_id, identity_id))
        return await store.rooms.find_by_participant(channel_id, names, where=to_filter(room_filter))

    async def load_room_context(
        self, room_id: str
    ) -> tuple[Room | None, list[ChannelBinding], list[Participant]]:
        store = await self._user.open()
        context = await store.rooms.context(room_id)
        if context is None:
            return None, [], []
        bindings = [to_binding(binding) for binding in context.bindings]
        return to_room(context.room), bindings, [to_participant(one) for one in context.participants]

    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        store = await self._user.open()
        try:
            await store.bindings.upsert(from_binding(binding))
        except NotFoundError:
            raise RoomNotFoundError(binding.room_id) from None
        return binding

    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
        store = await self._user.open()
        binding = await store.bindings.find(room_id, channel_id)
        return None if binding is None else to_binding(binding)

    async def binding_exists(self, room_id: str, channel_id: str) -> bool:
        store = await self._user.open()
        return await store.bindings.exists(room_id, channel_id)

    async def update_binding(self, binding: ChannelBinding) -> ChannelBinding:
        return await self.add_binding(binding)

    async def remove_binding(self, room_id: str, channel_id: str) -> bool:
        store = await self._user.open()
        return await store.bindings.delete(room_id, channel_id)

    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        store = await self._user.open()
        return [to_binding(binding) async for binding in store.bindings.iter(room_id)]

    async def add_participant(self, participant: Participant) -> Participant:
        store = await self._user.open()
        try:
            await store.participants.upsert(from_participant(participant))
        except NotFoundError:
            raise RoomNotFoundError(participant.room_id) from None
        return participant

    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None:
        store = await self._user.open()
        participant = await store.participants.find(room_id, participant_id)
        return None if participant is None else to_participant(participant)

    async def update_participant(self, participant: Participant) -> Participant:
        return await self.add_participant(participant)

    async def list_participants(self, room_id: str) -> list[Participant]:
        store = await self._user.open()
        return [to_participant(one) async for one in store.participants.iter(room_id)]


def readable(page: Page[T]) -> list[T]:
    """Return what of a page can be read, and log the rest by its ids."""
    errors: list[InvalidDocumentError] = page.errors
    for error in errors:
        logger.error("left out of a list: %s", error)
    return page.items
