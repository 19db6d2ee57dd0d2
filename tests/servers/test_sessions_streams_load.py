"""Many streams of events in one process: each costs little memory, and all see all."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from mongostore import AsyncMongoStore, Message
from tests.servers.test_sessions_messages import MESSAGES, serving

STREAMS = 200
# Each takes the same, and to trace memory takes several times as long.
MEASURED = 40
PIECES = 20


@pytest.mark.long
@pytest.mark.server
async def test_two_hundred_streams_cost_little_and_see_all(server_store: AsyncMongoStore) -> None:
    messages = server_store.sessions.in_namespace("acme").messages
    # What a session holds is not held by each of its streams.
    await messages.append_many(
        "s1", [Message(role="user", content="x" * 1000) for _ in range(100)], create=True
    )
    async with serving(server_store) as asking, AsyncExitStack() as stack:
        # What the first ones make is made once.
        for _ in range(5):
            await stack.enter_async_context(connected(asking.base_url))
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        # Their clients, in this process, too, have a small part in it.
        opened = [await stack.enter_async_context(connected(asking.base_url)) for _ in range(MEASURED)]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (after - before) / MEASURED < 64 * 1024
        opened += [
            await stack.enter_async_context(connected(asking.base_url)) for _ in range(STREAMS - MEASURED)
        ]
        for number in range(PIECES):
            await messages.append("s1", Message(id=f"m{number}", role="user"))
        async with asyncio.timeout(60):
            for lines in opened:
                while f'"m{PIECES - 1}"'.encode() not in await lines.readline():
                    pass


@asynccontextmanager
async def connected(url: httpx.URL) -> AsyncIterator[asyncio.StreamReader]:
    """The lines of a stream, behind those of the newest message."""
    lines, sender = await asyncio.open_connection(url.host, url.port)
    try:
        sender.write(f"GET {MESSAGES}/stream?last=1 HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
        while b'"position": 99' not in await lines.readline():
            pass
        yield lines
    finally:
        sender.close()
        await sender.wait_closed()
