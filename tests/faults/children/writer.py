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
                await sessions.append_message(SESSION, message)
            case 1:
                message.id = f"{writer}:{n}"
                await asyncio.gather(*(sessions.append_message(SESSION, message) for _ in range(2)))
            case 2:
                await sessions.append_messages(SESSION, [message])
            case 3:
                assert await sessions.upsert_message(SESSION, message)
        contents[message.id] = message.content
        untouched.append(message)
        await sessions.append_message(SESSION, Message(id=f"shared:{n}", role="user", content="of all"))
        if chance.random() < 0.3:
            await sessions.append_message(SESSION, chance.choice(untouched))
        if chance.random() < 0.5:
            edited = untouched.pop(chance.randrange(len(untouched)))
            for _ in range(2):
                edited.content = contents[edited.id] = text()
                if chance.random() < 0.5:
                    await sessions.update_message(SESSION, edited.id, content=edited.content)
                else:
                    assert not await sessions.upsert_message(SESSION, edited)
            if edited.data["mortal"] and chance.random() < 0.7:
                assert await sessions.delete_message(SESSION, edited.id)
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
