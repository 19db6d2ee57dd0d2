"""Messages that are being written while writers die and answers are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from subprocess import Popen

import pytest

from mongostore import AsyncMongoStore
from tests.faults.conftest import Faults

pytestmark = pytest.mark.server


async def test_a_killed_writer_leaves_all_that_was_flushed(
    server_uri: str, server_store: AsyncMongoStore, database: str, child: Callable[..., Popen[str]]
) -> None:
    writer = child("streamer.py", server_uri, database)
    assert writer.stdout
    last = -1
    while last < 50:
        last = int(await asyncio.to_thread(writer.stdout.readline))
    writer.kill()
    # What was flushed before its death came may not be told.
    flushed = [last, *(int(line) for line in writer.stdout if line.endswith("\n"))][-1]
    writer.wait()
    messages = server_store.sessions.messages
    stored = await messages.get("s", "a")
    numbers = [int(number) for number in stored.content.split()]
    assert numbers == [*range(len(numbers))]
    assert len(numbers) > flushed
    async with asyncio.timeout(20):
        while stored.status == "streaming":
            await asyncio.sleep(0.1)
            stored = await messages.get("s", "a")
    assert stored.status == "interrupted"
    # The server may have received one more flush, and stored it after the first look.
    assert [int(number) for number in stored.content.split()] in (numbers, [*numbers, len(numbers)])
    async with messages.stream("s", id="a") as out:
        await out.write("anew")
    assert ((await messages.get("s", "a")).content, out.message.status) == ("anew", "complete")


async def test_pieces_whose_answers_are_lost_are_stored_once(faults: Faults) -> None:
    pieces = [f"{number} " for number in range(40)]
    messages = faults.store.sessions.messages
    async with messages.stream("s", create=True, id="a", flush_every=5) as out:
        for number, piece in enumerate(pieces):
            if number % 3 == 0:
                await faults.fail(["update"], 2, writeConcernError={"code": 91, "errmsg": "going down"})
            await out.write(piece)
            await out.flush()
            assert (await messages.get("s", "a")).content == "".join(pieces[: number + 1])
        await faults.fail(["findAndModify"], 2, writeConcernError={"code": 91, "errmsg": "going down"})
    stored = await messages.get("s", "a")
    assert (stored.content, stored.status) == ("".join(pieces), "complete")


async def test_text_that_a_server_was_away_for_is_stored_later(faults: Faults) -> None:
    messages = faults.store.sessions.messages
    async with messages.stream("s", create=True, id="a", flush_every=0) as out:
        async with faults.failing(["update"], closeConnection=True):
            for piece in ("one ", "two ", "three "):
                await out.write(piece)
                await asyncio.sleep(0.05)
        await out.write("four")
        assert (await out.flush()).content == "one two three four"
        assert (await messages.get("s", "a")).content == "one two three four"
    assert (await messages.get("s", "a")).status == "complete"
