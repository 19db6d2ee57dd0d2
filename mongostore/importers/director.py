"""VideoDB Director: its SQLite file, its PostgreSQL tables or a dump of them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mongostore.importers.report import Report
from mongostore.importers.sources import Reading
from mongostore.importers.tables import Row, Tables, open_tables
from mongostore.importers.units import SessionUnit
from mongostore.models import Message

NAMESPACE = "director"
_TABLES = {
    "sessions": ("session_id", "video_id", "collection_id", "created_at", "updated_at", "metadata"),
    "conversations": ("session_id", "conv_id", "msg_id", "msg_type", "content", "created_at"),
    "context_messages": ("session_id", "context_data"),
}
_IDS = """
    SELECT session_id FROM sessions WHERE session_id IS NOT NULL
    UNION ALL SELECT session_id FROM (
        SELECT session_id, min(rowid) AS row_id FROM conversations GROUP BY session_id ORDER BY row_id)
        WHERE session_id IS NOT NULL AND session_id NOT IN (SELECT session_id FROM sessions)
    UNION ALL SELECT session_id FROM context_messages
        WHERE session_id IS NOT NULL AND session_id NOT IN (SELECT session_id FROM sessions)
        AND session_id NOT IN (SELECT session_id FROM conversations WHERE session_id IS NOT NULL)
"""


class _TornError(Exception):
    """A value is no JSON; the text is its column."""


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the sessions, in the order of their rows."""
    tables = open_tables(reading, _TABLES)
    tables.require(_TABLES)
    for table in _TABLES:
        tables.index(table, "session_id")
        for row in tables.rows(f"SELECT rowid AS row_id FROM {table} WHERE session_id IS NULL"):
            reading.report.refuse(table, row["row_id"], "session_id is NULL")
    # In PostgreSQL an update moves a row and keeps its time; in SQLite rows lie as Director shows them.
    order = "created_at, rowid" if tables.is_postgres else "rowid"
    reading.total = sum(1 for _ in tables.rows(_IDS))
    for row in tables.rows(_IDS):
        yield _session(tables, row["session_id"], order, reading.report)


def _session(tables: Tables, session_id: str, order: str, report: Report) -> SessionUnit:
    row = next(tables.rows("SELECT * FROM sessions WHERE session_id = ?", session_id), None)
    members: dict[str, Any] = {}
    if row is not None:
        members = {"data": _session_data(row, report), "created_at": _time(row["created_at"])}
    context = next(tables.rows("SELECT * FROM context_messages WHERE session_id = ?", session_id), None)
    values = []
    if context is not None:
        try:
            values = [_json(context, "context_data", {})]
        except _TornError as error:
            report.refuse("context_messages", session_id, str(error))
        _keep_context_row(members, context, report)
    return SessionUnit(
        id=session_id,
        namespace=NAMESPACE,
        members=members,
        messages=_messages(tables, session_id, order, report),
        context=values,
    )


def _session_data(row: Row, report: Report) -> dict[str, Any]:
    data = {name: value for name, value in row.items() if name != "session_id"}
    try:
        data["metadata"] = _json(row, "metadata", {})
    except _TornError as error:
        report.warn("sessions", row["session_id"], f"{error}: kept as text")
    return data


def _keep_context_row(members: dict[str, Any], context: Row, report: Report) -> None:
    """Keep what belongs to the context's row, for which a context has no room, in the session's metadata."""
    extra = {name: context[name] for name in ("created_at", "updated_at") if context.get(name) is not None}
    try:
        if metadata := _json(context, "metadata", {}):
            extra["metadata"] = metadata
    except _TornError as error:
        report.warn("context_messages", context["session_id"], f"{error}: kept as text")
        extra["metadata"] = context["metadata"]
    if extra:
        members["metadata"] = {"director.context": extra}


def _messages(tables: Tables, session_id: str, order: str, report: Report) -> Iterator[Message]:
    sql = f"SELECT rowid AS row_id, * FROM conversations WHERE session_id = ? ORDER BY {order}"
    for row in tables.rows(sql, session_id):
        key = row["row_id"] if row["msg_id"] is None else row["msg_id"]
        try:
            missing = [name for name in ("msg_id", "conv_id", "msg_type") if row[name] is None]
            if missing:
                raise _TornError(f"{missing[0]} is NULL")
            yield Message(
                id=row["msg_id"],
                conversation_id=row["conv_id"],
                role=row["msg_type"],
                content=_json(row, "content", []),
                data={
                    "agents": _json(row, "agents", []),
                    "actions": _json(row, "actions", []),
                    "status": row.get("status"),
                    "metadata": _json(row, "metadata", {}),
                },
                created_at=_time(row["created_at"]),
                updated_at=_time(row.get("updated_at")),
            )
        except (_TornError, ValueError) as error:
            reason = str(error) if isinstance(error, _TornError) else "a value is of another type"
            report.refuse("conversations", key, reason)


def _json(row: Row, column: str, empty: Any) -> Any:
    text = row.get(column)
    if text is None:
        return empty
    if not isinstance(text, str | bytes):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _TornError(f"{column} is not JSON") from None


def _time(seconds: Any) -> datetime | None:
    if isinstance(seconds, int | float) and seconds:
        with suppress(OverflowError, ValueError, OSError):
            return datetime.fromtimestamp(seconds, UTC)
    return None
