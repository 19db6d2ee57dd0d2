"""What each verb needs to be allowed, on a server that speaks TLS alone and wants a login."""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent

from mongostore import AccessDeniedError, AsyncMongoStore, Message, MongoStoreError
from mongostore.repositories.rooms.offsets import Offsets
from tests.contract import test_costs, test_keys, test_participant_costs, test_room_costs, test_thread_costs
from tests.contract.command_log import (
    Case,
    CommandLog,
    Sent,
    Verbs,
    logged_store,
    short_names,
    verbs_of,
    wrapped,
)
from tests.faults.deployments import Cluster, with_options

pytestmark = pytest.mark.server

UNAUTHORIZED = 13
CRUD = ("find", "insert", "update", "remove")
TRANSACTION = {"commitTransaction", "abortTransaction"}
READING = {"find", "aggregate", "count", "distinct", "getMore", "killCursors", *TRANSACTION}
WRITING = {"insert", "update", "delete", "findAndModify"}
# What anybody may say, to log in and out and to ask what is there for oneself.
OPENING = {
    "hello",
    "ping",
    "buildInfo",
    "saslStart",
    "saslContinue",
    "endSessions",
    "listCollections",
    "killSessions",
}
COMMANDS = {
    "reader": READING | OPENING,
    "crud": READING | WRITING | OPENING,
    "owner": READING | WRITING | OPENING | {"listIndexes", "createIndexes"},
}
# A change stream needs the right changeStream, which those who may only find have not.
WATCHING = {"watch", "events: watch", "events: watch the last"}

