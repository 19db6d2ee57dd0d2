"""What all values have in common: how they are declared, how ids are minted, how lists are paged."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, overload
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from mongostore.errors import InvalidDocumentError

T = TypeVar("T")

ListOrder = Literal["active", "created"]

NEW_SECONDS = 3.0


class MintedId(str):
    """A new id, which knows whether it was used: an unused one need not be looked for before it is stored.

    All copies of a message share its id and so this knowledge. In another process it counts as used,
    and so it does after a few seconds: it may have gone somewhere as text, and come from there.
    """

    __slots__ = ("_unused_in",)
    _unused_in: list[tuple[int, float]]

    def __new__(cls) -> Self:
        """Mint an id."""
        minted = super().__new__(cls, uuid4().hex)
        minted._unused_in = [(os.getpid(), time.monotonic())]
        return minted

    def use(self) -> bool:
        """Return whether this is the first use; of calls in several threads only one is."""
        try:
            process, minted_at = self._unused_in.pop()
        except IndexError:
            return False
        return process == os.getpid() and time.monotonic() - minted_at < NEW_SECONDS

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        self.use()
        return str, (str(self),)


class Value(BaseModel):
    """A plain value: no document, cursor or driver type is among its members."""

    # A validation error must not carry what the user said.
    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)


class Page(Generic[T]):
    """A part of a list: iterable, with a length and indexes.

    It may be short, even empty, and not be the last one.

    Args:
        items: The entities, in the order that the verb promises.
        next_cursor: The `cursor=` of the next page; None on the last one.
        errors: The stored documents of this page that cannot be read.
    """

    __slots__ = ("errors", "items", "next_cursor")

    def __init__(
        self,
        items: list[T],
        next_cursor: str | None = None,
        errors: list[InvalidDocumentError] | None = None,
    ) -> None:
        self.items = items
        self.next_cursor = next_cursor
        self.errors = [] if errors is None else errors

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

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return f"<Page of {len(self)}{'' if self.next_cursor is None else ', more follow'}>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of `items` and `next_cursor`, so that FastAPI can return pages."""
        (item,) = get_args(source) or (Any,)
        members = core_schema.typed_dict_schema(
            {
                "items": core_schema.typed_dict_field(handler.generate_schema(list[item])),  # type: ignore[valid-type]
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
