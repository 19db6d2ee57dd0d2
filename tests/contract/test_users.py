"""What users promise, on every engine."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    DocumentTooLargeError,
    InvalidDocumentError,
    NotFoundError,
)
from tests.contract.edge_cases import NASTY, NO_IDS, refused, same


class TestUsers:
    @pytest.mark.smoke
    async def test_upsert_returns_what_get_returns(self, store: AsyncMongoStore) -> None:
        user = await store.threads.users.upsert("ada@example.org", metadata={"k": [1]})
        assert user == await store.threads.users.get(user.id) == await store.threads.users.find(user.id)
        assert user == await store.threads.users.find_by_identifier("ada@example.org")
        assert (user.identifier, user.metadata) == ("ada@example.org", {"k": [1]})
        assert abs(datetime.now(UTC) - user.created_at).total_seconds() < 60

    async def test_upsert_replaces_the_metadata_and_keeps_the_rest(self, store: AsyncMongoStore) -> None:
        first = await store.threads.users.upsert("ada", metadata={"k": 1, "l": 1})
        second = await store.threads.users.upsert("ada", metadata={"m": None})
        assert second == first.model_copy(update={"metadata": {"m": None}})
        assert (await store.threads.users.upsert("ada")).metadata == {}
        assert await store.threads.users.get(first.id) == first.model_copy(update={"metadata": {}})

    async def test_parallel_upserts_make_one_user(self, store: AsyncMongoStore) -> None:
        users = await asyncio.gather(
            *(store.threads.users.upsert("ada", metadata={"n": n}) for n in range(20))
        )
        assert len({(user.id, user.created_at) for user in users}) == 1
        assert {user.metadata["n"] for user in users} == {*range(20)}
        assert await store.engine.database["users"].count_documents({}) == 1

    async def test_create_refuses_an_identifier_that_is_taken(self, store: AsyncMongoStore) -> None:
        users = store.threads.users
        outcomes = await asyncio.gather(
            *(users.create("ada", metadata={"n": n}) for n in range(8)), return_exceptions=True
        )
        [created] = [one for one in outcomes if not isinstance(one, BaseException)]
        assert sum(isinstance(one, AlreadyExistsError) for one in outcomes) == 7
        assert created == await users.get(created.id) == await users.find_by_identifier("ada")
        with pytest.raises(AlreadyExistsError) as caught:
            await users.create("ada")
        assert (caught.value.kind, caught.value.id) == ("user", "ada")

    async def test_ensure_creates_once_and_ignores_later_metadata(self, store: AsyncMongoStore) -> None:
        users = store.threads.users
        made = await asyncio.gather(*(users.ensure("ada", metadata={"n": n}) for n in range(8)))
        assert len({(user.id, user.metadata["n"]) for user in made}) == 1
        assert made[0] == await users.get(made[0].id) == await users.ensure("ada", metadata={"k": 1})
        assert (await users.ensure("ben")).metadata == {}

    async def test_users_are_counted_listed_and_deleted(self, store: AsyncMongoStore) -> None:
        users = store.threads.users
        made = [await users.create(name) for name in ("c", "a", "b")]
        await store.threads.create("t", user_id=made[0].id)
        assert (await users.count(), await users.count(limit=2)) == (3, 2)
        assert [user async for user in users.iter()] == made
        assert [user async for user in users.iter(newest=True)] == made[::-1]
        first = await users.list(limit=2)
        rest = await users.list(limit=2, cursor=first.next_cursor)
        assert ([*first], [*rest], rest.next_cursor) == (made[:2], made[2:], None)
        assert (await users.list(newest=True)).items == made[::-1]
        assert await users.delete(made[0].id)
        assert not await users.delete(made[0].id)
        assert await users.find(made[0].id) is None
        assert (await store.threads.get("t")).user_id == made[0].id
        await store.engine.database["users"].update_one({"identifier": "a"}, {"$set": {"created_at": "x"}})
        errors: list[InvalidDocumentError] = []
        assert [user async for user in users.iter(errors=errors)] == made[2:]
        assert [error.id for error in errors] == [made[1].id]
        with pytest.raises(InvalidDocumentError):
            _ = [user async for user in users.iter()]

    async def test_identifiers_are_any_text_and_told_apart_exactly(self, store: AsyncMongoStore) -> None:
        identifiers = ["ada", "Ada", "ada ", "", "é", "e\u0301", "$where", "a.b", "nul\0", "x" * 512]
        made = [await store.threads.users.upsert(identifier) for identifier in identifiers]
        assert len({user.id for user in made}) == len(identifiers)
        assert [
            await store.threads.users.find_by_identifier(identifier) for identifier in identifiers
        ] == made

    async def test_unknown_users(self, store: AsyncMongoStore) -> None:
        assert await store.threads.users.find("x") is None
        assert await store.threads.users.find_by_identifier("x") is None
        with pytest.raises(NotFoundError) as caught:
            await store.threads.users.get("x")
        assert (caught.value.kind, caught.value.id) == ("user", "x")

    async def test_values_come_back_as_they_were_given(self, store: AsyncMongoStore) -> None:
        for value in NASTY:
            metadata = {"k": value, "a.b": {"$set": 1}, "": None}
            assert same((await store.threads.users.upsert("ada", metadata=metadata)).metadata, metadata)
            found = await store.threads.users.find_by_identifier("ada")
            assert found is not None
            assert same(found.metadata, metadata)

    @pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:20])
    async def test_ids_are_plain_strings(self, store: AsyncMongoStore, bad: Any) -> None:
        users = store.threads.users
        errors = await refused(users.get(bad), users.find(bad), users.delete(bad))
        assert {error.path for error in errors} == {"user_id"}
        calls = [users.upsert(bad), users.create(bad), users.ensure(bad), users.find_by_identifier(bad)]
        errors = await refused(*calls)
        assert {error.path for error in errors} == {"identifier"}

    @pytest.mark.parametrize(
        ("path", "metadata"),
        [
            ("metadata", "x"),
            ("metadata", [1]),
            ("metadata", []),
            ("metadata", {1: 1}),
            ("metadata.k[0]", {"k": [b"x"]}),
        ],
    )
    async def test_bad_metadata_are_refused_by_their_path(
        self, store: AsyncMongoStore, path: str, metadata: Any
    ) -> None:
        [error] = await refused(store.threads.users.upsert("ada", metadata=metadata))
        assert error.path == path
        assert await store.threads.users.find_by_identifier("ada") is None

    async def test_too_large_metadata_are_refused_and_the_old_stay(self, store: AsyncMongoStore) -> None:
        before = await store.threads.users.upsert("ada", metadata={"k": 1})
        with pytest.raises(DocumentTooLargeError):
            await store.threads.users.upsert("ada", metadata={"k": "x" * 17_000_000})
        assert await store.threads.users.get(before.id) == before
