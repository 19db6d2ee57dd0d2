"""The stored form of identities, their addresses and their verifications."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from mongostore.arguments import check_id
from mongostore.documents.mapping import Stored, StoredPart, reader, writer
from mongostore.documents.rooms import part_id
from mongostore.models import Identity, Verification, VerificationRequest
from mongostore.models.fields import organization_key


class StoredIdentity(Identity, Stored):
    """An identity; the keys of `addresses` are escaped.

    `op` is the token of the operation that stored it, `ops` are those of its last changes. `merged_size` is
    at least the size of its addresses and data.
    """

    op: str
    ops: list[str] = Field(default_factory=list)
    merged_size: int = 0


class StoredAddress(StoredPart):
    """An address of an organization, and whose it is. `op` is the token of the last call that gave it."""

    id: dict[str, str]
    identity_id: str
    op: str = ""


class StoredVerification(Verification, Stored):
    """A verification of an identity within an organization."""


class StoredRequest(VerificationRequest, Stored):
    """A request for a verification. `op` is the token of the operation that stored it."""

    op: str


to_identity: Final = reader(Identity, "identity")
to_stored_identity: Final = writer(Identity, "identity")
to_verification: Final = reader(Verification, "verification")
to_stored_verification: Final = writer(
    Verification,
    "verification",
    "identity_id",
    more=lambda verification, stored: {"_id": part_id(stored["identity_id"], stored["organization_id"])},
)
to_request: Final = reader(VerificationRequest, "request")
to_stored_request: Final = writer(VerificationRequest, "request")


def address_id(channel_type: str, address: str, organization_id: str | None) -> dict[str, str]:
    """Return the key of an address of an organization, or of none."""
    return {
        "t": check_id("channel_type", channel_type),
        "a": check_id("address", address),
        "o": organization_key(organization_id),
    }
