"""Chainlit's official layer, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mongostore.errors import ConfigurationError
from mongostore.importers.chainlit_parts import to_element, to_feedback
from mongostore.importers.columns import Columns
from mongostore.importers.sources import Reading
from mongostore.importers.tables import Row, Tables
from mongostore.importers.units import FileUnit, ThreadUnit, Unit, UserUnit
from mongostore.importers.values import from_text
from mongostore.models import Element, Feedback, ThreadMessage

TABLES: dict[str, tuple[str, ...]] = {
    "User": ("id", "identifier", "createdAt"),
    "Thread": ("id", "createdAt", "deletedAt"),
    "Step": ("id", "threadId", "type", "output", "startTime"),
    "Element": ("id", "threadId", "stepId"),
    "Feedback": ("id", "stepId", "value"),
}
_OF_THREAD = (
    *("id", "createdAt", "updatedAt", "deletedAt", "name"),
    *("userId", "userIdentifier", "tags", "metadata"),
)
_OF_STEP = ("id", "threadId", "parentId", "output", "startTime", "endTime", "updatedAt")
_OF_ELEMENT = ("id", "threadId", "stepId", "createdAt", "updatedAt")


def read(reading: Reading, tables: Tables) -> Iterator[Unit]:
    """Yield the users and the threads, in the order of their rows."""
    tables.require(TABLES)
    source = _Source(reading, tables)
    yield from source.users()
    yield from source.threads()
    source.report_orphans()


class _Source:
    def __init__(self, reading: Reading, tables: Tables) -> None:
        self._reading = reading
        self._report = reading.report
        self._tables = tables
        self._columns = {table: Columns(tables, table, reading.report) for table in TABLES}
        for table, column in (("Step", "threadId"), ("Element", "threadId"), ("Feedback", "stepId")):
            tables.index(table, column)
        reading.total = tables.count("User") + tables.count("Thread")
        try:
            # Of the server's and the application's clocks; steps have UTC.
            self._zone: tzinfo = ZoneInfo(reading.options.source_timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigurationError(
                f"source timezone: there is no {reading.options.source_timezone!r}"
            ) from None

    def users(self) -> Iterator[UserUnit]:
        for row in self._tables.rows('SELECT * FROM "User" ORDER BY rowid'):
            members = {
                "user_id": row["id"],
                "metadata": self._columns["User"].read_object(row, "metadata"),
                "created_at": from_text(row["createdAt"], self._zone),
            }
            yield UserUnit(row["identifier"], members)

    def threads(self) -> Iterator[ThreadUnit]:
        sql = """
            SELECT t.*, u.identifier AS "userIdentifier" FROM "Thread" t
            LEFT JOIN "User" u ON u.id = t."userId" ORDER BY t.rowid
        """
        columns = self._columns["Thread"]
        for row in self._tables.rows(sql):
            if row["deletedAt"] is not None and not self._reading.options.with_deleted:
                self._report.leave_out("Thread", row["id"], "softly deleted: --include-deleted takes it")
                continue
            times = {name: self._text(row[name]) for name in ("updatedAt", "deletedAt") if row.get(name)}
            members = {
                "name": row["name"],
                "user_id": row["userId"],
                "tags": columns.read_list(row, "tags"),
                "metadata": columns.read_object(row, "metadata"),
                "data": {**columns.read(row, _OF_THREAD), **times},
                "created_at": from_text(row["createdAt"], self._zone),
            }
            files: list[FileUnit] = []
            feedback = self._feedback(row["id"])
            yield ThreadUnit(
                id=row["id"],
                members={name: value for name, value in members.items() if value is not None},
                user_identifier=row["userIdentifier"],
                messages=self._messages(row["id"], feedback),
                feedback=[*filter(None, (self._to_feedback(rows[-1]) for rows in feedback.values()))],
                elements=self._elements(row["id"], files),
                files=files,
            )

    def _messages(self, thread_id: str, feedback: dict[str, list[Row]]) -> Iterator[ThreadMessage]:
        # Rows lie in the order in which they were written, which breaks ties of a millisecond.
        sql = 'SELECT * FROM "Step" WHERE "threadId" = ? ORDER BY "startTime", rowid'
        for row in self._tables.rows(sql, thread_id):
            data = self._columns["Step"].read(row, _OF_STEP)
            data |= {"start": _text(from_text(row["startTime"])), "end": _text(from_text(row.get("endTime")))}
            data["createdAt"] = self._text(row.get("createdAt"))
            metadata = data.get("metadata")
            if parts := [one for one in feedback.get(row["id"], ()) if not float(one["value"]).is_integer()]:
                data["feedbacks"] = [
                    {name: one[name] for name in ("id", "name", "value", "comment") if name in one}
                    for one in parts
                ]
            yield ThreadMessage(
                id=row["id"],
                parent_id=row.get("parentId"),
                content=row["output"],
                data={name: value for name, value in data.items() if value is not None},
                pinned=isinstance(metadata, dict) and metadata.get("favorite") is True,
                created_at=from_text(row["startTime"]),
            )

    def _feedback(self, thread_id: str) -> dict[str, list[Row]]:
        """Return the feedback of each step, the newest last; the older is reported."""
        sql = """
            SELECT f.* FROM "Feedback" f JOIN "Step" s ON s.id = f."stepId"
            WHERE s."threadId" = ? ORDER BY f."createdAt", f.rowid
        """
        found: dict[str, list[Row]] = {}
        for row in self._tables.rows(sql, thread_id):
            found.setdefault(row["stepId"], []).append(row)
        for rows in found.values():
            for row in rows[:-1]:
                reason = f"replaced by {rows[-1]['id']}: a step has one feedback, the newest"
                self._report.leave_out("Feedback", row["id"], reason)
        return found

    def _to_feedback(self, row: Row) -> Feedback | None:
        return to_feedback("Feedback", row, row["stepId"], self._report)

    def _elements(self, thread_id: str, files: list[FileUnit]) -> list[Element]:
        elements = []
        for row in self._tables.rows(
            'SELECT * FROM "Element" WHERE "threadId" = ? ORDER BY rowid', thread_id
        ):
            data = self._columns["Element"].read(row, _OF_ELEMENT)
            metadata = data.get("metadata")
            if isinstance(metadata, dict) and metadata.get("type") is not None:
                data["type"] = metadata["type"]
            element = (self._reading, "Element", thread_id, row["stepId"], row["id"], data, files)
            elements.append(to_element(*element))
        return elements

    def report_orphans(self) -> None:
        for table, column, parent in (
            ("Step", "threadId", "Thread"),
            ("Element", "threadId", "Thread"),
            ("Feedback", "stepId", "Step"),
        ):
            sql = f"""
                SELECT id, "{column}" AS parent FROM "{table}"
                WHERE "{column}" IS NULL OR "{column}" NOT IN (SELECT id FROM "{parent}")
            """
            for row in self._tables.rows(sql):
                is_null = row["parent"] is None
                reason = f"{column} is NULL" if is_null else f"{parent.lower()} does not exist"
                self._report.leave_out(table, row["id"], reason)

    def _text(self, text: Any) -> str | None:
        return _text(from_text(text, self._zone))


def _text(time: datetime | None) -> str | None:
    """Return a time as Chainlit writes it."""
    if time is None:
        return None
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
