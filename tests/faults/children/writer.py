"""Four of sixteen writers into one session; says at its end what every message must be.

Arguments: URI, database, number of the process, messages a writer, their greatest size, limits of tails.
"""

import asyncio
import json
import random
import sys

from common import limits_of

from mongostore import AsyncMongoStore, Message

SESSION = "s"


async def write(store: AsyncMongoStore, writer: int, amount: int, size: int) -> dict[str, str | None]:
    """Append, send again, edit and delete; return the last content of each message, None where deleted."""
    chance = random.Random(writer)
    sessions = store.sessions
    contents: dict[str, str | None] = {}
    untouched: list[Message] = []

    def text() -> str:
        return "x" * chance.randint(1, size) + f"{chance.random()}"

    for n in range(amount):
        message = Message(role="user", content=text(), data={"writer": writer, "n": n, "mortal": n % 5 == 3})
        match n % 4:
            case 0:
                await sessions.messages.append(SESSION, message)
            case 1:
                message = message.model_copy(update={"id": f"{writer}:{n}"})
                await asyncio.gather(*(sessions.messages.append(SESSION, message) for _ in range(2)))
            case 2:
                await sessions.messages.append_many(SESSION, [message])
            case 3:
                stored = await sessions.messages.upsert(SESSION, message)
                assert stored.created_at == stored.updated_at
        contents[message.id] = message.content
        untouched.append(message)
        await sessions.messages.append(SESSION, Message(id=f"shared:{n}", role="user", content="of all"))
        if chance.random() < 0.3:
            await sessions.messages.append(SESSION, chance.choice(untouched))
        if chance.random() < 0.5:
            edited = untouched.pop(chance.randrange(len(untouched)))
            for _ in range(2):
                edited = edited.model_copy(update={"content": text()})
                contents[edited.id] = edited.content
                if chance.random() < 0.5:
                    await sessions.messages.update(SESSION, edited.id, content=edited.content)
                else:
                    stored = await sessions.messages.upsert(SESSION, edited)
                    assert stored.created_at != stored.updated_at
            if edited.data["mortal"] and chance.random() < 0.7:
                assert await sessions.messages.delete(SESSION, edited.id)
                contents[edited.id] = None
    return contents


async def main() -> None:
    """Run four writers on one store."""
    uri, database = sys.argv[1:3]
    process, amount, size = map(int, sys.argv[3:6])
    async with AsyncMongoStore(uri, database, tail_limits=limits_of(sys.argv[6])) as store:
        sys.stdin.readline()
        writers = await asyncio.gather(*(write(store, 4 * process + i, amount, size) for i in range(4)))
    json.dump([*writers], sys.stdout)


asyncio.run(main())
