"""Rooms: created, listed, changed and deleted with all that hangs on them; `store.rooms`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from mongostore.documents.rooms import (
    to_binding,
    to_participant,
    to_room,
    to_stored_room,
)
from mongostore.documents.stored import SCHEMA_VERSION, Raw
from mongostore.errors import (
    AlreadyExistsError,
    InvalidDocumentError,
    NotFoundError,
)
from mongostore.models import Page, Room, RoomContext, RoomFilter
from mongostore.repositories import current_call, long_running, reads, settled_step, writes
from mongostore.repositories.paging import Order, Place
from mongostore.repositories.rooms.changing import SHOWN, RoomChanges, open_room
from mongostore.repositories.rooms.routing import room_conditions
from mongostore.values import (
    check_id,
    check_limit,
    check_offset,
    check_position,
    pack_members,
)

_ITER_PAGE = 200
_ORDER = Order("created_at")


class RoomRepository(RoomChanges):
    """Rooms, and what the service keeps for itself about them.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` when the server does not answer within the store's timeout, `AccessDeniedError`
    when the user lacks the right, and `NotOpenError` on a store that is not open.
    """

    @writes
    async def create(self, room: Room) -> Room:
        """Create a room with the counters that it brings; it is never created twice.

        Returns:
            The room as it is stored.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        call = current_call()
        stored = to_stored_room(room, call.now)
        latest = None if room.latest_index is None else check_position("latest_index", room.latest_index)
        stored |= {
            "private": {},
            "event_count": check_position("event_count", room.event_count),
            "latest_index": latest,
            "delivered_index": _check_delivered(room.delivered_index),
            "next_index": 0 if latest is None else latest + 1,
            "next_position": 0,
            "state": "open",
            "revised_by": call.token,
            "delivered_by": None,
            "schema_version": SCHEMA_VERSION,
        }
        key = check_id("id", room.id)
        while True:
            there = await self._rooms.find_one_and_update(
                {"_id": key},
                {"$setOnInsert": stored},
                {"state": 1, "revised_by": 1},
                upsert=True,
            )
            if there is None or (call.attempt and there["revised_by"] == call.token):
                return to_room({"_id": key, **stored})
            if there["state"] == "open":
                raise AlreadyExistsError("room", key)
            await self._finish_deletion(key)

    @reads
    async def get(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        room = await self.find(room_id)
        if room is None:
            raise NotFoundError("room", room_id)
        return room

    @reads
    async def find(self, room_id: str) -> Room | None:
        """Return a room, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._rooms.find_one(open_room(room_id), SHOWN)
        return None if raw is None else to_room(raw)

    @reads
    async def exists(self, room_id: str) -> bool:
        """Return whether there is such a room.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        return await self._rooms.find_one(open_room(room_id), {"_id": 1}) is not None

    @reads
    async def context(self, room_id: str) -> RoomContext | None:
        """Return a room with its bindings and participants, in one round trip; None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: One of them cannot be read.
        """
        pipeline: list[Raw] = [{"$match": open_room(room_id)}, {"$project": SHOWN}]
        for collection in ("bindings", "participants"):
            stored = self._connection.collection(collection).name
            members: list[Raw] = [{"$match": {"room_id": room_id}}, {"$sort": {"position": 1}}]
            pipeline = [
                *pipeline,
                {"$unionWith": {"coll": stored, "pipeline": members}},
            ]
        async with await self._rooms.aggregate(pipeline, batchSize=_ITER_PAGE) as cursor:
            found = await cursor.to_list()
        if not found or "room_id" in found[0]:
            return None
        bindings = [to_binding(raw) for raw in found[1:] if "names" in raw]
        return RoomContext(
            to_room(found[0]), bindings, [to_participant(raw) for raw in found[1:] if "routes" in raw]
        )

    @reads
    async def list(
        self,
        *,
        where: RoomFilter | None = None,
        metadata: dict[str, Any] | None = None,
        limit: int = 50,
        offset: int = 0,
        cursor: str | None = None,
    ) -> Page[Room]:
        """Return a page of rooms, the oldest first: by the time of their creation, then by id.

        Args:
            where: Which rooms.
            metadata: Each of these keys has this value, compared as Python compares. They are found by an
                index of single values; what it finds too much is read and left out.
            limit: How many at most, 1 to 1000.
            offset: How many to pass over; a cursor does that at no cost.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; rooms that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """
        limit = check_limit("limit", limit)
        offset = check_offset("offset", offset)
        meant = _conditions(where, metadata)
        conditions = _ORDER.behind(meant, _ORDER.decode(cursor))
        page: Page[Room] = Page([])
        # All that is asked for at once, unless some of what is read may have to be left out.
        exact = not metadata
        skipped = 0
        last: Place = (0, "")
        while True:
            raws = await self._page(conditions, limit + 1, offset if exact else 0)
            for raw in raws:
                try:
                    room = to_room(raw)
                except InvalidDocumentError as error:
                    page.errors.append(error)
                    continue
                if not _has_metadata(room, metadata):
                    continue
                if not exact and skipped < offset:
                    skipped += 1
                    continue
                if len(page.items) == limit:
                    return Page(page.items, _ORDER.cursor(last), page.errors)
                page.items.append(room)
                last = _ORDER.place_of(raw)
            if len(raws) <= limit:
                return page
            conditions = _ORDER.behind(meant, _ORDER.place_of(raws[-1]))
            offset = 0 if exact else offset

    @long_running
    async def iter(
        self, *, where: RoomFilter | None = None, metadata: dict[str, Any] | None = None
    ) -> AsyncIterator[Room]:
        """Yield rooms, the oldest first, passing over those that cannot be read.

        Args:
            where: Which rooms.
            metadata: Each of these keys has this value.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        meant = conditions = _conditions(where, metadata)
        while True:
            raws = await settled_step(self._connection, self._page, conditions, _ITER_PAGE)
            for raw in raws:
                with suppress(InvalidDocumentError):
                    room = to_room(raw)
                    if _has_metadata(room, metadata):
                        yield room
            if len(raws) < _ITER_PAGE:
                return
            conditions = _ORDER.behind(meant, _ORDER.place_of(raws[-1]))

    @reads
    async def count(self, *, where: RoomFilter | None = None, metadata: dict[str, Any] | None = None) -> int:
        """Return how many rooms there are.

        Args:
            where: Which rooms.
            metadata: Each of these keys has this value.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        if metadata:
            return sum([1 async for _ in self.iter(where=where, metadata=metadata)])
        return int(await self._rooms.count_documents(room_conditions(where)))

    @writes
    async def delete(self, room_id: str) -> bool:
        """Delete a room for good, with all that hangs on it but identities; return whether it was there.

        From the first moment on nobody finds the room or adds to it. A deletion that is cut short goes on
        when the room is deleted or created again.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        call = current_call()
        raw = await self._rooms.find_one_and_update(
            open_room(room_id), {"$set": {"state": "purging", "revised_by": call.token}}, {"_id": 1}
        )
        if raw is None:
            raw = await self._rooms.find_one({"_id": room_id}, {"revised_by": 1})
            if raw is None:
                return "deleted" in call.seen
            if raw["revised_by"] == call.token:
                call.seen["deleted"] = True
        else:
            call.seen["deleted"] = True
        await self._finish_deletion(room_id)
        return "deleted" in call.seen

    async def _page(self, conditions: Raw, limit: int, offset: int = 0) -> Sequence[Raw]:
        async with self._rooms.find(
            conditions, SHOWN, sort=_ORDER.sort, skip=offset, limit=limit, batch_size=limit + 1
        ) as found:
            raws: Sequence[Raw] = await found.to_list()
        return raws

    async def _finish_deletion(self, room_id: str) -> None:
        """Remove what hangs on a room that nobody finds any more, and the room last."""
        for parts in (
            "events",
            "bindings",
            "participants",
            "tasks",
            "observations",
            "read_markers",
            "voice_deliveries",
        ):
            await self._connection.collection(parts).delete_many({"room_id": room_id})
        await self._rooms.delete_one({"_id": room_id, "state": "purging"})


def _conditions(where: RoomFilter | None, metadata: dict[str, Any] | None) -> Raw:
    """Return the filter of the rooms that are meant; what it says of metadata finds some that are not."""
    conditions = room_conditions(where)
    for key, packed in pack_members("metadata", {} if metadata is None else metadata).items():
        conditions[f"metadata.{key}"] = _alike(packed)
    return conditions


def _has_metadata(room: Room, wanted: dict[str, Any] | None) -> bool:
    return all(room.metadata.get(key) == value for key, value in (wanted or {}).items())


def _check_delivered(index: object) -> int:
    return -1 if index == -1 else check_position("delivered_index", index)


def _alike(packed: Any) -> Any:
    """Return a condition that holds for all values that Python finds equal to a stored one."""
    if packed is None or isinstance(packed, str):
        return packed
    if isinstance(packed, int | float) and not abs(packed) >= 2**63:
        # Python's 1 is 1.0 and True.
        return {"$in": [int(packed), bool(packed)]} if packed in (0, 1) else packed
    # Greater integers, which may equal a float, are stored as text.
    return {"$exists": True}
