"""What an import of threads needs of the store: ids and times at creation, and messages by the batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    Feedback,
    InvalidValueError,
    NotFoundError,
    ThreadMessage,
)
from mongostore.repositories.threads.bulk import ThreadMessageBatches
from tests.contract.command_log import CommandLog, logged_store

TIME = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def messages(count: int, *, content: str = "said") -> list[ThreadMessage]:
    return [
        ThreadMessage(
            id=f"m{number}",
            content=f"{content} {number}",
            data={"a.b": number, "$c": None},
            pinned=number == 1,
            created_at=TIME + timedelta(microseconds=number),
        )
        for number in range(count)
    ]


async def test_a_thread_is_created_as_of_a_given_time(store: AsyncMongoStore) -> None:
    await store.threads.create("new")
    thread = await store.threads.create("old", created_at=TIME)
    assert thread == await store.threads.get("old")
    assert thread.created_at == thread.active_at == TIME
    assert [one.id for one in await store.threads.list()] == ["new", "old"]
    with pytest.raises(InvalidValueError, match="created_at"):
        await store.threads.create("naive", created_at=datetime(2024, 1, 1))


async def test_a_user_is_created_with_a_given_id_and_time(store: AsyncMongoStore) -> None:
    user = await store.threads.users.create("ada", user_id="u1", metadata={"a": 1}, created_at=TIME)
    assert user == await store.threads.users.get("u1")
    assert (user.id, user.created_at) == ("u1", TIME)
    for identifier, user_id in (("ada", "u2"), ("ada", "u1"), ("bob", "u1"), ("ada", None)):
        with pytest.raises(AlreadyExistsError):
            await store.threads.users.create(identifier, user_id=user_id, metadata={"a": 1})
    assert await store.threads.users.count() == 1


async def test_messages_of_a_batch_are_as_if_merged_one_by_one(store: AsyncMongoStore) -> None:
    user = await store.threads.users.create("ada")
    for thread_id in ("one", "many"):
        await store.threads.create(thread_id, user_id=user.id, created_at=TIME - timedelta(days=1))
    await ThreadMessageBatches.of(store.threads).create_many("many", messages(3))
    for message in messages(3):
        await store.threads.messages.merge(
            "one",
            f"single-{message.id}",
            content=message.content,
            data=message.data,
            pinned=message.pinned,
            created_at=message.created_at or TIME,
        )
    many = [one async for one in store.threads.messages.iter("many")]
    one = [one async for one in store.threads.messages.iter("one")]
    assert [message.model_copy(update={"id": "", "thread_id": ""}) for message in many] == [
        message.model_copy(update={"id": "", "thread_id": ""}) for message in one
    ]
    threads = {thread.id: thread async for thread in store.threads.iter()}
    assert threads["many"].active_at == threads["one"].active_at == TIME + timedelta(microseconds=2)
    pinned = await store.threads.messages.list_pinned(user.id)
    assert {message.id for message in pinned} == {"m1", "single-m1"}
    # A step that begins late fills only what is missing, as for one that was merged.
    await store.threads.messages.merge("many", "m0", only_missing=True, content="late", parent_id="p")
    changed = await store.threads.messages.get("many", "m0")
    assert (changed.content, changed.parent_id) in (("late", "p"), ("said 0", "p"))


async def test_a_batch_again_changes_nothing_and_other_content_is_refused(store: AsyncMongoStore) -> None:
    batches = ThreadMessageBatches.of(store.threads)
    for _ in range(2):
        await batches.create_many("t", messages(3))
    await batches.create_many("t", messages(4))
    with pytest.raises(ConflictError, match="'m0' is already there"):
        await batches.create_many("t", messages(1, content="other"))
    with pytest.raises(ConflictError):
        await batches.create_many("elsewhere", messages(1))
    stored = [message async for message in store.threads.messages.iter("t")]
    assert [message.content for message in stored] == ["said 0", "said 1", "said 2", "said 3"]


async def test_a_batch_for_a_deleted_thread_leaves_nothing(store: AsyncMongoStore) -> None:
    await store.threads.create("t")
    await store.threads.delete("t")
    with pytest.raises(NotFoundError):
        await ThreadMessageBatches.of(store.threads).create_many("t", messages(3))
    assert await store.threads.messages.count("t") == 0


async def test_a_batch_with_what_cannot_be_stored_stores_nothing(store: AsyncMongoStore) -> None:
    large = ThreadMessage(id="large", content="x" * 17_000_000, created_at=TIME)
    with pytest.raises(DocumentTooLargeError):
        await ThreadMessageBatches.of(store.threads).create_many("t", [*messages(1), large])
    with pytest.raises(InvalidValueError):
        await ThreadMessageBatches.of(store.threads).create_many(
            "t", [ThreadMessage(id="\ud83d", created_at=TIME)]
        )
    assert await store.threads.messages.count("t") == 0


async def test_a_batch_takes_messages_of_no_thread(store: AsyncMongoStore) -> None:
    await ThreadMessageBatches.of(store.threads).create_many(None, messages(1))
    message = await store.threads.messages.find_by_id("m0")
    assert message is not None
    assert message.thread_id is None
    assert [one async for one in store.threads.iter()] == []


def feedback(*numbers: int, value: int = 1) -> list[Feedback]:
    return [Feedback(id=f"f{number}", message_id=f"m{number}", value=value) for number in numbers]


async def test_feedback_of_a_batch_is_as_if_it_came_one_by_one(store: AsyncMongoStore) -> None:
    batches = ThreadMessageBatches.of(store.threads)
    await store.threads.create("t")
    await batches.create_many("t", messages(4))
    await batches.add_feedback("t", feedback(0, 1))
    await store.threads.feedback.upsert("t", feedback(2)[0])
    stored = [one.feedback async for one in store.threads.messages.iter("t")]
    expected = [one.model_copy(update={"thread_id": "t"}) for one in feedback(0, 1, 2)]
    assert stored == [*expected, None]
    assert [one.id for one in await store.threads.list(vote=1)] == ["t"]
    # The votes by which lists are filtered are as those of feedback that comes one by one.
    for number in range(3):
        assert await store.threads.feedback.delete("t", f"m{number}")
    assert not (await store.threads.list(vote=1)).items


@pytest.mark.parametrize("thread_id", ["t", "elsewhere"])
async def test_feedback_of_a_batch_is_stored_whole_or_not_at_all(
    store: AsyncMongoStore, thread_id: str
) -> None:
    batches = ThreadMessageBatches.of(store.threads)
    await batches.create_many("t", messages(4))
    await batches.add_feedback("t", feedback(0))
    refused = [feedback(1, 0), feedback(1, 9), [Feedback(id="f0", message_id="m1", value=1)]]
    twice = [Feedback(id="f5", message_id=f"m{number}", value=1) for number in (1, 2)]
    for some in (*refused, twice):
        with pytest.raises(ConflictError):
            await batches.add_feedback(thread_id, some)
    stored = [one.feedback async for one in store.threads.messages.iter("t")]
    assert [one and one.id for one in stored] == ["f0", None, None, None]


async def test_feedback_of_a_batch_costs_as_much_as_one(server_uri: str, database: str) -> None:
    wire = CommandLog()
    async with logged_store(server_uri, database, wire) as store:
        batches = ThreadMessageBatches.of(store.threads)
        await store.threads.create("t")
        await batches.create_many("t", messages(100))
        wire.sent.clear()
        await batches.add_feedback("t", feedback(*range(100)))
        # The ids, the messages, the thread and the end of the transaction.
        assert len(wire.sent) == 4
