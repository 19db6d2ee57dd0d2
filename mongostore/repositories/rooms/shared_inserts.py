"""The inserts of single events: those of several rooms that come at once share one command."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from pymongo.errors import BulkWriteError

from mongostore.background_tasks import BackgroundTasks
from mongostore.documents.mapping import StoredDocument
from mongostore.engines.driver_errors import refused_writes
from mongostore.repositories import CollectionOf, Connection

_GROUP = 64
# So many turns of the event loop lie between an answer and the next event of its caller.
_TURNS = 6
_PATIENCE_SECONDS = 0.05


@dataclass
class _Waiting:
    document: StoredDocument
    seconds: float
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def resolve(self, error: Exception | None) -> None:
        if self.stored.done():
            return
        if error is None:
            self.stored.set_result(None)
        else:
            self.stored.set_exception(error)


class SharedInserts:
    """Stores single events of rooms; of those in one command each is stored or refused by itself.

    A command costs the client and the server more than the event in it: while one is under way, further
    events wait and go together. A slow command delays no other.
    """

    _events = CollectionOf("events")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Waiting] = deque()
        self._is_crowded = False
        self._is_one_under_way = False
        self._sender: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()

    async def insert(self, document: StoredDocument, seconds: float) -> None:
        """Store an event.

        Args:
            document: The event.
            seconds: How long that may take.
        """
        if not (self._is_crowded or self._is_one_under_way or self._sender):
            self._is_one_under_way = True
            try:
                await self._events.insert_one(document)
            finally:
                self._is_one_under_way = False
            return
        waiting = _Waiting(document, seconds)
        self._waiting.append(waiting)
        if self._sender is None:
            self._sender = self._tasks.start(self._send())
        await waiting.stored

    async def _send(self) -> None:
        while self._waiting:
            for _ in range(_TURNS if self._is_crowded else 0):
                # Callers that have just got an answer may have more to store: let them join.
                await asyncio.sleep(0)
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]
            self._is_crowded = len(group) > 1
            await asyncio.wait([self._tasks.start(self._store(group))], timeout=_PATIENCE_SECONDS)
        self._sender = None

    async def _store(self, group: list[_Waiting]) -> None:
        documents = [waiting.document for waiting in group]
        try:
            with self._connection.engine.deadline(max(waiting.seconds for waiting in group)):
                refused = await self._insert(documents)
        except Exception as error:  # Each caller raises it.
            refused = dict.fromkeys(range(len(group)), error)
        for number, waiting in enumerate(group):
            waiting.resolve(refused.get(number))

    async def _insert(self, documents: list[StoredDocument]) -> dict[int, Exception]:
        """Store events, and return the errors of those that are refused, by their place."""
        events = self._events
        try:
            if len(documents) > 1:
                await events.insert_many(documents, ordered=False)
            else:
                await events.insert_one(documents[0])
        except BulkWriteError as error:
            return {**refused_writes(error)}
        return {}
