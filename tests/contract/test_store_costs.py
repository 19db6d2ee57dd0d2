"""What keys, people and retention cost on a real server, counted and explained; no repository is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from mongostore import AsyncMongoStore, Event, Message, Person, RoomParticipant
from tests.contract import (
    sharding,
    test_costs,
    test_participant_costs,
    test_room_costs,
    test_thread_costs,
)
from tests.contract.command_log import (
    Case,
    CommandLog,
    Observed,
    Verbs,
    is_beyond,
    logged_store,
    repositories_of,
    verbs_of,
    wrapped,
)

pytestmark = pytest.mark.server

KINDS = ("keys", "people", "retention")
# Many times what belongs to the one person.
OTHERS = 120


async def make_person(store: AsyncMongoStore, name: str) -> None:
    await store.threads.users.create(f"{name}@example.com", user_id=name)
    await store.sessions.create(name, user_id=name, participants=[name])
    await store.sessions.messages.append(name, Message(role="user"))
    await store.threads.create(name, user_id=name)
    await store.threads.messages.merge(name, f"{name}-m")
    await store.rooms.create(name)
    await store.rooms.participants.upsert(name, RoomParticipant(id=name))
    await store.rooms.events.append(name, Event(channel_id="c", participant_id=name))
    await store.keys.create(name=name, owner_id=name)


async def created(store: Any) -> None:
    key = await store.keys.create(name="new")
    assert await store.keys.verify(key.token) == key.model_copy(update={"token": None})
    assert await store.keys.get(key.id) == await store.keys.find(key.id)
    assert await store.keys.delete(key.id)


async def ada(store: Any) -> Person:
    person: Person = await store.people.get("ada")
    return person


async def exported(store: Any) -> None:
    assert [record async for record in store.people.export(await ada(store))]


async def erased(store: Any) -> None:
    assert (await store.people.erase(await ada(store))).lines


# In this order, on one database: later cases find what earlier ones left.
CASES = [
    Case("keys: create, verify, get, find and delete", 5, created),
    Case("keys: list", 1, lambda s: s.keys.list(limit=20)),
    Case("keys: count", 1, lambda s: s.keys.count()),
    Case("keys: count up to a limit", 1, lambda s: s.keys.count(limit=5)),
    Case("people: get", 25, ada),
    Case("people: find nothing", 19, lambda s: s.people.find("unknown")),
    Case("people: export", 45, exported),
    Case("people: erase", 110, erased),
    Case("retention: prune nothing", 9, lambda s: s.retention.prune(idle=timedelta(days=1))),
    Case("retention: prune a few", 30, lambda s: s.retention.prune(older=timedelta(microseconds=1), limit=3)),
]
# What examines more, and why.
BEYOND = {
    "keys: count": "a key of an index for each that is counted; `limit` bounds it",
    **dict.fromkeys(
        ("people: get", "people: find nothing", "people: export", "people: erase"),
        "no index finds a name in threads, events, participants and keys, which are read whole",
    ),
}


async def observe(uri: str, database: str, wire: CommandLog) -> Observed:
    async with AsyncMongoStore(uri, database) as store:
        await make_person(store, "ada")
        # No more at once than there are connections.
        for start in range(0, OTHERS, 10):
            await asyncio.gather(*(make_person(store, f"p{start + n}") for n in range(10)))
    sent = {}
    async with logged_store(uri, database, wire) as store:
        verbs = wrapped(store, lambda _, repository: Verbs(repository))
        for case in CASES:
            wire.sent.clear()
            await case.call(SimpleNamespace(**verbs))
            sent[case.claim] = wire.sent.copy()
        types = {kind: type(attrgetter(kind)(store)) for kind in KINDS}
    return Observed(sent, {kind: verbs[kind].names for kind in KINDS}, types)


@pytest.fixture(scope="module")
def observed(server_uri: str, databases: list[str]) -> Iterator[Observed]:
    databases.append(database := f"test_{bson.ObjectId()}")
    with MongoClient[dict[str, Any]](server_uri) as explainer:
        yield asyncio.run(observe(server_uri, database, CommandLog(explainer)))
        explainer.drop_database(database)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cases_call_every_verb(observed: Observed, kind: str) -> None:
    assert observed.verbs[kind] == verbs_of(observed.repositories[kind])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_verb_sends_no_more_commands_than_promised(observed: Observed, case: Case) -> None:
    sent = observed.sent[case.claim]
    assert 1 <= len(sent) <= case.most, sent


def test_each_statement_names_its_owner(observed: Observed) -> None:
    sharding.check("people", chain.from_iterable(observed.sent.values()))


def test_a_verb_examines_three_times_what_it_returns_and_ten_at_most(observed: Observed) -> None:
    assert {case.claim for case in CASES if is_beyond(observed.sent[case.claim])} == BEYOND.keys()


def test_no_repository_is_left_out() -> None:
    store = AsyncMongoStore("mongomock://")
    tested = {*test_costs.PARTS.values(), *test_participant_costs.PARTS.values()}
    tested |= {type(one) for one in test_room_costs.repositories(store).values()}
    tested |= {type(attrgetter(kind)(store)) for kind in (*test_thread_costs.KINDS, *KINDS)}
    assert {type(one) for one in repositories_of(store).values()} <= tested
