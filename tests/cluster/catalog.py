"""The replica sets of a cluster, and where its documents lie, as its config server has it."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import bson
from bson import MaxKey, MinKey

from tests.cluster.messages import Command, Peer
from tests.contract.sharding import values_of

MAJORITY = {"writeConcern": {"w": "majority"}}
_ELECTION_SECONDS = 30.0
# A member that answers so has been the primary, or is on its way down.
_NOT_PRIMARY = {91, 189, 10107, 11600, 11602, 13435, 13436}


@dataclass
class ReplicaSet:
    """A shard, or the config server.

    Attributes:
        primary: The member that was the primary when it was asked last.
    """

    name: str
    hosts: Sequence[str]
    primary: str = ""

    async def find_primary(self) -> str:
        """Return the address of the primary, as soon as there is one.

        Raises:
            ConnectionError: There is none for half a minute.
        """
        end = asyncio.get_running_loop().time() + _ELECTION_SECONDS
        while not self.primary:
            for host in self.hosts:
                peer = Peer(host)
                with suppress(ConnectionError, TimeoutError):
                    hello = await asyncio.wait_for(peer.run({"hello": 1, "$db": "admin"}), 1)
                    if hello.get("isWritablePrimary"):
                        self.primary = host
                peer.close()
            if not self.primary and asyncio.get_running_loop().time() > end:
                raise ConnectionError(f"{self.name} has no primary")
            await asyncio.sleep(0 if self.primary else 0.1)
        return self.primary


class Peers:
    """The connections to the primaries that serve one connection of a driver."""

    def __init__(self, sets: Mapping[str, ReplicaSet]) -> None:
        self._sets = sets
        self._peers: dict[str, Peer] = {}

    async def run(self, name: str, command: Mapping[str, Any]) -> Command:
        """Run a command on the primary of a replica set.

        Raises:
            ConnectionError: It is lost; what has become of the command is not known.
        """
        address = await self._sets[name].find_primary()
        if (peer := self._peers.get(name)) is None or peer.address != address:
            self.close(name)
            peer = self._peers[name] = Peer(address)
        try:
            answer = await peer.run(command)
        except ConnectionError:
            self._sets[name].primary = ""
            raise
        if answer["ok"] != 1 and answer.get("code") in _NOT_PRIMARY:
            self._sets[name].primary = ""
        return answer

    def close(self, *names: str) -> None:
        """Close the connections to some replica sets, or to all."""
        for name in names or [*self._peers]:
            if peer := self._peers.pop(name, None):
                peer.close()


@dataclass(frozen=True)
class Chunks:
    """Where the documents of a sharded collection lie.

    Attributes:
        field: The field by which it is sharded.
        ranges: The least value, the one above, and the shard of each chunk.
        versions: What each shard wants to be told, as the router's knowledge of its chunks.
    """

    field: str
    ranges: Sequence[tuple[Any, Any, str]]
    versions: Mapping[str, Any]

    @property
    def shards(self) -> list[str]:
        """The shards that have chunks."""
        return sorted({shard for _, _, shard in self.ranges})

    def shard_of(self, hash: int) -> str:
        """Return the shard of the documents whose key has that hash."""
        for least, above, shard in self.ranges:
            if (isinstance(least, MinKey) or least <= hash) and (isinstance(above, MaxKey) or hash < above):
                return shard
        raise AssertionError(f"no chunk has {hash}")


def _hash_of(value: str) -> int:
    """Return a string's hash in an index, for which a server cannot be asked where it holds a NUL."""
    # A seed, the order of the type among those of BSON, and the value.
    hashed = struct.pack("<ii", 0, 15) + bson.encode({"": value})[6:-1]
    return int.from_bytes(hashlib.md5(hashed, usedforsecurity=False).digest()[:8], "little", signed=True)


