"""What sessions promise, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    ConflictError,
    DocumentTooLargeError,
    InvalidDocumentError,
    InvalidValueError,
    Message,
    NotFoundError,
    SessionUpdate,
)
from mongostore.repositories.store_collection import StoreCollection
from tests.contract.fixtures import counted


async def paged(store: AsyncMongoStore) -> list[str]:
    """Return the ids of all sessions, page by page, while others are made."""
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.sessions.list(limit=4, cursor=cursor)
        seen += [session.id for session in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return seen
        await store.sessions.create(user_id="u9")


class TestSessions:
    @pytest.mark.smoke
    async def test_create_returns_what_get_returns(self, store: AsyncMongoStore) -> None:
        created = await store.sessions.create(
            "s",
            user_id="u",
            name="Billing",
            description="A question",
            data={"a": [1]},
            metadata={"topic": "billing"},
        )
        assert created == await store.sessions.get("s")
        assert (created.id, created.namespace, created.user_id) == ("s", "default", "u")
        assert (created.name, created.description) == ("Billing", "A question")
        assert (created.data, created.metadata) == ({"a": [1]}, {"topic": "billing"})
        assert (created.count, created.last, created.has_context, created.deleted_at) == (
            0,
            None,
            False,
            None,
        )
        assert created.created_at == created.active_at
        assert abs(datetime.now(UTC) - created.created_at).total_seconds() < 60

    async def test_create_mints_an_id(self, store: AsyncMongoStore) -> None:
        one, other = await store.sessions.create(), await store.sessions.create()
        assert one.id != other.id
        assert await store.sessions.exists(one.id)

    async def test_create_refuses_a_taken_id_even_of_a_deleted_session(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", name="first")
        with pytest.raises(AlreadyExistsError) as caught:
            await store.sessions.create("s", name="second")
        assert (caught.value.kind, caught.value.id) == ("session", "s")
        await store.sessions.soft_delete("s")
        with pytest.raises(AlreadyExistsError):
            await store.sessions.create("s")
        assert (await store.sessions.undelete("s")).name == "first"

    async def test_parallel_creates_of_one_id_succeed_once(self, store: AsyncMongoStore) -> None:
        outcomes = await asyncio.gather(
            *(store.sessions.create("s", name=str(n)) for n in range(10)), return_exceptions=True
        )
        assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 9

    async def test_unknown_sessions(self, store: AsyncMongoStore) -> None:
        assert await store.sessions.find("x") is None
        assert not await store.sessions.exists("x")
        assert not await store.sessions.soft_delete("x")
        assert not await store.sessions.delete("x")
        assert not await store.sessions.messages.delete("x", "m")
        assert await store.sessions.messages.delete_many("x", ["m"]) == 0
        assert await store.sessions.messages.find("x", "m") is None
        assert not await store.sessions.messages.exists("x", "m")
        assert not await store.sessions.context.delete("x")
        assert await store.sessions.context.find("x") is None
        assert not await store.sessions.participants.delete("x", "p")
        assert await store.sessions.participants.find("x", "p") is None
        for call in (
            store.sessions.get("x"),
            store.sessions.update("x", name="n"),
            store.sessions.undelete("x"),
            store.sessions.truncate("x"),
            store.sessions.messages.append("x", Message(role="user")),
            store.sessions.messages.append_many("x", []),
            store.sessions.messages.update("x", "m", content=1),
            store.sessions.messages.upsert("x", Message(role="user")),
            store.sessions.messages.replace("x", Message(role="user")),
            store.sessions.messages.get("x", "m"),
            store.sessions.messages.truncate("x"),
            store.sessions.messages.list("x"),
            store.sessions.messages.count("x"),
            store.sessions.conversations.list("x"),
            store.sessions.context.get("x"),
            store.sessions.context.set("x", []),
            store.sessions.describe_storage("x"),
            store.sessions.participants.get("x", "p"),
            store.sessions.participants.list("x"),
            store.sessions.participants.create("x", "p"),
            store.sessions.participants.ensure("x", "p"),
            store.sessions.turns.count("x", "p"),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("session", "x")

    async def test_update_changes_the_given_members_only(self, store: AsyncMongoStore) -> None:
        before = await store.sessions.create(
            "s", user_id="u", name="n", data={"a": 1, "b": 2}, metadata={"k": 1}
        )
        after = await store.sessions.update("s", name="other")
        assert after == await store.sessions.get("s")
        assert after == before.model_copy(
            update={
                "name": "other",
                "updated_at": after.updated_at,
                "active_at": after.active_at,
                "revision": before.revision + 1,
            }
        )
        assert after.active_at > before.active_at
        assert (await store.sessions.update("s", data={"c": 3}, name=None)).data == {"c": 3}
        assert (await store.sessions.get("s")).name is None

    @pytest.mark.smoke
    async def test_metadata_merges_shallowly_and_none_removes(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", metadata={"keep": {"deep": 1}, "drop": 1, "a.b": 1, "$c": 1, "": 1})
        after = await store.sessions.update(
            "s",
            metadata={
                "drop": None,
                "a.b": 2,
                "a": {"b": 3},
                "": None,
                "0": [],
                "%2E;": 1,
                "nul\0": 1,
                "\ud800": 1,
            },
        )
        assert after.metadata == {
            "keep": {"deep": 1},
            "a.b": 2,
            "$c": 1,
            "a": {"b": 3},
            "0": [],
            "%2E;": 1,
            "nul\0": 1,
            "\ud800": 1,
        }
        assert (await store.sessions.update("s", metadata={"keep": {"other": 2}})).metadata["keep"] == {
            "other": 2
        }

    async def test_with_unset_none_is_a_value_and_any_key_can_be_unset(self, store: AsyncMongoStore) -> None:
        odd = {"a.b": 1, "$c": 1, "": 1, "nul\0": 1, "\ud800": 1}
        await store.sessions.create("s", metadata={"keep": 1, "drop": 1, "both": 1, **odd})
        unset = [f"metadata.{key}" for key in ("drop", "both", "unknown", *odd)]
        after = await store.sessions.update("s", metadata={"none": None, "both": 2}, unset=unset)
        assert after.metadata == {"keep": 1, "none": None, "both": 2}
        message = Message(role="user")
        update: SessionUpdate = {"metadata": {"more": None}, "unset": []}
        await store.sessions.messages.append("s", message, update=update)
        metadata = (await store.sessions.get("s")).metadata
        assert metadata == {"keep": 1, "none": None, "both": 2, "more": None}
        for bad in ("metadata.k", ["k"], ["data.k"], ["metadata"], [None]):
            with pytest.raises(InvalidValueError, match="unset"):
                await store.sessions.update("s", unset=bad)  # type: ignore[arg-type]

    async def test_parallel_updates_of_different_members_all_hold(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        await asyncio.gather(*(store.sessions.update("s", metadata={f"k{n}": n}) for n in range(20)))
        assert (await store.sessions.get("s")).metadata == {f"k{n}": n for n in range(20)}

    async def test_update_with_a_revision_holds_only_for_what_was_seen(self, store: AsyncMongoStore) -> None:
        seen = await store.sessions.create("s")
        await store.sessions.update("s", name="a", revision=seen.revision)
        with pytest.raises(ConflictError):
            await store.sessions.update("s", name="b", revision=seen.revision)
        assert (await store.sessions.get("s")).name == "a"

    @pytest.mark.smoke
    async def test_delete_and_restore(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", metadata={"k": 1})
        await store.sessions.messages.append("s", Message(id="m", role="user", content="hi"))
        before = await store.sessions.get("s")
        assert await store.sessions.soft_delete("s")
        assert not await store.sessions.soft_delete("s")
        assert await store.sessions.find("s") is None
        with pytest.raises(NotFoundError):
            await store.sessions.messages.append("s", Message(role="user"))
        with pytest.raises(NotFoundError):
            await store.sessions.messages.list("s")
        [deleted] = (await store.sessions.list(deleted=True)).items
        assert deleted.deleted_at is not None
        for states, found in ((False, None), (True, deleted), (None, deleted)):
            assert await store.sessions.find("s", deleted=states) == found
        with pytest.raises(InvalidValueError, match="deleted"):
            await store.sessions.find("s", deleted="yes")  # type: ignore[arg-type]
        restored = await store.sessions.undelete("s")
        for states, found in ((False, restored), (True, None), (None, restored)):
            assert await store.sessions.find("s", deleted=states) == found
        changes = {"revision": before.revision + 2, "updated_at": restored.updated_at}
        assert restored == before.model_copy(update=changes)
        with pytest.raises(ConflictError):
            await store.sessions.undelete("s")
        assert (await store.sessions.messages.get("s", "m")).content == "hi"

    async def test_exactly_one_of_parallel_deletes_and_restores_did_it(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        assert sum(await asyncio.gather(*(store.sessions.soft_delete("s") for _ in range(8)))) == 1
        outcomes = await asyncio.gather(
            *(store.sessions.undelete("s") for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 7

    @pytest.mark.smoke
    async def test_purge_leaves_nothing_behind(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", name="gone")
        await store.sessions.messages.append_many(
            "s", [Message(role="user", content=str(n)) for n in range(300)]
        )
        await store.sessions.messages.append("s", Message(role="user", content="x" * 2_000_000))
        await store.sessions.context.set("s", ["x" * 100_000])
        assert await store.sessions.delete("s") is True
        assert await store.sessions.delete("s") is False
        assert await store.sessions.count(deleted=None) == 0
        assert await store.sessions.create("s")
        assert await store.sessions.messages.count("s") == 0
        assert [message async for message in store.sessions.messages.iter("s")] == []
        with pytest.raises(NotFoundError):
            await store.sessions.context.get("s")
        for name in ("session_segments", "session_overflows"):
            assert await counted(store, name) == 0, name
        await store.sessions.delete("s")
        left = [one async for one in store.engine.database["sessions"].find()]
        # A creation of that id may still be on its way.
        assert [one.keys() for one in left] == [{"_id", "create_op", "state", "expires_at", "schema_version"}]
        assert not await store.find_leftovers()

    async def test_purge_of_an_older_session_leaves_no_tombstone(
        self, store: AsyncMongoStore, let_pass: Callable[[timedelta], None]
    ) -> None:
        await store.sessions.create("s")
        let_pass(timedelta(minutes=11))
        assert await store.sessions.delete("s")
        assert await counted(store, "sessions") == 0

    async def test_truncate_clears_data_and_messages_alone(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", name="n", data={"a": 1}, metadata={"k": 1})
        context = ["kept" * 30_000]
        await store.sessions.context.set("s", context)
        await store.sessions.messages.append_many(
            "s", [Message(role="user", content=str(n)) for n in range(300)]
        )
        await store.sessions.messages.append("s", Message(role="user", content="x" * 2_000_000))
        truncated = await store.sessions.truncate("s")
        assert (truncated.data, truncated.count, truncated.last) == ({}, 0, None)
        assert (truncated.name, truncated.metadata) == ("n", {"k": 1})
        assert await store.sessions.context.get("s") == context
        await store.sessions.messages.append("s", Message(role="user", content="anew"))
        [message] = (await store.sessions.messages.list("s")).items
        assert (message.content, message.position) == ("anew", 0)
        assert await counted(store, "session_segments") == 0
        assert await counted(store, "session_overflows") == 1

    async def test_list_is_newest_activity_first_with_previews(self, store: AsyncMongoStore) -> None:
        for name in "abc":
            await store.sessions.create(name)
        await store.sessions.messages.append("a", Message(role="user", content="x" * 500))
        page = await store.sessions.list()
        assert [session.id for session in page.items] == ["a", "c", "b"]
        assert page.items[0].last is not None
        assert page.items[0].last.text == "x" * 200
        assert page.next_cursor is None

    async def test_no_time_of_a_caller_keeps_a_session_on_top(self, store: AsyncMongoStore) -> None:
        sessions, ahead = store.sessions, datetime(2099, 1, 1, tzinfo=UTC)
        await sessions.create("ahead", created_at=ahead)
        await sessions.create("now")
        new = (Message(id=f"m{n}", role="user", created_at=ahead) for n in count())
        for write in (
            lambda: sessions.messages.append("ahead", next(new)),
            lambda: sessions.messages.append_many("ahead", [next(new), next(new)]),
            lambda: sessions.messages.upsert("ahead", next(new)),
            lambda: sessions.messages.replace_newest("ahead", [], [next(new)]),
            lambda: sessions.messages.append("begun", next(new), create={"created_at": ahead}),
        ):
            await write()
            assert (await sessions.list()).items[0].id in ("ahead", "begun")
            await sessions.messages.append("now", Message(role="user"))
            assert (await sessions.list()).items[0].id == "now"

    async def test_sessions_are_listed_in_the_order_of_their_creation(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        # Some at one time: the id has to decide.
        at = datetime(2020, 9, 13, tzinfo=UTC)
        for n in range(25):
            created_at = at if 7 <= n < 19 else None
            await sessions.create(f"s{n:02}", user_id=f"u{n % 2}", created_at=created_at)
        await sessions.create("early", created_at=datetime(2001, 1, 1, tzinfo=UTC))
        await sessions.in_namespace("other").create("elsewhere")
        order = ["early", *(f"s{n:02}" for n in range(7, 19))]
        order += [f"s{n:02}" for n in range(25) if f"s{n:02}" not in order]
        seen, cursor = [], None
        for n in range(100):
            page = await sessions.list(order="created", newest=False, limit=4, cursor=cursor)
            seen += [session.id for session in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
            # What becomes active, comes or goes meanwhile moves nothing.
            await sessions.update(seen[-1], name="active")
            await sessions.soft_delete(seen[-2])
            await sessions.create(f"late{n}")
        assert seen[: len(order)] == order
        assert all(name.startswith("late") for name in seen[len(order) :])
        everything = (await sessions.list(order="created", newest=False, deleted=None, limit=1000)).items
        assert [session.id for session in everything][:26] == order
        assert all((a.created_at, a.id) < (b.created_at, b.id) for a, b in pairwise(everything))
        own = await sessions.list(order="created", newest=False, user_id="u1", deleted=None)
        assert [session.id for session in own.items] == [
            name for name in order if name[0] == "s" and int(name[1:]) % 2
        ]
        with pytest.raises(InvalidValueError):
            await sessions.list(order="created", newest=False, cursor="nonsense")

    @pytest.mark.smoke
    async def test_pages_of_a_list_meet_every_session_once(self, store: AsyncMongoStore) -> None:
        for n in range(25):
            await store.sessions.create(f"s{n}", user_id=f"u{n % 2}")
        seen = await paged(store)
        assert seen == [f"s{n}" for n in range(24, -1, -1)]
        assert [session.id async for session in store.sessions.iter(user_id="u1")] == [
            name for name in reversed(seen) if int(name[1:]) % 2
        ]
        assert await store.sessions.count(user_id="u0") == 13
        names = sorted([session.id async for session in store.sessions.iter()])
        # All at one time: the id has to decide.
        await store.engine.database["sessions"].update_many({}, {"$set": {"active_at": 1}})
        assert sorted(await paged(store)) == names

    async def test_iter_meets_sessions_that_become_active_meanwhile(self, store: AsyncMongoStore) -> None:
        names = [f"s{n:03}" for n in range(450)]
        for name in names:
            await store.sessions.create(name)
        seen = []
        async for session in store.sessions.iter():
            seen.append(session.id)
            await store.sessions.update(names[-len(seen)], name="active")
        assert seen == names

    async def test_lists_by_user_and_deletion(self, store: AsyncMongoStore) -> None:
        for name in "abcd":
            await store.sessions.create(name, user_id="u" if name in "ab" else None)
        await store.sessions.soft_delete("b")
        await store.sessions.soft_delete("c")

        async def ids(**where: object) -> set[str]:
            return {session.id for session in (await store.sessions.list(**where)).items}

        assert await ids() == {"a", "d"}
        assert await ids(deleted=True) == {"b", "c"}
        assert await ids(deleted=None) == {"a", "b", "c", "d"}
        assert await ids(user_id="u") == {"a"}
        assert await ids(user_id="u", deleted=None) == {"a", "b"}
        assert await store.sessions.count(deleted=None) == 4

    async def test_namespaces_are_apart(self, store: AsyncMongoStore) -> None:
        acme = store.sessions.in_namespace("acme")
        await store.sessions.create("s", name="default")
        await acme.create("s", name="acme")
        await acme.messages.append("s", Message(id="m", role="user", content="secret"))
        assert (await store.sessions.get("s")).count == 0
        assert [session.name for session in (await acme.list()).items] == ["acme"]
        assert await store.sessions.count() == 1
        await store.sessions.delete("s")
        assert (await acme.messages.get("s", "m")).content == "secret"
        for name in ("", "a/b", None, 1):
            with pytest.raises(InvalidValueError):
                store.sessions.in_namespace(name)

    async def test_namespace_has_the_same_verbs_each_time(self, store: AsyncMongoStore) -> None:
        acme = store.sessions.in_namespace("acme")
        assert acme is store.sessions.in_namespace("acme") is acme.in_namespace("acme")
        assert acme.in_namespace("default") is store.sessions

    async def test_ids_with_slashes_do_not_meet(self, store: AsyncMongoStore) -> None:
        for name in ("a", "a/b", "a/b/c", "", "é", "a b", "$x", "0"):
            await store.sessions.create(name, name=name)
            await store.sessions.messages.append_many(
                name, [Message(role="user", content=name) for _ in range(200)]
            )
        await store.sessions.delete("a")
        for name in ("a/b", "a/b/c", "", "é", "a b", "$x", "0"):
            assert (await store.sessions.get(name)).name == name
            assert {message.content async for message in store.sessions.messages.iter(name)} == {name}

    async def test_too_large_data_is_refused_and_the_old_stays(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s", data={"k": 1})
        with pytest.raises(DocumentTooLargeError):
            await store.sessions.update("s", data={"k": "x" * 5_000_000})
        assert (await store.sessions.get("s")).data == {"k": 1}

    @pytest.mark.smoke
    async def test_context_is_kept_in_any_size(self, store: AsyncMongoStore) -> None:
        await store.sessions.create("s")
        with pytest.raises(NotFoundError):
            await store.sessions.context.get("s")
        assert not await store.sessions.context.delete("s")
        for context in (
            [],
            {"reasoning": [{"role": "user"}]},
            ["x" * 5_000_000],
            None,
            {"__json__": "1"},
            "small",
        ):
            await store.sessions.context.set("s", context)
            assert await store.sessions.context.get("s") == context
            assert (await store.sessions.get("s")).has_context
        await store.sessions.context.set("s", ["x" * 5_000_000])
        with pytest.raises(DocumentTooLargeError):
            await store.sessions.context.set("s", ["x" * 24_000_000])
        assert await store.sessions.context.get("s") == ["x" * 5_000_000]
        assert await store.sessions.context.delete("s")
        assert not (await store.sessions.get("s")).has_context
        assert await counted(store, "session_overflows") == 0
        await store.sessions.context.set("s", ["x" * 5_000_000])
        await store.sessions.context.set("s", "small")
        assert await counted(store, "session_overflows") == 0

    @pytest.mark.parametrize("context", ["small", ["x" * 5_000_000]], ids=["small", "large"])
    async def test_set_creates_a_session_that_is_not_there(
        self, store: AsyncMongoStore, context: Any
    ) -> None:
        sessions = store.sessions
        for missing in ("s", "deleted"):
            if missing == "deleted":
                await sessions.create(missing)
                await sessions.delete(missing)
            await sessions.context.set(missing, context, create={"name": "n"})
            assert await sessions.context.get(missing) == context
            assert (await sessions.get(missing)).name == "n"
        await sessions.context.set("s", [1], create={"name": "other"})
        await sessions.context.set("s", [2], create=True)
        assert await sessions.context.get("s") == [2]
        assert (await sessions.get("s")).name == "n"

    async def test_set_creates_no_session_for_what_is_refused(self, store: AsyncMongoStore) -> None:
        context = store.sessions.context
        for create in ("yes", None, 1, {"nmae": "n"}, {"name": 1}):
            with pytest.raises(InvalidValueError):
                await context.set("s", [], create=create)  # type: ignore[arg-type]
        with pytest.raises(NotFoundError):
            await context.set("s", [], create=True, expected=[1])
        with pytest.raises(DocumentTooLargeError):
            await context.set("s", "x" * 24_000_000, create=True)
        assert not await store.sessions.exists("s")
        await store.sessions.create("s")
        await store.sessions.soft_delete("s")
        with pytest.raises(NotFoundError):
            await context.set("s", [], create=True)
        await store.sessions.undelete("s")
        assert await context.find("s") is None

    async def test_a_large_context_written_again_and_again_does_not_grow(
        self, store: AsyncMongoStore
    ) -> None:
        await store.sessions.create("s")
        for n in range(50):
            await store.sessions.context.set("s", {"n": n, "text": "x" * 5_000_000})
        assert (await store.sessions.context.get("s"))["n"] == 49
        assert await counted(store, "session_overflows") == 1


async def test_purge_of_a_crashed_purge_goes_on(store: AsyncMongoStore) -> None:
    await store.sessions.create("s")
    await store.sessions.messages.append_many("s", [Message(role="user", content=str(n)) for n in range(300)])
    await store.engine.database["sessions"].update_one({}, {"$set": {"state": "deleting"}})
    assert await store.sessions.find("s") is None
    assert await store.sessions.count(deleted=None) == 0
    await store.sessions.create("s")
    assert await store.engine.database["session_segments"].count_documents({}) == 0


async def test_one_unreadable_session_does_not_hide_the_others(store: AsyncMongoStore) -> None:
    for name in "abcd":
        await store.sessions.create(name)
    sessions = store.engine.database["sessions"]
    await sessions.update_one({"session_id": "b"}, {"$set": {"created_at": "yesterday", "name": 5}})
    old = {"schema_version": "", "metadata": "", "revision": "", "last": "", "context": "", "data": ""}
    for name in "cd":
        await sessions.update_one({"session_id": name}, {"$unset": old})
    page = await store.sessions.list()
    assert {session.id for session in page.items} == {"a", "c", "d"}
    assert [error.id for error in page.errors] == ["default/b"]
    assert "yesterday" not in str(page.errors[0])
    errors: list[InvalidDocumentError] = []
    assert [session.id async for session in store.sessions.iter(errors=errors)] == ["a", "c", "d"]
    assert [error.id for error in errors] == ["default/b"]
    with pytest.raises(InvalidDocumentError):
        assert [session.id async for session in store.sessions.iter()]


async def test_a_page_of_few_matches_takes_few_reads(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More keys than the index is asked for, so that the rest is compared as it is read.
    metadata = [{"k": {str(key): key for key in range(20)} | {"last": n % 50}} for n in range(100)]
    for n in range(100):
        await store.sessions.create(f"s{n:02}", metadata=metadata[n])
    reads, find = 0, StoreCollection.find

    def find_and_count(self: StoreCollection, *arguments: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        return find(self, *arguments, **options)

    monkeypatch.setattr(StoreCollection, "find", find_and_count)
    first = await store.sessions.list(metadata=metadata[7], limit=1)
    rest = await store.sessions.list(metadata=metadata[7], limit=1, cursor=first.next_cursor)
    assert [one.id for one in [*first, *rest]] == ["s57", "s07"]
    assert reads <= 14
