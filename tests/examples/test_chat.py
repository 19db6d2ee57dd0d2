"""Tests of your own code: a private store in memory for each test, no server, no mocks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import ValidationError

from mongostore import AsyncMongoStore, Message, NotFoundError


@pytest_asyncio.fixture
async def store() -> AsyncIterator[AsyncMongoStore]:
    async with AsyncMongoStore("mongomock://") as store:
        yield store


async def greet(store: AsyncMongoStore, chat_id: str) -> Message:
    return await store.sessions.messages.append(
        chat_id, Message(role="assistant", content="Hello"), create=True
    )


@pytest.mark.asyncio
async def test_greets_once(store: AsyncMongoStore) -> None:
    first = await greet(store, "s1")
    assert first.position == 0
    assert [message.content for message in await store.sessions.messages.list("s1")] == ["Hello"]


@pytest.mark.asyncio
async def test_unknown_chat(store: AsyncMongoStore) -> None:
    with pytest.raises(NotFoundError, match="session"):
        await store.sessions.get("nobody")


def test_a_typo_is_refused() -> None:
    with pytest.raises(ValidationError):
        Message.model_validate({"role": "user", "contnet": "Hello"})


@pytest.mark.asyncio
async def test_interrupted_answer_is_kept(store: AsyncMongoStore) -> None:
    await greet(store, "s1")

    async def answer() -> None:
        async with store.sessions.messages.stream("s1", role="assistant") as out:
            await out.write("Half an ans")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await answer()
    page = await store.sessions.messages.list("s1", newest=True, limit=1)
    assert (page[0].content, page[0].status) == ("Half an ans", "interrupted")