class Catalog:
    """The databases and chunks of a cluster. Nothing moves them, for its balancer is stopped.

    Args:
        peers: The connections to the config server, `config`, and to the shards.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._databases: dict[str, Any] = {}
        self._chunks: dict[tuple[str, str], Chunks | None] = {}
        self._hashes: dict[bytes, int] = {}

    async def primary_of(self, database: str) -> str:
        """Return the shard with the unsharded collections of a database, which is made if need be."""
        if database in ("admin", "config"):
            return "config"
        return str((await self._entry_of(database))["primary"])

    async def version_of(self, database: str) -> Any:
        """Return the version of a database, which the shards want to be told."""
        return (await self._entry_of(database))["version"]

    async def _entry_of(self, database: str) -> Any:
        if database not in self._databases:
            created = await self._peers.run(
                "config", {"_configsvrCreateDatabase": database, **MAJORITY, "$db": "admin"}
            )
            assert created["ok"] == 1, created
            (self._databases[database],) = await self._find("databases", {"_id": database})
        return self._databases[database]

    async def chunks_of(self, database: str, collection: str) -> Chunks | None:
        """Return where a collection lies, None if it is not sharded."""
        if (database, collection) not in self._chunks:
            self._chunks[database, collection] = await self._load(database, collection)
        return self._chunks[database, collection]

    def forget(self, database: str, collection: str | None = None) -> None:
        """Ask anew where a collection lies, or a whole database."""
        if collection is None:
            self._databases.pop(database, None)
        for name in [one for one in self._chunks if one[0] == database and collection in (None, one[1])]:
            del self._chunks[name]

    async def target(
        self, database: str, collection: str, filter: Mapping[str, Any]
    ) -> tuple[list[str], bool]:
        """Return the shards that may have what a filter matches, and whether it names one owner."""
        if (chunks := await self.chunks_of(database, collection)) is None:
            return [await self.primary_of(database)], True
        if (values := values_of(filter, chunks.field)) is None:
            return chunks.shards, False
        if not values:
            # One shard answers that nothing is there.
            return chunks.shards[:1], False
        return sorted({chunks.shard_of(await self._hash(value)) for value in values}), len(values) == 1

    async def versioned(self, shard: str, command: Command) -> Command:
        """Return a command about a collection with the version by which a shard knows its chunks.

        Without it a shard takes what a router would not be allowed, such as the change of a shard key.
        """
        chunks = await self.chunks_of(command["$db"], command[next(iter(command))])
        return command if chunks is None else {**command, "shardVersion": chunks.versions[shard]}

    async def _hash(self, value: Any) -> int:
        if isinstance(value, str):
            return _hash_of(value)
        encoded = bson.encode({"": value})
        if encoded not in self._hashes:
            answer = await self._peers.run("config", {"_hashBSONElement": value, "seed": 0, "$db": "admin"})
            self._hashes[encoded] = int(answer["out"])
        return self._hashes[encoded]

    async def _load(self, database: str, collection: str) -> Chunks | None:
        found = await self._find("collections", {"_id": f"{database}.{collection}"})
        if not found:
            return None
        ((field, _),) = found[0]["key"].items()
        chunks = await self._find("chunks", {"uuid": found[0]["uuid"]})
        ranges = [(one["min"][field], one["max"][field], one["shard"]) for one in chunks]
        newest = {
            shard: max(one["lastmod"] for one in chunks if one["shard"] == shard) for *_, shard in ranges
        }
        collection_version = {"t": found[0]["timestamp"], "e": found[0]["lastmodEpoch"]}
        return Chunks(field, ranges, {name: {**collection_version, "v": v} for name, v in newest.items()})

    async def _find(self, collection: str, filter: Mapping[str, Any]) -> list[Any]:
        answer = await self._peers.run(
            "config", {"find": collection, "filter": filter, "batchSize": 10_000, "$db": "config"}
        )
        return list(answer["cursor"]["firstBatch"])


def replica_sets(sent: Mapping[str, Iterable[str]]) -> dict[str, ReplicaSet]:
    """Return replica sets by their names, from those of their hosts."""
    return {name: ReplicaSet(name, [*hosts]) for name, hosts in sent.items()}
