"""LangChain's MongoDBChatMessageHistory: a collection of messages, or a dump of it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

from mongostore.importers.collections import Collections, time_of_id
from mongostore.importers.report import Report
from mongostore.importers.sources import Reading
from mongostore.importers.units import SessionUnit
from mongostore.importers.values import rest_of
from mongostore.models import Message

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "HumanMessageChunk": "user"}


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the sessions that messages name, in the order of their first messages."""
    options = reading.options
    table = options.tables.get("message_store", "message_store")
    session_key = options.keys.get("SessionId", "SessionId")
    history_key = options.keys.get("History", "History")
    source = Collections(reading, {table: session_key}, database="chat_history")
    reading.total = source.count_keys(table)
    for key in source.keys(table):
        if key is None:
            reading.report.leave_out(table, session_key, "documents without this key are of no session")
            continue
        session_id = key if isinstance(key, str) else json.dumps(key)
        if not isinstance(key, str) and source.has_key(table, session_id):
            reading.report.refuse(table, session_id, "a number and the same text are both ids of sessions")
            continue
        yield SessionUnit(
            id=session_id,
            members={"user_id": options.user_id},
            messages=_messages(source, table, key, (session_key, history_key), reading.report),
        )


def _messages(
    source: Collections, table: str, key: Any, names: tuple[str, str], report: Report
) -> Iterator[Message]:
    _, history_key = names
    for document in source.iter(table, key):
        history = document.get(history_key)
        try:
            value = json.loads(history) if isinstance(history, str) else history
        except (ValueError, RecursionError):
            report.refuse(table, document["_id"], f"{history_key} is not JSON")
            continue
        match value:
            case {"type": str(kind), "data": dict(data)} if kind:
                pass
            case _:
                report.refuse(table, document["_id"], f"{history_key} is no message")
                continue
        role = data.get("role") if kind in ("chat", "ChatMessageChunk") else None
        time = time_of_id(document["_id"])
        yield Message(
            id=str(document["_id"]),
            role=role if isinstance(role, str) and role else _ROLES.get(kind, kind),
            content=data.get("content"),
            data={**rest_of(document, "_id", *names), **rest_of(data, "content"), "type": kind},
            created_at=time,
        )
