"""Open WebUI: its JSON exports of chats, and its SQLite database."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from mongostore.importers.archives import Archive
from mongostore.importers.conversations import Conversation, to_session
from mongostore.importers.digests import digest_of
from mongostore.importers.report import Report, read_row
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import is_sqlite, open_tables
from mongostore.importers.trees import Node
from mongostore.importers.units import FileUnit, SessionUnit
from mongostore.importers.values import rest_of, text_or_none, to_time, unread_times

_COLUMNS = ("id", "user_id", "title", "chat", "created_at", "updated_at")
_OF_MESSAGE = ("id", "parentId", "childrenIds", "role", "content", "annotation")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the chats as sessions, in their order."""
    rows = _database_rows(reading) if is_sqlite(reading.path) else _export_rows(reading)
    for table, key, row in rows:
        chat = row.get("chat", row) if isinstance(row, dict) else None
        if not isinstance(chat, dict) or not ("history" in chat or "messages" in chat):
            reading.report.refuse(table, key, "is no chat")
            continue
        session = read_row(reading.report, table, key, partial(_session, reading, table, row, chat))
        if session is not None:
            yield session


def _export_rows(reading: Reading) -> Iterator[tuple[str, object, Any]]:
    archive = Archive(reading)
    names = [name for name in archive.names if name.endswith(".json")]
    if not names:
        raise SourceError(f"{reading.location} has no JSON file")
    for name in names:
        for number, row in archive.iter_items(name):
            yield name, number, row


def _database_rows(reading: Reading) -> Iterator[tuple[str, object, Any]]:
    tables = open_tables(reading, ["chat"])
    tables.require({"chat": _COLUMNS})
    reading.total = tables.count("chat")
    for row in tables.rows("SELECT * FROM chat ORDER BY rowid"):
        for column in ("chat", "meta"):
            if isinstance(row.get(column), str):
                # A chat that is no object is refused, and other text stays what it is.
                with suppress(ValueError, RecursionError):
                    row[column] = json.loads(row[column])
        for column in ("archived", "pinned"):
            if row.get(column) is not None:
                row[column] = bool(row[column])
        yield "chat", row["id"], row


def _session(reading: Reading, table: str, row: dict[str, Any], chat: dict[str, Any]) -> SessionUnit:
    id = text_or_none(row.get("id"))
    nodes = _nodes(chat, id, reading.report)
    history = chat.get("history")
    current = history.get("currentId") if isinstance(history, dict) else None
    if id is None:
        # The oldest exports have no ids at all.
        id = digest_of(row)
    files: list[FileUnit] = []
    return to_session(
        Conversation(
            id=id,
            table=table,
            members={
                "user_id": reading.options.user_id or text_or_none(row.get("user_id")),
                "name": text_or_none(row.get("title") or chat.get("title")),
                "data": _session_data(row, chat),
                "created_at": to_time(row.get("created_at") or chat.get("timestamp")),
            },
            nodes=nodes,
            current=current or (nodes[-1].id if nodes and not _tree(chat) else None),
        ),
        reading.report,
        lambda message: _members(id, message, files, reading.report),
        files,
    )


def _session_data(row: dict[str, Any], chat: dict[str, Any]) -> dict[str, Any]:
    """Return all that is known of a chat beside its messages, the members of its row last."""
    history, meta = chat.get("history"), row.get("meta")
    tags = meta.get("tags") if isinstance(meta, dict) else chat.get("tags")
    about = {} if row is chat else rest_of(row, "id", "user_id", "title", "chat", "created_at", "meta")
    members = {
        **rest_of(
            chat, "id", "user_id", "title", "created_at", "timestamp", "history", "messages", "meta", "tags"
        ),
        "history": rest_of(history, "messages", "currentId") if isinstance(history, dict) else None,
        "meta": rest_of(meta, "tags") if isinstance(meta, dict) else meta,
    }
    filled = {name: value for name, value in members.items() if value not in (None, "", [], {})}
    times = unread_times(chat, "timestamp") | unread_times(row, "created_at")
    return {**filled, **times, **({} if tags is None else {"tags": tags}), **about}


def _tree(chat: dict[str, Any]) -> dict[str, Any]:
    history = chat.get("history")
    messages = history.get("messages") if isinstance(history, dict) else None
    return messages if isinstance(messages, dict) else {}


def _nodes(chat: dict[str, Any], session_id: str | None, report: Report) -> list[Node]:
    """Return the nodes of the history; of a chat without one, those of its list of messages."""
    tree = _tree(chat)
    nodes: list[Node] = []
    previous: str | None = None
    listed = chat.get("messages") if isinstance(chat.get("messages"), list) else []
    each: Iterable[tuple[str | int, Any]] = tree.items() if tree else enumerate(listed or ())
    for key, message in each:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            report.refuse("messages", f"{session_id}/{key}", "is no message with a role")
            continue
        id = str(key) if tree else text_or_none(message.get("id")) or digest_of(key, message)
        parent = text_or_none(message.get("parentId")) if tree else previous
        nodes.append(Node(id, parent, to_time(message.get("timestamp")), {**message, "id": id}))
        previous = id
    return nodes


def _members(
    session_id: str, message: dict[str, Any], files: list[FileUnit], report: Report
) -> dict[str, Any]:
    data = rest_of(message, *_OF_MESSAGE)
    if listed := message.get("files"):
        data["files"] = _files(session_id, message["id"], listed, files, report)
    annotation = message.get("annotation")
    return {
        "role": message["role"],
        "content": message.get("content"),
        "data": data,
        "metadata": {} if annotation is None else {"feedback": annotation},
    }


def _files(session_id: str, message_id: str, listed: Any, files: list[FileUnit], report: Report) -> Any:
    """Return the files of a message, each picture with its key in the place of its content."""
    if not isinstance(listed, list):
        return listed
    stored = []
    for number, file in enumerate(listed):
        url = file.get("url") if isinstance(file, dict) else None
        if not isinstance(url, str) or not (found := _DATA_URL.match(url)):
            if isinstance(file, dict) and isinstance(file.get("id"), str):
                report.warn(
                    "files", f"{session_id}/{message_id}/{file['id']}", "lies in Open WebUI's storage"
                )
            stored.append(file)
            continue
        try:
            content = base64.b64decode(found[2], validate=True)
        except binascii.Error:
            report.warn("files", f"{session_id}/{message_id}/{number}", "is no base64: kept as text")
            stored.append(file)
            continue
        key = f"openwebui/{session_id}/{message_id}/{number}"
        files.append(FileUnit(key, partial(bytes, content), found[1] or "text/plain"))
        stored.append({**rest_of(file, "url"), "key": key})
    return stored
