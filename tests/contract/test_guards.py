"""Changes of messages and contexts that are bound to what their callers have read."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConflictError, InvalidValueError, Message, NotFoundError
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
