"""Our session beside the MongoDB session that the OpenAI Agents SDK carries, on one server in one run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import metadata
from typing import Any

import pytest
from agents.extensions.memory import MongoDBSession
from pymongo import AsyncMongoClient

from mongostore.adapters.openai_agents import MongoSession
from tests.contract.command_log import CommandLog, logged_store
from tests.docs.pages import SITE

pytestmark = pytest.mark.server

MiB = 1024 * 1024
PAGE = SITE / "frameworks" / "openai-agents.md"
Sides = dict[str, Any]


def numbered(start: int, count: int) -> list[Any]:
    return [{"role": "user", "content": f"{number}"} for number in range(start, start + count)]


@pytest.fixture
async def sides(server_uri: str, database: str) -> AsyncIterator[tuple[Sides, dict[str, CommandLog]]]:
    """Both sessions, each with what it sends."""
    wires = {"ours": CommandLog(), "theirs": CommandLog()}
    async with (
        logged_store(server_uri, database, wires["ours"]) as store,
        AsyncMongoClient[Any](server_uri, event_listeners=[wires["theirs"]]) as client,
    ):
        sessions: Sides = {
            "ours": MongoSession("s", store=store),
            "theirs": MongoDBSession("s", client=client, database=f"{database}_theirs"),
        }
        yield sessions, wires
        await client.drop_database(f"{database}_theirs")


# The most commands that each call may send.
CALLS: dict[str, tuple[Callable[[Any], Awaitable[object]], int]] = {
    "`add_items` to an unknown session": (lambda s: s.add_items(numbered(0, 3)), 1),
    "`add_items`": (lambda s: s.add_items(numbered(3, 2)), 1),
    "`get_items()`": (lambda s: s.get_items(), 1),
    "`get_items(2)`": (lambda s: s.get_items(2), 1),
    "`pop_item`": (lambda s: s.pop_item(), 2),
    "`clear_session`": (lambda s: s.clear_session(), 5),
}


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except Exception as error:
        return f"`{type(error).__name__}`"
    return "stored"


async def test_the_page_compares_what_both_do(sides: tuple[Sides, dict[str, CommandLog]]) -> None:
    sessions, wires = sides
    # Theirs makes its indexes first.
    await sessions["theirs"].get_items()
    rows: dict[str, dict[str, object]] = {}
    for name, (call, most) in CALLS.items():
        sent = {}
        for side, session in sessions.items():
            wires[side].sent.clear()
            await call(session)
            sent[side] = len(wires[side].sent)
        assert sent["ours"] <= most, name
        assert sent["ours"] < sent["theirs"] or "clear" in name, name
        rows[f"commands of {name}"] = {**sent}
    large: Any = [{"role": "user", "content": "x" * 9 * MiB}] * 2
    rows["two items of 9 MiB in one call"] = {
        side: await outcome(session.add_items(large)) for side, session in sessions.items()
    }
    for session in sessions.values():
        await session.clear_session()
        await session.add_items(numbered(0, 3))
    rows["`get_items(-1)` of three items"] = {
        side: f"{len(await session.get_items(-1))} items" for side, session in sessions.items()
    }
    head = (
        f"| | `MongoSession` | `MongoDBSession` {metadata.version('openai-agents')} |\n| --- | --- | --- |\n"
    )
    table = head + "".join(f"| {name} | {row['ours']} | {row['theirs']} |\n" for name, row in rows.items())
    assert table in PAGE.read_text(), table


async def append_beside_clear(session: Any) -> str:
    """An append that an interrupted caller saw end after the clear: it is there, or it never was."""
    await session.add_items(numbered(0, 1))
    lost = 0
    for number in range(1, 40):
        clearing = asyncio.ensure_future(session.clear_session())
        adding = asyncio.ensure_future(session.add_items(numbered(number, 1)))
        await clearing
        late = not adding.done()
        await adding
        # What is unseen though it was not there to be cleared.
        lost += late and numbered(number, 1)[0] not in await session.get_items()
    return f"{lost} lost" if lost else "nothing lost"


async def writers(session: Any) -> str:
    batches = [numbered(5 * number, 5) for number in range(64)]
    await asyncio.gather(*(session.add_items(batch) for batch in batches))
    stored = await session.get_items()
    found = [stored[start : start + 5] for start in range(0, len(stored), 5)]
    return "together" if sorted(map(str, found)) == sorted(map(str, batches)) else "torn"


async def pops(session: Any) -> str:
    await session.add_items(numbered(0, 30))
    adding = [session.add_items(numbered(number, 2)) for number in range(30, 60, 2)]
    popped, _ = await asyncio.gather(
        asyncio.gather(*(session.pop_item() for _ in range(20))), asyncio.gather(*adding)
    )
    everything = [*popped, *await session.get_items()]
    return (
        "each once" if sorted(map(str, everything)) == sorted(map(str, numbered(0, 60))) else "not each once"
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (writers, "together"),
        (pops, "each once"),
        pytest.param(append_beside_clear, "nothing lost", marks=pytest.mark.long),
    ],
)
async def test_our_session_stands_what_theirs_may_not(
    sides: tuple[Sides, dict[str, CommandLog]],
    case: Callable[[Any], Awaitable[object]],
    expected: object,
    record_property: Callable[[str, object], None],
) -> None:
    sessions, _ = sides
    found = {side: await case(session) for side, session in sessions.items()}
    record_property(case.__name__, found)
    assert found["ours"] == expected
