"""What the verbs of participants cost on a real server, counted: commands, documents and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandSucceededEvent

from mongostore import AsyncMongoStore, Message, Page, Session, Turn
from mongostore.repositories.sessions import AsyncSessionParticipants, AsyncSessions, AsyncSessionTurns
from tests.contract import sharding
from tests.contract.command_log import (
    Case,
    CommandLog,
    Sent,
    Verbs,
    count_affected,
    executed_by_indexes,
    executions,
    is_beyond,
    logged_store,
    verbs_of,
)

pytestmark = pytest.mark.server

TEXT = "x" * 600
LONG = 3_000
SESSIONS = 120
PAGE = 10
BIG_INSIGHT = "x" * 1_000_000
# What a session may lay round a turn in an append: guards, preview, counters and the driver's envelope.
ENVELOPE_BYTES = 3072


def new_turns(count: int, text: str = TEXT) -> list[Turn]:
    return [Turn(role="user", content=text) for _ in range(count)]


async def count_them(participant: str, turns: Sequence[Turn]) -> list[Any]:
    return [len(turns)]


async def page_of_turns(sessions: AsyncSessions, **where: Any) -> None:
    assert len((await sessions.turns.list("long", "a", limit=20, **where)).items) == 20


async def every_turn(sessions: AsyncSessions) -> None:
    assert len([turn async for turn in sessions.turns.iter("long", "a")]) >= LONG


async def integrated(sessions: AsyncSessions, *expected: int) -> None:
    results = (await sessions.turns.integrate("new", count_them)).results
    assert [result.turns_integrated for result in results] == [*expected]


async def at_revision(sessions: AsyncSessions) -> None:
    session = await sessions.get("long")
    await sessions.turns.append("long", "a", new_turns(1)[0], revision=session.revision)


async def pages(sessions: AsyncSessions, **where: Any) -> list[Page[Session]]:
    where = {"order": "created", "newest": False, "limit": PAGE, **where}
    first = await sessions.list(**where)
    second = await sessions.list(cursor=first.next_cursor, **where)
    assert len(first.items) == len(second.items) == PAGE
    return [first, second]


# In this order, on one database: later cases find what earlier ones left.
CASES = [
    Case("create with participants", 1, lambda s: s.create("new", participants=["a", "b"])),
    Case("append the first turn", 2, lambda s: s.turns.append_many("new", "a", new_turns(1))),
    Case("append 20 turns in one step", 2, lambda s: s.turns.append_many("new", "b", new_turns(20))),
    Case("append no turn", 1, lambda s: s.turns.append_many("new", "b", [])),
    Case("bind", 1, lambda s: s.participants.ensure("new", "c")),
    Case("append after binding", 3, lambda s: s.turns.append_many("new", "c", new_turns(1))),
    Case("bind again", 3, lambda s: s.participants.ensure("new", "c")),
    Case("list participants", 1, lambda s: s.participants.list("new")),
    Case("list the turns of a short session", 2, lambda s: s.turns.list("new", "b")),
    Case("integrate three participants", 12, lambda s: integrated(s, 1, 20, 1)),
    Case("integrate nothing new", 2, lambda s: integrated(s, 0, 0, 0)),
    Case("append another turn", 2, lambda s: s.turns.append_many("new", "b", new_turns(1))),
    Case("integrate one of three", 6, lambda s: integrated(s, 0, 1, 0)),
    Case(
        "append a turn of over 1 MiB", 3, lambda s: s.turns.append_many("new", "c", new_turns(1, TEXT * 2000))
    ),
    Case("unbind from a short session", 6, lambda s: s.participants.delete("new", "c")),
    Case("unbind nobody", 1, lambda s: s.participants.delete("new", "c")),
    Case("bind anew", 1, lambda s: s.participants.create("new", "c")),
    Case("get a participant", 1, lambda s: s.participants.get("new", "c")),
    Case("find no participant", 1, lambda s: s.participants.find("new", "d")),
    Case("append one turn", 3, lambda s: s.turns.append("new", "c", new_turns(1)[0])),
    Case("count turns", 1, lambda s: s.turns.count("new", "c")),
    Case("truncate", 7, lambda s: s.truncate("new")),
    Case("append when all began anew", 3, lambda s: s.turns.append_many("new", "a", new_turns(1))),
    Case(
        "append where the store has not been yet", 3, lambda s: s.turns.append_many("long", "a", new_turns(1))
    ),
    Case("append at turn 3,000", 2, lambda s: s.turns.append_many("long", "a", new_turns(1))),
    Case("append a turn of a chosen id", 3, lambda s: s.turns.append("long", "a", Turn(id="t", role="user"))),
    Case("append that turn again", 1, lambda s: s.turns.append("long", "a", Turn(id="t", role="user"))),
    Case("get a session and append a turn at its revision", 5, at_revision),
    Case("list the first turns of a long session", 2, page_of_turns),
    Case("list turns in the middle", 2, lambda s: page_of_turns(s, after=1500)),
    Case("list the newest turns", 2, lambda s: page_of_turns(s, after=LONG - 18)),
    Case("integrate the newest turns of a long session", 6, lambda s: s.turns.integrate("long", count_them)),
    Case("integrate a turn behind them", 2, lambda s: s.turns.integrate("long", count_them)),
    Case("iterate over 3,000 turns", 8, every_turn),
    Case("list the oldest sessions", 2, pages),
    Case("list the oldest sessions of a user", 2, lambda s: pages(s, user_id="u1")),
    Case("list the oldest sessions, deleted or not", 2, lambda s: pages(s, deleted=None)),
    Case("list the oldest of a user, deleted or not", 2, lambda s: pages(s, user_id="u1", deleted=None)),
    Case("list the active sessions, the longest idle first", 2, lambda s: pages(s, order="active")),
    Case("list the newest sessions, deleted or not", 3, lambda s: pages(s, newest=True, deleted=None)),
    Case("unbind with 90 turns", 6, lambda s: s.participants.delete("long", "b")),
]
PARTS: dict[str, type] = {"participants": AsyncSessionParticipants, "turns": AsyncSessionTurns}


class Replies(CommandLog):
    """Notes also how many bytes come back."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.bytes.append(len(bson.encode(event.reply)))


