"""Identities with their addresses, and verifications of them."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import (
    check_flag,
    check_id,
    check_limit,
    check_text,
)
from mongostore.codec import escape_key
from mongostore.documents.people import (
    address_key,
    to_identity,
    to_request,
    to_stored_identity,
    to_stored_request,
    to_stored_verification,
    to_verification,
)
from mongostore.documents.rooms import key_of
from mongostore.documents.stored import Raw
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Identity, Page, Verification, VerificationRequest
from mongostore.models.fields import scope_of
from mongostore.repositories import (
    Connection,
    Repository,
    current_operation,
    long_running,
    reads,
    writes,
)
from mongostore.repositories.paging import KeyOrder, find_page, walk


class AsyncIdentities(Repository):
    """Identities. Within an organization, or within none, an address belongs to one identity at most."""

    @writes
    async def create(self, identity: Identity) -> Identity:
        """Store an identity with its addresses.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            ConflictError: If an address belongs to another identity; nothing is written.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        call = current_operation()
        stored = {**to_stored_identity(identity), "token": call.token}

        async def insert(session: Any) -> None:
            for channel_type, held in identity.addresses.items():
                for address in dict.fromkeys(held):
                    key = address_key(channel_type, address, identity.organization_id)
                    await self._file(key, identity.id, session)
            await self._identities.insert_one(stored, session=session)

        try:
            await self._connection.engine.transact(insert)
        except DuplicateKeyError:
            there = await self._identities.find_one({"_id": identity.id}, {"token": 1})
            if there is None or there["token"] != call.token:
                raise AlreadyExistsError("identity", identity.id) from None
        return identity

    @reads
    async def get(self, identity_id: str) -> Identity:
        """Return an identity.

        Raises:
            NotFoundError: If there is no such identity.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        identity = await self.find(identity_id)
        if identity is None:
            raise NotFoundError("identity", identity_id)
        return identity

    @reads
    async def find(self, identity_id: str) -> Identity | None:
        """Return an identity; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        raw = await self._identities.find_one({"_id": check_id("identity_id", identity_id)})
        return None if raw is None else to_identity(raw)

    @reads
    async def find_by_address(
        self, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity | None:
        """Return the identity that has an address in an organization, or in none; None if none has it.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        held = await self._addresses.find_one({"_id": address_key(channel_type, address, organization_id)})
        return None if held is None else await self.find(held["identity_id"])

    @reads
    async def list(
        self,
        *,
        organization_id: str | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Identity]:
        """Return a page of the identities of an organization, or of none, by id.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """
        limit, order = (
            check_limit("limit", limit),
            KeyOrder("_id", is_ascending=not check_flag("newest", newest)),
        )
        conditions = order.keyset_filter({"organization_id": scope_of(organization_id)}, cursor)
        raws = await find_page(self._connection, "identities", conditions, order, limit + 1)
        return order.page(raws, limit, to_identity)

    @long_running
    async def iter(
        self,
        *,
        organization_id: str | None = None,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> AsyncIterator[Identity]:
        """Yield the identities of an organization, or of none, by id.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """
        of_scope = {"organization_id": scope_of(organization_id)}
        steps = walk(self._connection, "identities", of_scope, KeyOrder("_id"), to_identity, errors)
        async with aclosing(steps) as identities:
            async for identity in identities:
                yield identity

    @writes
    async def link_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity:
        """Give an address to an identity of an organization, or of none; it may have it already.

        Raises:
            NotFoundError: If the organization has no such identity.
            ConflictError: If the address belongs to another identity; nothing is written.
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the identity cannot be read, after it was changed.
        """
        key = address_key(channel_type, address, organization_id)
        path = f"addresses.{escape_key(check_text('channel_type', channel_type))}"

        async def link(session: Any) -> Raw:
            linked = await self._change(identity_id, key["o"], {"$addToSet": {path: address}}, session)
            await self._file(key, identity_id, session)
            return linked

        return to_identity(await self._connection.engine.transact(link))

    @writes
    async def unlink_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity:
        """Take an address from an identity of an organization, or of none; one of another stays.

        Raises:
            NotFoundError: If the organization has no such identity.
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the identity cannot be read, after it was changed.
        """
        key = address_key(channel_type, address, organization_id)
        name = escape_key(check_text("channel_type", channel_type))

        async def unlink(session: Any) -> Raw:
            change = {"$pull": {f"addresses.{name}": address}}
            unlinked = await self._change(identity_id, key["o"], change, session)
            await self._addresses.delete_one({"_id": key, "identity_id": identity_id}, session=session)
            if unlinked["addresses"].get(name) == []:
                # A type without addresses goes with its last one.
                change = {"$unset": {f"addresses.{name}": ""}}
                unlinked = await self._change(identity_id, key["o"], change, session)
            return unlinked

        return to_identity(await self._connection.engine.transact(unlink))

    @property
    def _identities(self) -> Any:
        return self._connection.collection("identities")

    @property
    def _addresses(self) -> Any:
        return self._connection.collection("identity_addresses")

    async def _change(self, identity_id: str, organization_id: str, update: Raw, session: Any) -> Raw:
        raw: Raw | None = await self._identities.find_one_and_update(
            {"_id": check_id("identity_id", identity_id), "organization_id": organization_id},
            update,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if raw is None:
            raise NotFoundError("identity", identity_id)
        return raw

    async def _file(self, key: Raw, identity_id: str, session: Any) -> None:
        """Note whose an address is.

        Raises:
            ConflictError: It is another one's.
        """
        held = await self._addresses.find_one_and_update(
            {"_id": key}, {"$setOnInsert": {"identity_id": identity_id}}, upsert=True, session=session
        )
        if held is not None and held["identity_id"] != identity_id:
            raise ConflictError(f"the {key['t']} address belongs to another identity of the organization")


class AsyncVerifications(Repository):
    """Verifications of identities, one for each in an organization or in none.

    Attributes:
        requests: The requests for verifications.
    """

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
        key = key_of(check_id("identity_id", identity_id), scope_of(organization_id))
        raw = await self._verifications.find_one({"_id": key})
        return None if raw is None else to_verification(raw)

    @writes
    async def upsert(self, verification: Verification) -> Verification:
        """Store the verification of an identity, or replace it.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        await _put(self._verifications, to_stored_verification(verification))
        return verification

    @long_running
    async def iter_expiring(
        self, status: str, *, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> AsyncIterator[Verification]:
        """Yield the verifications of a status that will end, of every organization.

        Raises:
            InvalidValueError: If the status is no plain string.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """
        ending = {"status": check_id("status", status), "expires_at": {"$gte": 0}}
        steps = walk(self._connection, "verifications", ending, KeyOrder("_id"), to_verification, errors)
        async with aclosing(steps) as verifications:
            async for verification in verifications:
                yield verification

    @property
    def _verifications(self) -> Any:
        return self._connection.collection("verifications")


class AsyncVerificationRequests(Repository):
    """Requests for verifications."""

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
            await self._requests.insert_one({**to_stored_request(request), "token": call.token})
        except DuplicateKeyError:
            held = await self._requests.find_one({"_id": request.id}, {"token": 1})
            if held is None or held.get("token") != call.token:
                raise AlreadyExistsError("request", request.id) from None
        return request

    @writes
    async def upsert(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request, or replace the one with that id.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        await _put(self._requests, to_stored_request(request))
        return request

    @reads
    async def get(self, request_id: str) -> VerificationRequest:
        """Return a request.

        Raises:
            NotFoundError: If there is no such request.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        request = await self.find(request_id)
        if request is None:
            raise NotFoundError("request", request_id)
        return request

    @reads
    async def find(self, request_id: str) -> VerificationRequest | None:
        """Return a request; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        raw = await self._requests.find_one({"_id": check_id("request_id", request_id)})
        return None if raw is None else to_request(raw)

    @property
    def _requests(self) -> Any:
        return self._connection.collection("verification_requests")


async def _put(collection: Any, stored: Raw) -> None:
    """Store a document, or replace what it says."""
    while True:
        # Two at once may both find nothing there; then the second one finds the first.
        with suppress(DuplicateKeyError):
            await collection.update_one({"_id": stored["_id"]}, {"$set": stored}, upsert=True)
            return
