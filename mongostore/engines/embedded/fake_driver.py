"""Data in this process with the interface of PyMongo's asynchronous classes.

mongomock keeps, finds, sorts and aggregates documents. Updates, projections, indexes, expiry and
change streams are done here as a server does them. The faces offer what the repositories and Beanie
use of PyMongo's classes, and what they offer works from any thread and any event loop.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import mongomock
from bson import ObjectId
from mongomock.store import ServerStore
from pymongo import IndexModel, ReturnDocument
from pymongo.common import validate_ok_for_replace, validate_ok_for_update
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult
from pymongo.write_concern import WriteConcern

from mongostore.engines.embedded.operators import Document, deep_copy, matches, project
from mongostore.engines.embedded.oplog import LOCK, FakeChangeStream, Oplog
from mongostore.engines.embedded.storage import CollectionStorage, Filter, Sort, Update, as_server_error
from mongostore.engines.mongo import CODEC

R = TypeVar("R")

Pipeline = Sequence[Mapping[str, Any]]
Projection = Mapping[str, Any] | Iterable[str] | None

# mongomock has no types: this is the one of what is used of it.
_new_store: Callable[[], Any] = ServerStore

# The stages of a pipeline that is a query, in their order, and the options of the query.
_QUERY_OPTIONS = {"$match": "filter", "$sort": "sort", "$limit": "limit", "$project": "projection"}

# Options that tell a server how to work; they change nothing about the answer.
_ADVICE = ("session", "comment", "hint", "batch_size", "batchSize", "max_time_ms", "allow_disk_use")


def _locked(method: Callable[..., R]) -> Callable[..., Coroutine[Any, Any, R]]:
    """Make `method` a coroutine function during which no other call touches any data."""

    @functools.wraps(method)
    async def run(*args: Any, **options: Any) -> R:
        # As with a server, the other tasks of the loop go on before the answer comes.
        await asyncio.sleep(0)
        with LOCK:
            return method(*args, **_matching(options))

    return run


def _matching(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _ADVICE}


def _to_query(pipeline: Sequence[Document]) -> dict[str, Any] | None:
    """Return the options of the query that a pipeline is, which copies no more than it finds; else None."""
    stages = [stage for document in pipeline for stage in document]
    if stages != [stage for stage in _QUERY_OPTIONS if stage in stages]:
        return None
    options = {_QUERY_OPTIONS[stage]: value for document in pipeline for stage, value in document.items()}
    if any(value not in (0, 1) for value in options.get("projection", {}).values()):
        return None
    return {"filter": None, "projection": None, **options}


class FakeClient:
    """Databases that share an oplog; in place of `AsyncMongoClient`."""

    def __init__(self) -> None:
        self.oplog: Oplog = Oplog()
        self.store: Any = _new_store()
        self.mock: Any = mongomock.MongoClient(_store=self.store)
        self.databases: dict[str, FakeDatabase] = {}

    def __getitem__(self, name: str) -> FakeDatabase:
        with LOCK:
            if name not in self.databases:
                self.databases[name] = FakeDatabase(self, name)
            return self.databases[name]

    def append_metadata(self, driver_info: object) -> None:
        """Accept Beanie's name and version, as a server does."""

    @_locked
    def drop_database(self, database: str | FakeDatabase) -> None:
        name = database if isinstance(database, str) else database.name
        for collection in self[name].collections.values():
            collection.storage.clear()

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class FakeDatabase:
    """Collections by name; in place of `AsyncDatabase`."""

    def __init__(self, client: FakeClient, name: str) -> None:
        self.client = client
        self.name = name
        self.collections: dict[str, FakeCollection] = {}

    def __getitem__(self, name: str) -> FakeCollection:
        with LOCK:
            if name not in self.collections:
                self.collections[name] = FakeCollection(self, name)
            return self.collections[name]

    def get_collection(self, name: str, **_options: Any) -> FakeCollection:
        return self[name]

    @_locked
    def list_collection_names(self, **_options: Any) -> list[str]:
        return [name for name, collection in self.collections.items() if collection.storage.exists]

    @_locked
    def command(self, command: str | Mapping[str, Any], **_options: Any) -> Document:
        document: Mapping[str, Any] = {command: 1} if isinstance(command, str) else command
        match next(iter(document)).lower():
            case "ping":
                return {"ok": 1.0}
            case "hello":
                return {"isWritablePrimary": True, "localTime": datetime.now(UTC), "ok": 1.0}
            case "buildinfo":
                return {"version": "6.0.0", "versionArray": [6, 0, 0, 0], "ok": 1.0}
            case "listcollections":
                # None has options.
                return {"cursor": {"firstBatch": []}, "ok": 1.0}
            case "createindexes":
                for specification in document["indexes"]:
                    self[document["createIndexes"]].storage.add_index(specification)
                return {"ok": 1.0}
            case "findandmodify":
                storage = self[document["findAndModify"]].storage
                _, before, after = storage.update(
                    document["query"], document["update"], document["upsert"], None, limit=1
                )
                found = after if document["new"] else before
                return {"value": found and deep_copy(project(found, document["fields"])), "ok": 1.0}
            case name:
                raise OperationFailure(f"no such command: {name!r}", 59)

    async def watch(
        self,
        pipeline: Pipeline | None = None,
        *,
        full_document: str | None = None,
        resume_after: Mapping[str, Any] | None = None,
        start_after: Mapping[str, Any] | None = None,
        max_await_time_ms: int | None = None,
    ) -> FakeChangeStream:
        stages = pipeline or ()
        if any([*stage] != ["$match"] for stage in stages):
            raise OperationFailure("The embedded engine watches through $match alone", 115)
        wanted = [deep_copy(stage["$match"]) for stage in stages]

        def view(event: Document) -> Document | None:
            if event["ns"]["db"] != self.name:
                return None
            if full_document == "updateLookup" and event["operationType"] == "update":
                now = self[event["ns"]["coll"]].storage.find({"_id": event["documentKey"]["_id"]})
                event = {**event, "fullDocument": now[0] if now else None}
            with as_server_error():
                return event if all(matches(match, event) for match in wanted) else None

        with LOCK:
            return FakeChangeStream(self.client.oplog, resume_after or start_after, view)


