"""Tables of PostgreSQL, from a server or from what `pg_dump` wrote, copied into an SQLite file."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from mongostore.errors import ConfigurationError
from mongostore.importers.sources import SourceError

_CREATE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(?:\w+\.)?(\"[^\"]+\"|\w+) \(")
_COLUMN = re.compile(r"\s+(\"[^\"]+\"|\w+) ([^,]+?)(?: DEFAULT | NOT NULL|,|$)")
_COPY = re.compile(r"COPY (?:\w+\.)?(\"[^\"]+\"|\w+) \((.*)\) FROM stdin;")
_INSERT = re.compile(r"INSERT INTO (?:\w+\.)?(\"[^\"]+\"|\w+) (?:\(([^)]*)\) )?VALUES\s*")
_VALUE = re.compile(r"\s*(?:(E?)'((?:[^']|'')*)'(?:::[\w\" .\[\]]+)?|([^\s,();']+)|([(),;]))")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(N|[0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_ARRAY_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)')
_ROWS = 500
# Where the copy says which types the columns had.
TYPES = "mongostore_types"

Values = list[str | None]


def copy_dump(path: Path, copy: Path, names: Collection[str]) -> None:
    """Copy tables from a dump, with `COPY` or with `INSERT`, in its order."""
    with (
        closing(sqlite3.connect(copy)) as database,
        database,
        path.open(encoding="utf-8-sig", newline="\n") as lines,
    ):
        target = _Target(database, names)
        is_dump = False
        for line in lines:
            if found := _CREATE.match(line):
                is_dump = True
                target.create(_unquote(found[1]), dict(_columns(lines)))
            elif found := _COPY.match(line):
                columns = [_unquote(name) for name in found[2].split(", ")]
                target.insert(_unquote(found[1]), columns, _copied_rows(lines))
            elif line.startswith("INSERT INTO "):
                statement, quotes = [line], line.count("'")
                while quotes % 2 or not statement[-1].rstrip().endswith(";"):
                    if not (more := next(lines, "")):
                        raise SourceError(f"{path.name} ends in the middle of a row")
                    statement.append(more)
                    quotes += more.count("'")
                target.insert_statement("".join(statement))
        if not is_dump:
            raise SourceError(f"{path.name} is neither an SQLite database nor a dump of PostgreSQL")


def copy_server(uri: str, copy: Path, names: Collection[str]) -> None:
    """Copy tables from a server, as they are at one moment, each in the order of its rows in the heap."""
    try:
        import psycopg
    except ImportError:
        raise ConfigurationError(
            "PostgreSQL needs another package: pip install 'mongostore[postgres]'"
        ) from None
    try:
        with psycopg.connect(uri) as server, closing(sqlite3.connect(copy)) as database, database:
            server.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            server.read_only = True
            target = _Target(database, names)
            for name in names:
                columns: dict[str, str] = dict(server.execute(_TYPES, (name,)).fetchall())
                if not columns:
                    continue
                target.create(name, columns)
                table = psycopg.sql.Identifier(name)
                query = psycopg.sql.SQL("COPY (SELECT * FROM {} ORDER BY ctid) TO STDOUT").format(table)
                with server.cursor().copy(query) as rows:
                    target.insert(name, [*columns], map(list, rows.rows()))
    except psycopg.Error as error:
        # A driver's own words may hold the password.
        reason = type(error).__name__
        if type(error) is psycopg.OperationalError:
            reason = "no server answers there, or it refuses the user or the database"
        raise SourceError(f"PostgreSQL cannot be read: {reason}") from None


_TYPES = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
    WHERE a.attrelid = to_regclass(quote_ident(%s)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


class _Target:
    def __init__(self, database: sqlite3.Connection, names: Collection[str]) -> None:
        self._database = database
        self._names = names
        self._types: dict[str, dict[str, str]] = {}
        database.execute(f"CREATE TABLE {TYPES} (table_name, column_name, type_name)")

    def create(self, table: str, types: dict[str, str]) -> None:
        """Create a table without types, so that values stay as they are."""
        self._types[table] = types
        if table in self._names:
            self._database.execute(f"CREATE TABLE {_quote(table)} ({', '.join(map(_quote, types))})")
            rows = [(table, name, type_name) for name, type_name in types.items()]
            self._database.executemany(f"INSERT INTO {TYPES} VALUES (?, ?, ?)", rows)

    def insert(self, table: str, columns: Iterable[str], rows: Iterable[Values]) -> None:
        """Insert rows whose values are PostgreSQL's texts."""
        names = [*columns]
        types = self._types.get(table, {})
        reads = [_reader_of(types.get(name, "text")) for name in names]
        placeholders = ", ".join("?" * len(names))
        statement = f"INSERT INTO {_quote(table)} ({', '.join(map(_quote, names))}) VALUES ({placeholders})"
        each = iter(rows)
        while batch := list(islice(each, _ROWS)):
            if table in self._names:
                read = (
                    [
                        None if value is None else convert(value)
                        for convert, value in zip(reads, row, strict=True)
                    ]
                    for row in batch
                )
                self._database.executemany(statement, read)

    def insert_statement(self, statement: str) -> None:
        """Insert the rows of an `INSERT` statement."""
        found = _INSERT.match(statement)
        if found is None or (table := _unquote(found[1])) not in self._names:
            return
        named = found[2]
        columns = [_unquote(name.strip()) for name in named.split(",")] if named else [*self._types[table]]
        self.insert(table, columns, _inserted_rows(statement, found.end()))


def read_array(text: str) -> list[str | None]:
    """Return the items of an array of one dimension, such as `{a,"b c",NULL}`."""
    return [
        None if item[2] == "NULL" else re.sub(r"\\(.)", r"\1", item[1]) if item[2] is None else item[2]
        for item in _ARRAY_ITEM.finditer(text.strip()[1:-1])
    ]


def _columns(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line.startswith(")"):
            return
        if (found := _COLUMN.match(line)) and found[1] not in ("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN"):
            yield _unquote(found[1]), found[2]


def _copied_rows(lines: Iterator[str]) -> Iterator[Values]:
    for line in lines:
        if line == "\\.\n":
            return
        yield [None if value == "\\N" else _unescape(value) for value in line.rstrip("\n").split("\t")]


def _inserted_rows(statement: str, start: int) -> Iterator[Values]:
    values: Values = []
    for found in _VALUE.finditer(statement, start):
        escaped, text, word, sign = found.groups()
        if sign == "(":
            values = []
        elif sign == ")":
            yield values
        elif sign == ";":
            return
        elif word is not None:
            values.append(None if word.upper() == "NULL" else word)
        elif sign is None:
            text = text.replace("''", "'")
            values.append(_unescape(text) if escaped else text)


def _reader_of(type_name: str) -> Callable[[str], Any]:
    if type_name.endswith("[]"):
        return lambda text: json.dumps(read_array(text))
    if type_name == "boolean":
        return lambda text: int(text in ("t", "true"))
    if type_name in ("integer", "bigint", "smallint"):
        return int
    if type_name in ("double precision", "real") or type_name.startswith("numeric"):
        return float
    return str


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "01234567":
        return chr(int(code, 8))
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unquote(name: str) -> str:
    return name.strip('"')
