"""Hooks: an application receives each call of a store, and each retry."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from mongostore import (
    AppendRecord,
    AsyncMongoStore,
    CallRecord,
    ConfigurationError,
    ConflictError,
    Event,
    Hooks,
    Message,
    MongoStore,
    NotFoundError,
    Turn,
)


class Calls(Hooks):
    """Keeps the records that it receives."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.appends: list[AppendRecord] = []

    def on_append(self, append: AppendRecord) -> None:
        self.appends.append(append)

    def on_call(self, call: CallRecord) -> None:
        # Opening a store on a server finishes deletions, if it may create indexes.
        if call.operation != "Leftovers.finish_some":
            self.records.append(call)


class Failing(Hooks):
    """Raises an error with a text in it."""

    def on_call(self, call: CallRecord) -> None:
        raise ValueError("a secret")

    def on_append(self, append: AppendRecord) -> None:
        raise ValueError("a secret")


class Waiting(Hooks):
    """Has a method that would have to be awaited."""

    async def on_call(self, call: CallRecord) -> None:  # type: ignore[override]
        """Do nothing."""


class WaitingForAppends(Hooks):
    """Likewise."""

    async def on_append(self, append: AppendRecord) -> None:  # type: ignore[override]
        """Do nothing."""


async def test_each_call_of_a_verb_reaches_the_hooks_once(store_uri: str, database: str) -> None:
    calls = Calls()
    async with AsyncMongoStore(store_uri, database, hooks=[calls]) as store:
        await store.sessions.ensure("s")
        await store.sessions.messages.append("s", Message(role="user"))
        await store.sessions.list()
        with pytest.raises(NotFoundError):
            await store.sessions.get("x")
    operations = ["ensure", "append", "list", "get"]
    assert [record.operation.split(".")[1] for record in calls.records] == operations
    assert [record.error for record in calls.records] == [None, None, None, "NotFoundError"]
    assert all(0 <= record.seconds < 20 for record in calls.records)
    assert {record.attempts for record in calls.records} == {1}
    assert {record.namespace for record in calls.records} == {"default"}


async def test_what_is_appended_reaches_the_hooks_as_it_is_stored(store_uri: str, database: str) -> None:
    calls = Calls()
    async with AsyncMongoStore(store_uri, database, hooks=[calls]) as store:
        sessions = store.sessions.in_namespace("n")
        one = await sessions.messages.append("s", Message(role="user"), create={"participants": ["p"]})
        two = await sessions.messages.append_many("s", [Message(role="user"), Message(role="assistant")])
        assert await sessions.messages.append_many("s", []) == []
        turn = await sessions.turns.append("s", "p", Turn(role="user"))
        branch = await sessions.branches.append_many("s", [Message(role="user")], parent_id=one.id)
        with pytest.raises(ConflictError):
            await sessions.messages.append("s", Message(role="user"), after=99)
        event = await store.rooms.events.append("r", Event(channel_id="c"), create=True)
        async with sessions.messages.stream("s") as out:
            await out.write("Hello")
            await out.flush()
            assert len(calls.appends) == 5
        stored = await sessions.messages.get("s", out.message.id)
    assert [(append.namespace, append.parent_id, [*append.items]) for append in calls.appends] == [
        ("n", "s", [one]),
        ("n", "s", two),
        ("n", "s", [turn]),
        ("n", "s", branch),
        (None, "r", [event]),
        ("n", "s", [stored]),
    ]
    assert (stored.content, stored.status) == ("Hello", "complete")
    verbs = ["Messages.append", "Messages.append_many", "Turns.append", "Branches.append_many"]
    assert [append.operation for append in calls.appends[:4]] == [f"AsyncSession{verb}" for verb in verbs]
    assert {record.namespace for record in calls.records} == {"n", None}


async def test_a_hook_can_use_the_store_in_a_task(store_uri: str, database: str) -> None:
    class Counting(Hooks):
        def on_append(self, append: AppendRecord) -> None:
            counting = {"metadata": {"seen": append.items[0].id}}
            tasks.append(asyncio.create_task(store.sessions.update(append.parent_id, **counting)))

    tasks: list[asyncio.Task[Any]] = []
    async with AsyncMongoStore(store_uri, database, hooks=[Counting(), calls := Calls()]) as store:
        message = await store.sessions.messages.append("s", Message(role="user"), create=True)
        [updated] = await asyncio.gather(*tasks)
    assert updated.metadata == {"seen": message.id}
    # A call of its own, with its own attempts and its own time.
    assert [record.operation.split(".")[1] for record in calls.records] == ["append", "update"]


def test_hooks_of_a_blocking_store_receive_its_calls(store_uri: str, database: str) -> None:
    calls = Calls()
    with MongoStore(store_uri, database, hooks=[calls]) as store:
        store.sessions.create("s")
    assert [record.operation for record in calls.records] == ["AsyncSessions.create"]


async def test_error_of_a_hook_is_logged_by_its_type_and_dropped(
    store_uri: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls()
    with caplog.at_level(logging.WARNING, "mongostore"):
        async with AsyncMongoStore(store_uri, database, hooks=[Failing(), calls]) as store:
            await store.sessions.messages.append("s", Message(role="user"), create=True)
    assert {record.getMessage() for record in caplog.records} == {"a hook of Failing failed: ValueError"}
    assert len(calls.records) == 1


@pytest.mark.parametrize(
    "hooks", [Hooks(), [object()], [Waiting()], [WaitingForAppends()], [Hooks]], ids=range(5)
)
@pytest.mark.parametrize("store", [AsyncMongoStore, MongoStore])
def test_what_is_no_list_of_hooks_is_refused(store: Any, hooks: Any) -> None:
    with pytest.raises(ConfigurationError, match="hooks"):
        store("mongomock://", hooks=hooks)
