"""The commits of a process: the events that wait for one room are stored together, by one ordered insert."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from mongostore.background_tasks import BackgroundTasks
from mongostore.documents.mapping import StoredDocument
from mongostore.engines.driver_errors import refused_writes, translate_error
from mongostore.errors import (
    AlreadyExistsError,
    IdempotencyKeyError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
)
from mongostore.recent import Recent
from mongostore.repositories import Connection, current_operation
from mongostore.repositories.operation import life_token
from mongostore.repositories.rooms.pending_events import (
    PendingEvent,
    TargetReplacement,
    take_batch,
    take_group,
)
from mongostore.repositories.rooms.room_counters import HAS_INDEX
from mongostore.repositories.rooms.room_log import LogHead, RoomLog, emptied, free_ids, position_below
from mongostore.repositories.rooms.room_lookup import take_back_if_gone
from mongostore.repositories.rooms.shared_inserts import SharedInserts

_OWN_FIELDS = dict.fromkeys(("op", "index", "former_index", "room_id", "log", "counters"), 1)
# For so long a process that has met another one in a room lets it go first now and then.
_CONTENDED_SECONDS = 1.0
MOST_CONTENDED = 10_000
_SHARED_BYTES = 64 * 1024


class CommitQueue:
    """Gives events their indexes and stores them, those of a room in the order of their indexes."""

    def __init__(self, connection: Connection, log: RoomLog) -> None:
        self._connection = connection
        self._log = log
        self._inserts = SharedInserts(connection)
        self._waiting: dict[str, deque[PendingEvent]] = {}
        self._contended = Recent[str, float](MOST_CONTENDED)
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        self._tasks = BackgroundTasks()

    async def commit(self, pending: PendingEvent) -> int:
        """Store an event and return the index that it got."""
        call = current_operation()
        pending.event["op"] = life_token()
        pending.seconds, pending.is_retry = call.attempt_seconds(), call.attempt > 0
        self._enqueue(pending)
        return await pending.done

    def _enqueue(self, pending: PendingEvent) -> None:
        room_id = pending.event["room_id"]
        if (waiting := self._waiting.get(room_id)) is not None:
            waiting.append(pending)
        else:
            self._waiting[room_id] = deque([pending])
            self._tasks.start(self._drain(room_id))

    async def _drain(self, room_id: str) -> None:
        waiting, group = self._waiting[room_id], deque[PendingEvent]()
        try:
            while waiting:
                # A caller that has just got an answer may have more to commit: let it join.
                await asyncio.sleep(self._pause(room_id))
                group = take_group(waiting)
                if group:
                    await self._commit_group(room_id, group)
        finally:
            del self._waiting[room_id]
            # No caller is left waiting, however the work ended.
            for pending in (*group, *waiting):
                pending.fail(NotOpenError("the store was closed"))

    def _pause(self, room_id: str) -> float:
        """Return for how long to leave a room to other processes that were met there."""
        if time.monotonic() > self._contended.get(room_id, 0.0):
            self._contended.pop(room_id, None)
            return 0
        return random.random() * 0.008

    async def _commit_group(self, room_id: str, group: deque[PendingEvent]) -> None:
        """Store events, or answer why they are not."""
        try:
            with self._connection.engine.deadline(max(pending.seconds for pending in group)):
                while group:
                    self._connection.check_attached()
                    if (head := self._log.cached(room_id)) is None:
                        _, head = await self._log.read(room_id)
                        self._log.remember(room_id, head)
                    await self._write(room_id, group, head)
        except Exception as error:  # Each caller raises it, whatever it is.
            self._log.forget(room_id)
            for pending in group:
                pending.fail(self._translate(error))
            group.clear()

    async def _write(self, room_id: str, group: deque[PendingEvent], head: LogHead) -> None:
        """Store what one command or one transaction can store of a group, and take that out of the group."""
        first, known = group[0], head
        if first.index is not None and first.index < head.next_index:
            self._tasks.start(self._answer(group.popleft(), self._insert_below(first, head)))
            return
        batch = take_batch(group, head)
        documents, ends, now = [], [head], self._connection.clock.now()
        stored, refusal = len(batch), StoredDocument()
        for pending in batch:
            documents.append(pending.position(ends[-1], now))
            ends.append(ends[-1].advanced_by(documents[-1]))
        try:
            await self._insert(first, documents, head)
        except (BulkWriteError, DuplicateKeyError) as error:
            stored, refusal = _stored_before(error)
        except NotFoundError as error:
            group.popleft().fail(error)
            return
        head = ends[stored]
        if stored and first.wakes(head):
            head = replace(head, is_paused=False)
        for document in documents[:stored]:
            group.popleft().resolve(document["index"])
        head = self._log.list_anew(room_id, head, first.seconds)
        if "log_index" in refusal.get("keyPattern", {}):
            self._contended[room_id] = time.monotonic() + _CONTENDED_SECONDS
            head = await self._log.catch_up(room_id, head)
        elif refusal:
            refused = group.popleft()
            self._tasks.start(self._answer(refused, self._find_outcome(refused)))
        self._log.advance(room_id, known, head)

    async def _insert(self, first: PendingEvent, documents: list[StoredDocument], head: LogHead) -> None:
        """Insert events behind the end of a log, with the effects of the one that has any.

        Raises:
            NotFoundError: The room has no such target.
        """
        events = self._connection.collection("events")
        if len(documents) > 1:
            await events.insert_many(documents)
            return
        if first.target is None and not first.wakes(head):
            if self._is_shareable(first):
                await self._inserts.insert(documents[0], first.seconds)
            else:
                await events.insert_one(documents[0])
            return
        if not self._connection.has_transactions:
            # Nothing would take the event back.
            if first.target:
                await self._check_target(first, first.target)
            if first.wakes(head):
                await self._wake(documents[0], None)

        async def insert(session: Any) -> None:
            # The position first: others wait for it from then on, and not for what is behind.
            await events.insert_one(documents[0], session=session)
            if first.target:
                await self._replace_target(documents[0]["room_id"], first.target, session)
            if first.wakes(head) and self._connection.has_transactions:
                await self._wake(documents[0], session)

        await self._connection.engine.transact(insert)

    def _is_shareable(self, pending: PendingEvent) -> bool:
        """Return whether an event may share a command with those of other rooms, which wait for it then."""
        is_quick = pending.bytes <= _SHARED_BYTES and not pending.is_retry
        is_contended = pending.event["room_id"] in self._contended
        # On a cluster the rooms may be on different shards.
        return is_quick and not is_contended and not self._connection.engine.is_sharded

    async def _wake(self, document: StoredDocument, session: Any) -> None:
        """Make a paused room active, of which an event is the activity, unless it is so by now."""
        room = {"_id": document["room_id"], "log": document["log"], "state": "open", "status": "paused"}
        now = document["counters"]["active_at"]
        await self._connection.collection("rooms").update_one(
            room, {"$set": {"status": "active", "paused_at": None, "updated_at": now}}, session=session
        )

    async def _replace_target(self, room_id: str, target: TargetReplacement, session: Any) -> None:
        """Change an event in place, and mark its edits as deleted if it is."""
        events = self._connection.collection("events")
        changed = await events.update_one(
            {"_id": target.event_id, "room_id": room_id, "index": HAS_INDEX}, target.update, session=session
        )
        if not changed.matched_count:
            raise NotFoundError("event", target.event_id)
        if target.marks_edits:
            await self.mark_edits(room_id, target.event_id, session)

    async def mark_edits(self, room_id: str, event_id: str, session: Any) -> None:
        """Mark the edits of an event as deleted."""
        await self._connection.collection("events").update_many(
            {"room_id": room_id, "target_event_id": event_id, "change": "edit"},
            {"$set": {"metadata.deleted": True}},
            session=session,
        )

    async def _check_target(self, pending: PendingEvent, target: TargetReplacement) -> None:
        wanted = {"_id": target.event_id, "room_id": pending.event["room_id"], "index": HAS_INDEX}
        if not await self._connection.collection("events").find_one(wanted, {"_id": 1}):
            raise NotFoundError("event", target.event_id)

    async def _insert_below(self, pending: PendingEvent, head: LogHead) -> int | None:
        """Store an event at a free index that no log gives any more; None if the room has changed."""
        assert pending.index is not None
        events, index = self._connection.collection("events"), pending.index
        taken = await events.find_one({"room_id": pending.event["room_id"], "index": index}, {"op": 1})
        if taken is None:
            position = position_below(head.epoch, index)

            async def insert(session: Any) -> bool:
                # A change, which conflicts with a deletion of the room; one that changes nothing does not.
                room = await self._connection.collection("rooms").update_one(
                    {"_id": pending.event["room_id"], "state": "open", "epoch": head.epoch},
                    {"$inc": {"next_part_position": 1}},
                    session=session,
                )
                if room.matched_count:
                    await events.insert_one({**pending.event, **position}, session=session)
                return bool(room.matched_count)

            try:
                # Those of a process would but be in each other's way.
                async with self._turns.setdefault(pending.event["room_id"], asyncio.Lock()):
                    is_stored = await self._connection.engine.transact(insert)
                if is_stored and not await self._take_back_if_gone(pending.event, head.epoch):
                    return index
                self._log.forget(pending.event["room_id"])
                return None
            except DuplicateKeyError as error:
                if "log_index" not in (error.details or {}).get("keyPattern", {}):
                    return await self._find_outcome(pending)
        taken_error = AlreadyExistsError("event of the room with the index", str(index))
        return await self._find_outcome(pending, taken_error)

    async def _take_back_if_gone(self, event: StoredDocument, epoch: str) -> bool:
        """Take back an event below the next index whose room was deleted; no transaction lets it be so."""
        if self._connection.has_transactions:
            return False
        own = {"_id": event["_id"], "room_id": event["room_id"], "epoch": epoch}
        take_back = partial(self._connection.collection("events").update_many, own, emptied())
        return await take_back_if_gone(self._connection, event["room_id"], epoch, take_back)

    async def _answer(self, pending: PendingEvent, work: Coroutine[Any, Any, int | None]) -> None:
        """Answer an event outside of its group by the index that some work finds; None queues it again."""
        try:
            self._connection.check_attached()
            with self._connection.engine.deadline(pending.seconds):
                index = await work
        except Exception as error:  # The caller raises it.
            pending.fail(self._translate(error))
        else:
            if index is None:
                self._enqueue(pending)
            else:
                pending.resolve(index)
        finally:
            work.close()

    async def _find_outcome(
        self, pending: PendingEvent, refusal: MongoStoreError | None = None
    ) -> int | None:
        """Return the index of an event that an earlier attempt has stored; None if its id is free by now.

        Raises:
            AlreadyExistsError: Another event has its id or its idempotency key.
            MongoStoreError: The refusal, if nothing has them; by default that the room is contended.
        """
        event = pending.event
        existing = await self._connection.collection("events").find_one({"_id": event["_id"]}, _OWN_FIELDS)
        if existing is not None and existing.get("op") == event["op"]:
            if pending.target and "index" in existing and not self._connection.has_transactions:
                await self._replace_target(event["room_id"], pending.target, None)
            # What was deleted since, stays deleted.
            return int(existing["index"] if "index" in existing else existing["former_index"])
        if existing is not None and "index" not in existing:
            await free_ids(self._connection, [event["_id"]])
            return None
        if existing is not None:
            raise AlreadyExistsError("event", event["_id"])
        await self._refuse_taken_key(event)
        raise refusal or UnavailableError(f"{self._connection.engine.address}: the room is contended")

    async def _refuse_taken_key(self, event: StoredDocument) -> None:
        """Refuse an event whose idempotency key another one has."""
        if "idempotency_key" in event:
            key = {name: event[name] for name in ("room_id", "idempotency_key", "channel_id")}
            if await self._connection.collection("events").find_one(key, {"_id": 1}) is not None:
                raise IdempotencyKeyError(event["idempotency_key"])

    def _translate(self, error: Exception) -> Exception:
        return (
            translate_error(error, self._connection.engine.address)
            if isinstance(error, PyMongoError)
            else error
        )


def _stored_before(error: BulkWriteError | DuplicateKeyError) -> tuple[int, StoredDocument]:
    """Return how many events of an insert are stored, and why the next one is not."""
    if isinstance(error, DuplicateKeyError):
        return 0, dict(error.details or {})
    [(stored, refusal)] = refused_writes(error).items()
    if not isinstance(refusal, DuplicateKeyError):
        raise refusal
    return stored, dict(refusal.details or {})
