"""How a session's messages lie: a bounded tail in its document, the older ones sealed in segments.

An array that grows without bound is rewritten whole at each append and ends at 16 MiB. So the document
embeds the newest messages alone. When they are `full`, a roll copies the oldest of them into a segment,
which the majority acknowledges, and then trims them off, guarded by `tail_start`, `edit_count` and its
size. Between the two steps, and after a crash there, the messages stand in both places, and readers look in
segments below `tail_start` alone. Nothing here needs a transaction.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument, bson_size
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import StorageLayout, StorageStretch
from mongostore.recent import Recent
from mongostore.repositories import CollectionOf, Connection, current_operation
from mongostore.repositories.expiry import is_open
from mongostore.repositories.operation import UnmatchedWrite
from mongostore.repositories.sessions.limits import TailLimits
from mongostore.repositories.sessions.recent_operations import is_later

# So many documents are kept for callers who append to what they have just read.
_CACHED_DOCUMENTS = 64

# Into so many parts a description divides the segments of a session.
_STRETCHES = 99
# A stored message behind its position; no named tuple, which takes five times as long to make.
Positioned = tuple[int, StoredDocument]


class TailPosition(NamedTuple):
    """Where the tail of a session begins: it moves on, and begins anew with each epoch."""

    epoch: str
    base: int


class Tail:
    """The documents that hold the messages of sessions, and the roll from one to the next.

    Args:
        connection: The engine, as repositories use it.
        limits: When messages leave the document.
    """

    sessions: Final = CollectionOf("sessions")
    segments: Final = CollectionOf("session_segments")

    def __init__(self, connection: Connection, limits: TailLimits | None = None) -> None:
        self.limits: TailLimits = limits or TailLimits()
        self._connection = connection
        # Where each tail began when last seen; a wrong guess costs one more read.
        self._cached_positions = Recent[str, TailPosition](self.limits.cached_positions)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._cached_documents = Recent[str, StoredDocument](_CACHED_DOCUMENTS)

    def cached_position(self, key: str) -> TailPosition:
        """Return where the tail of a session began when last seen."""
        return self._cached_positions.get(key, TailPosition("", 0))

    @asynccontextmanager
    async def take_turn(self, key: str) -> AsyncGenerator[None, None]:
        """Let those of this store who have found no room in a session's tail go on one by one.

        Otherwise each makes room that another takes, over and over where messages are large. No call
        waits longer than an attempt may take.
        """
        lock = self._turns.setdefault(key, asyncio.Lock())
        async with AsyncExitStack() as turn:
            with suppress(TimeoutError):
                async with asyncio.timeout(current_operation().attempt_seconds()):
                    await turn.enter_async_context(lock)
            yield

    async def read(self, key: str, newest: int | None = None) -> StoredDocument:
        """Return the document of an open session, with its tail or so many of the newest messages there."""
        projection = None if newest is None else {"messages": {"$slice": -newest}}
        document = await self.sessions.find_one({"_id": key}, projection)
        if not is_open(document):
            self._cached_positions.pop(key, None)
            raise NotFoundError("session", session_id_of(key))
        check_incarnation(document)
        self._cached_positions[key] = TailPosition(document["epoch"], document["tail_start"])
        return document

    def keep(self, document: StoredDocument) -> None:
        """Keep the document of a session for an append that names its revision."""
        self._cached_documents[document["_id"]] = document

    async def take(self, key: str, revision: int | None) -> StoredDocument:
        """Return the document of an open session, the kept one if it has that revision."""
        document = self._cached_documents.pop(key, None)
        return document if document and document["revision"] == revision else await self.read(key)

    async def read_fields(self, key: str, *names: str) -> StoredDocument:
        """Return some fields of an open session.

        With `create_op` it is the one that earlier attempts met, with `schema_version` one that this version
        may change.
        """
        found = await self.sessions.find_one({"_id": key, "state": "open"}, [*names])
        if found is None:
            raise NotFoundError("session", session_id_of(key))
        if "create_op" in names:
            check_incarnation(found)
        if "schema_version" in names and found.get("schema_version", 0) > SCHEMA_VERSION:
            await UnmatchedWrite(self.sessions, {"_id": key}).verify()
        return found

    async def describe(self, key: str, *, outline: bool) -> StorageLayout:
        """Return where the messages of an open session lie."""
        fields = ("create_op", "epoch", "messages_bytes", "next_position", "tail_start")
        document = await self.read_fields(key, *fields)
        base, in_tail = document["tail_start"], tail_length(document)
        if not outline:
            below = {"session": document["_id"], "epoch": document["epoch"], "start": {"$lt": base}}
            segments = await self.segments.count_documents(below) if base else 0
            return StorageLayout(in_tail=in_tail, in_segments=base, segments=segments, outline=[])
        found = await self._outline(document) if base else []
        segments = sum(one.pop("segments") for one in found)
        if in_tail:
            found.append({"start": base, "end": base + in_tail, "bytes": document["messages_bytes"]})
        stretches = [StorageStretch(**one) for one in found]
        return StorageLayout(in_tail=in_tail, in_segments=base, segments=segments, outline=stretches)

    async def _outline(self, document: StoredDocument) -> list[StoredDocument]:
        """Return the segments of a session in so many stretches; the index has all that is asked for."""
        base = document["tail_start"]
        below = {"session": document["_id"], "epoch": document["epoch"], "start": {"$lt": base}}
        number = {"$floor": {"$divide": ["$start", -(-base // _STRETCHES)]}}
        ends = {"start": {"$min": "$start"}, "end": {"$max": "$end"}}
        sums = {"bytes": {"$sum": "$size"}, "segments": {"$sum": 1}}
        pipeline = [{"$match": below}, {"$group": {"_id": number, **ends, **sums}}]
        stretches = await self.segments.aggregate_all(pipeline)
        return sorted(stretches, key=lambda one: int(one.pop("_id")))

    async def find_in_segments(
        self, key: str, position: TailPosition, message_ids: Sequence[str]
    ) -> list[Positioned]:
        """Return those of the messages that are in segments below a base, with their positions."""
        if not position.base or not message_ids:
            return []
        filter = {
            "session": key,
            "epoch": position.epoch,
            "messages.id": {"$in": list(message_ids)},
            "start": {"$lt": position.base},
        }
        segments = await self.segments.find_all(filter)
        wanted = set(message_ids)
        return [
            (position, message)
            for segment in segments
            for position, message in enumerate(segment["messages"], segment["start"])
            if message and message["id"] in wanted
        ]

    async def find_newest_segment(self, document: StoredDocument, base: int) -> StoredDocument | None:
        """Return the newest segment of a session below a base in which any message is left."""
        filter = {"session": document["_id"], "epoch": document["epoch"], "start": {"$lt": base}}
        return await self.segments.find_one({**filter, "messages.id": {"$gt": ""}}, sort=[("start", -1)])

    async def finish_deletes(self, document: StoredDocument) -> list[StoredDocument]:
        """Make the holes in segments that a deletion has announced; safe to do twice.

        Returns:
            The messages that were there, of which the ids and the keys of large values are read.
        """
        gone: list[StoredDocument] = []
        for message_id in document["pending_deletes"]:
            segment = await self.segments.find_one_and_update(
                {
                    "session": document["_id"],
                    "epoch": document["epoch"],
                    "messages.id": message_id,
                    "start": {"$lt": document["tail_start"]},
                },
                {"$set": {"messages.$": None}, "$inc": {"edit_count": 1}},
                projection=["messages.id", "messages.overflow", "messages.stream.parts"],
            )
            found = segment["messages"] if segment else ()
            gone += [message for message in found if message and message["id"] == message_id]
        await self.sessions.update_one(
            {"_id": document["_id"], "epoch": document["epoch"]},
            {"$pull": {"pending_deletes": {"$in": document["pending_deletes"]}}},
        )
        return gone

    async def finish_pending(self, document: StoredDocument) -> bool:
        """Finish a deletion that was cut short; return whether there was need."""
        if document["pending_deletes"]:
            await self.finish_deletes(document)
        return bool(document["pending_deletes"])

    async def roll_if_full(self, document: StoredDocument) -> bool:
        """Finish what others left and roll if the tail is full; return whether there was need."""
        if await self.finish_pending(document):
            return True
        limits = self.limits
        if len(document["messages"]) >= limits.full or document["messages_bytes"] >= limits.full_bytes:
            await self._roll(document)
            return True
        return False

    async def compact(self, key: str) -> None:
        """Roll until the tail is no longer full."""
        for attempt in range(self.limits.attempts):
            await back_off(attempt)
            if not await self.roll_if_full(await self.read(key)):
                return

    async def _roll(self, document: StoredDocument) -> None:
        """Move the oldest messages into a segment, or only count the bytes anew where that suffices."""
        base, messages = document["tail_start"], document["messages"]
        sizes = [bson_size("message", message) if message else 0 for message in messages]
        moving = _count_to_move(sizes, self.limits)
        if moving:
            moving = await self._write_segment(document, moving, sum(sizes[:moving])) - base
        trimmed = await self.sessions.update_one(
            unchanged_filter(document),
            {
                "$set": {
                    "messages": messages[moving:],
                    "messages_bytes": sum(sizes[moving:]),
                    "tail_start": base + moving,
                },
                "$inc": {"edit_count": 1},
            },
        )
        if trimmed.matched_count:
            self._cached_positions[document["_id"]] = TailPosition(document["epoch"], base + moving)
        elif moving:
            await self._delete_orphan(document)

    async def _delete_orphan(self, document: StoredDocument) -> None:
        """Remove the segment just written if all messages of its epoch have gone meanwhile."""
        same = {"_id": document["_id"], "epoch": document["epoch"], "state": {"$ne": "deleting"}}
        if await self.sessions.find_one(same, {"_id": 1}) is None:
            await self.segments.delete_one({"_id": _segment_id(document), "session": document["_id"]})

    async def _write_segment(self, document: StoredDocument, moving: int, size: int) -> int:
        """Write the first messages of a tail as a segment; return where the stored one ends."""
        base, edits = document["tail_start"], document["edit_count"]
        segment = {
            "_id": _segment_id(document),
            "session": document["_id"],
            "epoch": document["epoch"],
            "start": base,
            "end": base + moving,
            "edit_count": edits,
            "size": size,
            "messages": document["messages"][:moving],
        }
        if "branches" in document["metadata"]:
            segment["is_branched"] = True
        # What is trimmed next must never be lost, whatever write concern the URI asks for.
        segments = self.segments.with_options(write_concern=WriteConcern("majority"))
        own = {"_id": segment["_id"], "session": document["_id"]}
        try:
            # Only by strictly newer: a late roller must not undo what was changed in the segment since.
            await segments.replace_one({**own, "edit_count": {"$lt": edits}}, segment, upsert=True)
        except DuplicateKeyError:
            # Another roll sealed the same messages, though perhaps not as many of them.
            stored = await segments.find_one(own, {"end": 1})
            return int(stored["end"]) if stored else base
        return int(base) + moving


def unchanged_filter(document: StoredDocument) -> StoredDocument:
    """Return the filter of a session whose messages are still those of `document`."""
    return {
        "_id": document["_id"],
        "state": "open",
        "epoch": document["epoch"],
        "tail_start": document["tail_start"],
        "edit_count": document["edit_count"],
        "messages": {"$size": tail_length(document)},
    }


def tail_length(document: StoredDocument) -> int:
    """Return the number of positions in a session's document, whose messages may have been read in part."""
    return int(document["next_position"]) - int(document["tail_start"])


