"""What `text=` and the other filters of lists mean, the same in all three houses and on every engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from mongostore import AsyncMongoStore, Event, IndexConflictError, InvalidValueError, Message, Turn
from mongostore.repositories.search import finder, indexer
from tests.contract.command_log import CommandLog, logged_store, read_majority
from tests.contract.turns import SMALL_TAILS

HOUSES = ("sessions", "threads", "rooms")
START = datetime(2026, 7, 1, tzinfo=UTC)


async def create(
    store: AsyncMongoStore, house: str, id: str, name: str | None = None, **members: Any
) -> None:
    if house == "rooms":
        data = {"name": name} if name else {}
        await store.rooms.create(id, data=data, **members)
    else:
        await getattr(store, house).create(id, name=name, **members)


async def say(store: AsyncMongoStore, house: str, id: str, content: Any, data: Any = None) -> str:
    if house == "sessions":
        message = Message(role="user", content=content, data=data or {})
        await store.sessions.messages.append(id, message)
        return message.id
    if house == "rooms":
        return (
            await store.rooms.events.append(id, Event(channel_id="c", content=content, data=data or {}))
        ).id
    message_id = f"{id}-{await store.threads.messages.count(id)}"
    await store.threads.messages.merge(id, message_id, content=content, data=data or {})
    return message_id


async def found(store: AsyncMongoStore, house: str, **where: Any) -> list[str]:
    """The conversations of a list, whose `iter` and `count` mean the same."""
    noun = getattr(store, house)
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await noun.list(cursor=cursor, **where)
        ids += [one.id for one in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(ids) == len(set(ids))
    filter = {name: value for name, value in where.items() if name not in ("limit", "newest", "order")}
    if not where.keys() & {"since", "until"}:
        assert sorted([one.id async for one in noun.iter(**filter)]) == sorted(ids)
        assert await noun.count(**filter) == len(ids)
        assert await noun.count(limit=1, **filter) == min(len(ids), 1)
    return sorted(ids)


FIELDS = {
    "text": ("the Zebra crossed", None),
    "part": ([{"type": "text", "text": "the Zebra crossed"}, {"type": "image_url", "image_url": {}}], None),
    "text in a list": (["the Zebra crossed"], None),
    "body": ({"type": "text", "body": "the Zebra crossed"}, None),
    "tool result": ([{"type": "tool_result", "content": [{"type": "text", "text": "Zebra!"}]}], None),
    "tool call": (None, {"tool_calls": [{"function": {"name": "find", "arguments": '{"of": "Zebra"}'}}]}),
    "output": ("", {"output": "a Zebra came of it"}),
    "speaker": ("hay", {"name": "Zebra"}),
}


@pytest.mark.parametrize("house", HOUSES)
async def test_words_are_found_wherever_a_message_has_them(store: AsyncMongoStore, house: str) -> None:
    for name, (content, data) in FIELDS.items():
        await create(store, house, name)
        await say(store, house, name, "before")
        await say(store, house, name, content, data)
        await say(store, house, name, "after")
    await create(store, house, "the name", "About a Zebra")
    await create(store, house, "elsewhere", "hay", metadata={"note": "zebra"})
    await say(store, house, "elsewhere", {"k": "zebra"}, {"k": "zebra", "url": "zebra"})
    await say(store, house, "elsewhere", "data:zebra")
    assert await found(store, house, text="zebra") == sorted([*FIELDS, "the name"])


# The text of a message, a search, and whether it finds the message.
SEARCHES = [
    ("École ПРИВЕТ Straße", "ecole привет strasse", True),
    ("ecole", "ÉCOLE", True),
    ("needles", "needle", True),
    ("needle", "needles", False),
    ("haystack", "stack", False),
    ("one two three", "three one", True),
    ("one two three", "one four", False),
    ("writing-desk", "writing-desk", True),
    ("writing a desk", "writing-desk", False),
    ("to be", "be", True),
    ("before", "be", False),
    ("before us", "before u", True),
    ("before us", "before s", False),
    ("これは日本語です", "日本語", True),
    ("これは日本です", "日本語", False),
    ("100% sure?", "sure?", True),
    ("sure", "sure?", False),
    ("!?", "!?", True),
    ("!", "!?", False),
    ("x" * 100, "x" * 60, True),
    ("x" * 100, "x" * 101, False),
    ("$where: {$gt: 1}", "{$gt:", True),
    ("abc", "a.c", False),
    ("what does it cost?", "t?", True),
    ("word " * 3000, "word " * 3000, True),
]


@pytest.mark.parametrize("house", HOUSES)
async def test_a_search_is_for_each_of_its_words(store: AsyncMongoStore, house: str) -> None:
    for number, (text, _, _) in enumerate(SEARCHES):
        await create(store, house, f"c{number}")
        await say(store, house, f"c{number}", "something")
        await say(store, house, f"c{number}", text)
    for number, (text, search, is_found) in enumerate(SEARCHES):
        ids = await found(store, house, text=search)
        assert (f"c{number}" in ids) == is_found, (text[:24], search[:24])


@pytest.mark.parametrize("house", HOUSES)
async def test_all_words_are_of_one_message(store: AsyncMongoStore, house: str) -> None:
    await create(store, house, "apart", "winter evening")
    await say(store, house, "apart", "raven")
    await say(store, house, "apart", "desk")
    await create(store, house, "together")
    await say(store, house, "together", "a raven on a desk")
    assert await found(store, house, text="raven desk") == ["together"]
    assert await found(store, house, text="winter raven") == []


@pytest.mark.parametrize("house", HOUSES)
async def test_no_text_is_no_filter_and_no_other_type_is_one(store: AsyncMongoStore, house: str) -> None:
    await create(store, house, "c")
    for none in (None, "", "  "):
        assert await found(store, house, text=none) == ["c"]
    for wrong in (5, b"x", ["x"], {"$gt": ""}):
        for verb in (getattr(store, house).list, getattr(store, house).count):
            with pytest.raises(InvalidValueError, match=r"^text: "):
                await verb(text=wrong)
    with pytest.raises(InvalidValueError, match=r"^words: "):
        await getattr(store, house).list(words="x")


# An index of metadata has no members with dots or dollars in their names.
UNINDEXED: list[Any] = [{"a.b": 1}, {"a": {"b.c": {"$d": None}}}, {"": 1}, [{"$a": 1}], [[{"a.b": 1}]]]


@pytest.mark.parametrize("house", HOUSES)
async def test_metadata_are_found_by_any_value(store: AsyncMongoStore, house: str) -> None:
    values = [*UNINDEXED, {}, [], {"a": {"b": 1}}, {"a": {"b.c": 1, "d": 2}}]
    for number, value in enumerate(values):
        await create(store, house, f"c{number}", metadata={"k": value})
        await create(store, house, f"d{number}", metadata={"k": {"e": value}})
    for number, value in enumerate(values):
        assert await found(store, house, metadata={"k": value}) == [f"c{number}"], value
        assert await found(store, house, metadata={"k": {"e": value}}) == [f"d{number}"], value


@pytest.mark.parametrize("house", HOUSES)
async def test_lists_filter_by_metadata_times_and_participants(store: AsyncMongoStore, house: str) -> None:
    for number in range(4):
        metadata = {"topic": "tea" if number % 2 else "cake", "$odd.key": [1, {"a": None}], "n": number}
        await create(store, house, f"c{number}", metadata=metadata, created_at=START + timedelta(days=number))
    order = {} if house == "rooms" else {"order": "created"}
    assert await found(store, house, metadata={"topic": "tea"}) == ["c1", "c3"]
    assert await found(store, house, metadata={"$odd.key": [1.0, {"a": None}], "n": 2.0}) == ["c2"]
    assert await found(store, house, metadata={"n": True}) == ["c1"]
    assert await found(store, house, metadata={"topic": "te"}) == []
    since, until = START + timedelta(days=1), START + timedelta(days=3)
    assert await found(store, house, since=since, **order) == ["c1", "c2", "c3"]
    assert await found(store, house, until=until, limit=1, **order) == ["c0", "c1", "c2"]
    assert await found(store, house, since=since, until=until, limit=1, **order) == ["c1", "c2"]
    assert await found(store, house, since=since, until=until, newest=False, limit=1, **order) == ["c1", "c2"]
    for name in ("since", "until"):
        with pytest.raises(InvalidValueError, match=rf"^{name}: "):
            await getattr(store, house).list(**{name: START.replace(tzinfo=None)})
    await say(store, house, "c1", "tea time")
    assert await found(store, house, text="tea", metadata={"n": 1}) == ["c1"]
    assert await found(store, house, text="tea", metadata={"n": 2}) == []


async def test_participants_are_those_of_each_house(store: AsyncMongoStore) -> None:
    from mongostore import RoomParticipant

    for house in HOUSES:
        for id in ("a", "b"):
            await create(store, house, id)
    await store.sessions.participants.ensure("a", "ada.$x")
    user = await store.threads.users.create("ada.$x")
    await store.threads.update("a", user_id=user.id)
    await store.threads.create("owned", owner_id="ada.$x")
    await store.rooms.participants.upsert("a", RoomParticipant(id="ada.$x"))
    assert await found(store, "sessions", participant_id="ada.$x") == ["a"]
    assert await found(store, "threads", participant_id="ada.$x") == ["a", "owned"]
    assert await found(store, "threads", participant_id=user.id) == ["a"]
    assert await found(store, "rooms", participant_id="ada.$x") == ["a"]
    for house in HOUSES:
        assert await found(store, house, participant_id="ada") == []


Change = Callable[[AsyncMongoStore], Awaitable[Any]]


async def _stream(store: AsyncMongoStore) -> None:
    async with store.sessions.messages.stream("c", role="assistant") as out:
        await out.write("needle")


CHANGES: dict[str, tuple[str, Change]] = {
    "sessions.create": ("sessions", lambda s: s.sessions.create("d", name="needle")),
    "sessions.update": ("sessions", lambda s: s.sessions.update("c", name="needle")),
    "sessions.ensure": ("sessions", lambda s: s.sessions.ensure("d", description="needle")),
    "append": ("sessions", lambda s: s.sessions.messages.append("c", Message(role="user", content="needle"))),
    "append_many": (
        "sessions",
        lambda s: s.sessions.messages.append_many("c", [Message(role="user", content="needle")]),
    ),
    "messages.update": ("sessions", lambda s: s.sessions.messages.update("c", "old", content="needle")),
    "messages.update of a segment": (
        "sessions",
        lambda s: s.sessions.messages.update("c", "oldest", content="needle"),
    ),
    "messages.upsert": (
        "sessions",
        lambda s: s.sessions.messages.upsert("c", Message(id="old", role="user", content="needle")),
    ),
    "large": (
        "sessions",
        lambda s: s.sessions.messages.append("c", Message(role="user", content="needle " + "x " * 200_000)),
    ),
    "stream": ("sessions", _stream),
    "threads.create": ("threads", lambda s: s.threads.create("d", name="needle")),
    "threads.ensure": ("threads", lambda s: s.threads.ensure("d", name="needle")),
    "threads.update": ("threads", lambda s: s.threads.update("c", name="needle")),
    "threads.merge": ("threads", lambda s: s.threads.merge("d", name="needle")),
    "messages.merge": ("threads", lambda s: s.threads.messages.merge("c", "old", content="needle")),
    "messages.merge of data": (
        "threads",
        lambda s: s.threads.messages.merge("c", "old", data={"output": "needle"}),
    ),
    "messages.merge only missing": (
        "threads",
        lambda s: s.threads.messages.merge("c", "new", only_missing=True, content="needle"),
    ),
    "rooms.create": ("rooms", lambda s: s.rooms.create("d", data={"name": "needle"})),
    "rooms.update": ("rooms", lambda s: s.rooms.update("c", data={"name": "needle"})),
    "events.append": ("rooms", lambda s: s.rooms.events.append("c", Event(channel_id="c", content="needle"))),
    "events.create": ("rooms", lambda s: s.rooms.events.create("c", Event(channel_id="c", content="needle"))),
    "events.update": ("rooms", lambda s: s.rooms.events.update("c", "old", content="needle")),
    "events.replace": (
        "rooms",
        lambda s: s.rooms.events.replace("c", Event(id="old", channel_id="c", content="needle")),
    ),
}


@SMALL_TAILS
@pytest.mark.parametrize("change", CHANGES)
async def test_each_change_of_a_text_is_found_and_what_it_was_is_not(
    store: AsyncMongoStore, change: str
) -> None:
    house, run = CHANGES[change]
    await create(store, house, "c", "former")
    if house == "sessions":
        for number in range(12):
            id = {0: "oldest", 11: "old"}.get(number, f"m{number}")
            await store.sessions.messages.append("c", Message(id=id, role="user", content="straw"))
    elif house == "threads":
        await store.threads.messages.merge("c", "old", content="straw", data={"output": "straw"})
    else:
        await store.rooms.events.append("c", Event(id="old", channel_id="c", content="straw"))
    # Once the words are made, and not for the first time.
    assert await found(store, house, text="straw") == ["c"]
    assert await found(store, house, text="needle") == []
    await run(store)
    assert len(await found(store, house, text="needle")) == 1
    if change in ("threads.update", "sessions.update", "rooms.update"):
        assert await found(store, house, text="former") == []
    if change in ("events.update", "events.replace"):
        assert await found(store, house, text="straw") == []


@pytest.mark.parametrize("house", HOUSES)
async def test_what_is_deleted_is_not_found_and_leaves_no_word(
    store_uri: str, store: AsyncMongoStore, house: str
) -> None:
    for id in ("a", "b"):
        await create(store, house, id)
        gone = await say(store, house, id, "needle")
        await say(store, house, id, "straw")
    assert await found(store, house, text="needle") == ["a", "b"]
    parts = store.rooms.events if house == "rooms" else getattr(store, house).messages
    await parts.delete("a", gone if house != "sessions" else (await parts.list("a"))[0].id) if (
        house != "threads"
    ) else await parts.delete("a", "a-0")
    if house == "rooms":
        await parts.delete("a", (await parts.list("a"))[0].id)
    assert await found(store, house, text="needle") == ["b"]
    await getattr(store, house).delete("b")
    assert await found(store, house, text="needle") == []


async def test_words_of_turns_find_their_session(store: AsyncMongoStore) -> None:
    for session in ("a", "b"):
        await store.sessions.create(session, participants=["p"])
        await store.sessions.turns.append(session, "p", Turn(role="user", content=f"roses of {session}"))
    assert await found(store, "sessions", text="roses of b") == ["b"]
    assert await found(store, "sessions", text="rose") == ["a", "b"]
    await store.sessions.participants.delete("b", "p")
    assert await found(store, "sessions", text="rose") == ["a"]


async def test_the_list_of_all_namespaces_takes_the_same_filters(store: AsyncMongoStore) -> None:
    for namespace in ("default", "other"):
        sessions = store.sessions.in_namespace(namespace)
        await sessions.create("s", user_id="u", participants=["p"], metadata={"k": namespace})
        await sessions.messages.append("s", Message(role="user", content=f"hay of {namespace}"))
        await sessions.create("empty")
    everywhere = store.sessions.namespaces.list_sessions
    for where in ({"user_id": "u"}, {"participant_id": "p"}, {"text": "hay"}):
        page = await everywhere(**where)  # type: ignore[arg-type]  # each of them fits
        assert [one.namespace for one in page] == ["other", "default"]
    assert [one.namespace for one in await everywhere(metadata={"k": "other"})] == ["other"]
    assert [one.namespace for one in await everywhere(text="of default")] == ["default"]


async def test_namespaces_find_their_own_alone(store: AsyncMongoStore) -> None:
    for namespace in ("default", "other", "default0"):
        sessions = store.sessions.in_namespace(namespace)
        await sessions.create(namespace, name="needle")
        await sessions.messages.append(namespace, Message(role="user", content="straw"))
    assert await found(store, "sessions", text="needle") == ["default"]
    assert await found(store, "sessions", text="straw") == ["default"]


@pytest.mark.parametrize("house", HOUSES)
@pytest.mark.parametrize("few", [1000, 5])
async def test_pages_of_a_search_are_exact_however_frequent_the_word_is(
    store: AsyncMongoStore, house: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "FEW", few)
    monkeypatch.setattr(finder, "BATCH", 4)
    monkeypatch.setattr(finder, "MOST_BATCHES", 2)
    for number in range(40):
        await create(store, house, f"c{number:02}", created_at=START)
        await say(store, house, f"c{number:02}", "hay")
        await say(store, house, f"c{number:02}", "needle here" if number % 3 == 0 else "straw here")
    assert await found(store, house, text="needle", limit=3) == [f"c{n:02}" for n in range(0, 40, 3)]
    assert await found(store, house, text="here needle", limit=50) == [f"c{n:02}" for n in range(0, 40, 3)]
    assert await found(store, house, text="nowhere") == []
    page = await getattr(store, house).list(text="needle", limit=50)
    assert (page.next_cursor is None) == (few == 1000)


@pytest.mark.parametrize("house", ["sessions", "rooms"])
async def test_a_page_makes_a_bounded_number_of_words_and_goes_on(
    store: AsyncMongoStore, house: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "FIRST_STEPS", 1)
    monkeypatch.setattr(finder, "MOST_STEPS", 1)
    monkeypatch.setattr(indexer, "STEP", {"sessions": 2, "session_segments": 2})
    monkeypatch.setattr(indexer, "SMALL_STEP", 2)
    for number in range(7):
        await create(store, house, f"c{number}")
        await say(store, house, f"c{number}", "needle")
    page = await getattr(store, house).list(text="needle")
    assert len(page) == 0
    assert page.next_cursor is not None
    assert len(await found(store, house, text="needle")) == 7


async def test_a_step_makes_a_bounded_number_of_words(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "FIRST_STEPS", 1)
    monkeypatch.setattr(finder, "MOST_STEPS", 1)
    monkeypatch.setattr(indexer, "MOST_WORDS", 5)
    for number in range(4):
        await create(store, "sessions", f"c{number}")
        await say(store, "sessions", f"c{number}", "needle in the hay")
    # A page makes those of two sessions, and of two of its own list; the next one finds nothing left.
    pages = [await store.sessions.list(text="needle") for _ in range(2)]
    assert [len(page) for page in pages] == [0, 4]


@pytest.mark.parametrize("house", ["sessions", "rooms"])
@pytest.mark.parametrize("newest", [True, False])
async def test_a_page_after_a_large_import_has_the_first_of_the_list(
    store: AsyncMongoStore, house: str, newest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "FIRST_STEPS", 2)
    monkeypatch.setattr(finder, "BATCH", 2)
    monkeypatch.setattr(indexer, "STEP", {"sessions": 3, "session_segments": 3})
    monkeypatch.setattr(indexer, "SMALL_STEP", 3)
    for number in range(30):
        await create(store, house, f"c{number:02}")
        await say(store, house, f"c{number:02}", "needle" if number % 2 else "straw")
    page = await getattr(store, house).list(text="needle", limit=3, newest=newest)
    assert [one.id for one in page] == (["c29", "c27", "c25"] if newest else ["c01", "c03", "c05"])
    assert await store.engine.collection(house).count_documents({"unindexed": {"$gt": 0}})
    # The others follow, also where all have words by then.
    assert len(await found(store, house, text="needle", newest=newest)) == 15


def examined(plan: Any) -> int:
    """The documents that a command examines, wherever its plan has the number."""
    if isinstance(plan, list):
        return sum(map(examined, plan))
    if not isinstance(plan, dict):
        return 0
    own = plan.get("totalDocsExamined", 0)
    return own + sum(examined(value) for name, value in plan.items() if name != "executionStages")


@pytest.mark.server
@pytest.mark.parametrize("house", HOUSES)
async def test_a_word_that_is_nowhere_examines_no_document(
    server_uri: str, admin_uri: str, server_store: AsyncMongoStore, database: str, house: str
) -> None:
    for number in range(60):
        await create(server_store, house, f"c{number}")
        await say(server_store, house, f"c{number}", f"hay {number}")
    await found(server_store, house, text="hay")
    with MongoClient(admin_uri) as explainer:
        wire = CommandLog(explainer)
        async with logged_store(server_uri, database, wire) as store:
            await read_majority(store)
            wire.sent.clear()
            assert len(await getattr(store, house).list(text="nowhere")) == 0
            sent = [one for one in wire.sent if one.is_query]
            # Looked for what has no words yet, and for the word, in each collection.
            assert len(sent) <= (6 if house == "sessions" else 4)
            assert sum(examined(one.plan) for one in sent) == 0
            wire.sent.clear()
            assert [one.id for one in await getattr(store, house).list(text="hay 7")] == ["c7"]
            assert len(wire.sent) <= 9


@pytest.mark.server
async def test_a_search_without_its_index_says_how_to_create_it(server_uri: str, database: str) -> None:
    async with AsyncMongoStore(server_uri, database, ensure_indexes=False) as store:
        await store.sessions.create("s1")
        await store.sessions.messages.append("s1", Message(role="user", content="parcels"))
        with pytest.raises(IndexConflictError, match="run `mongostore indexes apply`"):
            await store.sessions.list(text="parcels")