Verbed = dict[str, Verbs]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Cases that call every verb of some repositories.

    Attributes:
        cases: In this order, on one database.
        populate: Makes what they need to be there; its result goes to the subject.
        subject: What the cases are called with.
        is_long: Whether that takes long.
    """

    cases: list[Case]
    populate: Callable[[AsyncMongoStore], Awaitable[Facts | None]]
    subject: Callable[[Verbed, Facts], Any]
    is_long: bool = True


async def rooms(store: AsyncMongoStore) -> None:
    # Few of them: here nobody counts what is examined.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_room_costs, "EVENTS", 800)
        await test_room_costs.populate(store)


async def threads(store: AsyncMongoStore) -> Facts:
    await test_thread_costs.populate(store)
    ada = await store.threads.users.find_by_identifier("ada")
    assert ada
    return {"ada": ada.id}


async def keys(store: AsyncMongoStore) -> Facts:
    for number in range(20):
        key = await store.keys.create(name=f"{number}")
        token = key.token
    return {"token": token, "key_id": key.id, "cursor": (await store.keys.list(limit=10)).next_cursor}


def sessions(verbs: Verbed, facts: Facts) -> Any:
    return verbs["sessions"]


def several(verbs: Verbed, facts: Facts) -> Any:
    return SimpleNamespace(**short_names(verbs), **facts)


def of_keys(verbs: Verbed, facts: Facts) -> Any:
    vars(verbs["keys"]).update(facts)
    return verbs["keys"]


async def people(store: AsyncMongoStore) -> Facts:
    await store.sessions.create("s1", user_id="ada")
    await store.sessions.messages.append("s1", Message(role="user", content="x"))
    await store.sessions.create("s2", expires_in=timedelta(milliseconds=1))
    return {"ada": await store.people.get("ada")}


async def export(s: Any) -> None:
    async for _ in s.people.export(s.ada):
        pass


OF_PEOPLE = [
    Case("people: find", 100, lambda s: s.people.find("ada")),
    Case("people: get", 100, lambda s: s.people.get("ada")),
    Case("people: export", 100, export),
    Case("people: erase", 200, lambda s: s.people.erase(s.ada)),
    Case("retention: prune", 100, lambda s: s.retention.prune()),
]
TABLES = {
    "sessions": Table(test_costs.CASES, test_costs.populate, sessions),
    "participants": Table(test_participant_costs.CASES, test_participant_costs.populate, sessions),
    "rooms": Table(test_room_costs.CASES, rooms, several),
    "threads": Table(test_thread_costs.CASES, threads, several),
    "keys": Table(test_keys.CASES, keys, of_keys, is_long=False),
    "people": Table(OF_PEOPLE, people, several, is_long=False),
}


def markers(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.long] if TABLES[name].is_long else []


each_table = pytest.mark.parametrize("table", [pytest.param(name, marks=markers(name)) for name in TABLES])
each_case = pytest.mark.parametrize(
    ("table", "claim"),
    [
        pytest.param(name, case.claim, marks=markers(name), id=f"{name}-{case.claim}")
        for name, table in TABLES.items()
        for case in table.cases
    ],
)


class Heard(CommandLog):
    """Notes also which commands a server refuses for want of a right."""

    def __init__(self) -> None:
        super().__init__()
        self.denied: list[str] = []

    def failed(self, event: CommandFailedEvent) -> None:
        if event.failure.get("code") == UNAUTHORIZED:
            self.denied.append(event.command_name)


@dataclass
class Outcome:
    """What became of a case.

    Attributes:
        written: What the server has noted as written.
    """

    error: MongoStoreError | None
    sent: list[Sent]
    denied: list[str]
    written: list[Any]

    @property
    def names(self) -> set[str]:
        """The names of the commands that were sent."""
        return {sent.name for sent in self.sent}


@dataclass
class User:
    """A store opened by somebody, with what it says to the server."""

    store: AsyncMongoStore
    heard: Heard
    database: str
    facts: Facts
    opening: set[str] = field(default_factory=set)
    verbs: Verbed = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.opening = {sent.name for sent in self.heard.sent}
        self.verbs = wrapped(self.store, lambda _, repository: Verbs(repository))
        self.verbs["offsets"] = Verbs(Offsets.of(self.store.rooms))

    async def outcome(self, case: Case, subject: Any, admin: MongoClient[dict[str, Any]]) -> Outcome:
        self.heard.sent, self.heard.denied, error = [], [], None
        log = admin.local["oplog.rs"]
        [last] = log.find().sort("$natural", -1).limit(1)
        try:
            await case.call(subject)
        except MongoStoreError as raised:
            error = raised
        own = {"$regex": f"^{self.database}\\."}
        where = {"ts": {"$gt": last["ts"]}, "$or": [{"ns": own}, {"o.applyOps.ns": own}]}
        return Outcome(error, self.heard.sent, self.heard.denied, list(log.find(where)))


@dataclass
class Seen:
    """What became of the cases of a table, by user and claim."""

    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    opening: dict[str, set[str]] = field(default_factory=dict)
    called: dict[str, set[str]] = field(default_factory=dict)
    offered: dict[str, set[str]] = field(default_factory=dict)


Tables = Callable[[str], Seen]


@asynccontextmanager
async def opened(uri: str, database: str, facts: Facts) -> AsyncIterator[User]:
    async with logged_store(uri, database, heard := Heard()) as store:
        yield User(store, heard, database, facts)


def copied(admin: MongoClient[dict[str, Any]], database: str) -> str:
    """Copy the documents of a database into another one and return its name."""
    copy = f"{database}_copy"
    for name in admin[database].list_collection_names():
        admin[database][name].aggregate([{"$out": {"db": copy, "coll": name}}])
    return copy


async def observe(name: str, guarded: Cluster, admin: MongoClient[dict[str, Any]]) -> Seen:
    """Have each case called by each user, by the reader before others change what the next case finds."""
    database, table, seen = f"privileges_{name}", TABLES[name], Seen()
    rights = [{"role": "readWrite", "db": each} for each in (database, f"{database}_copy")]
    uris = {"owner": guarded.add_user(f"{name}-owner", *rights)}
    uris["reader"] = guarded.add_user(f"{name}-reader", {"role": "read", "db": database})
    guarded.add_role(f"{name}-crud", f"{database}_copy", *CRUD)
    uris["crud"] = guarded.add_user(f"{name}-crud", f"{name}-crud")

    async with AsyncMongoStore(with_options(uris["owner"], w=1), database) as store:
        facts = await table.populate(store) or {}
    async with AsyncMongoStore(uris["owner"], copied(admin, database)):
        pass  # Its indexes are made.
    async with AsyncExitStack() as stack:
        users = {"owner": await stack.enter_async_context(opened(uris["owner"], database, facts))}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MONGOSTORE_ENSURE_INDEXES", "false")
            for role, where in (("reader", database), ("crud", f"{database}_copy")):
                users[role] = await stack.enter_async_context(opened(uris[role], where, facts))
        subjects = {role: table.subject(user.verbs, facts) for role, user in users.items()}
        for case in table.cases:
            for role in ("reader", "owner", "crud"):
                if role == "owner" or case.claim not in WATCHING:
                    outcome = await users[role].outcome(case, subjects[role], admin)
                    seen.outcomes[role, case.claim] = outcome
        for role, user in users.items():
            seen.opening[role] = user.opening
        for kind, verbs in users["owner"].verbs.items():
            seen.called[kind] = verbs.names
            seen.offered[kind] = verbs_of(type(verbs.repository))
    return seen


@pytest.fixture(scope="module")
def seen(guarded: Cluster) -> Iterator[Tables]:
    """What became of the cases of a table, which are called when they are first asked about."""
    with MongoClient[dict[str, Any]](guarded.admin_uri) as admin:
        # What expires is not written by any of the users.
        admin.admin.command({"setParameter": 1, "ttlMonitorEnabled": False})
        yield functools.cache(lambda name: asyncio.run(observe(name, guarded, admin)))


@pytest.mark.long
def test_the_cases_call_every_verb(seen: Tables) -> None:
    called, offered = defaultdict[str, set[str]](set), dict[str, set[str]]()
    for one in map(seen, TABLES):
        offered |= one.offered
        for kind, verbs in one.called.items():
            called[kind] |= verbs
    assert {kind: called[kind] & verbs for kind, verbs in offered.items()} == offered


@each_case
def test_who_may_read_and_write_the_database_may_call_every_verb(
    seen: Tables, table: str, claim: str
) -> None:
    outcome = seen(table).outcomes["owner", claim]
    assert outcome.error is None
    assert outcome.denied == []


@each_case
def test_finding_inserting_updating_and_removing_suffices_for_all_but_watching(
    seen: Tables, table: str, claim: str
) -> None:
    if claim not in WATCHING:
        outcome = seen(table).outcomes["crud", claim]
        assert outcome.error is None
        assert outcome.denied == []


@each_case
def test_a_reader_reads_everything_and_may_write_nothing(seen: Tables, table: str, claim: str) -> None:
    if claim in WATCHING:
        return
    outcomes = seen(table).outcomes
    outcome = outcomes["reader", claim]
    assert outcome.written == []
    # Who has called other cases before may know without trying that there is nothing to write.
    if (outcome.names | outcomes["owner", claim].names) & WRITING:
        assert type(outcome.error) is AccessDeniedError
        assert "lacks a right" in str(outcome.error)
    else:
        assert outcome.error is None
        assert outcome.denied == []


@each_table
@pytest.mark.parametrize("role", COMMANDS)
def test_no_command_is_sent_that_the_role_does_not_allow(seen: Tables, table: str, role: str) -> None:
    outcomes, opening = seen(table).outcomes, seen(table).opening[role]
    sent = [outcome for (user, _), outcome in outcomes.items() if user == role and not outcome.error]
    assert opening.union(*(outcome.names for outcome in sent)) <= COMMANDS[role]


async def test_watching_is_refused_to_whoever_has_no_right_to_it(guarded: Cluster) -> None:
    guarded.add_role("finder", "privileges_watching", *CRUD)
    crud = guarded.add_user("finder", "finder")
    owner = guarded.add_user("watcher", {"role": "readWrite", "db": "privileges_watching"})
    async with AsyncMongoStore(owner, "privileges_watching") as store:
        await store.sessions.create("s")
        await store.rooms.create("r")
    async with AsyncMongoStore(crud, "privileges_watching", ensure_indexes=False) as store:
        for changes in (store.sessions.messages.watch("s"), store.rooms.events.watch("r")):
            with pytest.raises(AccessDeniedError, match=r"lacks a right \(changeStream\): give it the role"):
                await anext(changes)


@pytest.mark.parametrize("watcher", ["reader", "owner"])
async def test_whoever_may_read_may_watch(guarded: Cluster, watcher: str) -> None:
    database = f"privileges_{watcher}_watches"
    rights = {"reader": "read", "owner": "readWrite"}
    owner = guarded.add_user(f"{database}_owner", {"role": "readWrite", "db": database})
    uri = guarded.add_user(f"{database}_watcher", {"role": rights[watcher], "db": database})
    async with (
        AsyncMongoStore(owner, database) as writing,
        AsyncMongoStore(uri, database, ensure_indexes=False) as store,
        aclosing(store.sessions.messages.watch("s")) as changes,
    ):
        await writing.sessions.create("s")
        first = asyncio.ensure_future(anext(changes))
        while not (await asyncio.wait([first], timeout=0.3))[0]:
            await writing.sessions.messages.append("s", Message(role="user"))
        assert (await first).kind == "append"


# What an operator asks about a deployment, and who is told.
ASKED = {
    "check_indexes": {"owner", "reader"},
    "apply_indexes": {"owner", "reader"},
    "describe": {"owner", "reader", "crud"},
    "usage": {"owner", "reader"},
}


@pytest.mark.parametrize("question", ASKED)
async def test_an_operators_questions(guarded: Cluster, question: str) -> None:
    database = f"privileges_{question}"
    guarded.add_role(f"crud_{question}", database, *CRUD)
    roles = {"owner": {"role": "readWrite", "db": database}, "reader": {"role": "read", "db": database}}
    for name, role in {**roles, "crud": f"crud_{question}"}.items():
        uri = guarded.add_user(f"{name}_{question}", role)
        async with AsyncMongoStore(uri, database, ensure_indexes=name == "owner") as store:
            if name in ASKED[question]:
                assert await getattr(store, question)()
            else:
                with pytest.raises(AccessDeniedError, match="lacks a right"):
                    await getattr(store, question)()
