"""What keys promise, on every engine, and what they cost on a real server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import pickle
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient

from mongostore import ApiKey, AsyncMongoStore, InvalidDocumentError, NotFoundError
from tests.contract.command_log import (
    INDEXES,
    Case,
    CommandLog,
    Verbs,
    count_affected,
    logged_store,
    nested,
    stages_of,
    verbs_of,
)
from tests.contract.edge_cases import NO_IDS, refused
from tests.faults.deployments import with_options

LATER = datetime(2100, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


async def made(store: AsyncMongoStore, **members: Any) -> tuple[ApiKey, str]:
    """Create a key and return it as others see it, with its token beside it."""
    key = await store.keys.create(**members)
    assert key.token
    return key.model_copy(update={"token": None}), key.token


async def test_a_token_is_verified_as_the_key_that_was_made(store: AsyncMongoStore) -> None:
    key, token = await made(
        store, name="billing", namespaces=["acme", "umbrella"], owner_id="ada", expires_at=LATER
    )
    assert (
        await store.keys.verify(token) == await store.keys.get(key.id) == await store.keys.find(key.id) == key
    )
    assert (key.name, key.owner_id, key.namespaces) == ("billing", "ada", ["acme", "umbrella"])
    assert key.expires_at == LATER
    assert abs(datetime.now(UTC) - key.created_at).total_seconds() < 60
    bare, _ = await made(store, name="")
    assert (bare.owner_id, bare.namespaces, bare.expires_at) == (None, [], None)


async def test_a_token_says_its_key_and_holds_256_random_bits(store: AsyncMongoStore) -> None:
    keys = [await made(store, name="k") for _ in range(20)]
    parts = [token.split("_", 2) for _, token in keys]
    assert [part[:2] for part in parts] == [["mgs", key.id] for key, _ in keys]
    secrets = {base64.urlsafe_b64decode(part[2] + "=") for part in parts}
    assert {len(secret) for secret in secrets} == {32}
    assert len(secrets) == 20


async def test_a_key_allows_its_namespaces_and_an_administrators_all(store: AsyncMongoStore) -> None:
    own, _ = await made(store, name="k", namespaces=["a", "b", "a"])
    none, _ = await made(store, name="k")
    admin, _ = await made(store, name="k", namespaces=["*"])
    assert own.namespaces == ["a", "b"]
    assert [key.allows("a") for key in (own, none, admin)] == [True, False, True]
    assert [key.allows("c") for key in (own, none, admin)] == [False, False, True]
    assert not own.allows("*")


async def test_no_other_token_is_verified(store: AsyncMongoStore) -> None:
    key, token = await made(store, name="k")
    other, other_token = await made(store, name="l")
    secret = token.rpartition(f"{key.id}_")[2]
    forged = [
        f"mgs_{other.id}_{secret}",
        f"mgs_{'0' * 32}_{secret}",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        *("", "mgs", "mgs__", key.id, secret, token + "\n", f" {token}", token.upper(), f"{token}A"),
        token.replace("mgs", "mgt"),
        f"mgs_{key.id}_" + "é" * 43,
        f"mgs_{key.id}_{'A' * 1_000_000}",
        f"mgs_{key.id}_{hashlib.sha256(secret.encode()).hexdigest()}",
    ]
    assert [await store.keys.verify(text) for text in forged] == [None] * len(forged)
    for odd in (None, 7, {"$ne": None}, token.encode()):
        assert await store.keys.verify(odd) is None  # type: ignore[arg-type]
    assert await store.keys.verify(other_token) == other


async def test_an_expired_key_is_no_good_and_still_listed(store: AsyncMongoStore) -> None:
    now = datetime.now(UTC)
    past, token = await made(store, name="past", expires_at=now - timedelta(microseconds=1))
    future, other = await made(store, name="future", expires_at=now + timedelta(hours=1))
    assert await store.keys.verify(token) is None
    assert await store.keys.verify(other) == future
    assert (await store.keys.list()).items == [past, future]


async def test_unknown_keys(store: AsyncMongoStore) -> None:
    assert await store.keys.find("x") is None
    assert not await store.keys.delete("x")
    with pytest.raises(NotFoundError) as caught:
        await store.keys.get("x")
    assert (caught.value.kind, caught.value.id) == ("key", "x")


async def test_a_revoked_key_is_no_good(store: AsyncMongoStore) -> None:
    key, token = await made(store, name="k")
    outcomes = await asyncio.gather(*(store.keys.delete(key.id) for _ in range(5)))
    assert sorted(outcomes) == [False] * 4 + [True]
    assert await store.keys.verify(token) is None
    assert await store.keys.count() == 0


async def test_lists_are_paged_from_the_oldest_on(store: AsyncMongoStore) -> None:
    keys = [(await made(store, name=str(n)))[0] for n in range(7)]
    assert (await store.keys.count(), await store.keys.count(limit=5)) == (7, 5)
    assert (await store.keys.list()).items == keys
    assert (await store.keys.list(newest=True)).items == keys[::-1]
    found, cursor = [], None
    while True:
        page = await store.keys.list(limit=3, cursor=cursor)
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
        await store.keys.delete(page.items[0].id)
    assert found == keys


async def test_neither_the_secret_nor_its_hash_is_stored_or_shown(
    store: AsyncMongoStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = await store.keys.create(name="k")
    token = key.token or ""
    secret = token.rpartition(f"{key.id}_")[2]
    [document] = await store.engine.database["api_keys"].find({}).to_list()
    hashed = hashlib.sha256(secret.encode())
    assert document["secret_hash"] == hashed.digest()
    assert secret not in repr(document)
    found = await store.keys.verify(token)
    assert found == key.model_copy(update={"token": None})
    output = [repr(key), str(key), key.model_dump_json(), repr(pickle.dumps(key)), repr(found)]
    output += [repr((await store.keys.list()).items)]
    for text in output:
        assert secret not in text
        assert hashed.hexdigest() not in text
        assert repr(hashed.digest()) not in text
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("mongostore")]
    assert not any(secret in text for text in ours)


async def test_a_stored_key_that_does_not_fit_is_an_error_that_hides_it(store: AsyncMongoStore) -> None:
    for name, value in (("namespaces", "acme"), ("secret_hash", "text"), ("secret_hash", None)):
        key, token = await made(store, name="k")
        await store.engine.database["api_keys"].update_one({"_id": key.id}, {"$set": {name: value}})
        with pytest.raises(InvalidDocumentError) as caught:
            await store.keys.verify(token)
        assert token.partition(f"{key.id}_")[2] not in str(caught.value)
        if name == "namespaces":
            assert [error.id for error in (await store.keys.list()).errors] == [key.id]


@pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:20])
async def test_ids_are_plain_strings(store: AsyncMongoStore, bad: Any) -> None:
    calls = [store.keys.delete(bad), store.keys.get(bad), store.keys.find(bad)]
    assert {error.path for error in await refused(*calls)} == {"key_id"}
    assert {error.path for error in await refused(store.keys.create(name=bad))} == {"name"}
    if bad is not None:
        assert {error.path for error in await refused(store.keys.create(name="k", owner_id=bad))} == {
            "owner_id"
        }


@pytest.mark.parametrize("bad", ["acme", None, [""], ["a/b"], [1], ["*", "a"], [["a"]]], ids=repr)
async def test_namespaces_are_a_list_of_names(store: AsyncMongoStore, bad: Any) -> None:
    [error] = await refused(store.keys.create(name="k", namespaces=bad))
    assert error.path.startswith("namespaces")
    [error] = await refused(store.keys.create(name="k", expires_at=datetime(2100, 1, 1)))
    assert error.path == "expires_at"
    assert await store.keys.count() == 0


@pytest.mark.server
async def test_a_key_whose_first_answer_was_lost_is_made_once(
    server_uri: str, admin_uri: str, database: str
) -> None:
    # Else the driver waits for the server's next sign of life, ten seconds.
    polled = with_options(server_uri, heartbeatFrequencyMS=500, serverMonitoringMode="poll")
    async with (
        AsyncMongoClient[dict[str, Any]](admin_uri) as client,
        logged_store(polled, database, wire := CommandLog()) as store,
    ):
        fault = {"failCommands": ["insert"], "writeConcernError": {"code": 91, "errmsg": ""}}
        await client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": fault})
        key, token = await made(store, name="k")
        assert [sent.name for sent in wire.sent].count("insert") > 1
        assert await store.keys.verify(token) == key
        assert await store.keys.count() == 1


CASES = [
    Case("create", 1, lambda s: s.create(name="k", namespaces=["a"])),
    Case("verify", 1, lambda s: s.verify(s.token)),
    Case("verify an unknown one", 1, lambda s: s.verify(f"mgs_{'0' * 32}_{'A' * 43}")),
    Case("verify nonsense", 0, lambda s: s.verify("nonsense")),
    Case("get", 1, lambda s: s.get(s.key_id)),
    Case("find", 1, lambda s: s.find(s.key_id)),
    Case("list from the end", 1, lambda s: s.list(newest=True, limit=10)),
    Case("list", 1, lambda s: s.list(limit=10)),
    Case("list the next page", 1, lambda s: s.list(limit=10, cursor=s.cursor)),
    Case("count", 1, lambda s: s.count()),
    Case("delete", 1, lambda s: s.delete(s.key_id)),
]


@pytest.mark.server
async def test_each_verb_is_one_command_that_an_index_answers(server_uri: str, database: str) -> None:
    async with AsyncMongoStore(server_uri, database) as store:
        for number in range(100):
            key, token = await made(store, name=str(number))
        cursor = (await store.keys.list(limit=10)).next_cursor
    called = set()
    with MongoClient[dict[str, Any]](server_uri) as explainer:
        async with logged_store(server_uri, database, wire := CommandLog(explainer)) as store:
            for case in CASES:
                wire.sent.clear()
                verbs = Verbs(store.keys)
                names = {name: getattr(verbs, name) for name in verbs_of(type(store.keys))}
                verbs.names.clear()
                await case.call(SimpleNamespace(**names, token=token, cursor=cursor, key_id=key.id))
                assert len(wire.sent) == case.most, case.claim
                for sent in wire.sent:
                    if sent.is_query:
                        plans = nested(sent.plan, "winningPlan")
                        stages = [stage for plan in plans for stage in stages_of(plan)]
                        kinds = {stage["stage"] for stage in stages}
                        assert not kinds & {"COLLSCAN", "SORT"}, (sent, stages)
                        assert {stage["indexName"] for stage in stages if "indexName" in stage} <= INDEXES
                        [stats] = nested(sent.plan, "executionStats")
                        assert stats["totalDocsExamined"] <= count_affected(sent, stats) + 1
                called.add(case.claim.split()[0])
    assert called == verbs_of(type(store.keys))
