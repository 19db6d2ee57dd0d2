"""Messages that branch: each history is what leads to its last message, whatever else the session holds."""

from __future__ import annotations

import asyncio
import random

import pytest

from mongostore import (
    AsyncMongoStore,
    ConflictError,
    InvalidValueError,
    Message,
    NotFoundError,
)
from mongostore.repositories.sessions import AsyncSessionBranches, TailLimits


def new_messages(*ids: object) -> list[Message]:
    return [Message(id=str(id), role="user", content=f"says {id}") for id in ids]


@pytest.fixture
def tail_limits() -> TailLimits:
    """Messages leave the session's document soon."""
    return TailLimits(keep=4, full=8)


@pytest.fixture
def branches(store: AsyncMongoStore) -> AsyncSessionBranches:
    return store.sessions.branches


async def history(branches: AsyncSessionBranches, message_id: object, session_id: str = "s") -> list[str]:
    return [message.id for message in await branches.list(session_id, str(message_id), limit=1000)]


@pytest.mark.smoke
@pytest.mark.parametrize("turns", [40, pytest.param(120, marks=pytest.mark.long)])
async def test_any_tree_is_read_back_along_each_of_its_branches(
    branches: AsyncSessionBranches, turns: int
) -> None:
    rolled, parents = random.Random(7), dict[str, str | None]()
    for number in range(turns):
        known = [*parents]
        # Most turns continue the newest message, as people do.
        is_first = not known or rolled.random() < 0.05
        newest = known[-1] if known and rolled.random() < 0.7 else rolled.choice(known or [""])
        parent = None if is_first else newest
        ids = [f"{number}.{i}" for i in range(rolled.randint(1, 3))]
        await branches.append_many("s", new_messages(*ids), parent_id=parent, create=True)
        for id in ids:
            parents[id], parent = parent, id
    for id in rolled.sample([*parents], turns // 2):
        expected: list[str] = []
        chosen: str | None = id
        while chosen is not None:
            expected.insert(0, chosen)
            chosen = parents[chosen]
        assert await history(branches, id) == expected
        newest_first: list[str] = []
        cursor, reading = None, True
        while reading:
            page = await branches.list("s", id, newest=True, limit=3, cursor=cursor)
            newest_first = [message.id for message in page] + newest_first
            cursor, reading = page.next_cursor, page.next_cursor is not None
        assert newest_first == expected
        assert [one.id for one in await branches.list("s", id, limit=2)] == expected[:2]


async def test_an_append_changes_its_session_in_the_same_write(
    branches: AsyncSessionBranches, store: AsyncMongoStore
) -> None:
    [first] = await branches.append_many(
        "s", new_messages(1), create={"user_id": "ada"}, update={"data": {"head": 1}}
    )
    assert (first.position, first.conversation_id) == (0, "1")
    session = await store.sessions.get("s")
    assert (session.user_id, session.data, session.count) == ("ada", {"head": 1}, 1)
    with pytest.raises(ConflictError):
        await branches.append_many("s", new_messages(2), parent_id="1", revision=session.revision + 1)
    await branches.append_many(
        "s", new_messages(2), parent_id="1", update={"metadata": {"k": 1}}, revision=session.revision
    )
    assert (await store.sessions.get("s")).metadata["k"] == 1
    assert await history(branches, 2) == ["1", "2"]


async def test_what_is_not_there_is_refused(branches: AsyncSessionBranches) -> None:
    with pytest.raises(NotFoundError):
        await branches.append_many("s", new_messages(1))
    with pytest.raises(NotFoundError):
        await branches.append_many("s", new_messages(1), parent_id="none", create=True)
    await branches.append_many("s", new_messages(1), create=True)
    with pytest.raises(NotFoundError):
        await branches.append_many("s", new_messages(2), parent_id="none")
    with pytest.raises(NotFoundError):
        await branches.list("s", "none")
    with pytest.raises(InvalidValueError):
        await branches.append_many("s", [])
    assert await history(branches, 1) == ["1"]


async def test_a_repeated_append_is_stored_once(branches: AsyncSessionBranches) -> None:
    await branches.append_many("s", new_messages(1), create=True)
    for _ in range(2):
        await branches.append_many("s", new_messages(2, 3), parent_id="1", create=True)
    await branches.append_many("s", new_messages(4), parent_id="3")
    await branches.append_many("s", new_messages(2, 3), parent_id="1")
    await branches.append_many("s", new_messages(1), create=True)
    assert await history(branches, 4) == ["1", "2", "3", "4"]


async def test_of_parallel_turns_each_is_a_branch_or_refused(branches: AsyncSessionBranches) -> None:
    await branches.append_many("s", new_messages("first"), create=True)
    turns = [branches.append_many("s", new_messages(number), parent_id="first") for number in range(16)]
    outcomes = await asyncio.gather(*turns, return_exceptions=True)
    stored = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, list)]
    assert stored
    assert all(isinstance(outcome, list | ConflictError) for outcome in outcomes)
    for number in stored:
        assert await history(branches, number) == ["first", str(number)]


async def test_a_session_is_found_by_any_message_of_its_branches(
    branches: AsyncSessionBranches, store: AsyncMongoStore
) -> None:
    await branches.append_many("s", new_messages(*range(30)), create=True)
    await branches.append_many("s", new_messages("late"), parent_id="3")
    await store.sessions.messages.append("plain", *new_messages("plain"), create=True)
    for id in ("0", "15", "29", "late"):
        found = await branches.find_by_message(id)
        assert found is not None
        assert found.id == "s"
    assert await branches.find_by_message("plain") is None
    assert await store.sessions.in_namespace("other").branches.find_by_message("15") is None
    await store.sessions.delete("s")
    assert await branches.find_by_message("15") is None


async def test_branches_are_messages_like_all_others(
    branches: AsyncSessionBranches, store: AsyncMongoStore
) -> None:
    await branches.append_many("s", new_messages(1, 2, 3), create=True)
    await branches.append_many("s", new_messages(4), parent_id="2")
    assert [message.id for message in await store.sessions.messages.list("s")] == ["1", "2", "3", "4"]
    conversations = await store.sessions.conversations.list("s")
    assert [(each.id, each.count) for each in conversations] == [("1", 3), ("4", 1)]
    await store.sessions.messages.delete("s", "2")
    assert await history(branches, 4) == ["1", "4"]
