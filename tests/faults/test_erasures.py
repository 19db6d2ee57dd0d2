"""An erasure and a prune that are killed at any write go on later, and touch nothing else."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Message
from tests.contract.planting import ADA, BOB, HERS, THEIRS, holding, plant
from tests.faults.conftest import Child

pytestmark = pytest.mark.server
# One in every run; the others one after the other over the whole length of an erasure.
LONG = (0, 1, 3, 6, 12, 18, 25, 33, 38, 42)
KILLED_AT = [7, *(pytest.param(number, marks=pytest.mark.long) for number in LONG)]


@pytest.mark.parametrize("number", KILLED_AT)
async def test_an_erasure_that_was_killed_goes_on(
    server_store: AsyncMongoStore, server_uri: str, database: str, child: Child, number: int
) -> None:
    await plant(server_store)
    others = await holding(server_store, (THEIRS, BOB.encode()))
    killed = child("eraser.py", server_uri, database, "erase", ADA, number)
    assert killed.wait(60) == -signal.SIGKILL, killed.communicate()[1]
    assert await holding(server_store, HERS) != {}
    report = await server_store.people.erase(await server_store.people.get(ADA))
    assert report.errors == []
    assert await holding(server_store, HERS) == {}
    assert await holding(server_store, (THEIRS, BOB.encode())) == others
    assert await server_store.find_leftovers() == []


@pytest.mark.long
async def test_an_erasure_that_is_killed_ten_times_ends(
    server_store: AsyncMongoStore, server_uri: str, database: str, child: Child
) -> None:
    await plant(server_store)
    for _ in range(10):
        killed = child("eraser.py", server_uri, database, "erase", ADA, 3)
        assert killed.wait(60) == -signal.SIGKILL, killed.communicate()[1]
    await server_store.people.erase(await server_store.people.get(ADA))
    assert await holding(server_store, HERS) == {}


@pytest.mark.parametrize("number", [4, *(pytest.param(n, marks=pytest.mark.long) for n in range(0, 30, 3))])
async def test_a_prune_that_was_killed_goes_on(
    server_store: AsyncMongoStore, server_uri: str, database: str, child: Child, number: int
) -> None:
    old: dict[str, Any] = {"created_at": datetime.now(UTC) - timedelta(days=99)}
    for name in ("a", "b", "c", "d"):
        members = old if name != "d" else {}
        await server_store.sessions.create(name, **members)
        await server_store.sessions.messages.append(name, Message(role="user", content="x" * 6_000_000))
        await server_store.threads.create(name, **members)
        await server_store.threads.messages.merge(name, f"m-{name}", content="x")
        await server_store.rooms.create(name, **members)
    killed = child("eraser.py", server_uri, database, "prune", 30, number)
    assert killed.wait(60) == -signal.SIGKILL, killed.communicate()[1]
    await server_store.retention.prune(older=timedelta(days=30))
    # What was killed in the middle of one is finished by the next that meets it, or when a store opens.
    await server_store.mend_leftovers(grace=0)
    for house in (server_store.sessions, server_store.threads, server_store.rooms):
        assert [one.id async for one in house.iter()] == ["d"]  # type: ignore[attr-defined]
    assert await server_store.find_leftovers() == []
    database_ = server_store.engine.database
    assert await database_["session_overflows"].count_documents({}) == 1
    assert await database_["messages"].count_documents({"state": {"$ne": "deleted"}}) == 1
