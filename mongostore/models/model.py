"""The base of the models, and pages of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, Literal, TypedDict, TypeVar, get_args, overload

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from mongostore.errors import InvalidDocumentError

T = TypeVar("T")

# Pydantic builds under a lock of its own: a process that is forked meanwhile would wait for it for ever.
_BUILDING: Final = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_BUILDING.acquire, after_in_parent=_BUILDING.release, after_in_child=_BUILDING.release
    )

ListOrder = Literal["active", "created"]
"""The order of a list: by newest activity, or by creation, which never changes."""


class Search(TypedDict, total=False):
    """The filters that lists of sessions, threads and rooms share; None is as good as absent.

    Attributes:
        text: Words in the name or in one message, in its content, its parts, tool calls and their results;
            case and accents make no difference. A word of three letters or more is found as the beginning of
            one, too; what is no word, such as punctuation, is looked for as it is.
        metadata: Each of these keys has this value, compared as Python compares.
        since: Active at this time or later; created, where the order is `created`.
        until: Active before this time; likewise.
        participant_id: A participant of the session or room; the user or owner of the thread.
    """

    text: str | None
    metadata: dict[str, Any] | None
    since: datetime | None
    until: datetime | None
    participant_id: str | None


class Model(BaseModel):
    """A plain value: no document, cursor or driver type is among its members."""

    # A misspelt member is an error, and an error must not carry what the user said. Few programs use all of
    # the models, and to build their validators takes longer than to import them.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )

    @classmethod
    def model_rebuild(
        cls,
        *,
        force: bool = False,
        raise_errors: bool = True,
        _parent_namespace_depth: int = 2,
        _types_namespace: Mapping[str, Any] | None = None,
    ) -> bool | None:
        """Build the validator, as Pydantic does at the first use of a model; no fork comes between."""
        with _BUILDING:
            return super().model_rebuild(
                force=force,
                raise_errors=raise_errors,
                _parent_namespace_depth=_parent_namespace_depth + 1,
                _types_namespace=_types_namespace,
            )


class Page(Generic[T]):
    """A part of a list: iterable, with a length and indexes.

    It may be short, even empty, and not be the last one.

    Args:
        items: The entities, in the order that the verb promises.
        next_cursor: The `cursor=` of the next page; None on the last one.
        errors: The stored documents of this page that cannot be read.
    """

    __slots__: ClassVar = ("errors", "items", "next_cursor")

    def __init__(
        self,
        items: list[T],
        next_cursor: str | None = None,
        errors: list[InvalidDocumentError] | None = None,
    ) -> None:
        self.items: list[T] = items
        self.next_cursor: str | None = next_cursor
        self.errors: list[InvalidDocumentError] = [] if errors is None else errors

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.items[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Page):
            return NotImplemented
        return (self.items, self.next_cursor, self.errors) == (other.items, other.next_cursor, other.errors)

    def __repr__(self) -> str:
        return f"<Page of {len(self)}{'' if self.next_cursor is None else ', more follow'}>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of `items` and `next_cursor`, so that FastAPI can return pages."""
        (item,) = get_args(source) or (Any,)
        members = core_schema.typed_dict_schema(
            {
                "items": core_schema.typed_dict_field(handler.generate_schema(list[item])),  # type: ignore[valid-type]  # known now
                "next_cursor": core_schema.typed_dict_field(handler.generate_schema(str | None)),
            }
        )
        return core_schema.no_info_after_validator_function(
            lambda page: cls(**page),
            core_schema.no_info_before_validator_function(_members_of, members),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _members_of, return_schema=members
            ),
        )


def _members_of(page: Any) -> Any:
    """Return a page as pydantic reads and writes it; anything else as it is."""
    if isinstance(page, Page):
        return {"items": page.items, "next_cursor": page.next_cursor}
    return page
