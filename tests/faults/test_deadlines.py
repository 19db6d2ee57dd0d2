"""Whatever keeps a server from answering, every verb ends within the store's timeout and says where."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext, suppress
from signal import SIGCONT, SIGSTOP
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, Lease, Message, MongoStore, Person, Turn, UnavailableError
from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.repositories import Connection, retry_step
from mongostore.repositories.rooms.offsets import Offsets
from mongostore.repositories.sessions.message_patch import MessagePatch
from mongostore.repositories.sessions.message_streams import Growth, MessageStreams
from tests.contract import test_costs, test_keys, test_room_costs, test_thread_costs
from tests.contract.command_log import Case, repositories_of, short_names, verbs_of, wrapped
from tests.faults.conftest import with_options
from tests.faults.deployments import Cluster, cluster
from tests.faults.memory_limits import Limit
from tests.faults.writers import tell as show

pytestmark = pytest.mark.server

TIMEOUT = 1.0
GRACE = 0.25
# By default a store gives up opening a little before this.
OPEN_SECONDS = 5.0
CLOSE_SECONDS = 4.0
AT_ONCE = 100
SLOW_MS = 1500
APP = "deadlines"
COMMANDS = ["find", "insert", "update", "delete", "aggregate", "findAndModify", "getMore", "count"]

Record = Callable[[str, object], None]


async def consumed(items: AsyncIterator[Any]) -> None:
    async with aclosing(items) as opened:  # type: ignore[type-var]
        async for _ in opened:
            pass


GROWTH = Growth("default/s", "m")
PATCH = MessagePatch.from_members("m", {"metadata": {"k": 1}})
ADA = Person(names=["ada"], counts={"sessions": 1})
# What the tables of costs leave out: the second step of what they call, and what has no table.
MORE = [
    Case("watch", 1, lambda s: consumed(s.sessions.messages.watch("s"))),
    Case("watch events", 1, lambda s: consumed(s.events.watch("r"))),
    Case("replace", 1, lambda s: s.sessions.messages.replace_newest("s", ["m"], [])),
    Case("renew", 1, lambda s: s.leases.renew(Lease("l", "o", 1, 60.0))),
    Case("release", 1, lambda s: s.leases.release(Lease("l", "o", 1, 60.0))),
    Case("bind", 1, lambda s: s.sessions.participants.ensure("s", "p")),
    Case("bind anew", 1, lambda s: s.sessions.participants.create("s", "p")),
    Case("get a participant", 1, lambda s: s.sessions.participants.get("s", "p")),
    Case("find a participant", 1, lambda s: s.sessions.participants.find("s", "p")),
    Case("append a turn", 1, lambda s: s.sessions.turns.append("s", "p", Turn(role="user"))),
    Case("count turns", 1, lambda s: s.sessions.turns.count("s", "p")),
    Case("unbind", 1, lambda s: s.sessions.participants.delete("s", "p")),
    Case("list participants", 1, lambda s: s.sessions.participants.list("s")),
    Case("append turns", 1, lambda s: s.sessions.turns.append_many("s", "p", [Turn(role="user")])),
    Case("list turns", 1, lambda s: s.sessions.turns.list("s", "p")),
    Case("iterate over turns", 1, lambda s: consumed(s.sessions.turns.iter("s", "p"))),
    Case("integrate", 1, lambda s: s.sessions.turns.integrate("s", lambda participant, turns: [])),
    Case("get a person", 1, lambda s: s.people.get("ada")),
    Case("find a person", 1, lambda s: s.people.find("ada")),
    Case("export", 1, lambda s: consumed(s.people.export(ADA))),
    Case("erase", 1, lambda s: s.people.erase(ADA)),
    Case("begin a stream", 1, lambda s: s.streams.begin(GROWTH, Message(id="m", role="assistant"), False)),
    Case("flush a stream", 1, lambda s: s.streams.flush(GROWTH, "text")),
    Case("renew a stream", 1, lambda s: s.streams.renew(GROWTH)),
    Case("update a stream", 1, lambda s: s.streams.update(GROWTH, PATCH)),
    Case("end a stream", 1, lambda s: s.streams.end(GROWTH, "text", "complete", PATCH)),
    Case("prune", 1, lambda s: s.retention.prune()),
]
# Those that watch also write beside it, and what comes late waits for what was before it.
LEFT_OUT = {"watch", "late"}


class Outcome(NamedTuple):
    """How a call of a verb ended."""

    verb: tuple[str, str]
    in_time: bool
    seconds: float
    error: BaseException | None


class Timed:
    """Passes calls on to a repository, and notes how each of them ends."""

    token: str
    cursor: str | None
    key_id: str

    def __init__(self, kind: str, repository: Any, outcomes: list[Outcome]) -> None:
        self._kind = kind
        self._repository = repository
        self._outcomes = outcomes

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._repository, name)
        if inspect.isasyncgenfunction(member):
            return lambda *args, **kwargs: self._items(name, member(*args, **kwargs))
        if inspect.iscoroutinefunction(member):
            return lambda *args, **kwargs: self._call(name, member(*args, **kwargs))
        return member

    async def _call(self, name: str, work: Awaitable[Any]) -> Any:
        limit, ended = Limit(TIMEOUT + GRACE), None
        try:
            return await work
        except BaseException as error:
            ended = error
            raise
        finally:
            self._outcomes.append(Outcome((self._kind, name), *limit.stop(), ended))

    async def _items(self, name: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async with aclosing(items) as opened:  # type: ignore[type-var]
            while True:
                try:
                    yield await self._call(name, anext(opened))
                except StopAsyncIteration:
                    return


def calls(timed: dict[str, Timed]) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Yield a call for each case of each table."""
    of_all = SimpleNamespace(**short_names(timed), ada="u" * 32)
    of_keys = timed["keys"]
    of_keys.token, of_keys.cursor, of_keys.key_id = f"mgs_{'0' * 32}_{'A' * 43}", None, "k" * 32
    tables: list[tuple[str, Iterable[Case], Any]] = [
        ("sessions", test_costs.CASES, timed["sessions"]),
        ("rooms", test_room_costs.CASES, of_all),
        ("threads", test_thread_costs.CASES, of_all),
        ("keys", test_keys.CASES, of_keys),
        ("more", MORE, of_all),
    ]
    for name, cases, of in tables:
        for case in cases:
            if case.most and (name == "more" or not {*case.claim.split()} & LEFT_OUT):
                yield f"{name}: {case.claim}", lambda case=case, of=of: case.call(of)


