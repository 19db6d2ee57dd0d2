"""What may be stored, and that it comes back equal."""

from __future__ import annotations

import base64
import inspect
import json
import math
import sys
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any, TypedDict

import bson
import pytest
from bson.int64 import Int64

from mongostore import arguments, codec
from mongostore.errors import InvalidValueError
from mongostore.ids import GeneratedId

HALF_A_PAIR = "a\ud800b"


class Text(str):
    __slots__ = ()


class Colour(StrEnum):
    RED = "red"


class Rank(IntEnum):
    FIRST = 1


class Ratio(float):
    pass


class Members(TypedDict, total=False):
    title: str
    tags: list[str]


def nested(levels: int) -> Any:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("text", ["", "a", "é", "\U0001f600", "\0", "a" * 100_000])
def test_a_plain_string_is_a_text(text: str) -> None:
    assert arguments.check_text("role", text) is text


def test_a_generated_id_becomes_a_plain_string() -> None:
    generated = GeneratedId()

    text = arguments.check_text("id", generated)

    assert type(text) is str
    assert text == generated


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "NoneType"), (1, "int"), (b"a", "bytes"), (Text("a"), "Text")]
)
def test_what_is_no_plain_string_is_no_text(value: object, kind: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        arguments.check_text("role", value)

    assert (refused.value.path, refused.value.reason) == ("role", f"must be a plain string, not {kind}")


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(InvalidValueError, match=r"^role: holds half a surrogate pair") as refused:
        arguments.check_text("role", HALF_A_PAIR)

    assert HALF_A_PAIR not in str(refused.value)


@pytest.mark.parametrize("text", ["", "a" * 512, "é" * 256])
def test_an_id_has_at_most_512_bytes(text: str) -> None:
    assert arguments.check_id("id", text) == text


@pytest.mark.parametrize("text", ["a" * 513, "é" * 257, "a" + "é" * 256])
def test_an_id_of_more_than_512_bytes_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^session_id: is longer than 512 bytes$"):
        arguments.check_id("session_id", text)


def test_an_id_is_a_text() -> None:
    with pytest.raises(InvalidValueError, match=r"^id: must be a plain string, not int$"):
        arguments.check_id("id", 1)


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_limit_is_from_1_to_1000(limit: int) -> None:
    assert arguments.check_limit("limit", limit) == limit


@pytest.mark.parametrize("limit", [0, -1, 1001, True, 1.0, "1", None])
def test_any_other_limit_is_refused(limit: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^limit: must be an integer from 1 to 1000$"):
        arguments.check_limit("limit", limit)


@pytest.mark.parametrize("offset", [0, 1, 2**62 - 1])
def test_an_offset_is_an_integer_from_0(offset: int) -> None:
    assert arguments.check_offset("offset", offset) == offset


@pytest.mark.parametrize("offset", [-1, 2**62, False, 0.0, "0", None])
def test_any_other_offset_is_refused(offset: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^offset: must be an integer from 0$"):
        arguments.check_offset("offset", offset)


@pytest.mark.parametrize("flag", [True, False])
def test_true_and_false_are_flags(flag: bool) -> None:
    assert arguments.check_flag("rising", flag) is flag


@pytest.mark.parametrize(("value", "kind"), [(1, "int"), (0, "int"), ("", "str"), (None, "NoneType")])
def test_any_other_flag_is_refused(value: object, kind: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^rising: must be True or False, not {kind}$"):
        arguments.check_flag("rising", value)


@pytest.mark.parametrize("value", [[], (), ["a"], ("a",)])
def test_a_list_or_a_tuple_is_a_list(value: object) -> None:
    arguments.check_list("ids", value)


@pytest.mark.parametrize(
    ("value", "kind"), [("abc", "str"), ({"a"}, "set"), ({}, "dict"), (None, "NoneType")]
)
def test_any_other_list_is_refused(value: object, kind: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^ids: must be a list, not {kind}$"):
        arguments.check_list("ids", value)


@pytest.mark.parametrize(
    "position",
    [0, 7, 2**63 - 1],
)
def test_a_position_is_an_integer_from_0(position: int) -> None:
    assert arguments.check_position("after", position) == position


@pytest.mark.parametrize(
    "value", [-1, 2**63, True, 1.0, None, "", "0", "42", "-1", "1.0", " 1", "٣", "²", "1" * 19]
)
def test_any_other_position_is_refused(value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^after: must be a position"):
        arguments.check_position("after", value)


def test_members_are_copied() -> None:
    sent = {"title": "x"}

    checked = arguments.check_members(sent, Members)

    assert checked == sent
    assert checked is not sent


def test_a_member_of_another_name_is_refused_and_the_names_told() -> None:
    with pytest.raises(InvalidValueError, match=r"^titel: is none of title, tags$"):
        arguments.check_members({"title": "x", "titel": "y"}, Members)


@pytest.mark.parametrize("fields", [[], [0, "a"], [-1, {"a": "é", "b": ""}], [None, "/+?="]])
def test_a_token_gives_its_fields_back(fields: list[Any]) -> None:
    token = arguments.encode_cursor(fields)

    assert arguments.decode_cursor(token) == fields
    assert all(character.isalnum() or character in "-_=" for character in token)


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        b"W10=",
        "",
        "é",
        "W10",
        base64.urlsafe_b64encode(b"[1").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode(),
        base64.urlsafe_b64encode(b"[" * 200_000).decode(),
    ],
    ids=["none", "number", "bytes", "empty", "not ascii", "cut", "no json", "no text", "too deep"],
)
def test_what_is_no_token_has_no_fields(token: object) -> None:
    assert arguments.decode_cursor(token) is None


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 0, 0, 1, 2, tzinfo=UTC), 1_000_002),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253_402_300_799_999_999),
    ],
)
def test_times_are_stored_to_the_microsecond(time: datetime, micros: int) -> None:
    assert codec.to_micros("at", time) == micros
    assert codec.from_micros(micros) == time
    assert codec.from_micros(micros).tzinfo is UTC


