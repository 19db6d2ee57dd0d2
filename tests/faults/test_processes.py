"""Processes that are forked from a busy one, or start at once, or share a session; a server's restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from mongostore import AsyncMongoStore
from mongostore.repositories.sessions import TailLimits
from tests.faults import test_writers
from tests.faults.deployments import cluster
from tests.faults.writers import every_load, tell

pytestmark = pytest.mark.server

ROLLERS = 8
PATIENCE = 200

Child = Callable[..., Popen[str]]
Record = Callable[[str, object], None]


@pytest.mark.parametrize("forks", [10, pytest.param(100, marks=pytest.mark.long)])
def test_forks_from_a_busy_process_work_and_end(
    child: Child, server_uri: str, database: str, forks: int
) -> None:
    process = child("preforker.py", server_uri, database, forks)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("starts", [4, pytest.param(12, marks=pytest.mark.long)])
async def test_first_starts_at_once(
    child: Child, server_uri: str, database: str, databases: list[str], starts: int
) -> None:
    processes = [child("starter.py", server_uri, database, number) for number in range(starts)]
    for process in processes:
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    ended = [asyncio.to_thread(process.communicate, "go\n", PATIENCE) for process in processes]
    outcomes = await asyncio.gather(*ended)
    for process, (_, errors) in zip(processes, outcomes, strict=True):
        assert (process.returncode, errors) == (0, "")
    async with AsyncMongoStore(server_uri, database) as store:
        assert {report.state for report in await store.check_indexes()} == {"present"}
        for number in map(str, range(starts)):
            assert [one.content async for one in store.sessions.messages.iter(number)] == [number]
            assert await store.rooms.exists(number)


# In every run fewer do so, in test_writers.py.
@pytest.mark.long
@pytest.mark.parametrize("tail_limits", [TailLimits(keep=4, full=8)], ids=["small-tails"])
async def test_eight_processes_that_roll_one_session_lose_double_and_reorder_nothing(
    child: Child,
    readers: Any,
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    tail_limits: TailLimits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(test_writers, "PROCESSES", ROLLERS)
    await test_writers.test_many_writers_lose_double_and_reorder_nothing(
        child, readers, server_uri, server_store, database, amount=8, size=200, tail_limits=tail_limits
    )


async def ended(member: Any, number: signal.Signals) -> None:
    """Send a server a signal that ends it, and start it again."""
    member.send(number)
    await asyncio.to_thread(member.process.wait)
    await asyncio.to_thread(member.start)


@pytest.mark.long
async def test_the_only_member_of_a_replica_set_is_restarted(
    mongod_binary: Path, tmp_path: Path, record_property: Record
) -> None:
    stalls = {}
    with cluster(mongod_binary, tmp_path / "alone", members=1) as alone:
        async with every_load(alone.uri_of(), "restarted") as load:
            load.start()
            await load.progress()
            for number in (signal.SIGTERM, signal.SIGKILL):
                load.longest = 0.0
                await ended(alone.members[0], number)
                await load.progress()
                stalls[f"longest call at {number.name}, s"] = round(load.longest, 2)
            await load.stop()
            await load.check()
    tell(record_property, "restart of the only member", stalls | {"writes": load.writes})
