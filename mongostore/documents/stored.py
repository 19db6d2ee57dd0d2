"""What all stored forms have in common: sizes, versions, and what is said of a document that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import bson
from bson.errors import BSONError
from pydantic import ValidationError

from mongostore.errors import DocumentTooLargeError, InvalidDocumentError, InvalidValueError
from mongostore.values import check_id, pack_object

V = TypeVar("V")

# A document, or a part of one, as the driver gives and takes it.
Raw = dict[str, Any]

SCHEMA_VERSION = 1
# Room for the envelope around a value in a document of 16 MiB.
MAX_VALUE_BYTES = 16 * 1024 * 1024 - 64 * 1024
# What is raised where a member is missing, or of a type that cannot even be unpacked.
UNREADABLE = (ValidationError, AttributeError, KeyError, OverflowError, TypeError, ValueError)


def size_of(path: str, document: Mapping[str, Any]) -> int:
    """Return the number of bytes that a document takes as BSON.

    Raises:
        InvalidValueError: It cannot be BSON at all.
    """
    try:
        return len(bson.encode(document))
    except (BSONError, OverflowError, RecursionError, UnicodeError) as error:
        raise InvalidValueError(path, f"cannot be stored ({type(error).__name__})") from None


def check_size(what: str, document: Mapping[str, Any], limit: int = MAX_VALUE_BYTES) -> int:
    """Return how many bytes something takes, unless it is more than a limit, by default that of a document.

    Raises:
        DocumentTooLargeError: It does.
        InvalidValueError: It cannot be BSON at all.
    """
    if (size := size_of(what, document)) > limit:
        raise DocumentTooLargeError(what, size, limit)
    return size


def fields_of(error: Exception) -> tuple[str, ...]:
    """Return the names of the fields that do not fit, without their values."""
    if not isinstance(error, ValidationError):
        return ()
    return tuple(sorted({".".join(map(str, detail["loc"])) for detail in error.errors(include_input=False)}))


def given(path: str, value: Any, model: type[V]) -> V:
    """Return `value`, which must be one of ours.

    Raises:
        InvalidValueError: It is of another type.
    """
    if not isinstance(value, model):
        raise InvalidValueError(path, f"must be a {model.__name__}, not {type(value).__name__}")
    return value


def record(kind: str, id: str, data: Mapping[str, Any], **names: str) -> Raw:
    """Return the stored form of something with an id of its own, the names that find it, and its data.

    Raises:
        InvalidValueError: One of them cannot be stored.
        DocumentTooLargeError: It takes more than a document can hold.
    """
    return sized(
        f"{kind} {id!r}",
        {
            "_id": check_id("id", id),
            **{name: check_id(name, value) for name, value in names.items()},
            "data": pack_object("data", data),
            "schema_version": SCHEMA_VERSION,
        },
    )


def sized(what: str, stored: Raw) -> Raw:
    """Return a document that is not too large.

    Raises:
        DocumentTooLargeError: It takes more than a document can hold.
    """
    check_size(what, stored)
    return stored


def read_as(kind: str, raw: Raw, read: Callable[[], V]) -> V:
    """Return what `read` makes of a stored document.

    Raises:
        InvalidDocumentError: It does not fit the model.
    """
    try:
        return read()
    except UNREADABLE as error:
        raise InvalidDocumentError(kind, str(raw.get("_id")), fields_of(error)) from None
