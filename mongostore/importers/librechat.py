"""LibreChat: its collections, dumps of them, and the JSON export of one conversation."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mongostore.importers.archives import Archive
from mongostore.importers.collections import Collections
from mongostore.importers.conversations import Conversation, to_session, updated
from mongostore.importers.report import read_row
from mongostore.importers.sources import Reading
from mongostore.importers.trees import Node
from mongostore.importers.units import FileUnit, SessionUnit
from mongostore.importers.values import find_inside, rest_of, text_or_none, to_time, unread_times

_ROOT = "00000000-0000-0000-0000-000000000000"
_HEAD = ("conversationId", "title", "user", "createdAt", "messages", "messagesTree")
_OF_MESSAGE = (
    *("messageId", "conversationId", "parentMessageId", "user", "isCreatedByUser", "text", "content"),
    *("feedback", "createdAt", "updatedAt", "children"),
)


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the conversations as sessions."""
    path = Path(reading.location)
    if path.suffix == ".json" and path.stem not in ("conversations", "messages"):
        return _read_export(reading)
    return _read_collections(reading)


def _read_collections(reading: Reading) -> Generator[SessionUnit]:
    keys = {"conversations": "conversationId", "messages": "conversationId"}
    source = Collections(reading, keys, database="LibreChat")
    reading.total = source.count_keys("conversations")
    for value in source.iter("conversations"):
        id = text_or_none(value.get("conversationId"))
        if id is None:
            reading.report.refuse("conversations", value.get("_id"), "conversationId is no text")
            continue
        if _is_temporary(value) and not reading.options.with_temporary:
            reading.report.leave_out("conversations", id, "temporary: --include-temporary takes it")
        else:
            read = partial(_session, reading, value, source.iter("messages", id))
            if (session := read_row(reading.report, "conversations", id, read)) is not None:
                yield session
    for id in source.keys("messages", without="conversations"):
        for message in source.iter("messages", id):
            reading.report.leave_out("messages", message.get("messageId"), f"no such conversation: {id}")


def _read_export(reading: Reading) -> Generator[SessionUnit]:
    archive = Archive(reading)
    (name,) = archive.names
    for number, value in archive.iter_items(name):
        messages = value.get("messages", value.get("messagesTree")) if isinstance(value, dict) else None
        if isinstance(messages, list) and "conversationId" in value:
            read = partial(_session, reading, value, _flat(messages))
            if (session := read_row(reading.report, name, number, read)) is not None:
                yield session
        else:
            reading.report.refuse(name, number, "is no conversation of LibreChat")


def _flat(messages: Sequence[Any]) -> Iterator[Any]:
    """Yield messages whose answers are among their members, those of an answer behind all beside it."""
    waiting = deque(messages)
    while waiting:
        message = waiting.popleft()
        yield message
        if isinstance(message, dict) and isinstance(children := message.get("children"), list):
            waiting.extend(children)


def _session(reading: Reading, value: dict[str, Any], messages: Iterator[Any]) -> SessionUnit:
    id = text_or_none(value.get("conversationId"))
    nodes: dict[str, Node] = {}
    user = text_or_none(value.get("user"))
    for message in messages:
        key = message.get("messageId") if isinstance(message, dict) else None
        if not isinstance(key, str) or key in nodes:
            reading.report.refuse("messages", f"{id}/{key}", "has no messageId of its own")
            continue
        user = user or text_or_none(message.get("user"))
        parent = message.get("parentMessageId")
        is_root = not isinstance(parent, str) or parent == _ROOT
        nodes[key] = Node(key, None if is_root else parent, to_time(message.get("createdAt")), message)
    files: list[FileUnit] = []
    return to_session(
        Conversation(
            id=id,
            table="conversations",
            members={
                "user_id": reading.options.user_id or user,
                "name": text_or_none(value.get("title")),
                "data": {**rest_of(value, *_HEAD), **unread_times(value, "createdAt")},
                "created_at": to_time(value.get("createdAt")),
            },
            nodes=[*nodes.values()],
        ),
        reading.report,
        lambda message: _members(reading, str(id), message, files),
        files,
    )


def _members(
    reading: Reading, session_id: str, message: dict[str, Any], files: list[FileUnit]
) -> dict[str, Any]:
    data = {**rest_of(message, *_OF_MESSAGE), **unread_times(message, "createdAt", "updatedAt")}
    content, text = message.get("content"), message.get("text")
    if content and text:
        data["text"] = text
    for list_name in ("files", "attachments"):
        if isinstance(listed := data.get(list_name), list):
            data[list_name] = [_with_file(reading, session_id, file, files) for file in listed]
    feedback = message.get("feedback")
    return {
        "role": "user" if message.get("isCreatedByUser", message.get("sender") == "User") else "assistant",
        "content": content or text,
        "data": data,
        "metadata": {} if feedback is None else {"feedback": feedback},
        **updated(to_time(message.get("updatedAt"))),
    }


def _with_file(reading: Reading, session_id: str, file: Any, files: list[FileUnit]) -> Any:
    """Return a file's entry with the key of its content, if that is in the folder of the options."""
    if not isinstance(file, dict) or not isinstance(filepath := file.get("filepath"), str):
        return file
    folder, id = reading.options.files, str(file.get("file_id"))
    path = None if folder is None else find_inside(folder, filepath)
    if path is None:
        reading.report.warn("files", id, f"{filepath} is not in the folder of --files")
        return file
    key = f"librechat/{session_id}/{id}"
    files.append(FileUnit(key, lambda: path, str(file.get("type") or "application/octet-stream")))
    return {**file, "key": key}


def _is_temporary(value: dict[str, Any]) -> bool:
    return bool(value.get("isTemporary") or value.get("expiredAt"))
