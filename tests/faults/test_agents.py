"""Processes of frameworks for agents that die at any write, and many that write at once."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Coroutine, Generator
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any

import pytest

from mongostore import AsyncMongoStore
from mongostore.repositories.sessions import TailLimits
from tests.faults.children.frameworks import FRAMEWORKS, Framework
from tests.faults.conftest import Child

LIMITS = TailLimits(keep=4, full=8, full_bytes=16 * 1024, embed_bytes=1500)
PARTS = ("session_segments", "session_overflows")
WRITES = 3


async def check_interrupted(framework: Framework, begun: int) -> None:
    """Check what is left of a scenario that ended in its last step begun; take that again."""
    steps = framework.steps[:begun]
    before, after, seen = framework.after(steps[:-1]), framework.after(steps), await framework.read()
    lane = f"{framework.id}, in {steps[-1]}"
    if steps[-1][0] in framework.in_parts:
        names = {*seen, *before, *after}
        assert all(seen.get(name) in (before.get(name), after.get(name)) for name in names), lane
    else:
        assert seen in (before, after), lane
    await framework.do(*steps[-1])
    assert await framework.read() == after, lane
    await framework.delete()
    assert await framework.read() == {}, lane


@types.coroutine
def cancel_at(number: int, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
    """Run a coroutine, whose task is cancelled at that one of its awaits."""
    steps = coroutine.__await__()
    step = partial(steps.send, None)
    while True:
        try:
            awaited = step()
        except StopIteration:
            return
        number -= 1
        if number == 0:
            task = asyncio.current_task()
            assert task
            task.cancel()
        try:
            yield awaited
            step = partial(steps.send, None)
        except BaseException as error:
            step = partial(steps.throw, error)


@pytest.mark.parametrize("stride", [50, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_cancellation_at_any_await_leaves_a_whole_prefix_and_a_retry_acts_once(
    name: str, stride: int
) -> None:
    begun = 0
    async with AsyncMongoStore("mongomock://", tail_limits=LIMITS) as store:

        async def play(framework: Framework) -> None:
            nonlocal begun
            begun = 0
            for step in framework.steps:
                begun += 1
                await framework.do(*step)

        async def play_until(number: int, framework: Framework) -> None:
            await cancel_at(number, play(framework))

        for number in count(1, stride):
            framework = FRAMEWORKS[name](store, str(number))
            playing = asyncio.create_task(play_until(number, framework))
            await asyncio.wait([playing])
            if not playing.cancelled():
                assert playing.exception() is None
                break
            await check_interrupted(framework, begun)
    assert number > stride


@pytest.mark.server
@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.parametrize("tail_limits", [LIMITS], ids=["small-tails"])
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_crash_before_any_write_leaves_a_whole_prefix_and_a_retry_acts_once(
    child: Child,
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    name: str,
    tail_limits: TailLimits,
) -> None:
    scenario = child("agents_scenario.py", server_uri, database, name, json.dumps(asdict(tail_limits)))
    kind, crashes = FRAMEWORKS[name], 0
    for line in scenario.stdout or ():
        id, begun = json.loads(line)
        await check_interrupted(kind(server_store, id), begun)
        crashes += 1
    assert scenario.wait() == 0, scenario.stderr and scenario.stderr.read()
    assert crashes > len(kind.steps)
    for collection in PARTS:
        assert await server_store.engine.database[collection].count_documents({}) == 0


@pytest.mark.server
@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_sixteen_writers_in_four_processes_lose_double_and_tear_nothing(
    child: Child,
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    name: str,
) -> None:
    limits = json.dumps(asdict(TailLimits()))
    writers = [
        child("agents_writer.py", server_uri, database, name, number, WRITES, limits) for number in range(4)
    ]
    ended = await asyncio.gather(*(asyncio.to_thread(one.communicate, "go\n", 300) for one in writers))
    assert [one.returncode for one in writers] == [0] * 4, ended
    [texts] = (await FRAMEWORKS[name](server_store, "s").read()).values()
    own = [one for one in texts if not one.startswith("shared")]
    expected = [f"{writer}/{turn}/a" for writer in range(16) for turn in range(WRITES)]
    assert sorted(one for one in own if one.endswith("/a")) == sorted(expected)
    assert len(texts) == len({*texts})
    for writer in range(16):
        turns = [one for one in own if one.startswith(f"{writer}/") and one.endswith("/a")]
        assert turns == [f"{writer}/{turn}/a" for turn in range(WRITES)]
    if name == "claude_agent_sdk":
        assert {*texts} - {*own} == {f"shared{turn}" for turn in range(WRITES)}
    else:
        assert texts[1::2] == [one.replace("/a", "/b") for one in texts[::2]]