class FakeCollection:
    """Documents with their indexes; in place of `AsyncCollection`."""

    codec_options = CODEC
    write_concern: WriteConcern = WriteConcern()

    def __init__(self, database: FakeDatabase, name: str) -> None:
        self.database = database
        self.name = name
        client = database.client
        self._mock = client.mock[database.name][name]
        self.storage: CollectionStorage = CollectionStorage(
            {"db": database.name, "coll": name}, client.store[database.name][name], client.oplog
        )

    def with_options(self, **_options: Any) -> FakeCollection:
        return self

    def find(self, filter: Filter | None = None, projection: Projection = None, **options: Any) -> FakeCursor:
        return FakeCursor(lambda: self._read(filter, projection, **_matching(options)))

    @_locked
    def find_one(
        self, filter: Filter | None = None, projection: Projection = None, **options: Any
    ) -> Document | None:
        return next(iter(self._read(filter, projection, limit=1, **options)), None)

    @_locked
    def count_documents(self, filter: Filter, **options: Any) -> int:
        return len(self.storage.find(filter, **options))

    @_locked
    def distinct(self, key: str) -> list[Any]:
        return sorted({document[key] for document in self.storage.find({}) if key in document})

    @_locked
    def aggregate(self, pipeline: Pipeline) -> FakeCursor:
        documents = self._run_pipeline(deep_copy({"pipeline": pipeline})["pipeline"])
        return FakeCursor(lambda: documents)

    def _run_pipeline(self, pipeline: list[Document]) -> list[Document]:
        # mongomock has no $unionWith and no $lookup with a pipeline, which are used as the last stage alone.
        last = pipeline[-1] if pipeline else {}
        if union := last.get("$unionWith"):
            united = self.database[union["coll"]]._run_pipeline(union["pipeline"])
            return self._run_pipeline(pipeline[:-1]) + united
        if (lookup := last.get("$lookup")) and "pipeline" in lookup:
            return [self._look_up(document, **lookup) for document in self._run_pipeline(pipeline[:-1])]
        if (query := _to_query(pipeline)) is not None:
            return self._read(**query)
        self.storage.expire()
        with as_server_error():
            return [deep_copy(document) for document in self._mock.aggregate(pipeline)]

    def _look_up(self, document: Document, pipeline: list[Document], **names: str) -> Document:
        match = {"$match": {names["foreignField"]: document.get(names["localField"])}}
        found = self.database[names["from"]]._run_pipeline([match, *pipeline])
        return {**document, names["as"]: found}

    @_locked
    def insert_one(self, document: MutableMapping[str, Any]) -> InsertOneResult:
        document.setdefault("_id", ObjectId())
        self.storage.insert(deep_copy({"_id": document["_id"], **document}))
        return InsertOneResult(document["_id"], True)

    @_locked
    def bulk_write(self, requests: Iterable[Any], ordered: bool = True) -> BulkWriteResult:
        updates = [self.storage.update(one._filter, one._doc, False, limit=1) for one in requests]
        return BulkWriteResult({"nMatched": sum(result.matched_count for result, _, _ in updates)}, True)

    @_locked
    def insert_many(
        self, documents: Iterable[MutableMapping[str, Any]], ordered: bool = True
    ) -> InsertManyResult:
        inserted = list(documents)
        for document in inserted:
            document.setdefault("_id", ObjectId())
        errors: list[Document] = []
        stored = 0
        for index, document in enumerate([deep_copy({"_id": item["_id"], **item}) for item in inserted]):
            try:
                self.storage.insert(document)
                stored += 1
            except DuplicateKeyError as error:
                errors.append(
                    {"index": index, "errmsg": str(error), **(error.details or {}), "op": inserted[index]}
                )
                if ordered:
                    break
        if errors:
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": [], "nInserted": stored})
        return InsertManyResult([document["_id"] for document in inserted], True)

    @_locked
    def update_one(self, filter: Filter, update: Update, upsert: bool = False) -> UpdateResult:
        validate_ok_for_update(update)
        return self.storage.update(filter, update, upsert, limit=1)[0]

    @_locked
    def update_many(self, filter: Filter, update: Update, upsert: bool = False) -> UpdateResult:
        validate_ok_for_update(update)
        return self.storage.update(filter, update, upsert)[0]

    @_locked
    def find_one_and_update(
        self,
        filter: Filter,
        update: Update,
        projection: Projection = None,
        sort: Sort = None,
        upsert: bool = False,
        return_document: bool = ReturnDocument.BEFORE,
    ) -> Document | None:
        validate_ok_for_update(update)
        _, before, after = self.storage.update(filter, update, upsert, sort, limit=1)
        returned = after if return_document else before
        return None if returned is None else deep_copy(project(returned, projection))

    @_locked
    def replace_one(self, filter: Filter, replacement: Filter, upsert: bool = False) -> UpdateResult:
        validate_ok_for_replace(replacement)
        return self.storage.replace(filter, replacement, upsert)

    @_locked
    def find_one_and_delete(self, filter: Filter, projection: Projection = None) -> Document | None:
        found = self.storage.find(filter, limit=1)
        self.storage.delete(found)
        return deep_copy(project(found[0], projection)) if found else None

    @_locked
    def delete_one(self, filter: Filter) -> DeleteResult:
        return DeleteResult({"n": self.storage.delete(self.storage.find(filter, limit=1))}, True)

    @_locked
    def delete_many(self, filter: Filter) -> DeleteResult:
        return DeleteResult({"n": self.storage.delete(self.storage.find(filter))}, True)

    @_locked
    def drop(self) -> None:
        self.storage.clear()

    @_locked
    def create_indexes(self, indexes: Sequence[IndexModel]) -> list[str]:
        for index in indexes:
            self.storage.add_index(index.document)
        return [index.document["name"] for index in indexes]

    @_locked
    def list_indexes(self) -> FakeCursor:
        indexes = [deep_copy(index) for index in self.storage.indexes]
        return FakeCursor(lambda: indexes)

    @_locked
    def index_information(self) -> Document:
        return {index["name"]: {"key": [*index["key"].items()]} for index in self.storage.indexes}

    def _read(self, filter: Filter | None, projection: Projection, **options: Any) -> list[Document]:
        return [deep_copy(project(found, projection)) for found in self.storage.find(filter, **options)]


class FakeCursor:
    """The results of a query at the moment of the first document; in place of `AsyncCursor`."""

    def __init__(self, read: Callable[[], list[Document]]) -> None:
        self._read = read
        self._documents: Iterator[Document] | None = None

    def __aiter__(self) -> FakeCursor:
        return self

    async def __anext__(self) -> Document:
        for document in await self._rest():
            return document
        raise StopAsyncIteration

    async def __aenter__(self) -> FakeCursor:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def to_list(self, length: int | None = None) -> list[Document]:
        return list(itertools.islice(await self._rest(), length))

    async def close(self) -> None:
        self._documents = iter(())

    @_locked
    def _rest(self) -> Iterator[Document]:
        if self._documents is None:
            self._documents = iter(self._read())
        return self._documents
