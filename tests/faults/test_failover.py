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
from tests.faults.writers import every_load, tell

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

LOCKERS = 2
PATIENCE = 90
ALONE_SECONDS = 1.0

Record = Callable[[str, object], None]
Child = Callable[..., Popen[str]]
Fault = Callable[[Cluster], Awaitable[object]]


@pytest.fixture(scope="module")
def members(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("members")) as started:
        yield started


class LockHolders:
    """Processes that enter one room all the time.

    Attributes:
        numbers: What they say at their end.
    """

    def __init__(self, processes: list[Popen[str]]) -> None:
        self.numbers = dict[str, int]()
        self._processes = processes

    async def hear(self, process: Popen[str], word: str) -> None:
        """Wait until a process says that."""
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == f"{word}\n"

    async def stay(self) -> None:
        """Have one of them be in the room, and leave it by itself only after an outage."""
        for process in self._processes[:1]:
            assert process.stdin
            process.stdin.write("stay\n")
            process.stdin.flush()
            await self.hear(process, "staying")

    async def ready(self) -> None:
        """Wait until all are at work."""
        for process in self._processes:
            await self.hear(process, "ready")

    async def end(self) -> None:
        """End them, and check that all went well."""
        for process in self._processes:
            output, errors = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
            assert (process.returncode, errors) == (0, "")
            for name, number in json.loads(output).items():
                self.numbers[name] = self.numbers.get(name, 0) + number


@asynccontextmanager
async def lockers(child: Child, uri: str, database: str, folder: Path) -> AsyncIterator[LockHolders]:
    """Run processes that enter a room, and check at the end that there was never more than one in it."""
    witness = folder / "witness"
    # RoomKit needs Python 3.12.
    count = LOCKERS if sys.version_info >= (3, 12) else 0
    at_work = LockHolders([child("lock_witness.py", uri, database, witness) for _ in range(count)])
    await at_work.ready()
    yield at_work
    await at_work.end()
    if count:
        tokens = [int(line) for line in witness.read_text().split()]
        assert len(tokens) >= at_work.numbers["sections"] > LOCKERS
        assert all(one < other for one, other in pairwise(tokens)), tokens


async def kill_twice(members: Cluster) -> None:
    """Kill the primary, bring it back as a follower of another one, and kill that one.

    The second time it is alone with what it was told last: no other member has heard of that.
    """
    for is_alone in (False, True):
        await asyncio.to_thread(members.wait_until_idle)
        killed = await asyncio.to_thread(members.primary)
        deaf = [member for member in members.members if is_alone and member is not killed]
        for member in deaf:
            await asyncio.to_thread(member.send, signal.SIGSTOP)
        await asyncio.sleep(ALONE_SECONDS if is_alone else 0)
        await asyncio.to_thread(killed.send, signal.SIGKILL)
        for member in deaf:
            member.send(signal.SIGCONT)
        await asyncio.to_thread(members.primary)
        await asyncio.to_thread(killed.start)


def pause(seconds: float) -> Fault:
    """Return what makes the primary stand still for so long."""

    async def inject_fault(members: Cluster) -> None:
        paused = await asyncio.to_thread(members.primary)
        paused.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            paused.send(signal.SIGCONT)

    return inject_fault


async def step_down(members: Cluster) -> None:
    """Have the primary be none for a while."""
    await asyncio.to_thread(members.step_down)


FAULTS = {
    "the primary is killed, twice": kill_twice,
    "the primary steps down": step_down,
    # About as long as the others wait until they elect one of them.
    "the primary stands still for 6 seconds": pause(6),
    "the primary stands still for 30 seconds": pause(30),
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(name, marks=() if inject_fault is step_down else pytest.mark.long)
        for name, inject_fault in FAULTS.items()
    ],
)
async def test_nothing_is_lost_doubled_or_out_of_order_and_nobody_sees_an_error(
    members: Cluster,
    child: Child,
    what: str,
    tmp_path: Path,
    record_property: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = f"failover_{[*FAULTS].index(what)}"
    async with (
        lockers(child, members.uri_of(), database, tmp_path) as at_work,
        every_load(members.uri_of(), database) as load,
    ):
        load.start()
        await load.progress()
        calm, load.longest = load.longest, 0.0
        if FAULTS[what] is not step_down:
            await at_work.stay()
        began = time.monotonic()
        await FAULTS[what](members)
        await load.progress()
        faulty = time.monotonic() - began
        await load.stop()
        await asyncio.to_thread(members.wait_until_idle)
        await load.check()
    if FAULTS[what] is kill_twice:
        logged = {(record.name, record.levelname) for record in caplog.records}
        assert {("mongostore.retry", "WARNING"), ("mongostore.failover", "WARNING")} <= logged
    received = {
        "longest call before, s": round(calm, 2),
        "longest call, s": round(load.longest, 2),
        "until all had come on, s": round(faulty, 2),
        "writes": load.writes,
        "reads": load.reads,
        **{f"room locks: {name}": number for name, number in at_work.numbers.items()},
    }
    tell(record_property, f"failover: {what}", received)
