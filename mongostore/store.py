"""The store: an engine, its indexes, its documents and the repositories on them."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from mongostore.engines import Capability, Engine, Transactions, engine_for
from mongostore.indexing import IndexReport, diff_indexes, ensure_indexes
from mongostore.repositories import Connection
from mongostore.repositories.sessions import SessionRepository
from mongostore.settings import Settings

# Building an index of a large collection takes its time; a server that is gone must still end the wait.
_INDEX_SECONDS = 600.0


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

    Raises:
        ConfigurationError: The target is none of these.
    """

    def __init__(
        self, target: object = None, database: str | None = None, *, transactions: Transactions = "required"
    ) -> None:
        self._settings = Settings()
        self._engine = engine_for(
            self._settings.uri if target is None else target,
            database,
            default_database=self._settings.database,
            transactions=transactions,
            mongod=self._settings.mongod,
        )
        self._connection = Connection(self._engine, self._settings.timeout)
        self.sessions = SessionRepository(self._connection)

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
        """Connect, create missing indexes and bind the documents; on an open store, do nothing.

        Raises:
            ConfigurationError: The address or the installation cannot work.
            AccessDeniedError: The credentials are wrong, or the user may not create indexes.
            UnavailableError: Nothing answers there, within five seconds.
            UnsupportedError: It is a standalone server, and transactions are required.
            IndexConflictError: An index is there with another definition.
        """
        if self._connection.is_attached:
            return
        await self._engine.open()
        try:
            if self._settings.ensure_indexes:
                with self._engine.deadline(_INDEX_SECONDS):
                    await ensure_indexes(self._engine.database, self._engine.label)
            await self._connection.attach()
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
        return await diff_indexes(self._engine.database, self._engine.label)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
