"""How keys are stored: of the secret only its hash; times are microseconds since 1970."""

from __future__ import annotations

from beanie import Document
from pydantic import BaseModel, Field

from mongostore.documents.stored import SCHEMA_VERSION, Raw, read_as
from mongostore.models import ApiKey
from mongostore.values import from_micros


class KeyFields(BaseModel):
    """A key; `secret_hash` is the SHA-256 of its secret, which is random enough to need no salt."""

    id: str
    name: str
    owner_id: str | None = None
    namespaces: list[str]
    secret_hash: bytes = Field(repr=False)
    created_at: int
    expires_at: int | None = None
    schema_version: int = SCHEMA_VERSION


class KeyDocument(KeyFields, Document):
    """How keys are stored."""

    class Settings:
        """Where they are stored."""

        name = "api_keys"


def to_key(raw: Raw) -> ApiKey:
    """Return a stored key as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "key",
        raw,
        lambda: ApiKey(
            id=raw["_id"],
            name=raw["name"],
            owner_id=raw.get("owner_id"),
            namespaces=raw["namespaces"],
            created_at=from_micros(raw["created_at"]),
            expires_at=None if raw.get("expires_at") is None else from_micros(raw["expires_at"]),
        ),
    )
