"""The listing of rooms by the seconds of their newest activities, those of one moment by one command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from mongostore.background_tasks import BackgroundTasks
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import MongoStoreError
from mongostore.repositories import CollectionOf, Connection

_MOST_ROOMS = 64
PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Listing:
    """By what a room is to be listed.

    Attributes:
        room_id: The room.
        log: Its log; the opening of the next one also lists the room.
        second: The second of its newest activity.
        seconds: How long that may take: a transaction of another client may lock the room.
    """

    room_id: str
    log: str
    second: int
    seconds: float

    @property
    def update(self) -> tuple[StoredDocument, StoredDocument]:
        """The filter and the update of the room."""
        room = {"_id": self.room_id, "state": "open", "log": self.log}
        return room, {"$max": {"listed_at": self.second}}


class RoomListing:
    """Lists rooms behind the commits that are their newest activities.

    At the turn of a second all busy rooms are to be listed at once: while some are, others gather, and share
    the next command. A slow command delays them only for a moment.

    Args:
        connection: The connection.
        forget: Is called with a room that could not be listed.
    """

    _rooms = CollectionOf("rooms")

    def __init__(self, connection: Connection, forget: Callable[[str], None]) -> None:
        self._connection = connection
        self._forget = forget
        self._gathered: dict[str, Listing] = {}
        self._latest: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()

    def add(self, listing: Listing) -> None:
        """List a room soon; an older listing of it that is not sent yet is dropped."""
        if not self._gathered:
            self._latest = self._tasks.start(self._list_gathered(self._latest))
        self._gathered[listing.room_id] = listing

    async def wait(self) -> None:
        """Wait until the rooms are listed that were added before."""
        await self._tasks.wait()

    async def _list_gathered(self, previous: asyncio.Task[None] | None) -> None:
        if previous and not previous.done():
            await asyncio.wait([previous], timeout=PATIENCE_SECONDS)
        listings = [*self._gathered.values()]
        self._gathered.clear()
        for start in range(0, len(listings), _MOST_ROOMS):
            await self._list(listings[start : start + _MOST_ROOMS])

    async def _list(self, group: list[Listing]) -> None:
        tries = min(len(group), 2)
        seconds = max(listing.seconds for listing in group) / tries
        if tries == 1 or not await self._list_together(group, seconds):
            await asyncio.gather(*(self._list_alone(listing, seconds) for listing in group))

    async def _list_together(self, group: list[Listing], seconds: float) -> bool:
        """List rooms by one command; return False if it is not known of each of them that it is listed."""
        try:
            with self._connection.engine.deadline(seconds):
                return await self._rooms.update_each([one.update for one in group]) == len(group)
        except (PyMongoError, MongoStoreError):
            # One room, such as a locked one, may have kept the others from it.
            return False

    async def _list_alone(self, listing: Listing, seconds: float) -> None:
        try:
            with self._connection.engine.deadline(seconds):
                await self._rooms.update_one(*listing.update)
        except (PyMongoError, MongoStoreError):
            # The next event lists it.
            self._forget(listing.room_id)
