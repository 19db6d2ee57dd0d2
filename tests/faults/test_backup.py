"""A backup that is made while others write is restored, and all of its invariants hold.

`mongodump` is no part of these tests: the copy of one moment is what a snapshot session of the driver reads,
as `mongodump --oplog` and Atlas restore it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, Message, NotFoundError, Turn
from mongostore.documents import COLLECTIONS

pytestmark = pytest.mark.server
SECONDS = 2.0


@asynccontextmanager
async def written_to(store: AsyncMongoStore) -> AsyncIterator[None]:
    """Write to all houses, delete and roll, while the block runs."""
    end = asyncio.Event()

    async def sessions(name: str) -> None:
        for number in count():
            if end.is_set():
                return
            message = Message(id=f"{name}-{number}", role="user", content="x" * 2000)
            await store.sessions.messages.append(name, message, create=True)
            await store.sessions.participants.ensure(name, "p")
            await store.sessions.turns.append(name, "p", Turn(role="user", content=f"{number}"))

    async def threads(name: str) -> None:
        for number in count():
            if end.is_set():
                return
            await store.threads.messages.merge(name, f"{name}-{number}", content="x", pinned=number % 2 == 0)
            await store.threads.files.upload(f"{name}/{number}", b"x" * 1000, content_type="text/plain")

    async def rooms(name: str) -> None:
        await store.rooms.ensure(name)
        while not end.is_set():
            await store.rooms.events.append(name, Event(channel_id="c", content="x"))

    async def deletions(name: str) -> None:
        while not end.is_set():
            await store.sessions.ensure(name)
            await store.sessions.messages.append(name, Message(role="user", content="x" * 3_000_000))
            await store.sessions.delete(name)
            await store.rooms.ensure(name)
            with suppress(NotFoundError):
                await store.rooms.events.append(name, Event(channel_id="c", content="x"))
            await store.rooms.delete(name)

    writers = [
        asyncio.create_task(write(f"{write.__name__}-{number}"))
        for write in (sessions, threads, rooms, deletions)
        for number in range(2)
    ]
    await asyncio.sleep(SECONDS)
    try:
        yield
    finally:
        end.set()
        await asyncio.gather(*writers)


async def check_invariants(store: AsyncMongoStore) -> None:
    """Check that all that is stored fits together."""
    assert len(await store.sessions.list()) >= 2
    async for session in store.sessions.iter():
        messages = [message async for message in store.sessions.messages.iter(session.id)]
        assert len(messages) == session.count
        if session.id.startswith("sessions"):
            assert [message.position for message in messages] == [*range(len(messages))]
            assert [message.id for message in messages] == [f"{session.id}-{n}" for n in range(len(messages))]
            for participant in session.participants:
                turns = [turn.number async for turn in store.sessions.turns.iter(session.id, participant.id)]
                assert turns == [*range(1, participant.turn_count + 1)]
    async for thread in store.threads.iter():
        contents = [message.content async for message in store.threads.messages.iter(thread.id)]
        assert contents
        assert {*contents} == {"x"}
    async for file in store.threads.files.iter():
        assert await store.threads.files.read(file.key) == b"x" * file.size
    async for room in store.rooms.iter():
        indexes = [event.index async for event in store.rooms.events.iter(room.id)]
        assert indexes == [*range(room.event_count)]
        assert room.latest_index == (indexes[-1] if indexes else None)
    assert await store.find_leftovers() == []


async def run(*arguments: str) -> None:
    """Run a command of the command line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mongostore", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-2000:]


async def test_a_copy_of_one_moment_holds_every_invariant(
    server_store: AsyncMongoStore, server_uri: str, database: str, databases: list[str]
) -> None:
    databases.append(restored := f"test_{uuid4().hex[:16]}")
    async with (
        AsyncMongoClient(server_uri) as client,
        written_to(server_store),
        client.start_session(snapshot=True) as moment,
    ):
        for name in COLLECTIONS:
            documents = await client[database][name].find({}, session=moment).to_list()
            if documents:
                await client[restored][name].insert_many(documents)
    async with AsyncMongoStore(server_uri, restored) as store:
        # What was being deleted at that moment is finished as it is after any crash.
        await store.mend_leftovers(grace=0)
        await check_invariants(store)
        await store.sessions.messages.append("sessions-0", Message(role="user", content="later"))
        await store.rooms.events.append("rooms-0", Event(channel_id="c", content="later"))


async def test_an_archive_that_is_made_under_load_is_imported_whole(
    server_store: AsyncMongoStore, server_uri: str, database: str, databases: list[str], tmp_path: Path
) -> None:
    databases.append(restored := f"test_{uuid4().hex[:16]}")
    archive = str(tmp_path / "store.zip")
    async with written_to(server_store):
        await run("export", archive, "--uri", server_uri, "--database", database)
    await run("import", "mongostore", archive, "--uri", server_uri, "--database", restored)
    async with AsyncMongoStore(server_uri, restored) as store:
        async for session in store.sessions.iter():
            messages = [message async for message in store.sessions.messages.iter(session.id)]
            if session.id.startswith("sessions"):
                ids = [message.id for message in messages if message.id.startswith(session.id)]
                assert ids == [f"{session.id}-{number}" for number in range(len(ids))]
        async for room in store.rooms.iter():
            if room.id.startswith("rooms"):
                indexes = [event.index async for event in store.rooms.events.iter(room.id)]
                assert indexes == [*range(len(indexes))]
        assert len(await store.threads.messages.list("threads-0")) > 0
        assert await store.find_leftovers() == []
