"""Dies in the middle of a transaction on a room. Arguments: URI, database."""

import asyncio
import os
import signal
import sys
from typing import Any

from mongostore import AsyncMongoStore


async def main() -> None:
    """Write to the room, and die before anything is committed."""
    async with AsyncMongoStore(sys.argv[1], sys.argv[2]) as store:

        async def die(session: Any) -> None:
            rooms = store.engine.database["rooms"]
            await rooms.update_one({"_id": "r"}, {"$set": {"status": "lost"}}, session=session)
            os.kill(os.getpid(), signal.SIGKILL)

        await store.engine.transact(die)


asyncio.run(main())
