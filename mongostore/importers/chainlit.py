"""Chainlit's SQLAlchemy layer, in SQLite and PostgreSQL; its official layer has tables of other names."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime
from typing import Any

from mongostore.importers import chainlit_official
from mongostore.importers.chainlit_parts import to_element, to_feedback
from mongostore.importers.columns import Columns
from mongostore.importers.sources import Reading
from mongostore.importers.tables import Row, Tables, open_tables, quote
from mongostore.importers.units import FileUnit, ThreadUnit, Unit, UserUnit
from mongostore.importers.values import from_text
from mongostore.models import Element, Feedback, ThreadMessage

_TABLES = {
    "users": ("id", "identifier"),
    "threads": ("id",),
    "steps": ("id", "threadId", "type", "output"),
    "elements": ("id", "threadId", "forId"),
    "feedbacks": ("id", "forId", "value"),
}
_OF_STEP = ("id", "threadId", "parentId", "output")
_OF_ELEMENT = ("id", "threadId", "forId")


def read(reading: Reading) -> Generator[Unit]:
    """Yield the users and the threads, in the order of their rows."""
    tables = open_tables(reading, [*_TABLES, *chainlit_official.TABLES])
    if "Thread" in tables.names and "threads" not in tables.names:
        yield from chainlit_official.read(reading, tables)
        return
    tables.require(_TABLES)
    source = _Source(reading, tables)
    yield from source.users()
    yield from source.threads()
    source.report_orphans()


class _Source:
    def __init__(self, reading: Reading, tables: Tables) -> None:
        self._reading = reading
        self._report = reading.report
        self._tables = tables
        self._columns = {table: Columns(tables, table, reading.report) for table in _TABLES}
        for table, column in (("steps", "threadId"), ("elements", "threadId"), ("feedbacks", "forId")):
            tables.index(table, column)
        tables.add_function("instant", _instant)
        reading.total = tables.count("users") + tables.count("threads")

    def users(self) -> Iterator[UserUnit]:
        for row in self._tables.rows("SELECT * FROM users ORDER BY rowid"):
            members = {
                "user_id": row["id"],
                "metadata": self._columns["users"].read_object(row, "metadata"),
                "created_at": from_text(row.get("createdAt")),
            }
            yield UserUnit(row["identifier"], members)

    def threads(self) -> Iterator[ThreadUnit]:
        columns = self._columns["threads"]
        known = ("id", "createdAt", "name", "userId", "userIdentifier", "tags", "metadata")
        for row in self._tables.rows("SELECT * FROM threads ORDER BY rowid"):
            members = {
                "name": row.get("name"),
                "user_id": row.get("userId"),
                "tags": columns.read_list(row, "tags"),
                "metadata": columns.read_object(row, "metadata"),
                "data": columns.read(row, known),
                "created_at": from_text(row.get("createdAt")),
            }
            files: list[FileUnit] = []
            yield ThreadUnit(
                id=row["id"],
                members={name: value for name, value in members.items() if value is not None},
                user_identifier=row.get("userIdentifier"),
                messages=self._messages(row["id"]),
                feedback=self._feedback(row["id"]),
                elements=self._elements(row["id"], files),
                files=files,
            )

    def _messages(self, thread_id: str) -> Iterator[ThreadMessage]:
        columns = self._columns["steps"]
        time = "instant(createdAt)" if "createdAt" in self._tables.columns("steps") else "NULL"
        sql = f"SELECT * FROM steps WHERE threadId = ? ORDER BY {time} IS NOT NULL, {time}, rowid"
        for row in self._tables.rows(sql, thread_id):
            data = columns.read(row, _OF_STEP)
            metadata = data.get("metadata")
            yield ThreadMessage(
                id=row["id"],
                parent_id=row.get("parentId"),
                content=row["output"],
                data=data,
                pinned=isinstance(metadata, dict) and metadata.get("favorite") is True,
                created_at=from_text(row.get("createdAt")),
            )

    def _feedback(self, thread_id: str) -> list[Feedback]:
        """Return the newest feedback of each step; the others are reported."""
        sql = """
            SELECT f.* FROM feedbacks f JOIN steps s ON s.id = f.forId
            WHERE s.threadId = ? ORDER BY f.rowid
        """
        newest: dict[str, Row] = {}
        for row in self._tables.rows(sql, thread_id):
            if replaced := newest.get(row["forId"]):
                reason = f"replaced by {row['id']}: a step has one feedback, the newest row"
                self._report.leave_out("feedbacks", replaced["id"], reason)
            newest[row["forId"]] = row
        return [
            *filter(
                None, (to_feedback("feedbacks", row, row["forId"], self._report) for row in newest.values())
            )
        ]

    def _elements(self, thread_id: str, files: list[FileUnit]) -> list[Element]:
        sql = "SELECT * FROM elements WHERE threadId = ? ORDER BY rowid"
        elements = []
        for row in self._tables.rows(sql, thread_id):
            if row["forId"] is None:
                self._report.leave_out("elements", row["id"], "forId is NULL: it belongs to no step")
                continue
            data = self._columns["elements"].read(row, _OF_ELEMENT)
            element = (self._reading, "elements", thread_id, row["forId"], row["id"], data, files)
            elements.append(to_element(*element))
        return elements

    def report_orphans(self) -> None:
        for table, column, parent in (
            ("steps", "threadId", "threads"),
            ("elements", "threadId", "threads"),
            ("feedbacks", "forId", "steps"),
        ):
            is_orphan = f"{quote(column)} IS NULL OR {quote(column)} NOT IN (SELECT id FROM {parent})"
            sql = f"SELECT id FROM {table} WHERE {is_orphan}"
            for row in self._tables.rows(sql):
                self._report.leave_out(table, row["id"], f"{parent.removesuffix('s')} does not exist")


def _instant(text: Any) -> float | None:
    time: datetime | None = from_text(text)
    return None if time is None else time.timestamp()
