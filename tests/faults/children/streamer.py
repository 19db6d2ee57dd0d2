"""Writes a message piece by piece until it is killed: `streamer.py URI DATABASE`."""

from __future__ import annotations

import asyncio
import sys

from mongostore import AsyncMongoStore
from mongostore.documents import session_streams


async def main(uri: str, database: str) -> None:
    async with (
        AsyncMongoStore(uri, database) as store,
        store.sessions.messages.stream("s", create=True, id="a") as out,
    ):
        for number in range(100_000):
            await out.write(f"{number} ")
            await out.flush()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


# So that readers need not wait for ten seconds.
session_streams.WRITER_SECONDS = 2.0
asyncio.run(main(*sys.argv[1:]))
