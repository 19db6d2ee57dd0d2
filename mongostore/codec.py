"""The encoding of JSON values and times for BSON, from which they come back equal."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.int64 import Int64

from mongostore.errors import InvalidValueError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# MongoDB refuses documents nested deeper than 180 levels; the message around a value takes a few of them.
NATIVE_DEPTH = 100
MAX_DEPTH = 400
# Python reads and writes integers of at most 4,300 digits.
MAX_INT_BITS = 14_000
JSON_TAG = "__json__"
PREVIEW_CHARACTERS = 200

_UNSAFE_IN_PATH = re.compile("[%.$\0\ud800-\udfff]")
_ESCAPE = re.compile("%([0-9A-F]*);")
FIRST_MICROS, LAST_MICROS = (
    (one.replace(tzinfo=UTC) - EPOCH) // MICROSECOND for one in (datetime.min, datetime.max)
)


def to_micros(path: str, value: object) -> int:
    """Return an aware datetime as microseconds since 1970, the form in which times are stored."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidValueError(path, "must be a datetime with a time zone")
    micros = (value - EPOCH) // MICROSECOND
    # Its own zone may have a year that cannot be read again.
    if not FIRST_MICROS <= micros <= LAST_MICROS:
        raise InvalidValueError(path, "must be between the years 1 and 9999 of UTC")
    return micros


def from_micros(value: int) -> datetime:
    """Return the aware UTC datetime of `value` microseconds since 1970."""
    return EPOCH + MICROSECOND * value


def from_seconds(path: str, value: object) -> datetime:
    """Return the aware UTC datetime of whole seconds since 1970."""
    if type(value) is not int:
        raise InvalidValueError(path, "must be an integer of seconds since 1970")
    try:
        return EPOCH + timedelta(seconds=value)
    except OverflowError:
        raise InvalidValueError(path, "is no time in seconds between the years 1 and 9999") from None


def encode(path: str, value: object) -> Any:
    """Return `value` as it is stored: itself, with JSON text for the parts that BSON cannot hold."""
    try:
        return value if _fits_bson(value, 0) else _to_plain(value, 0)
    except _UnencodableError as error:
        trail = "".join([*reversed(error.trail[-20:]), "…" if len(error.trail) > 20 else ""])
        raise InvalidValueError(path + trail, error.reason) from None
    except RecursionError:
        raise InvalidValueError(path, "is nested too deep for so deep a call") from None


def decode(stored: Any) -> Any:
    """Return the value that `encode` took, with integers as plain as JSON's.

    The driver reads those of 64 bits as a kind of its own.
    """
    kind = type(stored)
    if kind is dict or kind is list:
        return stored if _is_decoded(stored) else _decode_parts(stored)
    return int(stored) if kind is Int64 else stored


def _is_decoded(stored: Any) -> bool:
    if type(stored) is dict:
        if JSON_TAG in stored:
            return False
        stored = stored.values()
    for item in stored:
        kind = type(item)
        if kind is str:
            continue
        if kind is Int64 or ((kind is dict or kind is list) and item and not _is_decoded(item)):
            return False
    return True


def _decode_parts(stored: Any) -> Any:
    kind = type(stored)
    if kind is dict:
        if JSON_TAG in stored:
            return json.loads(stored[JSON_TAG])
        return {key: _decode_parts(item) for key, item in stored.items()}
    if kind is list:
        return [_decode_parts(item) for item in stored]
    return int(stored) if kind is Int64 else stored


def encode_object(path: str, value: object) -> Any:
    """Return a dict in the form that is stored, as `encode` does."""
    if not isinstance(value, dict):
        raise InvalidValueError(path, f"must be a dict, not {type(value).__name__}")
    return encode(path, value)


def encode_members(path: str, members: object) -> dict[str, Any]:
    """Return a dict ready to be stored key by key: keys escaped so that any can stand in an update path."""
    if not isinstance(members, dict):
        raise InvalidValueError(path, f"must be a dict, not {type(members).__name__}")
    encoded = {}
    for key, value in members.items():
        if type(key) is not str:
            raise InvalidValueError(path, f"has a key that is no plain string but {type(key).__name__}")
        # Most of what is stored, told without a call and a path for each.
        is_plain = value is None or (type(value) is str and value.isascii())
        encoded[escape_key(key)] = value if is_plain else encode(f"{path}.{_shorten(key)}", value)
    return encoded


