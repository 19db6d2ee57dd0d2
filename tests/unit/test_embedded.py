"""The embedded engine says and stores what a server does, for every statement of the repositories."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import Document, init_beanie
from pydantic import BaseModel
from pymongo import AsyncMongoClient, IndexModel, ReturnDocument
from pymongo.errors import BulkWriteError, DocumentTooLarge, DuplicateKeyError, OperationFailure, WriteError

from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.engines.embedded.operators import matches
from mongostore.engines.embedded.oplog import HISTORY, LOCK
from mongostore.engines.mongo import CODEC
from mongostore.engines.protocol import Capability, Database

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)

SESSION = {
    "_id": "n/s",
    "state": "open",
    "base": 0,
    "edits": 0,
    "count": 3,
    "messages_bytes": 30,
    "messages": [
        None,
        {"id": "a", "conversation_id": "c1", "content": "one", "metadata": {"x": 1}},
        {"id": "b", "conversation_id": "c2", "content": "two", "overflow": None},
        None,
    ],
    "last": {"id": "b"},
    "stale": ["p", "q", "r"],
    "tags": [],
    "context": {"value": "long", "size": 4},
    "metadata": {"a%2Eb": 0, "0": "zero"},
    "updated_at": NOW,
}
NEW = {"id": "c", "content": "three", "metadata": {}}


def append(ids: Any, pushed: Any, **guards: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {
            "_id": "n/s",
            "base": 0,
            "state": "open",
            "messages.id": ids,
            "messages.127": {"$exists": False},
            "messages_bytes": {"$lt": 99},
            **guards,
        },
        {
            "$push": {"messages": pushed},
            "$inc": {"count": 1, "messages_bytes": 10},
            "$set": {"last": {"id": "c"}},
            "$max": {"updated_at": NOW + timedelta(hours=1)},
        },
    )


def edit(
    wanted: dict[str, Any], update: dict[str, Any], **guards: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"_id": "n/s", "messages": {"$elemMatch": wanted}, **guards}, update


S = {"_id": "n/s"}
UPDATES = {
    "append": append({"$ne": "c"}, NEW),
    "append_known_id": append({"$ne": "b"}, NEW),
    "append_many": append({"$nin": ["c", "d"]}, {"$each": [NEW, None, {"id": "d"}]}),
    "append_many_known_id": append({"$nin": ["c", "a"]}, {"$each": [NEW]}),
    "append_full": append({"$ne": "c"}, NEW, **{"messages.3": {"$exists": False}}),
    "append_not_full": append({"$ne": "c"}, NEW, **{"messages.4": {"$exists": False}}),
    "append_too_many_bytes": append({"$ne": "c"}, NEW, messages_bytes={"$lt": 30}),
    "append_wrong_base": append({"$ne": "c"}, NEW, base=64),
    "edit": edit(
        {"id": "a", "overflow": None},
        {
            "$set": {"messages.$.content": ["new"], "messages.$.metadata.key": {"deep": 1}},
            "$unset": {"messages.$.metadata.x": ""},
            "$inc": {"edits": 1},
        },
    ),
    "edit_last": edit({"id": "b"}, {"$set": {"messages.$.content": "new"}}, **{"last.id": "b"}),
    "edit_not_last": edit({"id": "a"}, {"$set": {"messages.$.content": "new"}}, **{"last.id": "a"}),
    "edit_first_of_ids": ({**S, "messages.id": {"$in": ["b", "a"]}}, {"$set": {"messages.$.content": "new"}}),
    "edit_by_id": ({**S, "messages.id": "b"}, {"$set": {"messages.$.metadata.made.new": 1}}),
    "edit_missing": edit({"id": "z"}, {"$set": {"messages.$.content": "new"}}),
    "hole": edit({"id": "b"}, {"$set": {"messages.$": None}}),
    "hole_by_position": (S, {"$set": {"messages.1": None}}),
    "hole_by_unset": (S, {"$unset": {"messages.1": ""}}),
    "element_past_the_end": (S, {"$set": {"messages.6": {"id": "z"}}}),
    "size": ({**S, "messages": {"$size": 4}}, {"$set": {"messages": []}}),
    "wrong_size": ({**S, "messages": {"$size": 3}}, {"$set": {"messages": []}}),
    "pull": (S, {"$pull": {"stale": {"$in": ["p", "r"]}}}),
    "pull_one": (S, {"$pull": {"stale": "q"}}),
    "pull_none": (S, {"$pull": {"stale": "z"}}),
    "pull_documents": (S, {"$pull": {"messages": {"id": "a"}}}),
    "pull_missing": (S, {"$pull": {"nowhere": "z"}}),
    "push": (S, {"$push": {"stale": "s"}}),
    "push_to_empty": (S, {"$push": {"tags": "s"}}),
    "push_to_missing": (S, {"$push": {"new": {"$each": ["s", "t"]}}}),
    "push_nothing": (S, {"$push": {"stale": {"$each": []}}}),
    "push_to_text": (S, {"$push": {"state": 1}}),
    "add_to_set": (S, {"$addToSet": {"stale": {"$each": ["q", "z", "z"]}}}),
    "escaped_key": (S, {"$set": {"metadata.a%2Eb": 1}}),
    "numeric_key": (S, {"$set": {"metadata.0": 1, "metadata.1": 2}}),
    "members_of_a_new_document": (S, {"$set": {"new.a.b": 1, "new.a.c": 2}}),
    "empty_document": (S, {"$set": {"metadata": {}}}),
    "member_of_text": (S, {"$set": {"state.x": 1}}),
    "member_of_hole": (S, {"$set": {"messages.0.x": 1}}),
    "member_of_array": (S, {"$set": {"messages.x": 1}}),
    "same_value": (S, {"$set": {"count": 3, "last": {"id": "b"}}}),
    "other_number_type": (S, {"$set": {"count": 3.0}}),
    "truth_for_one": (S, {"$set": {"metadata.x": True}}),
    "unset": (S, {"$unset": {"context.value": "", "nowhere.else": ""}}),
    "greater": (S, {"$max": {"count": 5}, "$min": {"base": 5}}),
    "smaller": (S, {"$min": {"count": 1}, "$max": {"base": -1, "new": 1}}),
    "float_sum": (S, {"$inc": {"count": 0.5, "new": 2}}),
    "sum_of_text": (S, {"$inc": {"state": 1}}),
    "sum_too_great": (S, {"$inc": {"count": 2**63 - 1}}),
    "conflict": (S, {"$set": {"last": 1}, "$inc": {"last.id": 1}}),
    "conflict_by_position": edit({"id": "a"}, {"$set": {"messages.$": {}, "messages.1": {}}}),
    "unknown_operator": (S, {"$frobnicate": {"last": 1}}),
    "other_id": (S, {"$set": {"_id": "other"}}),
    "empty_path": (S, {"$set": {"metadata..x": 1}}),
    "nothing_to_stand_for": (S, {"$set": {"messages.$.x": 1}}),
    "computed": (S, [{"$set": {"count": {"$add": ["$count", 2]}, "last.id": {"$literal": "$x"}}}]),
    "computed_of_a_condition": (
        S,
        [{"$set": {"state": {"$cond": [{"$eq": ["$state", "open"]}, "shut", "$state"]}, "context": None}}],
    ),
    "computed_of_what_is_missing": (S, [{"$set": {"new": {"$ifNull": ["$nowhere", 5]}}}]),
    "computed_of_the_stage_before": (S, [{"$set": {"new": 1}}, {"$set": {"other": {"$add": ["$new", 1]}}}]),
    "computed_of_the_same_stage": (S, [{"$set": {"count": 9, "new": {"$add": ["$count", 1]}}}]),
    "computed_alike": (S, [{"$set": {"count": "$count", "state": "open"}}]),
    "computed_and_dropped": (S, [{"$set": {"free": True}}, {"$set": {"count": 5}}, {"$unset": "free"}]),
    "computed_and_all_dropped": (S, [{"$set": {"free": True}}, {"$unset": "free"}]),
    "computed_without_a_member": (S, [{"$unset": "context"}]),
    "computed_without_a_missing_member": (S, [{"$unset": "nowhere"}]),
    "computed_member": (S, [{"$set": {"metadata.x": {"$literal": ["$count", {"$y": 1}]}}}]),
    "computed_for_nobody": ({"_id": "n/none"}, [{"$set": {"count": 1}}]),
}

QUERIES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "all": ({}, None, [("_id", 1)]),
    "range": ({"_id": {"$gt": "n/a", "$lt": "n/s"}}, {"_id": 1}, [("_id", -1)]),
    "directions": ({}, {"_id": 1}, [("rank", -1), ("name", 1), ("_id", -1)]),
    "keyset": ({"$or": [{"rank": {"$lt": 2}}, {"rank": 2, "_id": {"$gt": "n/b"}}]}, ["rank"], {"_id": 1}),
    "in": ({"name": {"$in": ["x", "z"]}}, ["name"], [("_id", 1)]),
    "missing_is_null": ({"name": None}, ["name"], [("_id", 1)]),
    "id": ({"_id": "n/b"}, None, None),
    "id_and_more": ({"_id": "n/b", "name": "other"}, None, None),
    "document_id": ({"_id": {"s": "n/s", "b": 64}}, None, None),
    "document_id_range": (
        {"_id": {"$gte": {"s": "n/s", "b": 0}, "$lt": {"s": "n/s", "b": 128}}},
        {"_id": 1},
        {"_id": -1},
    ),
    "message_id": ({"messages.id": "b"}, {"messages.id": 1}, None),
    "message_ids": ({"messages.id": {"$in": ["z", "a"]}}, {"_id": 1}, None),
    "conversation": ({"messages.conversation_id": "c2"}, {"_id": 1}, None),
    "not_conversation": ({"messages.conversation_id": {"$ne": "c2"}}, {"_id": 1}, [("_id", 1)]),
    "excluded": ({"_id": "n/s"}, {"context.value": 0, "messages.content": 0}, None),
    "tail": ({"_id": "n/s"}, {"messages": {"$slice": -2}}, None),
    "long_tail": ({"_id": "n/s"}, {"messages": {"$slice": -20}, "context.value": 0}, None),
    "head": ({"_id": "n/s"}, {"messages": {"$slice": 2}, "_id": 0}, None),
    "window": ({"_id": "n/s"}, {"messages": {"$slice": [-3, 2]}, "base": 1}, None),
    "without_id": ({"_id": "n/s"}, {"base": 1, "_id": 0}, None),
    "only_without_id": ({"_id": "n/a"}, {"_id": 0}, None),
    "id_with_exclusion": ({"_id": "n/a"}, {"_id": 1, "rank": 0}, None),
    "id_with_slice": ({"_id": "n/s"}, {"_id": 1, "messages": {"$slice": 1}}, None),
    "members_of_text": ({"_id": "n/s"}, {"state.x": 1}, None),
    "mixed": ({}, {"rank": 1, "name": 0}, None),
    "regular_expression": ({"_id": {"$regex": "^n/[ab]"}}, ["_id"], [("_id", 1)]),
    "date": ({"updated_at": {"$gte": NOW}}, {"updated_at": 1}, None),
    "name_without_value": ({"last.id": None}, {"_id": 1}, [("_id", 1)]),
}
OTHERS = [
    {"_id": "n/a", "rank": 2, "name": "x"},
    {"_id": "n/b", "rank": 2, "name": "y"},
    {"_id": "n/c", "rank": 1, "name": "z"},
    {"_id": "n/d", "rank": 2, "name": "x", "last": {}},
    {"_id": {"s": "n/s", "b": 0}, "e": 64},
    {"_id": {"s": "n/s", "b": 64}, "e": 128},
    {"_id": {"s": "n/t", "b": 64}, "e": 128},
]
VALUES = {
    "big": 2**62,
    "one": 1,
    "float": 1.0,
    "true": True,
    "list": [1, 1.0, True, None, float("inf")],
    "nul": "a\0b",
    "bytes": b"\0\1",
    "dollar": {"$ref": "x", "a.b": {"$set": 1}},
    "empty": {"": {}, "list": []},
    "time": datetime(2026, 1, 2, 3, 4, 5, 678901),
    "tuple": (1, 2),
}


@pytest.fixture
async def embedded() -> Database:
    return EmbeddedEngine("", "test").database


@pytest.fixture
async def real(server_uri: str) -> AsyncIterator[Database]:
    async with AsyncMongoClient[dict[str, Any]](server_uri) as client:
        database = client.get_database(f"embedded_{uuid.uuid4().hex}", codec_options=CODEC)
        yield database
        await client.drop_database(database)


def exact(value: Any) -> str:
    """Return a text that also tells 1 from 1.0 and True, and one order of members from another."""
    return repr(value)


async def outcome(database: Database, update: tuple[dict[str, Any], dict[str, Any]], **options: Any) -> Any:
    """Return all that an update leaves: its counts or its refusal, the document, and the change event."""
    sessions = database["sessions"]
    await sessions.insert_many([dict(SESSION), {"_id": "n/t"}])
    async with await database.watch() as stream:
        try:
            result = await sessions.update_one(*update, **options)
            answer: Any = (result.matched_count, result.modified_count, result.upserted_id)
        except WriteError as error:
            answer = (type(error), error.code)
        await sessions.delete_one({"_id": "n/t"})
        event = await stream.next()
    if changes := event.get("updateDescription"):
        changes["updatedFields"] = sorted(changes["updatedFields"].items())
    received = [
        event.get(name) for name in ("operationType", "documentKey", "updateDescription", "fullDocument")
    ]
    return exact((answer, received, event["ns"]["coll"], await sessions.find_one(S)))


@pytest.mark.server
@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
async def test_an_update_does_what_it_does_on_a_server(
    embedded: Database, real: Database, update: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    assert await outcome(embedded, update) == await outcome(real, update)


@pytest.mark.server
@pytest.mark.parametrize(
    "filter",
    [
        {"_id": "n/new", "base": 0, "edits": {"$lt": 5}, "messages.id": {"$ne": "z"}, "a.b": {"$eq": 1}},
        {"$and": [{"_id": "n/new"}, {"state": "open"}]},
        {"_id": "n/s", "edits": {"$gt": 5}},
        {"_id": "n/s", "edits": 0},
    ],
)
async def test_an_upsert_does_what_it_does_on_a_server(
    embedded: Database, real: Database, filter: dict[str, Any]
) -> None:
    update = {"$set": {"name": "x"}, "$setOnInsert": {"base": 7} if "base" not in filter else {"new": 1}}

    async def upserted(database: Database) -> Any:
        answer = await outcome(database, (filter, update), upsert=True)
        return answer, exact(await database["sessions"].find_one({"_id": "n/new"}))

    assert await upserted(embedded) == await upserted(real)


@pytest.mark.server
@pytest.mark.parametrize(
    ("filter", "replacement"),
    [
        ({"_id": "n/s", "edits": {"$lt": 5}}, {"new": [1]}),
        ({"_id": "n/s", "edits": {"$lt": 0}}, {"new": [1]}),
        ({"_id": "n/new", "edits": {"$lt": 0}}, {"new": [1]}),
        ({"_id": {"s": "n/s", "b": 0}, "edits": {"$lt": 0}}, {"edits": 1}),
        ({"_id": "n/s"}, {"_id": "n/other"}),
        ({"_id": "n/s"}, dict(SESSION)),
    ],
)
async def test_a_replacement_does_what_it_does_on_a_server(
    embedded: Database, real: Database, filter: dict[str, Any], replacement: dict[str, Any]
) -> None:
    async def replaced(database: Database) -> str:
        await database["sessions"].insert_one(dict(SESSION))
        try:
            result = await database["sessions"].replace_one(filter, replacement, upsert=True)
            answer: Any = (result.matched_count, result.modified_count, result.upserted_id)
        except WriteError as error:
            answer = (type(error), error.code, (error.details or {}).get("keyPattern"))
        return exact((answer, await database["sessions"].find({}).to_list()))

    assert await replaced(embedded) == await replaced(real)


@pytest.mark.server
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_query_finds_what_it_finds_on_a_server(
    embedded: Database, real: Database, query: tuple[dict[str, Any], Any, Any]
) -> None:
    async def found(database: Database) -> str:
        await database["sessions"].insert_many([dict(item) for item in (SESSION, *OTHERS)])
        filter, projection, sort = query
        try:
            async with database["sessions"].find(filter, projection, sort=sort, batch_size=9) as cursor:
                documents = await cursor.to_list()
            pages = [
                [item async for item in database["sessions"].find(filter, {"_id": 1}, sort=sort, limit=2)],
                await database["sessions"].find_one(filter, projection, sort=sort),
                await database["sessions"].count_documents(filter),
            ]
        except OperationFailure as error:
            return exact(error.code)
        return exact((documents, pages))

    assert await found(embedded) == await found(real)


@pytest.mark.server
async def test_values_come_back_as_from_a_server(embedded: Database, real: Database) -> None:
    async def stored(database: Database) -> str:
        await database["values"].insert_one({**VALUES, "_id": 1})
        for name, value in VALUES.items():
            await database["values"].update_one({"_id": 2}, {"$set": {name: value}}, upsert=True)
        return exact(await database["values"].find({}, sort=[("_id", 1)]).to_list())

    assert await stored(embedded) == await stored(real)


@pytest.mark.server
@pytest.mark.parametrize("value", [2**70, {1: 1}, {"a\0b": 1}, object(), "\ud800", {"x"}])
async def test_values_are_refused_as_by_the_driver(embedded: Database, real: Database, value: Any) -> None:
    async def refused(database: Database) -> list[type[Exception]]:
        await database["values"].insert_one({"_id": 1})
        with pytest.raises(Exception) as inserting:  # noqa: PT011  # which one is the question
            await database["values"].insert_one({"value": value})
        with pytest.raises(Exception) as updating:  # noqa: PT011  # which one is the question
            await database["values"].update_one({"_id": 1}, {"$push": {"values": value}})
        assert await database["values"].find({}).to_list() == [{"_id": 1}]
        return [inserting.type, updating.type]

    assert await refused(embedded) == await refused(real)


INDEX = {"key": {"a": 1}, "name": "a"}
INDEXES = [
    INDEX,
    {"key": {"b": 1}, "name": "a"},
    {**INDEX, "unique": True},
    {**INDEX, "expireAfterSeconds": 5},
    {**INDEX, "partialFilterExpression": {"b": 1}},
    {**INDEX, "name": "b"},
    {**INDEX, "name": "b", "unique": True, "sparse": True},
    {**INDEX, "name": "b", "expireAfterSeconds": 5},
    {"key": {"a": 1, "b": -1}, "name": "b", "unique": True},
    {"key": {"d": 1}, "name": "b", "unique": True},
    {"key": {"_id": 1}, "name": "_id_"},
]


@pytest.mark.server
@pytest.mark.parametrize("index", INDEXES)
async def test_an_index_is_made_or_refused_as_on_a_server(
    embedded: Database, real: Database, index: dict[str, Any]
) -> None:
    async def made(database: Database) -> str:
        assert await (await database["things"].list_indexes()).to_list() == []
        await database["things"].insert_many([{"a": 1, "b": 1, "d": 5}, {"a": 2, "b": 1, "d": 5}])
        await database["things"].create_indexes([IndexModel([("a", 1)], name="a")])
        await database["things"].create_indexes([IndexModel({"b": 1, "a": 1}, name="ba")])
        answer = None
        try:
            await database.command({"createIndexes": "things", "indexes": [index]})
        except OperationFailure as error:
            answer = (type(error), error.code)
        return exact(
            (
                answer,
                [{**item, "key": {**item["key"]}} async for item in await database["things"].list_indexes()],
            )
        )

    assert await made(embedded) == await made(real)


@pytest.mark.server
async def test_a_unique_index_forbids_what_it_forbids_on_a_server(embedded: Database, real: Database) -> None:
    indexes = [
        {"key": {"room": 1, "index": 1}, "name": "pair", "unique": True},
        {"key": {"key": 1}, "name": "key", "unique": True, "partialFilterExpression": {"key": {"$gt": ""}}},
        {"key": {"sparse": 1}, "name": "sparse", "unique": True, "sparse": True},
        {"key": {"list": 1}, "name": "list", "unique": True, "sparse": True},
    ]
    documents: list[dict[str, Any]] = [
        {"_id": 1, "room": "a", "index": 1},
        {"_id": 2, "room": "a", "index": 2, "key": "k", "list": [1, 2]},
        {"_id": 3, "room": "a", "index": 1},
        {"_id": 4, "room": "b", "key": "k"},
        {"_id": 5, "room": "b", "key": None, "sparse": 1},
        {"_id": 6, "room": "b", "key": None},
        {"_id": 7, "room": "c", "sparse": 1},
        {"_id": 8, "room": "c", "list": [3, 1]},
        {"_id": 1, "room": "d"},
        {"_id": 9, "room": "e", "list": [3, 3]},
    ]

    async def find_type(database: Database) -> str:
        await database.command({"createIndexes": "things", "indexes": indexes})
        with pytest.raises(BulkWriteError) as refused:
            await database["things"].insert_many([dict(item) for item in documents], ordered=False)
        errors = [
            (error["index"], error["code"], error["keyPattern"], error["keyValue"])
            for error in refused.value.details["writeErrors"]
        ]
        with pytest.raises(BulkWriteError):
            await database["things"].insert_many(
                [{"_id": 20, "room": 20}, {"_id": 1}, {"_id": 21, "room": 21}]
            )
        with pytest.raises(DuplicateKeyError):
            await database["things"].update_one({"_id": 1}, {"$set": {"index": 2}})
        await database["things"].update_one({"_id": 2}, {"$set": {"index": 3}})
        await database["things"].update_one({"_id": 1}, {"$set": {"index": 2}})
        await database["things"].delete_one({"_id": 1})
        await database["things"].insert_one({"_id": 10, "room": "a", "index": 2})
        return exact((errors, await database["things"].find({}, sort=[("_id", 1)]).to_list()))

    assert await find_type(embedded) == await find_type(real)


@pytest.mark.server
async def test_aggregation_finds_what_it_finds_on_a_server(embedded: Database, real: Database) -> None:
    pipeline = [
        {"$match": {"rank": {"$gt": 0}}},
        {"$group": {"_id": "$rank", "names": {"$sum": 1}, "last": {"$max": "$name"}}},
        {"$lookup": {"from": "ranks", "localField": "_id", "foreignField": "_id", "as": "rank"}},
        {"$sort": {"_id": -1}},
        {"$limit": 2},
    ]

    async def found(database: Database) -> str:
        await database["sessions"].insert_many([dict(item) for item in OTHERS])
        await database["ranks"].insert_one({"_id": 2, "title": "high"})
        return exact(await (await database["sessions"].aggregate(pipeline)).to_list())

    assert await found(embedded) == await found(real)


@pytest.mark.server
async def test_a_lookup_shows_the_fields_that_it_does_on_a_server(embedded: Database, real: Database) -> None:
    fields = {"$project": {"_id": 0, "state": 1}}
    lookup = {"from": "two", "localField": "owner", "foreignField": "_id", "as": "o", "pipeline": [fields]}
    pipeline = [{"$sort": {"_id": 1}}, {"$limit": 4}, {"$project": {"a": 0}}, {"$lookup": lookup}]

    async def found(database: Database) -> str:
        owners: list[Any] = ["x", "none", None, "z", "x"]
        await database["one"].insert_many(
            [{"_id": number, "a": 1, "owner": owner} for number, owner in enumerate(owners)]
        )
        await database["one"].update_one({"_id": 2}, {"$unset": {"owner": ""}})
        await database["two"].insert_many([{"_id": "x", "state": "open", "b": 1}, {"_id": "z"}])
        return exact(await (await database["one"].aggregate(pipeline)).to_list())

    assert await found(embedded) == await found(real)


@pytest.mark.server
async def test_a_union_finds_what_it_finds_on_a_server(embedded: Database, real: Database) -> None:
    def united(name: str) -> dict[str, Any]:
        return {"$unionWith": {"coll": name, "pipeline": [{"$match": {"a": 1}}, {"$sort": {"b": 1}}]}}

    async def found(database: Database) -> str:
        await database["one"].insert_many([{"_id": "x", "a": 2}, {"_id": "y", "a": 3}])
        await database["two"].insert_many([{"_id": n, "a": n % 2, "b": -n} for n in range(6)])
        pipelines = [
            [{"$match": {"_id": first}}, {"$project": {"b": 0}}, *map(united, names)]
            for first in ("x", "z")
            for names in (["two"], ["two", "two"], ["two", "none"], ["none"])
        ]
        answers = [await (await database["one"].aggregate(pipeline)).to_list() for pipeline in pipelines]
        return exact(answers)

    assert await found(embedded) == await found(real)


@pytest.mark.server
async def test_now_is_the_time_of_the_update_as_on_a_server(embedded: Database, real: Database) -> None:
    stages = [
        {"$set": {"at": "$$NOW", "same": "$$NOW"}},
        {"$set": {"later": {"$subtract": ["$at", -60_000]}, "over": {"$lte": ["$end", "$$NOW"]}}},
    ]
    for database in (embedded, real):
        for key, end in (("a", NOW - timedelta(days=10_000)), ("b", NOW + timedelta(days=100_000))):
            await database["things"].insert_one({"_id": key, "end": end})
            await database["things"].update_one({"_id": key}, stages)
            thing = await database["things"].find_one({"_id": key})
            assert thing is not None
            assert thing["at"] == thing["same"] == thing["later"] - timedelta(minutes=1)
            assert abs(thing["at"] - datetime.now(thing["at"].tzinfo)) < timedelta(minutes=1)
            assert thing["over"] is (key == "a")


async def test_beanie_binds_inserts_and_finds(embedded: Database) -> None:
    class Thing(Document):
        id: str  # type: ignore[assignment]  # Beanie's own way of naming the key
        name: str
        size: int = 1

    class Name(BaseModel):
        name: str

    await init_beanie(database=embedded, document_models=[Thing], skip_indexes=True)
    await Thing(id="a", name="x").insert()
    await Thing.get_pymongo_collection().update_one({Thing.id: "a"}, {"$inc": {Thing.size: 1}})
    assert await Thing.find_one({Thing.name: "x"}) == Thing(id="a", name="x", size=2)
    assert await Thing.find_one({"_id": "a"}, projection_model=Name) == Name(name="x")
    assert await Thing.find(Thing.size > 1).sort(-Thing.name).limit(3).to_list() == [
        Thing(id="a", name="x", size=2)
    ]
    with pytest.raises(DuplicateKeyError):
        await Thing(id="a", name="y").insert()


async def test_an_engine_keeps_the_protocol_and_its_data_over_close() -> None:
    engine = EmbeddedEngine("", "test")
    assert (engine.address, engine.is_shared) == ("mongomock://", False)
    assert engine.capabilities == {*Capability} - {Capability.SEARCH}
    await engine.open()
    with engine.deadline(1):
        await engine.database["things"].insert_one({"_id": 1})
    await engine.close()
    await engine.recover()
    await engine.open()
    assert await engine.database["things"].count_documents({}) == 1
    await engine.database.client.close()


async def test_a_name_is_shared_in_the_process_and_no_name_is_private() -> None:
    name = uuid.uuid4().hex
    await EmbeddedEngine(name, "test").database["things"].insert_one({"_id": 1})
    assert await EmbeddedEngine(name, "test").database["things"].count_documents({}) == 1
    assert await EmbeddedEngine(name, "other").database["things"].count_documents({}) == 0
    await EmbeddedEngine("", "test").database["things"].insert_one({"_id": 1})
    assert await EmbeddedEngine("", "test").database["things"].count_documents({}) == 0


async def test_nothing_is_shared_with_the_caller(embedded: Database) -> None:
    sent: dict[str, Any] = {"_id": 1, "list": [{"x": 1}]}
    pushed: dict[str, Any] = {"y": [1]}
    await embedded["things"].insert_one(sent)
    await embedded["things"].update_one({"_id": 1}, {"$push": {"list": pushed}, "$set": {"last": pushed}})
    found = await embedded["things"].find_one({"_id": 1})
    for mutable in (sent["list"], pushed["y"], found["list"], found["last"]["y"] if found else []):
        mutable.clear()
    expected = {"_id": 1, "list": [{"x": 1}, {"y": [1]}], "last": {"y": [1]}}
    assert await embedded["things"].find_one({"_id": 1}) == expected


async def test_a_document_that_would_grow_too_large_stays_as_it_is(embedded: Database) -> None:
    await embedded["things"].insert_one({"_id": 1, "list": ["x" * 2**23]})
    with pytest.raises(WriteError) as refused:
        await embedded["things"].update_one({"_id": 1}, {"$push": {"list": "x" * 2**23}})
    assert refused.value.code == 10334
    assert await embedded["things"].count_documents({"list": {"$size": 1}}) == 1
    with pytest.raises(DocumentTooLarge):
        await embedded["things"].insert_many([{"_id": 2}, {"_id": 3, "x": "x" * 2**24}])
    assert await embedded["things"].count_documents({}) == 1


async def test_collections_exist_from_the_first_write_to_the_drop(embedded: Database) -> None:
    assert await embedded["things"].find_one({}) is None
    assert await embedded.list_collection_names() == []
    await embedded["things"].insert_one({"_id": 1})
    await embedded["things"].delete_many({})
    await embedded["others"].create_indexes([IndexModel("x", name="x")])
    assert sorted(await embedded.list_collection_names()) == ["others", "things"]
    await embedded["things"].drop()
    assert await embedded.list_collection_names() == ["others"]
    await embedded.client.drop_database(embedded)
    assert await embedded.list_collection_names() == []


async def test_find_one_and_update_returns_the_document_before_or_after(embedded: Database) -> None:
    things = embedded["things"]
    await things.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 5}])
    increment = {"$inc": {"n": 1}}
    assert await things.find_one_and_update({}, increment, sort=[("n", -1)]) == {"_id": 2, "n": 5}
    after = ReturnDocument.AFTER
    assert await things.find_one_and_update(
        {"_id": 2}, increment, {"n": 1, "_id": 0}, return_document=after
    ) == {"n": 7}
    assert await things.find_one_and_update({"_id": 3}, increment) is None
    assert await things.find_one_and_update({"_id": 3}, increment, upsert=True, return_document=after) == {
        "_id": 3,
        "n": 1,
    }
    assert (await things.update_many({}, increment)).modified_count == 3


@pytest.mark.parametrize(
    "statement",
    [
        {"$or": 5},
        {"n": {"$in": 5}},
        {"n": {"$frobnicate": 1}},
        {"n": {"$bitsAllSet": 1}},
        {"n": {"$regex": "("}},
        {"$text": {"$search": "x"}},
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused(
    embedded: Database, statement: dict[str, Any]
) -> None:
    await embedded["things"].insert_one({"_id": 1, "n": "x"})
    with pytest.raises(OperationFailure):
        await embedded["things"].find_one(statement)
    with pytest.raises(OperationFailure):
        await embedded["things"].update_one({}, {"$push": {"x": {"$each": [1], "$sort": 1}}})
    with pytest.raises(OperationFailure):
        await embedded["things"].aggregate([{"$setWindowFields": {}}])
    with pytest.raises(OperationFailure):
        await embedded.command("dbStats")


async def test_expired_documents_are_gone(embedded: Database) -> None:
    await embedded["locks"].create_indexes([IndexModel("until", name="until", expireAfterSeconds=60)])
    now = datetime.now(UTC)
    await embedded["locks"].insert_many(
        [
            {"_id": 1, "until": now},
            {"_id": 2, "until": now - timedelta(seconds=61)},
            {"_id": 3, "until": None},
        ]
    )
    assert [lock["_id"] async for lock in embedded["locks"].find()] == [1, 3]
    # A date that becomes an earlier one, and one of an index that is made later.
    await embedded["locks"].update_one({"_id": 1}, {"$set": {"until": now - timedelta(seconds=61)}})
    await embedded["locks"].insert_one({"_id": 4, "days": [now, now - timedelta(days=1)]})
    assert [lock["_id"] async for lock in embedded["locks"].find()] == [3, 4]
    await embedded["locks"].create_indexes([IndexModel("days", name="days", expireAfterSeconds=60)])
    assert [lock["_id"] async for lock in embedded["locks"].find()] == [3]


async def test_a_statement_looks_at_no_document_that_cannot_have_expired(
    embedded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await embedded["locks"].create_indexes([IndexModel("until", name="until", expireAfterSeconds=60)])
    now, examined = datetime.now(UTC), list[Any]()
    await embedded["locks"].insert_many([{"_id": f"{number}", "until": now} for number in range(100)])

    def count(filter: Any, document: dict[str, Any]) -> bool:
        examined.append(document["_id"])
        return matches(filter, document)

    monkeypatch.setattr("mongostore.engines.embedded.storage.matches", count)
    assert await embedded["locks"].find_one({"_id": "7"})
    assert examined == ["7"]


async def test_concurrent_claims_are_never_granted_twice() -> None:
    name = uuid.uuid4().hex
    jobs = EmbeddedEngine(name, "test").database["jobs"]
    await jobs.insert_many([{"_id": number, "free": True} for number in range(100)])
    claimed: list[int] = []

    async def claim() -> None:
        own = EmbeddedEngine(name, "test").database["jobs"]
        while job := await own.find_one_and_update({"free": True}, {"$set": {"free": False}}):
            claimed.append(job["_id"])

    async def claim_many() -> None:
        await asyncio.gather(claim(), claim())

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, claim_many()) for _ in range(4)))
    assert sorted(claimed) == list(range(100))


async def test_a_watcher_is_woken_by_a_write_from_another_loop() -> None:
    name = uuid.uuid4().hex
    database = EmbeddedEngine(name, "test").database
    wanted = [{"$match": {"$or": [{"documentKey._id": {"$regex": "^n/"}}, {"operationType": "drop"}]}}]

    async def write() -> None:
        other = EmbeddedEngine(name, "test").database["things"]
        await EmbeddedEngine(name, "elsewhere").database["things"].insert_one({"_id": "n/0"})
        await other.insert_many([{"_id": "m/1"}, {"_id": "n/1"}])
        await other.update_one({"_id": "n/1"}, {"$set": {"x": 1}})
        await other.drop()

    async with await database.watch(wanted, full_document="updateLookup") as stream:
        assert await stream.try_next() is None
        waiting = asyncio.create_task(stream.next())
        await asyncio.sleep(0.01)
        await asyncio.to_thread(asyncio.run, write())
        first = await waiting
        assert (first["operationType"], first["fullDocument"]) == ("insert", {"_id": "n/1"})
        second = await stream.next()
        assert (second["operationType"], second["fullDocument"]) == ("update", None)
        token = stream.resume_token
        assert token == second["_id"]
        assert (await anext(stream))["operationType"] == "drop"
    with pytest.raises(StopAsyncIteration):
        await stream.next()
    async with await database.watch(resume_after=token) as resumed:
        assert (await resumed.next())["operationType"] == "drop"
        assert await resumed.try_next() is None


async def test_closing_a_stream_ends_the_wait_for_its_next_change(embedded: Database) -> None:
    stream = await embedded.watch()
    waiting = asyncio.create_task(stream.next())
    await asyncio.sleep(0.01)
    await stream.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_an_abandoned_wait_loses_no_change(embedded: Database) -> None:
    async with await embedded.watch() as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.next(), 0.01)
        await embedded["things"].insert_one({"_id": 1})
        assert (await stream.next())["documentKey"] == {"_id": 1}


async def test_a_resume_point_older_than_the_history_is_refused(embedded: Database) -> None:
    async with await embedded.watch() as slow:
        token = slow.resume_token
        await embedded["things"].insert_many([{"_id": number} for number in range(HISTORY + 1)])
        for lost in (
            slow.next(),
            embedded.watch(resume_after=token),
            EmbeddedEngine("", "x").database.watch(start_after={"_data": "5"}),
        ):
            with pytest.raises(OperationFailure) as refused:
                await lost
            assert refused.value.code == 286
    with pytest.raises(OperationFailure):
        await embedded.watch(resume_after={"_data": "no token"})
    with pytest.raises(OperationFailure):
        await embedded.watch([{"$project": {"ns": 1}}])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_amid_an_operation_of_another_thread_goes_on_with_its_copy() -> None:
    name = uuid.uuid4().hex
    amid = threading.Event()

    def operate() -> None:
        with LOCK:
            amid.set()
            time.sleep(0.05)

    async def write_and_count() -> int:
        things = EmbeddedEngine(name, "test").database["things"]
        await things.insert_one({})
        return await things.count_documents({})

    assert asyncio.run(write_and_count()) == 1
    other = threading.Thread(target=operate)
    other.start()
    amid.wait()
    child = os.fork()
    if not child:
        signal.alarm(5)  # ends a child that hangs
        with contextlib.suppress(BaseException):
            os._exit(asyncio.run(write_and_count()))
        os._exit(99)
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert asyncio.run(write_and_count()) == 2
