"""The documents and indexes of one collection of the embedded engine."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from mongomock import filtering
from mongomock.helpers import hashdict
from pymongo.errors import DuplicateKeyError, OperationFailure, WriteError
from pymongo.results import UpdateResult

from mongostore.engines.embedded.operators import (
    Document,
    DocumentUpdate,
    deep_copy,
    is_identical,
    matches,
    upsert_base,
)
from mongostore.engines.embedded.oplog import Oplog

Filter = Mapping[str, Any]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Sort = Sequence[tuple[str, int]] | Mapping[str, int] | None

# mongomock has no types: these are the ones of what is used of it.
_candidates: Callable[[str, Document], Sequence[Any]] = filtering.iter_key_candidates
_hashed: Callable[[Document], Hashable] = hashdict
_NOTHING: Any = filtering.NOTHING  # type: ignore[attr-defined]  # mongomock takes it from a library of its own

_ID_INDEX: Document = {"v": 2, "key": {"_id": 1}, "name": "_id_"}


@contextlib.contextmanager
def as_server_error() -> Iterator[None]:
    """Turn mongomock's ways of failing at a statement into a server's refusal."""
    try:
        yield
    except NotImplementedError as error:
        raise OperationFailure(f"The embedded engine cannot do this: {error}", 115) from error
    except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
        raise OperationFailure(f"Malformed statement: {error}", 2) from error


class CollectionStorage:
    """The documents of one collection; every call is made under the lock of all stores.

    A stored document is replaced, never changed in place, so a reader may keep it.
    """

    def __init__(self, namespace: Document, documents: Any, oplog: Oplog) -> None:
        self.namespace = namespace
        self._documents = documents
        self._oplog = oplog
        self._forget_indexes()

    @property
    def exists(self) -> bool:
        """Whether anything was ever put here since the last `clear`."""
        return bool(self._documents.is_created)

    @property
    def indexes(self) -> list[Document]:
        """The indexes as a server lists them."""
        return list(self._indexes.values()) if self.exists else []

    def clear(self) -> None:
        """Drop the documents and the indexes."""
        if self.exists:
            self._documents.drop()
            self._forget_indexes()
            self._oplog.publish("drop", self.namespace)

    def find(self, filter: Filter | None, sort: Sort = None, skip: int = 0, limit: int = 0) -> list[Document]:
        """Return the stored documents that `filter` finds, themselves and not copies."""
        self.expire()
        wanted = deep_copy(filter or {})
        key = wanted.get("_id")
        if isinstance(key, str | ObjectId):
            stored = [self._documents[key]] if key in self._documents else []
        else:
            stored = list(self._documents.documents)
        order = list(sort.items() if isinstance(sort, Mapping) else sort or ())
        with as_server_error():
            found = [document for document in stored if matches(wanted, document)]
            for path, direction in reversed(order):
                found.sort(key=functools.partial(filtering.resolve_sort_key, path), reverse=direction < 0)
        return found[skip : skip + abs(limit) if limit else None]

    def insert(self, document: Document) -> None:
        """Add a document that has its `_id` and no other owner."""
        self._swap(None, document)
        self._publish("insert", document, fullDocument=document)

    def delete(self, documents: Sequence[Document]) -> int:
        """Remove stored documents and return their number."""
        for document in documents:
            self._swap(document, None)
            self._publish("delete", document)
        return len(documents)

    def replace(self, filter: Filter, replacement: Filter, upsert: bool) -> UpdateResult:
        """Put `replacement` in the place of the first document that `filter` finds."""
        before = next(iter(self.find(filter, limit=1)), None)
        if before is None and not upsert:
            return update_result()
        base = upsert_base(deep_copy(filter)) if before is None else before
        key = base["_id"] if "_id" in base else replacement.get("_id", ObjectId())
        after = deep_copy({"_id": key, **replacement})
        if before is None:
            self.insert(after)
            return update_result(upserted=after["_id"])
        if after["_id"] != key:
            raise WriteError("The immutable field '_id' was found to have been altered", 66)
        self._swap(before, after)
        self._publish("replace", after, fullDocument=after)
        return update_result(matched=1, modified=int(not is_identical(before, after)))

    def update(
        self, filter: Filter, update: Update, upsert: bool, sort: Sort = None, limit: int = 0
    ) -> tuple[UpdateResult, Document | None, Document | None]:
        """Update what `filter` finds; return also the last document before and after it."""
        wanted, orders = deep_copy(filter), deep_copy({"": update})[""]
        before = after = None
        found, modified = self.find(filter, sort, limit=limit), 0
        for before in found:
            after = before
            change = DocumentUpdate(before)
            change.apply(orders, wanted)
            if change.document["_id"] != before["_id"]:
                raise WriteError("Performing an update on the path '_id' would modify an immutable field", 66)
            if change.updated or change.removed:
                modified += 1
                after = change.document
                self._swap(before, after)
                self._publish(
                    "update",
                    after,
                    updateDescription={
                        "updatedFields": change.updated,
                        "removedFields": change.removed,
                        "truncatedArrays": [],
                    },
                )
        if found or not upsert:
            return update_result(len(found), modified), before, after
        change = DocumentUpdate(upsert_base(wanted))
        change.apply(orders, wanted, inserting=True)
        after = {"_id": change.document.pop("_id", ObjectId()), **change.document}
        self.insert(after)
        return update_result(upserted=after["_id"]), None, after

    def add_index(self, specification: Filter) -> None:
        """Make an index unless it is there."""
        options = {name: value for name, value in deep_copy(specification).items() if value is not False}
        index = {"v": 2, "key": options.pop("key"), "name": options.pop("name"), **options}
        keys = _id_key(index)
        for other in self._indexes.values():
            alike = _id_key(other) == keys
            if alike and other == index:
                return
            if alike:
                raise OperationFailure(f"The index {other['name']!r} has the same keys", 85)
            if other["name"] == index["name"]:
                raise OperationFailure(f"The index {other['name']!r} has other keys", 86)
        if index.get("unique"):
            used: dict[Hashable, Document] = {}
            for document in self._documents.documents:
                self._check(index, used, None, document)
                used.update(dict.fromkeys(_index_entries(index, document), document))
            self._unique[index["name"]] = used
        self._indexes[index["name"]] = index
        if "expireAfterSeconds" in index:
            self._earliest[index["name"]] = self._earliest_date(index)
        self._documents.create()

    def expire(self) -> None:
        """Delete the documents that have expired by a TTL index."""
        for name, earliest in self._earliest.items():
            index = self._indexes[name]
            # Stored dates are those of UTC and have no time zone.
            oldest = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=index["expireAfterSeconds"])
            if earliest <= oldest:
                dates = [{path: {"$lte": oldest}} for path in index["key"]]
                over = deep_copy({"$and": [*dates, index.get("partialFilterExpression", {})]})
                self.delete([item for item in self._documents.documents if matches(over, item)])
                self._earliest[name] = self._earliest_date(index)

    def _earliest_date(self, index: Document) -> datetime:
        return min(_dates(index, self._documents.documents), default=datetime.max)

    def _forget_indexes(self) -> None:
        self._indexes: dict[str, Document] = {"_id_": _ID_INDEX}
        # No date of a TTL index is before this: few statements have to look for what is over.
        self._earliest: dict[str, datetime] = {}
        self._unique: dict[str, dict[Hashable, Document]] = {"_id_": {}}

    def _swap(self, before: Document | None, after: Document | None) -> None:
        """Store `after` instead of `before`, unless a unique index forbids it."""
        for name, used in self._unique.items():
            self._check(self._indexes[name], used, before, after)
        for name, used in self._unique.items():
            for entry in _index_entries(self._indexes[name], before):
                del used[entry]
            if after is not None:
                used.update(dict.fromkeys(_index_entries(self._indexes[name], after), after))
        if after is not None:
            self._documents.create()
            self._documents[_hashable(after["_id"])] = after
            for name, earliest in self._earliest.items():
                self._earliest[name] = min([earliest, *_dates(self._indexes[name], [after])])
        elif before is not None:
            del self._documents[_hashable(before["_id"])]
        self._oplog.record_undo(lambda: self._swap(after, before))

    def _check(
        self,
        index: Document,
        used: dict[Hashable, Document],
        before: Document | None,
        after: Document | None,
    ) -> None:
        for entry in _index_entries(index, after):
            if used.get(entry, before) is not before:
                name = f"{self.namespace['db']}.{self.namespace['coll']} index: {index['name']} dup key"
                details = {
                    "code": 11000,
                    "keyPattern": index["key"],
                    "keyValue": dict(zip(index["key"], entry, strict=True)),
                }
                raise DuplicateKeyError(f"E11000 duplicate key error collection: {name}", 11000, details)

    def _publish(self, operation: str, document: Document, **details: Any) -> None:
        self._oplog.publish(operation, self.namespace, documentKey={"_id": document["_id"]}, **details)


def update_result(matched: int = 0, modified: int = 0, upserted: Any = None) -> UpdateResult:
    """Return the result of an update in PyMongo's words."""
    if upserted is not None:
        return UpdateResult({"n": 1, "nModified": 0, "upserted": upserted}, True)
    return UpdateResult({"n": matched, "nModified": modified}, True)


