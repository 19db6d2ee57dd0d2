"""What Chainlit's data layer costs on MongoDB, beside its own SQLAlchemy layer on PostgreSQL and SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Self
from uuid import uuid4

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from tests.adapters.chainlit_parts import (
    BaseDataLayer,
    FakeStorage,
    MongoDataLayer,
    Pagination,
    ThreadFilter,
    claim,
    enter,
    http_session,
    step,
)
from tests.bench.comparisons import SHARE, Field, Making, Race
from tests.bench.measurement import Cells, Work, take_turns

# What Chainlit's layer takes and Chainlit does not bring.
NEEDED = ("sqlalchemy", "greenlet", "aiosqlite")
# As Chainlit documents its tables, and `autoCollapse`, without which it loses the steps of 2.12; SQLite takes
# the names of types for comments.
TABLES = (
    """CREATE TABLE users (
    "id" UUID PRIMARY KEY, "identifier" TEXT NOT NULL UNIQUE, "metadata" JSONB NOT NULL, "createdAt" TEXT
    )""",
    """CREATE TABLE threads (
    "id" UUID PRIMARY KEY, "createdAt" TEXT, "name" TEXT, "userId" UUID, "userIdentifier" TEXT,
    "tags" TEXT[], "metadata" JSONB,
    FOREIGN KEY ("userId") REFERENCES users("id") ON DELETE CASCADE
    )""",
    """CREATE TABLE steps (
    "id" UUID PRIMARY KEY, "name" TEXT NOT NULL, "type" TEXT NOT NULL, "threadId" UUID NOT NULL,
    "parentId" UUID, "streaming" BOOLEAN NOT NULL, "waitForAnswer" BOOLEAN, "isError" BOOLEAN,
    "metadata" JSONB, "tags" TEXT[], "input" TEXT, "output" TEXT, "createdAt" TEXT, "command" TEXT,
    "start" TEXT, "end" TEXT, "generation" JSONB, "showInput" TEXT, "language" TEXT, "indent" INT,
    "defaultOpen" BOOLEAN, "autoCollapse" BOOLEAN, "modes" JSONB,
    FOREIGN KEY ("threadId") REFERENCES threads("id") ON DELETE CASCADE
    )""",
    """CREATE TABLE elements (
    "id" UUID PRIMARY KEY, "threadId" UUID, "type" TEXT, "url" TEXT, "chainlitKey" TEXT,
    "name" TEXT NOT NULL, "display" TEXT, "objectKey" TEXT, "size" TEXT, "page" INT, "language" TEXT,
    "forId" UUID, "mime" TEXT, "props" JSONB,
    FOREIGN KEY ("threadId") REFERENCES threads("id") ON DELETE CASCADE
    )""",
    """CREATE TABLE feedbacks (
    "id" UUID PRIMARY KEY, "forId" UUID NOT NULL, "threadId" UUID NOT NULL, "value" INT NOT NULL,
    "comment" TEXT,
    FOREIGN KEY ("threadId") REFERENCES threads("id") ON DELETE CASCADE
    )""",
)
TEXT = "x" * 500
USER = "ada"
THREADS = 500
STEPS = 20
FIRST = 20
WRITERS = 20
LONG = 200
BATCH = 5_000


@dataclass(frozen=True)
class Side:
    """A data layer, and what it knows its users and threads by.

    Attributes:
        layer: Ours or Chainlit's.
        users: The ids of users, by their identifiers.
        threads: The ids of their threads, likewise.
    """

    layer: BaseDataLayer
    users: dict[str, str] = field(default_factory=dict)
    threads: dict[str, list[str]] = field(default_factory=dict)

    async def fill(self, identifier: str, threads: int, steps: int) -> None:
        """Create a user with threads of so many steps, each with its number in the user's in its output."""
        ids = [str(uuid4()) for _ in range(threads)]
        self.users[identifier] = await claim(self.layer, *ids, identifier=identifier)
        self.threads[identifier] = ids
        for number in range(threads * steps):
            thread_id = ids[number // steps]
            await self.layer.create_step(_step(thread_id, number, output=f"{TEXT} {_stamp(number)}"))

    async def page(
        self, identifier: str = USER, *, first: int = FIRST, cursor: str | None = None, **wanted: Any
    ) -> Any:
        """Return a page of a user's threads."""
        return await self.layer.list_threads(
            Pagination(first=first, cursor=cursor), ThreadFilter(userId=self.users[identifier], **wanted)
        )


@dataclass(frozen=True)
class Growth:
    """The same work of ours with a short history and with a long one.

    Attributes:
        work: What was done.
        short: In so many milliseconds, the median.
        long: Likewise.
        budget: How many times as long as with the short history it may take.
    """

    work: str
    short: float
    long: float
    budget: float = 1.2

    @property
    def ratio(self) -> float:
        """The long history's to the short one's."""
        return self.long / self.short

    @property
    def ok(self) -> bool:
        """Whether the work keeps within its budget."""
        return self.ratio <= self.budget

    def members(self) -> dict[str, Any]:
        """Return the growth as a program reads it."""
        return {**asdict(self), "ratio": self.ratio, "ok": self.ok}

    def cells(self) -> Cells:
        """Return the growth as a person reads it."""
        found = f"{self.short:.2f} → {self.long:.2f} {self.ratio:.2f}x"
        return [self.work, found, "", "", "", "", f"≤ {self.budget}x"]


@dataclass(frozen=True)
class Bench(Field[Side]):
    """Chainlit's data layers: ours beside its own.

    Attributes:
        database: That of ours, by a client of its own.
    """

    database: AsyncDatabase[dict[str, Any]]

    @classmethod
    @asynccontextmanager
    async def opened(cls, uri: str, addresses: dict[str, str], *, rounds: int) -> AsyncIterator[Self]:
        """Open the layers on databases that live as long as the bench, Chainlit's at addresses by name."""
        name = f"bench_{uuid4().hex[:16]}"
        enter(http_session())
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(AsyncMongoClient[dict[str, Any]](uri))
            stack.push_async_callback(client.drop_database, name)
            ours = MongoDataLayer(uri, name, FakeStorage())
            stack.push_async_callback(ours.close)
            sides = {"mongo": Side(ours)}
            for kind, address in addresses.items():
                from chainlit.data.sql_alchemy import SQLAlchemyDataLayer

                theirs = SQLAlchemyDataLayer(address, storage_provider=FakeStorage())
                stack.push_async_callback(theirs.close)
                async with theirs.engine.begin() as connection:
                    for table in TABLES:
                        await connection.exec_driver_sql(table)
                sides[kind] = Side(theirs)
            yield cls(sides, rounds, client[name])

    async def fill(self, identifier: str, threads: int, steps: int) -> None:
        """Create a user with threads on every side."""
        await asyncio.gather(*(side.fill(identifier, threads, steps) for side in self.stores.values()))

    async def read(self, work: str, making: Making[Side], size: int, **more: Any) -> Race:
        """Let the layers read in turn.

        Raises:
            AssertionError: One finds another number of things: Chainlit's says of an error that there is
                nothing, and at once.
        """
        for name, side in self.stores.items():
            found = await making(side)()
            assert _size(found) == size, f"{work}: {name} finds {_size(found)}, not {size}"
        return await self.race(work, making, **more)

    async def grow(self, identifier: str, threads: int, steps: int) -> None:
        """Give a user of ours so many times the threads of the first one, with so many times the steps."""
        ours = self.stores["mongo"]
        user_id = ours.users[identifier] = await claim(ours.layer, identifier=identifier)
        of_user = await self.database.threads.find({"user_id": ours.users[USER]}).to_list()
        texts = await self.database.messages.find({"thread_id": {"$in": ours.threads[USER]}}).to_list()
        for thread in range(threads):
            end = f"-{identifier}-{thread}"
            copies = [{**document, "_id": document["_id"] + end, "user_id": user_id} for document in of_user]
            await self.database.threads.insert_many(copies)
            for number in range(steps):
                for start in range(0, len(texts), BATCH):
                    batch = texts[start : start + BATCH]
                    copies = [
                        {
                            **document,
                            "_id": f"{document['_id']}{end}-{number}",
                            "thread_id": document["thread_id"] + end,
                        }
                        for document in batch
                    ]
                    await self.database.messages.insert_many(copies, ordered=False)


def addresses(dsn: str | None, folder: Path) -> dict[str, str]:
    """Return where Chainlit's layer may store, by name: in PostgreSQL, if it is there, and in a folder."""
    found = {} if dsn is None else {"postgres": dsn.replace("://", "+asyncpg://", 1)}
    return {**found, "sqlite": f"sqlite+aiosqlite:///{folder / 'threads.db'}"}


async def rows(bench: Bench) -> AsyncIterator[Race | Growth]:
    """Yield how the layers, filled for `USER`, compare in each piece of work, as soon as it is known."""
    for part in (_writes, _lists, _threads, _growths):
        async for row in part(bench):
            yield row


async def _writes(bench: Bench) -> AsyncIterator[Race]:
    await bench.fill("writer", WRITERS, 1)
    yield await bench.race("create_step + update_step", partial(_pair, number=0))
    makings = [partial(_pair, number=number) for number in range(WRITERS)]
    yield await bench.crowd(f"the same, {WRITERS} at once", makings, each=1)
    written = [await side.layer.get_thread(side.threads["writer"][0]) for side in bench.stores.values()]
    # What Chainlit's layer cannot write it passes over, and at once.
    assert len({_size(thread) for thread in written}) == 1, "not every layer has stored every step"


async def _lists(bench: Bench) -> AsyncIterator[Race]:
    # Chainlit's layer takes so long that fewer rounds have to do.
    slow: dict[str, Any] = {"share": SHARE, "budget": 20, "beside": ("postgres", "sqlite")}
    ends = {side.layer: await _end_of(side, 9 * FIRST) for side in bench.stores.values()}

    def newest(side: Side) -> Work:
        return side.page

    def tenth(side: Side) -> Work:
        return partial(side.page, cursor=ends[side.layer])

    def search(side: Side) -> Work:
        return partial(side.page, search=_stamp(THREADS * STEPS // 2))

    yield await bench.read(f"list_threads({FIRST})", newest, FIRST, **slow)
    yield await bench.read("list_threads, 10th page", tenth, FIRST, **slow)
    yield await bench.read("list_threads, one hit", search, 1, share=SHARE)


async def _threads(bench: Bench) -> AsyncIterator[Race]:
    await bench.fill("long", 1, LONG)

    def thread(side: Side) -> Work:
        return partial(side.layer.get_thread, side.threads["long"][0])

    def author(side: Side) -> Work:
        return partial(side.layer.get_thread_author, side.threads[USER][0])

    yield await bench.read(f"get_thread, {LONG} steps", thread, LONG, share=1 / 4)
    yield await bench.read("get_thread_author", author, len(USER))


async def _growths(bench: Bench) -> AsyncIterator[Growth]:
    ours = bench.stores["mongo"]
    for identifier, threads, steps in (("talker", 1, 10), ("hoarder", 10, 1)):
        await bench.grow(identifier, threads, steps)
        took = await take_turns(bench.rounds, ours.page, partial(ours.page, identifier))
        short, long = (median(times) / 1e6 for times in took)
        yield Growth(f"list_threads, {threads * THREADS:,} x {steps * STEPS}", short, long)


def _pair(side: Side, *, number: int) -> Work:
    """Return the work of a step that begins and then ends in one of the writer's threads."""
    thread_id, numbers = side.threads["writer"][number], count()

    async def pair() -> None:
        begun = _step(thread_id, next(numbers), input="question")
        # A dict each: Chainlit's layer changes those that it is given.
        await side.layer.create_step({**begun})
        await side.layer.update_step({**begun, "output": TEXT, "end": begun["start"]})

    return pair


async def _end_of(side: Side, first: int) -> str:
    page = await side.page(first=first)
    return str(page.pageInfo.endCursor)


def _size(found: Any) -> int:
    """Return how many things were found: rows of a page, steps of a thread, letters of a name."""
    if isinstance(found, dict):
        return len(found["steps"])
    return len(found if isinstance(found, str) else found.data)


def _step(thread_id: str, seconds: int, **members: Any) -> dict[str, Any]:
    return step(str(uuid4()), seconds=seconds, threadId=thread_id, **members)


def _stamp(number: int) -> str:
    return f"#{number}."
