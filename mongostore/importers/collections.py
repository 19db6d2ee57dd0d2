"""Sources that are MongoDB collections, on a server or in dumps: copied and grouped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mongostore.engines.foreign import (
    from_extended_json,
    hosts_and_database,
    read_bson,
    read_collection,
    to_plain,
)
from mongostore.errors import InvalidDocumentError
from mongostore.importers.json_files import TornError, iter_items
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import temporary_folder

_ROWS = 500


class Collections:
    """Documents of some collections, in their natural order, grouped by a member.

    Args:
        reading: The source: a URI, a folder of dumps, or the dump of one collection beside those of others.
        keys: The member by which each collection is grouped.
        orders: The number by which the documents of a key are ordered; else by their natural order.
        database: The database of a server, unless the URI or the options name one.
    """

    def __init__(
        self,
        reading: Reading,
        keys: Mapping[str, str],
        *,
        database: str,
        orders: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._reading = reading
        folder = temporary_folder(reading)
        self._copy = sqlite3.connect(folder / "source.db", check_same_thread=False)
        reading.stack.callback(self._copy.close)
        self._keys = dict(keys)
        for number, (name, key) in enumerate(keys.items()):
            self._copy.execute(
                f"CREATE TABLE c{number} (row_id INTEGER PRIMARY KEY, key TEXT, number REAL, document BLOB)"
            )
            rows = self._rows(name, key, orders.get(name), database)
            while batch := list(islice(rows, _ROWS)):
                self._copy.executemany(
                    f"INSERT INTO c{number} (key, number, document) VALUES (?, ?, ?)", batch
                )
            self._copy.execute(f"CREATE INDEX k{number} ON c{number} (key, number)")

    def iter(self, name: str, key: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the documents of a collection, those with a key if there is one."""
        sql = f"SELECT document FROM {self._table(name)}"
        rows = (
            self._copy.execute(f"{sql} ORDER BY row_id")
            if key is None
            else self._copy.execute(f"{sql} WHERE key = ? ORDER BY number, row_id", (_key(key),))
        )
        for (document,) in rows:
            yield to_plain(document)

    def keys(self, name: str, *, without: str | None = None) -> Iterator[Any]:
        """Yield the keys of a collection, each at its first document; None for documents without one.

        Args:
            name: The collection.
            without: Another collection, whose keys are left out.
        """
        sql = f"SELECT key, min(row_id) AS row_id FROM {self._table(name)}"
        if without is not None:
            sql += f" WHERE key NOT IN (SELECT key FROM {self._table(without)} WHERE key IS NOT NULL)"
        for key, _ in self._copy.execute(f"{sql} GROUP BY key ORDER BY row_id"):
            yield None if key is None else json.loads(key)

    def has_key(self, name: str, key: Any) -> bool:
        """Return whether a collection has documents with a key."""
        sql = f"SELECT 1 FROM {self._table(name)} WHERE key = ? LIMIT 1"
        return self._copy.execute(sql, (_key(key),)).fetchone() is not None

    def count_keys(self, name: str) -> int:
        """Return the number of different keys of a collection."""
        (count,) = self._copy.execute(f"SELECT count(DISTINCT key) FROM {self._table(name)}").fetchone()
        return int(count)

    def _table(self, name: str) -> str:
        return f"c{[*self._keys].index(name)}"

    def _rows(
        self, name: str, key: str, order: str | None, database: str
    ) -> Iterator[tuple[str | None, float | None, bytes]]:
        for document in self._documents(name, database):
            try:
                members = to_plain(document)
            except InvalidDocumentError:
                self._reading.report.refuse(name, "", "is no readable document")
                continue
            value, number = members.get(key), members.get(order) if order else None
            if not isinstance(number, int | float):
                number = None
            yield None if value is None else _key(value), number, document

    def _documents(self, name: str, database: str) -> Iterator[bytes]:
        location, options = self._reading.location, self._reading.options
        if location.startswith(("mongodb://", "mongodb+srv://")):
            _, named = hosts_and_database(location)
            return read_collection(location, options.database or named or database, name)
        return self._dumped(name, _find_dump(self._reading, name, single=len(self._keys) == 1))

    def _dumped(self, name: str, path: Path) -> Iterator[bytes]:
        if path.suffix == ".bson":
            try:
                yield from read_bson(path)
            except InvalidDocumentError:
                self._reading.report.refuse(name, path.name, "ends in a torn document")
            return
        with path.open("rb") as file:
            is_list = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
            file.seek(0)
            lines = _list_items(self._reading, name, file) if is_list else enumerate(file, 1)
            for number, text in lines:
                line = text.removeprefix(b"\xef\xbb\xbf").strip()
                if not line:
                    continue
                try:
                    yield from_extended_json(line)
                except InvalidDocumentError:
                    self._reading.report.refuse(name, f"line {number}", "is no Extended JSON of a document")


def time_of_id(id: Any) -> datetime | None:
    """Return the second that an ObjectId in hexadecimal text names."""
    if isinstance(id, str) and len(id) == 24:
        try:
            return datetime.fromtimestamp(int(id[:8], 16), UTC)
        except ValueError:
            return None
    return None


def _list_items(reading: Reading, name: str, file: Any) -> Iterator[tuple[int, bytes]]:
    try:
        for number, item in enumerate(iter_items(file)):
            yield number, json.dumps(item).encode()
    except TornError as error:
        reading.report.refuse(name, "", str(error))


def _find_dump(reading: Reading, name: str, *, single: bool) -> Path:
    """Return the dump of a collection: the named file, or one beside it, or one in the named folder."""
    path = reading.path
    if path.is_file() and (single or path.stem == name):
        return path
    folder = path if path.is_dir() else path.parent
    suffixes = (".bson", ".jsonl", ".json") if path.is_dir() else (path.suffix,)
    for suffix in suffixes:
        if (file := folder / f"{name}{suffix}").is_file():
            return file
    raise SourceError(f"there is no dump of the collection {name!r} at {reading.location}")


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
