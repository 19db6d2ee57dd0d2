"""What a newer version of this package has written is read as far as it fits, and never changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.results import DeleteResult, InsertOneResult, UpdateResult

from mongostore.documents.stored import SCHEMA_VERSION, Raw
from mongostore.errors import UnsupportedError

_NEWER = {"$gt": SCHEMA_VERSION}

# Is told of an update by its collection and filter: whether it met a document, and whether one that it
# did not meet has to be looked at before anything else is done.
Told = Callable[[Any, Raw, bool, bool], Awaitable[None]]


@dataclass
class Missed:
    """An update that did not find the document that it meant."""

    collection: Any
    where: Raw
    times: int = 0

    async def check(self) -> None:
        """Look whether the document is one that only a newer version may change.

        Raises:
            UnsupportedError: It is.
        """
        meant = {"_id": self.where["_id"]} if "_id" in self.where else self.where
        newer = await self.collection.find_one({**meant, "schema_version": _NEWER}, {"_id": 1})
        if newer is not None:
            raise UnsupportedError(
                f"{self.collection.name} {newer['_id']!r} was written by a newer version of mongostore: "
                "install that one here, too"
            )


class Guarded:
    """A collection in which updates and single deletions meet no newer document; else the driver's.

    Args:
        collection: The driver's.
        tell: Is told of each, to find out why it met nothing.
    """

    def __init__(self, collection: Any, tell: Told) -> None:
        self._collection = collection
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    async def update_one(self, where: Raw, update: Any, **options: Any) -> UpdateResult:
        """Update a document."""
        result: UpdateResult = await self._change(self._collection.update_one, where, update, **options)
        met = bool(result.matched_count) or result.upserted_id is not None
        await self._tell(self._collection, where, met, _ends(update))
        return result

    async def insert_one(self, document: Raw, **options: Any) -> InsertOneResult:
        """Insert a document."""
        result: InsertOneResult = await self._collection.insert_one(document, **options)
        await self._tell(self._collection, document, True, False)
        return result

    async def replace_one(self, where: Raw, new: Raw, **options: Any) -> UpdateResult:
        """Replace a document."""
        result: UpdateResult = await self._change(self._collection.replace_one, where, new, **options)
        met = bool(result.matched_count) or result.upserted_id is not None
        await self._tell(self._collection, where, met, False)
        return result

    async def find_one_and_update(self, where: Raw, update: Any, *args: Any, **options: Any) -> Any:
        """Update a document and return it."""
        found = await self._change(self._collection.find_one_and_update, where, update, *args, **options)
        met = found is not None or options.get("upsert", False)
        await self._tell(self._collection, where, met, _ends(update))
        return found

    async def delete_one(self, where: Raw, **options: Any) -> DeleteResult:
        """Delete a document."""
        result: DeleteResult = await self._collection.delete_one(_known(where), **options)
        await self._tell(self._collection, where, bool(result.deleted_count), True)
        return result

    async def update_many(self, where: Raw, update: Any, **options: Any) -> UpdateResult:
        """Update documents."""
        result: UpdateResult = await self._collection.update_many(_known(where), update, **options)
        return result

    async def _change(self, change: Any, where: Raw, update: Any, *args: Any, **options: Any) -> Any:
        while True:
            try:
                return await change(_known(where), update, *args, **options)
            except DuplicateKeyError as error:
                await self._tell(self._collection, where, False, False)
                # Of those who make one document at once, a server lets the others update it, but only if the
                # filter has no more than the key.
                is_late = where.keys() == {"_id"} and (error.details or {}).get("keyPattern") == {"_id": 1}
                if not is_late or options.get("session"):
                    raise


def _known(where: Raw) -> Raw:
    return {**where, "schema_version": {"$not": _NEWER}}


def _ends(update: Any) -> bool:
    """Return whether an update ends something, whose parts are removed then."""
    return isinstance(update, Mapping) and "state" in update.get("$set", {})
