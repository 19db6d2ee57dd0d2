"""A verb whose answer is lost acts once, whatever another client does before it is tried again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from pymongo.errors import AutoReconnect

from mongostore import AsyncMongoStore, MongoStoreError, Turn
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.connection import Connection
from mongostore.repositories.sessions import AsyncSessions, SessionStorage, Tail, TailLimits
from tests.faults.test_unknown_outcomes import (
    FULL,
    KEEP,
    LIMITS,
    SEVERAL,
    VERBS,
    left,
    message,
    plain,
    prepare,
)

Verb = Callable[[AsyncMongoStore, str], Awaitable[Any]]
Snapshot = tuple[Any, Any]
WRITES = {
    "insert_one",
    "insert_many",
    "update_one",
    "update_many",
    "update_each",
    "replace_one",
    "find_one_and_update",
    "find_one_and_delete",
    "find_and_modify",
    "delete_one",
    "delete_many",
}
# So many writes of a verb are lost, one in each run.
LOST_WRITES = 12


@pytest.fixture
def tail_limits() -> TailLimits:
    return LIMITS


@pytest.fixture(
    params=["embedded", pytest.param("server", marks=[pytest.mark.server, pytest.mark.long])],
)
def store_uri(request: pytest.FixtureRequest) -> str:
    """The URI of each engine in turn."""
    if request.param == "embedded":
        return f"mongomock://{uuid4().hex}"
    return str(request.getfixturevalue("server_uri"))


async def delete_and_append(store: AsyncMongoStore, id: str) -> None:
    """Put other messages under the ids of those that are deleted, and delete one more."""
    deleted = ["m3", f"m{FULL}", f"m{FULL + KEEP - 2}", "mlarge", "mnew"]
    await store.sessions.messages.delete_many(id, deleted)
    await store.sessions.messages.append_many(id, [message(n[1:], "anew") for n in deleted])
    await store.sessions.messages.delete(id, "m1")


async def update_messages(store: AsyncMongoStore, id: str) -> None:
    """Change what the verbs change, unless it is not there."""
    for name in ("m3", f"m{FULL}", f"m{FULL + KEEP - 2}", "mlarge", "mnew"):
        if await store.sessions.messages.exists(id, name):
            await store.sessions.messages.update(id, name, content="theirs", metadata={"a.b": 2})


async def rebind(store: AsyncMongoStore, id: str) -> None:
    for name in ("new", "p"):
        if await store.sessions.participants.delete(id, name):
            await store.sessions.participants.ensure(id, name)
            await store.sessions.turns.append(id, name, Turn(role="user", content="theirs"))


async def unbind(store: AsyncMongoStore, id: str) -> None:
    for name in ("new", "p", "q"):
        await store.sessions.participants.delete(id, name)


async def truncate(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.truncate(id)
    await store.sessions.messages.append(id, message("theirs"))


async def truncate_messages(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.messages.truncate(id)
    await store.sessions.messages.append(id, message("theirs"))


async def change_head(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.update(id, name="theirs", metadata={"a": 2})
    await store.sessions.context.set(id, ["theirs"])


async def toggle(store: AsyncMongoStore, id: str) -> None:
    """Delete what is open, or bring back what is deleted."""
    if not await store.sessions.soft_delete(id):
        await store.sessions.undelete(id)


async def renew(store: AsyncMongoStore, id: str) -> None:
    for name in (id, f"{id}~created"):
        await store.sessions.delete(name)
        await store.sessions.create(name, name="theirs", participants=["p"])
        await store.sessions.messages.append(name, message("theirs"))


async def delete(store: AsyncMongoStore, id: str) -> None:
    for name in (id, f"{id}~created"):
        await store.sessions.delete(name)


async def renew_deleted(store: AsyncMongoStore, id: str) -> None:
    await store.sessions.delete(id)
    await store.sessions.create(id, name="theirs")
    await store.sessions.context.set(id, ["theirs"])
    await store.sessions.soft_delete(id)


OTHERS: dict[str, Verb] = {
    other.__name__: other
    for other in (
        *(delete_and_append, update_messages, rebind, unbind, truncate, truncate_messages, change_head),
        *(toggle, delete, renew, renew_deleted),
    )
}
MOST_CHANGING = ("delete_and_append", "renew")
ONCE = [name for name in VERBS if name not in SEVERAL]
# In every run each verb meets one of those that change most, and its neighbour in the table the other one.
IN_EVERY_RUN = {*zip(ONCE, itertools.cycle(MOST_CHANGING), strict=False)}
CASES = [
    pytest.param(name, "embedded", other, marks=() if (name, other) in IN_EVERY_RUN else pytest.mark.long)
    for name, other in itertools.product(ONCE, OTHERS)
]
# The embedded engine is compared with a server by tests of its own.
CASES += [
    pytest.param(name, "server", other, marks=[pytest.mark.server, pytest.mark.long])
    for name, other in itertools.product(ONCE, MOST_CHANGING)
]
# It may begin its session, and so it means any one of that id: in one made anew it does what a call made
# later would do.
BEGINNING = ("append-to-begin", "upsert-begin", "set-context-to-begin", "set-large-context-to-begin")
MEANS_ANY = {*itertools.product(BEGINNING, ("delete", "renew"))}


class Client:
    """Another client of the same data, with a memory of its own of where it lies."""

    def __init__(self, store: AsyncMongoStore) -> None:
        connection = Connection(store.engine, 20.0)
        connection.attach()
        self.sessions = AsyncSessions(
            SessionStorage(connection, Tail(connection, LIMITS)), ChangeFeed(connection)
        )


class LossyCollection:
    """A collection that carries out the n-th write and loses the answer, after which another client acts.

    A write of a transaction gets its answer: what may be lost is that to the commit.
    """

    def __init__(self, collection: Any, loss: Loss, in_transaction: ContextVar[bool] | None = None) -> None:
        self._collection = collection
        self._loss = loss
        self._in_transaction = in_transaction

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._collection, name)
        if name == "with_options":
            return lambda **options: LossyCollection(member(**options), self._loss, self._in_transaction)
        if name not in WRITES:
            return member

        async def write(*arguments: Any, **options: Any) -> Any:
            result = await member(*arguments, **options)
            if self._in_transaction is None or not self._in_transaction.get():
                await self._loss.happen()
            return result

        return write


class Loss:
    """What happens after the n-th write of a verb.

    Attributes:
        is_visible: Whether the verb's effect could be seen then.
        has_happened: Whether there were so many writes.
    """

    def __init__(self, number: int, act: Callable[[], Awaitable[None]], look: Callable[[], Awaitable[Any]]):
        self._number, self._act, self._look = number, act, look
        self._before: Any = None
        self.is_visible = self.has_happened = False

    async def begin(self) -> None:
        self._before = await self._look()

    async def happen(self) -> None:
        self._number -= 1
        if self._number == 0:
            self.has_happened = True

            async def interfere() -> None:
                self.is_visible = await self._look() != self._before
                await self._act()

            # Not within the verb's own call.
            await asyncio.get_running_loop().create_task(interfere(), context=Context())
            raise AutoReconnect("the answer was lost")


async def state(store: AsyncMongoStore, id: str) -> Any:
    """Return what can be seen of a session, deleted or not."""
    listed = [one async for one in store.sessions.iter(deleted=None) if one.id.startswith(id)]
    return [plain(one) for one in listed], await left(store, id)


async def everything(store: AsyncMongoStore, id: str) -> Any:
    """Return what there is of a session, also what comes back with it when its deletion is taken back."""
    seen, turns = await state(store, id), list[Any]()
    for name in (id, f"{id}~created"):
        with suppress(MongoStoreError):
            await store.sessions.undelete(name)
        session = await store.sessions.find(name)
        for participant in session.participants if session else ():
            turns.append([plain(one) async for one in store.sessions.turns.iter(name, participant.id)])
    return seen, await left(store, id), turns


async def integrate_around(act: Verb, store: AsyncMongoStore, id: str) -> None:
    """Integrate as `integrate` does, with what others do meanwhile."""
    has_acted = False

    async def insights_of(participant: str, turns: Sequence[Turn]) -> list[Any]:
        nonlocal has_acted
        if not has_acted:
            has_acted = True
            await attempt(act, store, id)
        return [f"{participant} {turn.number}" for turn in turns]

    await store.sessions.turns.integrate(id, insights_of)


async def attempt(verb: Verb, store: AsyncMongoStore, id: str) -> None:
    with suppress(MongoStoreError):
        await verb(store, id)


def comparable(found: Any, id: str) -> str:
    return repr(found).replace(id, "ID")


@pytest.mark.parametrize(("name", "store_uri", "other"), CASES, indirect=["store_uri"])
async def test_a_lost_answer_makes_a_verb_act_once_beside_another_client(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    verb, act = VERBS[name], OTHERS[other]
    client: Any = Client(store)
    orders = {}
    for order, steps in {"before": [verb, act], "behind": [act, verb]}.items():
        id = f"{order}-{name}"
        await prepare(store, id)
        for step in steps:
            await attempt(step, store, id)
        orders[order] = comparable(await everything(store, id), id)
    if name == "integrate":
        # Others may also act between the reading of a participant's turns and the storing of its insights.
        id = f"between-{name}"
        await prepare(store, id)
        await attempt(partial(integrate_around, act), store, id)
        orders["between"] = comparable(await everything(store, id), id)
    happened = 0
    for number in range(1, LOST_WRITES + 1):
        id = f"{number}-{name}"
        await prepare(store, id)
        loss = Loss(number, lambda: attempt(act, client, id), lambda: state(client, id))  # noqa: B023
        await loss.begin()
        with monkeypatch.context() as patch:
            collection = Connection.collection

            def lossy(self: Connection, name: str, collection: Any = collection) -> Any:
                found = collection(self, name)
                return LossyCollection(found, loss) if asyncio.current_task() is task else found  # noqa: B023

            patch.setattr(Connection, "collection", lossy)
            patch.setattr("mongostore.repositories.retry.random.uniform", lambda *_: 0.01)
            task = asyncio.create_task(attempt(verb, store, id))
            await task
        if not loss.has_happened:
            break
        happened += 1
        means_any = (name, other) in MEANS_ANY
        legal = [orders["before"]] if loss.is_visible and not means_any else [*orders.values()]
        assert comparable(await everything(store, id), id) in legal, f"after write {number}"
    assert happened or name in ("bind-again",)
