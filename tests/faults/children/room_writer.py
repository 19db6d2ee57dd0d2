"""Four of sixteen writers into one room; tells of each event once it is acknowledged.

Arguments: URI, database, number of the process, events a writer.
"""

import asyncio
import sys

from mongostore import AsyncMongoStore, Event


async def write(store: AsyncMongoStore, writer: int, amount: int) -> None:
    """Commit events one after the other."""
    for n in range(amount):
        event = Event(id=f"{writer}:{n}", channel_id="c", content="x" * 200)
        event = await store.rooms.events.append("r", event)
        sys.stdout.write(f"{event.index} {event.id}\n")
        sys.stdout.flush()


async def main() -> None:
    """Run four writers on one store."""
    uri, database = sys.argv[1:3]
    process, amount = map(int, sys.argv[3:])
    async with AsyncMongoStore(uri, database) as store:
        sys.stdin.readline()
        await asyncio.gather(*(write(store, 4 * process + i, amount) for i in range(4)))


asyncio.run(main())
