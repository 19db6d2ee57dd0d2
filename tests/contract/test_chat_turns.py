"""What chat turns promise, on every engine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import pytest

from mongostore import (
    AsyncMongoStore,
    ChangeKind,
    ConflictError,
    DocumentTooLargeError,
    Message,
    NotFoundError,
    Turn,
)
from tests.contract.edge_cases import NASTY, refused, same
from tests.contract.fixtures import altered
from tests.contract.turns import contents, insights_of, new_turns, numbers


class TestChatTurns:
    @pytest.mark.smoke
    async def test_turns_are_numbered_without_gaps_and_one_call_s_follow_each_other(
        self, store: AsyncMongoStore
    ) -> None:
        await store.sessions.create("s", participants=["a", "b"])

        async def append(participant: str, caller: int) -> None:
            for n in range(4):
                turns = new_turns(*([caller, n, part] for part in range(n + 1)))
                appended = await store.sessions.turns.append_many("s", participant, turns)
                numbers_of[participant, caller, n] = [turn.number for turn in appended]

        numbers_of: dict[tuple[str, int, int], list[int | None]] = {}
        await asyncio.gather(*(append(participant, caller) for participant in "ab" for caller in range(16)))
        for participant in "ab":
            found = await contents(store, participant)
            assert [number for number, _ in found] == [*range(1, 161)]
            numbers = {tuple(content): number for number, content in found}
            assert len(numbers) == 160
            for caller in range(16):
                for n in range(4):
                    own = [numbers[caller, n, part] for part in range(n + 1)]
                    assert own == numbers_of[participant, caller, n] == [*range(own[0], own[0] + n + 1)]
                of_caller = [number for (who, _, _), number in numbers.items() if who == caller]
                assert of_caller == sorted(of_caller)
        assert [one.turn_count for one in await store.sessions.participants.list("s")] == [160, 160]
        assert [await store.sessions.turns.count("s", name) for name in "ab"] == [160, 160]

    async def test_turns_and_messages_know_nothing_of_each_other(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        await sessions.messages.append(
            "s", Message(id="m", role="user", conversation_id="a", content="no turn")
        )
        assert await numbers(sessions, "a", new_turns("one")) == [1]
        two = await sessions.turns.append("s", "a", Turn(role="x", content="two", number=9))
        assert (two.role, two.content, two.number) == ("x", "two", 2)
        assert two.created_at
        page = await sessions.messages.list("s", conversation_id="a")
        assert [(one.content, one.position) for one in page.items] == [("no turn", 0)]
        assert await contents(store, "a") == [(1, "one"), (2, "two")]
        session = await sessions.get("s")
        assert session.last is not None
        assert (session.count, session.last.id) == (1, "m")
        assert (await sessions.messages.truncate("s")).last is None
        assert await numbers(sessions, "a", new_turns("on")) == [3]
        assert await contents(store, "a") == [(1, "one"), (2, "two"), (3, "on")]
        assert (await sessions.describe_storage("s")).in_tail == 0
        assert await sessions.participants.delete("s", "a")
        assert (await sessions.get("s")).count == 0

    async def test_repeated_append_of_turns_stores_each_id_once(self, store: AsyncMongoStore) -> None:
        turns = store.sessions.turns
        await store.sessions.create("s", participants=["a", "b"])
        sent = [Turn(id=f"t{n}", role="user", content=text) for n, text in enumerate(("x", "y" * 2_000_000))]
        first = await turns.append_many("s", "a", sent)
        revision = (await store.sessions.get("s")).revision
        assert await turns.append_many("s", "a", sent, revision=0) == first
        assert await turns.append("s", "a", sent[1]) == first[1]
        # In another order, with one that is new.
        more = [Turn(id="t2", role="user"), sent[1], sent[0]]
        assert [turn.number for turn in await turns.append_many("s", "a", more)] == [3, 2, 1]
        assert (await store.sessions.get("s")).revision == revision + 1
        assert [turn.id for turn in (await turns.list("s", "a")).items] == ["t0", "t1", "t2"]
        for other in ({"content": "other"}, {"role": "assistant"}):
            with pytest.raises(ConflictError, match="t0"):
                await turns.append_many("s", "a", [Turn(id="t9", role="user"), altered(sent[0], **other)])
        await refused(turns.append_many("s", "a", [sent[0], sent[0]]))
        assert await turns.count("s", "a") == 3
        # Of another participant, and in another epoch, it is another one.
        assert (await turns.append("s", "b", sent[0])).number == 1
        await store.sessions.truncate("s")
        assert (await turns.append("s", "a", sent[0])).number == 1

    async def test_turns_of_one_id_appended_at_the_same_time_are_one(self, store: AsyncMongoStore) -> None:
        turns = store.sessions.turns
        await store.sessions.create("s", participants=["a"])
        calls = [[f"t{n + k}" for k in range(3)] for n in (0, 1, 2) * 4]
        appended = await asyncio.gather(
            *(turns.append_many("s", "a", [Turn(id=id, role="user") for id in ids]) for ids in calls)
        )
        stored = {turn.id: turn.number for turn in (await turns.list("s", "a")).items}
        assert sorted(stored.values()) == [*range(1, 6)]
        for ids, found in zip(calls, appended, strict=True):
            assert [(turn.id, turn.number) for turn in found] == [(id, stored[id]) for id in ids]
        assert [one.collection for one in await store.find_leftovers()] == []

    async def test_batch_of_a_crashed_caller_is_not_counted_at_another_revision(
        self, store: AsyncMongoStore
    ) -> None:
        sessions, database = store.sessions, store.engine.database
        await sessions.create("s", participants=["a"])
        before = await database["sessions"].find_one({})
        bound = [Turn(role="user", content="x" * 2_000_000)]
        await sessions.turns.append_many("s", "a", bound, revision=before["revision"])
        # As a process leaves it that dies between its two writes.
        await database["sessions"].replace_one({}, before)
        await sessions.update("s", name="n")
        assert await numbers(sessions, "a", new_turns("next")) == [1]
        assert await contents(store, "a") == [(1, "next")]
        assert await store.find_leftovers() == []

    async def test_pages_of_turns_meet_every_turn_once(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        for n in range(0, 300, 3):
            await sessions.turns.append_many("s", "a", new_turns(n, n + 1, n + 2))
            await sessions.turns.append_many("s", "b", new_turns(n))
        found: list[Turn] = []
        page = await sessions.turns.list("s", "a", limit=37)
        while True:
            found += page.items
            if page.next_cursor is None:
                break
            assert len(page.items) == 37
            page = await sessions.turns.list("s", "a", limit=37, cursor=page.next_cursor)
        assert [(turn.number, turn.content) for turn in found] == [(n + 1, n) for n in range(300)]
        assert all(turn.role == "user" and turn.created_at for turn in found)
        following = await sessions.turns.list("s", "a", after=120, limit=2)
        assert [turn.number for turn in following.items] == [121, 122]
        for after in (300, 301, 10**9):
            assert (await sessions.turns.list("s", "a", after=after)).items == []
        assert len((await sessions.turns.list("s", "a")).items) == 50
        assert len((await sessions.turns.list("s", "a", limit=1000)).items) == 300

    async def test_turns_are_read_from_the_newest_back(self, store: AsyncMongoStore) -> None:
        turns = store.sessions.turns
        await store.sessions.create("s", participants=["a"])
        for n in range(0, 300, 100):
            await turns.append_many("s", "a", new_turns(*range(n, n + 100)))
        found: list[Any] = []
        page = await turns.list("s", "a", newest=True, limit=37, after=20)
        while True:
            found = [turn.number for turn in page.items] + found
            if page.next_cursor is None:
                break
            page = await turns.list("s", "a", newest=True, limit=37, after=20, cursor=page.next_cursor)
        assert found == [*range(21, 301)]
        assert [turn.number async for turn in turns.iter("s", "a", newest=True)] == [*range(300, 0, -1)]
        assert [await turns.count("s", "a", limit=limit) for limit in (1, 300, 400)] == [1, 300, 300]
        await store.sessions.messages.append_many("s", [Message(role="user") for _ in range(9)])
        assert await store.sessions.messages.count("s", limit=7) == 7
        await refused(turns.list("s", "a", newest=1), turns.count("s", "a", limit=0))  # type: ignore[arg-type]

    async def test_what_begins_anew_while_it_is_read_is_read_whole_or_not_at_all(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        for change in ("truncate", "participants.delete", "messages.truncate"):
            await sessions.create(change, participants=["a"])
            await sessions.turns.append_many(change, "a", new_turns(*range(1000)))
            arguments = ["a"] if change == "participants.delete" else []
            reading = [sessions.turns.list(change, "a", limit=1000) for _ in range(5)]
            pages: list[Any] = await asyncio.gather(
                *reading[:2],
                attrgetter(change)(sessions)(change, *arguments),
                *reading[2:],
                return_exceptions=True,
            )
            for page in [*pages[:2], *pages[3:]]:
                if change == "participants.delete" and isinstance(page, NotFoundError):
                    assert page.kind == "participant"
                else:
                    assert len(page.items) in (0, 1000)

    async def test_turns_of_any_size_and_shape_come_back_equal(self, store: AsyncMongoStore) -> None:
        at = datetime(2020, 1, 1, 12, tzinfo=UTC)
        await store.sessions.create("s", participants=["a"])
        values = [*NASTY, "x" * 2_000_000, None, {"deep": [[[[[1]]]]]}]
        for value in values:
            turn = Turn(role="assistant", content=value, created_at=at)
            await store.sessions.turns.append_many("s", "a", [turn])
        found = [turn async for turn in store.sessions.turns.iter("s", "a")]
        assert [turn.number for turn in found] == [*range(1, len(values) + 1)]
        for turn, value in zip(found, values, strict=True):
            assert (turn.role, turn.created_at) == ("assistant", at)
            assert same(turn.content, value)

    async def test_what_cannot_be_stored_is_refused_and_nothing_is_appended(
        self, store: AsyncMongoStore
    ) -> None:
        append = store.sessions.turns.append_many
        await store.sessions.create("s", participants=["a"])
        message: Any = Message(role="user")
        errors = await refused(
            append("s", "a", new_turns(1, {1: 2})),
            append("s", "a", [message]),
            append("s", "a", Turn(role="user")),
            append("s", "a", new_turns(*range(1001))),
            append("s", "a", [altered(Turn(role="user", content=1), role=5)]),
            append("s", "a", [altered(Turn(role="user"), created_at=datetime(2020, 1, 1))]),
            append("s", 5, new_turns(1)),
            append(None, "a", new_turns(1)),
            store.sessions.participants.ensure("s", None),
            store.sessions.participants.delete("s", {"$ne": 1}),
            store.sessions.turns.list("s", "a", after=-1),
            store.sessions.turns.list("s", "a", after="1"),
            store.sessions.turns.list("s", "a", cursor="x"),
            store.sessions.turns.list("s", "a", cursor=1),
            store.sessions.turns.list("s", "a", limit=0),
            store.sessions.list(newest=1),
            store.sessions.list(order="oldest"),
        )
        assert "turns[0]: must be a Turn" in str(errors[1])
        with pytest.raises(DocumentTooLargeError):
            await append("s", "a", new_turns("x", "x" * 17_000_000))
        assert await append("s", "a", []) == []
        assert await contents(store, "a") == []
        assert [turn.number for turn in await append("s", "a", new_turns(*range(1000)))] == [*range(1, 1001)]
        assert [number for number, _ in await contents(store, "a")] == [*range(1, 1001)]
        # Together more than a write holds.
        large = await append("s", "a", new_turns(*["x" * 1_000_000] * 10))
        assert [turn.number for turn in large] == [*range(1001, 1011)]

    async def test_an_iteration_over_turns_ends_when_they_begin_anew(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", participants=["a"])
        for start in (0, 1000):
            await store.sessions.turns.append_many("s", "a", new_turns(*range(start, start + 1000)))
        turns = store.sessions.turns.iter("s", "a")
        assert (await anext(turns)).number == 1
        await store.sessions.turns.append_many("s", "a", new_turns("late"))
        assert len([turn async for turn in turns]) == 1999
        turns = store.sessions.turns.iter("s", "a")
        await anext(turns)
        await store.sessions.truncate("s")
        await store.sessions.turns.append_many("s", "a", new_turns(*range(10)))
        with pytest.raises(ConflictError):
            assert [turn async for turn in turns]

    async def test_a_live_tail_of_messages_passes_over_turns(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        plain = await sessions.messages.append("s", Message(role="user", content="hole"))
        async with aclosing(sessions.messages.watch("s")) as changes:
            first = asyncio.ensure_future(anext(changes))
            while not (await asyncio.wait([first], timeout=0.3))[0]:
                await sessions.messages.update("s", plain.id, content="awake")
            await sessions.turns.append_many("s", "a", new_turns("one", "two"))
            await sessions.turns.integrate("s", insights_of)
            await sessions.messages.delete("s", plain.id)
            await sessions.participants.delete("s", "a")
            await sessions.soft_delete("s")
            received = [change async for change in changes if change.kind is not ChangeKind.UPDATE]
        assert [(change.kind, change.position) for change in received] == [("delete", 0), ("close", None)]

    @pytest.mark.parametrize("turns_of", [new_turns, lambda *texts: new_turns(*texts, "x" * 2_000_000)])
    async def test_a_batch_of_a_crashed_caller_comes_before_the_next_one(
        self, store: AsyncMongoStore, turns_of: Any
    ) -> None:
        sessions, database = store.sessions, store.engine.database
        await sessions.create("s", participants=["a"])
        await sessions.turns.append("s", "a", new_turns("first")[0])
        before = await database["sessions"].find_one({})
        await sessions.turns.append_many("s", "a", turns_of("second", "third"))
        # As a process leaves it that dies between its two writes.
        await database["sessions"].replace_one({}, before)
        assert await contents(store, "a") == [(1, "first")]
        assert await sessions.turns.count("s", "a") == 1
        revision = (await sessions.get("s")).revision
        [turn] = await sessions.turns.append_many("s", "a", new_turns("next"))
        found = await contents(store, "a")
        assert [number for number, _ in found] == [*range(1, len(found) + 1)]
        assert [text for _, text in found if len(text) < 9] == ["first", "second", "third", "next"]
        assert (turn.number, (await sessions.get("s")).revision) == (len(found), revision + 2)

    async def test_a_batch_that_a_crashed_caller_left_of_another_epoch_is_no_more(
        self, store: AsyncMongoStore
    ) -> None:
        sessions, database = store.sessions, store.engine.database
        await sessions.create("s", participants=["a"])
        await sessions.turns.append_many("s", "a", new_turns("old", "x" * 2_000_000))
        left = await database["session_turns"].find_one({})
        await sessions.truncate("s")
        await database["session_turns"].insert_one(left)
        assert await contents(store, "a") == []
        assert await numbers(sessions, "a", new_turns("new")) == [1]
        assert await contents(store, "a") == [(1, "new")]
        assert [one.collection for one in await store.find_leftovers()] == ["session_turns"]
        assert await store.mend_leftovers(grace=0) == 1
        assert await database["session_turns"].count_documents({}) == 1
