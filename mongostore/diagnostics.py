"""Checks of a deployment: each finds a fault by asking the server, and names the remedy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymongo.errors import PyMongoError

from mongostore.documents.mapping import SCHEMA_VERSION
from mongostore.engines import Capability, Deployment, Engine
from mongostore.engines.deployment import clock_skews
from mongostore.engines.driver_errors import translate_error
from mongostore.engines.protocol import Database
from mongostore.errors import AccessDeniedError
from mongostore.index_definitions import IndexState, diff_indexes
from mongostore.sharding import ShardState, diff_sharding

# A server older than this gets no corrections any more.
_OLDEST_SERVER = 7
_WARNING_SKEW, _ERROR_SKEW = 0.5, 5.0
# No index finds a version: so long do all collections take together.
SCAN_SECONDS = 20.0
# A shard without writes writes down its time every ten seconds.
TAIL_SECONDS, _LATE_SECONDS = 12.0, 2.0
# Below that, one shard does as well.
_LARGE_BYTES = 10 * 2**30
_READING_AND_WRITING = {"find", "insert", "update", "remove"}
_OPENING = {"createCollection", "createIndex", "listIndexes"}
_WATCHING = {"changeStream"}


class CheckStatus(StrEnum):
    """The result of a check: no fault, a doubt, a fault, or nothing to judge by."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: The subject of the check.
        status: How well it is.
        found: The finding.
        advice: The remedy; empty if none is needed.
    """

    check: str
    status: CheckStatus
    found: str
    advice: str = ""


async def diagnose(engine: Engine, collections: Iterable[str]) -> list[CheckResult]:
    """Look at a deployment from all sides and write nothing.

    Args:
        engine: Where the store keeps things, open.
        collections: The names of the store's collections.
    """
    deployment = await engine.describe()
    findings = [_topology(deployment), _capabilities(engine)]
    try:
        if engine.is_shared:
            findings += [
                _version(deployment),
                _write_concern(engine.database),
                await _rights(engine.database),
            ]
            findings += [await _clocks(engine.database, deployment), _pool(engine.database, deployment)]
        findings.append(await _indexes(engine))
        findings += await check_sharding(engine, deployment.topology)
        findings += await _tails(engine, deployment.topology)
        findings.append(await _schema_versions(engine, collections))
    except PyMongoError as error:
        raise translate_error(error, engine.address) from None
    return findings


def _topology(deployment: Deployment) -> CheckResult:
    found = deployment.topology
    match deployment.topology, len(deployment.hosts):
        case "embedded", _:
            return CheckResult(
                "topology", CheckStatus.WARNING, found, "Everything is forgotten when the process ends."
            )
        case "standalone", _:
            advice = (
                "Start it with --replSet and run rs.initiate(): without, nothing is atomic beyond a document."
            )
            return CheckResult("topology", CheckStatus.ERROR, found, advice)
        case "sharded", _:
            return CheckResult("topology", CheckStatus.OK, found)
        case _, hosts if hosts >= 3:
            return CheckResult("topology", CheckStatus.OK, f"{found} of {hosts}")
        case _, hosts:
            advice = "Have three members: with fewer, the loss of one stops the service."
            return CheckResult("topology", CheckStatus.WARNING, f"{found} of {hosts}", advice)


async def check_sharding(engine: Engine, topology: str) -> list[CheckResult]:
    """Return what is large and on one shard alone; nothing where there are no shards."""
    if topology != "sharded":
        return []
    try:
        reports = await diff_sharding(engine)
    except AccessDeniedError:
        advice = "Give the user the role clusterMonitor, or run it as another one."
        return [CheckResult("sharding", CheckStatus.UNKNOWN, "the user may not know", advice)]
    on_one_shard = [one.collection for one in reports if one.state is not ShardState.SHARDED]
    large = [one for one in await engine.usage(on_one_shard) if one.bytes >= _LARGE_BYTES]
    if not large:
        return [CheckResult("sharding", CheckStatus.OK, "nothing large is on one shard alone")]
    found = ", ".join(f"{one.collection} ({one.bytes / 2**30:,.0f} GiB)" for one in large)
    advice = "Run `mongostore sharding check`, then `mongostore sharding apply`."
    return [CheckResult("sharding", CheckStatus.WARNING, f"on one shard alone: {found}", advice)]


async def _tails(engine: Engine, topology: str) -> list[CheckResult]:
    """Return how late a change of now would be shown, which waits for each shard; nothing without shards."""
    if topology != "sharded" or Capability.CHANGE_STREAMS in engine.refusals:
        return []
    began = time.monotonic()
    async with await engine.watch([], None) as stream:
        answer = await engine.database.command("ping")
        now = answer["$clusterTime"]["clusterTime"]
        # A token begins with the time up to which each shard has come; a change would have a later one.
        edge, took = f"82{now.time:08X}{now.inc:08X}", 0.0
        while str((stream.resume_token or {}).get("_data", ""))[: len(edge)] <= edge and took < TAIL_SECONDS:
            await stream.try_next()
            took = time.monotonic() - began
    found = f"a change is shown after {took:.1f} s"
    if took < _LATE_SECONDS:
        return [CheckResult("tails", CheckStatus.OK, found)]
    advice = "A shard without writes delays them: set MONGOSTORE_HEARTBEAT=1 where `watch` is used."
    return [CheckResult("tails", CheckStatus.WARNING, found, advice)]


def _capabilities(engine: Engine) -> CheckResult:
    available = ", ".join(one.replace("_", " ") for one in Capability if one in engine.capabilities)
    # The store has a search of its own.
    refusals = [one for capability, one in engine.refusals.items() if capability is not Capability.SEARCH]
    status = CheckStatus.WARNING if refusals else CheckStatus.OK
    return CheckResult("capabilities", status, available, "; ".join(one.reason for one in refusals))


def _version(deployment: Deployment) -> CheckResult:
    major = deployment.server.rpartition(" ")[2].partition(".")[0]
    if major.isdigit() and int(major) < _OLDEST_SERVER:
        advice = "This version gets no corrections any more: upgrade to 8.0, one major version at a time."
        return CheckResult("server", CheckStatus.WARNING, deployment.server, advice)
    return CheckResult("server", CheckStatus.OK, deployment.server)


def _write_concern(database: Database) -> CheckResult:
    concern = database.write_concern.document
    found = ", ".join(f"{name}={value}" for name, value in concern.items())
    advice = "Leave w and journal out of the URI: then a majority has stored what was acknowledged."
    if concern.get("w") == 0:
        return CheckResult("write concern", CheckStatus.ERROR, found, f"Nothing is acknowledged. {advice}")
    if concern.get("w") == 1 or concern.get("j") is False:
        lost = "A failover may lose what was acknowledged."
        return CheckResult("write concern", CheckStatus.WARNING, found, f"{lost} {advice}")
    return CheckResult("write concern", CheckStatus.OK, found)


async def _rights(database: Database) -> CheckResult:
    status = await database.command({"connectionStatus": 1, "showPrivileges": True})
    info = status["authInfo"]
    if not info["authenticatedUsers"]:
        advice = "Every client may do everything: turn access control on, and give the store a user."
        return CheckResult("rights", CheckStatus.WARNING, "no login", advice)
    privileges = info["authenticatedUserPrivileges"]
    rights = set[str]().union(
        *(privilege["actions"] for privilege in privileges if _applies_to(privilege, database.name))
    )
    name = database.name
    if lacking := _READING_AND_WRITING - rights:
        advice = f"Give the user the role readWrite on {name}."
        return CheckResult("rights", CheckStatus.ERROR, f"lacks {', '.join(sorted(lacking))}", advice)
    if lacking := _OPENING - rights:
        advice = "Run `mongostore indexes apply` as another user, and set MONGOSTORE_ENSURE_INDEXES=false."
        return CheckResult("rights", CheckStatus.WARNING, f"lacks {', '.join(sorted(lacking))}", advice)
    if _WATCHING - rights:
        return CheckResult(
            "rights", CheckStatus.WARNING, "lacks changeStream", "Sessions cannot be watched without it."
        )
    if any(_has_other_writers(privilege, name) for privilege in privileges):
        advice = f"The store needs no more than the role readWrite on {name}."
        return CheckResult("rights", CheckStatus.WARNING, "writes to other databases, too", advice)
    return CheckResult("rights", CheckStatus.OK, f"reads and writes {name}")


def _applies_to(privilege: Mapping[str, Any], database: str) -> bool:
    resource = privilege["resource"]
    if resource.get("anyResource"):
        return True
    return resource.get("db") in (database, "") and resource.get("collection") == ""


def _has_other_writers(privilege: Mapping[str, Any], database: str) -> bool:
    elsewhere = privilege["resource"].get("anyResource") or privilege["resource"].get("db") not in (
        database,
        None,
    )
    return bool(elsewhere) and "insert" in privilege["actions"]


async def _clocks(database: Database, deployment: Deployment) -> CheckResult:
    hosts = deployment.hosts or ["{}:{}".format(*node) for node in database.client.nodes]
    skews = await clock_skews(database.client, hosts)
    if not skews:
        return CheckResult("clocks", CheckStatus.UNKNOWN, "no host answers by its name")
    host, skew = max(skews.items(), key=lambda one: abs(one[1]))
    spread = max(skews.values()) - min(skews.values())
    found = f"{host}: {abs(skew):.3f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    if len(skews) > 1:
        found += f"; {spread:.3f} s between the members'"
    worst = max(abs(skew), spread)
    if worst < _WARNING_SKEW:
        return CheckResult("clocks", CheckStatus.OK, found)
    status = CheckStatus.WARNING if worst < _ERROR_SKEW else CheckStatus.ERROR
    advice = "Let NTP set the clocks of all machines: messages take their times from this one."
    return CheckResult("clocks", status, found, advice)


def _pool(database: Database, deployment: Deployment) -> CheckResult:
    size, available = database.client.options.pool_options.max_pool_size, deployment.connections_available
    if not size:
        advice = "Leave maxPoolSize=0 out of the URI: without a bound, a busy process takes all connections."
        return CheckResult("connections", CheckStatus.WARNING, "without a bound", advice)
    found = f"up to {size} a process"
    if available is None:
        return CheckResult(
            "connections", CheckStatus.UNKNOWN, f"{found}; only who may monitor the server is told more"
        )
    found += f", {available:,} available"
    if available < size:
        return CheckResult(
            "connections", CheckStatus.ERROR, found, "Set a smaller maxPoolSize, or raise the server's limit."
        )
    return CheckResult("connections", CheckStatus.OK, found)


async def _indexes(engine: Engine) -> CheckResult:
    reports = await diff_indexes(engine)
    differing = [report.name for report in reports if report.state is IndexState.DIFFERS]
    missing = [report.name for report in reports if report.state is IndexState.MISSING]
    ours = sum(report.state is not IndexState.FOREIGN for report in reports)
    if differing:
        advice = "`mongostore indexes check` shows how; drop those and run `mongostore indexes apply`."
        return CheckResult("indexes", CheckStatus.ERROR, f"differing: {', '.join(differing)}", advice)
    if missing and engine.is_shared:
        found = f"{len(missing)} of {ours} are missing"
        return CheckResult("indexes", CheckStatus.ERROR, found, "Run `mongostore indexes apply`.")
    return CheckResult(
        "indexes", CheckStatus.OK, f"all {ours}" if engine.is_shared else "made when a store opens"
    )


async def _schema_versions(engine: Engine, collections: Iterable[str]) -> CheckResult:
    newer, unread, remaining = [], [], [*collections]
    end = time.monotonic() + SCAN_SECONDS
    while remaining:
        # What a small one leaves of its share is for the large ones.
        share = max(end - time.monotonic(), 0.0) / len(remaining)
        name = remaining.pop(0)
        filter = {"schema_version": {"$gt": SCHEMA_VERSION}}
        try:
            with engine.deadline(share):
                if await engine.collection(name).find_one(filter, {"_id": 1}) is not None:
                    newer.append(name)
        except PyMongoError as error:
            if not error.timeout:
                raise
            unread.append(name)
    if newer:
        advice = "A newer mongostore has written there: update this one before it writes."
        return CheckResult(
            "schema", CheckStatus.ERROR, f"newer than {SCHEMA_VERSION} in {', '.join(newer)}", advice
        )
    if unread:
        found = f"too many documents to look at all of them: {', '.join(unread)}"
        return CheckResult("schema", CheckStatus.UNKNOWN, found)
    return CheckResult("schema", CheckStatus.OK, f"version {SCHEMA_VERSION} or older")