@pytest.mark.parametrize(
    "time",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
        datetime.min.replace(tzinfo=timezone(timedelta(minutes=1))),
    ],
    ids=["year-10000", "year-0"],
)
def test_a_time_of_a_year_that_utc_does_not_have_is_refused(time: datetime) -> None:
    with pytest.raises(InvalidValueError, match=r"^at: must be between the years 1 and 9999 of UTC$"):
        codec.to_micros("at", time)


@pytest.mark.parametrize("time", [datetime(2026, 1, 1), "2026-01-01", 0, None])
def test_a_time_without_a_zone_is_refused(time: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^at: must be a datetime with a time zone$"):
        codec.to_micros("at", time)


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (253_402_300_799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (-62_135_596_800, datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_whole_seconds_are_a_time(seconds: int, time: datetime) -> None:
    assert codec.from_seconds("created_at", seconds) == time


@pytest.mark.parametrize("seconds", [253_402_300_800, -62_135_596_801, 10**15, 10**400])
def test_seconds_out_of_the_calendar_are_refused(seconds: int) -> None:
    with pytest.raises(InvalidValueError, match=r"^created_at: is no time in seconds"):
        codec.from_seconds("created_at", seconds)


@pytest.mark.parametrize("seconds", [1.5, True, "0", None])
def test_seconds_are_an_integer(seconds: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^created_at: must be an integer of seconds"):
        codec.from_seconds("created_at", seconds)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**63 - 1,
        0.5,
        math.inf,
        "",
        "text é \0",
        [],
        {},
        {"a": [1, {"größe": None, "a b": "c"}], "_id": 1},
        {"a.b": 1, "$a": {"$set": {"": [{".": None}]}}, "": "empty", "$first": 1},
        {"$ref": "a"},
        nested(100),
    ],
)
def test_what_bson_can_hold_is_stored_as_it_is(value: object) -> None:
    encoded = codec.encode("data", value)

    assert encoded is value
    assert codec.decode(bson.decode(bson.encode({"v": encoded}))["v"]) == value


def as_json(value: object) -> dict[str, str]:
    return {codec.JSON_TAG: json.dumps(value)}


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (2**63, as_json(2**63)),
        (-(2**63) - 1, as_json(-(2**63) - 1)),
        (HALF_A_PAIR, as_json(HALF_A_PAIR)),
        ([HALF_A_PAIR, None], [as_json(HALF_A_PAIR), None]),
        ({"a.b": [2**63, "c"], "$d": {}}, {"a.b": [as_json(2**63), "c"], "$d": {}}),
        ({"a": {"b\0": [1]}}, {"a": as_json({"b\0": [1]})}),
        ([{"\udfff": 1}, 2], [as_json({"\udfff": 1}), 2]),
        ({codec.JSON_TAG: "1"}, as_json({codec.JSON_TAG: "1"})),
        ({"a": {codec.JSON_TAG: "no json"}}, {"a": as_json({codec.JSON_TAG: "no json"})}),
        ({"a": {"$ref": "b", "$id": 1}}, {"a": as_json({"$ref": "b", "$id": 1})}),
        ([2**63, {codec.JSON_TAG: 1}], [as_json(2**63), as_json({codec.JSON_TAG: 1})]),
    ],
    ids=repr,
)
def test_of_what_bson_cannot_hold_the_smallest_part_is_stored_as_json(value: Any, stored: Any) -> None:
    encoded = codec.encode("data", value)

    assert encoded == stored
    assert codec.decode(bson.decode(bson.encode({"v": encoded}))["v"]) == value


