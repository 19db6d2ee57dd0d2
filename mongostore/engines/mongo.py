"""A MongoDB server, replica set or Atlas cluster, through PyMongo's own async client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal, TypeVar

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.driver_info import DriverInfo
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import (
    ConnectionFailure,
    InvalidOperation,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from mongostore.engines.capabilities import ask_capabilities, primary_of, silence_command_log
from mongostore.engines.causal import CausalReads, is_cluster
from mongostore.engines.clients import equal_client
from mongostore.engines.deployment import CollectionUsage, Deployment, describe_server, measure_usage
from mongostore.engines.driver_errors import (
    NO_PRIMARY,
    Servers,
    drop_driver_context,
    explain_silence,
    is_encryption_error,
    lacks_primary,
    translate_error,
)
from mongostore.engines.majority import MajorityReads, majority_reads
from mongostore.engines.protocol import Capability, Collection, Database, Refusal
from mongostore.engines.transactions import (
    DRIVER,
    Client,
    TransactionBody,
    deadline,
    kill_idle_transactions,
    transact,
)
from mongostore.engines.uris import address_of, address_of_client, check_database, first_line, uri_options
from mongostore.errors import ConfigurationError, MongoStoreError, NotOpenError, UnavailableError

R = TypeVar("R")

Transactions = Literal["required", "off"]

DEFAULT_DATABASE = "mongostore"
OPEN_SECONDS = 4.5
# A server that is there answers sooner, and to look for another one is not this one's work.
_REVIVE_SECONDS = 0.5
_ENDING_SECONDS, _FAREWELL_SECONDS = 2.0, 1.0
_DEFAULTS: dict[str, Any] = {
    "appname": "mongostore",
    "driver": DriverInfo(DRIVER),
    "maxPoolSize": 20,
    "serverSelectionTimeoutMS": int(OPEN_SECONDS * 1000),
    "connectTimeoutMS": 4000,
}
# One stream reads one batch at a time, and asks for the server's state no more often than it must.
_STREAM_OPTIONS = {"maxPoolSize": 1, "minPoolSize": 0, "serverMonitoringMode": "poll"}
_log = logging.getLogger("mongostore.failover")

# No type decoder for Int64: with one, the driver parses every reply twice. `codec.decode` makes them plain.
# What others have written is read as far as it can be: that it is no value of ours is told by the model.
CODEC = CodecOptions[dict[str, Any]](
    document_class=dict,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)

_UNDECODED: CodecOptions[Any] = CodecOptions(RawBSONDocument)


class MongoEngine:
    """The engine of `mongodb://` and `mongodb+srv://`.

    Args:
        source: A connection string, whose options win over our defaults, such as `maxPoolSize=20`; or a
            client of this event loop, which is used as it is and not closed.
        database: The database; else the one that the URI names, else the default one.
        prefix: Begins the name of every collection.
        transactions: `off` accepts a standalone server, which has none.
        options: Options beside the URI's, as `AsyncMongoClient` takes them.
    """

    is_shared = True

    def __init__(
        self,
        source: str | Client,
        database: str | None = None,
        default_database: str = DEFAULT_DATABASE,
        *,
        prefix: str = "",
        transactions: Transactions = "required",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._source = source
        self._prefix = prefix
        self._options = {**_DEFAULTS, **(options or {})}
        self.address: str = address_of(source) if isinstance(source, str) else address_of_client(source)
        # What cannot work is refused now, and not by the first verb that meets it.
        with drop_driver_context():
            client = self._make_client()
        if not client.write_concern.acknowledged:
            raise ConfigurationError(
                f"{self.address}: w=0: a store has to know what is written: leave it out"
            )
        named = None if database else client.get_default_database(check_database(default_database)).name
        self._name = check_database(database or str(named))
        self._transactions = transactions
        self._client: Client | None = None
        self._stream_client: Client | None = None
        self._refusals: Mapping[Capability, Refusal] | None = None
        self._majority: MajorityReads | CausalReads | None = None
        self._primary: str | None = None
        self._transactions_in_hand: set[asyncio.Future[None]] = set()
        self._unfinished: set[asyncio.Task[Any]] = set()

    @property
    def database(self) -> Database:
        """The database: read from the primary, written by the majority unless the URI has another w=."""
        return self._database_of(self._open_client, self._name)

    def _database_of(self, client: Client, name: str) -> Database:
        concern = client.write_concern
        return client.get_database(
            name,
            codec_options=CODEC,
            # A secondary may lag between the two reads that a long session takes.
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern(),
            write_concern=concern if concern.document.get("w") is not None else WriteConcern("majority"),
        )

    @property
    def _open_client(self) -> Client:
        """The client."""
        if self._client is None:
            raise NotOpenError(f"{self.address}: the store was closed during the call")
        return self._client

    def collection(self, name: str) -> Collection:
        """Return a collection of the store, by its name without the prefix."""
        collection: Collection = self.database[self._prefix + name]
        return self._majority.follow(collection) if self._majority else collection

    @property
    def is_sharded(self) -> bool:
        """Whether the documents of an open engine lie on several shards."""
        return is_cluster(self._open_client)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of the deployment, known once the engine is open."""
        return frozenset() if self._refusals is None else frozenset(Capability) - self._refusals.keys()

    @property
    def refusals(self) -> Mapping[Capability, Refusal]:
        """The refusals of the other capabilities."""
        return self._refusals or {}

    async def open(self) -> None:
        """Connect and detect the capabilities, within five seconds."""
        try:
            await self._connect()
            refusal = self.refusals.get(Capability.TRANSACTIONS)
            if refusal and self._transactions == "required":
                raise refusal.kind(f"{self.address}: {refusal.reason}")
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> None:
        silence_command_log()
        self._client = self._make_client()
        # Those of an SRV address are in DNS.
        self._hosts = [] if "+srv" in self.address else [*self._known_servers()]
        try:
            with pymongo.timeout(OPEN_SECONDS):
                self._refusals = await ask_capabilities(
                    self._open_client, self.collection("sessions"), self.address
                )
            self._primary = primary_of(self._client)
            if self.database.write_concern.document["w"] == "majority":
                self._majority = majority_reads(self._client, self.collection("sessions"))
        except RuntimeError:
            # The driver's, when a client is used in another loop than before.
            raise ConfigurationError(
                f"{self.address}: the client belongs to another event loop: open the store in that one"
            ) from None
        except InvalidOperation:
            raise ConfigurationError(f"{self.address}: the client that was handed in is closed") from None
        except DriverConfigurationError as error:
            # The names of an SRV address are looked up as late as this.
            raise ConfigurationError(f"{self.address}: {first_line(error)}") from None
        except PyMongoError as error:
            raise self._explain_failure(error) from None

    def _make_client(self, **special: Any) -> Client:
        """Return a client that has not connected yet; without special options the one that was handed in.

        Args:
            **special: Options that win over those of the URI, or of the client.
        """
        if not isinstance(self._source, str):
            return equal_client(self._source, special) if special else self._source
        named = uri_options(self._source)
        options = {key: value for key, value in self._options.items() if key.lower() not in named}
        try:
            return AsyncMongoClient(self._source, **{**options, **special})
        except OSError as error:
            # A certificate that holds none, say.
            raise ConfigurationError(f"{self.address}: a certificate it names: {error.strerror}") from None
        except (DriverConfigurationError, KeyError, TypeError, ValueError) as error:
            # The driver tells of names that cannot be in one way, and of values in the others.
            raise ConfigurationError(f"{self.address}: {first_line(error)}") from None
        except Exception as error:
            # That library may not be installed, so its errors cannot be caught by name.
            if is_encryption_error(error):
                raise ConfigurationError(f"{self.address}: {first_line(error)}") from None
            raise

    async def close(self) -> None:
        """Let the transactions in hand end, and close every connection that the engine has opened.

        Closing twice is harmless.
        """
        client, self._client = self._client, None
        stream_client, self._stream_client = self._stream_client, None
        if client is None:
            return
        try:
            # The server would keep them open for a minute, and others waiting.
            loop = asyncio.get_running_loop()
            in_hand = self._transactions_in_hand | self._unfinished
            if ending := [one for one in in_hand if one.get_loop() is loop]:
                await asyncio.wait(ending, timeout=_ENDING_SECONDS)
        finally:
            # By identity, for the driver's clients are equal where they speak to the same hosts.
            for own in (one for one in (client, stream_client) if one is not self._source):
                if own is not None:
                    # It tells the server, which may be one that says nothing any more.
                    with pymongo.timeout(_FAREWELL_SECONDS):
                        await own.close()

    async def recover(self) -> bool:
        """End what dead processes have begun and others wait for, and return whether the server answers."""
        try:
            async with asyncio.timeout(_REVIVE_SECONDS):
                await kill_idle_transactions(self._database_of(self._open_client, "admin"))
        except (PyMongoError, TimeoutError):
            return False
        self._log_failover()
        return True

    def _log_failover(self) -> None:
        """Log that another server is the primary now.

        Not by a listener: with one, PyMongo 4.20 fails in a forked child.
        """
        before, self._primary = self._primary, primary_of(self._open_client) or self._primary
        if before not in (None, self._primary):
            _log.warning(
                "the primary is now %s (was %s)", self._primary, before, extra={"address": self.address}
            )

    async def describe(self) -> Deployment:
        """Return what the deployment is and how fast it answers."""
        try:
            return await describe_server(self.database)
        except PyMongoError as error:
            raise translate_error(error, self.address) from None

    async def usage(self, collections: Iterable[str]) -> list[CollectionUsage]:
        """Return what those of the collections hold that are there."""
        try:
            return await measure_usage(self.database, [self._prefix + name for name in collections])
        except PyMongoError as error:
            raise translate_error(error, self.address) from None

    async def watch(self, pipeline: Sequence[Mapping[str, Any]], after: Mapping[str, Any] | None) -> Any:
        """Open a change stream of the database, with a connection of its own.

        A client that was handed in lends it one of its connections, if it may have more than one.
        """
        client = self._open_client
        if self._stream_client is None:
            lends = client is self._source and client.options.pool_options.max_pool_size != 1
            self._stream_client = client if lends else self._make_client(**_STREAM_OPTIONS)
        database = self._database_of(self._stream_client, self._name)
        # Most changes have no reader here, and need not be decoded.
        return await database.with_options(codec_options=_UNDECODED).watch(pipeline, resume_after=after)

    async def majority_time(self, collection: str, id: str) -> Any:
        """Return the server's time up to which the majority has what a document has been through."""
        found = self.collection(collection).with_options(read_concern=ReadConcern("majority"))
        async with self._open_client.start_session(causal_consistency=False) as session:
            await found.find_one({"_id": id}, {"_id": 1}, session=session)
            return session.operation_time

    async def transact(self, statements: TransactionBody[R]) -> R:
        """Run statements in one transaction, or one after the other on a server that has none."""
        if Capability.TRANSACTIONS in self.refusals:
            return await statements(None)
        client, majority = self._open_client, self._majority
        ended = asyncio.get_running_loop().create_future()
        self._transactions_in_hand.add(ended)
        admin = self._database_of(client, "admin")
        run = partial(transact, client, admin, unfinished=self._unfinished)
        try:
            return await (majority.commit(run, statements) if majority else run(statements))
        finally:
            self._transactions_in_hand.discard(ended)
            ended.set_result(None)

    def majority_collection(self, collection: Any) -> Any:
        """Return a collection without what may be taken back, if the majority acknowledges what is written.

        Where fewer do, who has written something would not find it at once.
        """
        return self._majority.collection(collection) if self._majority else collection

    async def read_majority(self, reading: Callable[[], Awaitable[R]]) -> R:
        """Run what reads, and wait beforehand if there is a new primary."""
        return await (self._majority.read(reading) if self._majority else reading())

    async def wait_for_write_concern(self) -> None:
        """Wait until what is there is stored as the write concern asks, on a cluster for w=majority alone."""
        if self._majority:
            await self._majority.wait_for_majority()
        elif not self.is_sharded:
            # The server acknowledges a write that changes nothing when it would all those before it.
            await self.collection("sessions").update_one({"_id": {"$in": []}}, {"$set": {"state": "open"}})

    async def advance_shards(self) -> None:
        """Have each shard of a cluster write down the time of the latest; do nothing without shards."""
        if self.is_sharded:
            await CausalReads(self._open_client, self.collection("sessions")).wait_for_majority()

    def timeout_error(self) -> MongoStoreError:
        """Return the error of no server, or of none that answered in time."""
        servers = self._known_servers().values()
        if lacks_primary(servers):
            return UnavailableError(f"{self.address}: no answer in time: {NO_PRIMARY}")
        is_known = any(server.is_server_type_known for server in servers)
        return translate_error(NetworkTimeout() if is_known else ServerSelectionTimeoutError(), self.address)

    def deadline(self, seconds: float) -> AbstractContextManager[object]:
        """Bound every command sent inside the `with` block."""
        return deadline(seconds)

    def _explain_failure(self, error: PyMongoError) -> MongoStoreError:
        if not isinstance(error, ConnectionFailure):
            return translate_error(error, self.address)
        return UnavailableError(f"{self.address}: {explain_silence(self._known_servers(), self._hosts)}")

    def _known_servers(self) -> Servers:
        return self._client.topology_description.server_descriptions() if self._client else {}