def called_in(outcomes: list[Outcome], kinds: Iterable[str]) -> dict[str, set[str]]:
    return {kind: {verb for of, verb in (one.verb for one in outcomes) if of == kind} for kind in kinds}


async def check_every_verb(store: AsyncMongoStore, *words: str, mostly: str = "") -> float:
    """Call every verb, check that each ends in time and says where and why, and return the longest time.

    Args:
        store: The store.
        words: Of which each error has one.
        mostly: What many of them say; of a call that waited behind another one nothing is known but the time.
    """
    outcomes, of_store = list[Outcome](), repositories_of(store)
    # What no member of the store holds.
    inner = {"offsets": Offsets.of(store.rooms), "streams": MessageStreams(store.sessions._storage)}
    timed = wrapped(store, lambda kind, repository: Timed(kind, repository, outcomes))
    timed |= {kind: Timed(kind, repository, outcomes) for kind, repository in inner.items()}
    of_store |= inner
    turns = asyncio.Semaphore(AT_ONCE)

    async def call(claim: str, work: Callable[[], Awaitable[object]]) -> None:
        async with turns:
            with pytest.raises(UnavailableError):
                await work()

    await asyncio.gather(*(call(claim, work) for claim, work in calls(timed)))
    verbs = {kind: verbs_of(type(repository)) for kind, repository in of_store.items()}
    # Of many at once the first error is told, and the others end by themselves.
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT + GRACE):
            while called_in(outcomes, verbs) != verbs:
                await asyncio.sleep(0.05)
    for outcome in outcomes:
        assert type(outcome.error) is UnavailableError, outcome
        assert store.engine.address in str(outcome.error), outcome
        assert [word for word in words if word in str(outcome.error)], outcome
        assert outcome.error.__cause__ is None
        assert outcome.in_time, outcome
    assert sum(mostly in str(outcome.error) for outcome in outcomes) > len(outcomes) / 3
    assert called_in(outcomes, verbs) == verbs, "a verb without a case"
    return max(outcome.seconds for outcome in outcomes)


