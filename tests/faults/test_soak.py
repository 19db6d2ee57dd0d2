"""Mixed load and faults for long: what is used stays as it was, and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo.errors import PyMongoError

from tests.faults.conftest import with_options
from tests.faults.deployments import Cluster, cluster
from tests.faults.writers import Load, every_store, tell

SECONDS = 180

pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(SECONDS + 600)]

ROUND_SECONDS = 20
# How much more may be used at the end than after the first round.
MORE_MEMORY = 40
MORE_CONNECTIONS = 20
MORE_FILES = 40
# Pools of threads grow up to their size.
MORE_THREADS = 20
CURSORS = {
    "aggregate": 1,
    "pipeline": [
        {"$currentOp": {"allUsers": True, "idleCursors": True}},
        {"$match": {"cursor": {"$exists": True}, "ns": {"$ne": "local.oplog.rs"}}},
    ],
    "cursor": {},
}
FAILING = ["find", "insert", "update", "delete", "aggregate", "findAndModify", "commitTransaction"]

Record = Callable[[str, object], None]


@dataclass
class Used:
    """What is in use between two rounds.

    Attributes:
        memory: Of this process, in MiB.
        connections: Of this process with the primary, which itself counts those that have ended for a while.
        cursors: Open at the primary, without those by which the others follow it.
    """

    memory: int
    files: int
    threads: int
    tasks: int
    connections: int
    cursors: int
    transactions: int


def use(members: Cluster) -> Used:
    """Look at what is in use."""
    gc.collect()
    process = psutil.Process()
    primary = members.primary()
    status = members.ask(primary, "serverStatus")
    return Used(
        memory=process.memory_info().rss // 1024**2,
        files=process.num_fds(),
        threads=threading.active_count(),
        tasks=0,
        connections=sum(one.raddr[1:] == (primary.port,) for one in process.net_connections("tcp")),
        cursors=len(members.ask(primary, CURSORS)["cursor"]["firstBatch"]),
        transactions=status["transactions"]["currentOpen"],
    )


async def kill(members: Cluster) -> None:
    killed = await asyncio.to_thread(members.primary)
    await asyncio.to_thread(killed.send, signal.SIGKILL)
    await asyncio.sleep(random.random() * 2)
    await asyncio.to_thread(killed.start)


async def pause(members: Cluster) -> None:
    paused = await asyncio.to_thread(members.primary)
    paused.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(random.uniform(0.5, 4))
    finally:
        paused.send(signal.SIGCONT)


async def step_down(members: Cluster) -> None:
    await asyncio.to_thread(members.step_down)


async def fail(members: Cluster) -> None:
    """Have some commands of everybody fail, or their connections be closed, or their answers be late."""
    hows: list[dict[str, Any]] = [
        {"closeConnection": True},
        {"errorCode": 11600},
        {"errorCode": 10107},
        {"blockConnection": True, "blockTimeMS": 1000},
        {"writeConcernError": {"code": 91, "errmsg": "going"}, "failCommands": ["insert", "update"]},
    ]
    data = {"failCommands": FAILING, **random.choice(hows)}
    mode = {"times": random.randint(1, 20)}

    def ask() -> None:
        members.ask(members.primary(), {"configureFailPoint": "failCommand", "mode": mode, "data": data})

    await asyncio.to_thread(ask)


FAULTS: list[Callable[[Cluster], Awaitable[None]]] = [fail, pause, fail, step_down, fail, kill]


async def inject_fault(members: Cluster, load: Load, faults: Counter[str], ends: float) -> None:
    """Do the members harm until it is time to let them be."""
    while time.monotonic() < ends:
        await asyncio.sleep(random.uniform(0.2, 1))
        # Each kind in turn, before chance rules.
        done = faults.total()
        fault = FAULTS[done] if done < len(FAULTS) else random.choice(FAULTS)
        faults[fault.__name__] += 1
        # What is told to a member may be lost with it.
        with suppress(PyMongoError):
            await fault(members)
        # Several without a pause may take longer than a call's timeout, which is no fault of ours.
        await load.progress(1)


async def heal(members: Cluster) -> None:
    """Have every member follow again, and no command fail."""
    await asyncio.to_thread(members.wait_until_idle)
    for member in members.members:
        await asyncio.to_thread(members.ask, member, {"configureFailPoint": "failCommand", "mode": "off"})


async def test_a_soak(mongod_binary: Path, tmp_path: Path, record_property: Record) -> None:
    ends = time.monotonic() + SECONDS
    faults, used, loads = Counter[str](), list[Used](), list[Load]()
    with cluster(mongod_binary, tmp_path / "members") as members:
        # A member that was only told to say that it is no primary is asked again soon.
        uri = with_options(members.uri_of(), heartbeatFrequencyMS=500)
        async with every_store(uri, "soak") as stores:
            while not loads or time.monotonic() < ends:
                # New places each time, so that what is read does not grow for ever.
                loads.append(load := await stores.load(f"-{len(loads)}"))
                load.start()
                try:
                    round_ends = time.monotonic() + ROUND_SECONDS
                    await inject_fault(members, load, faults, round_ends)
                    await heal(members)
                    await load.progress()
                    await load.stop()
                    await load.check()
                finally:
                    await load.cancel()
                used.append(await asyncio.to_thread(use, members))
                used[-1].tasks = len(asyncio.all_tasks())
    figures = {
        "rounds": len(loads),
        "writes": sum(load.writes for load in loads),
        "reads of all": sum(load.reads for load in loads),
        "longest call, s": round(max(load.longest for load in loads), 2),
        "faults": dict(faults),
        "after each round": "",
        **{name: " ".join(str(getattr(one, name)) for one in used) for name in asdict(used[0])},
    }
    tell(record_property, "soak", figures)
    first, last = used[0], used[-1]
    assert last.memory < first.memory + MORE_MEMORY
    assert last.files < first.files + MORE_FILES
    assert last.threads <= first.threads + MORE_THREADS
    assert last.tasks <= first.tasks + 4
    assert last.connections < first.connections + MORE_CONNECTIONS
    assert last.cursors == 0
    assert last.transactions == 0
