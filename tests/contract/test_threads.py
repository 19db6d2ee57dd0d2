"""What threads promise, on every engine."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    DocumentTooLargeError,
    Element,
    Feedback,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)
from tests.contract.edge_cases import CURSORS, NASTY, NO_IDS, refused, same
from tests.contract.threads import MERGED, NOON, at, listed, paged, user_id


class TestThreads:
    @pytest.mark.smoke
    async def test_create_returns_what_get_returns(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        created = await store.threads.create(
            "t", user_id=ada, name="Billing", tags=["a", "b"], data={"a": [1]}, metadata={"k": None, "l": 1}
        )
        assert created == await store.threads.get("t") == await store.threads.find("t")
        assert (created.id, created.user_id, created.user_identifier) == ("t", ada, "ada")
        assert (created.name, created.tags, created.data) == ("Billing", ["a", "b"], {"a": [1]})
        assert created.metadata == {"l": 1}
        assert created.created_at == created.active_at
        assert abs(datetime.now(UTC) - created.created_at).total_seconds() < 60

    async def test_create_mints_an_id_and_refuses_a_taken_one(self, store: AsyncMongoStore) -> None:
        one, other = await store.threads.create(), await store.threads.create()
        assert one.id != other.id
        with pytest.raises(AlreadyExistsError) as caught:
            await store.threads.create(one.id, name="second")
        assert (caught.value.kind, caught.value.id) == ("thread", one.id)
        assert (await store.threads.get(one.id)).name is None

    async def test_parallel_creates_of_one_id_succeed_once(self, store: AsyncMongoStore) -> None:
        outcomes = await asyncio.gather(
            *(store.threads.create("t") for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 9

    async def test_unknown_threads(self, store: AsyncMongoStore) -> None:
        assert await store.threads.find("x") is None
        assert not await store.threads.delete("x")
        with pytest.raises(NotFoundError) as caught:
            await store.threads.get("x")
        assert (caught.value.kind, caught.value.id) == ("thread", "x")
        assert await listed(store, "nobody") == []
        assert [thread async for thread in store.threads.iter(user_id="nobody")] == []

    @pytest.mark.smoke
    async def test_merge_makes_what_is_not_there_and_leaves_what_is_not_given(
        self, store: AsyncMongoStore
    ) -> None:
        await store.threads.merge("t", name="n")
        first = await store.threads.get("t")
        assert (first.user_id, first.name, first.tags, first.data, first.metadata) == (None, "n", [], {}, {})
        ada = await user_id(store)
        await store.threads.merge("t", user_id=ada)
        await store.threads.merge("t", tags=["x"], metadata={"k": 1})
        await store.threads.merge("t")
        merged = first.model_copy(
            update={"user_id": ada, "user_identifier": "ada", "tags": ["x"], "metadata": {"k": 1}}
        )
        assert await store.threads.get("t") == merged
        await store.threads.merge("t", name=None)
        assert (await store.threads.get("t")).name is None

    async def test_merge_takes_any_keys_and_none_removes_them(self, store: AsyncMongoStore) -> None:
        await store.threads.merge("t", data=MERGED, metadata=MERGED)
        thread = await store.threads.get("t")
        assert same(thread.data, MERGED)
        assert same(thread.metadata, MERGED)
        await store.threads.merge("t", metadata=dict.fromkeys([*MERGED, "unknown"]))
        await store.threads.merge("t", data={"a": {"x": 1}, "": None}, unset=["data.a.b", "data.unknown"])
        thread = await store.threads.get("t")
        assert thread.metadata == {}
        assert same(thread.data, {**{k: v for k, v in MERGED.items() if k != "a.b"}, "a": {"x": 1}, "": None})
        await store.threads.merge("t", unset=[f"data.{key}" for key in MERGED])
        assert (await store.threads.get("t")).data == {}

    async def test_with_unset_none_is_a_value_in_metadata_too(self, store: AsyncMongoStore) -> None:
        await store.threads.merge("t", metadata={"k": 1, "l": 1, "m": 1})
        await store.threads.merge("t", metadata={"k": None, "l": None}, unset=["metadata.l", "metadata.m"])
        assert (await store.threads.get("t")).metadata == {"k": None, "l": None}
        await store.threads.merge("t", metadata={"n": None}, unset=["metadata.l"])
        assert (await store.threads.get("t")).metadata == {"k": None, "n": None}
        assert (await store.threads.create("u", metadata={"k": None}, unset=[])).metadata == {"k": None}

    async def test_update_changes_what_is_there_and_replaces_data(self, store: AsyncMongoStore) -> None:
        with pytest.raises(NotFoundError) as caught:
            await store.threads.update("t", name="n")
        assert (caught.value.kind, caught.value.id) == ("thread", "t")
        assert await store.threads.find("t") is None
        ada = await user_id(store)
        await store.threads.create("t", data={"k": 1, "l": 1}, metadata={"k": 1, "l": 1}, tags=["x"])
        updated = await store.threads.update("t", user_id=ada, data={"m": None}, metadata={"k": None, "m": 1})
        assert updated == await store.threads.get("t") == await store.threads.update("t")
        assert (updated.user_identifier, updated.data, updated.tags) == ("ada", {"m": None}, ["x"])
        assert updated.metadata == {"l": 1, "m": 1}
        updated = await store.threads.update("t", data={"a": 1, "b": 2}, unset=["data.b", "metadata.l"])
        assert (updated.data, updated.metadata) == ({"a": 1, "b": 2}, {"m": 1})
        assert (await store.threads.update("t", unset=["data.a", "data.b"])).data == {}
        for call in (
            store.threads.update("t", name="new", user_id="nobody"),
            store.threads.update("gone", name="n"),
        ):
            with pytest.raises(NotFoundError):
                await call
        assert (await store.threads.get("t")).name is None
        await store.threads.delete("t")
        with pytest.raises(NotFoundError):
            await store.threads.update("t", name="n")

    async def test_ensure_creates_once_and_ignores_later_members(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        made = await asyncio.gather(
            *(store.threads.ensure("t", user_id=ada, name=str(n), data={"k": n}) for n in range(8))
        )
        assert len({(one.name, one.created_at) for one in made}) == 1
        assert made[0] == await store.threads.get("t") == await store.threads.ensure("t", name="late")
        assert made[0].user_identifier == "ada"
        with pytest.raises(NotFoundError) as caught:
            await store.threads.ensure("u", user_id="nobody")
        assert caught.value.kind == "user"
        await store.threads.delete("t")
        with pytest.raises(NotFoundError) as caught:
            await store.threads.ensure("t")
        assert (caught.value.kind, caught.value.id) == ("thread", "t")

    async def test_threads_are_counted_and_listed_by_filters_in_both_orders(
        self, store: AsyncMongoStore
    ) -> None:
        ada = await user_id(store)
        for number, name in enumerate("dacb"):
            own: dict[str, Any] = {"user_id": ada} if name in "ab" else {"kind": "role", "owner_id": "o"}
            await store.threads.create(name, name=name, data={"n": number % 2, "l": [number]}, **own)
            await store.threads.messages.merge(name, f"m{name}", created_at=at(10**7 - number))

        async def ids(**where: Any) -> str:
            return "".join([thread.id for thread in await store.threads.list(**where)])

        async def walked(**where: Any) -> str:
            return "".join([thread.id async for thread in store.threads.iter(**where)])

        assert (await ids(), await ids(newest=False)) == ("dacb", "bcad")
        assert (await ids(order="created"), await ids(order="created", newest=False)) == ("bcad", "dacb")
        assert (await walked(), await walked(newest=True)) == ("dacb", "bcad")
        for where, found in (
            ({"user_id": ada}, "ab"),
            ({"kind": "role"}, "dc"),
            ({"kind": "role", "owner_id": "o", "name": "c"}, "c"),
            ({"data": {"n": 1}}, "ab"),
            ({"data": {"n": 0, "l": [2]}}, "c"),
            ({"data": {"l": 2}}, ""),
            ({"owner_id": "p"}, ""),
        ):
            assert await ids(order="created", newest=False, **where) == await walked(**where) == found
            assert await store.threads.count(**where) == len(found)
            assert await store.threads.count(limit=1, **where) == min(len(found), 1)
        assert (await store.threads.count(), await store.threads.count(limit=3)) == (4, 3)
        await store.threads.delete("a")
        assert (await store.threads.count(), await ids()) == (3, "dcb")
        assert (await store.threads.exists("b"), await store.threads.exists("a")) == (True, False)

    async def test_a_cursor_of_a_thread_begins_behind_it(self, store: AsyncMongoStore) -> None:
        for number, name in enumerate("abc"):
            await store.threads.create(name)
            await store.threads.messages.merge(name, f"m{name}", created_at=at(10**7 + number))
        thread = await store.threads.get("b")
        for order, newest, expected in (
            ("active", True, ["a"]),
            ("active", False, ["c"]),
            ("created", True, ["a"]),
            ("created", False, ["c"]),
        ):
            cursor = store.threads.cursor_of(thread, order=order)
            page = await store.threads.list(order=order, newest=newest, cursor=cursor)
            assert [one.id for one in page] == expected

    async def test_values_come_back_as_they_were_given(self, store: AsyncMongoStore) -> None:
        nasty = {str(number): value for number, value in enumerate(NASTY)}
        await store.threads.merge("t", data=nasty, name="half \ud800 pair\0")
        thread = await store.threads.get("t")
        assert same(thread.data, nasty)
        assert thread.name == "half \ud800 pair\0"

    async def test_parallel_merges_of_different_keys_all_hold(self, store: AsyncMongoStore) -> None:
        await asyncio.gather(
            *(store.threads.merge("t", metadata={f"k{n}": n}) for n in range(20)),
            *(store.threads.merge("t", data={f"k{n}": n}) for n in range(20)),
        )
        thread = await store.threads.get("t")
        assert thread.metadata == thread.data == {f"k{n}": n for n in range(20)}

    async def test_an_unknown_user_is_refused_and_nothing_is_changed(self, store: AsyncMongoStore) -> None:
        for call in (
            store.threads.merge("t", user_id="nobody", name="n"),
            store.threads.create("t", user_id="nobody"),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.kind, caught.value.id) == ("user", "nobody")
        assert await store.threads.find("t") is None
        before = await store.threads.create("t", user_id=await user_id(store), name="n")
        with pytest.raises(NotFoundError):
            await store.threads.merge("t", user_id="nobody", name="other", metadata={"k": 1})
        assert await store.threads.get("t") == before

    async def test_what_no_document_holds_is_refused_and_the_old_stays(self, store: AsyncMongoStore) -> None:
        await store.threads.merge("t", data={"k": "x" * 9_000_000})
        before = await store.threads.get("t")
        for members in ({"data": {"l": "x" * 17_000_000}}, {"data": {"l": "x" * 9_000_000}, "name": "n"}):
            with pytest.raises(DocumentTooLargeError):
                await store.threads.merge("t", **members)
        with pytest.raises(DocumentTooLargeError):
            await store.threads.create("new", metadata={"l": "x" * 17_000_000})
        assert await store.threads.get("t") == before
        assert await store.threads.find("new") is None

    async def test_activity_moves_by_messages_alone(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        for number, name in enumerate("abc"):
            await store.threads.create(name, user_id=ada)
            await store.threads.messages.merge(
                name, f"m{name}", only_missing=True, created_at=at(10**7 + number)
            )
        assert await listed(store, ada) == ["c", "b", "a"]
        await store.threads.merge("a", name="n", tags=["x"], metadata={"k": 1}, data={"k": 1}, user_id=ada)
        await store.threads.elements.upsert("a", Element(id="e", message_id="ma"))
        await store.threads.feedback.upsert("a", Feedback(message_id="ma", value=1))
        await store.threads.messages.merge("a", "ma", pinned=True, content="more")
        await store.threads.messages.merge("a", "ma", only_missing=True, content="again")
        await store.threads.messages.merge("a", "older", only_missing=True, created_at=at(0))
        await store.threads.elements.delete("a", "e")
        assert await listed(store, ada) == ["c", "b", "a"]
        assert (await store.threads.get("a")).active_at == at(10**7)
        await store.threads.messages.merge("a", "newer", only_missing=True, created_at=at(10**7 + 3))
        assert await listed(store, ada) == ["a", "c", "b"]
        await store.threads.messages.merge("b", "mb", created_at=at(10**7 + 4))
        assert await listed(store, ada) == ["b", "a", "c"]
        await store.threads.messages.merge("c", "update first", created_at=at(10**7 + 5))
        assert (await store.threads.get("c")).active_at == at(10**7 + 5)

    async def test_a_message_makes_its_thread_as_old_as_itself(self, store: AsyncMongoStore) -> None:
        await store.threads.messages.merge("t", "m", only_missing=True, created_at=at(0))
        thread = await store.threads.get("t")
        assert thread.created_at == thread.active_at == at(0)

    @pytest.mark.smoke
    async def test_pages_of_a_list_meet_every_thread_once(self, store: AsyncMongoStore) -> None:
        ada, ben = await user_id(store), await user_id(store, "ben")
        names = [f"t{n:02}" for n in range(25)]
        for number, name in enumerate(names):
            await store.threads.create(name, user_id=ada)
            await store.threads.messages.merge(
                name, f"m{number}", only_missing=True, created_at=at(10**7 + number // 10)
            )
            await store.threads.create(f"b{number}", user_id=ben)
        seen, cursor = [], None
        while True:
            page = await store.threads.list(user_id=ada, limit=4, cursor=cursor)
            seen += [thread.id for thread in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
            # The cursor's own thread goes, and new ones come: neither moves the place where the list goes on.
            await store.threads.delete(seen[-1])
            new = await store.threads.create(user_id=ada)
            await store.threads.messages.merge(
                new.id, f"of {new.id}", only_missing=True, created_at=at(10**7 + 100)
            )
        assert seen == sorted(names, reverse=True)

    async def test_a_full_last_page_has_no_cursor(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        for name in "abcd":
            await store.threads.create(name, user_id=ada)
        assert [len(page) for page in await paged(store, ada, 2)] == [2, 2]

    async def test_iter_meets_threads_that_become_active_meanwhile(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        names = [f"t{n:03}" for n in range(450)]
        for start in range(0, 450, 50):
            await asyncio.gather(
                *(store.threads.create(name, user_id=ada) for name in names[start : start + 50])
            )
        await store.threads.create("t", user_id=await user_id(store, "ben"))
        await store.threads.create("deleted", user_id=ada)
        await store.threads.delete("deleted")
        seen: list[str] = []
        async for thread in store.threads.iter(user_id=ada):
            if len(seen) % 50 == 0:
                await store.threads.messages.merge(names[-len(seen) - 1], f"m{len(seen)}", only_missing=True)
            seen.append(thread.id)
        assert seen == names

    async def test_lists_by_vote(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        for number, name in enumerate("abcd"):
            await store.threads.create(name, user_id=ada)
            for which in "xy":
                await store.threads.messages.merge(
                    name, name + which, only_missing=True, created_at=at(10**7 + number)
                )
        for message, value in {"ax": 0, "ay": 1, "bx": 1, "cx": 0, "cy": 0}.items():
            await store.threads.feedback.upsert(
                message[0], Feedback(id=message, message_id=message, value=value)
            )
        assert await listed(store, ada, vote=0) == ["c", "a"]
        assert await listed(store, ada, vote=1) == ["b", "a"]
        assert await paged(store, ada, 1, vote=1) == [["b"], ["a"]]
        assert await listed(store, ada, vote=2**63 - 1) == []
        await store.threads.feedback.upsert("b", Feedback(message_id="bx", value=0))
        await store.threads.feedback.delete("c", "cx")
        await store.threads.messages.delete("a", "ay")
        assert await listed(store, ada, vote=0) == ["c", "b", "a"]
        assert await listed(store, ada, vote=1) == []
        await store.threads.feedback.delete("c", "cy")
        assert await listed(store, ada, vote=0) == ["b", "a"]
        await store.threads.merge("a", name="found")
        assert await listed(store, ada, vote=0, text="FOUND") == ["a"]

    @pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:20])
    async def test_ids_are_plain_strings(self, store: AsyncMongoStore, bad: Any) -> None:
        threads = store.threads
        calls = [threads.get(bad), threads.find(bad), threads.merge(bad), threads.delete(bad)]
        calls += [threads.exists(bad), threads.ensure(bad), threads.update(bad, name="n")]
        calls += [] if bad is None else [threads.create(bad)]
        assert {error.path for error in await refused(*calls)} == {"thread_id"}
        calls = [threads.list(user_id=bad), anext(threads.iter(user_id=bad)), threads.merge("t", user_id=bad)]
        assert {error.path for error in await refused(*calls)} == {"user_id"}
        assert await threads.find("t") is None

    @pytest.mark.parametrize(
        ("path", "members"),
        [
            ("name", {"name": 5}),
            ("name", {"name": {"$ne": 1}}),
            ("tags", {"tags": "abc"}),
            ("tags", {"tags": None}),
            ("tags[1]", {"tags": ["a", None]}),
            ("tags[0]", {"tags": ["\ud800"]}),
            ("data", {"data": None}),
            ("data", {"data": [1]}),
            ("data", {"data": {1: 1}}),
            ("data.k[0]", {"data": {"k": [object()]}}),
            ("metadata", {"metadata": "x"}),
            ("metadata.k.l", {"metadata": {"k": {"l": b""}}}),
            ("unset", {"unset": "data.k"}),
            *(("unset[0]", {"unset": [bad]}) for bad in ("name", "data", "", "other.k", None, 5, ["data.k"])),
            ("state", {"state": "deleted"}),
            ("created_at", {"created_at": NOON}),
            ("$set", {"$set": 1}),
        ],
    )
    async def test_bad_members_are_refused_by_their_paths(
        self, store: AsyncMongoStore, path: str, members: Any
    ) -> None:
        calls = [store.threads.merge("t", **members)]
        # Only what is new has a time of its own.
        calls += [] if path == "created_at" else [store.threads.create("t", **members)]
        errors = await refused(*calls)
        assert {error.path for error in errors} == {path}
        assert await store.threads.find("t") is None

    @pytest.mark.parametrize(
        ("path", "arguments"),
        [
            *(("cursor", {"cursor": cursor}) for cursor in CURSORS),
            *(("cursor", {"cursor": cursor, "text": "x"}) for cursor in CURSORS[:3]),
            *(("limit", {"limit": limit}) for limit in (0, -1, 1001, None, True, 1.5, "1")),
            *(("vote", {"vote": vote}) for vote in (True, "1", 1.0, {"$gt": 0}, 2**63, -(2**63) - 1)),
            *(("order", {"order": order}) for order in ("name", None, {"$ne": 1}, ["active"])),
            *(("newest", {"newest": newest}) for newest in (None, 1, "no")),
            *((name, {name: None}) for name in ("user_id", "kind", "owner_id", "vote", "data")),
            ("state", {"state": "deleted"}),
            *(("text", {"text": search}) for search in (5, b"x", {"$regex": "x"}, ["x"])),
        ],
        ids=lambda value: repr(value)[:40],
    )
    async def test_bad_arguments_of_a_list_are_refused(
        self, store: AsyncMongoStore, path: str, arguments: Any
    ) -> None:
        with pytest.raises(InvalidValueError) as caught:
            await store.threads.list(**{"user_id": "u", **arguments})
        assert caught.value.path == path

    async def test_no_metadata_are_as_good_as_none(self, store: AsyncMongoStore) -> None:
        thread = await store.threads.create("t")
        filter: Any = {"metadata": None, "text": None, "since": None, "participant_id": None}
        assert (await store.threads.list(**filter)).items == [thread]
        assert await store.threads.count(**filter) == 1

    async def test_one_unreadable_thread_does_not_hide_the_others(self, store: AsyncMongoStore) -> None:
        ada = await user_id(store)
        for name in "abc":
            await store.threads.create(name, user_id=ada)
        threads = store.engine.database["threads"]
        await threads.update_one({"_id": "b"}, {"$set": {"created_at": "yesterday", "name": 5}})
        old = {"schema_version": "", "metadata": "", "data": "", "tags": "", "votes": ""}
        await threads.update_one({"_id": "c"}, {"$unset": old})
        page = await store.threads.list(user_id=ada)
        assert [thread.id for thread in page.items] == ["c", "a"]
        assert [error.id for error in page.errors] == ["b"]
        assert "yesterday" not in str(page.errors[0])
        errors: list[InvalidDocumentError] = []
        found = [thread.id async for thread in store.threads.iter(user_id=ada, errors=errors)]
        assert (found, [error.id for error in errors]) == (["a", "c"], ["b"])
        with pytest.raises(InvalidDocumentError):
            _ = [thread async for thread in store.threads.iter(user_id=ada)]
        assert (await store.threads.count(user_id=ada), await store.threads.exists("b")) == (3, True)
