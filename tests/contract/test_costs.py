"""What the verbs of sessions cost on a real server, counted: commands, documents, bytes and memory."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from mongostore import AsyncMongoStore, DocumentTooLargeError, Message
from mongostore.repositories.sessions import (
    AsyncNamespaces,
    AsyncSessionBranches,
    AsyncSessionContext,
    AsyncSessionConversations,
    AsyncSessionMessages,
    AsyncSessions,
    TailLimits,
)
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

MiB = 1024 * 1024
TEXT = "x" * 600
LONG = 10_000
SESSIONS = 100
PAGE = 10
# What a session may lay round a message in an append: guards, preview, counters and the driver's envelope.
ENVELOPE_BYTES = 2048


def new_message(number: int) -> Message:
    return Message(id=f"m{number}", conversation_id=f"c{number // 1000}", role="user", content=TEXT)


async def second_page(sessions: AsyncSessions) -> None:
    page = await sessions.list(user_id="u1", limit=PAGE)
    assert len((await sessions.list(user_id="u1", limit=PAGE, cursor=page.next_cursor)).items) == PAGE


async def every_session(sessions: AsyncSessions) -> None:
    assert len([session async for session in sessions.iter(user_id="u1")]) > 20


async def every_session_of_an_id(s: Any) -> None:
    assert [session.id async for session in s.namespaces.iter_sessions("s1")] == ["s1"] * 3


async def every_namespace(sessions: AsyncSessions) -> None:
    assert len([namespace async for namespace in sessions.namespaces.iter()]) == 3


async def two_pages_of_all(sessions: AsyncSessions) -> None:
    page = await sessions.namespaces.list_sessions(limit=20)
    page = await sessions.namespaces.list_sessions(limit=20, cursor=page.next_cursor)
    assert len(page) == 20


async def every_message(sessions: AsyncSessions) -> None:
    assert len([message async for message in sessions.messages.iter("long")]) >= LONG


async def one_conversation(sessions: AsyncSessions) -> None:
    found = [message async for message in sessions.messages.iter("long", conversation_id="c3")]
    assert len(found) == 1000


async def watched(sessions: AsyncSessions) -> None:
    async with aclosing(sessions.messages.watch("watched")) as changes:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(changes))
        while not (await asyncio.wait([first], timeout=0.3))[0]:
            await sessions.messages.append("watched", Message(role="user"))
        assert (await first).message


async def replaced(sessions: AsyncSessions) -> None:
    newest = (await sessions.messages.list("begun", newest=True, limit=1)).items
    await sessions.messages.replace_newest("begun", [newest[0].id], [new_message(0), new_message(1)])


BIG = Message(id="big", role="tool", content="x" * (MiB + 1))

# In this order, on one database: later cases find what earlier ones left.
CASES = [
    Case("create", 1, lambda s: s.create("new", user_id="u1")),
    Case("create with a minted id", 1, lambda s: s.create()),
    Case("get", 1, lambda s: s.get("long")),
    Case("find", 1, lambda s: s.find("long")),
    Case("find nothing", 1, lambda s: s.find("unknown")),
    Case("exists", 1, lambda s: s.exists("long")),
    Case("list 20 sessions with previews", 1, lambda s: s.list(limit=20)),
    Case("list 20 sessions of a user", 1, lambda s: s.list(user_id="u1", limit=20)),
    Case("list 20 sessions of a participant", 1, lambda s: s.list(participant_id="p1", limit=20)),
    Case("list 20 sessions of a user without any", 1, lambda s: s.list(user_id="unknown", limit=20)),
    Case("list 20 sessions, deleted or not", 1, lambda s: s.list(deleted=None, limit=20)),
    Case("list 20 sessions of a user, deleted or not", 1, lambda s: s.list(user_id="u1", deleted=None)),
    Case("list by metadata", 1, lambda s: s.list(metadata={"n": 77})),
    Case("list by metadata with a dict", 1, lambda s: s.list(metadata={"of": {"n": 77}})),
    Case("list a few of a user by metadata", 1, lambda s: s.list(user_id="u0", metadata={"n": 78})),
    Case("list a few by metadata that many have", 1, lambda s: s.list(metadata={"seventh": True}, limit=3)),
    Case("list two pages", 2, second_page),
    Case("iterate over the sessions of a user", 1, every_session),
    Case("count sessions", 1, lambda s: s.count()),
    Case("count sessions of a user", 1, lambda s: s.count(user_id="u1")),
    Case("count sessions, deleted or not", 1, lambda s: s.count(deleted=None)),
    Case("update a session", 1, lambda s: s.update("long", name="n", metadata={"k": 1, "gone": None})),
    Case("update a session at a revision", 1, lambda s: s.update("long", revision=1, data={"k": 1})),
    Case("append the first message", 1, lambda s: s.messages.append("new", Message(role="user"))),
    Case("append at message 100", 1, lambda s: s.messages.append("short", Message(role="user"))),
    Case("append at message 10,000", 1, lambda s: s.messages.append("long", Message(role="user"))),
    Case(
        "append an id of one's own, nothing rolled yet",
        1,
        lambda s: s.messages.append("short", new_message(100)),
    ),
    Case(
        "append an id of one's own, after a roll", 2, lambda s: s.messages.append("long", new_message(LONG))
    ),
    Case("append a message of the tail again", 5, lambda s: s.messages.append("long", new_message(LONG))),
    Case("append a message of a segment again", 3, lambda s: s.messages.append("long", new_message(77))),
    Case(
        "append 20 messages in one step",
        1,
        lambda s: s.messages.append_many("new", [*map(new_message, range(20))]),
    ),
    Case(
        "append and begin the session",
        1,
        lambda s: s.messages.append("begun", Message(role="user"), create=True),
    ),
    Case(
        "append and change the session, guarded",
        1,
        lambda s: s.messages.append(
            "begun", Message(role="user"), update={"metadata": {"k": 1}}, after=0, revision=0
        ),
    ),
    Case("replace the newest message", 4, lambda s: replaced(s)),
    Case("replace a message in its place", 1, lambda s: s.messages.replace("long", new_message(LONG))),
    Case("pop a message of few", 3, lambda s: s.messages.pop("begun")),
    Case("pop a message", 2, lambda s: s.messages.pop("popped")),
    Case("pop a message after another", 1, lambda s: s.messages.pop("popped")),
    Case("pop a message of a segment", 6, lambda s: s.messages.pop("sunk")),
    Case("pop a message of a segment after another", 4, lambda s: s.messages.pop("sunk")),
    Case(
        "append to the newest message of a branch",
        2,
        lambda s: s.branches.append_many("branched", [Message(role="user")], parent_id="m299"),
    ),
    Case(
        "begin a branch at a message far back",
        4,
        lambda s: s.branches.append_many("branched", [Message(role="user")], parent_id="m5"),
    ),
    Case("read a branch", 2, lambda s: s.branches.list("branched", "m299", limit=300)),
    Case("read the newest of a branch", 2, lambda s: s.branches.list("branched", "m299", newest=True)),
    Case("find a branched session by a new message", 1, lambda s: s.branches.find_by_message("m299")),
    Case("find a branched session by an old message", 3, lambda s: s.branches.find_by_message("m5")),
    Case("find no branched session", 2, lambda s: s.branches.find_by_message("none")),
    Case("pop nothing", 1, lambda s: s.messages.pop("unknown")),
    Case("ensure a session that is there", 1, lambda s: s.ensure("begun")),
    Case("ensure a new session", 2, lambda s: s.ensure("ensured")),
    Case("append nothing", 1, lambda s: s.messages.append_many("new", [])),
    Case("append a message of over 1 MiB", 3, lambda s: s.messages.append("new", BIG)),
    Case("change a message of over 1 MiB", 7, lambda s: s.messages.update("new", "big", role="assistant")),
    Case("shrink a message of over 1 MiB", 5, lambda s: s.messages.update("new", "big", content="small")),
    Case("change the newest message", 1, lambda s: s.messages.update("long", f"m{LONG}", content="y")),
    Case("change a message of the tail", 3, lambda s: s.messages.update("short", "m50", content="y")),
    Case("change a message of a segment", 5, lambda s: s.messages.update("long", "m50", metadata={"k": 1})),
    Case("upsert the newest message", 1, lambda s: s.messages.upsert("long", new_message(LONG))),
    Case("upsert a message of a segment", 5, lambda s: s.messages.upsert("long", new_message(51))),
    Case("upsert a new message", 4, lambda s: s.messages.upsert("long", new_message(LONG + 1))),
    Case(
        "upsert a message and begin the session",
        3,
        lambda s: s.messages.upsert("upserted", Message(role="user"), create=True),
    ),
    Case("get a message of the tail", 1, lambda s: s.messages.get("long", f"m{LONG}")),
    Case("get a message of a segment", 2, lambda s: s.messages.get("long", "m50")),
    Case("describe a stored message", 2, lambda s: s.messages.describe_document("long", 50)),
    Case("find a message of a segment", 2, lambda s: s.messages.find("long", "m50")),
    Case("ask for a message of a segment", 2, lambda s: s.messages.exists("long", "m50")),
    Case(
        "read 20 messages between two", 3, lambda s: s.messages.list("long", after=99, before=150, limit=20)
    ),
    Case(
        "read the newest 20 messages between two",
        3,
        lambda s: s.messages.list("long", newest=True, after=99, before=150, limit=20),
    ),
    Case("read a session of up to 128 messages", 1, lambda s: s.messages.list("short", limit=128)),
    Case("read the newest 20 messages", 1, lambda s: s.messages.list("long", newest=True, limit=20)),
    Case("read the newest 200 messages", 2, lambda s: s.messages.list("long", newest=True, limit=200)),
    Case("read the first 20 messages", 2, lambda s: s.messages.list("long", limit=20)),
    Case(
        "read 20 messages before one",
        3,
        lambda s: s.messages.list("long", newest=True, before=5000, limit=20),
    ),
    Case("read 20 messages behind one", 3, lambda s: s.messages.list("long", after=4990, limit=20)),
    Case("read 20 messages around one", 5, lambda s: s.messages.list("long", around=5000, limit=20)),
    Case("read the newest 20 of a conversation", 2, lambda s: last_of(s, "c3")),
    Case("read the first 20 of a conversation", 3, lambda s: first_of(s, "c3")),
    Case("iterate over 10,000 messages", 11, every_message),
    Case("iterate over a conversation", 3, one_conversation),
    Case("sum up the conversations", 11, lambda s: s.conversations.list("long")),
    Case("count messages", 1, lambda s: s.messages.count("long")),
    Case("tell where messages lie", 2, lambda s: s.describe_storage("long")),
    Case("tell where messages lie without stretches", 2, lambda s: s.describe_storage("long", outline=False)),
    Case("set a small context", 1, lambda s: s.context.set("long", [1])),
    Case("set a context, which may create", 1, lambda s: s.context.set("long", [1], create=True)),
    Case("set a context to create", 4, lambda s: s.context.set("with context", [1], create=True)),
    Case("get a small context", 1, lambda s: s.context.get("long")),
    Case("find a small context", 1, lambda s: s.context.find("long")),
    Case("set a large context", 3, lambda s: s.context.set("long", "x" * 100_000)),
    Case("get a large context", 2, lambda s: s.context.get("long")),
    Case("set a small context in place of a large one", 2, lambda s: s.context.set("long", [1])),
    Case("delete the context", 1, lambda s: s.context.delete("long")),
    Case("delete a message of the tail", 2, lambda s: s.messages.delete("short", "m50")),
    Case("delete the newest message", 2, lambda s: s.messages.delete("long", f"m{LONG + 1}")),
    Case("delete a message of a segment", 5, lambda s: s.messages.delete("long", "m52")),
    Case("delete messages of two segments", 6, lambda s: s.messages.delete_many("long", ["m53", "m4000"])),
    Case("delete a session", 1, lambda s: s.soft_delete("short")),
    Case("list the deleted sessions", 1, lambda s: s.list(deleted=True, limit=PAGE)),
    Case("restore a session", 1, lambda s: s.undelete("short")),
    Case("truncate a session", 5, lambda s: s.truncate("long")),
    Case("delete all messages", 5, lambda s: s.messages.truncate("short")),
    Case("purge a session", 5, lambda s: s.delete("doomed")),
    Case("purge nothing", 3, lambda s: s.delete("unknown")),
    Case("ask for a namespace", 1, lambda s: s.namespaces.exists("default")),
    Case("list the namespaces", 4, lambda s: s.namespaces.list()),
    Case("iterate over the namespaces", 4, every_namespace),
    Case("iterate over the sessions of an id", 2, every_session_of_an_id),
    Case("list the sessions of all namespaces", 1, lambda s: s.namespaces.list_sessions(limit=20)),
    Case("list two pages of all namespaces", 2, two_pages_of_all),
    Case("watch", 12, watched),
]


async def last_of(sessions: AsyncSessions, conversation_id: str) -> None:
    page = await sessions.messages.list("long", newest=True, limit=20, conversation_id=conversation_id)
    assert len(page.items) == 20


async def first_of(sessions: AsyncSessions, conversation_id: str) -> None:
    page = await sessions.messages.list("long", limit=20, conversation_id=conversation_id)
    assert len(page.items) == 20


PARTS: dict[str, type] = {
    "messages.": AsyncSessionMessages,
    "branches.": AsyncSessionBranches,
    "conversations.": AsyncSessionConversations,
    "context.": AsyncSessionContext,
    "namespaces.": AsyncNamespaces,
    "": AsyncSessions,
}
_BY_VALUE = "the index by values knows no order and no namespace: all that have the value are read, or some"
# Queries that may examine more documents than they return, and why.
WIDE = dict.fromkeys((case.claim for case in CASES if "by metadata" in case.claim), _BY_VALUE)
# What examines more, and why.
BEYOND = dict.fromkeys(
    ("count sessions", "count sessions of a user", "count sessions, deleted or not"),
    "a key of an index for each session that is counted",
) | {
    "list a few by metadata that many have": _BY_VALUE,
    "tell where messages lie without stretches": "a key of an index for each segment that is counted",
}


@dataclass
class Observation:
    """What each case sent, and the verbs that the cases called."""

    sent: dict[str, list[Sent]]
    verbs: set[str]


async def fill(sessions: AsyncSessions, session_id: str, count: int) -> None:
    await sessions.create(session_id, user_id="u1")
    for start in range(0, count, 100):
        await sessions.messages.append_many(
            session_id, [*map(new_message, range(start, min(start + 100, count)))]
        )


async def populate(store: AsyncMongoStore) -> None:
    """Make hundreds of sessions of many users in three namespaces, one of them long."""
    for namespace in ("default", "acme", "other"):
        sessions = store.sessions.in_namespace(namespace)
        await asyncio.gather(
            *(
                sessions.create(
                    f"s{i}", user_id=f"u{i % 3}", metadata={"n": i, "seventh": i % 7 == 0, "of": {"n": i}}
                )
                for i in range(SESSIONS)
            )
        )
        await asyncio.gather(*(sessions.messages.append(f"s{i}", new_message(i)) for i in range(SESSIONS)))
        await asyncio.gather(*(sessions.soft_delete(f"s{i}") for i in range(0, SESSIONS, 5)))
        await fill(sessions, "doomed", 300)
    await store.sessions.branches.append_many("branched", [new_message(n) for n in range(300)], create=True)
    await asyncio.gather(
        fill(store.sessions, "long", LONG),
        fill(store.sessions, "short", 100),
        fill(store.sessions, "popped", 100),
        fill(store.sessions, "sunk", 300),
        store.sessions.create("watched"),
    )
    await empty_tail(store.sessions, "sunk")


async def empty_tail(sessions: AsyncSessions, session_id: str) -> None:
    """Delete the messages that are not in segments, and those of the newest segment."""
    layout = await sessions.describe_storage(session_id)
    going = layout.in_tail + layout.in_segments // layout.segments
    newest = await sessions.messages.list(session_id, newest=True, limit=going)
    await sessions.messages.delete_many(session_id, [message.id for message in newest])


async def observe(uri: str, database: str, wire: CommandLog) -> Observation:
    async with AsyncMongoStore(uri, database) as store:
        await populate(store)
    sent = {}
    async with logged_store(uri, database, wire) as store:
        # The store learns where the tail of a session begins when it first reads it.
        await store.sessions.messages.list("long", limit=1)
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


def test_the_cases_call_every_verb_but_those_of_participants(observation: Observation) -> None:
    verbs = {f"{path}{verb}" for path, part in PARTS.items() for verb in verbs_of(part)}
    assert observation.verbs == verbs


def test_each_statement_names_its_owner(observation: Observation) -> None:
    sharding.check("sessions", chain.from_iterable(observation.sent.values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_verb_sends_no_more_commands_than_promised(observation: Observation, case: Case) -> None:
    sent = observation.sent[case.claim]
    assert 1 <= len(sent) <= case.most, sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_query_examines_what_it_returns_by_an_index(observation: Observation, case: Case) -> None:
    for sent in observation.sent[case.claim]:
        if sent.is_query:
            costs = executed_by_indexes(sent, may_sort=case.claim in WIDE)
            assert len(costs) == executions(sent), sent
            for stats in costs if case.claim not in WIDE else ():
                most = stats["nReturned"] if case.claim in BEYOND else count_affected(sent, stats)
                assert stats["totalDocsExamined"] <= most + 1, (sent.command, stats)
                assert stats["totalKeysExamined"] <= 2 * most + 2, (sent.command, stats)


def test_a_session_is_found_by_its_key_without_a_plan(observation: Observation) -> None:
    sent = chain.from_iterable(observation.sent.values())
    finds = [one.command["filter"] for one in sent if one.name == "find"]
    filters = [set(where) for where in finds if isinstance(where.get("_id"), str)]
    assert {"_id"} in filters
    assert {"_id", "state", "expires_at"} not in filters


def test_the_outline_of_a_session_comes_from_an_index_alone(observation: Observation) -> None:
    [segments] = [one for one in observation.sent["tell where messages lie"] if one.name == "aggregate"]
    [stats] = executed_by_indexes(segments)
    assert stats["totalKeysExamined"] > 100
    assert stats["totalDocsExamined"] == 0


def test_a_verb_examines_three_times_what_it_returns_and_ten_at_most(observation: Observation) -> None:
    assert {case.claim for case in CASES if is_beyond(observation.sent[case.claim])} == BEYOND.keys()


async def test_rolling_costs_a_tenth_of_a_command_an_append(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        # From here on each 64 appends roll once.
        await fill(store.sessions, "s", 64)
        counts = []
        for _ in range(320):
            wire.sent.clear()
            await store.sessions.messages.append("s", Message(role="user", content=TEXT))
            counts.append(len(wire.sent))
        rolls = [number for number, count in enumerate(counts) if count > 1]
        assert max(counts) <= 6
        assert len(rolls) <= 320 // 64
        assert sum(counts) / 320 <= 1.1


class RoundTrips(CommandLog):
    """Counts how often a command is sent while no other one is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.under_way = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += not self.under_way
        self.under_way += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.under_way -= 1

    def failed(self, event: CommandFailedEvent) -> None:
        self.under_way -= 1


