"""The log of a room: an event's insert is its commit.

A room has one open log, `room.log`, and (room, log, position in the log) is unique: of two processes that
want one position, the server refuses the second, and several events are one ordered insert. Each event
carries the room's counters as they are after it; the room's own ones are those with which its log began.

A fence takes the next position of a log, and no event comes behind it. A change of a room that commits must
heed (a pause, a deletion) is one update of the room behind a fence, which also opens the next log.
Events that are deleted keep their positions, empty, for longer than any process remembers a log.

Three rules make it right:

1. A position is asked for only by a process that knows that the majority has the one before it.
2. A log is used only if the majority has the room with it, and left only behind a fence that the majority
   has.
3. After an unknown outcome the same event is inserted again, with the same id and operation token.

A room is listed by the second of its newest activity, which is in its document: the first activity of a
second puts it there behind its insert, and the next event does so where a process ended in between.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.documents.mapping import MAX_VALUE_BYTES, SCHEMA_VERSION, StoredDocument
from mongostore.documents.rooms import is_closed, second_of
from mongostore.errors import NotFoundError
from mongostore.recent import Recent
from mongostore.repositories import CollectionOf, Connection, current_operation
from mongostore.repositories.operation import UnmatchedWrite, newest_life
from mongostore.repositories.rooms.room_counters import PUBLIC_FIELDS, count_events, find_with_newest
from mongostore.repositories.rooms.room_listing import Listing, RoomListing
from mongostore.repositories.size_limits import SizeLimit

# The rest of a room is short.
MERGED = SizeLimit("room", ("data", "metadata", "private"), MAX_VALUE_BYTES)

_COUNTERS = ("event_count", "latest_index", "active_at")
# Far less than the time for which an empty position stays taken (indexes/events.json).
FRESH_SECONDS = 30.0
_MOST_HEADS = 10_000
_PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class LogHead:
    """The end of a room's open log.

    Attributes:
        epoch: The room's life: a room that is created again under its id has another one.
        log: The log.
        log_index: The position of the newest event in the log; -1 if there is none.
        next_index: The index of the next event.
        counters: The room's counters by now.
        is_paused: Whether the room waits for an activity.
        listed_at: The second of an activity by which the room is listed, as far as this process knows.
        expires_at: From when on the room is not found any more; None for never.
    """

    epoch: str
    log: str
    log_index: int
    next_index: int
    counters: StoredDocument
    is_paused: bool
    listed_at: int
    expires_at: int | None = None

    @classmethod
    def of_room(cls, room: StoredDocument, newest: StoredDocument | None) -> LogHead:
        """Return the end of the open log of a stored room, beside which the newest event was read."""
        head = cls(
            *(room["epoch"], room["log"], -1, room["next_index"], _counters(room)),
            is_paused=room["status"] == "paused",
            listed_at=room["listed_at"],
            expires_at=room.get("expires_at"),
        )
        return head if newest is None or newest.get("log") != head.log else head.advanced_by(newest)

    def advanced_by(self, event: StoredDocument) -> LogHead:
        """Return the end of the same log behind a later event."""
        return replace(
            self,
            log_index=event["log_index"],
            next_index=event["index"] + 1,
            counters=event["counters"],
        )

    @property
    def active_second(self) -> int:
        """The second by which the room is to be listed."""
        return max(self.listed_at, second_of(self.counters["active_at"] or 0))


class RoomLog:
    """The open logs of rooms: read, remembered, and closed for a change."""

    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heads = Recent[str, tuple[LogHead, float]](_MOST_HEADS)
        self._listing = RoomListing(connection, self.forget)

    def cached(self, room_id: str) -> LogHead | None:
        """Return the end of a room's log as this process has seen it lately."""
        head, seen_at = self._heads.get(room_id, (None, 0.0))
        if head is None or time.monotonic() - seen_at >= FRESH_SECONDS:
            return None
        return None if head.expires_at and head.expires_at <= self._connection.clock.now() else head

    def remember(self, room_id: str, head: LogHead) -> None:
        """Keep the end of a room's log, which the majority has."""
        self._heads[room_id] = head, time.monotonic()

    def advance(self, room_id: str, head: LogHead, end: LogHead) -> None:
        """Keep the end of a room's log that was at a head, unless that was forgotten since."""
        if self._heads.get(room_id, (None, 0.0))[0] is head:
            self.remember(room_id, end)

    def forget(self, room_id: str) -> None:
        """Read the end of a room's log anew before it is used again."""
        self._heads.pop(room_id, None)

    async def read(self, room_id: str, *, is_expired: bool = False) -> tuple[StoredDocument, LogHead]:
        """Return a room, its counters up to date, and the end of its log, as the majority has them.

        Args:
            room_id: The room.
            is_expired: Whether it may have expired.
        """
        self._connection.check_attached()
        engine = self._connection.engine
        events, fields = engine.majority_collection(engine.collection("events")), {"private": 0}
        room, newest, _ = await engine.read_majority(
            lambda: find_with_newest(self._connection, events, room_id, fields, is_expired=is_expired)
        )
        if room is None:
            raise NotFoundError("room", room_id)
        if room["schema_version"] > SCHEMA_VERSION:
            await UnmatchedWrite(self._rooms, {"_id": room_id}).verify()
        # The counters that the log began with are the head's, if it has no event.
        return count_events(dict(room), newest), LogHead.of_room(room, newest)

    def list_anew(self, room_id: str, head: LogHead, seconds: float) -> LogHead:
        """List a room by the second of its newest activity, and return the end of its log.

        No commit waits for that: the lists of this store do, and its end.

        Args:
            room_id: The room.
            head: The end of its log.
            seconds: How long that may take: a transaction of another client may lock the room.
        """
        if head.active_second == head.listed_at:
            return head
        self._connection.closers.add(self.wait_until_listed)
        self._listing.add(Listing(room_id, head.log, head.active_second, seconds))
        return replace(head, listed_at=head.active_second)

    async def wait_until_listed(self) -> None:
        """Wait until the rooms of earlier commits are listed by them."""
        await self._listing.wait()

    async def catch_up(self, room_id: str, head: LogHead) -> LogHead:
        """Return the end of a room's open log, of which another process has taken the next position."""
        newest = await self._newest(room_id, head)
        if newest is not None and "index" not in newest:
            # A fence, whose process is dead, or just about to open the next log.
            _, end = await self.read(room_id)
            if end.log != head.log:
                return end
            await self._open_next(room_id, end, {}, {})
            _, end = await self.read(room_id)
            self.remember(room_id, end)
            return end
        if newest is not None and newest["log_index"] > head.log_index:
            return head.advanced_by(newest)
        # The majority does not have it yet.
        await asyncio.sleep(_PAUSE_SECONDS * random.random())
        return head

    async def change(
        self,
        room_id: str,
        decide: Callable[[StoredDocument], tuple[StoredDocument, StoredDocument]],
        *,
        is_expired: bool = False,
    ) -> StoredDocument:
        """Change a room, behind a fence of its log if commits must heed it, and return it with its counters.

        Args:
            room_id: The room.
            decide: Returns the update for a room, and the addition to the update's filter; may
                be called several times.
            is_expired: Whether the room may have expired; the filter then names `expires_at`.
        """
        while True:
            room, head = await self.read(room_id, is_expired=is_expired)
            if current_operation().attempt and room["epoch"] > newest_life():
                # An earlier attempt may have changed the one before.
                raise NotFoundError("room", room_id)
            update, guard = decide(room)
            closes, same = _closes(room, update), StoredDocument()
            if "status" in update.get("$set", {}):
                same["status"] = room["status"]
            if "ops" in update.get("$push", {}):
                # The majority may not have what an earlier attempt has done.
                same["ops"] = {"$nin": update["$push"]["ops"]["$each"]}
            if not _needs_fence(room, update, guard):
                changed = await self._update_beside(room, update, same, closes)
            elif await self.fence(room_id, head):
                if {"active_at", "created_at"} & (sets := update.get("$set", {})).keys():
                    times = {**room, **sets}
                    listed_at = second_of(times["active_at"] or times["created_at"])
                    update = {**update, "$set": {**sets, "listed_at": listed_at}}
                changed = await self._open_next(room_id, head, update, {**same, **guard}, closes)
            else:
                changed = None
            if changed is not None:
                return changed
            await asyncio.sleep(_PAUSE_SECONDS * random.random())

    async def _update_beside(
        self, room: StoredDocument, update: StoredDocument, same: StoredDocument, closes: bool | None
    ) -> StoredDocument | None:
        """Change a room whose commits need not heed it; None if it is not the same any more."""
        sets = {name: value for name, value in update["$set"].items() if name != "active_at"}
        same = {"_id": room["_id"], "state": "open", "epoch": room["epoch"], **same}
        changed = await update_room(self._connection, same, {**update, "$set": sets}, closes=closes)
        # Another log has begun with counters that are newer.
        return changed | _counters(room) if changed and changed["log"] == room["log"] else changed

    async def fence(self, room_id: str, head: LogHead) -> bool:
        """Take the next position of a log; return whether a fence has it, of this process or another one."""
        position = {"log": head.log, "log_index": head.log_index + 1, "epoch": head.epoch}
        fence: list[StoredDocument] = [{"$set": {**position, "emptied_at": "$$NOW"}}]
        try:
            await self._connection.collection("events").update_one(
                {"_id": uuid4().hex, "room_id": room_id}, fence, upsert=True
            )
        except DuplicateKeyError:
            newest = await self._newest(room_id, head)
            is_next = newest is not None and newest["log_index"] == head.log_index + 1
            return is_next and newest is not None and "index" not in newest
        return True

    async def _open_next(
        self,
        room_id: str,
        head: LogHead,
        update: StoredDocument,
        guard: StoredDocument,
        closes: bool | None = None,
    ) -> StoredDocument | None:
        """Open the next log behind a fence, with a change; None if another process has left the log."""
        self.forget(room_id)
        self._connection.check_attached()
        base = {"log": uuid4().hex, "next_index": head.next_index, "listed_at": head.active_second}
        log = {"_id": room_id, "state": "open", "log": head.log, **guard}
        update = {**update, "$set": {**base, **head.counters, **update.get("$set", {})}}
        return await update_room(self._connection, log, update, closes=closes)

    async def _newest(self, room_id: str, head: LogHead) -> StoredDocument | None:
        """Return the newest document of a log that the majority has, be it an event or a fence."""
        self._connection.check_attached()
        engine = self._connection.engine
        events = engine.majority_collection(engine.collection("events"))
        of_log = {"room_id": room_id, "log": head.log}
        found: StoredDocument | None = await engine.read_majority(
            lambda: events.find_one(of_log, sort=[("log_index", -1)])
        )
        return found


