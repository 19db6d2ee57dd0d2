"""A collection as repositories use it: what they must not see or change, it keeps from them.

Documents of a newer version of this package are read as far as they fit, and never changed. A filter that
names a state does not find an expired document, unless it names `expires_at` as well. Readers that go on from
their last read do not see a write that a failover may take back. A write that an index of others refuses
differs from one that meets a document of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteConcernError
from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

from mongostore.documents.mapping import StoredDocument
from mongostore.engines.driver_errors import find_duplicate
from mongostore.errors import IndexConflictError
from mongostore.repositories.expiry import expired, hide_expired, hide_tombstones, is_expired
from mongostore.repositories.operation import NEWER, Access, UnmatchedWrite, find_operation
from mongostore.repositories.search.unindexed import add_words, add_words_to_update, hide_words

# So often may others be in the way of an update before it is looked at who they are.
_MISSES = 2
# All other methods that change something are below.
_PASSED_ON = frozenset({"aggregate", "database", "delete_many", "name", "watch"})


class StoreCollection:
    """A collection of the store.

    Args:
        collection: The driver's.
        majority: The same one, as majority reads see it.
        unique_keys: The fields of each unique index of the store's own.
        states: The states in which verbs find its documents, if they can expire.
        now: Returns the server's time.
        kind: The name of the collection without the prefix, by which its texts are known.
    """

    def __init__(
        self,
        collection: Any,
        majority: Any,
        unique_keys: Sequence[Sequence[str]] = (),
        states: tuple[Any, ...] = (),
        now: Callable[[], int] = lambda: 0,
        kind: str = "",
    ) -> None:
        self._collection = collection
        self._majority = majority
        self._unique_keys = [["_id"], *map(list, unique_keys)]
        self._states = states
        self._now = now
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED_ON:
            raise AttributeError(f"{name}: what changes documents is checked here: add it to this class")
        return getattr(self._read_from, name)

    @property
    def _read_from(self) -> Any:
        call = find_operation()
        is_majority = call is not None and call.access is Access.READ_MAJORITY
        return self._majority if is_majority else self._collection

    def with_options(self, **options: Any) -> StoreCollection:
        """Return the same collection with other options of the driver's."""
        collection, majority = (one.with_options(**options) for one in (self._collection, self._majority))
        return StoreCollection(collection, majority, self._unique_keys, self._states, self._now, self._kind)

    def find(self, filter: Any = None, projection: Any = None, **options: Any) -> Any:
        """Find documents."""
        return self._read_from.find(self._visible(filter), hide_words(self._kind, projection), **options)

    async def find_all(
        self, filter: StoredDocument, projection: Any = None, *, limit: int = 0, **options: Any
    ) -> list[StoredDocument]:
        """Return the documents that are found, `limit` at most unless that is 0."""
        if limit:
            # One more than there can be, so that the first answer ends it.
            options |= {"limit": limit, "batch_size": limit + 1}
        async with self.find(filter, projection, **options) as cursor:
            documents: list[StoredDocument] = await cursor.to_list()
        return documents

    async def aggregate_all(
        self, pipeline: Sequence[StoredDocument], *, limit: int = 0, **options: Any
    ) -> list[StoredDocument]:
        """Return all that a pipeline makes, `limit` documents at most unless that is 0."""
        if limit:
            options["batchSize"] = limit + 1
        async with await self._read_from.aggregate(pipeline, **options) as cursor:
            documents: list[StoredDocument] = await cursor.to_list()
        return documents

    async def find_one(
        self, filter: Any = None, projection: Any = None, **options: Any
    ) -> StoredDocument | None:
        """Find a document."""
        fields = dict.fromkeys(projection, 1) if isinstance(projection, list) else projection
        fields = hide_words(self._kind, fields)
        found: StoredDocument | None
        if not self._is_key_and_state(filter) or not _is_plain(fields):
            found = await self._read_from.find_one(self._visible(filter), fields, **options)
            return found
        # By its key alone a server finds the document at once; for its state and its end it makes a plan.
        if fields and any(fields.values()):
            fields = {**fields, "state": 1, "expires_at": 1}
        found = await self._read_from.find_one({"_id": filter["_id"]}, fields, **options)
        is_visible = found and found.get("state") == filter["state"] and not is_expired(found, self._time())
        return found if is_visible else None

    def _is_key_and_state(self, filter: Any) -> bool:
        """Return whether a filter means a head by its key, in a state in which it can expire."""
        return (
            bool(self._states and filter)
            and filter.keys() == {"_id", "state"}
            and type(filter["state"]) is str
            and filter["state"] in self._states
        )

    async def count_documents(
        self, filter: StoredDocument, *, limit: int | None = None, **options: Any
    ) -> int:
        """Count documents; of those that can expire all, less what has expired.

        An index counts the ones and another one the others, where to look at each would read each. `limit`
        bounds that.
        """
        visible = self._visible(filter)
        if limit is not None:
            options["limit"] = limit
        if limit is not None or not self._states or visible == filter:
            return int(await self._read_from.count_documents(visible, **options))
        gone = {**filter, **expired(self._time())}
        less = {"coll": self.name, "pipeline": [{"$match": gone}, {"$group": {"_id": 0, "n": {"$sum": -1}}}]}
        pipeline = [{"$match": filter}, {"$group": {"_id": 0, "n": {"$sum": 1}}}, {"$unionWith": less}]
        return sum(part["n"] for part in await self.aggregate_all(pipeline, limit=2))

    def _visible(self, filter: Any) -> Any:
        visible = hide_tombstones(filter or {}, self._kind)
        return hide_expired(visible, self._states, self._time()) if self._states else visible

    def _time(self) -> int:
        """Return the time by which things expire: of a verb one alone, that of its beginning."""
        call = find_operation()
        return self._now() if call is None else call.now

    def _id_filter(self, filter: StoredDocument) -> StoredDocument:
        return {**self._visible(filter), "schema_version": {"$not": NEWER}}

    async def update_one(self, filter: StoredDocument, update: Any, **options: Any) -> UpdateResult:
        """Update a document."""
        result: UpdateResult = await self._change(self._collection.update_one, filter, update, **options)
        met = bool(result.matched_count) or result.upserted_id is not None
        await self._record_match(filter, met, _is_final(update))
        return result

    async def insert_one(self, document: StoredDocument, **options: Any) -> InsertOneResult:
        """Insert a document."""
        with self._check_index():
            indexed = add_words(self._kind, document)
            result: InsertOneResult = await self._collection.insert_one(indexed, **options)
        await self._record_match(document, True, False)
        return result

    async def insert_many(self, documents: Sequence[StoredDocument], **options: Any) -> InsertManyResult:
        """Insert documents."""
        with self._check_index():
            indexed = [add_words(self._kind, document) for document in documents]
            result: InsertManyResult = await self._collection.insert_many(indexed, **options)
        return result

    async def replace_one(self, filter: StoredDocument, new: StoredDocument, **options: Any) -> UpdateResult:
        """Replace a document."""
        result: UpdateResult = await self._change(self._collection.replace_one, filter, new, **options)
        met = bool(result.matched_count) or result.upserted_id is not None
        await self._record_match(filter, met, False)
        return result

    async def find_one_and_update(
        self, filter: StoredDocument, update: Any, *args: Any, **options: Any
    ) -> StoredDocument | None:
        """Update a document and return it."""
        found: StoredDocument | None = await self._change(
            self._collection.find_one_and_update, filter, update, *args, **options
        )
        met = found is not None or options.get("upsert", False)
        await self._record_match(filter, met, _is_final(update))
        return found

    async def find_and_modify(
        self,
        filter: StoredDocument,
        update: Any,
        fields: StoredDocument,
        *,
        upsert: bool = False,
    ) -> StoredDocument | None:
        """Update a document and return it as it is then; the caller recognizes its own write.

        For the driver's own retry a server writes the whole document once more beside each of its
        `find_one_and_update`. This command bears no transaction number, so that nothing of the kind happens.
        """
        found: StoredDocument | None = await self._change(
            self._send_find_and_modify, filter, update, fields, upsert
        )
        await self._record_match(filter, found is not None, _is_final(update))
        return found

    async def _send_find_and_modify(
        self, filter: StoredDocument, update: Any, fields: StoredDocument, upsert: bool
    ) -> StoredDocument | None:
        collection, concern = self._collection, self._collection.write_concern
        command = {"findAndModify": collection.name, "query": filter, "update": update, "fields": fields}
        if not concern.is_server_default:
            command["writeConcern"] = concern.document
        reply = await collection.database.command(
            {**command, "new": True, "upsert": upsert}, codec_options=collection.codec_options
        )
        # The driver leaves these to its callers.
        if failure := reply.get("writeConcernError"):
            raise WriteConcernError(failure.get("errmsg"), failure.get("code"), failure)
        found: StoredDocument | None = reply["value"]
        return found

    async def delete_one(self, filter: StoredDocument, **options: Any) -> DeleteResult:
        """Delete a document."""
        result: DeleteResult = await self._collection.delete_one(self._id_filter(filter), **options)
        await self._record_match(filter, bool(result.deleted_count), True)
        return result

    async def find_one_and_delete(
        self, filter: StoredDocument, fields: StoredDocument, **options: Any
    ) -> StoredDocument | None:
        """Delete a document and return it."""
        found: StoredDocument | None = await self._collection.find_one_and_delete(
            self._id_filter(filter), fields, **options
        )
        await self._record_match(filter, found is not None, True)
        return found

    async def update_many(self, filter: StoredDocument, update: Any, **options: Any) -> UpdateResult:
        """Update documents."""
        with self._check_index():
            indexed = add_words_to_update(self._kind, update)
            result: UpdateResult = await self._collection.update_many(
                self._id_filter(filter), indexed, **options
            )
        return result

    async def update_each(
        self, updates: Sequence[tuple[StoredDocument, StoredDocument]], **options: Any
    ) -> int:
        """Update one document by each filter and update, and return how many there were."""
        requests = [
            UpdateOne(self._id_filter(filter), add_words_to_update(self._kind, update))
            for filter, update in updates
        ]
        with self._check_index():
            result: BulkWriteResult = await self._collection.bulk_write(requests, ordered=False, **options)
        return result.matched_count

    async def _record_match(self, filter: StoredDocument, met: bool, is_urgent: bool) -> None:
        """Record in the current call whether an update found its document."""
        call, missed = find_operation(), UnmatchedWrite(self._collection, filter)
        if call is None:
            if not met:
                await missed.verify()
            return
        key = self._collection.name, str(filter.get("_id", filter))
        if met:
            call.missed.pop(key, None)
            return
        missed = call.missed.setdefault(key, missed)
        missed.times += 1
        if is_urgent or missed.times > _MISSES:
            await missed.verify()
            del call.missed[key]

    async def _change(
        self, change: Any, filter: StoredDocument, update: Any, *args: Any, **options: Any
    ) -> Any:
        indexed = add_words_to_update(self._kind, update)
        while True:
            try:
                with self._check_index():
                    return await change(self._id_filter(filter), indexed, *args, **options)
            except DuplicateKeyError as error:
                await self._record_match(filter, False, False)
                # Of those who make one document at once, a server lets the others update it, but only if the
                # filter has no more than the key.
                is_late = filter.keys() == {"_id"} and (error.details or {}).get("keyPattern") == {"_id": 1}
                if not is_late or options.get("session"):
                    raise

    @contextmanager
    def _check_index(self) -> Iterator[None]:
        """Say which index refuses a write if it is none of the store's."""
        try:
            yield
        except (BulkWriteError, DuplicateKeyError) as error:
            index, fields = find_duplicate(error) or ("", [])
            if not fields or fields in self._unique_keys:
                raise
            raise IndexConflictError(
                f"{self._collection.name}: the unique index {index or fields} is not the store's and refuses "
                "its documents: drop it, or use another database, or a prefix"
            ) from None


def _is_plain(fields: Any) -> bool:
    """Return whether a projection names what is left out, or what is read, and nothing else."""
    return not fields or (
        isinstance(fields, dict) and any(all(one == flag for one in fields.values()) for flag in (0, 1))
    )


def _is_final(update: Any) -> bool:
    """Return whether an update ends something, whose parts are removed then."""
    return isinstance(update, Mapping) and "state" in update.get("$set", {})
