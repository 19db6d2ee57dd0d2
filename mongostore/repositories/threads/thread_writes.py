"""What the repositories of threads do to each other's documents."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo.errors import DuplicateKeyError

from mongostore.documents.mapping import SCHEMA_VERSION, Raw
from mongostore.errors import ConflictError, NotFoundError
from mongostore.repositories import Connection, current_operation


def new_thread(began: int) -> Raw:
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
    connection: Connection, thread_id: str, update: Raw, began: int, added: Collection[str] = ()
) -> None:
    """Update a thread, which is made if it is not there.

    Raises:
        NotFoundError: It is deleted.
        ConflictError: One of the paths that are to be added is there.
    """
    threads = connection.collection("threads")
    paths = {path.partition(".")[0] for operator in update.values() for path in operator}
    new = {name: value for name, value in new_thread(began).items() if name not in paths}
    where: Raw = {"_id": thread_id, "state": "open", **{path: {"$exists": False} for path in added}}
    while True:
        try:
            await threads.update_one(where, {**update, "$setOnInsert": new}, upsert=True)
        except DuplicateKeyError:
            existing = await threads.find_one({"_id": thread_id}, {"state": 1, **dict.fromkeys(added, 1)})
            if existing is not None and existing["state"] == "deleted":
                raise NotFoundError("thread", thread_id) from None
            if existing is not None and any(_has_path(existing, path) for path in added):
                if current_operation().attempt and all(
                    _has_path(existing, path, update["$set"][path]) for path in added
                ):
                    # By the attempt before, whose answer was lost.
                    return
                raise ConflictError(f"thread {thread_id!r} has that already") from None
        else:
            return


def _has_path(document: Raw, path: str, *values: Any) -> bool:
    """Return whether there is something at a path, one of some values if there are any."""
    parent, _, name = path.partition(".")
    members = document.get(parent, {})
    return name in members and (not values or members[name] in values)


async def record_activity(
    connection: Connection, thread_id: str, active_at: int | None, *, has_pinned: bool = False
) -> None:
    """Make sure that a thread is there, and as active as its newest message.

    Raises:
        NotFoundError: It is deleted.
    """
    update: Raw = {} if active_at is None else {"$max": {"active_at": active_at}}
    if has_pinned:
        update["$set"] = {"has_pinned": True}
    began = current_operation().now if active_at is None else active_at
    await upsert_thread(connection, thread_id, update, began)


async def record_vote(
    connection: Connection, thread_id: str, message_id: str, value: int | None, session: Any
) -> None:
    """Note in a thread what is thought of one of its messages, by which lists of threads are filtered."""
    threads = connection.collection("threads")
    thread = {"_id": thread_id, "state": "open"}
    await threads.update_one(thread, {"$pull": {"votes": {"message_id": message_id}}}, session=session)
    if value is not None:
        vote = {"message_id": message_id, "value": value}
        await threads.update_one(thread, {"$push": {"votes": vote}}, session=session)


async def delete_elements(connection: Connection, where: Raw) -> bool:
    """Delete the elements that a filter finds, with their files, and return whether there were any."""
    elements = connection.collection("elements")
    async with elements.find(where, {"file_key": 1}) as found:
        documents = await found.to_list()
    if documents:
        keys: set[str | None] = {document.get("file_key") for document in documents}
        await delete_files(connection, *filter(None, keys))
        # One that has got another file meanwhile is a new one.
        await elements.delete_many(
            {"_id": {"$in": [document["_id"] for document in documents]}, "file_key": {"$in": [*keys]}}
        )
    return bool(documents)


async def delete_files(connection: Connection, *keys: str) -> bool:
    """Delete the files with these keys, and return whether there were any."""
    if not keys:
        return False
    files = connection.engine.collection("files.files")
    async with files.find({"filename": {"$in": [*keys]}}, {"_id": 1}) as found:
        ids = [document["_id"] for document in await found.to_list()]
    await delete_versions(connection, ids)
    return bool(ids)


async def delete_versions(connection: Connection, ids: list[Any]) -> None:
    """Delete files by their own ids."""
    if ids:
        # Without its entry nobody would find the content again that a deletion, cut short here, leaves.
        await connection.engine.collection("files.chunks").delete_many({"files_id": {"$in": ids}})
        await connection.engine.collection("files.files").delete_many({"_id": {"$in": ids}})
