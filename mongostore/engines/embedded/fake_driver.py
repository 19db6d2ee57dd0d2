"""Data in this process with the faces of PyMongo's asynchronous classes.

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
from pymongo.results import DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

from mongostore.engines.embedded.operators import Document, copied, matches, projected
from mongostore.engines.embedded.oplog import LOCK, ChangeStream, Feed
from mongostore.engines.embedded.storage import Filter, Records, Sort, Update, refusing

R = TypeVar("R")

Pipeline = Sequence[Mapping[str, Any]]
Projection = Mapping[str, Any] | Iterable[str] | None

# mongomock has no types: this is the one of what is used of it.
_new_store: Callable[[], Any] = ServerStore

# Options that tell a server how to work; they change nothing about the answer.
_ADVICE = ("session", "comment", "hint", "batch_size", "batchSize", "max_time_ms", "allow_disk_use")


def _atomic(method: Callable[..., R]) -> Callable[..., Coroutine[Any, Any, R]]:
    """Make `method` a coroutine function during which nobody else touches any data."""

    @functools.wraps(method)
    async def run(*args: Any, **options: Any) -> R:
        # As with a server, the other tasks of the loop go on before the answer comes.
        await asyncio.sleep(0)
        with LOCK:
            return method(*args, **_meant(options))

    return run


def _meant(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _ADVICE}


class Client:
    """Databases that share a feed of changes; in place of `AsyncMongoClient`."""

    def __init__(self) -> None:
        self.feed: Feed = Feed()
        self.store: Any = _new_store()
        self.mock: Any = mongomock.MongoClient(_store=self.store)
        self.databases: dict[str, Database] = {}

    def __getitem__(self, name: str) -> Database:
        with LOCK:
            if name not in self.databases:
                self.databases[name] = Database(self, name)
            return self.databases[name]

    def append_metadata(self, driver_info: object) -> None:
        """Accept what Beanie tells a server about itself."""

    @_atomic
    def drop_database(self, database: str | Database) -> None:
        name = database if isinstance(database, str) else database.name
        for collection in self[name].collections.values():
            collection.records.clear()

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class Database:
    """Collections by name; in place of `AsyncDatabase`."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.collections: dict[str, Collection] = {}

    def __getitem__(self, name: str) -> Collection:
        with LOCK:
            if name not in self.collections:
                self.collections[name] = Collection(self, name)
            return self.collections[name]

    def get_collection(self, name: str, **_options: Any) -> Collection:
        return self[name]

    @_atomic
    def list_collection_names(self, **_options: Any) -> list[str]:
        return [name for name, collection in self.collections.items() if collection.records.exists]

    @_atomic
    def command(self, command: str | Mapping[str, Any], **_options: Any) -> Document:
        document: Mapping[str, Any] = {command: 1} if isinstance(command, str) else command
        match next(iter(document)).lower():
            case "ping":
                return {"ok": 1.0}
            case "hello":
                return {"isWritablePrimary": True, "localTime": datetime.now(UTC), "ok": 1.0}
            case "buildinfo":
                return {"version": "6.0.0", "versionArray": [6, 0, 0, 0], "ok": 1.0}
            case "createindexes":
                for specification in document["indexes"]:
                    self[document["createIndexes"]].records.add_index(specification)
                return {"ok": 1.0}
            case name:
                raise OperationFailure(f"no such command: {name!r}", 59)

    async def watch(
        self,
        pipeline: Pipeline | None = None,
        *,
        full_document: str | None = None,
        resume_after: Mapping[str, Any] | None = None,
        start_after: Mapping[str, Any] | None = None,
    ) -> ChangeStream:
        stages = pipeline or ()
        if any([*stage] != ["$match"] for stage in stages):
            raise OperationFailure("The embedded engine watches through $match alone", 115)
        wanted = [copied(stage["$match"]) for stage in stages]

        def view(event: Document) -> Document | None:
            if event["ns"]["db"] != self.name:
                return None
            if full_document == "updateLookup" and event["operationType"] == "update":
                now = self[event["ns"]["coll"]].records.select({"_id": event["documentKey"]["_id"]})
                event = {**event, "fullDocument": now[0] if now else None}
            with refusing():
                return event if all(matches(match, event) for match in wanted) else None

        with LOCK:
            return ChangeStream(self.client.feed, resume_after or start_after, view)


