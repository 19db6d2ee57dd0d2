"""MongoDB sessions of the OpenAI Agents SDK: their two collections, or dumps of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from mongostore.importers.agent_items import parse_item, to_message
from mongostore.importers.collections import Collections, time_of_id
from mongostore.importers.report import Report
from mongostore.importers.sources import Reading
from mongostore.importers.units import SessionUnit
from mongostore.importers.values import from_text
from mongostore.models import Message


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the sessions in their natural order, then those that have messages alone."""
    tables = reading.options.tables
    sessions = tables.get("agent_sessions", "agent_sessions")
    messages = tables.get("agent_messages", "agent_messages")
    # The messages first: a batch that comes meanwhile may belong to a session that has not been seen.
    keys = {messages: "session_id", sessions: "session_id"}
    source = Collections(reading, keys, database="agents", orders={messages: "seq"})
    reading.total = source.count_keys(sessions)
    for document in source.iter(sessions):
        session_id = document.get("session_id")
        if not isinstance(session_id, str):
            reading.report.refuse(sessions, document["_id"], "session_id is no text")
            continue
        generation = document.get("_generation", 0)
        yield SessionUnit(
            id=session_id,
            members={
                "user_id": reading.options.user_id,
                "created_at": from_text(document.get("created_at")),
                "data": {name: document[name] for name in ("updated_at",) if name in document},
            },
            messages=_messages(source, messages, session_id, generation, reading.report),
        )
    for key in source.keys(messages, without=sessions):
        if isinstance(key, str):
            reading.report.warn(sessions, key, "has messages, but no document: it is stored without members")
            members = {"user_id": reading.options.user_id}
            yield SessionUnit(key, members, _messages(source, messages, key, 0, reading.report))


def _messages(
    source: Collections, table: str, session_id: str, generation: Any, report: Report
) -> Iterator[Message]:
    """Yield the items of a session's present generation; those of earlier ones were cleared."""
    for document in source.iter(table, session_id):
        if document.get("generation", 0) != generation:
            continue
        batch = document.get("message_data")
        for number, text in enumerate(batch if isinstance(batch, list) else [batch]):
            id = f"{document['_id']}/{number}"
            item = parse_item(text, table, f"{session_id}/{document.get('seq')}", report)
            if message := to_message(item, id, time_of_id(document["_id"])):
                yield message
