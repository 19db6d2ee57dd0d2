"""What may be wrong with a deployment, found by asking it, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pymongo.errors import ExecutionTimeout, PyMongoError

from mongostore.documents.stored import SCHEMA_VERSION
from mongostore.engines import Capability, Deployment, Engine
from mongostore.engines.faults import translate
from mongostore.engines.protocol import Database
from mongostore.indexing import IndexState, diff_indexes

# A server older than this gets no corrections any more.
_OLDEST_SERVER = 7
_DOUBTFUL_SKEW, _BAD_SKEW = 0.5, 5.0
_SAMPLES = 5
_SCAN_MS = 5_000
_READING_AND_WRITING = {"find", "insert", "update", "remove"}
_OPENING = {"createCollection", "createIndex", "listIndexes"}
_WATCHING = {"changeStream"}


class Health(StrEnum):
    """How well something is."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        health: How well it is.
        found: What is there.
        advice: What to do about it; empty where nothing need be done.
    """

    check: str
    health: Health
    found: str
    advice: str = ""


async def examine(engine: Engine, collections: Iterable[str]) -> list[Finding]:
    """Look at a deployment from all sides and write nothing.

    Args:
        engine: Where the store keeps things, open.
        collections: The names of the store's collections.

    Raises:
        MongoStoreError: What the server refused, by its meaning.
    """
    deployment = await engine.describe()
    findings = [_topology(deployment), _capabilities(engine.capabilities)]
    try:
        if engine.shared:
            findings += [
                _version(deployment),
                _write_concern(engine.database),
                await _rights(engine.database),
            ]
            findings += [await _clock(engine.database), _pool(engine.database, deployment)]
        findings.append(await _indexes(engine))
        findings.append(await _schema_versions(engine.database, collections))
    except PyMongoError as error:
        raise translate(error, engine.label) from None
    return findings


def _topology(deployment: Deployment) -> Finding:
    found = deployment.topology
    match deployment.topology, len(deployment.members):
        case "embedded", _:
            return Finding(
                "topology", Health.DOUBTFUL, found, "Everything is forgotten when the process ends."
            )
        case "standalone", _:
            advice = (
                "Start it with --replSet and run rs.initiate(): without, nothing is atomic beyond a document."
            )
            return Finding("topology", Health.BAD, found, advice)
        case "sharded", _:
            return Finding("topology", Health.GOOD, found)
        case _, members if members >= 3:
            return Finding("topology", Health.GOOD, f"{found} of {members}")
        case _, members:
            advice = "Have three members: with fewer, the loss of one stops the service."
            return Finding("topology", Health.DOUBTFUL, f"{found} of {members}", advice)


def _capabilities(capabilities: Collection[Capability]) -> Finding:
    there = ", ".join(capability for capability in Capability if capability in capabilities)
    lacking = [one for one in Capability if one not in capabilities and one is not Capability.SEARCH]
    if not lacking:
        return Finding("capabilities", Health.GOOD, there)
    return Finding(
        "capabilities", Health.DOUBTFUL, there, f"It lacks {', '.join(lacking)}: use a replica set."
    )


def _version(deployment: Deployment) -> Finding:
    major = deployment.server.rpartition(" ")[2].partition(".")[0]
    if major.isdigit() and int(major) < _OLDEST_SERVER:
        advice = "This version gets no corrections any more: upgrade to 8.0, one major version at a time."
        return Finding("server", Health.DOUBTFUL, deployment.server, advice)
    return Finding("server", Health.GOOD, deployment.server)


def _write_concern(database: Database) -> Finding:
    concern = database.write_concern.document
    found = ", ".join(f"{name}={value}" for name, value in concern.items())
    advice = "Leave w and journal out of the URI: then a majority has stored what was acknowledged."
    if concern.get("w") == 0:
        return Finding("write concern", Health.BAD, found, f"Nothing is acknowledged. {advice}")
    if concern.get("w") == 1 or concern.get("j") is False:
        lost = "A failover may lose what was acknowledged."
        return Finding("write concern", Health.DOUBTFUL, found, f"{lost} {advice}")
    return Finding("write concern", Health.GOOD, found)


async def _rights(database: Database) -> Finding:
    status = await database.command({"connectionStatus": 1, "showPrivileges": True})
    info = status["authInfo"]
    if not info["authenticatedUsers"]:
        advice = (
            "Whoever reaches the server may do everything: turn access control on, and give the store a user."
        )
        return Finding("rights", Health.DOUBTFUL, "no login", advice)
    privileges = info["authenticatedUserPrivileges"]
    rights = set[str]().union(
        *(privilege["actions"] for privilege in privileges if _is_about(privilege, database.name))
    )
    name = database.name
    if lacking := _READING_AND_WRITING - rights:
        advice = f"Give the user the role readWrite on {name}."
        return Finding("rights", Health.BAD, f"lacks {', '.join(sorted(lacking))}", advice)
    if lacking := _OPENING - rights:
        advice = "Run `mongostore indexes apply` as another user, and set MONGOSTORE_ENSURE_INDEXES=false."
        return Finding("rights", Health.DOUBTFUL, f"lacks {', '.join(sorted(lacking))}", advice)
    if _WATCHING - rights:
        return Finding(
            "rights", Health.DOUBTFUL, "lacks changeStream", "Sessions cannot be watched without it."
        )
    if any(_writes_elsewhere(privilege, name) for privilege in privileges):
        advice = f"The store needs no more than the role readWrite on {name}."
        return Finding("rights", Health.DOUBTFUL, "writes to other databases, too", advice)
    return Finding("rights", Health.GOOD, f"reads and writes {name}")


def _is_about(privilege: Mapping[str, Any], database: str) -> bool:
    resource = privilege["resource"]
    if resource.get("anyResource"):
        return True
    return resource.get("db") in (database, "") and resource.get("collection") == ""


def _writes_elsewhere(privilege: Mapping[str, Any], database: str) -> bool:
    elsewhere = privilege["resource"].get("anyResource") or privilege["resource"].get("db") not in (
        database,
        None,
    )
    return bool(elsewhere) and "insert" in privilege["actions"]


async def _clock(database: Database) -> Finding:
    samples = []
    for _ in range(_SAMPLES):
        began, clock = time.perf_counter(), datetime.now(UTC)
        told = (await database.command("hello"))["localTime"].replace(tzinfo=UTC)
        took = time.perf_counter() - began
        samples.append((took, (told - clock).total_seconds() - took / 2))
    # The shorter the way, the less it hides.
    skew = min(samples)[1]
    found = f"{abs(skew):.3f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    if abs(skew) < _DOUBTFUL_SKEW:
        return Finding("server's clock", Health.GOOD, found)
    health = Health.DOUBTFUL if abs(skew) < _BAD_SKEW else Health.BAD
    advice = "Let NTP set the clocks of all machines: messages take their times from this one."
    return Finding("server's clock", health, found, advice)


def _pool(database: Database, deployment: Deployment) -> Finding:
    size, available = database.client.options.pool_options.max_pool_size, deployment.connections_available
    if not size:
        advice = "Leave maxPoolSize=0 out of the URI: without a bound, a busy process takes all connections."
        return Finding("connections", Health.DOUBTFUL, "without a bound", advice)
    found = f"up to {size} a process"
    if available is None:
        return Finding(
            "connections", Health.UNKNOWN, f"{found}; only who may monitor the server is told more"
        )
    found += f", {available:,} available"
    if available < size:
        return Finding(
            "connections", Health.BAD, found, "Set a smaller maxPoolSize, or raise the server's limit."
        )
    return Finding("connections", Health.GOOD, found)


async def _indexes(engine: Engine) -> Finding:
    reports = await diff_indexes(engine.database, engine.label)
    differing = [report.name for report in reports if report.state is IndexState.DIFFERS]
    missing = [report.name for report in reports if report.state is IndexState.MISSING]
    ours = sum(report.state is not IndexState.UNKNOWN for report in reports)
    if differing:
        advice = "`mongostore indexes check` shows how; drop those and run `mongostore indexes apply`."
        return Finding("indexes", Health.BAD, f"differing: {', '.join(differing)}", advice)
    if missing and engine.shared:
        found = f"{len(missing)} of {ours} are missing"
        return Finding("indexes", Health.BAD, found, "Run `mongostore indexes apply`.")
    return Finding("indexes", Health.GOOD, f"all {ours}" if engine.shared else "made when a store opens")


async def _schema_versions(database: Database, collections: Iterable[str]) -> Finding:
    newer = []
    for name in collections:
        where = {"schema_version": {"$gt": SCHEMA_VERSION}}
        try:
            if await database[name].find_one(where, {"_id": 1}, max_time_ms=_SCAN_MS) is not None:
                newer.append(name)
        except ExecutionTimeout:
            return Finding("schema", Health.UNKNOWN, f"{name} has too many documents to look at all of them")
    if newer:
        advice = "A newer mongostore has written there: update this one before it writes."
        return Finding("schema", Health.BAD, f"newer than {SCHEMA_VERSION} in {', '.join(newer)}", advice)
    return Finding("schema", Health.GOOD, f"version {SCHEMA_VERSION} or older")
