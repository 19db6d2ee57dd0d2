"""Sixteen writers in four processes on one session, and a reader beside them who never sees it torn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import count, pairwise
from subprocess import Popen

import pytest

from mongostore import AsyncMongoStore, Message
from mongostore.repositories.sessions import TailLimits

PROCESSES = 4


class Views:
    """What one reader saw, each view compared with all before it."""

    def __init__(self) -> None:
        self.ranks: dict[str, int] = {}
        self.gone: set[str] = set()
        self.lasting: list[str] = []
        self.here: set[str] = set()

    def add(self, messages: list[Message]) -> None:
        """Check that a view is the one before, longer at its end, less what was deleted."""
        positions = [message.position for message in messages]
        assert all(one < other for one, other in pairwise(positions))
        here = {message.id for message in messages}
        assert len(here) == len(messages)
        lasting = [message.id for message in messages if not message.data.get("mortal")]
        assert lasting[: len(self.lasting)] == self.lasting
        assert not here & self.gone
        for message in messages:
            assert self.ranks.setdefault(message.id, message.position) == message.position
        self.gone |= self.here - here
        self.here, self.lasting = here, lasting


@pytest.mark.server
@pytest.mark.parametrize(
    ("amount", "size", "tail_limits"),
    [
        pytest.param(15, 200, TailLimits(keep=4, full=8), id="rolling-all-the-time"),
        pytest.param(30, 600, TailLimits(), id="as-shipped", marks=pytest.mark.long),
        pytest.param(12, 40_000, TailLimits(), id="rolling-by-bytes", marks=pytest.mark.long),
    ],
)
async def test_many_writers_lose_double_and_reorder_nothing(
    child: Callable[..., Popen[str]],
    readers: list[Callable[[AsyncMongoStore, str], Awaitable[list[Message]]]],
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    amount: int,
    size: int,
    tail_limits: TailLimits,
) -> None:
    await server_store.sessions.create("s")
    processes = [
        child("writer.py", server_uri, database, number, amount, size, json.dumps(asdict(tail_limits)))
        for number in range(PROCESSES)
    ]
    ended = [asyncio.create_task(asyncio.to_thread(process.communicate, "go\n")) for process in processes]
    views, seen = Views(), count()
    while not all(task.done() for task in ended):
        views.add(await readers[next(seen) % len(readers)](server_store, "s"))
    contents: dict[str, str | None] = {f"shared:{n}": "of all" for n in range(amount)}
    for process, task in zip(processes, ended, strict=True):
        output, errors = await task
        assert process.returncode == 0, errors
        for writer in json.loads(output):
            contents |= writer

    for read in readers:
        messages = await read(server_store, "s")
        views.add(messages)
        assert {message.id: message.content for message in messages} == {
            id: content for id, content in contents.items() if content is not None
        }
        for writer in range(4 * PROCESSES):
            order = [message.data["n"] for message in messages if message.data.get("writer") == writer]
            assert order == sorted(order)
    assert await server_store.sessions.messages.count("s") == len(messages)
    holes = sum(content is None for content in contents.values())
    free = set(range(len(contents))) - {message.position for message in messages}
    assert len(free) == holes
    assert next(seen) > 5
