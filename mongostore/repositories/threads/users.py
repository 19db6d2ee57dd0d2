"""Users, known by their identifiers; `store.threads.users`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.codec import encode_object, to_micros
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument, check_size
from mongostore.documents.threads import to_user
from mongostore.errors import AlreadyExistsError, InvalidDocumentError
from mongostore.models import Page, User
from mongostore.repositories import (
    CollectionOf,
    Repository,
    current_operation,
    has_matched,
    long_running,
    reads,
    writes,
)
from mongostore.repositories.expiry import new_tombstone, tombstone_end
from mongostore.repositories.operation import life_token, newest_life, not_made_since, remember
from mongostore.repositories.paging import by_creation, count_documents, list_page, walk

# A deleted user's id stays, with the operations by which those know it who have just stored it.
_LEFT = {"_id": "$_id", "ops": "$ops", "began_at": "$created_at"}
_ANY = {"$in": [None, "deleted"]}


class AsyncUsers(Repository):
    """Users, known by their identifiers."""

    _users = CollectionOf("users")

    @writes
    async def create(
        self,
        identifier: str,
        *,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> User:
        """Create a user, with a generated id and the time of the call by default.

        Raises:
            AlreadyExistsError: If there is a user with that identifier or id.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """
        call = current_operation()
        document = {
            **_new(),
            "identifier": check_id("identifier", identifier),
            "metadata": _metadata(metadata),
        }
        if user_id is not None:
            document["_id"] = check_id("user_id", user_id)
        if created_at is not None:
            document["created_at"] = to_micros("created_at", created_at)
        while not await self._find_deleted():
            try:
                await self._users.insert_one({**document, "ops": [call.token]})
            except DuplicateKeyError:
                # By the attempt before, whose answer was lost, or by another caller.
                existing = await self._users.find_one({"_id": document["_id"], "state": _ANY}) or {}
                if existing.get("state") == "deleted":
                    await self._users.delete_one({**existing})
                    continue
                if call.token not in existing.get("ops", ()):
                    raise AlreadyExistsError("user", identifier) from None
            break
        return to_user(document)

    @writes
    async def ensure(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Return the user with an identifier, created if it is not there.

        If it is, `metadata` is ignored.

        Raises:
            InvalidValueError: If a value cannot be stored.
            InvalidDocumentError: If the user cannot be read.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """
        return await self._upsert(identifier, {"$setOnInsert": {**_new(), "metadata": _metadata(metadata)}})

    @writes
    async def upsert(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Create a user, or replace the metadata of the one with that identifier.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """
        update = {"$set": {"metadata": _metadata(metadata)}, "$setOnInsert": _new()}
        return await self._upsert(identifier, update)

    @reads
    async def get(self, user_id: str) -> User:
        """Return a user.

        Raises:
            NotFoundError: If there is no such user.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the user cannot be read.
        """
        return self._check_found("user", user_id, await self.find(user_id))

    @reads
    async def find(self, user_id: str) -> User | None:
        """Return a user; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the user cannot be read.
        """
        document = await self._users.find_one({"_id": check_id("user_id", user_id)})
        return None if document is None else to_user(document)

    @reads
    async def find_by_identifier(self, identifier: str) -> User | None:
        """Return the user with an identifier; None if there is none.

        Raises:
            InvalidValueError: If the identifier is no plain string.
            InvalidDocumentError: If the user cannot be read.
        """
        document = await self._users.find_one({"identifier": check_id("identifier", identifier)})
        return None if document is None else to_user(document)

    @reads
    async def count(self, *, limit: int | None = None) -> int:
        """Return how many users there are, `limit` at most.

        Raises:
            InvalidValueError: If the limit is out of range.
        """
        return await count_documents(self._connection, "users", {}, limit)

    @reads
    async def list(self, *, newest: bool = False, limit: int = 50, cursor: str | None = None) -> Page[User]:
        """Return a page of users, in the order of their creation.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        return await list_page(self._connection, "users", {}, by_creation(newest), limit, cursor, to_user)

    @long_running
    def iter(
        self, *, newest: bool = False, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> AsyncIterator[User]:
        """Yield all users by creation; `errors` collects unreadable ones.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a user cannot be read and there is no list of `errors`.
        """
        return walk(self._connection, "users", {}, by_creation(newest), to_user, errors)

    @writes
    async def delete(self, user_id: str) -> bool:
        """Delete a user and return whether it was there; threads stay.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        user = {"_id": check_id("user_id", user_id), **not_made_since("create_op")}
        return has_matched(
            await self._users.update_one(user, [{"$replaceWith": {**_LEFT, **new_tombstone()}}])
        )

    async def _find_deleted(self) -> StoredDocument | None:
        """Return what is left of a user that an earlier attempt has stored and another caller deleted."""
        call = current_operation()
        if not call.attempt:
            return None
        # An index has these in the order of their deletions.
        since: StoredDocument = {"state": "deleted", "expires_at": {"$gte": tombstone_end()}}
        return await self._users.find_one({**since, "ops": call.token})

    async def _upsert(self, identifier: str, update: StoredDocument) -> User:
        filter, call = {"identifier": check_id("identifier", identifier)}, current_operation()
        update = {**update, "$push": remember(call.token)}
        while True:
            found = await self._users.find_one(filter) if call.attempt else None
            # Changed by an earlier attempt, or made anew since.
            if found and (call.token in found.get("ops", ()) or found.get("create_op", "") > newest_life()):
                return to_user(found)
            if deleted := await self._find_deleted():
                members = {**update.get("$setOnInsert", {}), **update.get("$set", {}), **filter}
                return to_user({**members, "_id": deleted["_id"], "created_at": deleted["began_at"]})
            try:
                document: Any = await self._users.find_one_and_update(
                    filter, update, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                # Of two at once the other one was first.
                continue
            return to_user(document)


def _new() -> StoredDocument:
    call = current_operation()
    return {
        "_id": call.token,
        "created_at": call.now,
        "create_op": life_token(),
        "schema_version": SCHEMA_VERSION,
    }


def _metadata(metadata: dict[str, Any] | None) -> StoredDocument:
    packed: StoredDocument = encode_object("metadata", {} if metadata is None else metadata)
    check_size("the user's metadata", {"metadata": packed})
    return packed