@dataclass
class Observation:
    """What each case sent, and the verbs that the cases called."""

    sent: dict[str, list[Sent]]
    verbs: set[str]


async def populate(store: AsyncMongoStore) -> None:
    """Make hundreds of sessions of many users, and one in which three have said a lot."""
    for namespace in ("default", "acme"):
        sessions = store.sessions.in_namespace(namespace)
        await asyncio.gather(*(sessions.create(f"s{i}", user_id=f"u{i % 4}") for i in range(SESSIONS)))
        await asyncio.gather(*(sessions.soft_delete(f"s{i}") for i in range(0, SESSIONS, 3)))
    long = store.sessions
    await long.create("long", participants=["a", "b", "c"])
    for _ in range(0, LONG, 100):
        await long.turns.append_many("long", "a", new_turns(100))
        await long.turns.append_many("long", "b", new_turns(3))
        await long.messages.append("long", Message(role="user", conversation_id="a", content=TEXT))
    await long.turns.integrate("long", count_them)


async def observe(uri: str, database: str, wire: CommandLog) -> Observation:
    async with AsyncMongoStore(uri, database) as store:
        await populate(store)
    sent = {}
    async with logged_store(uri, database, wire) as store:
        verbs = Verbs(store.sessions)
        for case in CASES:
            wire.sent.clear()
            await case.call(verbs)
            sent[case.claim] = wire.sent.copy()
    return Observation(sent, verbs.names)


@pytest.fixture(scope="module")
def observation(server_uri: str, databases: list[str]) -> Iterator[Observation]:
    databases.append(database := f"test_{bson.ObjectId()}")
    with pytest.MonkeyPatch.context() as patch, MongoClient[dict[str, Any]](server_uri) as explainer:
        patch.setenv("MONGOSTORE_ENSURE_INDEXES", "true")
        yield asyncio.run(observe(server_uri, database, CommandLog(explainer)))
        explainer.drop_database(database)


def test_the_cases_call_every_verb_of_participants(observation: Observation) -> None:
    assert {f"{path}.{verb}" for path, part in PARTS.items() for verb in verbs_of(part)} <= observation.verbs


def test_each_statement_names_its_owner(observation: Observation) -> None:
    sharding.check("participants", chain.from_iterable(observation.sent.values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_verb_sends_no_more_commands_than_promised(observation: Observation, case: Case) -> None:
    sent = observation.sent[case.claim]
    assert 1 <= len(sent) <= case.most, sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_query_examines_what_it_returns_by_an_index(observation: Observation, case: Case) -> None:
    for sent in observation.sent[case.claim]:
        if sent.is_query:
            costs = executed_by_indexes(sent)
            assert len(costs) == executions(sent), sent
            # The open and the deleted ones are two lists, each of which shows its next one.
            spare = 2 if "deleted or not" in case.claim else 1
            for stats in costs:
                assert stats["totalDocsExamined"] <= count_affected(sent, stats) + spare, (
                    sent.command,
                    stats,
                )


def test_a_verb_examines_three_times_what_it_returns_and_ten_at_most(observation: Observation) -> None:
    assert not {case.claim for case in CASES if is_beyond(observation.sent[case.claim])}


async def test_an_append_of_turns_sends_little_beside_them(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.turns.append_many("s", "a", new_turns(300))
        for text in ("", TEXT, "x" * 100_000):
            await store.sessions.turns.append_many("s", "a", new_turns(1, text))
            wire.sent.clear()
            [turn] = new_turns(1, text)
            await store.sessions.turns.append_many("s", "a", [turn])
            assert wire.sent[0].bytes <= len(turn.model_dump_json()) + ENVELOPE_BYTES


async def test_turns_never_roll_and_messages_do_not_read_them(server_uri: str, database: str) -> None:
    wire = Replies()
    async with logged_store(server_uri, database, wire) as store:
        await store.sessions.create("s", participants=["a"])
        wire.sent.clear()
        for _ in range(200):
            await store.sessions.turns.append_many("s", "a", new_turns(1))
        assert len(wire.sent) == 2 * 200
        await store.sessions.messages.append("s", Message(role="user"))
        wire.bytes.clear()
        assert len(await store.sessions.messages.list("s")) == 1
        assert max(wire.bytes) < 2 * ENVELOPE_BYTES


async def test_large_insights_are_read_only_where_they_are_shown(server_uri: str, database: str) -> None:
    wire = Replies()
    async with logged_store(server_uri, database, wire) as store:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.turns.append_many("s", "a", new_turns(1))
        await store.sessions.turns.integrate("s", lambda *_: [BIG_INSIGHT])
        wire.bytes.clear()
        await store.sessions.turns.append_many("s", "a", new_turns(200))
        await store.sessions.messages.append_many("s", [Message(role="user") for _ in range(60)])
        assert len((await store.sessions.messages.list("s", newest=True)).items) == 50
        assert len((await store.sessions.turns.list("s", "a")).items) == 50
        assert max(wire.bytes) < len(BIG_INSIGHT)
        assert len((await store.sessions.get("s")).participants[0].insights[0]) == len(BIG_INSIGHT)
        assert max(wire.bytes) > len(BIG_INSIGHT)
