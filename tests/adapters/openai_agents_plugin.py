"""A pytest plugin for the tests of the OpenAI Agents SDK: our sessions stand in the place of its SQLite ones.

`MONGOSTORE_STAND_IN_URI` names the server where they are kept; without it they are in the process.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import agents
from agents import memory

from mongostore.adapters.openai_agents import MongoSession

URI = os.environ.get("MONGOSTORE_STAND_IN_URI")
DATABASE = os.environ.get("MONGOSTORE_STAND_IN_DATABASE", "agents")


class StandIn(MongoSession):
    """Our session with the arguments of `SQLiteSession`: one file is one namespace."""

    def __init__(
        self,
        session_id: str,
        db_path: str | Path = ":memory:",
        sessions_table: str = "agent_sessions",
        messages_table: str = "agent_messages",
        session_settings: Any = None,
    ) -> None:
        name = uuid4().hex if str(db_path) == ":memory:" else hashlib.md5(str(db_path).encode()).hexdigest()
        uri = URI or "mongomock://tests"
        super().__init__(session_id, uri, DATABASE, namespace=name, session_settings=session_settings)
        self.db_path = db_path

    # Theirs is no coroutine; ours closes with its event loop.
    def close(self) -> None:  # type: ignore[override]
        self._is_closed = True


agents.SQLiteSession = StandIn  # type: ignore[misc]
memory.SQLiteSession = StandIn  # type: ignore[misc]
