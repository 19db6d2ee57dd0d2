"""What is noted about a room: `store.rooms.tasks` and `store.rooms.observations`."""

from __future__ import annotations

from typing import Any

from mongostore.documents.notes import to_observation, to_stored_observation, to_stored_task, to_task
from mongostore.documents.stored import Raw
from mongostore.errors import AlreadyExistsError, NotFoundError
from mongostore.models import Observation, Page, Task
from mongostore.repositories import reads, writes
from mongostore.repositories.rooms.places import Places
from mongostore.values import check_id


class AsyncRoomTasks(Places[Task]):
    """Tasks of rooms. A task may name a room that is not there; it is deleted with its room."""

    @writes
    async def create(self, task: Task) -> Task:
        """Store a task.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        await self._create("task", to_stored_task(task))
        return task

    @writes
    async def upsert(self, task: Task) -> Task:
        """Store a task, or replace it in its place.

        Raises:
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_task(task)
        while not (await self._collection.update_one({"_id": stored["_id"]}, {"$set": stored})).matched_count:
            try:
                await self._create("task", stored)
            except AlreadyExistsError:
                continue
            break
        return task

    @reads
    async def get(self, task_id: str) -> Task:
        """Return a task.

        Raises:
            NotFoundError: There is no such task.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        task = await self.find(task_id)
        if task is None:
            raise NotFoundError("task", task_id)
        return task

    @reads
    async def find(self, task_id: str) -> Task | None:
        """Return a task, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._collection.find_one({"_id": check_id("task_id", task_id)})
        return None if raw is None else to_task(raw)

    @reads
    async def list(
        self, room_id: str, *, status: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Task]:
        """Return a page of a room's tasks, in the order in which they came.

        Args:
            room_id: The room.
            status: Those of one status.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; tasks that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """
        conditions: Raw = {"room_id": check_id("room_id", room_id)}
        if status is not None:
            conditions["status"] = check_id("status", status)
        return await self._listed(conditions, limit, cursor)

    @property
    def _collection(self) -> Any:
        return self._connection.collection("tasks")

    @staticmethod
    def _value(raw: Raw) -> Task:
        return to_task(raw)


class AsyncRoomObservations(Places[Observation]):
    """Observations of rooms. One may name a room that is not there; it is deleted with its room."""

    @writes
    async def create(self, observation: Observation) -> Observation:
        """Store an observation.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        await self._create("observation", to_stored_observation(observation))
        return observation

    @property
    def _collection(self) -> Any:
        return self._connection.collection("observations")

    @staticmethod
    def _value(raw: Raw) -> Observation:
        return to_observation(raw)
