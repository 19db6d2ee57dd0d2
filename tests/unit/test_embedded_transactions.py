"""The embedded engine does several statements all or not at all, and nobody sees them halfway."""

from __future__ import annotations

import asyncio
import itertools
import threading
import uuid
from typing import Any

import pytest
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.engines.protocol import Database

UNIQUE = {
    "createIndexes": "things",
    "indexes": [{"key": {"room": 1, "index": 1}, "name": "one", "unique": True}],
}
THINGS = [{"_id": n, "room": "r", "index": n, "tags": ["a"]} for n in range(4)]


class LostError(Exception):
    """What a transaction fails with."""


@pytest.fixture
async def engine() -> EmbeddedEngine:
    made = EmbeddedEngine("", "test")
    await made.database.command(UNIQUE)
    await made.database["things"].insert_many([dict(thing) for thing in THINGS])
    return made


async def contents(database: Database) -> dict[str, list[Any]]:
    return {name: await database[name].find({}, sort=[("_id", 1)]).to_list() for name in ("things", "others")}


async def change_everything(database: Database, session: Any) -> None:
    things = database["things"]
    await things.insert_one({"_id": 10, "room": "r", "index": 10}, session=session)
    await things.insert_many([{"_id": n, "room": "s", "index": n} for n in (11, 12)], session=session)
    await things.update_one({"_id": 0}, {"$set": {"index": 100}, "$push": {"tags": "b"}}, session=session)
    await things.update_many({"room": "r"}, {"$inc": {"seen": 1}}, session=session)
    await things.update_one({"_id": 13}, {"$setOnInsert": {"room": "t"}}, upsert=True, session=session)
    await things.find_one_and_update({"_id": 1}, [{"$set": {"index": 101}}], session=session)
    await things.replace_one({"_id": 2}, {"room": "u"}, session=session)
    await things.delete_one({"_id": 3}, session=session)
    await things.insert_one({"_id": 14, "room": "r", "index": 3}, session=session)
    await things.delete_many({"room": "s"}, session=session)
    await database["others"].insert_one({"_id": "new"}, session=session)


async def test_a_transaction_returns_its_result_and_keeps_all_it_did(engine: EmbeddedEngine) -> None:
    async def statements(session: Any) -> str:
        await change_everything(engine.database, session)
        return "done"

    plain = EmbeddedEngine("", "test")
    await plain.database.command(UNIQUE)
    await plain.database["things"].insert_many([dict(thing) for thing in THINGS])
    await change_everything(plain.database, None)
    assert await engine.transact(statements) == "done"
    assert await contents(engine.database) == await contents(plain.database)


async def test_a_transaction_that_fails_undoes_all_it_did(engine: EmbeddedEngine) -> None:
    before = await contents(engine.database)

    async def statements(session: Any) -> None:
        await change_everything(engine.database, session)
        assert await contents(engine.database) != before
        raise LostError

    for _ in range(2):
        with pytest.raises(LostError):
            await engine.transact(statements)
        assert await contents(engine.database) == before


async def test_unique_keys_are_as_before_a_failure(engine: EmbeddedEngine) -> None:
    things = engine.database["things"]

    async def statements(session: Any) -> None:
        await change_everything(engine.database, session)
        raise LostError

    with pytest.raises(LostError):
        await engine.transact(statements)
    for index in (0, 1, 2, 3):
        with pytest.raises(DuplicateKeyError):
            await things.insert_one({"room": "r", "index": index})
    for index in (10, 100, 101):
        await things.insert_one({"_id": index, "room": "r", "index": index})
    await things.delete_one({"_id": 3})
    await things.insert_one({"_id": 3, "room": "r", "index": 3})


async def test_an_error_of_the_database_fails_the_transaction(engine: EmbeddedEngine) -> None:
    things, before = engine.database["things"], await contents(engine.database)

    async def insert(session: Any) -> None:
        await things.update_one({"_id": 0}, {"$set": {"x": 1}}, session=session)
        await things.insert_one({"_id": 20, "room": "r", "index": 2}, session=session)

    async def insert_many(session: Any) -> None:
        await things.insert_many([{"_id": 20, "room": "r", "index": 20}, {"_id": 1}], session=session)

    errors: list[tuple[Any, type[PyMongoError]]] = [
        (insert, DuplicateKeyError),
        (insert_many, BulkWriteError),
    ]
    for statements, error in errors:
        with pytest.raises(error):
            await engine.transact(statements)
        assert await contents(engine.database) == before


