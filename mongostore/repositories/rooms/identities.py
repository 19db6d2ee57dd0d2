"""Identities with their addresses; `store.rooms.identities`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id, check_text
from mongostore.codec import escape_key
from mongostore.documents.identities import address_id, to_identity, to_stored_identity
from mongostore.documents.mapping import MAX_VALUE_BYTES, StoredDocument
from mongostore.documents.rooms import part_id
from mongostore.errors import AlreadyExistsError, ConflictError, InvalidDocumentError, NotFoundError
from mongostore.models import Identity, Page
from mongostore.models.fields import organization_key
from mongostore.repositories import CollectionOf, Repository, current_operation, long_running, reads, writes
from mongostore.repositories.operation import find_done, life_token, not_made_since, remember
from mongostore.repositories.paging import KeyOrder, list_page, walk
from mongostore.repositories.size_limits import SizeLimit

MERGED = SizeLimit("identity", ("addresses", "data"), MAX_VALUE_BYTES)


class AsyncIdentities(Repository):
    """Identities. Within an organization, or within none, an address belongs to one identity at most."""

    _identities = CollectionOf("identities")
    _addresses = CollectionOf("identity_addresses")
    _verifications = CollectionOf("verifications")

    @writes
    async def create(self, identity: Identity) -> Identity:
        """Store an identity with its addresses.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            ConflictError: If an address belongs to another identity; nothing is written.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """
        stored = {**to_stored_identity(identity), "op": life_token()}
        stored |= MERGED.count(identity.id, stored)
        claimed: list[StoredDocument] = []

        async def insert(session: Any) -> None:
            for channel_type, addresses in identity.addresses.items():
                for address in dict.fromkeys(addresses):
                    key = address_id(channel_type, address, identity.organization_id)
                    if await self._claim_address(key, identity.id, session):
                        claimed.append(key)
            await self._identities.insert_one(stored, session=session)

        try:
            await self._connection.engine.transact(insert)
        except ConflictError:
            await self._release_addresses(claimed, identity.id)
            raise
        except DuplicateKeyError:
            existing = await self._identities.find_one({"_id": identity.id}, {"op": 1})
            if existing is None or existing.get("op") != stored["op"]:
                await self._release_addresses(claimed, identity.id)
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
        return self._check_found("identity", identity_id, await self.find(identity_id))

    @reads
    async def find(self, identity_id: str) -> Identity | None:
        """Return an identity; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        document = await self._identities.find_one({"_id": check_id("identity_id", identity_id)})
        return None if document is None else to_identity(document)

    @reads
    async def find_by_address(
        self, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity | None:
        """Return the identity with an address in an organization, or in none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        existing = await self._addresses.find_one({"_id": address_id(channel_type, address, organization_id)})
        return None if existing is None else await self.find(existing["identity_id"])

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
        of_scope = {"organization_id": organization_key(organization_id)}
        order = KeyOrder("_id", is_ascending=not check_flag("newest", newest))
        return await list_page(self._connection, "identities", of_scope, order, limit, cursor, to_identity)

    @long_running
    def iter(
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
        of_scope = {"organization_id": organization_key(organization_id)}
        return walk(self._connection, "identities", of_scope, KeyOrder("_id"), to_identity, errors)

    @writes
    async def link_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity:
        """Give an address to an identity, which may have it already.

        Raises:
            NotFoundError: If the organization has no such identity.
            ConflictError: If the address belongs to another identity; nothing is written.
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the identity cannot be read, after it was changed.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """
        key = address_id(channel_type, address, organization_id)
        name = escape_key(check_text("channel_type", channel_type))

        async def link(session: Any) -> StoredDocument:
            done = await self._find_done(identity_id, session)
            if done and (self._connection.has_transactions or address not in done["addresses"].get(name, [])):
                return done
            linked = done or await self._update_identity(
                identity_id, key["o"], {"$addToSet": {f"addresses.{name}": {"$each": [address]}}}, session
            )
            try:
                await self._claim_address(key, identity_id, session)
            except ConflictError:
                if not self._connection.has_transactions:
                    await self._remove_address(identity_id, key["o"], name, address, None)
                raise
            return linked

        return to_identity(await self._connection.engine.transact(link))

    @writes
    async def unlink_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity:
        """Take an address from an identity; that of another one stays.

        Raises:
            NotFoundError: If the organization has no such identity.
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the identity cannot be read, after it was changed.
        """
        key = address_id(channel_type, address, organization_id)
        name = escape_key(check_text("channel_type", channel_type))

        async def unlink(session: Any) -> StoredDocument:
            done = await self._find_done(identity_id, session)
            if done and (self._connection.has_transactions or address in done["addresses"].get(name, [])):
                return done
            unlinked = done or await self._remove_address(identity_id, key["o"], name, address, session)
            await self._addresses.delete_one({"_id": key, "identity_id": identity_id}, session=session)
            return unlinked

        return to_identity(await self._connection.engine.transact(unlink))

    @writes
    async def delete(self, identity_id: str) -> bool:
        """Delete an identity with its addresses and verification; return whether it was there.

        Requests for a verification stay.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        # Those of the id are all its, whatever a document says that cannot be read.
        own = {"_id": check_id("identity_id", identity_id), **not_made_since("op")}

        async def remove(session: Any) -> bool:
            identity = await self._identities.find_one(own, session=session)
            if identity is None:
                return False
            await self._identities.delete_one(own, session=session)
            await self._addresses.delete_many({"identity_id": identity_id}, session=session)
            verification = part_id(identity_id, identity.get("organization_id", organization_key(None)))
            await self._verifications.delete_one({"_id": verification}, session=session)
            return True

        return await self._connection.engine.transact(remove) or current_operation().attempt > 0

    async def _find_done(self, identity_id: str, session: Any) -> StoredDocument | None:
        """Return an identity that an earlier attempt of the call has changed."""
        return await find_done(
            self._identities, {"_id": check_id("identity_id", identity_id)}, session=session
        )

    async def _update_identity(
        self, identity_id: str, organization_id: str, update: StoredDocument, session: Any
    ) -> StoredDocument:
        filter = {"_id": check_id("identity_id", identity_id), "organization_id": organization_id}
        filter |= not_made_since("op")
        update = {**update, "$push": remember(current_operation().token)}
        run = partial(
            self._identities.find_one_and_update, return_document=ReturnDocument.AFTER, session=session
        )
        document: StoredDocument | None = await MERGED.write(
            self._identities, identity_id, filter, update, run
        )
        if document is None:
            raise NotFoundError("identity", identity_id)
        return document

    async def _remove_address(
        self, identity_id: str, organization_id: str, name: str, address: str, session: Any
    ) -> StoredDocument:
        """Remove an address of a type from an identity, and the type with its last one."""
        change: StoredDocument = {"$pull": {f"addresses.{name}": address}}
        changed = await self._update_identity(identity_id, organization_id, change, session)
        if changed["addresses"].get(name) == []:
            change = {"$unset": {f"addresses.{name}": ""}}
            changed = await self._update_identity(identity_id, organization_id, change, session)
        return changed

    async def _claim_address(self, key: StoredDocument, identity_id: str, session: Any) -> bool:
        """Record the identity of an address; return whether it had none."""
        # Written again each time, so that nothing takes an address for a leftover that is claimed now.
        claim = {"$set": {"op": current_operation().token}, "$setOnInsert": {"identity_id": identity_id}}
        existing = await self._addresses.find_one_and_update(
            {"_id": key}, claim, upsert=True, session=session
        )
        if existing is not None and existing["identity_id"] != identity_id:
            raise ConflictError(f"the {key['t']} address belongs to another identity of the organization")
        return existing is None

    async def _release_addresses(self, keys: Sequence[StoredDocument], identity_id: str) -> None:
        """Release addresses that a call has recorded in vain, which a transaction takes back itself."""
        if not self._connection.has_transactions:
            for key in keys:
                await self._addresses.delete_one({"_id": key, "identity_id": identity_id})
