"""The writes of the repositories of threads to each other's documents."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.codec import to_micros
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.errors import ConflictError, NotFoundError
from mongostore.repositories import Connection, current_operation
from mongostore.repositories.expiry import is_expired, tombstone_end
from mongostore.repositories.threads.thread_updates import MERGED, VOTES

_ELEMENT_FIELDS = dict.fromkeys(("message_id", "file_key", "file_keys", "data", "created_at", "ops"), "")
# The keys of the file of an element, and of those that it has had, until they are gone; its latest changes.
FILES = {"file_key": 1, "file_keys": 1, "ops": 1}
# What goes with a deleted thread.
_ERASED_FIELDS = dict.fromkeys(
    (
        *("kind", "owner_id", "user_id", "user_identifier", "name", "tags", "data", "metadata"),
        *("votes", "has_pinned", "expires_at", MERGED.field, VOTES.field, "ops"),
    ),
    "",
)
TOMBSTONE = {"state": 1, "life": 1, "deleted_at": 1, "delete_op": 1, "expires_at": 1}


@dataclass(frozen=True)
class Life:
    """One of the lives of a thread.

    Attributes:
        number: 0 for the first one, the parts of which name none.
        since: When the one before was deleted.
    """

    number: int = 0
    since: int = -1

    @classmethod
    def of(cls, thread: StoredDocument) -> Life:
        """Return the present life of a stored thread."""
        return cls(int(thread.get("life", 0)), int(thread.get("deleted_at", -1)))

    def stamp(self) -> StoredDocument:
        """Return the update by which a part belongs to it, unless it belongs to a later one."""
        return {"$max": {"life": self.number, "life_since": self.since}} if self.number else {}


def new_thread(began: int) -> StoredDocument:
    """Return what a new thread is stored with."""
    return {
        "created_at": began,
        "active_at": began,
        "tags": [],
        "data": {},
        "metadata": {},
        "votes": [],
        "schema_version": SCHEMA_VERSION,
        "state": "open",
    }


async def upsert_thread(
    connection: Connection,
    thread_id: str,
    update: StoredDocument,
    *,
    if_absent: Collection[str] = (),
    began: int | None = None,
    begun_at: int | None = None,
    of_part: bool = False,
) -> Life:
    """Update a thread, which is made if it is not there, and return the life that it is in.

    Args:
        connection: The connection.
        thread_id: The thread.
        update: The change.
        if_absent: The paths that must not be there.
        began: When the thing began that the caller stores, as of now unless it is known: of one that began
            before the present life of the thread, that is to be nothing.
        begun_at: The same, if a thread that was deleted before that is to begin anew.
        of_part: Whether it is about a part of the thread, which belongs to one life alone.

    Raises:
        NotFoundError: It is deleted, or was after that.
        ConflictError: One of the paths that must not be there is there.
        DocumentTooLargeError: It would take too much.
    """
    threads, added = connection.collection("threads"), MERGED.added(thread_id, update)
    began = began or begun_at or current_operation().now
    paths = {path.partition(".")[0] for operator in update.values() for path in operator}
    new = {name: value for name, value in new_thread(began).items() if name not in paths}
    filter: StoredDocument = {"_id": thread_id, "state": "open", "deleted_at": {"$not": {"$gte": began}}}
    filter |= {path: {"$exists": False} for path in if_absent}
    fields = {**TOMBSTONE, MERGED.field: 1, **dict.fromkeys(if_absent, 1)}
    allowing, counted = MERGED.allowing(added), MERGED.counted(update, added)
    life = Life()
    while True:
        of_life = {"life": life.number or {"$exists": False}} if of_part else {}
        guard = {**filter, **of_life, **allowing}
        try:
            await threads.update_one(guard, {**counted, "$setOnInsert": new}, upsert=True)
        except DuplicateKeyError:
            existing = await threads.find_one({"_id": thread_id}, fields)
        else:
            return life
        if existing is None:
            continue
        if is_expired(existing, current_operation().now):
            await finish_if_gone(connection, existing)
            continue
        if existing["state"] == "deleted":
            life = await _begin_anew(connection, existing, begun_at, new_thread(began))
            continue
        life = Life.of(existing)
        if life.since >= began:
            raise NotFoundError("thread", thread_id)
        if _was_set(existing, if_absent, update):
            return life
        if MERGED.allows(existing, added):
            allowing, counted = MERGED.allowing(added), MERGED.counted(update, added)
        else:
            existing = await threads.find_one({"_id": thread_id}, [*MERGED.members, MERGED.field]) or {}
            allowing = {MERGED.field: existing.get(MERGED.field, 0)}
            counted = MERGED.exact(thread_id, existing, update)


def _was_set(existing: StoredDocument, paths: Collection[str], update: StoredDocument) -> bool:
    """Return whether the attempt before, whose answer was lost, has set paths that were not there.

    Raises:
        ConflictError: Another caller has set one of them.
    """
    if not any(_has_path(existing, path) for path in paths):
        return False
    if current_operation().attempt and all(_has_path(existing, path, update["$set"][path]) for path in paths):
        return True
    raise ConflictError(f"thread {existing['_id']!r} has that already")


async def check_same_life(connection: Connection, thread_id: str | None, begun_at: int | None = None) -> None:
    """Check, when a call is tried again, that its thread was not deleted since the call began.

    The thread of that id may be in another life by now, which the call did not mean.
    """
    call, threads = current_operation(), connection.collection("threads")
    if call.attempt and thread_id is not None:
        deleted = {"_id": thread_id, "deleted_at": {"$gte": begun_at or call.began}}
        if await threads.find_one(deleted, {"_id": 1}) is not None:
            raise NotFoundError("thread", thread_id)


def not_begun_since(field: str) -> StoredDocument:
    """Return the filter that finds, when a call is tried again, nothing that was begun since the call was."""
    call = current_operation()
    return {field: {"$not": {"$gt": call.began}}} if call.attempt else {}


def to_begun(connection: Connection, begun_at: datetime | None) -> int | None:
    """Return when something began by the server's clock, of a time of this host, and at the latest now."""
    if begun_at is None:
        return None
    call = current_operation()
    return min(connection.clock.from_host(to_micros("begun_at", begun_at)), call.began or call.now)


