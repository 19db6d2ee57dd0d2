"""The facts of a deployment and of its collections."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, OperationFailure

from mongostore.engines.clients import settings_of

_PING_COUNT = 10
_SAMPLES = 5
_HOST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as it was at one moment.

    Attributes:
        server: The product and its version, such as `MongoDB 8.0.4`.
        topology: `embedded`, `standalone`, `sharded`, or `replica set` with its name.
        hosts: The hosts of a replica set.
        pings: The seconds that each of ten round trips took.
        connections: How many connections the server has open, to all its clients; None where the user
            may not know.
        connections_available: How many more it would take; likewise.
    """

    server: str
    topology: str
    hosts: tuple[str, ...]
    pings: tuple[float, ...]
    connections: int | None = None
    connections_available: int | None = None


@dataclass(frozen=True, slots=True)
class CollectionUsage:
    """The size of a collection.

    Attributes:
        documents: How many documents there are.
        bytes: Their size, uncompressed.
    """

    collection: str
    documents: int
    bytes: int


async def describe_server(database: AsyncDatabase[dict[str, Any]]) -> Deployment:
    """Return what the deployment of a database is and how fast it answers."""
    hello, build = await database.command("hello"), await database.command("buildInfo")
    pings = await measure_pings(database)
    try:
        connections = (await database.client.admin.command("serverStatus"))["connections"]
    except OperationFailure:
        # Only who may monitor the server is told.
        connections = {}
    if hello.get("msg") == "isdbgrid":
        topology = "sharded"
    else:
        topology = f"replica set {hello['setName']}" if "setName" in hello else "standalone"
    return Deployment(
        server=f"MongoDB {build['version']}",
        topology=topology,
        hosts=tuple(hello.get("hosts", ())),
        pings=pings,
        connections=connections.get("current"),
        connections_available=connections.get("available"),
    )


async def measure_pings(database: AsyncDatabase[dict[str, Any]]) -> tuple[float, ...]:
    """Return how long each of ten round trips took, one after the other."""
    times = []
    for _ in range(_PING_COUNT):
        began = time.perf_counter()
        await database.command("ping")
        times.append(time.perf_counter() - began)
    return tuple(times)


async def measure_usage(
    database: AsyncDatabase[dict[str, Any]], collections: Iterable[str]
) -> list[CollectionUsage]:
    """Return what those of the collections of a database hold that are there."""
    existing, found = set(await database.list_collection_names()), []
    for name in filter(existing.__contains__, collections):
        # One answer a shard.
        cursor = await database[name].aggregate([{"$collStats": {"storageStats": {}}}])
        stats = [part["storageStats"] for part in await cursor.to_list()]
        count, size = (sum(part[member] for part in stats) for member in ("count", "size"))
        found.append(CollectionUsage(name, count, size))
    return found


async def clock_skews(client: AsyncMongoClient[Any], hosts: Iterable[str]) -> dict[str, float]:
    """Return by how many seconds the clock of each host that answers is ahead of this machine's.

    Args:
        client: Any client of the deployment; another one like it asks each host in turn.
        hosts: The hosts, with their ports.
    """
    settings, host = settings_of(client), ""

    def only_this(servers: list[Any]) -> list[Any]:
        return [server for server in servers if host in ("", "{}:{}".format(*server.address))]

    assert settings is not None, "it is a client"
    skews = {}
    async with AsyncMongoClient[Any](settings.uri, **settings.options, server_selector=only_this) as each:
        try:
            for host in hosts:
                # One that lags far behind may not know the user yet.
                with suppress(ConnectionFailure, OperationFailure), pymongo.timeout(_HOST_SECONDS):
                    skews[host] = min([await _sample(each) for _ in range(_SAMPLES)])[1]
        finally:
            # Closing it ends its sessions, on a server of the driver's choice.
            host = ""
    return skews


async def _sample(client: AsyncMongoClient[Any]) -> tuple[float, float]:
    """Return how long an answer took, and the skew of its clock: the shorter the way, the less it hides."""
    began, clock = time.perf_counter(), datetime.now(UTC)
    hello = await client.admin.command("hello", read_preference=ReadPreference.NEAREST)
    took = time.perf_counter() - began
    return took, (hello["localTime"].replace(tzinfo=UTC) - clock).total_seconds() - took / 2
