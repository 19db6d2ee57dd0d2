"""Erases a person, or prunes, and dies before one of its writes.

Arguments: URI, database, `erase NAME` or `prune DAYS`, the number of the write.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from mongostore import AsyncMongoStore

WRITES = {"update", "delete", "insert", "findAndModify", "bulkWrite"}


class Reaper(CommandListener):
    """Kills the process before one of its writes is sent.

    Attributes:
        remaining: How many writes are let through; None for all.
    """

    remaining: int | None = None

    def started(self, event: CommandStartedEvent) -> None:
        """Count a write."""
        if self.remaining is None or event.command_name not in WRITES:
            return
        if self.remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.remaining -= 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Do nothing."""


async def main() -> None:
    """Do what the arguments say."""
    uri, database, verb, argument, number = sys.argv[1:6]
    reaper = Reaper()
    async with AsyncMongoStore(uri, database, client_options={"event_listeners": [reaper]}) as store:
        if verb == "erase":
            person = await store.people.get(argument)
            reaper.remaining = int(number)
            await store.people.erase(person)
        else:
            reaper.remaining = int(number)
            await store.retention.prune(older=timedelta(days=int(argument)))
        reaper.remaining = None


asyncio.run(main())
