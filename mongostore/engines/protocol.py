"""The interface of every engine, and the capabilities of deployments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from mongostore.engines.deployment import CollectionUsage, Deployment
from mongostore.engines.transactions import TransactionBody
from mongostore.errors import MongoStoreError

R = TypeVar("R")

Database = AsyncDatabase[dict[str, Any]]
Collection = AsyncCollection[dict[str, Any]]


class Capability(StrEnum):
    """Something that not every deployment can do."""

    TRANSACTIONS = "transactions"
    CHANGE_STREAMS = "change_streams"
    KILL_SESSIONS = "kill_sessions"
    TTL = "ttl"
    SEARCH = "search"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The refusal of a capability by a deployment.

    Attributes:
        kind: The class of the errors that it causes.
        reason: The things that do not work, why, and the remedy.
    """

    kind: type[MongoStoreError]
    reason: str


class Engine(Protocol):
    """A place where documents are kept, spoken to through PyMongo's async interface.

    Attributes:
        address: The engine's address as it may be shown: never a password.
        is_shared: Whether other processes see the same data.
    """

    address: str
    is_shared: bool

    @property
    def database(self) -> Database:
        """The database of an open engine."""

    def collection(self, name: str) -> Collection:
        """Return a collection of the store, by its name without the prefix."""

    @property
    def is_sharded(self) -> bool:
        """Whether the documents of an open engine lie on several shards."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of the deployment, known once the engine is open."""

    @property
    def refusals(self) -> Mapping[Capability, Refusal]:
        """The refusals of the other capabilities."""

    async def open(self) -> None:
        """Connect and detect the capabilities, within five seconds or so.

        Raises:
            ConfigurationError: The address or the installation cannot work.
            AccessDeniedError: The credentials are wrong.
            UnavailableError: Nothing answers there.
            UnsupportedError: The deployment lacks what the store needs.
        """

    async def close(self) -> None:
        """Let go of every connection; closing twice is harmless."""

    async def recover(self) -> bool:
        """Do what may help the next attempt of what has failed: bring back a server that this engine runs.

        Returns:
            Whether the server answers.
        """

    async def describe(self) -> Deployment:
        """Return what the deployment is and how fast it answers.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    async def usage(self, collections: Iterable[str]) -> list[CollectionUsage]:
        """Return what those of the collections hold that are there.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    async def watch(self, pipeline: Sequence[Mapping[str, Any]], after: Mapping[str, Any] | None) -> Any:
        """Open a change stream of the database on a connection of its own, behind a token if there is one."""

    async def majority_time(self, collection: str, id: str) -> Any:
        """Return the server's time up to which the majority has what a document has been through."""

    async def transact(self, statements: TransactionBody[R]) -> R:
        """Run statements in one transaction, or one after the other on a server that has none.

        Args:
            statements: Takes the session that each of its commands must name, None without a
                transaction; may be called several times.
        """

    def majority_collection(self, collection: Any) -> Any:
        """Return a collection for readers that go on from their last read.

        It leaves out writes that the majority does not have yet and a failover may take back.
        """

    async def read_majority(self, reading: Callable[[], Awaitable[R]]) -> R:
        """Run a read of such collections, so that it misses no acknowledged write.

        Args:
            reading: May be called several times.
        """

    async def wait_for_write_concern(self) -> None:
        """Wait until all that is there by now is stored as the write concern asks."""

    async def advance_shards(self) -> None:
        """Have each shard of a cluster write down the time of the latest; do nothing without shards."""

    def timeout_error(self) -> MongoStoreError:
        """Return the error of a call that has not ended in time, with the reason if it is known."""

    def deadline(self, seconds: float) -> AbstractContextManager[object]:
        """Bound every command sent inside the `with` block."""