async def delete_thread(connection: Connection, thread_id: str, guard: StoredDocument | None = None) -> bool:
    """Delete a thread that meets a guard, with all its parts; return whether it was there.

    Args:
        connection: The connection.
        thread_id: The thread.
        guard: The rest of its filter; with `expires_at` one that has expired is found as well.
    """
    call, threads = current_operation(), connection.collection("threads")
    # What was stored before this attempt began before the deletion.
    deleted_at = max(connection.clock.now(), call.now)
    # A retry leaves alone what has begun after the attempt before.
    tombstone: StoredDocument | None = await threads.find_one_and_update(
        {"_id": thread_id, "state": "open", "deleted_at": {"$not": {"$gte": call.now}}, **(guard or {})},
        {
            "$set": {"state": "deleted", "delete_op": call.token, "deleted_at": deleted_at},
            "$unset": _ERASED_FIELDS,
        },
        projection=TOMBSTONE,
        return_document=ReturnDocument.AFTER,
    )
    existed = tombstone is not None
    if tombstone is None:
        tombstone = await threads.find_one({"_id": thread_id}, TOMBSTONE) or {}
        existed = call.attempt > 0 and tombstone.get("delete_op") == call.token
    if tombstone.get("state") == "deleted":
        await finish_deletion(connection, tombstone)
    return existed


async def finish_if_gone(connection: Connection, thread: StoredDocument) -> None:
    """Finish the deletion of a thread that is deleted, and begin it for one that has expired."""
    if is_expired(thread, current_operation().now):
        await delete_thread(connection, thread["_id"], {"expires_at": thread["expires_at"]})
    else:
        await finish_deletion(connection, thread)


async def finish_deletion(connection: Connection, tombstone: StoredDocument) -> None:
    """Delete what is left of a deleted thread; only then its tombstone has an end.

    A thread that began after the deletion has another life and stays.
    """
    if "expires_at" in tombstone:
        return
    await _delete_parts(connection, tombstone)
    same = {"_id": tombstone["_id"], "state": "deleted", "delete_op": tombstone.get("delete_op")}
    await connection.collection("threads").update_one(same, {"$set": {"expires_at": tombstone_end()}})


async def _delete_parts(connection: Connection, tombstone: StoredDocument) -> None:
    parts = {"thread_id": tombstone["_id"], "life": {"$not": {"$gt": tombstone.get("life", 0)}}}
    await connection.collection("messages").delete_many(parts)
    await delete_elements(connection, parts)


async def _begin_anew(
    connection: Connection, tombstone: StoredDocument, begun_at: int | None, new: StoredDocument
) -> Life:
    """Make a deleted thread anew and return its next life.

    Raises:
        NotFoundError: The caller's thing began before the deletion, or it is not known when.
    """
    await finish_deletion(connection, tombstone)
    if begun_at is None or begun_at <= tombstone.get("deleted_at", begun_at):
        raise NotFoundError("thread", tombstone["_id"])
    # A writer that was killed before it has looked at the thread has left its part behind the deletion.
    await _delete_parts(connection, tombstone)
    life = Life(int(tombstone.get("life", 0)) + 1, tombstone.get("deleted_at", -1))
    same = {"_id": tombstone["_id"], "state": "deleted", "delete_op": tombstone.get("delete_op")}
    update = {"$set": {**new, "life": life.number}, "$unset": {"expires_at": "", "create_op": ""}}
    await connection.collection("threads").update_one(same, update)
    return life


