"""Chainlit's layers: SQLAlchemy's, in SQLite and PostgreSQL, and the official one, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mongostore.errors import ConfigurationError
from mongostore.importers.chainlit_parts import to_element, to_feedback, vote_of
from mongostore.importers.columns import Columns
from mongostore.importers.report import read_row
from mongostore.importers.sources import Reading
from mongostore.importers.tables import Row, Tables, open_tables, quote
from mongostore.importers.units import FileUnit, ThreadUnit, Unit, UserUnit
from mongostore.importers.values import from_text
from mongostore.models import Element, ThreadMessage


@dataclass(frozen=True)
class _Layer:
    """The names of a layer's tables and columns.

    Attributes:
        required: The tables of users, threads, steps, elements and feedback, with the columns that they need.
        of_step: The column of elements and feedback that names their step.
        time: The column of a step's time.
        of_thread, not_in_step, not_in_element: The columns that do not go into the data.
    """

    required: dict[str, tuple[str, ...]]
    of_step: str
    time: str
    of_thread: tuple[str, ...]
    not_in_step: tuple[str, ...]
    not_in_element: tuple[str, ...]


_OF_THREAD = ("id", "createdAt", "name", "userId", "userIdentifier", "tags", "metadata")
# The columns of users and of feedback: there is nowhere to keep any other.
_TAKEN = {
    *("id", "identifier", "metadata", "createdAt", "updatedAt"),
    *("forId", "stepId", "threadId", "name", "value", "comment"),
}
_SQLALCHEMY = _Layer(
    required={
        "users": ("id", "identifier"),
        "threads": ("id",),
        "steps": ("id", "threadId", "type", "output"),
        "elements": ("id", "threadId", "forId"),
        "feedbacks": ("id", "forId", "value"),
    },
    of_step="forId",
    time="createdAt",
    of_thread=_OF_THREAD,
    not_in_step=("id", "threadId", "parentId", "output"),
    not_in_element=("id", "threadId", "forId"),
)
_OFFICIAL = _Layer(
    required={
        "User": ("id", "identifier", "createdAt"),
        "Thread": ("id", "createdAt", "deletedAt", "userId"),
        "Step": ("id", "threadId", "type", "output", "startTime"),
        "Element": ("id", "threadId", "stepId"),
        "Feedback": ("id", "stepId", "value", "createdAt"),
    },
    of_step="stepId",
    time="startTime",
    of_thread=(*_OF_THREAD, "updatedAt", "deletedAt"),
    not_in_step=("id", "threadId", "parentId", "output", "startTime", "endTime", "updatedAt"),
    not_in_element=("id", "threadId", "stepId", "createdAt", "updatedAt"),
)


def read(reading: Reading) -> Generator[Unit]:
    """Yield the users and the threads, in the order of their rows."""
    tables = open_tables(reading, [*_SQLALCHEMY.required, *_OFFICIAL.required])
    is_official = "Thread" in tables.names and "threads" not in tables.names
    source = _OfficialSource(reading, tables) if is_official else _Source(reading, tables, _SQLALCHEMY)
    yield from source.users()
    yield from source.threads()
    source.report_orphans()


class _Source:
    """The tables of SQLAlchemy's layer.

    Args:
        reading: The source.
        tables: Its tables.
        layer: Their names.
        zone: The zone of times that name none, but for those of steps, which have UTC.
    """

    def __init__(self, reading: Reading, tables: Tables, layer: _Layer, zone: tzinfo = UTC) -> None:
        tables.require(layer.required)
        self._reading = reading
        self._report = reading.report
        self._tables = tables
        self._layer = layer
        self._zone = zone
        self._users, self._threads, self._steps, self._elements, self._feedback = layer.required
        self._columns = {table: Columns(tables, table, reading.report) for table in layer.required}
        for table, column in (
            (self._steps, "threadId"),
            (self._elements, "threadId"),
            (self._feedback, layer.of_step),
        ):
            tables.index(table, column)
        for table in (self._users, self._feedback):
            for column in tables.columns(table):
                if column not in _TAKEN and tables.has_values(table, column):
                    self._report.leave_out(table, column, "a column that Chainlit does not have")
        tables.add_function("instant", _instant)
        reading.total = tables.count(self._users) + tables.count(self._threads)

    def users(self) -> Iterator[UserUnit]:
        for row in self._tables.rows(f"SELECT * FROM {quote(self._users)} ORDER BY rowid"):
            members = {
                "user_id": row["id"],
                "metadata": self._columns[self._users].read_object(row, "metadata"),
                "created_at": from_text(row.get("createdAt"), self._zone),
            }
            yield UserUnit(row["identifier"], members)

    def threads(self) -> Iterator[ThreadUnit]:
        for row in self._thread_rows():
            thread = read_row(self._report, self._threads, row["id"], partial(self._thread, row))
            if thread is not None:
                yield thread

    def report_orphans(self) -> None:
        of_step = self._layer.of_step
        for table, column, parent, noun in (
            (self._steps, "threadId", self._threads, "thread"),
            (self._elements, "threadId", self._threads, "thread"),
            (self._feedback, of_step, self._steps, "step"),
        ):
            name = quote(column)
            sql = f"""
                SELECT id, {name} IS NULL AS is_null FROM {quote(table)}
                WHERE {name} IS NULL OR {name} NOT IN (SELECT id FROM {quote(parent)})
            """
            for row in self._tables.rows(sql):
                reason = f"{column} is NULL" if row["is_null"] else f"its {noun} does not exist"
                self._report.leave_out(table, row["id"], reason)

    def _thread(self, row: Row) -> ThreadUnit:
        columns = self._columns[self._threads]
        members = {
            "name": row.get("name"),
            "user_id": row.get("userId"),
            "tags": columns.read_list(row, "tags"),
            "metadata": columns.read_object(row, "metadata"),
            "data": {**columns.read(row, self._layer.of_thread), **self._thread_data(row)},
            "created_at": from_text(row.get("createdAt"), self._zone),
        }
        files: list[FileUnit] = []
        feedback = self._read_feedback(row["id"])
        newest = (to_feedback(self._feedback, rows[-1], id, self._report) for id, rows in feedback.items())
        return ThreadUnit(
            id=row["id"],
            members={name: value for name, value in members.items() if value is not None},
            user_identifier=row.get("userIdentifier"),
            messages=self._messages(row["id"], feedback),
            feedback=[one for one in newest if one is not None],
            elements=self._read_elements(row["id"], files),
            files=files,
        )

    def _thread_rows(self) -> Iterator[Row]:
        return self._tables.rows("SELECT * FROM threads ORDER BY rowid")

    def _thread_data(self, row: Row) -> dict[str, Any]:
        """Return what belongs to the data of a thread beside its columns."""
        return {}

    def _step_data(self, row: Row) -> dict[str, Any]:
        """Return the data of a step."""
        return self._columns[self._steps].read(row, self._layer.not_in_step)

    def _element_data(self, row: Row) -> dict[str, Any]:
        """Return the data of an element."""
        return self._columns[self._elements].read(row, self._layer.not_in_element)

    def _messages(self, thread_id: str, feedback: dict[str, list[Row]]) -> Iterator[ThreadMessage]:
        column = self._layer.time
        time = f"instant({quote(column)})" if column in self._tables.columns(self._steps) else "NULL"
        # Rows lie in the order in which they were written, which breaks ties.
        sql = f"""
            SELECT * FROM {quote(self._steps)} WHERE "threadId" = ? ORDER BY {time}, rowid
        """
        for row in self._tables.rows(sql, thread_id):
            data = self._step_data(row)
            metadata = data.get("metadata")
            if parts := [one for one in feedback.get(row["id"], ()) if vote_of(one) is None]:
                names = ("id", "name", "value", "comment")
                data["feedbacks"] = [{name: one[name] for name in names if name in one} for one in parts]
            yield ThreadMessage(
                id=row["id"],
                parent_id=row.get("parentId"),
                content=row["output"],
                data=data,
                pinned=isinstance(metadata, dict) and metadata.get("favorite") is True,
                created_at=from_text(row.get(column)),
            )

    def _read_feedback(self, thread_id: str) -> dict[str, list[Row]]:
        """Return the feedback of each step, the newest last; the others are reported."""
        column = self._layer.of_step
        time = 'f."createdAt", ' if "createdAt" in self._tables.columns(self._feedback) else ""
        sql = f"""
            SELECT f.* FROM {quote(self._feedback)} f JOIN {quote(self._steps)} s ON s.id = f.{quote(column)}
            WHERE s."threadId" = ? ORDER BY {time}f.rowid
        """
        found: dict[str, list[Row]] = {}
        for row in self._tables.rows(sql, thread_id):
            found.setdefault(row[column], []).append(row)
        for rows in found.values():
            for row in rows[:-1]:
                reason = f"replaced by {rows[-1]['id']}: a step has one feedback, the newest"
                self._report.leave_out(self._feedback, row["id"], reason)
        return found

    def _read_elements(self, thread_id: str, files: list[FileUnit]) -> list[Element]:
        column = self._layer.of_step
        sql = f'SELECT * FROM {quote(self._elements)} WHERE "threadId" = ? ORDER BY rowid'
        elements = []
        for row in self._tables.rows(sql, thread_id):
            if row[column] is None:
                self._report.leave_out(self._elements, row["id"], f"{column} is NULL: it belongs to no step")
                continue
            owner = (self._reading, self._elements, thread_id, row[column], row["id"])
            elements.append(to_element(*owner, self._element_data(row), files))
        return elements


class _OfficialSource(_Source):
    """The tables of the official layer."""

    def __init__(self, reading: Reading, tables: Tables) -> None:
        name = reading.options.source_timezone
        try:
            # Of the server's and the application's clocks.
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigurationError(f"source timezone: there is no {name!r}") from None
        super().__init__(reading, tables, _OFFICIAL, zone)

    def _thread_rows(self) -> Iterator[Row]:
        sql = """
            SELECT t.*, u.identifier AS "userIdentifier" FROM "Thread" t
            LEFT JOIN "User" u ON u.id = t."userId" ORDER BY t.rowid
        """
        for row in self._tables.rows(sql):
            if row["deletedAt"] is None or self._reading.options.with_deleted:
                yield row
            else:
                self._report.leave_out("Thread", row["id"], "softly deleted: --include-deleted takes it")

    def _thread_data(self, row: Row) -> dict[str, Any]:
        times = {name: _text(from_text(row.get(name), self._zone)) for name in ("updatedAt", "deletedAt")}
        return {name: text for name, text in times.items() if text is not None}

    def _step_data(self, row: Row) -> dict[str, Any]:
        times = {
            "start": from_text(row["startTime"]),
            "end": from_text(row.get("endTime")),
            "createdAt": from_text(row.get("createdAt"), self._zone),
        }
        data = super()._step_data(row) | {name: _text(time) for name, time in times.items()}
        return {name: value for name, value in data.items() if value is not None}

    def _element_data(self, row: Row) -> dict[str, Any]:
        data = super()._element_data(row)
        metadata = data.get("metadata")
        if isinstance(metadata, dict) and metadata.get("type") is not None:
            data["type"] = metadata["type"]
        return data


def _instant(text: Any) -> float | None:
    time = from_text(text)
    return None if time is None else time.timestamp()


def _text(time: datetime | None) -> str | None:
    """Return a time as Chainlit writes it."""
    return None if time is None else time.isoformat(timespec="microseconds").replace("+00:00", "Z")