class Collection:
    """Documents with their indexes; in place of `AsyncCollection`."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name
        client = database.client
        self._mock = client.mock[database.name][name]
        self.records: Records = Records(
            {"db": database.name, "coll": name}, client.store[database.name][name], client.feed
        )

    def with_options(self, **_options: Any) -> Collection:
        return self

    def find(self, filter: Filter | None = None, projection: Projection = None, **options: Any) -> Cursor:
        return Cursor(lambda: self._read(filter, projection, **_meant(options)))

    @_atomic
    def find_one(
        self, filter: Filter | None = None, projection: Projection = None, **options: Any
    ) -> Document | None:
        return next(iter(self._read(filter, projection, limit=1, **options)), None)

    @_atomic
    def count_documents(self, filter: Filter, **options: Any) -> int:
        return len(self.records.select(filter, **options))

    @_atomic
    def aggregate(self, pipeline: Pipeline) -> Cursor:
        documents = self._aggregated(copied({"pipeline": pipeline})["pipeline"])
        return Cursor(lambda: documents)

    def _aggregated(self, pipeline: list[Document]) -> list[Document]:
        # mongomock has no $unionWith, which is used as the last stage alone.
        union = pipeline.pop()["$unionWith"] if pipeline and "$unionWith" in pipeline[-1] else None
        self.records.expire()
        with refusing():
            found = self._aggregated(pipeline) if union else self._mock.aggregate(pipeline)
            documents = [copied(document) for document in found]
        if union:
            documents += self.database[union["coll"]]._aggregated(union["pipeline"])
        return documents

    @_atomic
    def insert_one(self, document: MutableMapping[str, Any]) -> InsertOneResult:
        document.setdefault("_id", ObjectId())
        self.records.insert(copied({"_id": document["_id"], **document}))
        return InsertOneResult(document["_id"], True)

    @_atomic
    def insert_many(
        self, documents: Iterable[MutableMapping[str, Any]], ordered: bool = True
    ) -> InsertManyResult:
        given = list(documents)
        for document in given:
            document.setdefault("_id", ObjectId())
        errors: list[Document] = []
        stored = 0
        for index, document in enumerate([copied({"_id": item["_id"], **item}) for item in given]):
            try:
                self.records.insert(document)
                stored += 1
            except DuplicateKeyError as error:
                errors.append(
                    {"index": index, "errmsg": str(error), **(error.details or {}), "op": given[index]}
                )
                if ordered:
                    break
        if errors:
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": [], "nInserted": stored})
        return InsertManyResult([document["_id"] for document in given], True)

    @_atomic
    def update_one(self, filter: Filter, update: Update, upsert: bool = False) -> UpdateResult:
        validate_ok_for_update(update)
        return self.records.update(filter, update, upsert, limit=1)[0]

    @_atomic
    def update_many(self, filter: Filter, update: Update, upsert: bool = False) -> UpdateResult:
        validate_ok_for_update(update)
        return self.records.update(filter, update, upsert)[0]

    @_atomic
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
        _, before, after = self.records.update(filter, update, upsert, sort, limit=1)
        shown = after if return_document else before
        return None if shown is None else copied(projected(shown, projection))

    @_atomic
    def replace_one(self, filter: Filter, replacement: Filter, upsert: bool = False) -> UpdateResult:
        validate_ok_for_replace(replacement)
        return self.records.replace(filter, replacement, upsert)

    @_atomic
    def delete_one(self, filter: Filter) -> DeleteResult:
        return DeleteResult({"n": self.records.delete(self.records.select(filter, limit=1))}, True)

    @_atomic
    def delete_many(self, filter: Filter) -> DeleteResult:
        return DeleteResult({"n": self.records.delete(self.records.select(filter))}, True)

    @_atomic
    def drop(self) -> None:
        self.records.clear()

    @_atomic
    def create_indexes(self, indexes: Sequence[IndexModel]) -> list[str]:
        for index in indexes:
            self.records.add_index(index.document)
        return [index.document["name"] for index in indexes]

    @_atomic
    def list_indexes(self) -> Cursor:
        indexes = [copied(index) for index in self.records.indexes]
        return Cursor(lambda: indexes)

    @_atomic
    def index_information(self) -> Document:
        return {index["name"]: {"key": [*index["key"].items()]} for index in self.records.indexes}

    def _read(self, filter: Filter | None, projection: Projection, **options: Any) -> list[Document]:
        return [copied(projected(found, projection)) for found in self.records.select(filter, **options)]


class Cursor:
    """What a query found, as it was when the first document was asked for; in place of `AsyncCursor`."""

    def __init__(self, read: Callable[[], list[Document]]) -> None:
        self._read = read
        self._documents: Iterator[Document] | None = None

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> Document:
        for document in await self._rest():
            return document
        raise StopAsyncIteration

    async def __aenter__(self) -> Cursor:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def to_list(self, length: int | None = None) -> list[Document]:
        return list(itertools.islice(await self._rest(), length))

    async def close(self) -> None:
        self._documents = iter(())

    @_atomic
    def _rest(self) -> Iterator[Document]:
        if self._documents is None:
            self._documents = iter(self._read())
        return self._documents
