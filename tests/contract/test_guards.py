"""Changes of messages and contexts that are bound to what their callers have read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    ConflictError,
    InvalidValueError,
    Message,
    NotFoundError,
    Turn,
    VoiceDelivery,
)
from mongostore.repositories.sessions import TailLimits

SMALL = TailLimits(keep=1, full=2, context_embed_bytes=100)
LARGE = "x" * 1000


@pytest.mark.parametrize("tail_limits", [SMALL])
@pytest.mark.parametrize("number", [0, 5], ids=["segment", "tail"])
async def test_a_message_that_has_changed_is_not_changed_as_expected(
    store: AsyncMongoStore, number: int
) -> None:
    messages, name = store.sessions.messages, f"m{number}"
    for each in range(6):
        await messages.append("s", Message(id=f"m{each}", role="user", content=0), create=True)
    seen = await messages.get("s", name)
    changed = await messages.update("s", name, expected=seen, content=1)
    for change in (
        messages.update("s", name, expected=seen, content=2),
        messages.delete("s", name, expected=seen),
    ):
        with pytest.raises(ConflictError, match="has changed since"):
            await change
    assert await messages.get("s", name) == changed
    assert await messages.delete("s", name, expected=changed)
    assert not await messages.delete("s", name, expected=changed)
    with pytest.raises(NotFoundError):
        await messages.update("s", name, expected=changed, content=3)


async def test_only_messages_of_the_store_are_expected(store: AsyncMongoStore) -> None:
    for expected in ("no message", Message(role="user")):
        with pytest.raises(InvalidValueError, match="expected"):
            await store.sessions.messages.update("s", "m", expected=expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("tail_limits", [SMALL])
@pytest.mark.parametrize("first", [None, {"k": 1}, LARGE], ids=["null", "embedded", "large"])
@pytest.mark.parametrize("second", [2, LARGE + "y"], ids=["embedded", "large"])
async def test_a_context_that_has_changed_is_not_changed_as_expected(
    store: AsyncMongoStore, first: Any, second: Any
) -> None:
    context = store.sessions.context
    await store.sessions.create("s")
    with pytest.raises(NotFoundError):
        await context.set("s", second, expected=first)
    assert not await context.delete("s", expected=first)
    await context.set("s", first)
    await context.set("s", second, expected=first)
    for change in (context.set("s", first, expected=first), context.delete("s", expected=first)):
        with pytest.raises(ConflictError, match="has changed since"):
            await change
    assert await context.get("s") == second
    assert await context.delete("s", expected=second)
    assert await context.find("s") is None
    assert await store.engine.collection("session_overflows").count_documents({}) == 0


@pytest.mark.parametrize("first", [1, {"k": [0.0, True]}, math.nan], ids=repr)
async def test_numbers_and_truth_values_are_not_taken_for_each_other(
    store: AsyncMongoStore, first: Any
) -> None:
    others: list[Any] = (
        [True, 1.0] if first == 1 else [{"k": [0, True]}, {"k": [False, True]}, {"k": [0.0, 1]}]
    )
    sessions, deliveries = store.sessions, store.rooms.voice_deliveries
    await store.rooms.create("r")
    await sessions.create("s", participants=["p"])
    claimed = VoiceDelivery(room_id="r", key="k", attempt_id="a", content_hash="h")
    await deliveries.claim("r", claimed)

    def repeat(value: Any) -> list[Awaitable[Any]]:
        return [
            sessions.context.set("s", first, expected=value),
            sessions.messages.append("s", Message(id="m", role="user", content=value)),
            sessions.turns.append("s", "p", Turn(id="t", role="user", content=value)),
        ]

    await sessions.context.set("s", first)
    for _ in range(2):
        await asyncio.gather(*repeat(first))
        assert await deliveries.complete("r", claimed.model_copy(update={"outcome": {"v": first}}))
    for other in others:
        assert not await deliveries.complete("r", claimed.model_copy(update={"outcome": {"v": other}}))
        for call in [*repeat(other), sessions.context.delete("s", expected=other)]:
            with pytest.raises(ConflictError):
                await call
    assert await sessions.context.delete("s", expected=first)
