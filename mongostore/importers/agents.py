"""Sessions of the OpenAI Agents SDK: SQLite files, SQL tables of the same form, and MongoDB collections."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from mongostore.importers import agents_mongodb
from mongostore.importers.agent_items import parse_item, to_message
from mongostore.importers.report import Report
from mongostore.importers.sources import Reading
from mongostore.importers.tables import Tables, open_tables, quote
from mongostore.importers.units import SessionUnit
from mongostore.importers.values import from_text, rest_of
from mongostore.models import Message

_STRUCTURE = "message_structure"
_USAGE = "turn_usage"


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the sessions in the order of their rows, then those that have messages alone."""
    location = reading.location
    is_collection = location.startswith(("mongodb://", "mongodb+srv://"))
    path = Path(location)
    if is_collection or path.is_dir() or path.suffix in (".bson", ".jsonl", ".json"):
        return agents_mongodb.read(reading)
    return _read_tables(reading)


def _read_tables(reading: Reading) -> Generator[SessionUnit]:
    names = reading.options.tables
    sessions = names.get("agent_sessions", "agent_sessions")
    messages = names.get("agent_messages", "agent_messages")
    tables = open_tables(reading, [sessions, messages, _STRUCTURE, _USAGE])
    tables.require({sessions: ("session_id",), messages: ("id", "session_id", "message_data")})
    tables.index(messages, "session_id")
    for other in sorted(tables.names - {messages}):
        if {"session_id", "message_data"} <= {*tables.columns(other)}:
            reading.report.warn(other, "", f"has messages, too: --table agent_messages={other} reads them")
    source = _Source(tables, messages, reading.report)
    reading.total = tables.count(sessions)
    user_id = reading.options.user_id
    for row in tables.rows(f"SELECT * FROM {quote(sessions)} ORDER BY rowid"):
        members = {
            "user_id": user_id,
            "created_at": from_text(row.get("created_at")),
            "data": {**rest_of(row, "session_id", "created_at"), **source.usage(row["session_id"])},
        }
        yield SessionUnit(str(row["session_id"]), members, source.messages(row["session_id"]))
    orphans = f"""
        SELECT session_id, min(id) AS first FROM {quote(messages)}
        WHERE session_id NOT IN (SELECT session_id FROM {quote(sessions)}) GROUP BY session_id ORDER BY first
    """
    for row in tables.rows(orphans):
        session_id = row["session_id"]
        reading.report.warn(sessions, session_id, "has messages, but no row: it is stored without members")
        yield SessionUnit(str(session_id), {"user_id": user_id}, source.messages(session_id))


class _Source:
    def __init__(self, tables: Tables, table: str, report: Report) -> None:
        self._tables = tables
        self._table = table
        self._report = report
        self._has_branches = _STRUCTURE in tables.names

    def messages(self, session_id: Any) -> Iterator[Message]:
        """Yield the items of a session, those of a branch again in its own conversation."""
        table = quote(self._table)
        sql = f"SELECT m.*, NULL AS branch_id FROM {table} m WHERE m.session_id = ? ORDER BY m.id"
        if self._has_branches:
            sql = f"""
                SELECT m.*, s.branch_id FROM {table} m LEFT JOIN {_STRUCTURE} s
                ON s.message_id = m.id AND s.session_id = m.session_id
                WHERE m.session_id = ? ORDER BY s.sequence_number IS NULL, s.sequence_number, m.id
            """
        for row in self._tables.rows(sql, session_id):
            branch = row["branch_id"]
            is_main = branch in (None, "main")
            item = parse_item(row["message_data"], self._table, row["id"], self._report)
            message = to_message(
                item,
                str(row["id"]) if is_main else f"{row['id']}@{branch}",
                from_text(row.get("created_at")),
                conversation_id="default" if is_main else branch,
            )
            if message is not None:
                yield message

    def usage(self, session_id: Any) -> dict[str, Any]:
        """Return the tokens of a session's turns, if they were counted."""
        if _USAGE not in self._tables.names:
            return {}
        rows = [
            {
                name: _details(value) if name.endswith("_details") else value
                for name, value in row.items()
                if name not in ("id", "session_id")
            }
            for row in self._tables.rows(
                f"SELECT * FROM {_USAGE} WHERE session_id = ? ORDER BY id", session_id
            )
        ]
        return {"turn_usage": rows} if rows else {}


def _details(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
