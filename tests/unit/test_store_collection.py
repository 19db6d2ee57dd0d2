"""Collections in which no update or deletion changes what a newer version has written."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.errors import IndexConflictError, UnsupportedError
from mongostore.repositories.operation import Access, running
from mongostore.repositories.store_collection import StoreCollection

CURRENT: StoredDocument = {"_id": "current", "place": 1, "schema_version": SCHEMA_VERSION}
OLD: StoredDocument = {"_id": "old", "place": 3}
NEWER: StoredDocument = {"_id": "newer", "place": 2, "schema_version": SCHEMA_VERSION + 1}

CHANGES = [
    ("update_one", {"$set": {"place": 9}}),
    ("replace_one", {"place": 9}),
    ("find_one_and_update", {"$set": {"place": 9}}),
]
URGENT = [
    ("update_one", [{"$set": {"state": "ended"}}]),
    ("find_one_and_update", [{"$set": {"state": "ended"}}]),
    ("delete_one", []),
    ("find_one_and_delete", {"_id": 1}),
]
IS_NEWER = r"^things 'newer' was written by a newer version of mongostore: install that one here, too$"


class Contended:
    """A collection in which others are first to insert what an upsert would."""

    def __init__(self, collection: Any, times: int, key: str = "_id") -> None:
        self.collection = collection
        self.times = times
        self.error = DuplicateKeyError("taken", 11000, {"keyPattern": {key: 1}})
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)

    async def update_one(
        self, where: StoredDocument, update: StoredDocument, upsert: bool = False, session: object = None
    ) -> Any:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return await self.collection.update_one(where, update, upsert=upsert)


@pytest.fixture
async def things() -> Any:
    database = EmbeddedEngine("", "guarding").database
    await database["things"].insert_many([dict(CURRENT), dict(OLD), dict(NEWER)])
    await database["settled"].insert_one({"_id": "settled"})
    return database["things"]


@pytest.fixture
def guarded(things: Any) -> StoreCollection:
    return StoreCollection(things, things.database["settled"])


async def stored(things: Any) -> list[StoredDocument]:
    documents: list[StoredDocument] = await things.find({}, sort=[("place", 1)]).to_list()
    return documents


@pytest.mark.parametrize(
    ("access", "name"), [(Access.WRITE, "things"), (Access.READ, "things"), (Access.READ_MAJORITY, "settled")]
)
async def test_settled_calls_read_what_is_settled(
    guarded: StoreCollection, access: Access, name: str
) -> None:
    with running(1, access):
        assert guarded.name == name
        assert (await guarded.find_one({"_id": "settled"}) is not None) == (name == "settled")


def test_outside_of_a_call_nothing_is_settled(guarded: StoreCollection) -> None:
    assert guarded.name == "things"


async def test_settled_calls_change_what_others_change(guarded: StoreCollection, things: Any) -> None:
    with running(1, Access.READ_MAJORITY):
        assert (await guarded.update_one({"_id": "old"}, {"$set": {"place": 9}})).matched_count == 1

    assert await things.find_one({"_id": "old"}) == {"_id": "old", "place": 9}


@pytest.mark.parametrize("is_called", [False, True])
@pytest.mark.parametrize("id", ["current", "old"])
@pytest.mark.parametrize(("method", "update"), CHANGES)
async def test_what_is_not_newer_is_changed(
    guarded: StoreCollection,
    things: Any,
    method: str,
    update: StoredDocument,
    id: str,
    is_called: bool,
) -> None:
    where = {"_id": id}

    if is_called:
        with running(1, Access.WRITE) as call:
            await getattr(guarded, method)(where, update)
            assert call.missed == {}
    else:
        await getattr(guarded, method)(where, update)

    assert (await things.find_one(where))["place"] == 9
    assert where == {"_id": id}


@pytest.mark.parametrize("where", [{"_id": "newer"}, {"_id": "newer", "place": 7}, {"place": 2}])
@pytest.mark.parametrize(("method", "arguments"), [*((name, [new]) for name, new in CHANGES), *URGENT])
async def test_outside_of_a_call_a_newer_document_is_told_at_once_and_stays(
    guarded: StoreCollection,
    things: Any,
    method: str,
    arguments: list[StoredDocument],
    where: StoredDocument,
) -> None:
    with pytest.raises(UnsupportedError, match=IS_NEWER):
        await getattr(guarded, method)(where, *arguments)

    assert await stored(things) == [CURRENT, NEWER, OLD]


@pytest.mark.parametrize(("method", "update"), CHANGES)
async def test_in_a_call_a_newer_document_is_told_after_the_second_miss_and_stays(
    guarded: StoreCollection, things: Any, method: str, update: StoredDocument
) -> None:
    change = getattr(guarded, method)

    with running(1, Access.WRITE) as call:
        for times in (1, 2):
            await change({"_id": "newer"}, update)
            assert [missed.times for missed in call.missed.values()] == [times]
        with pytest.raises(UnsupportedError, match=IS_NEWER):
            await change({"_id": "newer"}, update)

    assert await stored(things) == [CURRENT, NEWER, OLD]


@pytest.mark.parametrize(("method", "arguments"), URGENT)
async def test_what_ends_something_newer_is_told_at_once(
    guarded: StoreCollection, things: Any, method: str, arguments: list[StoredDocument]
) -> None:
    with running(1, Access.WRITE), pytest.raises(UnsupportedError, match=IS_NEWER):
        await getattr(guarded, method)({"_id": "newer"}, *arguments)

    assert await stored(things) == [CURRENT, NEWER, OLD]


@pytest.mark.parametrize(("method", "arguments"), [*((name, [new]) for name, new in CHANGES), *URGENT])
async def test_what_is_not_there_may_be_missed_as_often_as_one_likes(
    guarded: StoreCollection, method: str, arguments: list[StoredDocument]
) -> None:
    await getattr(guarded, method)({"_id": "nobody"}, *arguments)
    with running(1, Access.WRITE):
        for _ in range(7):
            await getattr(guarded, method)({"_id": "nobody"}, *arguments)


async def test_a_miss_is_forgotten_once_it_was_looked_at(guarded: StoreCollection) -> None:
    with running(1, Access.WRITE) as call:
        for _ in range(3):
            await guarded.update_one({"_id": "nobody"}, {"$set": {"place": 9}})
        assert call.missed == {}


@pytest.mark.parametrize(("method", "update"), CHANGES)
async def test_a_miss_is_forgotten_once_the_document_is_met(
    guarded: StoreCollection, method: str, update: StoredDocument
) -> None:
    with running(1, Access.WRITE) as call:
        await getattr(guarded, method)({"_id": "old", "place": 7}, update)
        assert list(call.missed) == [("things", "old")]
        await getattr(guarded, method)({"_id": "old", "place": 3}, update)
        assert call.missed == {}


async def test_a_miss_is_forgotten_once_the_document_is_inserted(
    guarded: StoreCollection, things: Any
) -> None:
    with running(1, Access.WRITE) as call:
        await guarded.update_one({"_id": "made"}, {"$set": {"place": 9}})
        assert list(call.missed) == [("things", "made")]
        await guarded.insert_one({"_id": "made"})
        assert call.missed == {}

    assert await things.find_one({"_id": "made"}) == {"_id": "made"}


async def test_a_miss_is_forgotten_once_the_document_is_deleted(
    guarded: StoreCollection, things: Any
) -> None:
    with running(1, Access.WRITE) as call:
        await guarded.update_one({"_id": "old", "place": 7}, {"$set": {"place": 9}})
        assert (await guarded.delete_one({"_id": "old"})).deleted_count == 1
        assert call.missed == {}

    assert await things.find_one({"_id": "old"}) is None


async def test_misses_of_different_documents_are_counted_apart(guarded: StoreCollection) -> None:
    with running(1, Access.WRITE) as call:
        await guarded.update_one({"_id": "a"}, {"$set": {"place": 9}})
        await guarded.update_one({"place": 7}, {"$set": {"place": 9}})
        await guarded.update_one({"_id": "a", "place": 8}, {"$set": {"place": 9}})

        assert {matching: missed.times for matching, missed in call.missed.items()} == {
            ("things", "a"): 2,
            ("things", "{'place': 7}"): 1,
        }


@pytest.mark.parametrize(("method", "update"), CHANGES)
async def test_what_an_upsert_makes_is_not_missed(
    guarded: StoreCollection, things: Any, method: str, update: StoredDocument
) -> None:
    with running(1, Access.WRITE) as call:
        await getattr(guarded, method)({"_id": "made"}, update, upsert=True)
        assert call.missed == {}

    assert await things.find_one({"_id": "made"}) == {"_id": "made", "place": 9}


@pytest.mark.parametrize("is_called", [False, True])
@pytest.mark.parametrize(("method", "update"), CHANGES)
async def test_an_upsert_of_what_is_newer_changes_nothing(
    guarded: StoreCollection, things: Any, method: str, update: StoredDocument, is_called: bool
) -> None:
    call = running(1, Access.WRITE) if is_called else nullcontext()

    with call, pytest.raises(UnsupportedError, match=IS_NEWER):
        await getattr(guarded, method)({"_id": "newer"}, update, upsert=True)

    assert await stored(things) == [CURRENT, NEWER, OLD]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_an_upsert_updates_what_another_has_just_made(things: Any, times: int) -> None:
    contended = Contended(things, times)

    with running(1, Access.WRITE) as call:
        result = await StoreCollection(contended, things).update_one(
            {"_id": "old"}, {"$set": {"place": 9}}, upsert=True
        )
        assert call.missed == {}

    assert result.matched_count == 1
    assert contended.asked == times + 1


@pytest.mark.parametrize(
    ("where", "key", "options"),
    [
        ({"_id": "old", "place": 3}, "_id", {}),
        ({"place": 3}, "_id", {}),
        ({"_id": "old"}, "place", {}),
        ({"_id": "old"}, "_id", {"session": "s"}),
    ],
)
async def test_any_other_taken_key_is_told(
    things: Any, where: StoredDocument, key: str, options: StoredDocument
) -> None:
    contended = Contended(things, 1, key)

    with running(1, Access.WRITE), pytest.raises(DuplicateKeyError) as raised:
        await StoreCollection(contended, things, [["place"]]).update_one(
            where, {"$set": {"place": 9}}, upsert=True, **options
        )

    assert raised.value is contended.error
    assert contended.asked == 1


WRITES: dict[str, tuple[Any, ...]] = {
    "insert_one": ({"_id": "x", "place": 1},),
    "insert_many": ([{"_id": "x", "place": 1}],),
    "update_one": ({"_id": "old"}, {"$set": {"place": 1}}),
    "update_many": ({"_id": "old"}, {"$set": {"place": 1}}),
    "replace_one": ({"_id": "old"}, {"place": 1}),
    "find_one_and_update": ({"_id": "old"}, {"$set": {"place": 1}}),
}


@pytest.mark.parametrize("method", WRITES)
async def test_a_unique_index_of_others_is_named_at_once(
    guarded: StoreCollection, things: Any, method: str
) -> None:
    await things.create_indexes([IndexModel([("place", 1)], name="theirs", unique=True)])
    refused = r"^things: the unique index theirs is not the store's and refuses its documents: drop it, or "

    with running(1, Access.WRITE), pytest.raises(IndexConflictError, match=refused):
        await getattr(guarded, method)(*WRITES[method])


@pytest.mark.parametrize("method", WRITES)
async def test_a_unique_index_of_ours_is_a_taken_key(things: Any, method: str) -> None:
    await things.create_indexes([IndexModel([("place", 1)], name="ours", unique=True)])
    ours = StoreCollection(things, things, [["place"]])

    with running(1, Access.WRITE), pytest.raises((DuplicateKeyError, BulkWriteError)):
        await getattr(ours, method)(*WRITES[method])


def test_whatever_else_changes_documents_is_not_let_through(guarded: StoreCollection) -> None:
    reading = {"aggregate", "count_documents", "find", "find_one"}
    changing = {*WRITES, "delete_one", "find_one_and_delete", "with_options"}
    harmless = {"database", "delete_many", "name", "watch"}
    public = {name for name in dir(AsyncCollection) if not name.startswith("_")}

    assert {name for name in public if hasattr(guarded, name)} <= reading | changing | harmless


async def test_many_are_updated_but_the_newer_one(guarded: StoreCollection, things: Any) -> None:
    result = await guarded.update_many({}, {"$set": {"seen": True}})

    assert result.matched_count == 2
    assert await stored(things) == [{**CURRENT, "seen": True}, NEWER, {**OLD, "seen": True}]
