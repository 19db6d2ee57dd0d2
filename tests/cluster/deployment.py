"""A sharded cluster of real servers, with a router in the place of mongos."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.deployments import Cluster, Member
from tests.ports import free_port

_START_SECONDS = 60
# Without writes a shard reports its time that often; ten seconds is what it does by itself, and a change
# stream of the cluster waits for the slowest of them.
_NOOP_SECONDS = 1
_OPTIONS = (
    "--oplogSize=64",
    "--setParameter=enableTestCommands=1",
    "--setParameter=diagnosticDataCollectionEnabled=false",
    f"--setParameter=periodicNoopIntervalSecs={_NOOP_SECONDS}",
)


@dataclass
class ShardedCluster:
    """A config server, shards, and a router.

    Attributes:
        shards: The shards by their names.
        uri: How stores reach it.
    """

    config: Cluster
    shards: Mapping[str, Cluster]
    port: int = field(default_factory=free_port)
    router: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=false"

    @property
    def members(self) -> list[Member]:
        return [member for one in (self.config, *self.shards.values()) for member in one.members]

    def start(self) -> None:
        """Start all of it, and make it one."""
        for member in self.members:
            member.start()
        for one in (self.config, *self.shards.values()):
            one.initiate()
        config = self.config.primary()
        for name, shard in self.shards.items():
            add = {"_configsvrAddShard": _connection_string(shard), "name": name}
            self.config.ask(config, {**add, "writeConcern": {"w": "majority"}})
        sets = {"config": self.config, **self.shards}
        hosts = {name: [member.address for member in one.members] for name, one in sets.items()}
        command = [sys.executable, "-m", "tests.cluster.router", str(self.port), json.dumps(hosts)]
        self.router = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        deadline = time.monotonic() + _START_SECONDS
        while self.router.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return
            time.sleep(0.05)
        raise AssertionError("the router does not listen")

    def stop(self) -> None:
        """End all of it for good."""
        if self.router is not None:
            self.router.kill()
            self.router.wait()
        for member in self.members:
            member.stop()


@contextmanager
def sharded_cluster(
    binary: Path, folder: Path, *, members: Sequence[int] = (1, 1), options: Sequence[str] = ()
) -> Iterator[ShardedCluster]:
    """Run a sharded cluster.

    Args:
        binary: The server.
        folder: Where it keeps its data.
        members: How many each shard has.
        options: More of the servers' command line.
    """

    def replica_set(name: str, count: int, role: str) -> Cluster:
        command = [f"--replSet={name}", role, *_OPTIONS, *options]
        return Cluster([Member(binary, folder / name / str(i), command) for i in range(count)], name=name)

    shards = {f"shard{i}": replica_set(f"shard{i}", count, "--shardsvr") for i, count in enumerate(members)}
    started = ShardedCluster(replica_set("config", 1, "--configsvr"), shards)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def _connection_string(shard: Cluster) -> str:
    return f"{shard.name}/{','.join(member.address for member in shard.members)}"