@pytest.fixture(scope="module")
def alone(mongod_binary: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A replica set of one member."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("alone"), members=1) as started:
        yield started


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", str(TIMEOUT))


@pytest.fixture
async def record_seconds(record_property: Record, request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Record the longest call beyond its deadline."""

    def tell(seconds: float) -> None:
        figures = {"the longest call, s": round(seconds, 3)}
        show(record_property, f"deadlines: {request.node.name}", figures)

    return tell


@asynccontextmanager
async def faulty(uri: str, **how: Any) -> AsyncIterator[None]:
    """Have the server do this with the commands of our verbs."""
    data = {"failCommands": COMMANDS, "appName": APP, **how}
    async with AsyncMongoClient[dict[str, Any]](uri) as admin:
        await admin.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})
        try:
            yield
        finally:
            await admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


async def test_a_silent_server_is_given_less_time_for_its_next_answers() -> None:
    sent, silence, after = list[float](), iter([True] * 4 + [False] * 3), iter(range(8))

    class Silent(EmbeddedEngine):
        def deadline(self, seconds: float) -> AbstractContextManager[object]:
            sent.append(seconds)
            return nullcontext()

        async def recover(self) -> bool:
            return not next(silence)

    async def answer() -> bool:
        if next(after) < 7:
            raise UnavailableError("no answer in time")
        return True

    connection = Connection(Silent("", "silent"), timeout=60.0)
    connection.attach()
    sent.clear()
    assert await retry_step(connection, answer)
    # The last three attempts are made at a server that has said something since: what is slow there may take
    # all the time that is left.
    assert sent == pytest.approx([9, 3, 6, 9, 9, 60, 60, 60], abs=5)


async def test_a_slow_server(alone: Cluster, record_seconds: Callable[[float], None]) -> None:
    uri = with_options(alone.uri_of(), appName=APP, maxPoolSize=200)
    slow = {"blockConnection": True, "blockTimeMS": SLOW_MS}
    async with AsyncMongoStore(uri, "slow") as store, faulty(alone.uri_of(), **slow):
        record_seconds(await check_every_verb(store, "no answer in time"))


async def test_a_server_that_stands_still(alone: Cluster, record_seconds: Callable[[float], None]) -> None:
    [member] = alone.members
    async with AsyncMongoStore(with_options(alone.uri_of(), maxPoolSize=200), "still") as store:
        member.send(SIGSTOP)
        try:
            record_seconds(await check_every_verb(store, "no answer in time"))
            for ask in (store.describe, store.usage, store.check_indexes):
                limit = Limit(TIMEOUT + GRACE)
                with pytest.raises(UnavailableError, match="no answer in time"):
                    await ask()
                limit.check()
        finally:
            member.send(SIGCONT)


async def test_a_full_pool(alone: Cluster, record_seconds: Callable[[float], None]) -> None:
    async with AsyncMongoStore(with_options(alone.uri_of(), maxPoolSize=1), "full") as store:
        sleep = {"sleep": 1, "lock": "none", "secs": 60}
        occupying = asyncio.create_task(store.engine.database.client.admin.command(sleep))
        try:
            await asyncio.sleep(0.1)
            record_seconds(await check_every_verb(store, "no answer in time", mostly="maxPoolSize"))
        finally:
            occupying.cancel()
            await asyncio.gather(occupying, return_exceptions=True)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[[], object]]]:
    """What looking up the name `localhost` does beside giving its address, under `look_up`."""
    look_up, done = socket.getaddrinfo, {"look_up": lambda: None}

    def looked_up(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "localhost":
            done["look_up"]()
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    yield done
    done["look_up"] = lambda: None


def unknown() -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_names_that_cannot_be_looked_up_any_more(
    alone: Cluster, record_seconds: Callable[[float], None], names: dict[str, Callable[[], object]]
) -> None:
    [member] = alone.members
    uri = f"mongodb://localhost:{member.port}/?directConnection=true&appName={APP}&maxPoolSize=200"
    async with AsyncMongoStore(uri, "names") as store:
        names["look_up"] = unknown
        async with faulty(alone.uri_of(), closeConnection=True):
            words = "no answer in time", "the connection was lost"
            record_seconds(await check_every_verb(store, *words, mostly="no server to ask"))
        names["look_up"] = lambda: None
        await comes_back(store)


async def test_names_that_nobody_looks_up_any_more(
    alone: Cluster, record_seconds: Callable[[float], None], names: dict[str, Callable[[], object]]
) -> None:
    [member], over = alone.members, Flag()
    uri = f"mongodb://localhost:{member.port}/?directConnection=true&appName={APP}&maxPoolSize=200"
    async with AsyncMongoStore(uri, "unanswered") as store:
        names["look_up"] = over.wait
        try:
            async with faulty(alone.uri_of(), closeConnection=True):
                words = "no answer in time", "the connection was lost"
                record_seconds(await check_every_verb(store, *words, mostly="no server to ask"))
        finally:
            over.set()
        await comes_back(store)


async def comes_back(store: AsyncMongoStore) -> None:
    """Check that the store works again, as soon as its driver looks for the server once more."""
    ends = time.monotonic() + 30
    while True:
        try:
            assert not await store.sessions.exists("s")
        except UnavailableError:
            assert time.monotonic() < ends
        else:
            return


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds within which a store that cannot be opened says so here, fewer than by default."""
    monkeypatch.setattr("mongostore.engines.mongo.OPEN_SECONDS", 1.0)
    return 1.5


async def refused_in_time(uri: str, *words: str, within: float = OPEN_SECONDS) -> float:
    """Check that a store does not open, says why in time, and leaves nothing that lasts."""
    limit = Limit(within)
    with pytest.raises(UnavailableError) as caught:
        async with AsyncMongoStore(uri, "refused"):
            pass
    seconds = limit.check()
    for word in words:
        assert word in str(caught.value)
    return seconds


async def test_a_first_connection_to_a_server_that_stands_still(
    alone: Cluster, record_seconds: Callable[[float], None]
) -> None:
    [member] = alone.members
    member.send(SIGSTOP)
    try:
        record_seconds(await refused_in_time(alone.uri_of(), member.address, "does not answer"))
    finally:
        member.send(SIGCONT)


async def test_a_first_connection_to_a_server_that_says_who_it_is_and_nothing_more(
    alone: Cluster, record_seconds: Callable[[float], None], soon: float
) -> None:
    uri, silent = with_options(alone.uri_of(), appName=APP), {"blockConnection": True, "blockTimeMS": 2500}
    # Its first commands look for what is there and ask what the deployment can do.
    commands = ["ping", "find", "aggregate", "insert", "killSessions", "listCollections", "listIndexes"]
    async with faulty(alone.uri_of(), failCommands=commands, **silent):
        record_seconds(await refused_in_time(uri, alone.members[0].address, "does not answer", within=soon))


async def test_a_first_connection_to_a_name_that_is_not_known(
    alone: Cluster,
    record_seconds: Callable[[float], None],
    names: dict[str, Callable[[], object]],
    soon: float,
) -> None:
    names["look_up"] = unknown
    uri = f"mongodb://localhost:{alone.members[0].port}"
    record_seconds(await refused_in_time(uri, "no such host", within=soon))


async def test_a_first_connection_while_nobody_looks_up_names(
    alone: Cluster,
    record_seconds: Callable[[float], None],
    names: dict[str, Callable[[], object]],
    soon: float,
) -> None:
    over = Flag()
    names["look_up"] = over.wait
    try:
        uri = f"mongodb://localhost:{alone.members[0].port}"
        record_seconds(await refused_in_time(uri, "does not answer", within=soon))
    finally:
        over.set()


async def test_a_store_closes_though_the_server_stands_still(alone: Cluster) -> None:
    [member] = alone.members
    store, blocking = AsyncMongoStore(alone.uri_of(), "closes"), MongoStore(alone.uri_of(), "closes")
    await store.open()
    blocking.open()
    await store.rooms.create("r")
    blocking.sessions.create("s")
    member.send(SIGSTOP)
    try:
        # One in the middle of a transaction, too.
        committing = asyncio.create_task(store.rooms.events.append("r", Event(channel_id="c")))
        await asyncio.sleep(0.1)
        limit = Limit(CLOSE_SECONDS)
        await asyncio.gather(store.close(), asyncio.to_thread(blocking.close))
        limit.check()
        await asyncio.gather(committing, return_exceptions=True)
    finally:
        member.send(SIGCONT)


async def test_a_blocking_call_ends_in_time_too(alone: Cluster) -> None:
    [member] = alone.members
    with MongoStore(alone.uri_of(), "blocking") as store:
        member.send(SIGSTOP)
        try:
            limit = Limit(TIMEOUT + GRACE)
            with pytest.raises(UnavailableError, match="no answer in time"):
                await asyncio.to_thread(store.sessions.messages.append, "s", Message(role="user"))
            limit.check()
        finally:
            member.send(SIGCONT)
