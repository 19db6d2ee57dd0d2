"""The stored form of API keys, which has only the hash of the secret."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from mongostore.documents.mapping import Stored, reader
from mongostore.models import ApiKey


class StoredKey(ApiKey, Stored):
    """A key; `secret_hash` is the SHA-256 of its secret, which is random enough to need no salt.

    `state` is `deleted` if nothing else is left until `expires_at`, then a date.
    """

    secret_hash: bytes = Field(repr=False)
    state: str | None = None


to_key: Final = reader(ApiKey, "key")
