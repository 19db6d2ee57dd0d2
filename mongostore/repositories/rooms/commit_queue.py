"""Events take their places in a room: those that wait for the same room go together, in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from mongostore.documents.mapping import Raw
from mongostore.engines import Capability
from mongostore.engines.driver_errors import translate_error
from mongostore.errors import (
    AlreadyExistsError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
)
from mongostore.repositories import Connection, current_operation

_GROUP = 100
_GROUP_BYTES = 4 * 1024 * 1024


@dataclass
class Rewrite:
    """The change of an event by another one that edits or deletes it.

    Attributes:
        event_id: The event that is changed.
        update: The update document that does it.
        erases: Whether the event's edits, which hold what it said, are marked as deleted too.
    """

    event_id: str
    update: Raw
    erases: bool


@dataclass
class Entry:
    """An event on its way into a room.

    Attributes:
        event: Its stored form, without the index.
        bytes: The size of that.
        counted: Whether it moves the room's counters.
        activity: Whether it is the room's activity, which makes a paused room active.
        rewrite: What it does to another event.
    """

    event: Raw
    bytes: int
    counted: bool
    activity: bool
    rewrite: Rewrite | None = None
    seconds: float = 0
    done: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Committer:
    """Gives events their indexes and stores them, all of them in the order of their indexes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, deque[Entry]] = {}
        self._workers: set[asyncio.Task[None]] = set()

    async def commit(self, entry: Entry) -> int:
        """Store an event and return the index that it got.

        Raises:
            NotFoundError: There is no such room, or no such event to rewrite.
            AlreadyExistsError: The event's id is taken, or its idempotency key.
        """
        call, room_id = current_operation(), entry.event["room_id"]
        entry.event["op"] = call.token
        entry.seconds = call.attempt_seconds()
        if (waiting := self._waiting.get(room_id)) is not None:
            waiting.append(entry)
        else:
            self._waiting[room_id] = deque([entry])
            # In a context of its own: neither this call's deadline nor its end may touch the others'.
            worker = asyncio.create_task(self._work(room_id), context=Context())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await entry.done

    async def _work(self, room_id: str) -> None:
        waiting, group = self._waiting[room_id], list[Entry]()
        try:
            while waiting:
                # Whoever got an answer just now may have more to commit: let them join.
                await asyncio.sleep(0)
                group = _next_group(waiting)
                await self._settle(room_id, group)
        finally:
            del self._waiting[room_id]
            # Nobody is left waiting, whatever ended the work.
            for entry in (*group, *waiting):
                _fail(entry, NotOpenError("the store was closed"))

    async def _settle(self, room_id: str, group: Sequence[Entry]) -> None:
        """Store a group of events, or one by one if one of them stands in the way of all."""
        group = [entry for entry in group if not entry.done.done()]
        if not group:
            return
        try:
            self._connection.check_open()
            with self._connection.engine.deadline(max(entry.seconds for entry in group)):
                first = await self._connection.engine.transact(
                    lambda session: self._store(room_id, group, session)
                )
        except (BulkWriteError, DuplicateKeyError, NotFoundError) as error:
            if len(group) > 1:
                for entry in group:
                    await self._settle(room_id, [entry])
            else:
                await self._explain(group[0], error)
        except (PyMongoError, MongoStoreError) as error:
            if len(group) > 1 and isinstance(error, OperationFailure) and not _is_passing(error):
                for entry in group:
                    await self._settle(room_id, [entry])
                return
            for entry in group:
                _fail(entry, self._translated(error))
        else:
            for index, entry in enumerate(group, first):
                if not entry.done.done():
                    entry.done.set_result(index)

    async def _store(self, room_id: str, group: Sequence[Entry], session: Any) -> int:
        """Store a group of events and return the index of the first one."""
        # Asked anew by each attempt: the store may be closed meanwhile.
        self._connection.check_open()
        events = self._connection.collection("events")
        if Capability.TRANSACTIONS not in self._connection.engine.capabilities:
            # Nothing takes the first write back if the last one fails: what can be known is asked beforehand.
            names = [name for entry in group for name in _names(entry.event)]
            if len(set(names)) < len(names):
                raise DuplicateKeyError("taken within the group")
            for entry in group:
                await self._check(entry)
        room = await self._connection.collection("rooms").find_one_and_update(
            {"_id": room_id, "state": "open"},
            _reservation(group, time.time_ns() // 1000),
            projection={"next_index": 1},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if room is None:
            raise NotFoundError("room", room_id)
        first: int = room["next_index"] - len(group)
        for rewrite in (entry.rewrite for entry in group):
            if rewrite:
                await self._rewrite(room_id, rewrite, session)
        placed = [{**entry.event, "index": index} for index, entry in enumerate(group, first)]
        if len(placed) == 1:
            await events.insert_one(placed[0], session=session)
        else:
            await events.insert_many(placed, session=session)
        return first

    async def _rewrite(self, room_id: str, rewrite: Rewrite, session: Any) -> None:
        """Change an event in place, and mark its edits as deleted if it is.

        Raises:
            NotFoundError: The room has no such event.
        """
        events = self._connection.collection("events")
        changed = await events.update_one(
            {"_id": rewrite.event_id, "room_id": room_id}, rewrite.update, session=session
        )
        if not changed.matched_count:
            raise NotFoundError("event", rewrite.event_id)
        if rewrite.erases:
            await self.erase_edits(room_id, rewrite.event_id, session)

    async def erase_edits(self, room_id: str, event_id: str, session: Any) -> None:
        """Mark the edits of an event as deleted."""
        await self._connection.collection("events").update_many(
            {"room_id": room_id, "target_event_id": event_id, "change": "edit"},
            {"$set": {"metadata.deleted": True}},
            session=session,
        )

    async def _check(self, entry: Entry) -> None:
        """Refuse what a server without transactions could not take back.

        Raises:
            NotFoundError: The room has no such event to rewrite.
            DuplicateKeyError: The id or the idempotency key is taken.
        """
        events, event = self._connection.collection("events"), entry.event
        if await self._holder(event) is not None or await events.find_one({"_id": event["_id"]}, {"_id": 1}):
            raise DuplicateKeyError("taken")
        if entry.rewrite:
            target = {"_id": entry.rewrite.event_id, "room_id": event["room_id"]}
            if not await events.find_one(target, {"_id": 1}):
                raise NotFoundError("event", entry.rewrite.event_id)

    async def _explain(self, entry: Entry, error: Exception) -> None:
        """Tell the one who waits why a single event was not stored, or that it was, by an earlier attempt."""
        if isinstance(error, NotFoundError):
            _fail(entry, error)
            return
        try:
            self._connection.check_open()
            with self._connection.engine.deadline(entry.seconds):
                existing = await self.explain(entry.event)
        except MongoStoreError as reason:
            _fail(entry, reason)
        except PyMongoError as unknown:
            _fail(entry, self._translated(unknown))
        else:
            if not entry.done.done():
                entry.done.set_result(existing)

    async def explain(self, event: Raw) -> int:
        """Return the index of an event that a unique key refused because the same call had stored it.

        Raises:
            AlreadyExistsError: Another event has its id, its idempotency key or its index.
            UnavailableError: Nothing has them by now.
        """
        events = self._connection.collection("events")
        existing = await events.find_one({"_id": event["_id"]}, {"op": 1, "index": 1})
        if existing is not None:
            if existing["op"] == event["op"]:
                return int(existing["index"])
            raise AlreadyExistsError("event", event["_id"])
        if await self._holder(event) is not None:
            raise key_taken(event["idempotency_key"])
        if "index" in event:
            raise AlreadyExistsError("event of the room with the index", str(event["index"]))
        raise UnavailableError(f"{self._connection.engine.address}: the room is contended")

    async def _holder(self, event: Raw) -> Raw | None:
        if "idempotency_key" not in event:
            return None
        of_key = {name: event[name] for name in ("room_id", "idempotency_key", "channel_id")}
        found: Raw | None = await self._connection.collection("events").find_one(of_key, {"_id": 1})
        return found

    def _translated(self, error: PyMongoError | MongoStoreError) -> MongoStoreError:
        return (
            translate_error(error, self._connection.engine.address)
            if isinstance(error, PyMongoError)
            else error
        )


def key_taken(key: str) -> AlreadyExistsError:
    """Return the refusal of an event whose idempotency key another one has."""
    return AlreadyExistsError("idempotency key", key)


def _names(event: Raw) -> list[tuple[str, ...]]:
    """Return what of an event is unique within its room."""
    names: list[tuple[str, ...]] = [(event["_id"],)]
    if "idempotency_key" in event:
        names.append((event["idempotency_key"], event["channel_id"]))
    return names


def _next_group(waiting: deque[Entry]) -> list[Entry]:
    group = [waiting.popleft()]
    size = group[0].bytes
    while waiting and len(group) < _GROUP and size + waiting[0].bytes <= _GROUP_BYTES:
        if (rewrite := waiting[0].rewrite) and rewrite.erases:
            # It marks the edits that are stored; those of its own group are not yet.
            break
        group.append(waiting.popleft())
        size += group[-1].bytes
    return group


def _reservation(group: Sequence[Entry], now: int) -> list[Raw]:
    """Return the update of a room that takes the next indexes and counts the events."""
    fields: Raw = {"next_index": {"$add": ["$next_index", len(group)]}}
    if counted := [place for place, entry in enumerate(group) if entry.counted]:
        fields["event_count"] = {"$add": ["$event_count", len(counted)]}
        fields["latest_index"] = {"$add": ["$next_index", counted[-1]]}
    if any(entry.activity for entry in group):
        paused = {"$eq": ["$status", "paused"]}
        fields["active_at"] = now
        fields["status"] = {"$cond": [paused, "active", "$status"]}
        fields["paused_at"] = {"$cond": [paused, None, "$paused_at"]}
        fields["updated_at"] = {"$cond": [paused, now, "$updated_at"]}
    return [{"$set": fields}]


def _is_passing(error: PyMongoError) -> bool:
    return isinstance(translate_error(error, ""), UnavailableError)


def _fail(entry: Entry, error: Exception) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
