"""The embedded engine: data in this process, behind the asynchronous interface of PyMongo."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeVar, cast

from bson import encode

from mongostore.engines.deployment import CollectionUsage, Deployment, measure_pings
from mongostore.engines.embedded.fake_driver import FakeClient
from mongostore.engines.embedded.oplog import LOCK
from mongostore.engines.protocol import Capability, Collection, Database, Refusal
from mongostore.engines.transactions import TransactionBody
from mongostore.errors import MongoStoreError, UnavailableError, UnsupportedError

R = TypeVar("R")

_NAMED: dict[str, FakeClient] = {}
_REFUSALS = {Capability.SEARCH: Refusal(UnsupportedError, "Atlas Search cannot work: use Atlas")}


class EmbeddedEngine:
    """An engine for `mongomock://[name]`: nothing to install, nothing kept when the process ends.

    Attributes:
        address: The engine's address.
        is_shared: Always false: no other process sees the data.
    """

    is_shared = False

    def __init__(self, name: str, database: str, prefix: str = "") -> None:
        """Use the data of that `name` in this process, or with no name data of this engine's own."""
        self.address: str = f"mongomock://{name}"
        self._prefix = prefix
        with LOCK:
            client = _NAMED.get(name) or FakeClient()
            if name:
                _NAMED[name] = client
        self._database = client[database]

    @property
    def database(self) -> Database:
        """The database, with as much of PyMongo's interface as the repositories and Beanie use."""
        return cast(Database, self._database)

    def collection(self, name: str) -> Collection:
        """Return a collection of the store, by its name without the prefix."""
        return self.database[self._prefix + name]

    @property
    def is_sharded(self) -> bool:
        """False: there is one place."""
        return False

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities that work here as on a server."""
        return frozenset(Capability) - self.refusals.keys()

    @property
    def refusals(self) -> Mapping[Capability, Refusal]:
        """The refusals of the other capabilities."""
        return _REFUSALS

    async def open(self) -> None:
        """Do nothing: the data are there."""

    async def close(self) -> None:
        """Do nothing: the data stay, and the engine may be opened again."""

    async def recover(self) -> bool:
        """Return True: there is no server that could be silent."""
        return True

    def majority_collection(self, collection: Any) -> Any:
        """Return the collection: nothing of it is ever taken back."""
        return collection

    async def read_majority(self, reading: Callable[[], Awaitable[R]]) -> R:
        """Run what reads."""
        return await reading()

    async def wait_for_write_concern(self) -> None:
        """Do nothing: nothing is ever taken back."""

    async def advance_shards(self) -> None:
        """Do nothing: there are no shards."""

    async def watch(self, pipeline: Sequence[Mapping[str, Any]], after: Mapping[str, Any] | None) -> Any:
        """Open a change stream of the database."""
        return await self.database.watch(pipeline, resume_after=after)

    async def majority_time(self, collection: str, id: str) -> Any:
        """Return the time of the last change."""
        with LOCK:
            return self._database.client.oplog.time

    async def describe(self) -> Deployment:
        """Return what the engine is made of and how fast it answers."""
        server = f"mongomock {version('mongomock')}"
        return Deployment(server, "embedded", hosts=(), pings=await measure_pings(self.database))

    async def usage(self, collections: Iterable[str]) -> list[CollectionUsage]:
        """Return what those of the collections hold that are there."""
        stored_names = [self._prefix + name for name in collections]
        with LOCK:
            existing = [name for name in stored_names if self._database[name].storage.exists]
            stored = {name: self._database[name].storage.find(None) for name in existing}
        return [
            CollectionUsage(name, len(documents), sum(len(encode(document)) for document in documents))
            for name, documents in stored.items()
        ]

    async def transact(self, statements: TransactionBody[R]) -> R:
        """Run statements as one: no other call touches any data, and an error undoes them."""
        await asyncio.sleep(0)
        with LOCK, self._database.client.oplog.transaction():
            return _run_serially(statements(None))

    def timeout_error(self) -> MongoStoreError:
        """Return the error of a call that has not ended in time."""
        return UnavailableError(f"{self.address}: no answer in time")

    def deadline(self, seconds: float) -> contextlib.AbstractContextManager[object]:
        """Bound nothing: no command waits for anything."""
        return contextlib.nullcontext()


def _run_serially(statements: Awaitable[R]) -> R:
    """Run a coroutine to its end without giving way to the event loop."""
    steps = statements.__await__()
    try:
        while True:
            # The faces give way by `sleep(0)`, which awaits nothing.
            assert next(steps) is None, "the statements of a transaction wait for nothing but their answers"
    except StopIteration as done:
        result: R = done.value
        return result
