"""What a newer version of this package has written is read as far as it fits, and never changed.

And what a failover may take back is not shown to those who go on from what they have read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.results import DeleteResult, InsertOneResult, UpdateResult

from mongostore.documents.mapping import Raw
from mongostore.repositories.operation import NEWER, Access, UnmatchedWrite, find_operation

# So often may others be in the way of an update before it is looked at who they are.
_MISSES = 2


class VersionCheckedCollection:
    """A collection in which updates and single deletions meet no newer document; else the driver's.

    Args:
        collection: The driver's.
        settled: The same one, as settled calls read it.
    """

    def __init__(self, collection: Any, settled: Any) -> None:
        self._collection = collection
        self._settled = settled

    def __getattr__(self, name: str) -> Any:
        call = find_operation()
        is_settled = call is not None and call.access is Access.READ_MAJORITY
        return getattr(self._settled if is_settled else self._collection, name)

    async def update_one(self, where: Raw, update: Any, **options: Any) -> UpdateResult:
        """Update a document."""
        result: UpdateResult = await self._change(self._collection.update_one, where, update, **options)
        met = bool(result.matched_count) or result.upserted_id is not None
        await self._record_match(where, met, _is_final(update))
        return result

    async def insert_one(self, document: Raw, **options: Any) -> InsertOneResult:
        """Insert a document."""
        result: InsertOneResult = await self._collection.insert_one(document, **options)
        await self._record_match(document, True, False)
        return result

    async def replace_one(self, where: Raw, new: Raw, **options: Any) -> UpdateResult:
        """Replace a document."""
        result: UpdateResult = await self._change(self._collection.replace_one, where, new, **options)
        met = bool(result.matched_count) or result.upserted_id is not None
        await self._record_match(where, met, False)
        return result

    async def find_one_and_update(self, where: Raw, update: Any, *args: Any, **options: Any) -> Any:
        """Update a document and return it."""
        found = await self._change(self._collection.find_one_and_update, where, update, *args, **options)
        met = found is not None or options.get("upsert", False)
        await self._record_match(where, met, _is_final(update))
        return found

    async def delete_one(self, where: Raw, **options: Any) -> DeleteResult:
        """Delete a document."""
        result: DeleteResult = await self._collection.delete_one(_id_filter(where), **options)
        await self._record_match(where, bool(result.deleted_count), True)
        return result

    async def update_many(self, where: Raw, update: Any, **options: Any) -> UpdateResult:
        """Update documents."""
        result: UpdateResult = await self._collection.update_many(_id_filter(where), update, **options)
        return result

    async def _record_match(self, where: Raw, met: bool, is_urgent: bool) -> None:
        """Note in the current call whether an update found the document that it meant.

        Raises:
            UnsupportedError: It did not, since a newer version has written it.
        """
        call, missed = find_operation(), UnmatchedWrite(self._collection, where)
        if call is None:
            if not met:
                await missed.check()
            return
        meant = self._collection.name, str(where.get("_id", where))
        if met:
            call.missed.pop(meant, None)
            return
        missed = call.missed.setdefault(meant, missed)
        missed.times += 1
        if is_urgent or missed.times > _MISSES:
            await missed.check()
            del call.missed[meant]

    async def _change(self, change: Any, where: Raw, update: Any, *args: Any, **options: Any) -> Any:
        while True:
            try:
                return await change(_id_filter(where), update, *args, **options)
            except DuplicateKeyError as error:
                await self._record_match(where, False, False)
                # Of those who make one document at once, a server lets the others update it, but only if the
                # filter has no more than the key.
                is_late = where.keys() == {"_id"} and (error.details or {}).get("keyPattern") == {"_id": 1}
                if not is_late or options.get("session"):
                    raise


def _id_filter(where: Raw) -> Raw:
    return {**where, "schema_version": {"$not": NEWER}}


def _is_final(update: Any) -> bool:
    """Return whether an update ends something, whose parts are removed then."""
    return isinstance(update, Mapping) and "state" in update.get("$set", {})
