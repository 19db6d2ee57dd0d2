"""Checks of arguments: ids, limits, flags, positions and cursors."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mongostore.codec import encode_members, escape_key, is_encodable
from mongostore.errors import InvalidValueError
from mongostore.ids import GeneratedId

MAX_ID_BYTES = 512
MAX_LIMIT = 1000


def check_text(path: str, value: object) -> str:
    """Return `value`, a plain string that can be stored."""
    if type(value) is GeneratedId:
        return str(value)
    if type(value) is not str:
        raise InvalidValueError(path, f"must be a plain string, not {type(value).__name__}")
    if not is_encodable(value):
        raise InvalidValueError(path, "holds half a surrogate pair, which no UTF-8 text can")
    return value


def check_id(path: str, value: object) -> str:
    """Return `value`, an id: a plain string of at most 512 bytes of UTF-8."""
    text = check_text(path, value)
    if len(text.encode()) > MAX_ID_BYTES:
        raise InvalidValueError(path, f"is longer than {MAX_ID_BYTES} bytes")
    return text


def check_optional_id(path: str, value: object) -> str | None:
    """Return `value`, an id or None."""
    return None if value is None else check_id(path, value)


def check_int(path: str, value: object, start: int, stop: int, fault: str) -> int:
    """Return `value`, an integer from `start` to before `stop`."""
    if type(value) is not int or not start <= value < stop:
        raise InvalidValueError(path, fault)
    return value


def check_limit(path: str, value: object) -> int:
    """Return `value`, a number of items to return: an integer from 1 to 1000."""
    return check_int(path, value, 1, MAX_LIMIT + 1, f"must be an integer from 1 to {MAX_LIMIT}")


def check_offset(path: str, value: object) -> int:
    """Return `value`, a number of items to pass over: an integer from 0."""
    return check_int(path, value, 0, 2**62, "must be an integer from 0")


def check_flag(path: str, value: object) -> bool:
    """Return `value`, which is True or False."""
    if type(value) is not bool:
        raise InvalidValueError(path, f"must be True or False, not {type(value).__name__}")
    return value


def check_vote(path: str, value: object) -> int:
    """Return `value`, that of a feedback: an integer of at most 64 bits."""
    return check_int(path, value, -(2**63), 2**63, "must be an integer of at most 64 bits")


def check_list(path: str, value: object) -> None:
    """Refuse what is no list (or tuple) where several things are asked for."""
    if not isinstance(value, list | tuple):
        raise InvalidValueError(path, f"must be a list, not {type(value).__name__}")


def check_position(path: str, value: object) -> int:
    """Return `value`, a position: an integer from 0."""
    return check_int(path, value, 0, 2**63, "must be a position, an integer from 0")


def check_members(members: Mapping[str, Any], allowed: type) -> dict[str, Any]:
    """Return a copy of `members`, whose names are those of a TypedDict."""
    for name in members:
        if name not in allowed.__annotations__:
            raise InvalidValueError(name, f"is none of {', '.join(allowed.__annotations__)}")
    return dict(members)


def check_unset(paths: Sequence[str], members: Sequence[str]) -> list[tuple[str, str]]:
    """Return the member and the key that each path of `unset` names."""
    check_list("unset", paths)
    split = [path.partition(".") if type(path) is str else ("", "", "") for path in paths]
    for number, (name, dot, _) in enumerate(split):
        if name not in members or not dot:
            expected = " or ".join(f"{member}.<key>" for member in members)
            raise InvalidValueError(f"unset[{number}]", f"must be {expected}")
    return [(name, key) for name, _, key in split]


def check_create(create: object) -> dict[str, Any] | None:
    """Return the members with which a missing parent is created; None if it is not."""
    if not isinstance(create, bool | dict):
        raise InvalidValueError("create", "must be True, False or a dict of members")
    return create if isinstance(create, dict) else {} if create else None


def take_metadata(members: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Take `metadata` and `unset` out of the members of an update, by the rule that all updates share.

    Returns:
        The metadata to set, encoded, and the keys to remove, both by escaped keys.
    """
    metadata, unset = encode_members("metadata", members.pop("metadata", {})), members.pop("unset", None)
    if unset is None:
        removed = dict.fromkeys(key for key, value in metadata.items() if value is None)
    else:
        keys = (escape_key(key) for _, key in check_unset(unset, ["metadata"]))
        # A key that is set besides has its value from there.
        removed = dict.fromkeys(key for key in keys if key not in metadata)
    return {key: value for key, value in metadata.items() if key not in removed}, [*removed]


def encode_cursor(fields: list[Any]) -> str:
    """Return JSON values as an opaque text that callers keep and hand back."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def decode_cursor(cursor: object) -> Any:
    """Return the fields that `encode_cursor` took, None for any other text."""
    if not isinstance(cursor, str):
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, RecursionError):
        return None
