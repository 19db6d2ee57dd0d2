"""What the verbs of threads and all that hangs on them cost on a real server, counted and explained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from itertools import chain
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from mongostore import AsyncMongoStore, ConflictError, DocumentTooLargeError, Element, Feedback, NotFoundError
from tests.contract import sharding
from tests.contract.command_log import (
    Case,
    CommandLog,
    Observed,
    Sent,
    Verbs,
    count_affected,
    executed_by_indexes,
    executions,
    is_beyond,
    logged_store,
    nested,
    verbs_of,
    wrapped,
)
from tests.contract.threads import at

pytestmark = pytest.mark.server

MiB = 1024 * 1024
# More than an iteration or a search asks for at once, and many times what a page shows.
THREADS = 250
PAGE = 12
WITH_FILES = 60
LONG = 600
PARTS = ("messages", "elements", "feedback", "users", "files")
KINDS = ("threads", *(f"threads.{part}" for part in PARTS))
CONTENT = b"x" * (3 * MiB)
MANY = [f"t{number:03}" for number in range(THREADS)]


async def thread(store: AsyncMongoStore, number: int, ada: str) -> None:
    name = MANY[number]
    metadata = {"n": number, "seventh": number % 7 == 0, "of": {"n": number}}
    await store.threads.create(name, user_id=ada, name=f"about {number}", metadata=metadata)
    for which in range(3):
        message = f"{name}-{which}"
        await store.threads.messages.merge(
            name,
            message,
            only_missing=True,
            content="x" * 500,
            pinned=number % 25 == 0 and which == 0,
            created_at=at(10**7 + number // 2),
        )
    if number % 4 == 0:
        await store.threads.feedback.upsert(
            name, Feedback(id=name, message_id=f"{name}-1", value=number % 8 // 4)
        )
    for which in range(2 if number < WITH_FILES else 0):
        key = f"{name}/{which}"
        await store.threads.elements.upsert(name, Element(id=key, message_id=f"{name}-{which}", file_key=key))
        await store.threads.files.upload(key, b"x" * 10)


async def populate(store: AsyncMongoStore) -> None:
    """Make hundreds of threads of two users, one of them long."""
    ada, ben = [(await store.threads.users.upsert(name)).id for name in ("ada", "ben")]
    for start in range(0, THREADS, 50):
        await asyncio.gather(*(thread(store, n, ada) for n in range(start, start + 50)))
    await store.threads.create("long", user_id=ben)
    for start in range(0, LONG, 100):
        await asyncio.gather(
            *(
                store.threads.messages.merge(
                    "long", f"m{n}", only_missing=True, content="x" * 500, created_at=at(n // 7)
                )
                for n in range(start, start + 100)
            ),
        )
    for number in range(30):
        await store.threads.create(f"role{number}", kind="role", owner_id=f"o{number % 3}", name=f"n{number}")
        await store.threads.messages.merge(
            f"role{number}", f"role{number}", only_missing=True, kind="role", content="x"
        )
    await asyncio.gather(*(store.threads.users.upsert(f"user {number}") for number in range(100)))
    await asyncio.gather(*(store.threads.delete(name) for name in MANY[3::50]))


async def length(items: AsyncIterator[Any]) -> int:
    return len([item async for item in items])


async def listed(s: SimpleNamespace, count: int, **where: Any) -> None:
    assert len((await s.threads.list(user_id=s.ada, **where)).items) == count


async def pages(s: SimpleNamespace, count: int, **where: Any) -> None:
    cursor = None
    for _ in range(count):
        page = await s.threads.list(user_id=s.ada, limit=PAGE, cursor=cursor, **where)
        assert len(page.items) == PAGE
        cursor = page.next_cursor


async def participated(s: SimpleNamespace, person: str, limit: int = 20) -> None:
    assert len(await s.threads.list(participant_id=person, limit=limit)) == limit


async def pages_of_participant(s: SimpleNamespace) -> None:
    page = await s.threads.list(participant_id="ada", limit=PAGE)
    page = await s.threads.list(participant_id="ada", limit=PAGE, cursor=page.next_cursor)
    assert len(page) == PAGE


async def two_pages(s: SimpleNamespace) -> None:
    page = await s.threads.messages.list("long", limit=20)
    assert len((await s.threads.messages.list("long", limit=20, cursor=page.next_cursor)).items) == 20


async def pages_of_files(s: SimpleNamespace) -> None:
    page = await s.threads.files.list(prefix="t0", limit=20)
    page = await s.threads.files.list(prefix="t0", limit=20, cursor=page.next_cursor)
    assert len(page) == 20


async def pinned_pages(s: SimpleNamespace) -> None:
    page = await s.threads.messages.list_pinned(s.ada, limit=5)
    page = await s.threads.messages.list_pinned(s.ada, limit=5, cursor=page.next_cursor)
    assert len(page) == 5


async def feedback_pages(s: SimpleNamespace) -> None:
    page = await s.threads.feedback.list(value=1, limit=5)
    page = await s.threads.feedback.list(value=1, limit=5, cursor=page.next_cursor)
    assert len(page) == 5


async def late(s: SimpleNamespace) -> None:
    with pytest.raises(NotFoundError):
        await s.threads.merge("t003", name="x")
    with pytest.raises(NotFoundError):
        await s.threads.messages.merge("t003", "late", content="x")
    with pytest.raises(NotFoundError):
        await s.threads.elements.upsert("t003", Element(id="late", message_id="m"))


async def in_vain(call: Awaitable[None]) -> None:
    with pytest.raises(ConflictError):
        await call


def new_message(thread_id: str, message_id: str, **members: Any) -> Any:
    return lambda s: s.threads.messages.merge(thread_id, message_id, **members)


def liked(message_id: str) -> Any:
    return lambda s: s.threads.feedback.upsert("long", Feedback(message_id=message_id, value=1))


def new_element(message_id: str, file_key: str | None = None) -> Element:
    return Element(id="e", message_id=message_id, file_key=file_key)


# In this order, on one database: later cases find what earlier ones left.
CASES = [
    Case("users: upsert", 1, lambda s: s.threads.users.upsert("ada", metadata={"k": 1})),
    Case("users: upsert a new one", 1, lambda s: s.threads.users.upsert("new")),
    Case("users: get", 1, lambda s: s.threads.users.get(s.ada)),
    Case("users: find", 1, lambda s: s.threads.users.find("unknown")),
    Case("users: create", 1, lambda s: s.threads.users.create("made")),
    Case("users: ensure", 1, lambda s: s.threads.users.ensure("made")),
    Case("users: ensure a new one", 1, lambda s: s.threads.users.ensure("ensured")),
    Case("users: count", 1, lambda s: s.threads.users.count()),
    Case("users: list", 1, lambda s: s.threads.users.list(limit=20)),
    Case("users: list from the end", 1, lambda s: s.threads.users.list(newest=True, limit=20)),
    Case("users: iter", 1, lambda s: length(s.threads.users.iter())),
    Case("users: delete nothing", 2, lambda s: s.threads.users.delete("unknown")),
    Case("users: find_by_identifier", 1, lambda s: s.threads.users.find_by_identifier("ada")),
    Case("threads: create", 1, lambda s: s.threads.create("new")),
    Case("threads: create with a user", 2, lambda s: s.threads.create(user_id=s.ada)),
    Case("threads: ensure", 1, lambda s: s.threads.ensure("new")),
    Case("threads: ensure a new one", 1, lambda s: s.threads.ensure("ensured")),
    Case("threads: update", 1, lambda s: s.threads.update("t001", name="x", metadata={"k": 1})),
    Case("threads: update nothing", 1, lambda s: s.threads.update("t001")),
    Case("threads: update the user", 2, lambda s: s.threads.update("new", user_id=s.ada)),
    Case("threads: exists", 1, lambda s: s.threads.exists("t001")),
    Case("threads: count", 1, lambda s: s.threads.count()),
    Case("threads: count those of a user", 1, lambda s: s.threads.count(user_id=s.ada, limit=100)),
    Case("threads: count by data", 1, lambda s: s.threads.count(kind="role", data={"k": None})),
    Case("threads: list of all", 1, lambda s: s.threads.list(limit=20)),
    Case("threads: list by metadata", 1, lambda s: s.threads.list(metadata={"n": 77})),
    Case("threads: list by metadata with a dict", 1, lambda s: s.threads.list(metadata={"of": {"n": 77}})),
    Case("threads: list of a user by metadata", 1, lambda s: listed(s, 1, metadata={"n": 77})),
    Case(
        "threads: list a few by metadata that many have",
        1,
        lambda s: s.threads.list(metadata={"seventh": True}, limit=3),
    ),
    Case("threads: list of a participant", 1, lambda s: participated(s, "ada")),
    Case("threads: list of a participant by its id", 1, lambda s: participated(s, s.ada)),
    Case("threads: list of a participant that owns", 1, lambda s: participated(s, "o1", limit=5)),
    Case("threads: list of a participant in pages", 2, pages_of_participant),
    Case("threads: list of nobody's", 1, lambda s: s.threads.list(participant_id="nobody")),
    Case("threads: count of a participant", 1, lambda s: s.threads.count(participant_id="ada")),
    Case("threads: list of an owner", 1, lambda s: s.threads.list(owner_id="o1", limit=5)),
    Case("threads: list by a name alone", 1, lambda s: s.threads.list(name="about 77", limit=5)),
    Case("threads: list by data alone", 1, lambda s: s.threads.list(data={"k": 1}, limit=5)),
    Case("threads: list by a vote of all users", 1, lambda s: s.threads.list(vote=5, limit=5)),
    Case("threads: list by creation", 1, lambda s: s.threads.list(order="created", limit=20)),
    Case("threads: list two pages by creation", 2, lambda s: pages(s, 2, order="created", newest=False)),
    Case("threads: iter of all", 2, lambda s: length(s.threads.iter())),
    Case("threads: merge", 1, lambda s: s.threads.merge("t001", name="x", metadata={"k": 1, "l": None})),
    Case("threads: merge nothing", 1, lambda s: s.threads.merge("t001")),
    Case("threads: merge into a new one", 1, lambda s: s.threads.merge("new2", name="x")),
    Case("threads: add", 1, lambda s: s.threads.merge("t001", if_absent=True, data={"k": 1})),
    Case(
        "threads: add in vain", 3, lambda s: in_vain(s.threads.merge("t001", if_absent=True, data={"k": 1}))
    ),
    Case("threads: merge a user in", 2, lambda s: s.threads.merge("new", user_id=s.ada)),
    Case("threads: get", 1, lambda s: s.threads.get("t001")),
    Case("threads: find", 1, lambda s: s.threads.find("unknown")),
    Case("threads: list", 1, lambda s: listed(s, 20, limit=20)),
    Case("threads: list 20 pages", 20, lambda s: pages(s, 20)),
    Case("threads: list of nobody", 1, lambda s: s.threads.list(user_id="unknown")),
    Case("threads: list by vote", 1, lambda s: listed(s, 20, vote=0, limit=20)),
    Case("threads: list two pages by vote", 2, lambda s: pages(s, 2, vote=1)),
    Case("threads: list by a vote that nobody gave", 1, lambda s: listed(s, 0, vote=5)),
    Case("threads: iter", 2, lambda s: length(s.threads.iter(user_id=s.ada))),
    Case("threads: iter of a kind", 1, lambda s: length(s.threads.iter(kind="role"))),
    Case("threads: iter of a kind by name", 1, lambda s: length(s.threads.iter(kind="role", name="n7"))),
    Case(
        "threads: iter of an owner by name",
        1,
        lambda s: length(s.threads.iter(kind="role", owner_id="o1", name="n7")),
    ),
    Case("threads: iter of an owner", 1, lambda s: length(s.threads.iter(kind="role", owner_id="o1"))),
    Case("threads: search what all have", 4, lambda s: listed(s, 20, text="ABOUT", limit=20)),
    Case("threads: search what none has", 2, lambda s: listed(s, 0, text="nowhere", limit=20)),
    Case("messages: merge a new one", 2, new_message("long", "new", only_missing=True, content="x")),
    Case("messages: begin again", 2, new_message("long", "new", only_missing=True, content="y")),
    Case("messages: merge more", 1, new_message("long", "new", content="z", data={"k": 1})),
    Case(
        "messages: merge more of the same time", 1, new_message("long", "m3", content="z", created_at=at(0))
    ),
    Case("messages: merge more of a later time", 3, new_message("long", "m4", created_at=at(1))),
    Case("messages: merge with the update first", 3, new_message("long", "turned", content="z")),
    Case(
        "messages: begin late",
        3,
        new_message("long", "turned", only_missing=True, content="x", data={"k": 1}),
    ),
    Case(
        "messages: begin late with a time",
        4,
        new_message("long", "turned", only_missing=True, created_at=at(1)),
    ),
    Case("messages: begin late in vain", 3, new_message("long", "turned", only_missing=True, content="x")),
    Case("messages: pin", 2, new_message("long", "new", pinned=True)),
    Case("messages: unpin", 1, new_message("long", "new", pinned=False)),
    Case("messages: get", 1, lambda s: s.threads.messages.get("long", "m7")),
    Case("messages: describe_document", 1, lambda s: s.threads.messages.describe_document("long", "m7")),
    Case("messages: find", 1, lambda s: s.threads.messages.find("long", "unknown")),
    Case("messages: list two pages", 2, two_pages),
    Case("messages: iter", 2, lambda s: length(s.threads.messages.iter("long"))),
    Case("messages: iter of a kind", 1, lambda s: length(s.threads.messages.iter(kind="role"))),
    Case(
        "messages: merge into no thread",
        2,
        lambda s: s.threads.messages.merge(None, "loose", only_missing=True),
    ),
    Case("messages: merge into its first thread", 9, new_message("long", "loose", content="x")),
    Case("messages: find_by_id", 1, lambda s: s.threads.messages.find_by_id("m7")),
    Case("messages: exists", 1, lambda s: s.threads.messages.exists("long", "m7")),
    Case("messages: list from the end", 1, lambda s: s.threads.messages.list("long", newest=True, limit=20)),
    Case("messages: list_pinned", 2, lambda s: s.threads.messages.list_pinned(s.ada)),
    Case("messages: list_pinned two pages", 4, pinned_pages),
    Case("messages: count", 1, lambda s: s.threads.messages.count("long")),
    Case("feedback: upsert", 6, liked("m7")),
    Case("feedback: upsert again", 6, liked("m7")),
    Case("feedback: find", 1, lambda s: s.threads.feedback.find("long", "m7")),
    Case("feedback: find_by_id", 1, lambda s: s.threads.feedback.find_by_id("t004")),
    Case("feedback: list", 1, lambda s: s.threads.feedback.list(limit=20)),
    Case("feedback: list two pages by value", 2, feedback_pages),
    Case("feedback: list by a value that nobody gave", 1, lambda s: s.threads.feedback.list(value=5)),
    Case("feedback: delete", 4, lambda s: s.threads.feedback.delete("t004", "t004-1")),
    Case("feedback: delete what is not there", 2, lambda s: s.threads.feedback.delete("t004", "t004-1")),
    Case("messages: delete", 4, lambda s: s.threads.messages.delete("long", "m8")),
    Case("messages: delete with feedback", 5, lambda s: s.threads.messages.delete("long", "m7")),
    Case(
        "messages: delete with an element and its file",
        8,
        lambda s: s.threads.messages.delete("t001", "t001-0"),
    ),
    Case("messages: delete nothing", 3, lambda s: s.threads.messages.delete("long", "unknown")),
    # The first one finds its thread, the last one looks whether a deletion came between.
    Case("elements: upsert a new one", 3, lambda s: s.threads.elements.upsert("long", new_element("m9"))),
    Case(
        "elements: upsert again", 3, lambda s: s.threads.elements.upsert("long", new_element("m9", "t005/0"))
    ),
    # The last one forgets the file: until it is gone a retry must find it.
    Case(
        "elements: upsert with another file",
        7,
        lambda s: s.threads.elements.upsert("long", new_element("m9")),
    ),
    Case("elements: get", 1, lambda s: s.threads.elements.get("t002", "t002/0")),
    Case("elements: find", 1, lambda s: s.threads.elements.find("t002", "unknown")),
    Case("elements: find_by_id", 1, lambda s: s.threads.elements.find_by_id("t002/0")),
    Case("elements: list", 1, lambda s: s.threads.elements.list("t002", limit=1)),
    Case("elements: list from the end", 1, lambda s: s.threads.elements.list("t002", newest=True)),
    Case("elements: list of a message", 1, lambda s: s.threads.elements.list("t002", message_id="t002-0")),
    Case("elements: iter", 1, lambda s: length(s.threads.elements.iter("t002"))),
    Case("elements: delete", 2, lambda s: s.threads.elements.delete("long", "e")),
    Case("elements: delete with its file", 5, lambda s: s.threads.elements.delete("t002", "t002/0")),
    Case("elements: delete nothing", 1, lambda s: s.threads.elements.delete("t002", "unknown")),
    Case("files: upload", 4, lambda s: s.threads.files.upload("new", CONTENT)),
    Case("files: upload in the place of another", 6, lambda s: s.threads.files.upload("new", CONTENT)),
    Case("files: upload nothing", 4, lambda s: s.threads.files.upload("empty", b"")),
    Case("files: get", 1, lambda s: s.threads.files.get("new")),
    Case("files: find", 1, lambda s: s.threads.files.find("unknown")),
    Case("files: exists", 1, lambda s: s.threads.files.exists("new")),
    Case("files: list", 1, lambda s: s.threads.files.list(limit=20)),
    Case("files: list two pages by prefix", 2, pages_of_files),
    Case("files: list from the end", 1, lambda s: s.threads.files.list(newest=True, limit=20)),
    Case("files: iter by prefix", 2, lambda s: length(s.threads.files.iter(prefix="t00"))),
    Case("files: read a small one", 2, lambda s: s.threads.files.read("t006/0")),
    Case("files: read 3 MiB", 14, lambda s: s.threads.files.read("new")),
    Case("files: iter_content of 3 MiB", 14, lambda s: length(s.threads.files.iter_content("new"))),
    Case(
        "files: iter_content of the end",
        2,
        lambda s: length(s.threads.files.iter_content("new", start=3 * MiB - 9)),
    ),
    Case("files: delete", 3, lambda s: s.threads.files.delete("new")),
    Case("files: delete nothing", 1, lambda s: s.threads.files.delete("unknown")),
    Case("threads: delete", 8, lambda s: s.threads.delete("t006")),
    Case("threads: delete a long one", 4, lambda s: s.threads.delete("long")),
    Case("threads: delete nothing", 4, lambda s: s.threads.delete("unknown")),
    Case("all: come late", 15, late),
]


# Queries that may examine more documents than they return, and why.
WIDE = {
    "threads: list a few by metadata that many have": "the index by values knows no order: threads are read "
    "in theirs, or all",
} | dict.fromkeys(
    (f"threads: list by {filter}" for filter in ("a name alone", "data alone", "a vote of all users")),
    "no index has them: threads are read in their order until the page is full",
)
# What examines more, and why.
BEYOND = WIDE | dict.fromkeys(
    (
        *("messages: count", "users: count", "threads: count", "threads: count those of a user"),
        "threads: count of a participant",
    ),
    "a key of an index for each that is counted; `limit` bounds it",
)


async def observe(uri: str, database: str, wire: CommandLog) -> Observed:
    async with AsyncMongoStore(uri, database) as store:
        await populate(store)
        ada = await store.threads.users.find_by_identifier("ada")
    sent = {}
    async with logged_store(uri, database, wire) as store:
        verbs = wrapped(store, lambda _, repository: Verbs(repository))
        for case in CASES:
            wire.sent.clear()
            await case.call(SimpleNamespace(**verbs, ada=ada and ada.id))
            sent[case.claim] = wire.sent.copy()
        repositories = {kind: type(attrgetter(kind)(store)) for kind in KINDS}
    return Observed(sent, {kind: verbs[kind].names - {*PARTS} for kind in KINDS}, repositories)


@pytest.fixture(scope="module")
def observed(server_uri: str, databases: list[str]) -> Iterator[Observed]:
    databases.append(database := f"test_{bson.ObjectId()}")
    with MongoClient[dict[str, Any]](server_uri) as explainer:
        yield asyncio.run(observe(server_uri, database, CommandLog(explainer)))
        explainer.drop_database(database)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cases_call_every_verb(observed: Observed, kind: str) -> None:
    assert observed.verbs[kind] == verbs_of(observed.repositories[kind])


def test_each_statement_names_its_owner(observed: Observed) -> None:
    sharding.check("threads", chain.from_iterable(observed.sent.values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_verb_sends_no_more_commands_than_promised(observed: Observed, case: Case) -> None:
    sent = observed.sent[case.claim]
    assert 1 <= len(sent) <= case.most, sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_a_query_examines_what_it_returns_by_an_index(observed: Observed, case: Case) -> None:
    for sent in observed.sent[case.claim]:
        if sent.is_query:
            costs = executed_by_indexes(sent, may_sort="metadata" in case.claim)
            # The messages of the threads that a search walks are read; an index finds those threads.
            if not is_search(sent):
                assert len(costs) == executions(sent), sent
                for stats in costs if case.claim not in WIDE else ():
                    most = stats["nReturned"] if case.claim in BEYOND else count_affected(sent, stats)
                    assert stats["totalDocsExamined"] <= most + 1, (sent.command, stats)


def test_a_verb_examines_three_times_what_it_returns_and_ten_at_most(observed: Observed) -> None:
    assert {case.claim for case in CASES if is_beyond(observed.sent[case.claim])} == BEYOND.keys()


def is_search(sent: Sent) -> bool:
    return sent.name == "aggregate" and "$regex" in str(sent.command["pipeline"])


async def test_a_page_costs_the_same_in_any_history_and_place(server_uri: str, database: str) -> None:
    costs = []
    for threads, messages in ((40, 1), (240, 6)):
        async with AsyncMongoStore(server_uri, database) as store:
            ada = (await store.threads.users.upsert("ada")).id
            for start in range(0, threads, 20):
                await asyncio.gather(
                    *(speak(store, name, ada, messages) for name in MANY[start : min(start + 20, threads)])
                )
        costs.append(await costs_of_pages(server_uri, database, ada))
    assert [len(pages) for pages in costs] == [2, 12]
    assert {documents for pages in costs for documents, _ in pages[:-1]} == {21}
    assert [pages[-1][0] for pages in costs] == [20, 20]
    assert max(size for pages in costs for _, size in pages) <= 640


async def speak(store: AsyncMongoStore, name: str, user_id: str, messages: int) -> None:
    await store.threads.merge(name, user_id=user_id)
    for which in range(messages):
        await store.threads.messages.merge(name, f"{name}-{which}", only_missing=True, content="x" * 500)


async def costs_of_pages(uri: str, database: str, user_id: str) -> list[tuple[int, int]]:
    """Return what each page of 20 threads examines and sends."""
    with MongoClient[dict[str, Any]](uri) as explainer:
        async with logged_store(uri, database, wire := CommandLog(explainer)) as store:
            wire.sent.clear()
            page = await store.threads.list(user_id=user_id, limit=20)
            while page.next_cursor is not None:
                page = await store.threads.list(user_id=user_id, limit=20, cursor=page.next_cursor)
        return [page_cost(sent) for sent in wire.sent if sent.name != "endSessions"]


def page_cost(sent: Sent) -> tuple[int, int]:
    """Return how many documents a page's one command examined, and the command's bytes."""
    [stats] = nested(sent.plan, "executionStats")
    assert sent.name == "find"
    return stats["totalDocsExamined"], sent.bytes


async def test_what_no_document_can_hold_is_refused_before_anything_is_sent(
    server_uri: str, database: str
) -> None:
    wire, huge = CommandLog(), {"k": "x" * (17 * MiB)}
    async with logged_store(server_uri, database, wire) as store:
        wire.sent.clear()
        for call in (
            store.threads.users.upsert("ada", metadata=huge),
            store.threads.users.create("ada", metadata=huge),
            store.threads.users.ensure("ada", metadata=huge),
            store.threads.create("t", data=huge),
            store.threads.ensure("t", data=huge),
            store.threads.update("t", data=huge),
            store.threads.merge("t", metadata=huge),
            store.threads.messages.merge("t", "m", only_missing=True, data=huge),
            store.threads.messages.merge("t", "m", content=huge["k"]),
            store.threads.elements.upsert("t", Element(id="e", message_id="m", data=huge)),
            store.threads.files.upload("k", b"x", data=huge),
        ):
            with pytest.raises(DocumentTooLargeError):
                await call
        assert wire.sent == []
