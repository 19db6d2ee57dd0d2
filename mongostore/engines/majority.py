"""Reads that show all that was acknowledged, and nothing that a failover takes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.read_concern import ReadConcern

from mongostore.engines.causal import CausalReads, is_cluster
from mongostore.engines.transactions import TransactionBody

R = TypeVar("R")


def majority_reads(
    client: AsyncMongoClient[dict[str, Any]], collection: AsyncCollection[dict[str, Any]]
) -> MajorityReads | CausalReads | None:
    """Return the majority reads of an open client; None of a standalone server.

    Args:
        client: The client.
        collection: A collection that it may read.
    """
    if is_cluster(client):
        return CausalReads(client, collection)
    is_set = client.topology_description.topology_type_name.startswith("ReplicaSet")
    return MajorityReads(client, collection) if is_set else None


class MajorityReads:
    """Reads of the documents that the majority of a replica set has, by one client.

    Nothing of it is ever taken back. But a new primary, which has all that was acknowledged, has yet to
    learn how much of it the majority has, and until then shows its readers less. So after each election
    the client waits once until it shows all that it had then.

    Args:
        client: The client.
        collection: A collection that it may read.
    """

    def __init__(
        self, client: AsyncMongoClient[dict[str, Any]], collection: AsyncCollection[dict[str, Any]]
    ) -> None:
        self._client = client
        self._collection = collection
        self._known_election: object = self

    def follow(self, collection: Any) -> Any:
        """Return the collection: reads need not follow its writes."""
        return collection

    async def commit(
        self, run: Callable[[TransactionBody[R]], Awaitable[R]], statements: TransactionBody[R]
    ) -> R:
        """Run the statements of a transaction."""
        return await run(statements)

    def collection(self, collection: Any) -> Any:
        """Return a collection without what the majority does not have."""
        return collection.with_options(read_concern=ReadConcern("majority"))

    async def read(self, reading: Callable[[], Awaitable[R]]) -> R:
        """Run what reads such collections, anew if there was an election in between."""
        while True:
            await self._wait_for_operation()
            election = self._known_election
            result = await reading()
            if self._election_id() == election:
                return result

    async def wait_for_majority(self) -> None:
        """Wait until the majority has all that the primary has by now."""
        async with self._client.start_session(causal_consistency=True) as session:
            # Its answer tells how far the primary has come, and the read waits for the majority to.
            await self._collection.database.command("ping", session=session)
            await self.collection(self._collection).find_one({}, {"_id": 1}, session=session)

    async def _wait_for_operation(self) -> None:
        while self._known_election != (election := self._election_id()):
            await self.wait_for_majority()
            self._known_election = election

    def _election_id(self) -> object:
        for server in self._client.topology_description.server_descriptions().values():
            if server.server_type_name == "RSPrimary":
                return server.election_id
        return None
