"""The shard keys of `indexes/sharding.json`: planned, compared with a cluster and applied to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bson import MaxKey, MinKey, json_util
from bson.int64 import Int64
from bson.json_util import CANONICAL_JSON_OPTIONS
from pymongo.errors import OperationFailure, PyMongoError

from mongostore.engines import Engine
from mongostore.engines.driver_errors import translate_error
from mongostore.errors import AccessDeniedError, UnsupportedError
from mongostore.index_definitions import load_sharding

_HASHES = 2**64
_LEAST_HASH = -(2**63)
_ZONE = "mongostore-{}"
_UNAUTHORIZED = 13
_RIGHTS = "it takes the roles clusterManager and clusterMonitor"


class ShardState(StrEnum):
    """How a collection of a cluster compares with its shard key."""

    SHARDED = "sharded"
    MISSING = "missing"
    DIFFERS = "differs"


@dataclass(frozen=True)
class ShardReport:
    """One collection that is to be sharded.

    Attributes:
        collection: Its name.
        key: Its shard key in `indexes/sharding.json`.
        found: Its shard key in the cluster; None if it is not sharded.
    """

    collection: str
    key: Mapping[str, str]
    state: ShardState
    found: Mapping[str, Any] | None


@dataclass(frozen=True)
class ShardRange:
    """The hashed values of a shard key that lie on one shard: from the least one up to below the other."""

    shard: str
    least: Any
    below: Any

    @property
    def zone(self) -> str:
        """The name of the shard's zone."""
        return _ZONE.format(self.shard)


def split_hashes(shards: Sequence[str]) -> list[ShardRange]:
    """Return equal ranges of hashed values, one a shard.

    They are the same in every collection, so that the parts of a room lie where the room does, and a commit
    is a transaction of one shard.
    """
    size = _HASHES // len(shards)
    edges: list[Any] = [Int64(_LEAST_HASH + size * number) for number in range(1, len(shards))]
    return [
        ShardRange(shard, least, below)
        for shard, least, below in zip(shards, [MinKey(), *edges], [*edges, MaxKey()], strict=True)
    ]


def plan_commands(database: str, prefix: str, shards: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the commands that shard a database whose collections are empty, each with its collection.

    Those that are about the shards themselves come first, with an empty name.
    """
    ranges = split_hashes(shards)
    commands: list[tuple[str, dict[str, Any]]] = [
        ("", {"addShardToZone": one.shard, "zone": one.zone}) for one in ranges
    ]
    for collection, key in load_sharding().keys.items():
        namespace, [field] = f"{database}.{prefix}{collection}", [*key]
        commands += [
            (
                collection,
                {
                    "updateZoneKeyRange": namespace,
                    "min": {field: one.least},
                    "max": {field: one.below},
                    "zone": one.zone,
                },
            )
            for one in ranges
        ]
        # An empty collection gets one chunk a zone, on the zone's shard; none need be moved.
        commands.append((collection, {"shardCollection": namespace, "key": dict(key)}))
    return commands


def format_command(value: Any) -> str:
    """Return a command as mongosh reads it."""
    match value:
        case dict():
            members = (f"{json.dumps(name)}: {format_command(member)}" for name, member in value.items())
            return "{" + ", ".join(members) + "}"
        case MinKey():
            return "MinKey()"
        case MaxKey():
            return "MaxKey()"
        case int():
            return f"NumberLong({json.dumps(str(value))})"
    return json.dumps(value)


def to_extended_json(command: Mapping[str, Any]) -> Any:
    """Return a command in MongoDB's Extended JSON."""
    return json.loads(json_util.dumps(command, json_options=CANONICAL_JSON_OPTIONS))


async def list_shards(engine: Engine) -> list[str]:
    """Return the names of the shards of a cluster."""
    if (await engine.describe()).topology != "sharded":
        raise UnsupportedError(f"{engine.address} is no sharded cluster: give the address of a mongos")
    answer = await _run(engine, {"listShards": 1})
    return sorted(shard["_id"] for shard in answer["shards"])


async def diff_sharding(engine: Engine) -> list[ShardReport]:
    """Return every collection that is to be sharded, with how it is in a cluster."""
    await list_shards(engine)
    names = {engine.collection(name).name: name for name in load_sharding().keys}
    database = engine.database
    wanted = {"_id": {"$in": [f"{database.name}.{stored}" for stored in names]}}
    try:
        async with database.client["config"]["collections"].find(wanted, {"key": 1}) as cursor:
            found = {one["_id"]: one["key"] for one in await cursor.to_list()}
    except PyMongoError as error:
        raise _explain(engine, error) from None
    return [
        _compare(name, load_sharding().keys[name], found.get(f"{database.name}.{stored}"))
        for stored, name in names.items()
    ]


async def apply_sharding(engine: Engine) -> list[ShardReport]:
    """Shard the collections that are not sharded; those that differ stay as they are.

    Returns:
        The result of `diff_sharding` after that.
    """
    missing = {one.collection for one in await diff_sharding(engine) if one.state is ShardState.MISSING}
    if missing:
        name = next(iter(missing))
        prefix = engine.collection(name).name.removesuffix(name)
        shards = await list_shards(engine)
        for collection, command in plan_commands(engine.database.name, prefix, shards):
            if not collection or collection in missing:
                if "shardCollection" in command:
                    await _prepare(engine, collection, command["key"])
                await _run(engine, command)
    return await diff_sharding(engine)


def _compare(name: str, key: Mapping[str, str], found: Mapping[str, Any] | None) -> ShardReport:
    if found is None:
        return ShardReport(name, key, ShardState.MISSING, None)
    is_same = [*found.items()] == [*key.items()]
    return ShardReport(name, key, ShardState.SHARDED if is_same else ShardState.DIFFERS, found)


async def _prepare(engine: Engine, collection: str, key: Mapping[str, str]) -> None:
    """Make the index of a shard key, which a collection with documents must have before."""
    documents = engine.collection(collection)
    try:
        if await documents.find_one({}, {"_id": 1}) is not None:
            await documents.create_index([*key.items()])
    except PyMongoError as error:
        raise _explain(engine, error) from None


async def _run(engine: Engine, command: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(await engine.database.client["admin"].command(command))
    except PyMongoError as error:
        raise _explain(engine, error) from None


def _explain(engine: Engine, error: PyMongoError) -> Exception:
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        return AccessDeniedError(f"{engine.address}: the user may not shard collections: {_RIGHTS}")
    return translate_error(error, engine.address)
