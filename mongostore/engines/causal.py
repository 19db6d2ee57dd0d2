"""Majority reads of a sharded cluster, whose routers hide the elections of its shards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.read_concern import ReadConcern

from mongostore.engines.transactions import TransactionBody

R = TypeVar("R")

_READS = frozenset({"aggregate", "count_documents", "distinct", "find", "find_one"})
_WRITES = frozenset(
    {
        *("bulk_write", "delete_many", "delete_one", "find_one_and_update", "insert_many", "insert_one"),
        *("replace_one", "update_many", "update_one"),
        # Of a database.
        "command",
    }
)


_reading: ContextVar[AsyncClientSession | None] = ContextVar("mongostore_reading", default=None)


def is_cluster(client: AsyncMongoClient[dict[str, Any]]) -> bool:
    """Return whether an open client speaks to the routers of a sharded cluster."""
    return client.topology_description.topology_type_name in ("Sharded", "LoadBalanced")


class CausalReads:
    """Reads of the documents that the majority of each shard has, behind the store's own writes.

    A new primary of a shard shows less than was acknowledged, until it has learned what the majority has. A
    read names the time of the store's last write, up to which the shard then waits. A replica set needs no
    such times, for its elections are seen, and then a store sees the writes of others as well.

    The times are of writes alone: with those of reads, a store that reads a busy shard would have an idle
    one write an entry of its log before each of its reads.

    Args:
        client: The client.
        collection: A collection that it may read.
    """

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], collection: Any) -> None:
        self._client = client
        self._collection = collection
        self._written: Any = None

    def collection(self, collection: Any) -> Any:
        """Return a collection without what the majority of its shard does not have."""
        return collection.with_options(read_concern=ReadConcern("majority"))

    def follow(self, collection: Any) -> Any:
        """Return a collection whose writes later reads wait for."""
        return _FollowedObject(collection, self)

    async def read(self, reading: Callable[[], Awaitable[R]]) -> R:
        """Run what reads such collections, behind all that the store has written."""
        async with self._client.start_session() as session:
            if self._written is not None:
                session.advance_operation_time(self._written)
            token = _reading.set(session)
            try:
                return await reading()
            finally:
                _reading.reset(token)

    async def write(self, statement: Callable[..., Awaitable[R]], *args: Any, **options: Any) -> R:
        """Run a statement that writes, and keep its time."""
        if options.get("session") is not None:
            # Of a transaction, whose time is that of its commit.
            return await statement(*args, **options)
        async with self._client.start_session(causal_consistency=False) as session:
            try:
                return await statement(*args, **{**options, "session": session})
            finally:
                self._record(session)

    async def commit(
        self, run: Callable[[TransactionBody[R]], Awaitable[R]], statements: TransactionBody[R]
    ) -> R:
        """Run the statements of a transaction, and keep the time of its commit."""
        sessions = set[AsyncClientSession]()

        async def followed(session: AsyncClientSession | None) -> R:
            if session is not None:
                sessions.add(session)
            return await statements(session)

        try:
            return await run(followed)
        finally:
            for session in sessions:
                self._record(session)

    def _record(self, session: AsyncClientSession) -> None:
        time = session.operation_time
        if time is not None and (self._written is None or time > self._written):
            self._written = time

    async def wait_for_majority(self) -> None:
        """Wait until the majority of each shard has all that its primary has by now."""
        async with self._client.start_session() as session:
            # Each shard is asked, and its answer bears its time.
            for collection in (self._collection, self.collection(self._collection)):
                await collection.find_one({}, {"_id": 1}, session=session)


class _FollowedObject:
    """A collection, or its database, whose statements bear a session."""

    def __init__(self, target: Any, reads: CausalReads) -> None:
        self._target = target
        self._reads = reads

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        if name in _WRITES:
            return partial(self._reads.write, member)
        if name == "database":
            return _FollowedObject(member, self._reads)
        if name in _READS and self._target.read_concern.level == "majority" and (session := _reading.get()):
            return partial(member, session=session)
        return member

    def with_options(self, **options: Any) -> _FollowedObject:
        return _FollowedObject(self._target.with_options(**options), self._reads)
