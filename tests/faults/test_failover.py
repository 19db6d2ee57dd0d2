"""Three members whose primary dies, stands still or steps down: a pause for all who write and read."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from subprocess import Popen

import pytest

from tests.faults.deployments import Cluster, cluster
from tests.faults.load import every_load, tell

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

LOCKERS = 2
PATIENCE = 90

Record = Callable[[str, object], None]
Child = Callable[..., Popen[str]]
Wound = Callable[[Cluster], Awaitable[object]]


@pytest.fixture(scope="module")
def members(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("members")) as started:
        yield started


@asynccontextmanager
async def lockers(
    child: Child, members: Cluster, database: str, folder: Path
) -> AsyncIterator[dict[str, int]]:
    """Processes that enter one room all the time; their numbers are filled in at the end."""
    if sys.version_info < (3, 12):
        # RoomKit needs it.
        yield {}
        return
    witness, numbers = folder / "witness", {"sections": 0, "cut": 0}
    uri = members.uri_of()
    processes = [child("lock_witness.py", uri, database, witness) for _ in range(LOCKERS)]
    for process in processes:
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    yield numbers
    for process in processes:
        output, errors = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
        for name, number in json.loads(output).items():
            numbers[name] += number
    tokens = [int(line) for line in witness.read_text().split()]
    assert len(tokens) >= numbers["sections"] > LOCKERS
    assert all(one < other for one, other in pairwise(tokens)), tokens


async def kill_twice(members: Cluster) -> None:
    """Kill the primary, bring it back as a follower of another one, and kill that one."""
    for _ in range(2):
        await asyncio.to_thread(members.settle)
        killed = await asyncio.to_thread(members.primary)
        await asyncio.to_thread(killed.send, signal.SIGKILL)
        await asyncio.to_thread(members.primary)
        await asyncio.to_thread(killed.start)


def pause(seconds: float) -> Wound:
    """Return what makes the primary stand still for so long."""

    async def wound(members: Cluster) -> None:
        paused = await asyncio.to_thread(members.primary)
        paused.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            paused.send(signal.SIGCONT)

    return wound


async def step_down(members: Cluster) -> None:
    """Have the primary be none for a while."""
    await asyncio.to_thread(members.step_down)


WOUNDS = {
    "the primary is killed, twice": kill_twice,
    # About as long as the others wait until they elect one of them.
    "the primary stands still for 6 seconds": pause(6),
    "the primary steps down": step_down,
}
LONG_WOUNDS = {"the primary stands still for 30 seconds": pause(30)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("what", WOUNDS | (LONG_WOUNDS if metafunc.config.getoption("long") else {}))


async def test_nothing_is_lost_doubled_or_out_of_order_and_nobody_sees_an_error(
    members: Cluster,
    child: Child,
    what: str,
    tmp_path: Path,
    record_testsuite_property: Record,
) -> None:
    wounds = WOUNDS | LONG_WOUNDS
    database = f"failover_{[*wounds].index(what)}"
    async with (
        lockers(child, members, database, tmp_path) as entered,
        every_load(members.uri_of(), database) as load,
    ):
        load.start()
        await load.progress()
        calm, load.longest = load.longest, 0.0
        began = time.monotonic()
        await wounds[what](members)
        await load.progress()
        wounded = time.monotonic() - began
        await load.stop()
        await asyncio.to_thread(members.settle)
        await load.check()
    told = {
        "longest call before, s": round(calm, 2),
        "longest call, s": round(load.longest, 2),
        "until all had come on, s": round(wounded, 2),
        "writes": load.writes,
        "reads": load.reads,
        **{f"room locks: {name}": number for name, number in entered.items()},
    }
    tell(record_testsuite_property, f"failover: {what}", told)
