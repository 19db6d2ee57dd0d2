"""The store: an engine, its indexes, its documents and the repositories on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from mongostore.documents import COLLECTIONS
from mongostore.engines import Capability, Deployment, Engine, Transactions, Usage, engine_for
from mongostore.engines.faults import unchained
from mongostore.examining import Finding, examine
from mongostore.indexing import IndexReport, apply_indexes, diff_indexes, ensure_indexes
from mongostore.repositories import Connection
from mongostore.repositories.keys import KeyRepository
from mongostore.repositories.rooms import (
    BindingRepository,
    EventRepository,
    IdentityRepository,
    LeaseRepository,
    ObservationRepository,
    ParticipantRepository,
    ReadMarkerRepository,
    RoomRepository,
    TaskRepository,
    VerificationRepository,
    VoiceDeliveryRepository,
)
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.threads import (
    ElementRepository,
    FileRepository,
    ThreadMessageRepository,
    ThreadRepository,
    UserRepository,
)
from mongostore.settings import Settings

# Building an index of a large collection takes its time; a server that is gone must still end the wait.
_INDEX_SECONDS = 600.0
_EXAMINING_SECONDS = 120.0


class AsyncMongoStore:
    """Conversations in MongoDB, for async code; `MongoStore` is its blocking twin.

    A store belongs to the event loop that opens it. Opening creates the indexes that are missing,
    unless `MONGOSTORE_ENSURE_INDEXES=false` says that an operator does.

    Args:
        target: `mongomock://[name]` (in this process), `mongodb://…`, `mongodb+srv://…`,
            `mongod:///folder` (a server of its own), or a Motor client or database; else
            `MONGOSTORE_URI`, else `mongomock://`.
        database: Its name; else what the target names, else `MONGOSTORE_DATABASE`, else `mongostore`.
        transactions: `off` accepts a standalone server, which cannot do them.
        ensure_indexes: Whether opening creates missing indexes; else as `MONGOSTORE_ENSURE_INDEXES` says.

    Raises:
        ConfigurationError: The target is none of these.
    """

    def __init__(
        self,
        target: object = None,
        database: str | None = None,
        *,
        transactions: Transactions = "required",
        ensure_indexes: bool | None = None,
    ) -> None:
        self._settings = Settings()
        self._ensures_indexes = self._settings.ensure_indexes if ensure_indexes is None else ensure_indexes
        self._engine = engine_for(
            self._settings.uri if target is None else target,
            database,
            default_database=self._settings.database,
            transactions=transactions,
            mongod=self._settings.mongod,
        )
        self._connection = Connection(self._engine, self._settings.timeout)
        self._opening = asyncio.Lock()
        self.sessions = AsyncSessions(self._connection)
        self.rooms = RoomRepository(self._connection)
        self.events = EventRepository(self._connection)
        self.bindings = BindingRepository(self._connection)
        self.participants = ParticipantRepository(self._connection)
        self.identities = IdentityRepository(self._connection)
        self.verifications = VerificationRepository(self._connection)
        self.tasks = TaskRepository(self._connection)
        self.observations = ObservationRepository(self._connection)
        self.read_markers = ReadMarkerRepository(self._connection)
        self.voice_deliveries = VoiceDeliveryRepository(self._connection)
        self.leases = LeaseRepository(self._connection)
        self.users = UserRepository(self._connection)
        self.files = FileRepository(self._connection)
        self.threads = ThreadRepository(self._connection)
        self.messages = ThreadMessageRepository(self._connection)
        self.elements = ElementRepository(self._connection)
        self.keys = KeyRepository(self._connection)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.label}>"

    @property
    def engine(self) -> Engine:
        """Where the store keeps things."""
        return self._engine

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the deployment can do, known once the store is open."""
        return self._engine.capabilities

    async def open(self) -> None:
        """Connect and create missing indexes; on an open store, do nothing.

        Raises:
            ConfigurationError: The address or the installation cannot work.
            AccessDeniedError: The credentials are wrong, or the user may not create indexes.
            UnavailableError: Nothing answers there, within five seconds.
            UnsupportedError: It is a standalone server, and transactions are required.
            IndexConflictError: An index is there with another definition.
        """
        async with self._opening:
            if not self._connection.is_attached:
                with unchained():
                    await self._open()

    async def _open(self) -> None:
        await self._engine.open()
        try:
            if self._ensures_indexes:
                with self._engine.deadline(_INDEX_SECONDS):
                    await ensure_indexes(self._engine.database, self._engine.label)
            self._connection.attach()
        except BaseException:
            await self._engine.close()
            raise

    async def close(self) -> None:
        """Close every connection; closing twice is harmless."""
        self._connection.detach()
        await self._engine.close()

    async def check_indexes(self) -> list[IndexReport]:
        """Return every index of the store's collections, defined or found, with how the two compare.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        with self._asking():
            return await diff_indexes(self._engine.database, self._engine.label)

    async def apply_indexes(self) -> list[IndexReport]:
        """Create the indexes that are missing, also beside some that differ; those stay as they are.

        Returns:
            What `check_indexes` finds after that.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        with self._asking(_INDEX_SECONDS):
            return await apply_indexes(self._engine.database, self._engine.label)

    async def describe(self) -> Deployment:
        """Return what the deployment is, how fast it answers and how many connections it has.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        with self._asking():
            return await self._engine.describe()

    async def examine(self) -> list[Finding]:
        """Return what each check of the deployment finds: its topology, rights, clock, indexes and more.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        with self._asking(_EXAMINING_SECONDS):
            return await examine(self._engine, COLLECTIONS)

    async def usage(self) -> list[Usage]:
        """Return how much each of the store's collections holds.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """
        with self._asking():
            return await self._engine.usage(COLLECTIONS)

    @contextmanager
    def _asking(self, seconds: float | None = None) -> Iterator[None]:
        """Check that the store is open, and bound what is asked of its engine."""
        self._connection.check_open()
        with unchained(), self._engine.deadline(seconds or self._settings.timeout):
            yield

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
