"""Users, known by their identifiers; `store.threads.users`."""

from __future__ import annotations

from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.documents.stored import SCHEMA_VERSION, Raw, check_size
from mongostore.documents.threads import to_user
from mongostore.errors import NotFoundError
from mongostore.models import User
from mongostore.repositories import Repository, current_call, reads, writes
from mongostore.values import check_id, pack_object


class AsyncUsers(Repository):
    """Those whom threads belong to."""

    @writes
    async def upsert(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Store a user, or replace the metadata of one, who keeps the id; of two at once both get the same.

        Raises:
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: They take more than a document can hold.
        """
        call = current_call()
        sets: Raw = {"metadata": pack_object("metadata", {} if metadata is None else metadata)}
        check_size("the user's metadata", sets)
        new = {"_id": call.token, "created_at": call.now, "schema_version": SCHEMA_VERSION}
        while True:
            try:
                raw = await self._users.find_one_and_update(
                    {"identifier": check_id("identifier", identifier)},
                    {"$set": sets, "$setOnInsert": new},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                continue
            return to_user(raw)

    @reads
    async def get(self, user_id: str) -> User:
        """Return a user.

        Raises:
            NotFoundError: There is no such user.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        user = await self.find(user_id)
        if user is None:
            raise NotFoundError("user", user_id)
        return user

    @reads
    async def find(self, user_id: str) -> User | None:
        """Return a user, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._users.find_one({"_id": check_id("user_id", user_id)})
        return None if raw is None else to_user(raw)

    @reads
    async def find_by_identifier(self, identifier: str) -> User | None:
        """Return the user with an identifier, None where there is none.

        Raises:
            InvalidValueError: The identifier is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._users.find_one({"identifier": check_id("identifier", identifier)})
        return None if raw is None else to_user(raw)

    @property
    def _users(self) -> Any:
        return self._connection.collection("users")
