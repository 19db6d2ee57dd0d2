"""What an engine can tell about the place where it keeps things."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

PING_COUNT = 10


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as it was at one moment.

    Attributes:
        server: What answers and its version, such as `MongoDB 8.0.4`.
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
    """What a collection holds.

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


def describe_topology(hello: Mapping[str, Any]) -> str:
    """Return what kind of deployment greets like that."""
    if hello.get("msg") == "isdbgrid":
        return "sharded"
    return f"replica set {hello['setName']}" if "setName" in hello else "standalone"