def _has_path(document: StoredDocument, path: str, *values: Any) -> bool:
    """Return whether there is something at a path, one of some values if there are any."""
    parent, _, name = path.partition(".")
    members = document.get(parent, {})
    return name in members and (not values or members[name] in values)


async def record_activity(
    connection: Connection,
    thread_id: str,
    active_at: int | None,
    began: int | None = None,
    *,
    has_pinned: bool = False,
    begun_at: int | None = None,
) -> Life:
    """Make sure that a thread is there, and as active as its newest message; return its life.

    Times are the server's, for a clock that is ahead must not keep the thread on top of all others.
    """
    update: StoredDocument = {} if active_at is None else {"$max": {"active_at": active_at}}
    if has_pinned:
        update["$set"] = {"has_pinned": True}
    # A new thread is as old as what is stored in it first.
    began = began or begun_at or active_at
    return await upsert_thread(connection, thread_id, update, began=began, begun_at=begun_at, of_part=True)


async def record_vote(
    connection: Connection, thread_id: str, message_id: str, value: int | None, session: Any
) -> bool:
    """Record in a thread the vote on one of its messages, by which lists of threads are filtered.

    Returns:
        Whether there is such a thread, which has not expired.
    """
    threads = connection.collection("threads")
    thread = {"_id": thread_id, "state": "open"}
    pull = {"$pull": {"votes": {"message_id": message_id}}}
    if not (await threads.update_one(thread, pull, session=session)).matched_count:
        return False
    if value is not None:
        await record_new_votes(connection, thread_id, {message_id: value}, session)
    return True


async def record_new_votes(
    connection: Connection, thread_id: str, values: Mapping[str, int], session: Any
) -> bool:
    """Record in a thread votes on messages that have none, and return whether there is such a thread."""
    threads = connection.collection("threads")
    votes = [{"message_id": message_id, "value": value} for message_id, value in values.items()]

    async def run(filter: StoredDocument, update: StoredDocument) -> bool | None:
        pushed = await threads.update_one(filter, update, session=session)
        return bool(pushed.matched_count) or None

    push = {"$push": {"votes": {"$each": votes}}}
    thread = {"_id": thread_id, "state": "open"}
    return await VOTES.write(threads, thread_id, thread, push, run, session) is not None


async def delete_elements(
    connection: Connection, filter: StoredDocument, tombstone: StoredDocument | None = None
) -> bool:
    """Delete the elements that a filter finds, with their files, and return whether this call did."""
    found = await connection.collection("elements").find_all(filter, FILES)
    return await delete_found_elements(connection, found, filter, tombstone)


async def delete_found_elements(
    connection: Connection,
    documents: Sequence[StoredDocument],
    filter: StoredDocument,
    tombstone: StoredDocument | None,
) -> bool:
    """Delete elements of which the ids and files were found by a filter, and return whether this call did."""
    elements = connection.collection("elements")
    if not documents:
        return False
    keys: set[str | None] = {document.get("file_key") for document in documents}
    keys |= {key for document in documents for key in document.get("file_keys", ())}
    await delete_files(connection, *(key for key in keys if key is not None))
    # One that has got another file meanwhile is a new one.
    same = {
        **filter,
        "_id": {"$in": [document["_id"] for document in documents]},
        "file_key": {"$in": [*keys]},
    }
    if tombstone is None:
        return bool((await elements.delete_many(same)).deleted_count)
    update = {"$set": tombstone, "$unset": _ELEMENT_FIELDS}
    return bool((await elements.update_many(same, update)).modified_count)


async def delete_files(connection: Connection, *keys: str) -> bool:
    """Delete the files with these keys, and return whether this call deleted any."""
    if not keys:
        return False
    files = connection.engine.collection("files.files")
    filter = {"$or": [{"filename": {"$in": [*keys]}}, {"uploading": {"$in": [*keys]}}]}
    async with files.find(filter, {"filename": 1}) as found:
        documents = await found.to_list()
    # What is on its way was not there yet.
    await delete_versions(connection, [one["_id"] for one in documents if "filename" not in one])
    return await delete_versions(connection, [one["_id"] for one in documents if "filename" in one])


async def delete_versions(connection: Connection, ids: list[Any]) -> bool:
    """Delete files by their own ids, and return whether this call deleted any."""
    if not ids:
        return False
    # Without its entry no call would find the content again that a deletion, cut short here, leaves.
    await connection.engine.collection("files.chunks").delete_many({"files_id": {"$in": ids}})
    deleted = await connection.engine.collection("files.files").delete_many({"_id": {"$in": ids}})
    return bool(deleted.deleted_count)
