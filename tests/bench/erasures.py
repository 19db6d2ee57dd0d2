"""Memory and commands of a prune and an erasure: python -m tests.bench.erasures URI [MESSAGES]."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from mongostore import AsyncMongoStore, Message

OLD = datetime.now(UTC) - timedelta(days=99)
BATCH = 1000
# A session of so many messages; half of the sessions are pruned and half erased.
MESSAGES = 10_000


class Counter(CommandListener):
    """Counts commands."""

    commands = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Count a command."""
        self.commands += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Do nothing."""


async def fill(store: AsyncMongoStore, total: int) -> None:
    """Store so many messages in sessions of an old owner and of Ada, and what stays beside them."""
    for number in range(total // MESSAGES):
        name, is_old = f"s{number}", number % 2 == 0
        await store.sessions.create(
            name, user_id=None if is_old else "ada", created_at=OLD if is_old else None
        )
        for start in range(0, MESSAGES, BATCH):
            batch = [Message(role="user", content="x" * 100) for _ in range(start, start + BATCH)]
            await store.sessions.messages.append_many(name, batch)
    await store.sessions.create("other", user_id="bob")


def peak() -> float:
    """Return the largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main() -> None:
    """Fill, prune, erase and print figures."""
    uri, total = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    database, counter = f"bench_{uuid4().hex[:8]}", Counter()
    async with AsyncMongoStore(uri, database, client_options={"event_listeners": [counter]}) as store:
        try:
            await fill(store, total)
            for name, work in (
                ("prune", lambda: store.retention.prune(older=timedelta(days=30))),
                ("erase", lambda: _erase(store)),
            ):
                before, commands, began = peak(), counter.commands, time.perf_counter()
                report = await work()
                sys.stdout.write(
                    f"{name} of {total // 2:,} messages: {time.perf_counter() - began:.1f} s, "
                    f"{counter.commands - commands:,} commands, peak {peak():.0f} MiB "
                    f"(+{peak() - before:.0f}), {report}\n"
                )
            left = await store.usage()
            sys.stdout.write(", ".join(f"{one.collection}: {one.documents}" for one in left if one.documents))
            sys.stdout.write("\n")
        finally:
            async with AsyncMongoClient(uri) as client:
                await client.drop_database(database)


async def _erase(store: AsyncMongoStore) -> object:
    return await store.people.erase(await store.people.get("ada"))


if __name__ == "__main__":
    asyncio.run(main())
