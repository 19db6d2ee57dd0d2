"""Hooks: an application receives each call of a store, and each retry."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    CallRecord,
    ConfigurationError,
    Hooks,
    Message,
    MongoStore,
    NotFoundError,
)


class Calls(Hooks):
    """Keeps the records that it receives."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def on_call(self, call: CallRecord) -> None:
        # Opening a store on a server finishes deletions, if it may create indexes.
        if call.operation != "Leftovers.finish_some":
            self.records.append(call)


class Failing(Hooks):
    """Raises an error with a text in it."""

    def on_call(self, call: CallRecord) -> None:
        raise ValueError("a secret")


class Waiting(Hooks):
    """Has a method that would have to be awaited."""

    async def on_call(self, call: CallRecord) -> None:  # type: ignore[override]
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
            await store.sessions.create("s")
    assert {record.getMessage() for record in caplog.records} == {"a hook of Failing failed: ValueError"}
    assert len(calls.records) == 1


@pytest.mark.parametrize("hooks", [Hooks(), [object()], [Waiting()], [Hooks]], ids=range(4))
@pytest.mark.parametrize("store", [AsyncMongoStore, MongoStore])
def test_what_is_no_list_of_hooks_is_refused(store: Any, hooks: Any) -> None:
    with pytest.raises(ConfigurationError, match="hooks"):
        store("mongomock://", hooks=hooks)
