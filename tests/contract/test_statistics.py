"""What `store.statistics` counts, on every engine, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mongostore import AsyncMongoStore, Event, Feedback, InvalidValueError, Message, Turn
from mongostore.repositories import statistics
from mongostore.repositories.sessions import TailLimits
from tests.contract.command_log import CommandLog, logged_store, read_majority

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


async def fill(store: AsyncMongoStore) -> None:
    for number in range(3):
        await store.sessions.create(f"s{number}", user_id="ada" if number else None)
    # More than a tail holds, so that some are in segments.
    for number in range(20):
        at = NOW - timedelta(days=number % 2)
        await store.sessions.messages.append("s1", Message(id=f"m{number}", role="user", created_at=at))
    await store.sessions.messages.delete("s1", "m19")
    await store.sessions.messages.append("s2", Message(role="user", created_at=NOW - timedelta(days=60)))
    user = await store.threads.users.create("bea")
    await store.threads.create("t", user_id=user.id)
    for number in range(4):
        await store.threads.messages.merge("t", f"m{number}", content="hay", created_at=NOW)
    await store.threads.messages.merge(None, "of no thread", content="hay", created_at=NOW)
    for number, value in enumerate((1, 1, 0)):
        await store.threads.feedback.upsert("t", Feedback(message_id=f"m{number}", value=value))
    await store.rooms.create("r")
    await store.rooms.events.append(
        "r", Event(channel_id="sms", participant_id="cy", created_at=NOW - timedelta(days=1))
    )
    gone = await store.rooms.events.append("r", Event(channel_id="sms", created_at=NOW))
    await store.rooms.events.delete("r", gone.id)


@pytest.fixture
async def filled(store_uri: str, database: str) -> AsyncMongoStore:
    limits = TailLimits(full=8, keep=4)
    async with AsyncMongoStore(store_uri, database, tail_limits=limits) as store:
        await fill(store)
        yield store


async def test_turns_are_counted_as_messages_of_their_session(store: AsyncMongoStore) -> None:
    await store.sessions.create("s", participants=["p"])
    await store.sessions.messages.append("s", Message(role="user", content="hay"))
    await store.sessions.turns.append_many("s", "p", [Turn(role="user", content="hay") for _ in range(3)])
    found = await store.statistics()
    assert found.messages["sessions"] == 4
    assert found.lengths == {4: 1}


async def test_messages_people_and_feedback_are_counted_by_day(filled: AsyncMongoStore) -> None:
    found = await filled.statistics()
    assert len(found.days) == 30
    days = {day.day: day for day in found.days}
    last, before = days[NOW.date()], days[NOW.date() - timedelta(days=1)]
    assert last.messages == {"sessions": 10, "threads": 4, "rooms": 0}
    assert before.messages == {"sessions": 9, "threads": 0, "rooms": 1}
    assert (last.people, before.people) == (2, 2)
    assert last.feedback == {0: 1, 1: 2}
    assert sum(sum(day.messages.values()) for day in found.days) == 24
    assert found.messages == {"sessions": 19, "threads": 4, "rooms": 1}
    assert found.feedback == {0: 1, 1: 2}
    assert found.people == 3
    assert found.lengths == {1: 1, 4: 1, 19: 1}
    assert found.median_length == 4
    assert found.hours[NOW.weekday() * 24 + 12] == 14
    assert sum(found.hours) == 24
    assert found.is_complete


async def test_feedback_is_counted_by_each_tag_of_its_thread(filled: AsyncMongoStore) -> None:
    assert (await filled.statistics()).feedback_by_tag == {"": {0: 1, 1: 2}}
    await filled.threads.update("t", tags=["gardens", "audit"])
    await filled.threads.create("u", tags=["audit"])
    await filled.threads.messages.merge("u", "n", content="hay", created_at=NOW)
    await filled.threads.feedback.upsert("u", Feedback(message_id="n", value=0))
    await filled.threads.feedback.upsert(None, Feedback(message_id="of no thread", value=1))
    found = (await filled.statistics()).feedback_by_tag
    assert found == {"": {1: 1}, "audit": {0: 2, 1: 2}, "gardens": {0: 1, 1: 2}}


async def test_conversations_and_collections_are_sized(filled: AsyncMongoStore) -> None:
    found = await filled.statistics()
    assert found.conversations == {"sessions": 3, "threads": 1, "rooms": 1}
    sizes = {one.collection: one.bytes for one in found.collections}
    assert sizes["session_segments"] > 0
    assert found.collections == await filled.usage()


async def test_the_first_day_is_the_callers(filled: AsyncMongoStore) -> None:
    assert len((await filled.statistics(NOW)).days) == 2
    assert (await filled.statistics(NOW)).messages["sessions"] == 10
    old = await filled.statistics(NOW - timedelta(days=61))
    assert old.messages["sessions"] == 20
    for wrong in (NOW + timedelta(days=3), NOW - timedelta(days=367), NOW.replace(tzinfo=None), "monday"):
        with pytest.raises(InvalidValueError, match=r"^since: "):
            await filled.statistics(wrong)  # type: ignore[arg-type]


async def test_an_empty_store_has_statistics(store: AsyncMongoStore) -> None:
    found = await store.statistics()
    assert (found.people, found.lengths, found.median_length, found.feedback) == (0, {}, 0, {})
    assert found.feedback_by_tag == {}
    assert found.messages == {"sessions": 0, "threads": 0, "rooms": 0}


@pytest.mark.server
async def test_statistics_read_a_bounded_number_of_documents(
    server_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_READ", dict.fromkeys(statistics.MOST_READ, 5))
    async with AsyncMongoStore(server_uri, database) as store:
        for number in range(60):
            await store.threads.messages.merge("t", f"m{number}", content="hay")
    with_plans = CommandLog(None)
    async with logged_store(server_uri, database, with_plans) as store:
        await read_majority(store)
        with_plans.sent.clear()
        found = await store.statistics()
    assert found.messages["threads"] == 5
    assert not found.is_complete
    aggregates = [sent for sent in with_plans.sent if sent.name == "aggregate" and sent.command.get("hint")]
    assert {next(iter(sent.command["pipeline"][0].items())) for sent in aggregates} == {("$limit", 5)}
    assert len(aggregates) == 5
