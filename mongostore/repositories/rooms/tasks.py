"""Tasks of rooms; `store.rooms.tasks`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import suppress

from mongostore.arguments import check_id
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.room_parts import to_stored_task, to_task
from mongostore.errors import AlreadyExistsError, InvalidDocumentError
from mongostore.models import Page, Task
from mongostore.repositories import current_operation, long_running, reads, writes
from mongostore.repositories.rooms.room_parts import RoomParts, in_room, owned_filter


class AsyncRoomTasks(RoomParts[Task]):
    """Tasks of rooms; the room need not be there yet, and takes them with it when it is deleted."""

    _NAME = "tasks"
    _decode = staticmethod(to_task)

    @writes
    async def create(self, room_id: str, task: Task) -> Task:
        """Store a task.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            NotFoundError: If the room was deleted during the call and made anew, or erased with a person.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        task = in_room("task", task, Task, room_id)
        await self._create("task", to_stored_task(task))
        return task

    @writes
    async def upsert(self, room_id: str, task: Task) -> Task:
        """Store a task, or replace the one of that id in its place; one of another room comes into this one.

        Raises:
            NotFoundError: If the room was deleted during the call and made anew, or erased with a person.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        task = in_room("task", task, Task, room_id)
        stored = to_stored_task(task)
        own, moved = {"_id": stored["_id"], "room_id": stored["room_id"]}, None
        while not await self._replace(own, stored):
            with suppress(AlreadyExistsError):
                await self._create("task", stored, moved)
                break
            # Another room may have it.
            found = await self._collection.find_one({"_id": own["_id"]}, {"room_id": 1, "stored_at": 1})
            if found and current_operation().attempt and found["stored_at"] > current_operation().began:
                # What was stored since the call began, stays.
                break
            moved = {**own, "room_id": found["room_id"]} if found else None
        return task

    @reads
    async def get(self, room_id: str, task_id: str) -> Task:
        """Return a task.

        Raises:
            NotFoundError: If the room has no such task.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("task", task_id, await self.find(room_id, task_id))

    @reads
    async def find(self, room_id: str, task_id: str) -> Task | None:
        """Return a task; None if the room has no such task.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return await self._find(owned_filter(room_id, "task_id", task_id))

    @reads
    async def find_by_id(self, task_id: str) -> Task | None:
        """Return a task whose room is not known; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return await self._find({"_id": check_id("task_id", task_id)})

    @reads
    async def list(
        self,
        room_id: str,
        *,
        status: str | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Task]:
        """Return a page of tasks, of one status or all, in order of addition.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        return await self._list_page(_of_status(room_id, status), newest, limit, cursor)

    @long_running
    def iter(
        self,
        room_id: str,
        *,
        status: str | None = None,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Task]:
        """Yield a room's tasks, of one status or all, in order of addition.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """
        return self._walk(_of_status(room_id, status), newest, errors)

    @writes
    async def delete(self, room_id: str, task_id: str) -> bool:
        """Delete a task and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """
        return await self._delete(owned_filter(room_id, "task_id", task_id))


def _of_status(room_id: str, status: str | None) -> StoredDocument:
    tasks: StoredDocument = {"room_id": check_id("room_id", room_id)}
    if status is not None:
        tasks["status"] = check_id("status", status)
    return tasks
