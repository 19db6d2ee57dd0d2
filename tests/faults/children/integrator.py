"""Appends chat turns and integrates them, beside others; says of every append that it was answered.

Arguments: URI, database, number of the process, turns a participant, limits of tails.
"""

import asyncio
import random
import sys
from collections.abc import Sequence

from common import limits_of

from mongostore import AsyncMongoStore, NotFoundError, Turn

SESSION = "s"
PARTICIPANTS = ("a", "b")


def say(*words: object) -> None:
    """Write a line at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def insights_of(participant: str, turns: Sequence[Turn]) -> list[object]:
    """Take a moment, in which others integrate too, and make one insight a turn."""
    await asyncio.sleep(random.random() * 0.02)
    return [[turn.number, turn.content] for turn in turns]


async def append(store: AsyncMongoStore, process: int, participant: str, amount: int) -> None:
    """Append turns, some of them together, and say so."""
    chance = random.Random(f"{process}{participant}")
    n = 0
    while n < amount:
        together = [f"{process}.{n + i}" for i in range(chance.choice((1, 1, 3)))]
        n += len(together)
        turns = [Turn(role="user", content=content) for content in together]
        try:
            appended = await store.sessions.turns.append_many(SESSION, participant, turns)
        except NotFoundError:
            # Unbound this very moment.
            continue
        for turn in appended:
            say(participant, turn.number, turn.content)
        await asyncio.sleep(chance.random() * 0.004)


async def integrate(store: AsyncMongoStore, done: asyncio.Event) -> None:
    """Integrate again and again, and say what was covered."""
    while not done.is_set():
        for result in (await store.sessions.turns.integrate(SESSION, insights_of)).results:
            assert result.error is None
            if result.turns_integrated:
                say("covered", result.participant_id, result.turns_integrated)


async def main() -> None:
    """Append for two participants and integrate twice at a time."""
    uri, database = sys.argv[1:3]
    process, amount = map(int, sys.argv[3:5])
    async with AsyncMongoStore(uri, database, tail_limits=limits_of(sys.argv[5])) as store:
        done = asyncio.Event()
        sys.stdin.readline()
        integrating = [asyncio.create_task(integrate(store, done)) for _ in range(2)]
        await asyncio.gather(*(append(store, process, name, amount) for name in PARTICIPANTS))
        done.set()
        await asyncio.gather(*integrating)


asyncio.run(main())
