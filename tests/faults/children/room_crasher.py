"""Commits an event to the room `r` of a server without transactions, and dies before the write of the next.

Arguments: URI, database.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from mongostore import AsyncMongoStore, Event


async def main() -> None:
    """Commit twice."""
    uri, database = sys.argv[1:3]
    async with AsyncMongoStore(uri, database, transactions="off") as store:
        sys.stdin.readline()
        first = await store.rooms.events.append("r", Event(id="e0", channel_id="c"))
        sys.stdout.write(f"{first.index}\n")
        sys.stdout.flush()

        async def die(*arguments: Any, **options: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        type(store.engine.database["events"]).insert_one = die  # type: ignore[method-assign]
        await store.rooms.events.append("r", Event(id="e1", channel_id="c"))


asyncio.run(main())
