"""The report of an import: counts by noun, a digest a unit, and each row that is not stored as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    DocumentTooLargeError,
    InvalidDocumentError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
)
from mongostore.importers.units import Refusal

# A source with more rows that are named is named in its numbers; the command prints each.
MAX_ROWS = 10_000
T = TypeVar("T")
Outcome = Literal["new", "known", "changed"]
# What concerns one unit alone; all else ends the import.
REFUSALS = (
    AlreadyExistsError,
    ConflictError,
    DocumentTooLargeError,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)


# The errors of a reader that meets a row that is none of its format. Ours are among their subclasses.
UNREADABLE = (LookupError, TypeError, ValueError, sqlite3.Error)


def reason_of(error: Exception) -> str:
    """Return why a row cannot be read, without anything that is stored in it."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{error.title}.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"it is not of the source's format ({type(error).__name__})"


def read_row(report: Report, table: str, key: object, read: Callable[[], T]) -> T | None:
    """Return the value that a row is read as; None, with the row refused, if it is not of the format."""
    try:
        return read()
    except MongoStoreError:
        raise
    except UNREADABLE as error:
        report.refuse(table, key, reason_of(error))
        return None


class RefusedError(Exception):
    """A unit is not stored as it is in the source; the text is the reason."""


@dataclass
class Counts:
    """The numbers of one noun.

    Attributes:
        new: Stored by this import, or, in a dry run, would be.
        known: Stored already.
        changed: Stored already, with other members, which were updated.
        refused: Not stored.
    """

    read: int = 0
    new: int = 0
    known: int = 0
    changed: int = 0
    refused: int = 0


@dataclass
class Rows:
    """Rows of a source, the first of which are kept."""

    count: int = 0
    first: list[Refusal] = field(default_factory=list)


class Report:
    """The result of an import. It holds ids and reasons, never what people said.

    Args:
        tell: Called with the kind and each row that is refused, stored otherwise or left out.
        has_digests: Whether to keep the digest of each unit, in `digests`.

    Attributes:
        counts: By noun, such as `sessions` and `messages`.
        refused: Rows that are not stored.
        warnings: Rows that are stored in another form than they had, or whose parts are missing.
        left_out: Rows that are not stored on purpose.
        digests: The sha256 of each unit, the same in the source and in the store.
        verified: The number of units that were read back and found equal.
    """

    def __init__(
        self, tell: Callable[[str, Refusal], None] | None = None, *, has_digests: bool = False
    ) -> None:
        self.counts: dict[str, Counts] = {}
        self.refused: Rows = Rows()
        self.warnings: Rows = Rows()
        self.left_out: Rows = Rows()
        self.digests: dict[str, str] | None = {} if has_digests else None
        self.verified: int = 0
        self._tell = tell
        self._is_muted = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing was refused."""
        return not self.refused.count

    def of(self, noun: str) -> Counts:
        """Return the counts of a noun."""
        return self.counts.setdefault(noun, Counts())

    def refuse(self, table: str, key: object, reason: str) -> None:
        """Name a row that is not stored."""
        self._add("refused", table, key, reason)

    def warn(self, table: str, key: object, reason: str) -> None:
        """Name a row that is stored in another form, or without a part that is missing."""
        self._add("warnings", table, key, reason)

    def leave_out(self, table: str, key: object, reason: str) -> None:
        """Name a row that is not stored on purpose."""
        self._add("left_out", table, key, reason)

    def add_digest(self, key: str, digest: str) -> None:
        """Keep the digest of a unit, if digests are kept."""
        if self.digests is not None:
            self.digests[key] = digest

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Name no row inside: these were named before."""
        self._is_muted = True
        try:
            yield
        finally:
            self._is_muted = False

    def to_json(self, *, rows: int = MAX_ROWS) -> dict[str, Any]:
        """Return the report as JSON has it, with so many rows of each kind."""
        return {
            "counts": {noun: asdict(counts) for noun, counts in self.counts.items()},
            **{
                kind: {"count": found.count, "first": [asdict(row) for row in found.first[:rows]]}
                for kind, found in self._rows().items()
            },
            "verified": self.verified,
        }

    def load(self, stored: dict[str, Any]) -> None:
        """Go on with a report that `to_json` returned."""
        self.counts = {noun: Counts(**counts) for noun, counts in stored["counts"].items()}
        for kind, found in self._rows().items():
            found.count = stored[kind]["count"]
            found.first = [Refusal(**row) for row in stored[kind]["first"]]
        self.verified = stored["verified"]

    def _rows(self) -> dict[str, Rows]:
        return {"refused": self.refused, "warnings": self.warnings, "left_out": self.left_out}

    def _add(self, kind: str, table: str, key: object, reason: str) -> None:
        if self._is_muted:
            return
        row, found = Refusal(table, str(key), reason), self._rows()[kind]
        found.count += 1
        if len(found.first) < MAX_ROWS:
            found.first.append(row)
        if self._tell is not None:
            self._tell(kind, row)
