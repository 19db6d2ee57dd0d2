"""Whether people have proved who they are; `store.rooms.verifications`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id
from mongostore.documents.identities import (
    to_request,
    to_stored_request,
    to_stored_verification,
    to_verification,
)
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.rooms import part_id
from mongostore.errors import AlreadyExistsError, InvalidDocumentError
from mongostore.models import Verification, VerificationRequest
from mongostore.models.fields import organization_key
from mongostore.repositories import (
    CollectionOf,
    Connection,
    Repository,
    current_operation,
    long_running,
    reads,
    writes,
)
from mongostore.repositories.operation import find_done, remember
from mongostore.repositories.paging import KeyOrder, walk


class AsyncVerifications(Repository):
    """Verifications of identities, one for each in an organization or in none.

    Attributes:
        requests: The requests for verifications.
    """

    _verifications = CollectionOf("verifications")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.requests: Final = AsyncVerificationRequests(connection)

    @reads
    async def find(self, identity_id: str, *, organization_id: str | None = None) -> Verification | None:
        """Return the verification of an identity; None if there is none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        key = part_id(check_id("identity_id", identity_id), organization_key(organization_id))
        document = await self._verifications.find_one({"_id": key})
        return None if document is None else to_verification(document)

    @writes
    async def upsert(self, verification: Verification) -> Verification:
        """Store the verification of an identity, or replace it.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        await _upsert(self._verifications, to_stored_verification(verification))
        return verification

    @long_running
    def iter_expiring(
        self, status: str, *, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> AsyncIterator[Verification]:
        """Yield the verifications of a status that will end, of every organization.

        Raises:
            InvalidValueError: If the status is no plain string.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """
        ending = {"status": check_id("status", status), "expires_at": {"$gte": 0}}
        return walk(self._connection, "verifications", ending, KeyOrder("_id"), to_verification, errors)


class AsyncVerificationRequests(Repository):
    """Requests for verifications."""

    _requests = CollectionOf("verification_requests")

    @writes
    async def create(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        call = current_operation()
        try:
            await self._requests.insert_one({**to_stored_request(request), "op": call.token})
        except DuplicateKeyError:
            existing = await self._requests.find_one({"_id": request.id}, {"op": 1})
            if existing is None or existing.get("op") != call.token:
                raise AlreadyExistsError("request", request.id) from None
        return request

    @writes
    async def upsert(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request, or replace the one with that id.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        await _upsert(self._requests, to_stored_request(request))
        return request

    @reads
    async def get(self, request_id: str) -> VerificationRequest:
        """Return a request.

        Raises:
            NotFoundError: If there is no such request.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("request", request_id, await self.find(request_id))

    @reads
    async def find(self, request_id: str) -> VerificationRequest | None:
        """Return a request; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        document = await self._requests.find_one({"_id": check_id("request_id", request_id)})
        return None if document is None else to_request(document)


async def _upsert(collection: Any, stored: StoredDocument) -> None:
    """Store a document, or replace what it says."""
    own = {"_id": stored["_id"]}
    if not await find_done(collection, own, projection={"_id": 1}):
        update = {"$set": stored, "$push": remember(current_operation().token)}
        await collection.update_one(own, update, upsert=True)
