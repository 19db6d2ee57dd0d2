"""Sessions, threads and rooms as what deletes whole ones sees them: found in steps, deleted if unchanged."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.errors import ConflictError
from mongostore.models.retention import House
from mongostore.repositories import Connection, current_operation, has_matched, majority_step, retry_step
from mongostore.repositories.expiry import TOMBSTONE_LASTS, is_expired, tombstone_end
from mongostore.repositories.rooms.room_counters import count_rooms_events
from mongostore.repositories.rooms.room_log import RoomLog
from mongostore.repositories.rooms.room_updates import RoomUpdates
from mongostore.repositories.sessions.session_change import new_session
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import Tail
from mongostore.repositories.threads.thread_writes import delete_thread

_STEP = 200
_FIELDS = [
    "active_at",
    "listed_at",
    "created_at",
    "expires_at",
    "namespace",
    "epoch",
    "next_index",
    "user_id",
    "is_erased",
    "schema_version",
]
_FIRST_TIME = -(2**62)

Delete = Callable[[Any, StoredDocument], Awaitable[bool]]


@dataclass(frozen=True)
class Walk:
    """The heads of a house whose time in a field is before another one, in the order of that time.

    Attributes:
        field: The field, `expires_at`, `active_at`, `listed_at` or `created_at`.
        before: The time, in microseconds.
        filter: The other keys by which an index finds them.
    """

    field: str
    before: int
    filter: StoredDocument

    def after(self, last: tuple[int, Any] | None) -> StoredDocument:
        """Return the filter of those after the one with that time and id."""
        # The index of those that can expire holds no others.
        first = 1 if self.field == "expires_at" else _FIRST_TIME
        if last is None:
            return {**self.filter, self.field: {"$gte": first, "$lt": self.before}}
        return {
            **self.filter,
            self.field: {"$gte": last[0], "$lt": self.before},
            "$or": [{self.field: {"$gt": last[0]}}, {"_id": {"$gt": last[1]}}],
        }


class Heads:
    """The heads of all three houses.

    Args:
        connection: The store's connection.
        tail: The tails of the store's sessions.
    """

    def __init__(self, connection: Connection, tail: Tail) -> None:
        self._connection = connection
        self._deletes: dict[House, Delete] = {
            "sessions": SessionStorage(connection, tail).session_deleter.delete,
            "threads": lambda key, guard: delete_thread(connection, key, guard),
            "rooms": RoomUpdates(connection, RoomLog(connection)).delete_if,
        }

    def has_expired(self, head: StoredDocument) -> bool:
        """Return whether a head has expired by now."""
        return is_expired(head, self._connection.clock.now())

    async def walk(self, house: House, walk: Walk) -> AsyncGenerator[StoredDocument, None]:
        """Yield heads, step by step; a deletion in between makes no difference."""
        last: tuple[int, Any] | None = None
        while True:
            found = await retry_step(self._connection, self._find, house, walk, last)
            for head in found:
                # Documents of other applications have none.
                if "schema_version" in head:
                    yield head
            if len(found) < _STEP:
                return
            last = found[-1][walk.field], found[-1]["_id"]

    async def delete(
        self, house: House, head: StoredDocument, unmoved: str, beside: StoredDocument | None = None
    ) -> bool:
        """Delete a head with all its parts, if a field still is as it was read; return whether it was so.

        Args:
            house: The house.
            head: The head, as it was read.
            unmoved: The field.
            beside: The rest of the filter that it must still meet; of a session, fields as they were read.
        """
        guard = {unmoved: head.get(unmoved), **(beside or {})}
        try:
            return await retry_step(self._connection, self._deletes[house], head["_id"], guard)
        except ConflictError:
            return False

    async def leave_tombstone(self, house: House, key: Any) -> None:
        """Leave the id of an erased head taken for 30 days, so that no late write makes it anew."""
        await retry_step(self._connection, self._leave_tombstone, house, key)

    async def find(self, collection: str, key: Any) -> StoredDocument | None:
        """Return a stored document by its `_id`, in any state."""
        documents = self._connection.collection(collection)
        return await majority_step(self._connection, documents.find_one, {"_id": key})

    async def delete_document(self, collection: str, key: Any) -> bool:
        """Delete a document that has no parts, and return whether it was there."""
        return await retry_step(self._connection, self._delete_one, collection, key)

    async def _leave_tombstone(self, house: House, key: Any) -> None:
        now, tombstone = current_operation().now, StoredDocument()
        match house:
            case "sessions":
                # One that is softly deleted, has nothing, and stays until it expires.
                empty = new_session(key, {"expires_in": TOMBSTONE_LASTS})
                tombstone = {**empty, "state": "deleted", "deleted_at": now, "is_erased": True}
                # That of its deletion, which does not keep its id.
                own: StoredDocument = {"_id": key, "state": "deleting", "expires_at": {"$type": "date"}}
                await self._connection.collection(house).delete_one(own)
            case "rooms":
                tombstone = {"_id": key, "state": "deleted", "expires_at": tombstone_end()}
                tombstone |= {"epoch": current_operation().token, "schema_version": SCHEMA_VERSION}
            case "threads":
                # Their deletion leaves one.
                return
        # Of one that was made since, the next pass looks whether it is the person's.
        with suppress(DuplicateKeyError):
            await self._connection.collection(house).insert_one(tombstone)

    async def _delete_one(self, collection: str, key: Any) -> bool:
        return has_matched(await self._connection.collection(collection).delete_one({"_id": key}))

    async def _find(self, house: House, walk: Walk, last: tuple[int, Any] | None) -> Sequence[StoredDocument]:
        documents = await self._connection.collection(house).find_all(
            walk.after(last), _FIELDS, sort=[(walk.field, 1), ("_id", 1)], limit=_STEP
        )
        return await count_rooms_events(self._connection, documents) if house == "rooms" else documents
