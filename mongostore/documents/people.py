"""How people across rooms are stored: identities with their addresses, and their proofs.

Times are microseconds since 1970.
"""

from __future__ import annotations

from typing import Any

from beanie import Document
from pydantic import BaseModel

from mongostore.documents.rooms import key_of, time_of
from mongostore.documents.stored import SCHEMA_VERSION, Raw, given, read_as, record, sized
from mongostore.errors import InvalidValueError
from mongostore.models import Identity, Verification, VerificationRequest
from mongostore.values import (
    check_id,
    check_list,
    check_text,
    escape_key,
    from_micros,
    pack_object,
    unescape_key,
    unpack,
)


class IdentityFields(BaseModel):
    """An identity; the keys of `addresses` are escaped."""

    id: str
    organization_id: str
    addresses: dict[str, list[str]]
    data: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class AddressFields(BaseModel):
    """An address of an organization, and whose it is."""

    id: dict[str, str]
    identity_id: str


class VerificationFields(BaseModel):
    """A verification of an identity within an organization."""

    id: dict[str, str]
    identity_id: str
    organization_id: str
    status: str
    expires_at: int | None
    data: Any = {}
    schema_version: int = SCHEMA_VERSION


class RequestFields(BaseModel):
    """A request for a verification. `token` names the call that stored it."""

    id: str
    identity_id: str
    data: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class IdentityDocument(IdentityFields, Document):
    """How identities are stored."""

    class Settings:
        """Where they are stored."""

        name = "identities"


class AddressDocument(AddressFields, Document):
    """How the owners of addresses are stored."""

    class Settings:
        """Where they are stored."""

        name = "identity_addresses"


class VerificationDocument(VerificationFields, Document):
    """How verifications are stored."""

    class Settings:
        """Where they are stored."""

        name = "verifications"


class RequestDocument(RequestFields, Document):
    """How requests for verifications are stored."""

    class Settings:
        """Where they are stored."""

        name = "verification_requests"


def scope_of(organization_id: str | None) -> str:
    """Return the stored form of an organization, which is empty for none.

    Raises:
        InvalidValueError: It is no plain string.
    """
    return "" if organization_id is None else check_id("organization_id", organization_id)


def address_key(channel_type: str, address: str, organization_id: str | None) -> dict[str, str]:
    """Return the key of an address of an organization, or of none.

    Raises:
        InvalidValueError: One of them is no plain string.
    """
    return {
        "t": check_id("channel_type", channel_type),
        "a": check_id("address", address),
        "o": scope_of(organization_id),
    }


def to_stored_identity(identity: Identity, token: str) -> Raw:
    """Return an identity in its stored form.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    identity = given("identity", identity, Identity)
    addresses: dict[str, list[str]] = {}
    if not isinstance(identity.addresses, dict):
        raise InvalidValueError("addresses", f"must be a dict, not {type(identity.addresses).__name__}")
    for channel_type, held in identity.addresses.items():
        check_list("addresses", held)
        key = escape_key(check_text("addresses", channel_type))
        addresses[key] = [check_id("addresses", address) for address in held]
    return sized(
        f"identity {identity.id!r}",
        {
            "_id": check_id("id", identity.id),
            "organization_id": scope_of(identity.organization_id),
            "addresses": addresses,
            "data": pack_object("data", identity.data),
            "token": token,
            "schema_version": SCHEMA_VERSION,
        },
    )


def to_identity(raw: Raw) -> Identity:
    """Return a stored identity as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "identity",
        raw,
        lambda: Identity(
            id=raw["_id"],
            organization_id=raw["organization_id"] or None,
            addresses={unescape_key(key): held for key, held in raw["addresses"].items()},
            data=unpack(raw["data"]),
        ),
    )


def to_stored_verification(verification: Verification) -> Raw:
    """Return a verification in its stored form.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    verification = given("verification", verification, Verification)
    identity_id = check_id("identity_id", verification.identity_id)
    organization_id = scope_of(verification.organization_id)
    return sized(
        "a verification",
        {
            "_id": key_of(identity_id, organization_id),
            "identity_id": identity_id,
            "organization_id": organization_id,
            "status": check_id("status", verification.status),
            "expires_at": time_of("expires_at", verification.expires_at),
            "data": pack_object("data", verification.data),
            "schema_version": SCHEMA_VERSION,
        },
    )


def to_verification(raw: Raw) -> Verification:
    """Return a stored verification as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "verification",
        raw,
        lambda: Verification(
            identity_id=raw["identity_id"],
            organization_id=raw["organization_id"] or None,
            status=raw["status"],
            expires_at=None if raw["expires_at"] is None else from_micros(raw["expires_at"]),
            data=unpack(raw["data"]),
        ),
    )


def to_stored_request(request: VerificationRequest) -> Raw:
    """Return a request in its stored form.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    request = given("request", request, VerificationRequest)
    return record("request", request.id, request.data, identity_id=request.identity_id)


def to_request(raw: Raw) -> VerificationRequest:
    """Return a stored request as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return read_as(
        "request",
        raw,
        lambda: VerificationRequest(id=raw["_id"], identity_id=raw["identity_id"], data=unpack(raw["data"])),
    )
