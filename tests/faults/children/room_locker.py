"""Locks the room `r`: to count on, without care, or to hold until this process is killed.

Arguments: URI, database, `count` or `hold`, number of tasks, sections a task.
"""

import asyncio
import sys

from mongostore import AsyncMongoStore
from mongostore.adapters.roomkit import MongoRoomLockManager


async def count(store: AsyncMongoStore, locks: MongoRoomLockManager, times: int) -> None:
    """Read, wait and write, as often as that."""
    counters = store.engine.database["counters"]
    for _ in range(times):
        async with locks.locked("r"):
            found = await counters.find_one({"_id": "r"})
            await asyncio.sleep(0.002)
            await counters.update_one({"_id": "r"}, {"$set": {"n": found["n"] + 1}})


async def hold(locks: MongoRoomLockManager) -> None:
    """Hold the room and say so."""
    async with locks.locked("r"):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        await asyncio.sleep(600)


async def main() -> None:
    """Do what the arguments say."""
    uri, database, what = sys.argv[1:4]
    tasks, times = map(int, sys.argv[4:])
    async with AsyncMongoStore(uri, database) as store:
        locks = MongoRoomLockManager(store=store, lease=1 if what == "hold" else 5)
        sys.stdin.readline()
        if what == "hold":
            await hold(locks)
        await asyncio.gather(*(count(store, locks, times) for _ in range(tasks)))
        await locks.close()


asyncio.run(main())