def _needs_fence(room: StoredDocument, update: StoredDocument, guard: StoredDocument) -> bool:
    """Return whether commits must heed a change of a room."""
    sets = update.get("$set")
    if not sets or guard or {"state", "next_index"} & sets.keys() or sets.get("status") == "paused":
        return True
    times = ("active_at", "created_at", "expires_at")
    return any(sets.get(name, room.get(name)) != room.get(name) for name in times)


def _closes(room: StoredDocument, update: StoredDocument) -> bool | None:
    """Return whether an update closes a room or opens it; None if it does neither."""
    closes = is_closed(update.get("$set", {}).get("status", room["status"]))
    return None if closes == is_closed(room["status"]) else closes


def _counters(room: StoredDocument) -> StoredDocument:
    return {name: room[name] for name in _COUNTERS}


async def update_room(
    connection: Connection, filter: StoredDocument, update: StoredDocument, *, closes: bool | None = None
) -> StoredDocument | None:
    """Update a room and return it; None if the filter finds none.

    Args:
        connection: The connection.
        filter: The filter of the room, with its `_id`.
        update: The update.
        closes: Whether it closes the room or opens it, which look-ups by its parts heed; None for neither.
    """
    rooms = connection.collection("rooms")

    async def mark_parts(closed: bool, session: Any) -> None:
        for name in ("bindings", "participants"):
            parts, fields = {"room_id": filter["_id"]}, {"$set": {"room_is_closed": closed}}
            await connection.collection(name).update_many(parts, fields, session=session)

    async def change(session: Any) -> StoredDocument | None:
        # Without transactions a crash midway may leave the parts of a closed room unmarked, and no others.
        if closes is False:
            await mark_parts(False, session)
        run = partial(
            rooms.find_one_and_update,
            projection=PUBLIC_FIELDS,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        document: StoredDocument | None = await MERGED.write(rooms, filter["_id"], filter, update, run)
        if closes and document is not None:
            await mark_parts(True, session)
        if closes is not None and not connection.has_transactions:
            # Another process may have opened it before that, or marked them as closed since.
            room = await rooms.find_one({"_id": filter["_id"]}, {"status": 1})
            if room is None or not is_closed(room["status"]):
                await mark_parts(False, None)
        return document

    return await (change(None) if closes is None else connection.engine.transact(change))


def position_below(epoch: str, index: int) -> StoredDocument:
    """Return the position of an event whose index no log gives any more: the epoch names their log."""
    return {"index": index, "epoch": epoch, "log": epoch, "log_index": index}


def emptied() -> list[StoredDocument]:
    """Return the update that leaves of an event nothing but its position in its log, and whose it was."""
    position = {name: f"${name}" for name in ("_id", "room_id", "epoch", "log", "log_index", "op")}
    return [{"$replaceWith": {**position, "former_index": "$index", "emptied_at": "$$NOW"}}]


async def free_ids(connection: Connection, event_ids: Sequence[str]) -> None:
    """Give the positions of deleted events to documents with other ids."""
    events = connection.collection("events")

    async def move(session: Any) -> None:
        empty: StoredDocument = {"_id": {"$in": [*event_ids]}, "emptied_at": {"$exists": True}}
        documents = await events.find_all(empty, session=session)
        if documents:
            rooms = {"$in": sorted({document["room_id"] for document in documents})}
            await events.delete_many({**empty, "room_id": rooms}, session=session)
            moved = [{**document, "_id": uuid4().hex} for document in documents]
            await events.insert_many(moved, session=session)

    await connection.engine.transact(move)
