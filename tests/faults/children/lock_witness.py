"""Enters the room `r` again and again, with a witness of its own: a locked file that lists fencing tokens.

Two managers, each with a store of its own as in two processes. Each line of its input has one of them stay in
the room for long. When it ends, they say how many sections there were and how many were cut short because
their leases ended.

Arguments: URI, database, the witness's file.
"""

import asyncio
import fcntl
import json
import logging
import os
import random
import sys
from pathlib import Path
from typing import Any

from mongostore import AsyncMongoStore, ConflictError
from mongostore.adapters.roomkit import MongoRoomLockManager

# Retries are expected here; errors alone belong on stderr.
logging.getLogger("mongostore").addHandler(logging.NullHandler())

LEASE = 1.0
# Longer than an outage lasts.
STAY = 10.0


class Holder:
    """One manager, and the token of the lease that it holds."""

    def __init__(self, store: AsyncMongoStore, witness: Path) -> None:
        self.witness = witness
        self.locks = MongoRoomLockManager(store=store, lease=LEASE)
        self.sections = self.cut = self.token = 0
        self.stays = False
        acquire = store.leases.acquire

        async def recorded(*arguments: Any) -> Any:
            if lease := await acquire(*arguments):
                self.token = lease.token
            return lease

        store.leases.acquire = recorded  # type: ignore[method-assign]

    async def enter(self) -> None:
        """Hold the room for a moment, or now and then for longer than a lease lasts unless renewed."""
        async with self.locks.locked("r"):
            with self.witness.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Not by an exception, which a cancellation might overtake.
                    sys.stderr.write("two are in one room\n")
                    sys.stderr.flush()
                    os._exit(3)
                file.write(f"{self.token}\n")
                file.flush()
                await asyncio.sleep(self.duration())
        self.sections += 1

    def duration(self) -> float:
        """Return how long this section lasts, telling of the one that is asked to."""
        if self.stays:
            self.stays = False
            say("staying")
            return STAY
        return LEASE * 1.5 if random.random() < 0.1 else 0.02

    async def work(self, stopped: asyncio.Event) -> None:
        """Enter until it is over."""
        while not stopped.is_set():
            try:
                await self.enter()
            except ConflictError:
                self.cut += 1
            # For others a chance to come first.
            await asyncio.sleep(random.random() * 0.05)


def say(word: str) -> None:
    """Tell who has started this process."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main() -> None:
    """Run two holders."""
    uri, database, witness = sys.argv[1:]
    async with AsyncMongoStore(uri, database) as one, AsyncMongoStore(uri, database) as other:
        holders = [Holder(store, Path(witness)) for store in (one, other)]
        stopped = asyncio.Event()
        say("ready")
        work = [asyncio.create_task(holder.work(stopped)) for holder in holders for _ in range(2)]
        while await asyncio.to_thread(sys.stdin.readline):
            holders[0].stays = True
        stopped.set()
        await asyncio.gather(*work)
        for holder in holders:
            await holder.locks.close()
    numbers = {"sections": sum(one.sections for one in holders), "cut": sum(one.cut for one in holders)}
    json.dump(numbers, sys.stdout)


asyncio.run(main())