async def test_streams_tell_what_was_kept_when_it_is_kept(engine: EmbeddedEngine) -> None:
    things = engine.database["things"]

    async with await engine.database.watch() as stream:

        async def statements(session: Any) -> None:
            await things.insert_one({"_id": 20, "room": "s"}, session=session)
            await things.update_one({"_id": 20}, {"$set": {"x": 1}}, session=session)
            assert await stream.try_next() is None

        async def failing(session: Any) -> None:
            await things.delete_many({}, session=session)
            raise LostError

        with pytest.raises(LostError):
            await engine.transact(failing)
        await engine.transact(statements)
        await things.delete_one({"_id": 20})
        received = [await stream.next() for _ in range(3)]
        assert [event["operationType"] for event in received] == ["insert", "update", "delete"]
        assert await stream.try_next() is None


async def test_an_error_that_is_caught_undoes_its_own_statement_alone(
    engine: EmbeddedEngine,
) -> None:
    things = engine.database["things"]

    async def statements(session: Any) -> None:
        await things.insert_one({"_id": 20, "room": "s", "index": 0}, session=session)
        with pytest.raises(DuplicateKeyError):
            await things.insert_one({"_id": 20}, session=session)

    await engine.transact(statements)
    assert await things.count_documents({"_id": 20}) == 1


async def test_other_tasks_see_no_transaction_halfway(engine: EmbeddedEngine) -> None:
    accounts = engine.database["others"]
    await accounts.insert_many([{"_id": "a", "sum": 100}, {"_id": "b", "sum": 0}])

    async def move(session: Any) -> None:
        await accounts.update_one({"_id": "a"}, {"$inc": {"sum": -1}}, session=session)
        await accounts.update_one({"_id": "b"}, {"$inc": {"sum": 1}}, session=session)

    async def look() -> int:
        return sum([account["sum"] async for account in accounts.find({})])

    seen = await asyncio.gather(*(call for _ in range(50) for call in (engine.transact(move), look())))
    assert {total for total in seen if total is not None} == {100}
    assert await accounts.find({}, {"_id": 0}, sort=[("_id", 1)]).to_list() == [{"sum": 50}, {"sum": 50}]


async def test_other_threads_see_no_transaction_halfway() -> None:
    name, over, calls = uuid.uuid4().hex, threading.Event(), itertools.count()
    accounts = EmbeddedEngine(name, "test").database["others"]
    await accounts.insert_many([{"_id": "a", "sum": 0}, {"_id": "b", "sum": 0}])

    async def move(session: Any) -> None:
        own = EmbeddedEngine(name, "test").database["others"]
        read = (await own.find_one({"_id": "a"}, session=session) or {})["sum"]
        await own.update_one({"_id": "a"}, {"$set": {"sum": read - 1}}, session=session)
        await own.update_one({"_id": "b"}, {"$inc": {"sum": 1}}, session=session)
        if next(calls) % 3 == 0:
            raise LostError

    async def work() -> int:
        outcomes = [
            *await asyncio.gather(
                *(EmbeddedEngine(name, "test").transact(move) for _ in range(50)), return_exceptions=True
            )
        ]
        return sum(outcome is None for outcome in outcomes)

    async def look() -> set[int]:
        totals = set()
        while not over.is_set():
            totals.add(sum([account["sum"] async for account in accounts.find({})]))
        return totals

    looking = asyncio.create_task(asyncio.to_thread(asyncio.run, look()))
    done = await asyncio.gather(*(asyncio.to_thread(asyncio.run, work()) for _ in range(4)))
    over.set()
    assert await looking == {0}
    assert (await accounts.find_one({"_id": "b"}) or {})["sum"] == sum(done) == 133
