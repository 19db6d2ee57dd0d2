"""Processes that append and integrate chat turns side by side, one of them killed: every turn counts once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from operator import attrgetter
from subprocess import Popen
from typing import Any

import pytest

from mongostore import AlreadyExistsError, AsyncMongoStore, ConflictError, Session, SessionParticipant, Turn
from mongostore.repositories.sessions import AsyncSessions, TailLimits

pytestmark = pytest.mark.server

PROCESSES = 4


def check_view(session: Session) -> None:
    """Check what holds at any moment: there is one insight for each turn up to the marker, in order."""
    for one in session.participants:
        marker = one.integrated_until or 0
        assert [number for number, _ in one.insights] == [*range(1, marker + 1)]
        assert marker <= one.turn_count


def started(process: Popen[str]) -> asyncio.Task[tuple[str, str]]:
    """Let a process run to its end."""
    return asyncio.create_task(asyncio.to_thread(process.communicate, "go\n"))


async def heard_until_killed(process: Popen[str], lines: int) -> list[str]:
    """Let a process run until it has said so much, kill it, and return what it had said in whole lines."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    texts = [await asyncio.to_thread(process.stdout.readline) for _ in range(lines)]
    process.kill()
    rest, _ = await asyncio.to_thread(process.communicate)
    return [line for line in [*texts, *rest.splitlines(keepends=True)] if line.endswith("\n")]


async def heard(process: Popen[str], ended: asyncio.Task[tuple[str, str]]) -> list[str]:
    """Return what a process has said, which must have ended well."""
    output, errors = await ended
    assert process.returncode == 0, errors
    return output.splitlines()


@pytest.mark.parametrize(
    ("amount", "tail_limits"),
    [
        pytest.param(60, TailLimits(keep=8, full=16), id="rolling-all-the-time"),
        pytest.param(120, TailLimits(), id="as-shipped", marks=pytest.mark.long),
    ],
)
async def test_every_turn_is_numbered_and_integrated_once_though_a_process_is_killed(
    child: Callable[..., Popen[str]],
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    amount: int,
    tail_limits: TailLimits,
) -> None:
    sessions = server_store.sessions
    await sessions.create("s", participants=["a", "b"])
    processes = [
        child("integrator.py", server_uri, database, number, amount, json.dumps(asdict(tail_limits)))
        for number in range(PROCESSES)
    ]
    dying, *others = processes
    running = [started(process) for process in others]
    texts = await heard_until_killed(dying, 40)
    while not all(task.done() for task in running):
        check_view(await sessions.get("s"))
    for process, task in zip(others, running, strict=True):
        texts += await heard(process, task)

    async def insights_of(participant: str, turns: Sequence[Turn]) -> list[list[object]]:
        return [[turn.number, turn.content] for turn in turns]

    session = (await sessions.turns.integrate("s", insights_of)).session
    check_view(session)
    for one in session.participants:
        turns = [turn async for turn in sessions.turns.iter("s", one.id)]
        assert [turn.number for turn in turns] == [*range(1, len(turns) + 1)]
        assert one.turn_count == one.integrated_until == len(turns)
        assert one.insights == [[turn.number, turn.content] for turn in turns]
        assert max(Counter(turn.content for turn in turns).values()) == 1
        there = {(turn.number, turn.content) for turn in turns}
        answered = {tuple(line.split()[1:]) for line in texts if line.split()[0] == one.id}
        assert {(int(number), content) for number, content in answered} <= there
        for process in range(PROCESSES):
            of_one = [
                int(turn.content.partition(".")[2])
                for turn in turns
                if turn.content.startswith(f"{process}.")
            ]
            # Whole up to where it was killed, in order.
            assert of_one == [*range(len(of_one))]
            assert process == 0 or len(of_one) >= amount
        covered = sum(int(line.split()[2]) for line in texts if line.startswith(f"covered {one.id} "))
        assert 0 < covered <= len(turns)
    assert session.count == 0


