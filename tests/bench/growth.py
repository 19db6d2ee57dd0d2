"""What verbs examine, send and take as more and more is stored around what they are about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any
from uuid import uuid4

from pymongo import MongoClient

from mongostore import AsyncMongoStore, Event, Message
from tests.bench.copies import grow
from tests.bench.measurement import Cells, timed
from tests.contract.command_log import CommandLog, Sent, examined, is_beyond, logged_store

COLUMNS = [
    *(("work", 36), ("commands", 10), ("returned", 9), ("examined", 26), ("time", 7), ("budget", 10)),
    ("ok", 4),
]
_ROUNDS = 15
_Call = Callable[[AsyncMongoStore], Awaitable[object]]

# Each is about a session, thread or room that does not grow, or about the long one.
WORKS: dict[str, _Call] = {
    "session: get": lambda s: s.sessions.get("n7"),
    "sessions: newest 20": lambda s: s.sessions.list(limit=20),
    "sessions: newest 20 of a user": lambda s: s.sessions.list(user_id="u1", limit=20),
    "sessions: 20 by metadata": lambda s: s.sessions.list(metadata={"rare": 1}, limit=20),
    "sessions: 20 by a dict in metadata": lambda s: s.sessions.list(metadata={"d": {"k": 1}}, limit=20),
    "sessions: text that none has": lambda s: s.sessions.list(text="nowhere", limit=20),
    "sessions: count": lambda s: s.sessions.count(),
    "session: append to the long one": lambda s: s.sessions.messages.append("long", Message(role="user")),
    "session: newest 20 of the long one": lambda s: s.sessions.messages.list("long", newest=True, limit=20),
    "session: first 20 of the long one": lambda s: s.sessions.messages.list("long", limit=20),
    "session: an old message": lambda s: s.sessions.messages.get("long", "m7"),
    "session: count of the long one": lambda s: s.sessions.messages.count("long"),
    "thread: get": lambda s: s.threads.get("n7"),
    "threads: newest 20 of a user": lambda s: s.threads.list(user_id="u1", limit=20),
    "threads: newest 20 of a participant": lambda s: s.threads.list(participant_id="u1", limit=20),
    "threads: 20 by metadata": lambda s: s.threads.list(metadata={"rare": 1}, limit=20),
    "threads: text that none has": lambda s: s.threads.list(text="nowhere", limit=20),
    "threads: count of a user": lambda s: s.threads.count(user_id="u1"),
    "thread: merge into the long one": lambda s: s.threads.messages.merge("long", "n", content="x"),
    "thread: newest 20 of the long one": lambda s: s.threads.messages.list("long", newest=True, limit=20),
    "thread: count of the long one": lambda s: s.threads.messages.count("long"),
    "threads: a message by its id": lambda s: s.threads.messages.find_by_id("n7"),
    "threads: feedback": lambda s: s.threads.feedback.list(value=1, limit=20),
    "room: get": lambda s: s.rooms.get("n7"),
    "rooms: newest 20": lambda s: s.rooms.list(limit=20),
    "rooms: 20 by metadata": lambda s: s.rooms.list(metadata={"rare": 1}, limit=20),
    "room: append to the long one": lambda s: s.rooms.events.append("long", Event(channel_id="c")),
    "room: newest 20 of the long one": lambda s: s.rooms.events.list("long", newest=True, limit=20),
    "room: 20 of a rare type": lambda s: s.rooms.events.list("long", types=["rare"], limit=20),
    "room: unread of the long one": lambda s: s.rooms.read_markers.count_unread("long", "c"),
}


@dataclass(frozen=True)
class Growth:
    """What a piece of work cost at each size.

    Attributes:
        work: What was done.
        sizes: How much there was.
        commands: How many commands it sent at each of them.
        returned: How many documents came back or were written.
        examined: How many keys or documents were looked at.
        micros: The median of its time.
        ok: Whether it never examined more than three times what it returned, and ten.
    """

    work: str
    sizes: Sequence[int]
    commands: Sequence[int]
    returned: Sequence[int]
    examined: Sequence[int]
    micros: Sequence[float]
    ok: bool

    def cells(self) -> Cells:
        """Return the line as a person reads it."""
        numbers = (self.commands, self.returned, self.examined)
        output = (" ".join(f"{number:,}" for number in dict.fromkeys(each)) for each in numbers)
        return [self.work, *output, f"{self.micros[-1] / self.micros[0]:.2f}x", "3n + 10"]

    def members(self) -> dict[str, Any]:
        """Return the line as a program reads it."""
        return asdict(self)


async def rows(uri: str, sizes: Sequence[int]) -> AsyncIterator[Growth]:
    """Yield what each piece of work costs at all of the sizes."""
    name, found = f"bench_{uuid4().hex[:16]}", list[dict[str, tuple[list[Sent], float]]]()
    with MongoClient[dict[str, Any]](uri) as explainer:
        try:
            for before, size in zip([0, *sizes], sizes, strict=False):
                async with AsyncMongoStore(uri, name, timeout=600) as store:
                    await grow(store, before, size)
                found.append(await _measure(uri, name, explainer))
        finally:
            explainer.drop_database(name)
    for work in WORKS:
        sent = [at_size[work][0] for at_size in found]
        yield Growth(
            work,
            sizes,
            [len(one) for one in sent],
            [sum(each.returned for each in one) for one in sent],
            [sum(map(examined, one)) for one in sent],
            [at_size[work][1] for at_size in found],
            not any(map(is_beyond, sent)),
        )


async def _measure(
    uri: str, database: str, explainer: MongoClient[dict[str, Any]]
) -> dict[str, tuple[list[Sent], float]]:
    found = {}
    for work, call in WORKS.items():
        # A listener asks the server to explain: times are taken without one. The first search marks words.
        async with AsyncMongoStore(uri, database, timeout=600) as store:
            await call(store)
            micros = median([await timed(partial(call, store)) / 1000 for _ in range(_ROUNDS)])
        async with logged_store(uri, database, wire := CommandLog(explainer)) as store:
            wire.sent.clear()
            await call(store)
            found[work] = [*wire.sent], micros
    return found
