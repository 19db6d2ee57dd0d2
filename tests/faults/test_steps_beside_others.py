"""Between any two commands of a verb another client acts: it is as if one had been before the other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any
from unittest import mock

import pytest

from mongostore import AsyncMongoStore, ConflictError, Message, MongoStoreError, NotFoundError, Turn
from mongostore.repositories.connection import Connection
from mongostore.repositories.sessions import TailLimits
from tests.faults import test_retries_beside_others as retries
from tests.faults.test_retries_beside_others import WRITES, Client, Verb, attempt, comparable, state
from tests.faults.test_unknown_outcomes import FULL, LARGE, LIMITS, VERBS, message, plain, prepare

COMMANDS = WRITES | {"find_one", "find_all", "aggregate_all", "count_documents"}
Outcome = tuple[str, str]


@pytest.fixture
def tail_limits() -> TailLimits:
    return LIMITS


@pytest.fixture
def store_uri(database: str) -> str:
    return f"mongomock://{database}"


async def stream(store: AsyncMongoStore, id: str, name: str, **options: Any) -> Message:
    async with store.sessions.messages.stream(id, id=name, flush_every=5, **options) as streaming:
        await streaming.write("one")
        await streaming.flush()
        await streaming.write("two")
    return streaming.message


MINE: dict[str, Verb] = {
    "append-here": lambda store, id: store.sessions.messages.append(id, message("mine"), create=True),
    "append-large-here": lambda store, id: store.sessions.messages.append(
        id, message("mine", LARGE), create=True
    ),
    "branch-here": lambda store, id: store.sessions.branches.append_many(id, [message("mine")], create=True),
    "create-here": lambda store, id: store.sessions.create(id, name="mine"),
    "ensure-here": lambda store, id: store.sessions.ensure(id, name="mine"),
    "set-context-here": lambda store, id: store.sessions.context.set(id, LARGE + "y", create=True),
    "stream": lambda store, id: stream(store, id, "mine"),
    "upsert-large-here": lambda store, id: store.sessions.messages.upsert(
        id, message("mine", LARGE), create=True
    ),
}


async def renew_same(store: AsyncMongoStore, id: str) -> None:
    """Make the session anew as it was, and more."""
    await store.sessions.delete(id)
    await prepare(store, id)
    await store.sessions.messages.append(id, message("theirs"))


async def begin_anew(store: AsyncMongoStore, id: str) -> None:
    for name in (id, f"{id}~created"):
        await store.sessions.delete(name)
        messages = [message(n) for n in range(FULL - 1)]
        await store.sessions.messages.append_many(name, messages, create={"participants": ["p", "q"]})


async def append_large(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.messages.append(id, message("theirs", LARGE))


async def pop(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.messages.pop(id)


async def append_turn(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.turns.append(id, "p", Turn(role="user", content="theirs"))


OTHERS: dict[str, Verb] = {
    **retries.OTHERS,
    **{other.__name__: other for other in (renew_same, begin_anew, append_large, pop, append_turn)},
}
# Between the steps of an integration others may act as well.
APART = retries.SEVERAL | {"integrate"}
TRIED = {name: verb for name, verb in {**VERBS, **MINE}.items() if name not in APART}
# Who branches off is told that others have changed the session in between.
BRANCHING = ("append-to-branch", "append-to-begin-branch", "branch-here")
IN_EVERY_RUN = {
    (name, renew_same.__name__)
    for name in (
        *(
            "append-turns",
            "pop",
            "replace-newest",
            "update-in-tail",
            "update-in-segment",
            "upsert",
            "truncate",
        ),
        *("delete-some", "bind", "unbind", "set-context-large", "stream", "append-large-here"),
    )
}
CASES = [
    pytest.param(*case, marks=() if case in IN_EVERY_RUN else pytest.mark.long)
    for case in itertools.product(TRIED, OTHERS)
]


class Between:
    """Lets another client act before the n-th command of what runs in the block.

    Attributes:
        has_come: Whether there were so many commands.
    """

    def __init__(self, number: int, act: Callable[[], Awaitable[None]]) -> None:
        self._number, self._act = number, act
        self.has_come = False

    def __enter__(self) -> Between:
        collection = Connection.collection

        def interposed(connection: Connection, name: str) -> Any:
            found, between = collection(connection, name), _between.get()
            return found if between is None else InterposedCollection(found, between)

        self._patch = mock.patch.object(Connection, "collection", interposed)
        self._patch.start()
        self._token = _between.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _between.reset(self._token)
        self._patch.stop()

    async def pass_by(self) -> None:
        self._number -= 1
        if self._number == 0:
            self.has_come = True

            async def act() -> None:
                await self._act()

            # Not within the verb's own call, nor within the block.
            await asyncio.get_running_loop().create_task(act(), context=Context())


_between: ContextVar[Between | None] = ContextVar("between", default=None)


class InterposedCollection:
    def __init__(self, collection: Any, between: Between) -> None:
        self._collection = collection
        self._between = between

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._collection, name)
        if name == "with_options":
            return lambda **options: InterposedCollection(member(**options), self._between)
        if name not in COMMANDS:
            return member

        async def run(*arguments: Any, **options: Any) -> Any:
            await self._between.pass_by()
            return await member(*arguments, **options)

        return run


class Runs:
    """The runs of a verb and of what another client does, each on a session of its own."""

    def __init__(self, store: AsyncMongoStore, name: str, other: str) -> None:
        self.store, self.client = store, Client(store)
        self.verb, self.act = TRIED[name], OTHERS[other]
        self.name, self.count = name, 0

    async def begin(self) -> str:
        self.count += 1
        id = f"{self.count}-{self.name}"
        await prepare(self.store, id)
        return id

    async def run_verb(self, id: str) -> str:
        try:
            return comparable(plain(await self.verb(self.store, id)), id)
        except (ConflictError, NotFoundError):
            # Which of them comes if others do several things is left open.
            return "refused"
        except MongoStoreError as error:
            return type(error).__name__

    async def run_other(self, id: str) -> None:
        client: Any = self.client
        await attempt(self.act, client, id)

    async def look(self, id: str) -> str:
        return comparable(await state(self.store, id), id)

    async def verb_first(self) -> Outcome:
        id = await self.begin()
        outcome = await self.run_verb(id)
        await attempt(self.act, self.store, id)
        return outcome, await self.look(id)

    async def verb_last(self) -> Outcome:
        # By this client: what it remembers of the session changes as well.
        id = await self.begin()
        await attempt(self.act, self.store, id)
        return await self.run_verb(id), await self.look(id)

    async def other_alone(self) -> str:
        id = await self.begin()
        await self.run_other(id)
        return await self.look(id)

    async def verb_within(self) -> list[Outcome]:
        """Run the verb between the commands of the other client, which makes several calls."""
        found = list[Outcome]()
        for number in itertools.count(1):
            id, outcomes = await self.begin(), list[str]()

            async def run(id: str = id, outcomes: list[str] = outcomes) -> None:
                outcomes.append(await self.run_verb(id))

            with Between(number, run) as between:
                await self.run_other(id)
            if not between.has_come:
                break
            found.append((outcomes[0], await self.look(id)))
        return found


@pytest.mark.parametrize(("name", "other"), CASES)
async def test_a_verb_that_others_break_in_upon_does_what_it_does_before_or_behind_them(
    store: AsyncMongoStore, name: str, other: str
) -> None:
    runs = Runs(store, name, other)
    legal = [await runs.verb_first(), await runs.verb_last()]
    for number in itertools.count(1):
        id = await runs.begin()

        async def act(id: str = id) -> None:
            await runs.run_other(id)

        with Between(number, act) as between:
            outcome = await runs.run_verb(id)
        if not between.has_come:
            break
        found = outcome, await runs.look(id)
        if found not in legal and number > 1:
            legal += await runs.verb_within()
            if name in BRANCHING:
                legal.append(("refused", await runs.other_alone()))
        assert found in legal, f"before command {number}"
        assert not await store.find_leftovers(), f"before command {number}"
