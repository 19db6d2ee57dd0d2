"""The types of the members of models, each with the codec of its stored form.

Strict validation reads the stored form, as in `mongostore.documents.mapping`; other validation takes the
values of callers. Strictness is the one switch that pydantic passes on to nested models at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from mongostore.arguments import check_flag, check_id, check_list, check_text, check_vote
from mongostore.codec import (
    decode,
    decode_members,
    encode,
    encode_members,
    encode_object,
    escape_key,
    from_micros,
    to_micros,
    unescape_key,
)
from mongostore.errors import InvalidValueError


# By identity: a type behind `| None` must have a hash.
@dataclass(frozen=True, eq=False)
class Codec:
    """How values of a type are stored.

    Attributes:
        write: Returns the stored form of a value; raises `InvalidValueError` with the path of the value.
        read: Returns the schema of the stored form from that of the value; None if they are the same.
    """

    write: Callable[[str, Any], Any]
    read: Callable[[CoreSchema], CoreSchema] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that reads the stored form where it is validated strictly."""
        schema = handler(source)
        if self.read is None:
            return schema
        return core_schema.lax_or_strict_schema(schema, self.read(schema))


class _Aware:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.datetime_schema(tz_constraint="aware")


class StoreOwned:
    """Marks a member that only the store changes: it is read, but a caller's value is not written."""


def _decoded(decode: Callable[[Any], Any]) -> Callable[[CoreSchema], CoreSchema]:
    return lambda schema: core_schema.no_info_before_validator_function(decode, schema)


def _read_time(schema: CoreSchema) -> CoreSchema:
    return core_schema.union_schema(
        # A datetime too, so that others may validate strictly as well.
        [core_schema.no_info_after_validator_function(_to_time, core_schema.int_schema()), schema],
        mode="left_to_right",
        # One error, not one for each of the two.
        custom_error_type="stored_time",
        custom_error_message="Input should be microseconds since 1970",
        serialization=core_schema.simple_ser_schema("datetime"),
    )


def _to_time(stored: int) -> datetime:
    try:
        return from_micros(stored)
    except OverflowError:
        raise ValueError("is no time between the years 1 and 9999") from None


def _read_json(schema: CoreSchema) -> CoreSchema:
    # Most contents are texts, which need no call.
    return core_schema.union_schema(
        [core_schema.str_schema(), core_schema.no_info_plain_validator_function(decode)],
        mode="left_to_right",
        custom_error_type="stored_json",
        custom_error_message="Input should be a stored JSON value",
        serialization=core_schema.simple_ser_schema("any"),
    )


def _write_texts(path: str, value: Any) -> list[str]:
    check_list(path, value)
    return [check_text(f"{path}[{number}]", text) for number, text in enumerate(value)]


def _write_ids(path: str, value: Any) -> list[str]:
    check_list(path, value)
    return [check_id(path, id) for id in value]


def _write_lists(path: str, value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        raise InvalidValueError(path, f"must be a dict, not {type(value).__name__}")
    return {escape_key(check_text(path, key)): _write_ids(path, ids) for key, ids in value.items()}


def _read_lists(stored: Any) -> Any:
    return {unescape_key(key): ids for key, ids in stored.items()} if isinstance(stored, dict) else stored


def _read_map(stored: Any) -> Any:
    return decode_members(stored) if isinstance(stored, dict) else stored


def _write_name(path: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise InvalidValueError(path, f"must be a string, not {type(value).__name__}")
    return encode(path, value)


def organization_key(organization_id: str | None) -> str:
    """Return the stored form of an organization, which is empty for none.

    Raises:
        InvalidValueError: If it is no plain string.
    """
    return "" if organization_id is None else check_id("organization_id", organization_id)


Time = Annotated[datetime, _Aware(), Codec(to_micros, _read_time)]
Id = Annotated[str, Codec(check_id)]
Text = Annotated[str, Codec(check_text)]
Vote = Annotated[int, Codec(check_vote)]
Flag = Annotated[bool, Codec(check_flag)]
Ids = Annotated[list[str], Codec(_write_ids)]
Texts = Annotated[list[str], Codec(_write_texts)]
# A text that may hold half a surrogate pair.
AnyText = Annotated[str, Codec(_write_name, _decoded(decode))]
# What belongs to an organization or to none, and is looked up by which.
Scope = Annotated[
    str | None, Codec(lambda path, value: organization_key(value), _decoded(lambda stored: stored or None))
]
JsonValue = Annotated[Any, Codec(encode, _read_json)]
# A dict that is replaced whole.
JsonObject = Annotated[dict[str, Any], Codec(encode_object, _decoded(decode))]
# A dict that is merged key by key, so that each key must fit into an update path.
MergedMap = Annotated[dict[str, Any], Codec(encode_members, _decoded(_read_map))]
Addresses = Annotated[dict[str, list[str]], Codec(_write_lists, _decoded(_read_lists))]
