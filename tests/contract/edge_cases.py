"""Values that no caller means well with, or that no database likes, and what may become of them."""

from __future__ import annotations

import asyncio
import base64
import math
import re
from collections.abc import Awaitable
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st

from mongostore import InvalidValueError


class Colour(StrEnum):
    """A text with a name."""

    RED = "red"


class Loud(str):
    """A text of a type of its own."""

    __slots__ = ()


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"k": [value]}
    return value


NASTY = [
    {"$ref": "c", "$id": 1},
    {"$where": "1", "a.b": {"$set": {}}},
    {"__json__": "1"},
    {"__json__": 1, "other": 2},
    "$_id",
    "$$NOW",
    2**63,
    -(2**63) - 1,
    10**400,
    [1, 1.0, True, -0.0],
    "half \ud800 pair",
    "\0",
    deep(40),
    deep(150),
    {"nan": math.inf},
    [[], {}, [[]], ""],
    {str(n): n for n in range(500)},
]


async def refused(*calls: Awaitable[object]) -> list[InvalidValueError]:
    """Await every call and return its error, which has to be that of a refused value."""
    outcomes = [outcome for call in calls for outcome in await asyncio.gather(call, return_exceptions=True)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, InvalidValueError)]
    assert errors == outcomes
    return errors


def same(one: object, other: object) -> bool:
    """Equal in value and in type, so that 1, 1.0 and True are three things."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


NO_IDS: list[Any] = [
    re.compile("s"),
    {"$ne": None},
    None,
    5,
    b"s",
    ["s"],
    Colour.RED,
    Loud("s"),
    "\ud800",
    "x" * 513,
    True,
]

BOTTOMLESS = base64.urlsafe_b64encode(b"[" * 100_000).decode()
CURSORS = [
    BOTTOMLESS,
    "",
    "x",
    "e30=",
    "WzEsMl0=",
    "ÿ",
    "\ud800",
    5,
    {"$gt": ""},
    "bnVsbA==",
    "WzEsICJhIiwgMl0=",
]

ODD_KEYS = ["a.b", "$set", "$ref", "$id", "_id", "", "\0", "é", "0", "__json__", "%2E;", "%", "\ud800"]

KEYS = st.one_of(st.sampled_from(ODD_KEYS), st.text(st.characters(), max_size=8))

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=False),
    st.text(st.characters(), max_size=20),
)

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)

OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
