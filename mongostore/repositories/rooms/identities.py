"""People across rooms: `store.identities` with their addresses, and `store.verifications`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from pymongo.errors import DuplicateKeyError

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
from mongostore.repositories import Repository, current_call, long_running, reads, settled_step, writes
from mongostore.values import check_id, check_limit, check_text, escape_key, from_token, to_token

_ITER_PAGE = 500


class IdentityRepository(Repository):
    """Identities. Within an organization, or within none, an address belongs to one identity at most."""

    @writes
    async def create(self, identity: Identity) -> Identity:
        """Store an identity with all its addresses.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            ConflictError: An address belongs to another identity; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        call = current_call()
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
            NotFoundError: There is no such identity.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        identity = await self.find(identity_id)
        if identity is None:
            raise NotFoundError("identity", identity_id)
        return identity

    @reads
    async def find(self, identity_id: str) -> Identity | None:
        """Return an identity, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._identities.find_one({"_id": check_id("identity_id", identity_id)})
        return None if raw is None else to_identity(raw)

    @reads
    async def find_by_address(
        self, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity | None:
        """Return the identity that has an address in an organization, or in none; None where nobody has it.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        held = await self._addresses.find_one({"_id": address_key(channel_type, address, organization_id)})
        return None if held is None else await self.find(held["identity_id"])

    @reads
    async def list(
        self, *, organization_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Identity]:
        """Return a page of the identities of an organization, or of none, by id.

        Args:
            organization_id: The organization.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; identities that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """
        limit = check_limit("limit", limit)
        conditions: Raw = {"organization_id": scope_of(organization_id)}
        if cursor is not None:
            conditions["_id"] = {"$gt": check_id("cursor", from_token(cursor))}
        found = self._identities.find(conditions, sort=[("_id", 1)], limit=limit + 1, batch_size=limit + 2)
        async with found:
            raws = await found.to_list()
        page: Page[Identity] = Page([], to_token(raws[limit - 1]["_id"]) if len(raws) > limit else None)
        for raw in raws[:limit]:
            try:
                page.items.append(to_identity(raw))
            except InvalidDocumentError as error:
                page.errors.append(error)
        return page

    @writes
    async def link_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> None:
        """Give an address to an identity of an organization, or of none; it may have it already.

        Raises:
            NotFoundError: The organization has no such identity.
            ConflictError: The address belongs to another identity; nothing was written.
            InvalidValueError: An argument is no plain string.
        """
        key = address_key(channel_type, address, organization_id)
        path = f"addresses.{escape_key(check_text('channel_type', channel_type))}"

        async def link(session: Any) -> None:
            await self._change(identity_id, key["o"], {"$addToSet": {path: address}}, session)
            await self._file(key, identity_id, session)

        await self._connection.engine.transact(link)

    @writes
    async def unlink_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> None:
        """Take an address from an identity of an organization, or of none; one of others stays theirs.

        Raises:
            NotFoundError: The organization has no such identity.
            InvalidValueError: An argument is no plain string.
        """
        key = address_key(channel_type, address, organization_id)
        path = f"addresses.{escape_key(check_text('channel_type', channel_type))}"

        async def unlink(session: Any) -> None:
            await self._change(identity_id, key["o"], {"$pull": {path: address}}, session)
            # A type without addresses goes with its last one.
            await self._identities.update_one(
                {"_id": identity_id, path: []}, {"$unset": {path: ""}}, session=session
            )
            await self._addresses.delete_one({"_id": key, "identity_id": identity_id}, session=session)

        await self._connection.engine.transact(unlink)

    @property
    def _identities(self) -> Any:
        return self._connection.collection("identities")

    @property
    def _addresses(self) -> Any:
        return self._connection.collection("identity_addresses")

    async def _change(self, identity_id: str, organization_id: str, update: Raw, session: Any) -> None:
        identity = {"_id": check_id("identity_id", identity_id), "organization_id": organization_id}
        if not (await self._identities.update_one(identity, update, session=session)).matched_count:
            raise NotFoundError("identity", identity_id)

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


class VerificationRepository(Repository):
    """Verifications of identities, one for each in an organization or in none, and the requests for them."""

    @reads
    async def find(self, identity_id: str, *, organization_id: str | None = None) -> Verification | None:
        """Return the verification of an identity; None where there is none.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        key = key_of(check_id("identity_id", identity_id), scope_of(organization_id))
        raw = await self._verifications.find_one({"_id": key})
        return None if raw is None else to_verification(raw)

    @writes
    async def upsert(self, verification: Verification) -> Verification:
        """Store the verification of an identity, or replace it.

        Raises:
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        stored = to_stored_verification(verification)
        await _put(self._verifications, stored)
        return verification

    @long_running
    async def iter_expiring(self, status: str) -> AsyncIterator[Verification]:
        """Yield the verifications of a status that will end, of every organization.

        Raises:
            InvalidValueError: The status is no plain string.
        """
        conditions: Raw = {"status": check_id("status", status), "expires_at": {"$gte": 0}}
        while True:
            raws = await settled_step(self._connection, self._page, conditions)
            for raw in raws:
                with suppress(InvalidDocumentError):
                    yield to_verification(raw)
            if len(raws) < _ITER_PAGE:
                return
            conditions["_id"] = {"$gt": raws[-1]["_id"]}

    @writes
    async def create_request(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        call = current_call()
        try:
            await self._requests.insert_one({**to_stored_request(request), "token": call.token})
        except DuplicateKeyError:
            held = await self._requests.find_one({"_id": request.id}, {"token": 1})
            if held is None or held.get("token") != call.token:
                raise AlreadyExistsError("request", request.id) from None
        return request

    @reads
    async def find_request(self, request_id: str) -> VerificationRequest | None:
        """Return a request; None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._requests.find_one({"_id": check_id("request_id", request_id)})
        return None if raw is None else to_request(raw)

    @writes
    async def upsert_request(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request, or replace it.

        Raises:
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        await _put(self._requests, to_stored_request(request))
        return request

    @property
    def _verifications(self) -> Any:
        return self._connection.collection("verifications")

    @property
    def _requests(self) -> Any:
        return self._connection.collection("verification_requests")

    async def _page(self, conditions: Raw) -> Any:
        found = self._verifications.find(
            conditions, sort=[("_id", 1)], limit=_ITER_PAGE, batch_size=_ITER_PAGE + 1
        )
        async with found:
            return await found.to_list()


async def _put(collection: Any, stored: Raw) -> None:
    """Store a document, or replace what it says."""
    while True:
        # Two at once may both find nothing there; then the second one finds the first.
        with suppress(DuplicateKeyError):
            await collection.update_one({"_id": stored["_id"]}, {"$set": stored}, upsert=True)
            return
