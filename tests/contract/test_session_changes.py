"""Writes that append and change a session at once, and those that take its newest messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongostore import AsyncMongoStore, ConflictError, DocumentTooLargeError, Message, NotFoundError
from tests.contract.edge_cases import refused
from tests.contract.turns import SMALL_TAILS


def message(id: str, content: Any = "text") -> Message:
    return Message(id=id, role="user", content=content)


async def ids(store: AsyncMongoStore, session_id: str = "s") -> list[tuple[int | None, str]]:
    return [(one.position, one.id) async for one in store.sessions.messages.iter(session_id)]


class TestAppendsThatChangeTheSession:
    async def test_an_append_begins_the_session_with_its_members(self, store: AsyncMongoStore) -> None:
        append = store.sessions.messages.append
        members: Any = {"name": "begun", "metadata": {"a": 1, "b": 2}, "participants": ["p"]}
        first = await append("s", message("m0"), create=members, update={"metadata": {"b": 3}})
        again = await append("s", message("m0"), create={"name": "other"}, update={"name": "other"})
        assert (first.position, again.position) == (0, 0)
        session = await store.sessions.get("s")
        assert (session.name, session.metadata, session.count) == ("begun", {"a": 1, "b": 3}, 1)
        assert [one.id for one in session.participants] == ["p"]
        assert (await append("s", message("m1"), create=True)).position == 1
        assert (await store.sessions.create("t")).model_dump().keys() == session.model_dump().keys()
        large = await append("large", message("m", "x" * 1_100_000), create={"name": "large"})
        assert (large.position, (await store.sessions.get("large")).name) == (0, "large")
        many = [message(f"m{n}") for n in range(300)]
        assert len(await store.sessions.messages.append_many("many", many, create=True)) == 300

    async def test_appends_that_begin_one_session_at_once_are_all_there(self, store: AsyncMongoStore) -> None:
        texts = [f"m{n}" for n in range(16)]
        appended = await asyncio.gather(
            *(store.sessions.messages.append("s", message(text), create={"name": text}) for text in texts)
        )
        assert sorted(one.position or 0 for one in appended) == [*range(16)]
        assert {id for _, id in await ids(store)} == {*texts}

    async def test_a_guard_that_does_not_hold_changes_nothing(self, store: AsyncMongoStore) -> None:
        append = store.sessions.messages.append
        await append("s", message("m0"), create=True, after=-1)
        revision = (await store.sessions.get("s")).revision
        guards: list[Any] = [
            {"after": -1},
            {"after": 1},
            {"revision": revision + 1},
            {"after": -1, "create": True},
        ]
        for guard in guards:
            with pytest.raises(ConflictError):
                await append("s", message("m1"), update={"name": "changed"}, **guard)
        assert await ids(store) == [(0, "m0")]
        assert (await store.sessions.get("s")).name is None
        appended = await append("s", message("m1"), update={"name": "changed"}, after=0, revision=revision)
        assert appended.position == 1
        session = await store.sessions.get("s")
        assert (session.name, session.revision) == ("changed", revision + 1)
        # What is stored already does not ask the guards.
        assert (await append("s", message("m1"), after=0, update={"name": "no"})).position == 1
        assert (await store.sessions.get("s")).name == "changed"
        with pytest.raises(NotFoundError):
            await append("none", message("m"), create=True, revision=0)
        await store.sessions.soft_delete("s")
        with pytest.raises(NotFoundError):
            await append("s", message("m2"), create=True)

    async def test_what_appends_merge_into_a_session_has_a_limit_in_sum(self, store: AsyncMongoStore) -> None:
        append = store.sessions.messages.append
        half = "x" * 2_000_000
        await append("s", message("m0"), create={"metadata": {"a": half}})
        for n in range(1, 5):
            # The same key again and again adds nothing.
            await append("s", message(f"m{n}"), update={"metadata": {"b": half}})
        with pytest.raises(DocumentTooLargeError):
            await append("s", message("m9"), update={"metadata": {"c": half}})
        assert [id for _, id in await ids(store)] == [f"m{n}" for n in range(5)]
        assert (await append("s", message("m9"), update={"metadata": {"b": None}})).position == 5

    async def test_a_session_that_is_being_deleted_is_begun_anew(self, store: AsyncMongoStore) -> None:
        await store.sessions.messages.append("s", message("old"), create=True)
        await store.engine.database["sessions"].update_one({}, {"$set": {"state": "deleting"}})
        await store.sessions.messages.append("s", message("new"), create=True)
        assert await ids(store) == [(0, "new")]

    async def test_arguments_of_the_wrong_type_are_refused(self, store: AsyncMongoStore) -> None:
        append: Any = store.sessions.messages.append
        await refused(
            append("s", message("m"), create="yes"),
            append("s", message("m"), create={"nmae": "typo"}),
            append("s", message("m"), create=True, update=["name"]),
            append("s", message("m"), create=True, update={"nmae": "typo"}),
            append("s", message("m"), create=True, after=-2),
            append("s", message("m"), create=True, after=True),
            append("s", message("m"), create=True, revision="1"),
            append("s", message("m"), create=True, before=1),
        )
        assert not await store.sessions.exists("s")


class TestTheNewestMessages:
    @SMALL_TAILS
    async def test_pop_takes_one_after_the_other_also_from_segments(self, store: AsyncMongoStore) -> None:
        names = [f"m{n}" for n in range(20)]
        await store.sessions.messages.append_many("s", [message(name) for name in names], create=True)
        popped = [await store.sessions.messages.pop("s") for _ in range(21)]
        assert [one and (one.id, one.position) for one in popped] == [
            *((f"m{n}", n) for n in reversed(range(20))),
            None,
        ]
        session = await store.sessions.get("s")
        assert (session.count, session.last) == (0, None)
        # No position is given twice.
        assert (await store.sessions.messages.append("s", message("next"))).position == 20
        assert await store.sessions.messages.pop("unknown") is None

    async def test_pops_at_once_take_each_message_once(self, store: AsyncMongoStore) -> None:
        await store.sessions.messages.append_many("s", [message(f"m{n}") for n in range(12)], create=True)
        popped = await asyncio.gather(*(store.sessions.messages.pop("s") for _ in range(16)))
        assert sorted(one.id for one in popped if one) == sorted(f"m{n}" for n in range(12))

    @pytest.mark.parametrize(
        "change",
        [
            lambda messages: messages.append("s", message("new")),
            lambda messages: messages.update("s", "m8", content="changed"),
            lambda messages: messages.delete("s", "m8"),
            lambda messages: messages.pop("s"),
            lambda messages: messages.truncate("s"),
        ],
        ids=["append", "update", "delete", "pop", "truncate"],
    )
    async def test_pop_after_pop_sees_a_change_by_another_store(
        self, store: AsyncMongoStore, change: Callable[[Any], Awaitable[Any]]
    ) -> None:
        await store.sessions.messages.append_many("s", [message(f"m{n}") for n in range(10)], create=True)
        await store.sessions.messages.pop("s")
        async with AsyncMongoStore(store.address, store.engine.database.name) as other:
            await change(other.sessions.messages)
            newest = await other.sessions.messages.list("s", newest=True, limit=1)
        popped = await store.sessions.messages.pop("s")
        assert popped == (newest[0] if newest else None)
        session = await store.sessions.get("s")
        remaining = await ids(store)
        assert (session.count, session.last and session.last.id) == (
            len(remaining),
            remaining[-1][1] if remaining else None,
        )

    async def test_pop_after_pop_does_not_find_an_expired_session(self, store: AsyncMongoStore) -> None:
        await store.sessions.messages.append_many("s", [message(f"m{n}") for n in range(10)], create=True)
        await store.sessions.messages.pop("s")
        await store.engine.collection("sessions").update_one({"session_id": "s"}, {"$set": {"expires_at": 1}})
        assert await store.sessions.messages.pop("s") is None

    @SMALL_TAILS
    async def test_pop_finishes_a_deletion_that_was_cut_short(self, store: AsyncMongoStore) -> None:
        names = [f"m{n}" for n in range(20)]
        await store.sessions.messages.append_many("s", [message(name) for name in names], create=True)
        # As a process leaves it that dies before the segment is changed.
        announced = {"$set": {"pending_deletes": ["m0"]}, "$inc": {"message_count": -1, "edit_count": 1}}
        await store.engine.collection("sessions").update_one({"session_id": "s"}, announced)
        popped = await store.sessions.messages.pop("s")
        assert popped is not None
        assert popped.id == "m19"
        assert [name for _, name in await ids(store)] == names[1:-1]

    async def test_pop_shows_the_message_before_whatever_lies_between(self, store: AsyncMongoStore) -> None:
        names = [f"m{n}" for n in range(40)]
        await store.sessions.messages.append_many("s", [message(name) for name in names], create=True)
        await store.sessions.messages.delete_many("s", names[5:39])
        popped = await store.sessions.messages.pop("s")
        assert popped is not None
        assert popped.id == "m39"
        session = await store.sessions.get("s")
        assert session.last is not None
        assert (session.count, session.last.id) == (5, "m4")

    @SMALL_TAILS
    async def test_replace_newest_puts_others_in_their_place(self, store: AsyncMongoStore) -> None:
        replace = store.sessions.messages.replace_newest
        names = [f"m{n}" for n in range(10)]
        await store.sessions.messages.append_many("s", [message(name) for name in names], create=True)
        new = await replace("s", names[3:], [message("summary"), message("large", "x" * 1_100_000)])
        assert [(one.id, one.position) for one in new] == [("summary", 10), ("large", 11)]
        expected = [*((n, f"m{n}") for n in range(3)), (10, "summary"), (11, "large")]
        assert await ids(store) == expected
        session = await store.sessions.get("s")
        assert session.last is not None
        assert (session.count, session.last.id) == (5, "large")
        for wrong in (["large", "summary"], ["summary"], names[3:]):
            with pytest.raises(ConflictError):
                await replace("s", wrong, [message("other")])
        with pytest.raises(ConflictError):
            await replace("s", ["large"], [message("m1")])
        assert await ids(store) == expected
        assert await replace("s", ["summary", "large"], []) == []
        session = await store.sessions.get("s")
        assert (session.count, session.last and session.last.id) == (3, "m2")
        with pytest.raises(NotFoundError):
            await replace("unknown", [], [message("m")])


class TestWholeSessions:
    async def test_ensure_gets_what_is_there_and_creates_what_is_not(self, store: AsyncMongoStore) -> None:
        made = await asyncio.gather(*(store.sessions.ensure("s", name=f"n{n}") for n in range(8)))
        assert len({one.name for one in made}) == 1
        assert await store.sessions.ensure("s", name="other") == made[0]
        await store.sessions.soft_delete("s")
        with pytest.raises(NotFoundError):
            await store.sessions.ensure("s")

    async def test_a_session_is_deleted_at_the_revision_that_was_seen(self, store: AsyncMongoStore) -> None:
        seen = await store.sessions.create("s")
        changed = await store.sessions.update("s", name="changed")
        with pytest.raises(ConflictError):
            await store.sessions.delete("s", revision=seen.revision)
        assert await store.sessions.exists("s")
        assert await store.sessions.delete("s", revision=changed.revision)
        assert not await store.sessions.delete("s", revision=changed.revision)

    async def test_lists_go_on_behind_any_session(self, store: AsyncMongoStore) -> None:
        for n in range(5):
            await store.sessions.create(f"s{n}")
        await store.sessions.messages.append("s1", message("m"))
        for order in ("active", "created"):
            whole = (await store.sessions.list(order=order)).items  # type: ignore[arg-type]
            cursor = store.sessions.cursor_of(whole[2], order=order)  # type: ignore[arg-type]
            rest = await store.sessions.list(order=order, cursor=cursor)  # type: ignore[arg-type]
            assert rest.items == whole[3:]
        walked = [one.id async for one in store.sessions.iter(newest=True)]
        assert walked == [f"s{n}" for n in reversed(range(5))]
        assert [await store.sessions.count(limit=n) for n in (1, 3, 9)] == [1, 3, 5]

    async def test_sessions_of_all_namespaces_are_one_list(self, store: AsyncMongoStore) -> None:
        for n in range(30):
            await store.sessions.in_namespace(f"n{n % 7}").create(f"s{n}")
        await store.sessions.in_namespace("n0").soft_delete("s7")
        await store.sessions.in_namespace("n3").messages.append("s3", Message(role="user"))
        expected = ["s3", *(f"s{n}" for n in reversed(range(30)) if n not in (3, 7))]
        for newest, order in ((True, expected), (False, expected[::-1])):
            found: list[str] = []
            cursor = None
            while len(found) < 29:
                page = await store.sessions.namespaces.list_sessions(newest=newest, limit=4, cursor=cursor)
                found += [session.id for session in page]
                cursor = page.next_cursor
            assert (found, cursor) == (order, None)
        first, *_ = await store.sessions.namespaces.list_sessions()
        assert (first.namespace, first.count) == ("n3", 1)
        rest = await store.sessions.namespaces.list_sessions(cursor=store.sessions.cursor_of(first))
        assert [session.id for session in rest] == expected[1:]
        await refused(
            store.sessions.namespaces.list_sessions(cursor="x"),
            store.sessions.namespaces.list_sessions(limit=0),
            store.sessions.namespaces.list_sessions(newest=1),  # type: ignore[arg-type]
        )

    async def test_namespaces_are_listed_once_each(self, store: AsyncMongoStore) -> None:
        namespaces = store.sessions.namespaces
        assert (await namespaces.list()).items == []
        names = sorted(["default", "a", "b c", "\u00fc", *(f"n{n}" for n in range(60))])
        for name in names:
            for n in range(2):
                await store.sessions.in_namespace(name).create(f"s{n}")
        found: list[str] = []
        page = await namespaces.list(limit=7)
        while True:
            found += page.items
            if page.next_cursor is None:
                break
            page = await namespaces.list(limit=7, cursor=page.next_cursor)
        assert found == names == [name async for name in namespaces.iter()]
        assert (await namespaces.list(limit=2, newest=True)).items == names[:-3:-1]
        assert [await namespaces.exists(name) for name in ("a", "none")] == [True, False]
        assert [one.namespace async for one in namespaces.iter_sessions("s1")] == names
        await store.sessions.in_namespace(names[0]).delete("s1")
        assert [one.namespace async for one in namespaces.iter_sessions("s1")] == names[1:]
        assert [one async for one in namespaces.iter_sessions("none")] == []
        await refused(namespaces.list(cursor="x"), namespaces.list(limit=0), namespaces.exists(5))  # type: ignore[arg-type]


@pytest.mark.server
@pytest.mark.long
async def test_sessions_of_an_id_are_found_among_more_names_than_one_document_holds(
    server_store: AsyncMongoStore,
) -> None:
    for name in ("a", "z"):
        await server_store.sessions.in_namespace(name).create("s1")
    others = [{"_id": f"{number}", "namespace": f"n{number}" * 200} for number in range(17_000)]
    await server_store.engine.database["sessions"].insert_many(others)
    found = [one.namespace async for one in server_store.sessions.namespaces.iter_sessions("s1")]
    assert found == ["a", "z"]
