"""What all values have in common: how they are declared, how ids are minted, how lists are paged."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Self, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from mongostore.errors import InvalidDocumentError

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list.

    Attributes:
        items: What was found, in the order the verb promises.
        next_cursor: Where the next page starts; None on the last page.
        errors: Stored documents of this page that could not be read; the others are in `items`.
    """

    items: list[T]
    next_cursor: str | None = None
    errors: list[InvalidDocumentError] = field(default_factory=list)
