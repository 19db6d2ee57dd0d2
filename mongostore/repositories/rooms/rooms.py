"""Rooms: created, found, listed, changed and deleted with all that belongs to them; `store.rooms`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, Unpack

from mongostore.arguments import check_flag, check_id, check_limit, check_text
from mongostore.codec import decode, encode_members
from mongostore.documents.rooms import to_binding, to_participant, to_room
from mongostore.errors import InvalidDocumentError
from mongostore.models import (
    FullRoom,
    ListOrder,
    Page,
    Room,
    RoomCreate,
    RoomFilter,
    RoomSearch,
    RoomState,
    RoomUpdate,
)
from mongostore.repositories import CollectionOf, Connection, Repository, long_running, reads, writes
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.rooms.bindings import AsyncRoomBindings
from mongostore.repositories.rooms.events import AsyncRoomEvents
from mongostore.repositories.rooms.identities import AsyncIdentities
from mongostore.repositories.rooms.observations import AsyncRoomObservations
from mongostore.repositories.rooms.participants import AsyncRoomParticipants
from mongostore.repositories.rooms.read_markers import AsyncReadMarkers
from mongostore.repositories.rooms.room_counters import find_full_room, find_room
from mongostore.repositories.rooms.room_lists import count_rooms, cursor_after, list_rooms, room_order
from mongostore.repositories.rooms.room_log import RoomLog
from mongostore.repositories.rooms.room_lookup import RoomLookup, open_room_filter, room_filter
from mongostore.repositories.rooms.room_updates import RoomUpdates
from mongostore.repositories.rooms.tasks import AsyncRoomTasks
from mongostore.repositories.rooms.verifications import AsyncVerifications
from mongostore.repositories.rooms.voice_deliveries import AsyncVoiceDeliveries


class AsyncRooms(Repository):
    """Rooms, and what a service keeps about them.

    Every list, also of what belongs to rooms, takes `limit` (1 to 1000), the `cursor` that is the
    `next_cursor` of the page before, and `newest` to begin at the other end; documents that cannot be read
    are in the page's `errors`. Every `iter` raises `InvalidDocumentError` at such a document, unless it has
    a list of `errors`, which collects them.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` if the server does not answer within the store's timeout, `AccessDeniedError` if the
    user lacks the right, and `NotOpenError` on a store that is not open.

    Attributes:
        events: The events of rooms.
        bindings: The channels that are attached to rooms.
        participants: The people in rooms.
        tasks: The tasks of rooms.
        observations: The observations of rooms.
        read_markers: How far channels have read.
        voice_deliveries: Speech that exactly one process may speak.
        identities: People across rooms.
        verifications: Whether people have proved who they are.
    """

    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection, changes: ChangeFeed) -> None:
        super().__init__(connection)
        self._log = RoomLog(connection)
        self.events: Final = AsyncRoomEvents(connection, self._log, changes)
        self.bindings: Final = AsyncRoomBindings(connection)
        self.participants: Final = AsyncRoomParticipants(connection)
        self.tasks: Final = AsyncRoomTasks(connection)
        self.observations: Final = AsyncRoomObservations(connection)
        self.read_markers: Final = AsyncReadMarkers(connection)
        self.voice_deliveries: Final = AsyncVoiceDeliveries(connection)
        self.identities: Final = AsyncIdentities(connection)
        self.verifications: Final = AsyncVerifications(connection)
        self._lookup = RoomLookup(connection)
        self._updates = RoomUpdates(connection, self._log)

    @writes
    async def create(self, room_id: str | None = None, **members: Unpack[RoomCreate]) -> Room:
        """Create a room, with a generated id by default.

        Raises:
            AlreadyExistsError: If the id is taken, if only by a room that was erased with a person.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        return await self._updates.create(room_id, members, may_exist=False)

    @writes
    async def ensure(self, room_id: str, **members: Unpack[RoomCreate]) -> Room:
        """Return the room, created with these members if it is not there.

        Raises:
            NotFoundError: If the room was erased with a person.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If it is there and cannot be read.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        return await self._updates.create(check_id("room_id", room_id), members, may_exist=True)

    @reads
    async def get(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("room", room_id, await self.find(room_id))

    @reads
    async def get_full(self, room_id: str) -> FullRoom:
        """Return a room with its bindings and participants, in one round trip.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the room or one of the others cannot be read.
        """
        room, parts = await find_full_room(self._connection, check_id("room_id", room_id))
        room = self._check_found("room", room_id, room)
        bindings = [to_binding(document) for document in parts if "correspondents" in document]
        participants = [to_participant(document) for document in parts if "routes" in document]
        return FullRoom(to_room(room), bindings, participants)

    @reads
    async def find(self, room_id: str) -> Room | None:
        """Return a room; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        room = await find_room(self._connection, check_id("room_id", room_id))
        return None if room is None else to_room(room)

    @reads
    async def find_by_binding(
        self,
        channel_id: str,
        names: Sequence[str],
        *,
        recipient: tuple[str, str] | None = None,
        **filter: Unpack[RoomFilter],
    ) -> Room | None:
        """Return the newest room in which a channel is bound to these people.

        Args:
            channel_id: The channel.
            names: The participants whom the binding reaches.
            recipient: A key and an address: as well a binding that has no participant, is no group, and has
                that address, a text or an integer, under that key of its metadata.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the room cannot be read.
        """
        return await self._lookup.by_binding(channel_id, names, recipient, room_filter(filter))

    @reads
    async def find_by_route(
        self, channel_id: str, names: Sequence[str], **filter: Unpack[RoomFilter]
    ) -> Room | None:
        """Return the newest room that reached these participants by a channel.

        Args:
            channel_id: The channel.
            names: Ids of participants, or of their identities.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the room cannot be read.
        """
        return await self._lookup.by_route(channel_id, names, room_filter(filter))

    @reads
    async def find_by_participant(
        self, participant_id: str, *, channel_type: str | None = None, **filter: Unpack[RoomFilter]
    ) -> Room | None:
        """Return the newest room of a person, by participant or binding.

        Args:
            participant_id: The person.
            channel_type: Only bindings of this type of channel; participants are found anyway.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the room cannot be read.
        """
        return await self._lookup.by_participant(participant_id, channel_type, room_filter(filter))

    @reads
    async def exists(self, room_id: str) -> bool:
        """Return whether there is such a room.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        return await self._rooms.find_one(open_room_filter(room_id), {"_id": 1}) is not None

    @long_running
    async def count(self, *, limit: int | None = None, **where: Unpack[RoomSearch]) -> int:
        """Return how many rooms there are, `limit` at most.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        return await count_rooms(self._connection, limit, where)

    @long_running
    async def list(
        self,
        *,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[RoomSearch],
    ) -> Page[Room]:
        """Return a page of rooms, the most recently active ones first.

        With `text` a page may be short, even empty, while others follow.

        Args:
            order: By the second of the newest activity (`active`; of the creation, before the first event),
                or by creation (`created`), which stands still while pages are read. Then by id.
            newest: Whether the newest ones come first.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.
            **where: Which rooms. An index of single values finds their metadata; what it finds too much is
                read and left out.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        check_limit("limit", limit)
        await self._log.wait_until_listed()
        rooms = await list_rooms(self._connection, room_order(order, newest), where)
        return await rooms.page(limit, cursor)

    @reads
    async def list_by_channel(
        self,
        channel_id: str,
        *,
        group: bool | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        **filter: Unpack[RoomFilter],
    ) -> Page[Room]:
        """Return a page of a channel's rooms, by creation time, then by id.

        Args:
            channel_id: The channel.
            group: Whether the binding is a group's; None for both.
            newest: Whether the newest ones come first.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        rooms = room_filter(filter)
        return await self._lookup.page_of_channel(
            channel_id, group, check_flag("newest", newest), limit, cursor, rooms
        )

    @long_running
    async def iter(
        self,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[RoomSearch],
    ) -> AsyncIterator[Room]:
        """Yield rooms by the time of their creation, then by id.

        Args:
            newest: Whether the newest ones come first.
            errors: Collects the errors of rooms that cannot be read.
            **where: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a room cannot be read and `errors` is None.
        """
        found = await list_rooms(self._connection, room_order("created", newest), where)
        async with aclosing(found.iterate(errors)) as rooms:
            async for room in rooms:
                yield room

    @staticmethod
    def cursor_of(room: Room, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page behind a room, in either direction.

        Raises:
            InvalidValueError: If it is no room that is stored, or there is no such order.
        """
        return cursor_after(room, order)

    @writes
    async def update(self, room_id: str, **members: Unpack[RoomUpdate]) -> Room:
        """Change members of a room; the others stay.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If it cannot be read, after it was changed.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """
        return await self._updates.update(room_id, members)

    @writes
    async def replace(self, room: Room, *, expected: RoomState | None = None) -> Room:
        """Replace a room but for its counters, creation and private values.

        Its name and its expiry stay unless others are set.

        Args:
            room: The room as it is to be.
            expected: Replace it only if it is still in this state.

        Raises:
            NotFoundError: If there is no such room.
            ConflictError: If it is in another state; nothing is changed.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """
        return await self._updates.replace(room, expected)

    @writes
    async def advance_delivered_index(self, room_id: str, index: int, *, force: bool = False) -> bool:
        """Move the delivered index forward; return whether it was its turn.

        Args:
            room_id: The room.
            index: The index of the event that is delivered now.
            force: Whether to move from any lower index, and not only from the one before.

        Raises:
            InvalidValueError: If the id is no plain string, or the index no integer.
        """
        return await self._updates.advance_delivered_index(room_id, index, force)

    @reads
    async def find_private(self, room_id: str, key: str) -> Any | None:
        """Return the private values of a room, outside its members, or None.

        Raises:
            InvalidValueError: If the id or the key is no plain string.
        """
        ((name, _),) = encode_members("private", {check_text("key", key): None}).items()
        document = await self._rooms.find_one(open_room_filter(room_id), {f"private.{name}": 1})
        return decode((document or {}).get("private", {}).get(name))

    @writes
    async def set_private(self, room_id: str, key: str, value: Any) -> None:
        """Store a private value of a room, and remove the key from its metadata.

        Args:
            room_id: The room.
            key: Any text.
            value: Any JSON value; None removes the key.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If the id or the key is no plain string, or the value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        await self._updates.set_private(room_id, key, value)

    @writes
    async def delete(self, room_id: str) -> bool:
        """Delete a room and its parts, but no identity; return if it existed.

        From the first moment on the room is not found and takes nothing more. A deletion that is cut short
        goes on when the room is deleted or created again.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        return await self._updates.delete(room_id)
