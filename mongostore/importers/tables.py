"""Sources that are SQL tables, read from a copy in SQLite: the source itself is never written nor locked."""

from __future__ import annotations

import codecs
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from mongostore.importers.postgres import TYPES, copy_dump, copy_server
from mongostore.importers.sources import Reading, SourceError

_MAGIC = b"SQLite format 3\0"
_ATTEMPTS = 5
Row = dict[str, Any]


class Tables:
    """The tables of a source.

    Args:
        database: The copy.
        path: Where it is.
        is_postgres: Whether the tables came from PostgreSQL.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, *, is_postgres: bool = False) -> None:
        self._database = database
        self.path = path
        self.is_postgres = is_postgres
        database.text_factory = _to_text
        self.names: set[str] = {
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }

    def close(self) -> None:
        """Leave the copy, which may be opened again."""
        self._database.close()

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns."""
        return [row[1] for row in self._database.execute(f"PRAGMA table_info({quote(table)})")]

    def types(self, table: str) -> dict[str, str]:
        """Return the declared types of a table's columns, in capitals."""
        if self.is_postgres:
            sql = f"SELECT column_name, type_name FROM {TYPES} WHERE table_name = ?"
            rows = self._database.execute(sql, (table,))
        else:
            rows = self._database.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
        return {name: type_name.upper() for name, type_name in rows}

    def add_function(self, name: str, function: Callable[[Any], Any]) -> None:
        """Make a function of one argument known to queries."""
        self._database.create_function(name, 1, function, deterministic=True)

    def require(self, tables: Mapping[str, Sequence[str]]) -> None:
        """Check that tables have the columns by which they are known."""
        for table, wanted in tables.items():
            if table not in self.names:
                raise SourceError(f"the source has no table {table!r}")
            if missing := sorted(set(wanted) - set(self.columns(table))):
                raise SourceError(f"the source's table {table!r} has no column {missing[0]!r}")

    def rows(self, sql: str, *values: Any) -> Iterator[Row]:
        """Yield the rows of a query, each as a dict."""
        with_names = self._database.execute(sql, values)
        names = [column[0] for column in with_names.description]
        for row in with_names:
            yield dict(zip(names, row, strict=True))

    def set_column(self, table: str, column: str, of_row: Callable[[Row], Any]) -> None:
        """Set a column of the copy, added if it is not there, to a value of each row."""
        if column not in self.columns(table):
            self._database.execute(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(column)}")
        update = f"UPDATE {quote(table)} SET {quote(column)} = ? WHERE rowid = ?"
        for row in self.rows(f"SELECT rowid AS row_id, * FROM {quote(table)}"):
            self._database.execute(update, (of_row(row), row["row_id"]))

    def index(self, table: str, column: str) -> None:
        """Index a column of the copy, which the source may not have done."""
        name = quote(f"mongostore {table} {column}")
        self._database.execute(f"CREATE INDEX {name} ON {quote(table)} ({quote(column)})")

    def has_values(self, table: str, column: str) -> bool:
        """Return whether a column is not NULL in all rows."""
        sql = f"SELECT 1 FROM {quote(table)} WHERE {quote(column)} IS NOT NULL LIMIT 1"
        return self._database.execute(sql).fetchone() is not None

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        (count,) = self._database.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()
        return int(count)


def open_tables(reading: Reading, names: Collection[str]) -> Tables:
    """Return the tables of an SQLite file, a PostgreSQL server or a dump of one.

    Args:
        reading: The source.
        names: The tables that are copied from PostgreSQL.
    """
    copy = temporary_folder(reading) / "source.db"
    is_server = reading.location.startswith(("postgres://", "postgresql://"))
    is_file = not is_server and is_sqlite(reading.path)
    if is_server:
        copy_server(reading.location, copy, names)
    elif is_file:
        _copy(reading.path, copy)
    else:
        copy_dump(reading.path, copy, names)
    return open_copy(reading, copy, is_postgres=not is_file)


def open_copy(reading: Reading, path: Path, *, is_postgres: bool = False) -> Tables:
    """Return the tables of a copy."""
    # Read in threads, but by one at a time.
    database = sqlite3.connect(path, check_same_thread=False)
    reading.stack.callback(database.close)
    try:
        return Tables(database, path, is_postgres=is_postgres)
    except sqlite3.DatabaseError:
        raise SourceError(f"{reading.location} cannot be read as an SQLite database") from None


def temporary_folder(reading: Reading) -> Path:
    """Return a folder that is deleted when the import ends."""
    folder = tempfile.TemporaryDirectory(prefix="mongostore-import-")
    return Path(reading.stack.enter_context(folder))


def quote(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def is_sqlite(path: Path) -> bool:
    """Return whether a file is an SQLite database."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _copy(path: Path, copy: Path) -> None:
    """Copy a database with what its program has not yet moved into it."""
    for attempt in range(_ATTEMPTS):
        time.sleep(attempt * 0.2)
        before = _state(path)
        for suffix in ("", "-wal", "-journal"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        if _state(path) == before:
            return
    raise SourceError(f"{path.name} changes while it is copied: stop the program that writes to it")


def _state(path: Path) -> list[tuple[int, int] | None]:
    state: list[tuple[int, int] | None] = []
    for suffix in ("", "-wal", "-journal"):
        try:
            stat = Path(f"{path}{suffix}").stat()
        except FileNotFoundError:
            state.append(None)
        else:
            state.append((stat.st_size, stat.st_mtime_ns))
    return state


def _read_wrong_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    # SQLite keeps what it was given; half surrogate pairs come from other languages' bindings.
    try:
        return codecs.lookup_error("surrogatepass")(error)
    except UnicodeDecodeError:
        return codecs.lookup_error("backslashreplace")(error)


# By name, so that a text is read without a call of Python's.
codecs.register_error("mongostore.sqlite", _read_wrong_bytes)
_to_text: Final = partial(str, encoding="utf-8", errors="mongostore.sqlite")