@pytest.mark.parametrize("change", ["truncate", pytest.param("unbind", marks=pytest.mark.long)])
@pytest.mark.parametrize("tail_limits", [TailLimits(keep=16, full=32)], ids=["small-tails"])
async def test_what_begins_anew_under_integrations_holds_nothing_of_before(
    child: Callable[..., Popen[str]],
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    change: str,
    tail_limits: TailLimits,
) -> None:
    sessions = server_store.sessions
    await sessions.create("s", participants=["a", "b"])
    processes = [
        child("integrator.py", server_uri, database, number, 60, json.dumps(asdict(tail_limits)))
        for number in range(PROCESSES)
    ]
    running = [started(process) for process in processes]
    begun = 0
    while not all(task.done() for task in running):
        check_view(before := await sessions.get("s"))
        if before.participants and before.participants[0].turn_count > 15:
            begun += 1
            if change == "truncate":
                await sessions.truncate("s")
            else:
                assert await sessions.participants.delete("s", "a")
                assert await sessions.participants.ensure("s", "a")
        await asyncio.sleep(0.02)
    for process, task in zip(processes, running, strict=True):
        await heard(process, task)
    assert begun > 2
    session = await sessions.get("s")
    check_view(session)
    for one in session.participants:
        turns = [turn async for turn in sessions.turns.iter("s", one.id)]
        assert [turn.number for turn in turns] == [*range(1, one.turn_count + 1)]
        # The last turns may have come after the last integration.
        integrated = turns[: one.integrated_until or 0]
        assert one.insights == [[turn.number, turn.content] for turn in integrated]
    # What is gone is gone from the collections as well, but for what a call was about to store just then.
    assert await server_store.mend_leftovers(grace=0) <= PROCESSES
    stored = await server_store.engine.database["sessions"].find_one({})
    epochs = {one["epoch"] for one in stored["participants"].values()}
    for collection in ("session_turns", "session_insights"):
        assert {*await server_store.engine.database[collection].distinct("epoch")} <= epochs


async def test_participants_need_no_transactions(standalone_uri: str, database: str) -> None:
    async def insights_of(participant: str, turns: Sequence[Turn]) -> list[str]:
        return [turn.content for turn in turns]

    async def take_part(sessions: AsyncSessions, n: int) -> None:
        for part in range(10):
            turns = [Turn(role="user", content=f"{n}.{part}.{i}") for i in range(3)]
            await sessions.turns.append_many("s", "ab"[part % 2], turns)
            await sessions.turns.integrate("s", insights_of)

    async with AsyncMongoStore(standalone_uri, database, transactions="off") as store:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        bound = await asyncio.gather(*(sessions.participants.ensure("s", "b") for _ in range(5)))
        assert bound == [await sessions.participants.get("s", "b")] * 5
        await asyncio.gather(*(take_part(sessions, n) for n in range(10)))
        for one in await sessions.participants.list("s"):
            turns = [turn async for turn in sessions.turns.iter("s", one.id)]
            assert [turn.number for turn in turns] == [*range(1, 151)]
            assert one.insights == [turn.content for turn in turns]
            assert one.turn_count == one.integrated_until == 150
        assert await sessions.participants.delete("s", "a")
        assert len([turn async for turn in sessions.turns.iter("s", "b")]) == 150
        assert (await sessions.truncate("s")).participants[0].turn_count == 0
        await store.engine.database.client.drop_database(database)


@pytest.mark.parametrize("verb", ["soft_delete", "undelete", "participants.create", "participants.delete"])
async def test_of_parallel_calls_that_are_all_tried_again_one_did_it(
    faults: Any, server_uri: str, database: str, verb: str
) -> None:
    await faults.store.sessions.create("s", participants=["a"] if verb == "participants.delete" else [])
    if verb == "undelete":
        await faults.store.sessions.soft_delete("s")
    command = "findAndModify" if verb == "undelete" else "update"
    arguments = ["s", "a"] if verb.startswith("participants") else ["s"]
    # The driver's own second try would make it good where nobody sees it.
    separator = "&" if "?" in server_uri else "/?"
    uri = f"{server_uri}{separator}appName={database}&retryWrites=false&heartbeatFrequencyMS=500"
    async with AsyncMongoStore(uri, database) as store:
        # Carried out, but answered by what says nothing about that.
        await faults.fail([command], 6, writeConcernError={"code": 91, "errmsg": "gone"})
        calls = (attrgetter(verb)(store.sessions)(*arguments) for _ in range(6))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    did = [
        one
        for one in outcomes
        if one is not False and not isinstance(one, AlreadyExistsError | ConflictError)
    ]
    assert len(did) == 1, outcomes
    assert did[0] is True or isinstance(did[0], Session | SessionParticipant)