def decode_members(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the dict that `encode_members` took."""
    return {unescape_key(key): decode(value) for key, value in stored.items()}


def escape_key(key: str) -> str:
    """Return `key` in a form that is one step of a MongoDB path."""
    if key.isidentifier():
        return key
    return _UNSAFE_IN_PATH.sub(lambda match: f"%{ord(match[0]):X};", key) or "%;"


def unescape_key(key: str) -> str:
    """Return the key that `escape_key` took."""
    if "%" not in key:
        return key
    try:
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else "", key)
    except OverflowError:
        raise ValueError("has a key of no character") from None


def is_same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are one: 1, 1.0 and true are three, but NaN is NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if any(isinstance(one, kind) is not isinstance(other, kind) for kind in (bool, float)):
        return False
    return bool(one == other or (one != one and other != other))


def preview_text(content: object) -> str:
    """Return the first 200 characters that a person would read in a message's content."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = " ".join(text for text in parts if isinstance(text, str))
    if not isinstance(content, str):
        return ""
    return content[:PREVIEW_CHARACTERS].encode(errors="replace").decode()


class _UnencodableError(Exception):
    # The path grows while the walk unwinds: building it on the way down would cost every good value.
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.trail: list[str] = []


def _fits_bson(value: Any, depth: int) -> bool:
    """Return whether BSON holds `value` as it is, refusing what JSON cannot say."""
    kind = type(value)
    if kind is str:
        return is_encodable(value)
    if kind is int:
        return _is_native_int(value)
    if value is None or kind is bool or kind is float:
        return True
    if not isinstance(value, dict | list):
        if isinstance(value, str | int | float):
            # A subclass, which JSON text reduces to the plain value.
            return False
        raise _UnencodableError(f"{kind.__name__} is not a JSON value")
    if depth >= MAX_DEPTH:
        raise _UnencodableError(f"is nested deeper than {MAX_DEPTH} levels")
    native = depth < NATIVE_DEPTH and kind in (dict, list)
    is_map = isinstance(value, dict)
    if is_map and _is_tagged(value):
        native = False
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if is_map and not _is_plain_key(key):
            native = False
        # Most of what is stored, told without a call for each.
        if item is None or (type(item) is str and item.isascii()):
            continue
        try:
            native = _fits_bson(item, depth + 1) and native
        except _UnencodableError as error:
            error.trail.append(f".{_shorten(key)}" if isinstance(key, str) else f"[{key}]")
            raise
    return native


def _to_plain(value: Any, depth: int) -> Any:
    """Return a copy in which JSON text stands for the smallest parts that BSON cannot hold."""
    if depth < NATIVE_DEPTH:
        if isinstance(value, list):
            return [_to_plain(item, depth + 1) for item in value]
        if isinstance(value, dict) and not _is_tagged(value) and all(map(_is_plain_key, value)):
            return {key: _to_plain(item, depth + 1) for key, item in value.items()}
    if not isinstance(value, dict | list):
        if _fits_bson(value, depth):
            return value
        # An instance of a subclass is stored as what it says, so that a query finds it.
        plain = json.loads(json.dumps(value))
        if _fits_bson(plain, depth):
            return plain
    return {JSON_TAG: json.dumps(value)}


def _is_tagged(value: Any) -> bool:
    """Return whether a dict would be read back as something else: as JSON text, or as the driver's DBRef."""
    return JSON_TAG in value or ("$ref" in value and "$id" in value)


def _is_native_int(value: int) -> bool:
    if value.bit_length() > MAX_INT_BITS:
        raise _UnencodableError("is an integer of more than 4,200 digits")
    return -(2**63) <= value < 2**63


def _is_plain_key(key: object) -> bool:
    if type(key) is not str:
        raise _UnencodableError(f"has a key that is no plain string but {type(key).__name__}")
    # An identifier is told at a fraction of the cost.
    return key.isidentifier() or ("\0" not in key and is_encodable(key))


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can hold a text, which it cannot where it has half a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shorten(key: str) -> str:
    return (key if len(key) <= 40 else key[:40] + "…").encode(errors="replace").decode()
