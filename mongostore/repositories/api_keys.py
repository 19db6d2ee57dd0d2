"""Keys of programs that use a server of ours; `store.keys`."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id, check_list
from mongostore.codec import from_micros, to_micros
from mongostore.documents.keys import to_key
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument, decode_document
from mongostore.errors import InvalidValueError
from mongostore.models import ApiKey, Page
from mongostore.models.keys import ALL_NAMESPACES
from mongostore.repositories import CollectionOf, Repository, current_operation, has_matched, reads, writes
from mongostore.repositories.expiry import new_tombstone
from mongostore.repositories.paging import by_creation, count_documents, list_page

_SECRET_BYTES = 32
_TOKEN = re.compile("mgs_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
_PUBLIC_FIELDS = {"secret_hash": 0}
# What goes with a deleted key: its id stays taken for those who are still creating it.
_ERASED_FIELDS = dict.fromkeys(("secret_hash", "name", "namespaces", "owner_id", "created_at"), "")


class AsyncKeys(Repository):
    """Keys: created, verified, listed and deleted."""

    _keys = CollectionOf("api_keys")

    @writes
    async def create(
        self,
        *,
        name: str,
        namespaces: Sequence[str] = (),
        owner_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """Create a key; return it with its `token`, which is stored nowhere.

        Args:
            name: The purpose of the key.
            namespaces: Those it may use; `["*"]` for all.
            owner_id: Whom it speaks for.
            expires_at: The time at which it ends; None for never.

        Raises:
            InvalidValueError: If a value cannot be stored.
        """
        call = current_operation()
        # One secret whatever the number of attempts: the first one may be stored, its answer lost.
        secret = call.memory.setdefault("secret", secrets.token_urlsafe(_SECRET_BYTES))
        document: StoredDocument = {
            "_id": call.token,
            "name": check_id("name", name),
            "owner_id": None if owner_id is None else check_id("owner_id", owner_id),
            "namespaces": _check_namespaces(namespaces),
            "created_at": call.now,
            "expires_at": None if expires_at is None else to_micros("expires_at", expires_at),
            "schema_version": SCHEMA_VERSION,
        }
        # The id is this call's own: only an earlier attempt of it can have stored it.
        with suppress(DuplicateKeyError):
            await self._keys.insert_one({**document, "secret_hash": _hash(secret)})
        return to_key(document).model_copy(update={"token": f"mgs_{call.token}_{secret}"})

    @reads
    async def get(self, key_id: str) -> ApiKey:
        """Return a key.

        Raises:
            NotFoundError: If there is no such key.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the key cannot be read.
        """
        return self._check_found("key", key_id, await self.find(key_id))

    @reads
    async def find(self, key_id: str) -> ApiKey | None:
        """Return a key; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the key cannot be read.
        """
        document = await self._keys.find_one({"_id": check_id("key_id", key_id)}, _PUBLIC_FIELDS)
        return None if document is None else to_key(document)

    @reads
    async def verify(self, token: str) -> ApiKey | None:
        """Return the key of a token; None if it is invalid, deleted or expired.

        Raises:
            InvalidDocumentError: If the key cannot be read.
        """
        match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if match is None:
            return None
        document = await self._keys.find_one({"_id": match[1]})
        if document is None:
            return None
        key, secret = to_key(document), match[2]
        if not decode_document(
            "key", document, lambda: hmac.compare_digest(_hash(secret), document["secret_hash"])
        ):
            return None
        is_good = key.expires_at is None or from_micros(current_operation().now) < key.expires_at
        return key if is_good else None

    @reads
    async def count(self, *, limit: int | None = None) -> int:
        """Return how many keys there are, expired ones too, `limit` at most.

        Raises:
            InvalidValueError: If the limit is out of range.
        """
        return await count_documents(self._connection, "api_keys", {}, limit)

    @reads
    async def list(self, *, newest: bool = False, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        """Return a page of all keys, expired ones too, by their creation.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        order = by_creation(newest)
        return await list_page(
            self._connection, "api_keys", {}, order, limit, cursor, to_key, fields=_PUBLIC_FIELDS
        )

    @writes
    async def delete(self, key_id: str) -> bool:
        """Delete a key, whose token is then refused; return whether it existed.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        deletion = {"$set": new_tombstone(), "$unset": _ERASED_FIELDS}
        return has_matched(await self._keys.update_one({"_id": check_id("key_id", key_id)}, deletion))


def _check_namespaces(namespaces: Sequence[str]) -> list[str]:
    check_list("namespaces", namespaces)
    for number, namespace in enumerate(namespaces):
        if not check_id(f"namespaces[{number}]", namespace) or "/" in namespace:
            raise InvalidValueError(f"namespaces[{number}]", "must not be empty and has no slash")
    if ALL_NAMESPACES in namespaces and len(namespaces) > 1:
        raise InvalidValueError("namespaces", "must be all namespaces or some, not both")
    return list(dict.fromkeys(namespaces))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
