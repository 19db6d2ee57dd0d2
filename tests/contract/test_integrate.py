"""What the integration of a session's chat turns promises, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ChatTurn
from mongostore.repositories import current_call
from mongostore.testing.store import IntegrationStepsSuite, IntegrationSuite
from mongostore.testing.store.chat_turns import said
from mongostore.testing.store.integration import insights_of


class TestIntegration(IntegrationSuite):
    """What integrations promise."""


@pytest.mark.usefixtures("small_tails")
class TestIntegrationSteps(IntegrationStepsSuite):
    """What is left of any sequence of changes."""


async def test_an_integrator_takes_longer_than_any_call_may(
    store_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "3")
    async with AsyncMongoStore(store_uri, database) as store:
        await store.sessions.create("s", participants=["a"])
        await store.sessions.append_chat_turns("s", "a", said(1))

        async def slow(participant: str, turns: Sequence[ChatTurn]) -> list[Any]:
            with pytest.raises(AssertionError):
                current_call()
            await asyncio.sleep(3.5)
            # And it may use the store, each call with its own time.
            return [len((await store.sessions.list_chat_turns("s", participant)).items)]

        integration = await store.sessions.integrate("s", slow)
        assert insights_of(integration.session) == [[1]]
        await store.engine.database.client.drop_database(database)
