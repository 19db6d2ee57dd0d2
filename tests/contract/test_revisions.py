"""The guard `revision=`: a change of a session is made at that revision or not at all."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongostore import AlreadyExistsError, AsyncMongoStore, ConflictError, InvalidValueError, Message
from mongostore.models import Turn
from tests.contract.turns import insights_of

Change = Callable[[AsyncMongoStore, int], Awaitable[Any]]
CHANGES: dict[str, Change] = {
    "update": lambda store, revision: store.sessions.update("s", name="n", revision=revision),
    "truncate": lambda store, revision: store.sessions.truncate("s", revision=revision),
    "soft_delete": lambda store, revision: store.sessions.soft_delete("s", revision=revision),
    "delete": lambda store, revision: store.sessions.delete("s", revision=revision),
    "participants.create": lambda store, revision: store.sessions.participants.create(
        "s", "q", revision=revision
    ),
    "participants.delete": lambda store, revision: store.sessions.participants.delete(
        "s", "p", revision=revision
    ),
    "turns.append": lambda store, revision: store.sessions.turns.append(
        "s", "p", Turn(role="user", content="y"), revision=revision
    ),
    "turns.append_many": lambda store, revision: store.sessions.turns.append_many(
        "s", "p", [Turn(role="user", content=text) for text in ("y", "z" * 2_000_000)], revision=revision
    ),
    "turns.integrate": lambda store, revision: store.sessions.turns.integrate(
        "s", insights_of, revision=revision
    ),
}


async def prepared(store: AsyncMongoStore) -> int:
    """Make a session with a message and a turn, and return its revision."""
    await store.sessions.create("s", data={"k": 1}, participants=["p"])
    await store.sessions.messages.append("s", Message(id="m", role="user", content="x"))
    await store.sessions.turns.append("s", "p", Turn(role="user", content="x"))
    return (await store.sessions.get("s")).revision


async def contents(store: AsyncMongoStore) -> Any:
    sessions = store.sessions
    return (
        await sessions.get("s"),
        (await sessions.messages.list("s")).items,
        await sessions.turns.count("s", "p"),
    )


def test_every_verb_with_a_revision_is_tried_here() -> None:
    sessions = AsyncMongoStore("mongomock://").sessions
    found = {
        prefix + name
        for prefix, noun in (
            ("", sessions),
            ("participants.", sessions.participants),
            ("turns.", sessions.turns),
        )
        for name, verb in inspect.getmembers(type(noun), inspect.iscoroutinefunction)
        if "revision" in inspect.signature(verb).parameters
    }
    assert found == CHANGES.keys()


@pytest.mark.parametrize("name", CHANGES)
async def test_change_at_another_revision_changes_nothing(store: AsyncMongoStore, name: str) -> None:
    revision = await prepared(store)
    before = await contents(store)
    for other in (0, revision - 1, revision + 1):
        with pytest.raises(ConflictError):
            await CHANGES[name](store, other)
    with pytest.raises(InvalidValueError):
        await CHANGES[name](store, True)
    assert await contents(store) == before
    await CHANGES[name](store, revision)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "delete"])
async def test_change_that_counts_as_a_revision_sets_updated_at(store: AsyncMongoStore, name: str) -> None:
    revision = await prepared(store)
    before = await store.sessions.get("s")
    await store.sessions.messages.append("s", Message(role="user"))
    await store.sessions.context.set("s", [1])
    assert (await store.sessions.get("s")).updated_at == before.updated_at
    await CHANGES[name](store, revision)
    [after] = (await store.sessions.list(deleted=None)).items
    assert after.revision > before.revision
    assert after.updated_at > before.updated_at


@pytest.mark.parametrize("name", CHANGES)
async def test_of_changes_at_the_same_revision_one_is_made(store: AsyncMongoStore, name: str) -> None:
    revision = await prepared(store)
    calls = (CHANGES[name](store, revision) for _ in range(6))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    made = [one for one in outcomes if not isinstance(one, Exception) and one is not False]
    assert len(made) == 1
    refused = (ConflictError, AlreadyExistsError)
    assert all(isinstance(one, refused) for one in outcomes if isinstance(one, Exception))


@pytest.mark.parametrize("name", CHANGES)
async def test_change_beside_another_writer_is_made_before_it_or_refused(
    store: AsyncMongoStore, name: str
) -> None:
    revision = await prepared(store)
    change, _ = await asyncio.gather(
        CHANGES[name](store, revision),
        store.sessions.update("s", description="d"),
        return_exceptions=True,
    )
    session = await store.sessions.find("s")
    if isinstance(change, ConflictError):
        assert session is not None
        assert (session.revision, session.data) == (revision + 1, {"k": 1})
    else:
        assert not isinstance(change, Exception)
