"""The store: an engine, its indexes, its documents and the repositories on them."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mongostore.diagnostics import CheckResult, diagnose
from mongostore.documents import COLLECTIONS
from mongostore.engines import (
    Capability,
    ClientSettings,
    CollectionUsage,
    Deployment,
    Engine,
    Target,
    Transactions,
    engine_for,
)
from mongostore.engines.driver_errors import drop_driver_context
from mongostore.errors import ConfigurationError, MongoStoreError
from mongostore.hooks import Hooks, check_hooks
from mongostore.index_definitions import IndexReport, apply_indexes, diff_indexes, ensure_indexes
from mongostore.models.retention import RetentionPolicy
from mongostore.people import AsyncPeople
from mongostore.repositories import Connection
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.leases import AsyncLeases
from mongostore.repositories.leftovers import Leftover, Leftovers
from mongostore.repositories.rooms import AsyncRooms
from mongostore.repositories.sessions import AsyncSessions, SessionStorage, Tail, TailLimits
from mongostore.repositories.statistics import AsyncStatistics, Statistics
from mongostore.repositories.threads import AsyncThreads
from mongostore.retention import AsyncRetention, RetentionWorker
from mongostore.settings import Settings

if TYPE_CHECKING:
    from mongostore.beanie import Documents

# Building an index of a large collection takes its time; a server that is silent must still end the wait.
_INDEX_SECONDS = 600.0
_DIAGNOSE_SECONDS = 120.0
_STATISTICS_TIME = timedelta(days=29)
# A store that opens finishes so many deletions of each house, if they take no longer.
_SWEPT_AT_OPEN = 20
_SWEEP_SECONDS = 2.0
_log = logging.getLogger("mongostore")


class AsyncMongoStore:
    """Conversations in MongoDB for async code; blocking code has `MongoStore`.

    A store belongs to the event loop that opens it. Opening creates the indexes that are missing,
    unless `MONGOSTORE_ENSURE_INDEXES=false` leaves that to an operator.

    Args:
        target: `mongomock://[name]` (in this process), `mongodb://…`, `mongodb+srv://…`, `mongod:///folder`
            (a server of its own); an async client or database of PyMongo, which is used as it is and never
            closed; a blocking one, or Motor's, of which an equal client is opened. Else `MONGOSTORE_URI`,
            else `mongomock://`, with a warning.
        database: Its name; else what the target names, else `MONGOSTORE_DATABASE`, else `mongostore`.
        timeout: Seconds that one call may take, retries included; else `MONGOSTORE_TIMEOUT`, else 20.
        client_options: Keyword arguments of PyMongo's client, such as `tlsCAFile` or `event_listeners`; only
            for the URI of a server.
        prefix: Begins the name of every collection, in a database that others use as well; else
            `MONGOSTORE_PREFIX`.
        transactions: `off` accepts a standalone server, which cannot do them.
        ensure_indexes: Whether opening creates missing indexes; else by `MONGOSTORE_ENSURE_INDEXES`.
        retention: The policy by which the open store prunes, one process at a time; else it does not.
        hooks: Objects that receive each call and each retry, for metrics and alerts.
        tail_limits: When a session's messages move out of its document, the same in all processes:
            `mongostore.repositories.sessions.TailLimits`. For tests and tuning.

    Attributes:
        sessions: Sessions: conversations whose application owns their order.
        threads: Threads: steps of a user interface, in any order, with elements, files and feedback.
        rooms: Rooms: several channels and people on one timeline of events.
        people: One person over all of them: find, export, erase.
        retention: The deletion of what is old or expired.
        keys: The API keys of the store's servers.
        leases: The right to do something alone for a while.

    Raises:
        ConfigurationError: If the target is none of these, or an argument does not fit it.
    """

    def __init__(
        self,
        target: Target | ClientSettings | None = None,
        database: str | None = None,
        *,
        timeout: float | None = None,
        client_options: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        transactions: Transactions = "required",
        ensure_indexes: bool | None = None,
        retention: RetentionPolicy | None = None,
        hooks: Sequence[Hooks] = (),
        tail_limits: TailLimits | None = None,
    ) -> None:
        self._settings = Settings()
        self._ensure_indexes = self._settings.ensure_indexes if ensure_indexes is None else ensure_indexes
        self._is_default = target is None and self._settings.uri is None
        self._engine = engine_for(
            (self._settings.uri or "mongomock://") if target is None else target,
            database,
            default_database=self._settings.database,
            prefix=self._settings.prefix if prefix is None else prefix,
            transactions=transactions,
            client_options=client_options,
            mongod=self._settings.mongod,
        )
        self._timeout = self._settings.timeout if timeout is None else _check_timeout(timeout)
        self._connection = Connection(self._engine, self._timeout, check_hooks(hooks))
        changes = ChangeFeed(self._connection, self._settings.heartbeat)
        self._opening = asyncio.Lock()
        self._documents: Documents | None = None
        self._closing: AsyncGenerator[None, None] | None = None
        self._tail = Tail(self._connection, tail_limits)
        self.sessions: Final = AsyncSessions(SessionStorage(self._connection, self._tail), changes)
        self.rooms: Final = AsyncRooms(self._connection, changes)
        self.leases: Final = AsyncLeases(self._connection)
        self.threads: Final = AsyncThreads(self._connection)
        self.keys: Final = AsyncKeys(self._connection)
        self.people: Final = AsyncPeople(
            self._connection, self._tail, self.sessions, self.threads, self.rooms, self.keys
        )
        self.retention: Final = AsyncRetention(self._connection, self._tail)
        self._worker = RetentionWorker(self.retention, self.leases, retention) if retention else None
        self._pruning: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.address}>"

    @property
    def engine(self) -> Engine:
        """Where the store keeps things."""
        return self._engine

    @property
    def address(self) -> str:
        """The target as it may be shown in logs: without a password."""
        return self._engine.address

    @property
    def is_open(self) -> bool:
        """Whether the store is open."""
        return self._connection.is_attached

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of the deployment, known once the store is open."""
        return self._engine.capabilities

    @property
    def documents(self) -> Documents:
        """Read-only Beanie documents: `store.documents.Session.find(…)`.

        Raises:
            NotOpenError: If the store is not open, or open in another event loop.
        """
        # To import Beanie takes longer than to open a store.
        from mongostore.beanie import Documents

        self._connection.check_open()
        if self._documents is None:
            self._documents = Documents(self._engine.collection)
        return self._documents

    async def open(self) -> None:
        """Connect, create missing indexes, finish deletions, unless it is open.

        Raises:
            ConfigurationError: The address or the installation cannot work.
            AccessDeniedError: The credentials are wrong, or the user may not create indexes.
            UnavailableError: Nothing answers there, within five seconds, or no more, within twenty.
            UnsupportedError: It is a standalone server, and transactions are required.
            IndexConflictError: An index is there with another definition.
        """
        async with self._opening:
            if self.is_open:
                return
            if self._is_default:
                _log.warning(
                    "no target and no MONGOSTORE_URI: conversations are kept in memory and lost at exit"
                )
            with drop_driver_context():
                await self._open()
            if self._worker is not None:
                self._pruning = asyncio.create_task(self._worker.run(), context=Context())
            self._closing = _close_at_last(self._engine, self._pruning)
            await anext(self._closing)
            # What it holds must outlive the store: the garbage collector would close sockets under the loop.
            self._forgotten = weakref.finalize(self, _end_soon, asyncio.get_running_loop(), self._closing)
            self._forgotten.atexit = False
            if self._ensure_indexes:
                await self._finish_deletions()
            _log.info("opened %s", self.address, extra={"address": self.address})

    async def _open(self) -> None:
        await self._engine.open()
        try:
            if self._ensure_indexes:
                with self._engine.deadline(_INDEX_SECONDS):
                    await ensure_indexes(self._engine)
            with self._engine.deadline(self._timeout):
                await self._connection.read_clock()
            self._connection.attach()
        except BaseException:
            await self._engine.close()
            raise

    async def _finish_deletions(self) -> None:
        """Finish some deletions that were cut short; without that the store works, too."""
        try:
            async with asyncio.timeout(_SWEEP_SECONDS):
                await Leftovers(self._connection, self._tail).finish_some(_SWEPT_AT_OPEN)
        except TimeoutError:
            _log.info(
                "deletions that were cut short are left to the next opening: %g s are over", _SWEEP_SECONDS
            )
        except MongoStoreError as error:
            _log.warning("some deletions that were cut short are not finished: %s", error)

    async def close(self) -> None:
        """Close what the store has opened itself, when its calls have ended.

        Those under way end, each in its time. Calls that begin later are refused, and iterations end. Closing
        twice is harmless. A store that is left open is closed when nothing refers to it any more, or when
        `asyncio.run` ends its event loop.
        """
        async with self._opening:
            was_open = self.is_open
            if unended := await self._drain():
                _log.warning(
                    "closed %s in the middle of %s",
                    *(self.address, ", ".join(unended)),
                    extra={"address": self.address},
                )
            self._connection.detach()
            self._documents = None
            closing, self._closing = self._closing, None
            if closing is not None:
                self._forgotten.detach()
                await closing.aclose()
            await self._engine.close()
            if was_open:
                _log.info("closed %s", self.address, extra={"address": self.address})

    async def _drain(self) -> list[str]:
        pruning, self._pruning = self._pruning, None
        await _cancel(pruning)
        return await self._connection.drain()

    async def check_indexes(self) -> list[IndexReport]:
        """Compare every index of the store's collections, defined or found.

        Raises:
            MongoStoreError: If the server refuses the command.
        """
        with self._bounded_call():
            return await diff_indexes(self._engine)

    async def apply_indexes(self) -> list[IndexReport]:
        """Create missing indexes; those that differ stay as they are.

        Where the deployment has Atlas Search, also those of `indexes/search/`, which no verb needs.

        Returns:
            The result of `check_indexes` after that, and the search indexes that are there.

        Raises:
            MongoStoreError: If the server refuses the command.
        """
        with self._bounded_call(_INDEX_SECONDS):
            return await apply_indexes(self._engine)

    async def describe(self) -> Deployment:
        """Return the deployment with its speed and number of connections.

        Raises:
            MongoStoreError: If the server refuses the command.
        """
        with self._bounded_call():
            return await self._engine.describe()

    async def diagnose(self) -> list[CheckResult]:
        """Check the deployment: its topology, rights, clock, indexes and more.

        Raises:
            MongoStoreError: If the server refuses the command.
        """
        with self._bounded_call(_DIAGNOSE_SECONDS):
            return await diagnose(self._engine, COLLECTIONS)

    async def find_leftovers(self) -> list[Leftover]:
        """Return documents that interrupted deletions and uploads left.

        Those that another process is deleting or writing at the moment may be among them.

        Raises:
            MongoStoreError: If the server refuses to be asked.
        """
        return await Leftovers(self._connection, self._tail).find()

    async def mend_leftovers(self, *, grace: float = 60.0) -> int:
        """Finish deletions and delete orphaned parts; return the number of both.

        Args:
            grace: Seconds to wait before a part without a head is deleted: more than a call may take that
                writes the part first.

        Raises:
            MongoStoreError: If the server refuses; the part that is done stays done.
        """
        return await Leftovers(self._connection, self._tail).mend(grace=grace)

    async def usage(self) -> list[CollectionUsage]:
        """Return how much each of the store's collections holds.

        Raises:
            MongoStoreError: If the server refuses the command.
        """
        with self._bounded_call():
            return await self._engine.usage(COLLECTIONS)

    async def statistics(self, since: datetime | None = None) -> Statistics:
        """Return what the store holds, and what was said in it day by day.

        Of a collection with many thousands of documents the newest are read, so that the cost is bounded;
        the result has whether that was all.

        Args:
            since: The first day; else 30 days ago.

        Raises:
            InvalidValueError: If the time has no zone, or is none of the last 366 days.
            MongoStoreError: If the server refuses the command.
        """
        if since is None:
            since = datetime.now(UTC) - _STATISTICS_TIME
        return await AsyncStatistics(self._connection).read(since)

    @contextmanager
    def _bounded_call(self, seconds: float | None = None) -> Iterator[None]:
        """Check that the store is open, and bound what is asked of its engine."""
        self._connection.check_open()
        with drop_driver_context(), self._engine.deadline(seconds or self._timeout):
            yield

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None and task.get_loop() is asyncio.get_running_loop():
        task.cancel()
        await asyncio.wait([task])


async def _close_at_last(engine: Engine, pruning: asyncio.Task[None] | None) -> AsyncGenerator[None, None]:
    """Close an engine when its store is closed or forgotten, or when its event loop ends.

    The loop ends the asynchronous generators that it has begun before it is closed itself.
    """
    try:
        yield
    finally:
        await _cancel(pruning)
        await engine.close()


def _end_soon(loop: asyncio.AbstractEventLoop, generator: AsyncGenerator[None, None]) -> None:
    if not loop.is_closed():
        asyncio.run_coroutine_threadsafe(_end(generator), loop)


async def _end(generator: AsyncGenerator[None, None]) -> None:
    await generator.aclose()


def _check_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError("timeout: must be a number of seconds above 0")
    return float(timeout)
