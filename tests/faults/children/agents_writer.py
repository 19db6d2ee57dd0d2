"""Four of sixteen writers into one conversation of a framework for agents.

Arguments: URI, database, the framework, number of the process, writes of each, limits of tails.
"""

import asyncio
import sys

from common import limits_of
from frameworks import FRAMEWORKS

from mongostore import AsyncMongoStore


async def main() -> None:
    """Run four writers on one store; each of them says something of its own and something of all."""
    uri, database, name, process, amount, limits = sys.argv[1:7]

    async def write(store: AsyncMongoStore, writer: int) -> None:
        framework = FRAMEWORKS[name](store, "s")
        for turn in range(int(amount)):
            shared = [f"shared{turn}"] if name == "claude_agent_sdk" else [f"{writer}/{turn}/b"]
            await framework.write(f"{writer}/{turn}/a", *shared)

    async with AsyncMongoStore(uri, database, tail_limits=limits_of(limits)) as store:
        sys.stdin.readline()
        await asyncio.gather(*(write(store, 4 * int(process) + number) for number in range(4)))


asyncio.run(main())