def _id_key(index: Document) -> list[Any]:
    # A server takes two indexes for one unless they differ in these; the order of the keys counts.
    return [list(index["key"].items()), *map(index.get, ("unique", "sparse", "partialFilterExpression"))]


def _index_entries(index: Document, document: Document | None) -> set[tuple[Hashable, ...]]:
    """Return what a unique index holds of `document`: several entries if it meets an array."""
    if document is None or not matches(index.get("partialFilterExpression", {}), document):
        return set()
    columns = [_candidates(path, document) for path in index["key"]]
    if index.get("sparse") and not any(value is not _NOTHING for value in itertools.chain(*columns)):
        return set()
    return set(itertools.product(*map(_values, columns)))


def _values(candidates: Iterable[Any]) -> list[Hashable]:
    values = itertools.chain.from_iterable(item if isinstance(item, list) else [item] for item in candidates)
    return [_hashable(value) for value in values] or [None]


def _dates(index: Document, documents: Iterable[Document]) -> Iterator[datetime]:
    for path, document in itertools.product(index["key"], documents):
        for value in _values(_candidates(path, document)):
            if isinstance(value, datetime):
                yield value


def _hashable(value: Any) -> Hashable:
    if isinstance(value, dict):
        return _hashed(value)
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return None if value is _NOTHING else value
