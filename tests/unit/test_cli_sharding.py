"""`mongostore sharding`: what it prints, and what it does to a cluster that a script plays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from bson import MaxKey, MinKey
from pymongo.errors import OperationFailure
from typer.testing import CliRunner

from mongostore import AccessDeniedError, UnsupportedError
from mongostore.cli import app
from mongostore.diagnostics import CheckStatus, check_sharding
from mongostore.engines import CollectionUsage
from mongostore.index_definitions import load_sharding
from mongostore.sharding import ShardState, apply_sharding, diff_sharding, plan_commands, split_hashes

KEYS = load_sharding().keys


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["sharding", *arguments])


def test_plan_shards_every_collection_by_lines_for_mongosh() -> None:
    result = run("plan", "--shards", "3", "--database", "chat")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert all(line.startswith(("db.adminCommand({", "// ")) for line in lines)
    for name, key in KEYS.items():
        assert sum(f'"shardCollection": "chat.{name}"' in line for line in lines) == 1
        assert sum(f'"updateZoneKeyRange": "chat.{name}"' in line for line in lines) == 3
        assert any(json.dumps(dict(key)) in line for line in lines)
    assert sum(line.startswith("// ") for line in lines) == len(load_sharding().unsharded)


def test_plan_as_json_has_the_same_commands() -> None:
    plan = json.loads(run("plan", "--json", "--shards", "2").stdout)
    assert len(plan["commands"]) == 2 + 3 * len(KEYS)
    assert plan["unsharded"] == load_sharding().unsharded


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_the_ranges_of_the_shards_hold_every_hash_once(shards: int) -> None:
    ranges = split_hashes([f"s{number}" for number in range(shards)])
    assert ranges[0].least == MinKey()
    assert ranges[-1].below == MaxKey()
    assert all(left.below == right.least for left, right in pairwise(ranges))
    edges = [-(2**63), *(int(one.least) for one in ranges[1:]), 2**63]
    sizes = [right - left for left, right in pairwise(edges)]
    assert max(sizes) - min(sizes) < shards


def test_the_ranges_are_the_same_in_all_collections() -> None:
    found: dict[str, list[tuple[Any, Any, str]]] = {}
    for collection, command in plan_commands("d", "p_", ["a", "b"]):
        if "updateZoneKeyRange" in command:
            assert command["updateZoneKeyRange"] == f"d.p_{collection}"
            [least], [below] = command["min"].values(), command["max"].values()
            found.setdefault(collection, []).append((least, below, command["zone"]))
    assert found.keys() == KEYS.keys()
    assert all(ranges == found["rooms"] for ranges in found.values())


def test_what_is_no_cluster_is_refused_in_one_line() -> None:
    for command in ("check", "apply"):
        result = run(command, "--uri", "mongomock://none")
        assert result.exit_code == 1
        assert "no sharded cluster" in result.stderr
        assert len(result.stderr.splitlines()) == 1


class Collection:
    def __init__(self, name: str, documents: int, log: list[Any]) -> None:
        self.name, self._documents, self._log = name, documents, log

    async def find_one(self, *_: object) -> dict[str, Any] | None:
        return {"_id": 1} if self._documents else None

    async def create_index(self, keys: Any) -> None:
        self._log.append({"createIndex": self.name, "key": dict(keys)})


class Cluster:
    """What an engine of a cluster answers, and the commands that it was sent."""

    address = "mongodb://mongos:27017"

    def __init__(self, sharded: dict[str, Any], topology: str = "sharded", refuses: int = 0) -> None:
        self.sharded, self.topology, self.refuses = sharded, topology, refuses
        self.log: list[dict[str, Any]] = []
        self.full: set[str] = set()
        self.sizes: dict[str, int] = {}
        client = {"admin": self, "config": {"collections": self}}
        self.database = SimpleNamespace(name="d", client=client)

    async def describe(self) -> Any:
        return SimpleNamespace(topology=self.topology)

    async def usage(self, names: Iterable[str]) -> list[CollectionUsage]:
        stored = [f"p_{name}" for name in names]
        return [CollectionUsage(name, 1, self.sizes[name]) for name in stored if name in self.sizes]

    def collection(self, name: str) -> Collection:
        return Collection(f"p_{name}", name in self.full, self.log)

    async def command(self, command: dict[str, Any]) -> dict[str, Any]:
        if self.refuses:
            raise OperationFailure("not authorized on admin", self.refuses)
        if "listShards" in command:
            return {"shards": [{"_id": "one"}, {"_id": "two"}]}
        self.log.append(command)
        if "shardCollection" in command:
            self.sharded[command["shardCollection"]] = command["key"]
        return {"ok": 1}

    def find(self, filter: dict[str, Any], _: object) -> Any:
        return Found([{"_id": n, "key": k} for n, k in self.sharded.items() if n in filter["_id"]["$in"]])


class Found:
    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self._documents = documents

    async def __aenter__(self) -> Found:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def to_list(self) -> list[dict[str, Any]]:
        return self._documents


async def test_apply_shards_what_is_missing_and_leaves_what_differs() -> None:
    cluster: Any = Cluster({"d.p_rooms": {"_id": "hashed"}, "d.p_events": {"_id": "hashed"}})
    cluster.full = {"sessions"}
    before = {one.collection: one.state for one in await diff_sharding(cluster)}
    assert before["rooms"] is ShardState.SHARDED
    assert before["events"] is ShardState.DIFFERS
    assert before["sessions"] is ShardState.MISSING
    assert cluster.log == []

    after = {one.collection: one.state for one in await apply_sharding(cluster)}
    assert after == dict.fromkeys(KEYS, ShardState.SHARDED) | {"events": ShardState.DIFFERS}
    sharded = {one["shardCollection"]: one for one in cluster.log if "shardCollection" in one}
    assert sharded.keys() == {f"d.p_{name}" for name in KEYS.keys() - {"rooms", "events"}}
    # A collection with documents has its index first.
    made = [one for one in cluster.log if "createIndex" in one]
    assert made == [{"createIndex": "p_sessions", "key": {"_id": "hashed"}}]

    cluster.log.clear()
    await apply_sharding(cluster)
    assert cluster.log == []


async def test_doctor_names_what_is_large_and_not_sharded() -> None:
    cluster: Any = Cluster({"d.p_rooms": {"_id": "hashed"}})
    cluster.sizes = {"p_rooms": 2**40, "p_events": 2**34, "p_tasks": 2**20}
    (found,) = await check_sharding(cluster, "sharded")
    assert found.status is CheckStatus.WARNING
    assert "events" in found.found
    assert "rooms" not in found.found
    assert "tasks" not in found.found
    assert "mongostore sharding apply" in found.advice

    cluster.sizes = {"p_events": 2**20}
    (found,) = await check_sharding(cluster, "sharded")
    assert found.status is CheckStatus.OK
    cluster.refuses = 13
    (found,) = await check_sharding(cluster, "sharded")
    assert found.status is CheckStatus.UNKNOWN
    assert await check_sharding(cluster, "replica set rs") == []


async def test_refusals_name_the_rights_and_the_remedy() -> None:
    refusing: Any = Cluster({}, refuses=13)
    with pytest.raises(AccessDeniedError, match="clusterManager"):
        await apply_sharding(refusing)
    replica_set: Any = Cluster({}, topology="replica set rs")
    with pytest.raises(UnsupportedError, match="mongos"):
        await diff_sharding(replica_set)
