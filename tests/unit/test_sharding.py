"""Shard keys: what `indexes/sharding.json` says, and what the tests make of statements by it."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore.documents import COLLECTIONS
from mongostore.index_definitions import load_indexes, load_sharding, unique_keys
from tests.contract import sharding
from tests.contract.command_log import Sent
from tests.contract.sharding import Reach, statements

FILES = {"files.files", "files.chunks"}


def test_every_collection_is_sharded_or_says_why_not() -> None:
    sharded = load_sharding()
    assert not sharded.keys.keys() & sharded.unsharded.keys()
    stored = {command["createIndexes"] for command in load_indexes()} | {*COLLECTIONS} | FILES
    assert sharded.keys.keys() | sharded.unsharded.keys() == stored
    assert {name for names in sharded.together for name in names} <= sharded.keys.keys()


def test_unique_indexes_begin_with_the_shard_key() -> None:
    for collection, indexes in unique_keys().items():
        if key := load_sharding().keys.get(collection):
            assert all(fields[: len(key)] == [*key] for fields in indexes), (collection, indexes)


def test_every_exception_has_a_reason() -> None:
    sharded = load_sharding()
    reasons = [*sharded.unsharded.values(), *sharded.crossing.values(), *sharded.moving.values()]
    reasons += [reason for listed in sharded.scattered.values() for reason in listed.values()]
    assert all(len(reason) > 10 for reason in reasons)


def sent(name: str, collection: str, **command: Any) -> Sent:
    return Sent(name, {name: collection, **command}, 0)


def update(q: dict[str, Any], **options: Any) -> Sent:
    return sent("update", "session_segments", updates=[{"q": q, "u": {}, **options}])


@pytest.mark.parametrize(
    ("command", "reach"),
    [
        (sent("find", "events", filter={"room_id": "r", "index": 1}), Reach.ONE),
        (sent("find", "events", filter={"$and": [{"index": 1}, {"room_id": {"$eq": "r"}}]}), Reach.ONE),
        (sent("find", "events", filter={"room_id": {"$in": ["r", "s"]}}), Reach.SOME),
        (sent("find", "events", filter={"$or": [{"room_id": "r"}, {"room_id": "s"}]}), Reach.SOME),
        (sent("find", "events", filter={"$or": [{"room_id": "r"}, {"index": 1}]}), Reach.ALL),
        (sent("find", "events", filter={"room_id": {"$gt": "r"}}), Reach.ALL),
        (sent("find", "events", filter={"_id": "e"}), Reach.ALL),
        (sent("find", "users", filter={}), Reach.ONE),
        (sent("aggregate", "events", pipeline=[{"$match": {"room_id": "r"}}, {"$limit": 1}]), Reach.ONE),
        (sent("aggregate", "events", pipeline=[{"$limit": 1}]), Reach.ALL),
        (sent("findAndModify", "events", query={"_id": "e"}), Reach.REFUSED),
        (sent("findAndModify", "events", query={"room_id": {"$in": ["r", "s"]}}), Reach.REFUSED),
        (sent("findAndModify", "events", query={"room_id": "r"}), Reach.ONE),
        (update({"session": "s", "_id": 1}), Reach.ONE),
        (update({"session": "s", "_id": 1}, upsert=True), Reach.ONE),
        (update({"_id": 1}), Reach.REFUSED),
        (update({"_id": 1}, upsert=True), Reach.REFUSED),
        (update({"epoch": 1}, multi=True), Reach.ALL),
        (update({"session": {"$in": ["s", "t"]}}, multi=True), Reach.SOME),
        (sent("delete", "session_segments", deletes=[{"q": {"epoch": 1}, "limit": 0}]), Reach.ALL),
        (sent("delete", "session_segments", deletes=[{"q": {"epoch": 1}, "limit": 1}]), Reach.REFUSED),
        (sent("insert", "events", documents=[{"_id": 1, "room_id": "r"}]), Reach.ONE),
    ],
)
def test_the_shards_of_a_statement(command: Sent, reach: Reach) -> None:
    assert [one.reach for one in statements(command)] == [reach]


def test_a_pipeline_is_judged_with_what_it_joins() -> None:
    pipeline = [
        {"$match": {"_id": "r"}},
        {"$unionWith": {"coll": "events", "pipeline": [{"$match": {"index": 1}}]}},
        {"$lookup": {"from": "bindings", "localField": "_id", "foreignField": "room_id", "as": "b"}},
    ]
    found = {str(one): one.reach for one in statements(sent("aggregate", "rooms", pipeline=pipeline))}
    assert found == {
        "find rooms {_id}": Reach.ONE,
        "find events {index}": Reach.ALL,
        "lookup bindings {room_id}": Reach.ONE,
    }


def test_statements_that_are_missing_or_unused_in_the_list_are_found() -> None:
    listed = [update({"session": "s"})]
    with pytest.raises(AssertionError):
        sharding.check("participants", listed)
    with pytest.raises(AssertionError):
        sharding.check("participants", [sent("find", "sessions", filter={"name": 1})])
    with pytest.raises(AssertionError):
        sharding.check("participants", [update({"_id": 1})])


def test_a_statement_that_changes_an_owner_is_found() -> None:
    def sets(**changes: Any) -> Sent:
        return sent(
            "update", "messages", updates=[{"q": {"_id": 1, "thread_id": "t"}, "u": {"$set": changes}}]
        )

    assert sharding.moving([sets(thread_id="t"), sets(content="x")]) == set()
    moved = {"update messages {_id, thread_id}"}
    assert sharding.moving([sets(thread_id="other")]) == moved
    assert sharding.moving([sets(thread_id={"deleted": "t"})]) == moved


def test_a_transaction_over_two_owners_is_found() -> None:
    transaction = {"lsid": {"id": 1}, "txnNumber": 1, "autocommit": False}
    same = [
        sent("find", "events", filter={"room_id": "r"}, **transaction),
        sent("find", "rooms", filter={"_id": "r"}, **transaction),
    ]
    assert sharding.crossing(same) == set()
    other = sent("find", "bindings", filter={"room_id": "s"}, **transaction)
    assert sharding.crossing([*same, other]) == {"bindings events rooms"}
