"""RoomKit's tables in PostgreSQL, whose columns are brought into the JSON that its SQLite file has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from mongostore.importers.sources import SourceError
from mongostore.importers.tables import Row, Tables

_TABLES = ("rooms", "events", "bindings", "participants", "tasks", "observations", "voice_deliveries")
# These have such JSON.
_PLAIN = ("verifications", "verification_requests")
# The columns that have other names than the members, or are of the table alone.
_RENAMED = {"is_group": "group"}
_OWN = {"row_id", "key_hash"}
_SOURCE, _EXTRA = "source_", "source_extra"


def add_documents(tables: Tables, fields_of: Callable[[str], set[str]]) -> None:
    """Add to each row of a copy the record that it is.

    Args:
        tables: The copy.
        fields_of: Returns the members of RoomKit's records of a table.
    """
    for table in (*_TABLES, "identities"):
        if table not in tables.names:
            continue
        known = fields_of(table)
        for column in tables.columns(table):
            is_known = _RENAMED.get(column, column) in known or column in _OWN
            if not is_known and not (table == "events" and column.startswith(_SOURCE)):
                raise SourceError(f"the source's table {table!r} has the unknown column {column!r}")
        read = partial(_to_json, table, tables.types(table))
        tables.set_column(table, "data", read)
    tables.set_column("events", "idx", lambda row: row["index"])


def _to_json(table: str, types: dict[str, str], row: Row) -> str:
    members: dict[str, Any] = {}
    for column, value in row.items():
        if column not in _OWN:
            read = None if value is None else _reader_of(types.get(column, ""))
            members[_RENAMED.get(column, column)] = read(value) if read else value
    if table == "events":
        extra = members.pop(_EXTRA)
        names = [name for name in members if name.startswith(_SOURCE)]
        members["source"] = {name.removeprefix(_SOURCE): members.pop(name) for name in names} | extra
    return json.dumps(members)


def _reader_of(type_name: str) -> Callable[[str], Any] | None:
    if type_name.startswith("JSON") or type_name.endswith("[]"):
        return json.loads
    # Such as 2026-07-04 12:00:00+00.
    return (lambda text: datetime.fromisoformat(text).isoformat()) if type_name.startswith("TIME") else None