async def test_new_message_after_a_roll_is_upserted_in_three_round_trips(
    server_uri: str, database: str
) -> None:
    trips = RoundTrips()
    async with logged_store(server_uri, database, trips) as store:
        await fill(store.sessions, "s", 300)
        # So many connections are open by now.
        await asyncio.gather(*(store.sessions.messages.list("s", limit=1) for _ in range(4)))
        for number in range(300, 303):
            trips.count = 0
            await store.sessions.messages.upsert("s", new_message(number))
            assert trips.count == 3


async def test_an_append_sends_little_beside_the_message(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        await fill(store.sessions, "s", 300)
        for text in ("", TEXT, "x" * 100_000):
            wire.sent.clear()
            message = Message(role="assistant", content=text)
            await store.sessions.messages.append("s", message)
            assert wire.sent[0].bytes <= len(message.model_dump_json()) + ENVELOPE_BYTES


async def test_what_no_document_can_hold_is_refused_before_anything_is_sent(
    server_uri: str, database: str
) -> None:
    wire, huge = CommandLog(), "x" * (17 * MiB)
    async with logged_store(server_uri, database, wire) as store:
        await store.sessions.create("s")
        await store.sessions.messages.append("s", Message(id="m", role="user", content="kept"))
        wire.sent.clear()
        for call in (
            store.sessions.messages.append("s", Message(role="user", content=huge)),
            store.sessions.messages.append_many(
                "s", [Message(role="user"), Message(role="user", data={"k": huge})]
            ),
            store.sessions.messages.upsert("s", Message(id="m", role="user", content=huge)),
            store.sessions.messages.update("s", "m", content=huge),
            store.sessions.context.set("s", huge),
            store.sessions.update("s", data={"k": huge}),
            store.sessions.create("t", metadata={"k": huge}),
        ):
            with pytest.raises(DocumentTooLargeError):
                await call
        assert wire.sent == []


async def test_the_document_of_a_session_stays_small(server_store: AsyncMongoStore) -> None:
    await server_store.sessions.create("s")
    sessions = server_store.engine.database.sessions
    size: list[dict[str, Any]] = [
        {"$match": {"_id": "default/s"}},
        {"$project": {"size": {"$bsonSize": "$$ROOT"}}},
    ]
    for number in range(700):
        await server_store.sessions.messages.append("s", Message(role="user", content=3 * TEXT))
        if number % 8 == 0:
            async with await sessions.aggregate(size) as cursor:
                [document] = await cursor.to_list()
            assert document["size"] < MiB
    assert await server_store.sessions.messages.count("s") == 700


# So few places that the cache is full before the measuring begins.
@pytest.mark.parametrize("tail_limits", [TailLimits(cached_positions=100)], ids=["few-places"])
@pytest.mark.parametrize("operations", [1000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_memory_stays_flat_over_thousands_of_operations(
    server_store: AsyncMongoStore, operations: int
) -> None:
    sessions = server_store.sessions

    async def live_through(name: str) -> None:
        await sessions.create(name)
        message = await sessions.messages.append(name, Message(role="user", content=TEXT))
        await sessions.messages.update(name, message.id, content="y")
        await sessions.messages.list(name)
        await sessions.list(limit=5)

    async def blocks_after(rounds: range) -> int:
        for start in rounds[::10]:
            await asyncio.gather(*(live_through(f"s{number}") for number in range(start, start + 10)))
        gc.collect()
        return sys.getallocatedblocks()

    before = await blocks_after(range(300))
    after = await blocks_after(range(300, 300 + operations // 5))
    # What the driver and the loop hold at one moment or another makes some hundred blocks of difference.
    assert after - before < max(operations // 3, 1000)
