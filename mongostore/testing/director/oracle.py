"""The requests to Director's database and its answers, by the simplest means."""

from __future__ import annotations

import json
import sqlite3
from enum import Enum
from typing import Any

from hypothesis import strategies as st

ROW = ["session_id", "video_id", "collection_id", "created_at", "updated_at", "metadata"]
MESSAGE_ROW = [
    "session_id",
    "conv_id",
    "msg_id",
    "msg_type",
    "agents",
    "actions",
    "content",
    "status",
    "created_at",
    "updated_at",
    "metadata",
]
SESSION_IDS = ["", "a", "b/c", "$d.e"]


class Status(str, Enum):  # noqa: UP042  # what Director has
    """A status as Director gives it."""

    PROGRESS = "progress"


class Oracle:
    """The promises of the database, by the simplest means: JSON text in SQLite."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self.sqlite = sqlite
        sqlite.executescript(
            """
            CREATE TABLE row (session PRIMARY KEY, video, collection, created, updated, metadata);
            CREATE TABLE message (
                place INTEGER PRIMARY KEY, session, conv, msg, type, agents, actions, content, status,
                created, updated, metadata, UNIQUE (session, msg)
            );
            CREATE TABLE context (session PRIMARY KEY, value);
            """
        )

    def create_session(
        self,
        session_id: str,
        created_at: int,
        updated_at: int,
        video_id: str | None = None,
        collection_id: str | None = None,
        **members: Any,
    ) -> None:
        metadata = json.dumps(members.get("metadata", {}))
        values = (session_id, video_id, collection_id, created_at, updated_at, metadata)
        self.sqlite.execute("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values)

    def get_session(self, session_id: str) -> dict[str, Any]:
        found = self.sqlite.execute("SELECT * FROM row WHERE session = ?", (session_id,)).fetchall()
        return self._row(found[0]) if found else {}

    def get_sessions(self) -> list[dict[str, Any]]:
        return [self._row(row) for row in self.sqlite.execute("SELECT * FROM row ORDER BY updated DESC")]

    def add_or_update_msg_to_conv(self, **members: Any) -> None:
        values = {"status": None, "metadata": {}, **members}
        values |= {name: json.dumps(values[name]) for name in ("agents", "actions", "content", "metadata")}
        self.sqlite.execute(
            """
            INSERT INTO message VALUES (
                NULL, :session_id, :conv_id, :msg_id, :msg_type, :agents, :actions, :content, :status,
                :created_at, :updated_at, :metadata
            )
            ON CONFLICT DO UPDATE SET
                conv = :conv_id, type = :msg_type, agents = :agents, actions = :actions, content = :content,
                status = :status, updated = :updated_at, metadata = :metadata
            """,
            values,
        )

    def get_conversations(self, session_id: str) -> list[dict[str, Any]]:
        found = self.sqlite.execute("SELECT * FROM message WHERE session = ? ORDER BY place", (session_id,))
        rows = [dict(zip(MESSAGE_ROW, row[1:], strict=True)) for row in found]
        for row in rows:
            row |= {name: json.loads(row[name]) for name in ("agents", "actions", "content", "metadata")}
        return rows

    def get_context_messages(self, session_id: str) -> Any:
        found = self.sqlite.execute("SELECT value FROM context WHERE session = ?", (session_id,)).fetchall()
        return json.loads(found[0][0]) if found else {}

    def add_or_update_context_msg(self, session_id: str, context_messages: Any) -> None:
        self.sqlite.execute(
            "INSERT OR REPLACE INTO context VALUES (?, ?)", (session_id, json.dumps(context_messages))
        )

    def delete_conversation(self, session_id: str) -> bool:
        return self._delete("message", session_id)

    def delete_context(self, session_id: str) -> bool:
        return self._delete("context", session_id)

    def delete_session(self, session_id: str) -> tuple[bool, list[str]]:
        tables = {"conversation": "message", "context": "context", "session": "row"}
        failed = [name for name, table in tables.items() if not self._delete(table, session_id)]
        return len(failed) < 3, failed

    def _delete(self, table: str, session_id: str) -> bool:
        return self.sqlite.execute(f"DELETE FROM {table} WHERE session = ?", (session_id,)).rowcount > 0

    def _row(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return {**dict(zip(ROW, row, strict=True)), "metadata": json.loads(row[-1])}


IDS = st.sampled_from(SESSION_IDS)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["\ud800", "\0", "$ref", "__json__"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(max_size=2) | st.integers(0, 3) | st.sampled_from(["$ref", "$id", "a.b", "__json__"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
SECONDS = st.sampled_from([0, 1, 2, 2**31])
TIMES = {"created_at": SECONDS, "updated_at": SECONDS}
OPERATIONS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(
        st.just("create_session"),
        st.fixed_dictionaries(
            {"session_id": IDS, **TIMES},
            optional={"video_id": st.none() | IDS, "collection_id": IDS, "metadata": JSON},
        ),
    ),
    st.tuples(
        st.just("add_or_update_msg_to_conv"),
        st.fixed_dictionaries(
            {
                "session_id": IDS,
                "conv_id": IDS,
                "msg_id": IDS,
                "msg_type": st.sampled_from(["input", "output", Status.PROGRESS]),
                "agents": JSON,
                "actions": JSON,
                "content": JSON,
                **TIMES,
            },
            optional={"status": st.sampled_from([None, "success", Status.PROGRESS]), "metadata": JSON},
        ),
    ),
    st.tuples(
        st.just("add_or_update_context_msg"),
        st.fixed_dictionaries({"session_id": IDS, "context_messages": JSON}),
    ),
    st.tuples(
        st.sampled_from(["delete_conversation", "delete_context", "delete_session"]),
        st.fixed_dictionaries({"session_id": IDS}),
    ),
)
