"""The parts of a room in the order in which they came, which the room counts and no clock decides."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.rooms import is_closed, part_id
from mongostore.errors import AlreadyExistsError, InvalidDocumentError, InvalidValueError, NotFoundError
from mongostore.models import Page
from mongostore.repositories import (
    CollectionOf,
    Connection,
    Repository,
    current_operation,
    long_running,
    reads,
)
from mongostore.repositories.expiry import is_expired
from mongostore.repositories.operation import (
    MOST_OPS,
    find_done,
    newest_life,
    not_made_since,
    remember,
    update_once,
)
from mongostore.repositories.paging import Order, SortOrder, list_page, walk
from mongostore.repositories.parts import find_part, find_parts
from mongostore.repositories.rooms.room_log import RoomLog
from mongostore.repositories.rooms.room_lookup import take_back_if_gone
from mongostore.repositories.rooms.room_updates import RoomUpdates
from mongostore.repositories.store_collection import StoreCollection

V = TypeVar("V")
M = TypeVar("M", bound=BaseModel)

# So many replacements of what is deleted are remembered by its room.
_REPLACEMENTS = 4
_END_FIELDS = dict.fromkeys(("state", "epoch", "expires_at", "deleted_at"), 1)
# Places in a room begin at 0.
_AFTER_ALL_TIMES = 2**53


class RoomList(Repository, Generic[V]):
    """One kind of thing of which a room can have many."""

    @reads
    async def list(
        self, room_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[V]:
        """Return a page of those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        return await self._list_page({"room_id": check_id("room_id", room_id)}, newest, limit, cursor)

    @long_running
    def iter(
        self,
        room_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[V]:
        """Yield all those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """
        return self._walk({"room_id": check_id("room_id", room_id)}, newest, errors)

    _NAME: ClassVar[str]
    # Returns what is stored as callers see it.
    _decode: ClassVar[staticmethod[[StoredDocument], Any]]

    @property
    def _collection(self) -> StoreCollection:
        return self._connection.collection(self._NAME)

    @staticmethod
    def _order(newest: bool) -> Order:
        return SortOrder("position", is_ascending=not check_flag("newest", newest))

    async def _find(self, filter: StoredDocument) -> V | None:
        document = await find_part(self._connection, self._NAME, filter)
        return None if document is None else self._decode(document)

    async def _list_page(
        self, filter: StoredDocument, newest: bool, limit: int, cursor: str | None
    ) -> Page[V]:
        order = self._order(newest)
        return await list_page(
            self._connection, self._NAME, filter, order, limit, cursor, self._decode, find=find_parts
        )

    def _walk(
        self, filter: StoredDocument, newest: bool, errors: builtins.list[InvalidDocumentError] | None
    ) -> AsyncGenerator[V, None]:
        order = self._order(newest)
        return walk(self._connection, self._NAME, filter, order, self._decode, errors, find=find_parts)


class RoomParts(RoomList[V]):
    """One kind of thing of which each takes the next place in its room, and is listed by it."""

    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def _run_locked(self, room_id: str, insert: Callable[[Any], Awaitable[None]]) -> None:
        """Run a transaction that takes a place in a room; many at once would but be in each other's way."""
        turn = self._locks.setdefault(room_id, asyncio.Lock())
        async with turn:
            with suppress(_DoneError):
                await self._connection.engine.transact(insert)

    async def _allocate_position(self, room_id: str, session: Any) -> StoredDocument | None:
        """Return the next place in a room and the time of its creation; None where there is no such room.

        Raises:
            _DoneError: An earlier attempt of the call has taken one.
            NotFoundError: The room was made since the call began, which has meant the one before.
        """
        rooms, call = self._rooms, current_operation()
        # Without transactions an earlier attempt may have taken a place and no more.
        is_atomic = self._connection.has_transactions
        open_room = {"_id": room_id, "state": "open", **not_made_since("epoch")}
        room = await rooms.find_one_and_update(
            {**open_room, **({"ops": {"$ne": call.token}} if is_atomic else {})},
            {"$inc": {"next_part_position": 1}, "$push": remember(call.token)},
            projection={"next_part_position": 1, "created_at": 1, "epoch": 1, "status": 1},
            session=session,
        )
        if room is None and is_atomic and await find_done(rooms, open_room, session=session):
            raise _DoneError
        if room is None and call.attempt:
            await self._check_life(room_id, session)
        if room and call.meets_another("life", room["epoch"]):
            raise NotFoundError("room", room_id)
        return room and {
            "position": room["next_part_position"],
            "room_created_at": room["created_at"],
            "room_is_closed": is_closed(room["status"]),
            "epoch": room["epoch"],
            "stored_at": call.now,
        }

    async def _check_life(self, room_id: str, session: Any) -> None:
        later = {"_id": room_id, "state": "open", "epoch": {"$gt": newest_life()}}
        if await self._rooms.find_one(later, {"_id": 1}, session=session) is not None:
            raise NotFoundError("room", room_id)

    async def _upsert_part(self, key: Any, stored: StoredDocument) -> None:
        """Store something under its key, in the place that it has or in the next one."""
        own = {"_id": key, "room_id": stored["room_id"]}

        async def insert(session: Any) -> None:
            taken = await self._allocate_position(stored["room_id"], session)
            if taken is None:
                raise NotFoundError("room", stored["room_id"])
            change = {"$set": stored, "$setOnInsert": taken, "$push": remember(current_operation().token)}
            await self._collection.update_one(own, change, upsert=True, session=session)
            if await self._was_taken_back(own, taken["epoch"]):
                raise NotFoundError("room", stored["room_id"])

        while not await self._replace(own, stored):
            # Another call may be just about to put it there.
            with suppress(DuplicateKeyError):
                await self._run_locked(stored["room_id"], insert)
                break

    async def _replace(self, own: StoredDocument, stored: StoredDocument) -> bool:
        """Replace something and return whether it was there; what was stored since the call began stays."""
        own, fields = {**own, **_not_later()}, {"_id": 1}
        return await update_once(self._collection, own, {"$set": stored}, projection=fields) is not None

    async def _delete(self, filter: StoredDocument) -> bool:
        """Delete something and return whether it was there; what was stored since then stays."""
        gone = await self._collection.find_one_and_delete(
            {**filter, **_not_later()}, {"ops": 1, "room_id": 1, "epoch": 1}
        )
        # The first stored it, which its room knows; the room must know of later ones from now on, so that a
        # retry does not bring it back.
        if gone and (replacements := gone.get("ops", [])[1:]):
            remembered = {"$push": {"ops": {"$each": replacements[-_REPLACEMENTS:], "$slice": -MOST_OPS}}}
            # One that came before its room has no life of its own, and belongs to any.
            same = {"_id": gone["room_id"], **({"epoch": gone["epoch"]} if "epoch" in gone else {})}
            await self._rooms.update_one(same, remembered)
        return gone is not None or current_operation().attempt > 0

    async def _create(self, kind: str, stored: StoredDocument, moved: StoredDocument | None = None) -> None:
        """Store something with an id of its own in the next place of its room, if there is such a room.

        Args:
            kind: Its kind.
            stored: Its stored form.
            moved: The filter that finds it in another room, which it leaves.
        """
        call, room_id = current_operation(), stored["room_id"]

        async def insert(session: Any) -> None:
            document = {**stored, "stored_at": call.now}
            if taken := await self._allocate_position(room_id, session):
                document |= {"position": taken["position"], "epoch": taken["epoch"]}
            else:
                await self._check_absent(room_id, session)
                # In the order of their times come those that a room finds there.
                document["position"] = call.now - _AFTER_ALL_TIMES
            if not (moved and await self._move(moved, document, session)):
                await self._collection.insert_one({**document, "ops": [call.token]}, session=session)
            if taken:
                await self._was_taken_back({"_id": stored["_id"], "room_id": room_id}, taken["epoch"])

        try:
            while True:
                try:
                    await self._run_locked(room_id, insert)
                    break
                except _EndedError as ended:
                    # Its deletion would take what is stored after its end as well.
                    await self._finish_end(ended.room)
        except DuplicateKeyError:
            existing = await self._collection.find_one(
                {"_id": stored["_id"], "room_id": stored["room_id"]}, {"ops": 1}
            )
            if existing is None or call.token not in existing.get("ops", ()):
                raise AlreadyExistsError(kind, stored["_id"]) from None

    async def _was_taken_back(self, own: StoredDocument, epoch: str) -> bool:
        """Take something back whose room was deleted meanwhile, which a transaction does not let happen."""
        take_back = partial(self._collection.delete_one, {**own, "epoch": epoch})
        return not self._connection.has_transactions and await take_back_if_gone(
            self._connection, own["room_id"], epoch, take_back
        )

    async def _move(self, moved: StoredDocument, document: StoredDocument, session: Any) -> bool:
        """Put something into its place in another room, and return whether it still was where it was."""
        update: StoredDocument = {"$set": document, "$push": remember(current_operation().token)}
        if "epoch" not in document:
            update["$unset"] = {"epoch": ""}
        result = await self._collection.update_one({**moved, **_not_later()}, update, session=session)
        return bool(result.matched_count)

    async def _check_absent(self, room_id: str, session: Any) -> None:
        """Check that what is stored may wait for a room that is not there.

        Raises:
            _DoneError: The room in which an earlier attempt may have stored it is gone, with all in it.
            _EndedError: The room is to be deleted first.
            NotFoundError: It was erased with a person.
        """
        call = current_operation()
        room = await self._rooms.find_one({"_id": room_id}, _END_FIELDS, session=session)
        if room is None and call.attempt and "life" in call.memory:
            raise _DoneError
        if room and room.get("state") == "deleted":
            raise NotFoundError("room", room_id)
        if room and (room.get("state") == "deleting" or is_expired(room, call.now)):
            raise _EndedError(room)

    async def _finish_end(self, room: StoredDocument) -> None:
        """Delete a room that has expired or is being deleted, if it still is there."""
        updates = RoomUpdates(self._connection, RoomLog(self._connection))
        if room["state"] == "deleting":
            await updates.finish_delete(room)
        else:
            await updates.delete_expired(room)


def _not_later() -> StoredDocument:
    """Return the filter that finds nothing that was stored since an earlier attempt of the call."""
    call = current_operation()
    return {"stored_at": {"$not": {"$gt": call.began}}} if call.attempt else {}


class _DoneError(Exception):
    """An earlier attempt of the call has done its work."""


class _EndedError(Exception):
    """The room of the part has expired, or is being deleted."""

    def __init__(self, room: StoredDocument) -> None:
        super().__init__()
        self.room = room


def in_room(path: str, part: Any, model: type[M], room_id: str) -> M:
    """Return a part of a room with the id of the room."""
    check_instance(path, part, model)
    if part.room_id is None:
        part = part.model_copy(update={"room_id": check_id("room_id", room_id)})
    elif part.room_id != check_id("room_id", room_id):
        raise InvalidValueError("room_id", "must be None, or the id of the room that the verb names")
    checked: M = part
    return checked


def part_filter(room_id: str, name: str, id: str) -> StoredDocument:
    """Return the filter of a part whose id is unique within its room."""
    return {"_id": part_id(check_id("room_id", room_id), check_id(name, id)), "room_id": room_id}


def owned_filter(room_id: str, name: str, id: str) -> StoredDocument:
    """Return the filter of a part whose id is unique in the store."""
    return {"_id": check_id(name, id), "room_id": check_id("room_id", room_id)}
