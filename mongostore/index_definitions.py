"""The index definitions of `indexes/`, compared with a database and applied to it."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from mongostore.engines import Capability, Engine
from mongostore.engines.driver_errors import find_duplicate, translate_error
from mongostore.errors import ConfigurationError, IndexConflictError

IndexKey = list[tuple[str, int | str]]

_SHARDING = "sharding.json"
_SEARCH = "search"
_UNAUTHORIZED = 13
_NAMESPACE_NOT_FOUND = 26
_SAME_NAME_OR_KEYS = (85, 86)
# What is asked of a server before it builds an index, which may take much longer: one that is gone must not
# be waited for as long as that.
_ANSWER_SECONDS = 20.0
# A store that opens takes no more connections: many may open at once.
_CONNECTIONS = 3
_TIME_SERIES = {"type": "timeseries"}
# The options of a collection that cannot be used, and why; a time series has no such option.
_UNUSABLE = {
    "capped": "is capped and would drop the oldest documents",
    "collation": "has a collation, by which different ids are equal",
}
_OTHER = "is a time series"
# What a listing adds to the definition that was given.
_ADDED_BY_SERVER = {"v", "ns", "background"}


_log = logging.getLogger("mongostore")


class IndexState(StrEnum):
    """How an index of a database compares with its definition."""

    PRESENT = "present"
    MISSING = "missing"
    DIFFERS = "differs"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class IndexReport:
    """One index of a collection.

    Attributes:
        defined: The definition in `indexes/`; None for a foreign index.
        found: The definition in the database; None where it is missing.
    """

    collection: str
    name: str
    state: IndexState
    defined: Mapping[str, Any] | None
    found: Mapping[str, Any] | None


@functools.cache
def load_indexes() -> Sequence[Mapping[str, Any]]:
    """Return the `createIndexes` commands of `indexes/`, one a collection, by file name."""
    return _load_commands(files("mongostore.indexes"))


@functools.cache
def load_search_indexes() -> Sequence[Mapping[str, Any]]:
    """Return the `createSearchIndexes` commands of `indexes/search/`, by file name.

    No verb reads these indexes, which lag behind: a search of the store finds what was acknowledged. They are
    for the `$search` of an application, by rank and in spite of typos.
    """
    return _load_commands(files("mongostore.indexes").joinpath(_SEARCH))


def _load_commands(folder: Traversable) -> Sequence[Mapping[str, Any]]:
    names = sorted(
        entry.name for entry in folder.iterdir() if entry.name.endswith(".json") and entry.name != _SHARDING
    )
    return [json.loads(folder.joinpath(name).read_text(encoding="utf-8")) for name in names]


@dataclass(frozen=True)
class Sharding:
    """How the collections are spread over the shards of a cluster.

    Attributes:
        keys: The shard key of each collection: the owner of its documents.
        together: The collections whose documents of one owner lie on one shard.
        unsharded: The collections that stay on one shard, and why they do.
        scattered: The statements that ask every shard, by the house whose verbs send them, and why they do.
        crossing: The transactions over more than one owner, by their collections, and why they are.
        moving: The statements that give a document another owner, and why they do.
    """

    keys: Mapping[str, Mapping[str, str]]
    together: Sequence[Sequence[str]]
    unsharded: Mapping[str, str]
    scattered: Mapping[str, Mapping[str, str]]
    crossing: Mapping[str, str]
    moving: Mapping[str, str]


@functools.cache
def load_sharding() -> Sharding:
    """Return the contents of `indexes/sharding.json`."""
    text = files("mongostore.indexes").joinpath(_SHARDING).read_text(encoding="utf-8")
    return Sharding(**json.loads(text))


@functools.cache
def unique_keys() -> dict[str, list[list[str]]]:
    """Return the fields of the unique indexes by the name of their collection."""
    return {
        command["createIndexes"]: [[*index["key"]] for index in command["indexes"] if index.get("unique")]
        for command in load_indexes()
    }


async def ensure_indexes(engine: Engine) -> None:
    """Create the indexes that are missing, never dropping one; harmless from many processes at once.

    A collection of others that would lose documents, or confuse their ids, is refused.
    """
    await _check_collections(engine)
    lane = asyncio.Semaphore(_CONNECTIONS)

    async def ensure(command: Mapping[str, Any]) -> None:
        async with lane:
            existing = await _list_existing(engine, command["createIndexes"])
            compared = [_compare(command["createIndexes"], index, existing) for index in command["indexes"]]
            missing = [one.defined for one in compared if one.state is IndexState.MISSING]
            differing = [one.name for one in compared if one.state is IndexState.DIFFERS]
            if differing:
                raise _conflict(engine, command["createIndexes"], ", ".join(differing))
            if missing:
                await _create(engine, {**command, "indexes": missing})

    collections = [asyncio.create_task(ensure(command)) for command in load_indexes()]
    try:
        await asyncio.gather(*collections)
    finally:
        # The first error leaves the rest at work, while the caller closes the client.
        for each in collections:
            each.cancel()
        await asyncio.wait(collections)


async def _check_collections(engine: Engine) -> None:
    names = [engine.collection(command["createIndexes"]).name for command in load_indexes()]
    unusable = {"$or": [{"options.capped": True}, {"options.collation": {"$exists": True}}, _TIME_SERIES]}
    listing = {"listCollections": 1, "filter": {"name": {"$in": names}, **unusable}}
    try:
        with engine.deadline(_ANSWER_SECONDS):
            answer = await engine.database.command(listing)
    except PyMongoError as error:
        if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
            # Indexes need another right, and documents another one.
            return
        raise translate_error(error, engine.address) from None
    for found in answer["cursor"]["firstBatch"]:
        reason = next((reason for option, reason in _UNUSABLE.items() if option in found["options"]), _OTHER)
        raise ConfigurationError(
            f"{engine.address}: the collection {found['name']} {reason}: use another database, or a prefix"
        )


async def apply_indexes(engine: Engine) -> list[IndexReport]:
    """Create the indexes that are missing beside those that differ, which stay as they are.

    Where the deployment has Atlas Search, it creates the search indexes, too; by their names alone, for the
    server returns a definition with members of its own.

    Returns:
        The result of `diff_indexes` after that, and the search indexes that are there.
    """
    missing: dict[str, list[Any]] = {}
    for report in await diff_indexes(engine):
        if report.state is IndexState.MISSING:
            missing.setdefault(report.collection, []).append(report.defined)
    for collection, definitions in missing.items():
        await _create(engine, {"createIndexes": collection, "indexes": definitions})
    searched = []
    if Capability.SEARCH in engine.capabilities:
        searched = [report for command in load_search_indexes() for report in await _search(engine, command)]
    return [*await diff_indexes(engine), *searched]


async def _search(engine: Engine, command: Mapping[str, Any]) -> list[IndexReport]:
    """Create the search indexes of a collection that are missing, and return those that are there."""
    collection, defined = engine.collection(command["createSearchIndexes"]), command["indexes"]
    try:
        async with await collection.aggregate([{"$listSearchIndexes": {}}]) as cursor:
            found = {index["name"]: index.get("latestDefinition") async for index in cursor}
        if missing := [index for index in defined if index["name"] not in found]:
            await engine.database.command({"createSearchIndexes": collection.name, "indexes": missing})
    except OperationFailure as error:
        # A free cluster takes three search indexes and, by its tier, none from a driver.
        _log.warning(
            "%s: the search indexes of %s were refused (code %s): the store works without them",
            *(engine.address, collection.name, error.code),
            extra={"address": engine.address},
        )
        return []
    except PyMongoError as error:
        raise translate_error(error, engine.address) from None
    name = command["createSearchIndexes"]
    return [
        IndexReport(name, one["name"], IndexState.PRESENT, one, found.get(one["name"], one))
        for one in defined
    ]


async def diff_indexes(engine: Engine) -> list[IndexReport]:
    """Return every index of our collections, defined or found, with how the two compare."""
    reports = []
    for command in load_indexes():
        found = await _list_existing(engine, command["createIndexes"])
        compared = [_compare(command["createIndexes"], defined, found) for defined in command["indexes"]]
        known = {"_id_", *(report.found["name"] for report in compared if report.found)}
        if shard_key := load_sharding().keys.get(command["createIndexes"]):
            # A cluster has made that of the shard key.
            known |= {name for name, index in found.items() if index["key"] == shard_key}
        reports += compared
        reports += [
            IndexReport(command["createIndexes"], name, IndexState.FOREIGN, None, index)
            for name, index in found.items()
            if name not in known
        ]
    return reports


async def _create(engine: Engine, command: Mapping[str, Any]) -> None:
    collection = engine.collection(command["createIndexes"])
    # By itself a build waits for all voting members, those that are down or delayed among them. What has no
    # transactions is no replica set, and would refuse a quorum.
    is_set = engine.is_shared and Capability.TRANSACTIONS in engine.capabilities
    quorum = {"commitQuorum": "majority"} if is_set else {}
    try:
        await engine.database.command({**command, "createIndexes": collection.name, **quorum})
    except DuplicateKeyError as error:
        raise IndexConflictError(
            f"{engine.address}: documents in {collection.name} do not fit its unique index "
            f"{(find_duplicate(error) or ('',))[0]}: use another database, or a prefix"
        ) from None
    except OperationFailure as error:
        if error.code not in _SAME_NAME_OR_KEYS:
            raise translate_error(error, f"{engine.address}: {collection.name}") from None
        raise _conflict(engine, command["createIndexes"], "one") from None
    except PyMongoError as error:
        raise translate_error(error, engine.address) from None


def _conflict(engine: Engine, collection: str, names: str) -> IndexConflictError:
    return IndexConflictError(
        f"{engine.address}: of the indexes of {engine.collection(collection).name}, {names} differs from the "
        f"definition in indexes/{collection}.json; `mongostore indexes check` shows how"
    )


async def _list_existing(engine: Engine, name: str) -> dict[str, dict[str, Any]]:
    collection = engine.collection(name)
    try:
        with engine.deadline(_ANSWER_SECONDS):
            async with await collection.list_indexes() as cursor:
                return {index["name"]: dict(index) async for index in cursor}
    except OperationFailure as error:
        if error.code == _NAMESPACE_NOT_FOUND:
            return {}
        raise translate_error(error, f"{engine.address}: {collection.name}") from None
    except PyMongoError as error:
        raise translate_error(error, engine.address) from None


def _compare(collection: str, defined: dict[str, Any], found: dict[str, dict[str, Any]]) -> IndexReport:
    same_name = found.get(defined["name"])
    same_keys = next((index for index in found.values() if _index_keys(index) == _index_keys(defined)), None)
    existing = same_name or same_keys
    if existing is None:
        state = IndexState.MISSING
    elif _normalize(existing) == _normalize(defined):
        state = IndexState.PRESENT
    else:
        state = IndexState.DIFFERS
    return IndexReport(collection, defined["name"], state, defined, existing)


def _index_keys(index: Mapping[str, Any]) -> IndexKey:
    return [(field, int(way) if isinstance(way, int | float) else way) for field, way in index["key"].items()]


def _normalize(index: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: value for name, value in index.items() if name not in _ADDED_BY_SERVER}
    return {**options, "key": _index_keys(index)}
