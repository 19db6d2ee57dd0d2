"""RoomKit: its SQLite file, in each version that the installed one can bring to its own, and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from mongostore.errors import ConfigurationError, InvalidValueError
from mongostore.importers.report import Report, read_row
from mongostore.importers.roomkit_postgres import add_documents
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import Row, Tables, open_copy, open_tables
from mongostore.importers.units import RecordUnit, RoomUnit, Unit
from mongostore.models import Event

_ROOMS = {"rooms": ("id", "delivered_index", "data"), "events": ("id", "room_id", "idx", "data")}
_OF_ROOMS = (
    *("events", "bindings", "participants", "tasks", "observations"),
    *("read_markers", "voice_deliveries", "private_state", "event_sequences"),
)
_RECORDS = ("identities", "verifications", "verification_requests")
_POSTGRES = ("rooms", *_OF_ROOMS, "identity_addresses", *_RECORDS)
_POSTGRES_COLUMNS = {
    **dict.fromkeys(_POSTGRES, ()),
    "rooms": ("id", "delivered_index", "timers"),
    "events": ("id", "room_id", "index", "source_channel_id"),
}


def read(reading: Reading) -> Generator[Unit]:
    """Yield the identities, verifications and rooms, in the order of their rows."""
    tables = open_tables(reading, _POSTGRES)
    if "rooms" not in tables.names or "events" not in tables.names:
        raise SourceError("the source has no rooms of RoomKit")
    try:
        from mongostore.adapters.roomkit import sqlite_file
    except ImportError:
        raise ConfigurationError(
            "RoomKit is missing: pip install 'mongostore[roomkit]', which needs Python 3.12 or later"
        ) from None
    if tables.is_postgres:
        tables.require(_POSTGRES_COLUMNS)
        add_documents(tables, sqlite_file.fields_of)
        for table in _OF_ROOMS:
            tables.index(table, "room_id")
    else:
        tables.close()
        sqlite_file.migrate(tables.path)
        tables = open_copy(reading, tables.path)
        tables.require(_ROOMS)
    source = _Source(tables, reading.report, sqlite_file)
    reading.total = tables.count("rooms") + sum(map(tables.count, _RECORDS))
    yield from source.records()
    yield from source.rooms()
    source.report_orphans()


class _Source:
    def __init__(self, tables: Tables, report: Report, records: Any) -> None:
        self._tables = tables
        self._report = report
        self._records = records

    def records(self) -> Iterator[RecordUnit]:
        for table in _RECORDS:
            for row in self._tables.rows(f"SELECT rowid AS row_id, * FROM {table} ORDER BY rowid"):
                columns = {"channel_addresses": self._addresses(row["id"])} if table == "identities" else {}
                if (record := self._read(table, row, **columns)) is not None:
                    yield RecordUnit(record)

    def rooms(self) -> Iterator[RoomUnit]:
        for row in self._tables.rows("SELECT rowid AS row_id, * FROM rooms ORDER BY rowid"):
            members = self._read("rooms", row, delivered_index=row["delivered_index"])
            if members is None:
                continue
            room_id = row["id"]
            sql = "SELECT next_index FROM event_sequences WHERE room_id = ?"
            for sequence in self._tables.rows(sql, room_id):
                members["next_index"] = sequence["next_index"]
            yield RoomUnit(
                id=room_id,
                members=members,
                events=self._events(room_id),
                private=self._private(room_id),
                bindings=self._parts("bindings", room_id),
                participants=self._parts("participants", room_id),
                tasks=self._parts("tasks", room_id),
                observations=self._parts("observations", room_id),
                read_markers={
                    one["channel_id"]: one["event_index"] for one in self._of_room("read_markers", room_id)
                },
                voice_deliveries=self._parts("voice_deliveries", room_id),
            )

    def report_orphans(self) -> None:
        for table in _OF_ROOMS:
            sql = f"SELECT rowid AS row_id, * FROM {table} WHERE room_id NOT IN (SELECT id FROM rooms)"
            for row in self._tables.rows(sql):
                self._report.leave_out(table, row.get("id", row["row_id"]), "its room does not exist")

    def _events(self, room_id: str) -> Iterator[Event]:
        for row in self._tables.rows("SELECT * FROM events WHERE room_id = ? ORDER BY idx", room_id):
            try:
                yield self._records.read_event(row["data"], room_id, row["idx"])
            except InvalidValueError as error:
                self._report.refuse("events", row["id"], str(error))

    def _parts(self, table: str, room_id: str) -> list[Any]:
        parts = (self._read(table, row) for row in self._of_room(table, room_id))
        return [part for part in parts if part is not None]

    def _private(self, room_id: str) -> dict[str, Any]:
        """Return the private values of a room; null is as good as absent."""
        values = {
            row["key"]: read_row(self._report, "private_state", row["key"], partial(json.loads, row["value"]))
            for row in self._of_room("private_state", room_id)
        }
        return {key: value for key, value in values.items() if value is not None}

    def _of_room(self, table: str, room_id: str) -> Iterator[Row]:
        return self._tables.rows(
            f"SELECT rowid AS row_id, * FROM {table} WHERE room_id = ? ORDER BY rowid", room_id
        )

    def _addresses(self, identity_id: str) -> dict[str, list[str]]:
        """Return the addresses of an identity from the table of links, which decides."""
        addresses: dict[str, list[str]] = {}
        sql = "SELECT * FROM identity_addresses WHERE identity_id = ? ORDER BY rowid"
        for row in self._tables.rows(sql, identity_id):
            addresses.setdefault(row["channel_type"], []).append(row["address"])
        return addresses

    def _read(self, table: str, row: Row, **columns: Any) -> Any:
        key = row.get("id", row["row_id"])
        try:
            read = partial(self._records.read_record, table, row["data"], **columns)
            return read_row(self._report, table, key, read)
        except InvalidValueError as error:
            self._report.refuse(table, key, str(error))
            return None
