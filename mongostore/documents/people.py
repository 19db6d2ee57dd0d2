"""How identities, their proofs, and what is noted about rooms are stored.

Times are microseconds since 1970, but for those that the server itself compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from beanie import Document
from pydantic import BaseModel

from mongostore.documents.rooms import key_of, time_of
from mongostore.documents.stored import SCHEMA_VERSION, UNREADABLE, Raw, check_size, fields_of, given
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import (
    Identity,
    Observation,
    Task,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.values import (
    check_flag,
    check_id,
    check_list,
    check_text,
    escape_key,
    from_micros,
    pack_object,
    unescape_key,
    unpack,
)

V = TypeVar("V", bound=BaseModel)


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


class TaskFields(BaseModel):
    """A task. `token` names the call that stored it."""

    id: str
    room_id: str
    status: str
    position: int
    data: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class ObservationFields(BaseModel):
    """An observation. `token` names the call that stored it."""

    id: str
    room_id: str
    position: int
    data: Any = {}
    token: str
    schema_version: int = SCHEMA_VERSION


class ReadMarkerFields(BaseModel):
    """The highest index of a room that a channel has read."""

    id: dict[str, str]
    room_id: str
    channel_id: str
    index: int


class VoiceDeliveryFields(BaseModel):
    """A reserved injection of speech."""

    id: dict[str, str]
    room_id: str
    key: str
    content_hash: str
    attempt_id: str
    outcome: Any = None
    retryable: bool
    data: Any = {}
    schema_version: int = SCHEMA_VERSION


class LeaseFields(BaseModel):
    """A lease; its end is a date, which the server compares with its own clock."""

    id: str
    owner: str
    token: int
    expires_at: datetime


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


class TaskDocument(TaskFields, Document):
    """How tasks are stored."""

    class Settings:
        """Where they are stored."""

        name = "tasks"


class ObservationDocument(ObservationFields, Document):
    """How observations are stored."""

    class Settings:
        """Where they are stored."""

        name = "observations"


class ReadMarkerDocument(ReadMarkerFields, Document):
    """How read markers are stored."""

    class Settings:
        """Where they are stored."""

        name = "read_markers"


class VoiceDeliveryDocument(VoiceDeliveryFields, Document):
    """How voice deliveries are stored."""

    class Settings:
        """Where they are stored."""

        name = "voice_deliveries"


class LeaseDocument(LeaseFields, Document):
    """How leases are stored."""

    class Settings:
        """Where they are stored."""

        name = "leases"


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
    return _checked(
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
    return _read(
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
    return _checked(
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
    return _read(
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
    return _record("request", request.id, request.data, identity_id=request.identity_id)


def to_request(raw: Raw) -> VerificationRequest:
    """Return a stored request as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return _read(
        "request",
        raw,
        lambda: VerificationRequest(id=raw["_id"], identity_id=raw["identity_id"], data=unpack(raw["data"])),
    )


def to_stored_task(task: Task) -> Raw:
    """Return a task in its stored form, without its place.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    task = given("task", task, Task)
    return _record("task", task.id, task.data, room_id=task.room_id, status=task.status)


def to_task(raw: Raw) -> Task:
    """Return a stored task as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return _read(
        "task",
        raw,
        lambda: Task(id=raw["_id"], room_id=raw["room_id"], status=raw["status"], data=unpack(raw["data"])),
    )


def to_stored_observation(observation: Observation) -> Raw:
    """Return an observation in its stored form, without its place.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    observation = given("observation", observation, Observation)
    return _record("observation", observation.id, observation.data, room_id=observation.room_id)


def to_observation(raw: Raw) -> Observation:
    """Return a stored observation as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return _read(
        "observation",
        raw,
        lambda: Observation(id=raw["_id"], room_id=raw["room_id"], data=unpack(raw["data"])),
    )


def to_stored_delivery(delivery: VoiceDelivery) -> Raw:
    """Return a voice delivery in its stored form.

    Raises:
        InvalidValueError: One of its members cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    delivery = given("delivery", delivery, VoiceDelivery)
    room_id, key = check_id("room_id", delivery.room_id), check_id("key", delivery.key)
    return _checked(
        f"voice delivery {delivery.key!r}",
        {
            "_id": key_of(room_id, key),
            "room_id": room_id,
            "key": key,
            "content_hash": check_id("content_hash", delivery.content_hash),
            "attempt_id": check_id("attempt_id", delivery.attempt_id),
            "outcome": None if delivery.outcome is None else pack_object("outcome", delivery.outcome),
            "retryable": check_flag("retryable", delivery.retryable),
            "data": pack_object("data", delivery.data),
            "schema_version": SCHEMA_VERSION,
        },
    )


def to_delivery(raw: Raw) -> VoiceDelivery:
    """Return a stored voice delivery as callers see it.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    return _read(
        "voice delivery",
        raw,
        lambda: VoiceDelivery.model_validate(
            {**raw, "outcome": unpack(raw["outcome"]), "data": unpack(raw["data"])}
        ),
    )


def _record(kind: str, id: str, data: Mapping[str, Any], **names: str) -> Raw:
    """Return the stored form of something with an id of its own, the names that find it, and its data."""
    return _checked(
        f"{kind} {id!r}",
        {
            "_id": check_id("id", id),
            **{name: check_id(name, value) for name, value in names.items()},
            "data": pack_object("data", data),
            "schema_version": SCHEMA_VERSION,
        },
    )


def _checked(what: str, stored: Raw) -> Raw:
    check_size(what, stored)
    return stored


def _read(kind: str, raw: Raw, read: Callable[[], V]) -> V:
    try:
        return read()
    except UNREADABLE as error:
        raise InvalidDocumentError(kind, str(raw.get("_id")), fields_of(error)) from None