@pytest.mark.parametrize("levels", [101, 400])
def test_what_is_nested_deeper_than_bson_allows_is_json_from_there(levels: int) -> None:
    encoded = codec.encode("data", nested(levels))

    for _ in range(100):
        (encoded,) = encoded
    assert encoded == as_json(nested(levels - 100))
    assert codec.decode(codec.encode("data", nested(levels))) == nested(levels)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Text("a"), "a"),
        (Colour.RED, "red"),
        (Rank.FIRST, 1),
        (Ratio(0.5), 0.5),
        (OrderedDict(a=[Text("b")]), {"a": ["b"]}),
    ],
)
def test_an_instance_of_a_subclass_is_stored_as_what_it_says(value: object, plain: object) -> None:
    encoded = codec.encode("data", value)

    assert encoded == plain
    assert type(encoded) is type(plain)


def test_an_instance_of_a_subclass_that_bson_cannot_hold_is_stored_as_json() -> None:
    encoded = codec.encode("data", Text(HALF_A_PAIR))

    assert encoded == {codec.JSON_TAG: '"a\\ud800b"'}
    assert codec.decode(encoded) == HALF_A_PAIR


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({1}, "data", "set is not a JSON value"),
        ((1,), "data", "tuple is not a JSON value"),
        ({"a": [0, b"x"]}, "data.a[1]", "bytes is not a JSON value"),
        ([{"a": {"b": object()}}], "data[0].a.b", "object is not a JSON value"),
        ({1: "a"}, "data", "has a key that is no plain string but int"),
        ([{Text("k"): "a"}], "data[0]", "has a key that is no plain string but Text"),
        ({"k" * 41: {1}}, "data." + "k" * 40 + "…", "set is not a JSON value"),
        ({"k" * 40: {1}}, "data." + "k" * 40, "set is not a JSON value"),
        ({"\ud800": {1}}, "data.?", "set is not a JSON value"),
        ([2**14_000], "data[0]", "is an integer of more than 4,200 digits"),
        (nested(401), "data" + "[0]" * 20 + "…", "is nested deeper than 400 levels"),
    ],
)
def test_what_json_cannot_say_is_refused_and_its_place_told(value: object, path: str, reason: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        codec.encode("data", value)

    assert (refused.value.path, refused.value.reason) == (path, reason)


def test_a_path_of_twenty_steps_is_told_whole() -> None:
    value: Any = {1}
    for _ in range(20):
        value = [value]

    with pytest.raises(InvalidValueError) as refused:
        codec.encode("data", value)

    assert refused.value.path == "data" + "[0]" * 20


def test_the_largest_integer_comes_back() -> None:
    value = 2**14_000 - 1

    assert codec.decode(codec.encode("data", value)) == value


def test_a_value_too_deep_for_the_stack_that_is_left_is_refused() -> None:
    def at_depth(left: int) -> InvalidValueError:
        if left:
            return at_depth(left - 1)
        with pytest.raises(InvalidValueError) as refused:
            codec.encode("data", value)
        return refused.value

    value = nested(300)
    assert codec.decode(codec.encode("data", value)) == value

    error = at_depth(sys.getrecursionlimit() - len(inspect.stack(0)) - 150)

    assert (error.path, error.reason) == ("data", "is nested too deep for so deep a call")


def test_integers_of_64_bits_come_back_plain() -> None:
    value = {"n": 2**40, "l": [2**41, [2**42]], "d": {"n": -(2**50)}}
    stored = {"n": Int64(2**40), "l": [Int64(2**41), [Int64(2**42)]], "d": {"n": Int64(-(2**50))}}

    decoded = codec.decode(stored)

    assert decoded == value
    assert {type(decoded["n"]), type(decoded["l"][0]), type(decoded["l"][1][0])} == {int}
    assert type(decoded["d"]["n"]) is int
    assert type(codec.decode(Int64(3))) is int


def test_a_dict_is_encoded_as_an_object() -> None:
    assert codec.encode_object("data", {"a": 1}) == {"a": 1}
    assert codec.encode_object("data", {"a\0": 1}) == as_json({"a\0": 1})


@pytest.mark.parametrize("pack", [codec.encode_object, codec.encode_members])
@pytest.mark.parametrize(("value", "kind"), [([], "list"), (None, "NoneType"), ("{}", "str")])
def test_an_object_is_a_dict(pack: Any, value: object, kind: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^metadata: must be a dict, not {kind}$"):
        pack("metadata", value)


def test_members_come_back_whatever_their_keys() -> None:
    members = {"": 1, "a.b": {"$c": 2}, "%": "p", "%2E;": None, "$set": [2**63], HALF_A_PAIR: HALF_A_PAIR}

    encoded = codec.encode_members("metadata", members)

    assert list(encoded) == ["%;", "a%2E;b", "%25;", "%25;2E;", "%24;set", "a%D800;b"]
    assert codec.decode_members(bson.decode(bson.encode(encoded))) == members


@pytest.mark.parametrize("key", [1, None, Text("a")])
def test_a_member_has_a_plain_string_as_its_key(key: object) -> None:
    with pytest.raises(InvalidValueError, match=r"^metadata: has a key that is no plain string but"):
        codec.encode_members("metadata", {key: 1})


def test_the_place_of_a_refused_member_is_told() -> None:
    with pytest.raises(InvalidValueError) as refused:
        codec.encode_members("metadata", {"a": 1, "tags": [0, {1}]})

    assert refused.value.path == "metadata.tags[1]"


@pytest.mark.parametrize(
    ("key", "escaped"),
    [
        ("plain", "plain"),
        ("größe", "größe"),
        ("", "%;"),
        (".", "%2E;"),
        ("$", "%24;"),
        ("\0", "%0;"),
        ("%", "%25;"),
        ("%;", "%25;;"),
        ("\udfff", "%DFFF;"),
        ("a.b.c", "a%2E;b%2E;c"),
    ],
)
def test_a_key_is_escaped_to_one_step_of_a_path(key: str, escaped: str) -> None:
    assert codec.escape_key(key) == escaped
    assert codec.unescape_key(escaped) == key


@pytest.mark.parametrize(
    ("content", "preview"),
    [
        ("", ""),
        ("short", "short"),
        ("x" * 200, "x" * 200),
        ("x" * 200 + "y", "x" * 200),
        (HALF_A_PAIR, "a?b"),
        ([{"text": "a"}, {"text": "b"}], "a b"),
        ([{"text": "a"}, "b", None, {"image": "c"}, {"text": 4}, {"text": "d"}], "a d"),
        ([{"text": "x" * 150}, {"text": "y" * 150}], "x" * 150 + " " + "y" * 49),
        ([], ""),
        ({"text": "a"}, ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_preview_is_the_first_200_characters_a_person_would_read(content: object, preview: str) -> None:
    assert codec.preview_text(content) == preview