def messages_start(document: StoredDocument) -> int:
    """Return the position at which the messages in a session's document or a segment begin."""
    if "start" in document:
        return int(document["start"])
    return int(document["next_position"]) - len(document["messages"])


def messages_of(document: StoredDocument) -> list[Positioned]:
    """Return the messages in a session's document or a segment, with their positions."""
    return [
        positioned
        for positioned in enumerate(document["messages"], messages_start(document))
        if positioned[1]
    ]


def check_incarnation(session: StoredDocument) -> None:
    """Refuse a session that was created since an earlier attempt met another one of its id, deleted since."""
    seen = current_operation().memory.setdefault("incarnation", session["create_op"])
    if seen != session["create_op"] or is_later(session):
        raise NotFoundError("session", session_id_of(session["_id"]))


def session_id_of(key: str) -> str:
    """Return the session id in the `_id` of a session's document."""
    return key.partition("/")[2]


async def back_off(attempt: int) -> None:
    """Wait a moment, jittered, before an attempt after the second."""
    if attempt > 1:
        await asyncio.sleep(random.random() * 0.002 * min(attempt, 20))


def contention_error(key: str) -> ConflictError:
    """Return the error of a change that others overtook at every attempt."""
    return ConflictError(f"session {session_id_of(key)!r}: others changed it at every attempt")


def other_revision_error(key: str) -> ConflictError:
    """Return the error of a change whose session has another revision than the caller has seen."""
    return ConflictError(f"session {session_id_of(key)!r} has another revision by now")


def _segment_id(document: StoredDocument) -> str:
    """Return the `_id` of the segment into which the head of a tail goes."""
    return f"{document['_id']}/{document['epoch']}/{document['tail_start']:012}"


def _count_to_move(sizes: Sequence[int], limits: TailLimits) -> int:
    """Return how many of the oldest messages have to leave a full tail: as a rule `keep`."""
    keep = limits.keep
    moving = min(len(sizes) - keep, keep) if len(sizes) >= limits.full else 0
    left = sum(sizes[moving:])
    while left >= limits.full_bytes // 2 and moving < min(len(sizes), keep):
        left -= sizes[moving]
        moving += 1
    return moving
