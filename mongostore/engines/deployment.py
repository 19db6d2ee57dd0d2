"""The facts of a deployment and of its collections."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, OperationFailure

from mongostore.engines.clients import settings_of

PING_COUNT = 10
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


async def measure_pings(database: AsyncDatabase[dict[str, Any]]) -> tuple[float, ...]:
    """Return how long each of ten round trips took, one after the other."""
    times = []
    for _ in range(PING_COUNT):
        began = time.perf_counter()
        await database.command("ping")
        times.append(time.perf_counter() - began)
    return tuple(times)


async def count_connections(client: AsyncMongoClient[Any]) -> Mapping[str, int]:
    """Return the server's numbers of connections; nothing where the user may not monitor the server."""
    try:
        status = await client.admin.command("serverStatus")
    except OperationFailure:
        return {}
    return dict(status["connections"])


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


def describe_topology(hello: Mapping[str, Any]) -> str:
    """Return what kind of deployment greets like that."""
    if hello.get("msg") == "isdbgrid":
        return "sharded"
    return f"replica set {hello['setName']}" if "setName" in hello else "standalone"
