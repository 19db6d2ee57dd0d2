"""Claude's data export: a zip file, the folder that it was unpacked to, or its conversations.json."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from mongostore.importers.archives import Archive
from mongostore.importers.conversations import Conversation, to_session, updated
from mongostore.importers.report import Report, read_row
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.trees import Node
from mongostore.importers.units import SessionUnit
from mongostore.importers.values import rest_of, text_or_none, to_time, unread_times

_ROOT = "00000000-0000-4000-8000-000000000000"
_ROLES = {"human": "user"}
_HEAD = ("uuid", "name", "summary", "created_at", "account", "chat_messages")
_OF_MESSAGE = ("uuid", "text", "content", "sender", "created_at", "updated_at", "parent_message_uuid")
_FILE = "conversations.json"


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the conversations as sessions, as they lie in the file."""
    archive = Archive(reading)
    # Large accounts get several archives with a file of that name each.
    names = archive.find_all(_FILE) or (archive.names if len(archive.names) == 1 else [])
    if not names:
        raise SourceError(f"{reading.location} has no {_FILE}")
    if projects := archive.read_objects("projects.json"):
        documents = sum(len(project.get("docs") or ()) for project in projects)
        reading.report.leave_out("projects.json", "", f"{len(projects)} projects, {documents} documents")
    for name in archive.names:
        if name not in names and name.rpartition("/")[2] not in ("projects.json", "users.json"):
            reading.report.leave_out(name, "", "is no file of conversations")
    for name in names:
        for number, value in archive.iter_items(name):
            if isinstance(value, dict) and isinstance(value.get("chat_messages"), list):
                session = read_row(reading.report, name, number, partial(_session, reading, value))
                if session is not None:
                    yield session
            else:
                reading.report.refuse(name, number, "is no conversation")


def _session(reading: Reading, value: dict[str, Any]) -> SessionUnit:
    messages = value["chat_messages"]
    account = value.get("account")
    user_id = account.get("uuid") if isinstance(account, dict) else None
    return to_session(
        Conversation(
            id=text_or_none(value.get("uuid")),
            table=_FILE,
            members={
                "user_id": reading.options.user_id or text_or_none(user_id),
                "name": text_or_none(value.get("name")),
                "description": text_or_none(value.get("summary")),
                "data": {**rest_of(value, *_HEAD), **unread_times(value, "created_at")},
                "created_at": to_time(value.get("created_at")),
            },
            nodes=_nodes(messages, str(value.get("uuid")), reading.report),
            # The export does not say which branch was looked at last.
            current=messages[-1].get("uuid") if messages and isinstance(messages[-1], dict) else None,
        ),
        reading.report,
        _members,
    )


def _nodes(messages: Sequence[Any], session_id: str, report: Report) -> list[Node]:
    nodes: dict[str, Node] = {}
    is_tree = any(isinstance(one, dict) and "parent_message_uuid" in one for one in messages)
    previous: str | None = None
    for number, message in enumerate(messages):
        id = message.get("uuid") if isinstance(message, dict) else None
        if not isinstance(id, str) or not isinstance(message.get("sender"), str) or id in nodes:
            report.refuse(_FILE, f"{session_id}/{number}", "is no message with an id of its own and a sender")
            continue
        parent = message.get("parent_message_uuid") if is_tree else previous
        files = message.get("files")
        for file in files if isinstance(files, list) else ():
            name = file.get("file_name") if isinstance(file, dict) else file
            report.warn("files", f"{session_id}/{id}/{name}", "the export holds only the names of files")
        nodes[id] = Node(id, None if parent == _ROOT else parent, to_time(message.get("created_at")), message)
        previous = id
    return [*nodes.values()]


def _members(message: dict[str, Any]) -> dict[str, Any]:
    content, text = message.get("content"), message.get("text")
    data = {**rest_of(message, *_OF_MESSAGE), **unread_times(message, "created_at", "updated_at")}
    if content and text and not _says_text(content, text):
        data["text"] = text
    role = message["sender"]
    return {
        "role": _ROLES.get(role, role),
        "content": content or text,
        "data": data,
        **updated(to_time(message.get("updated_at"))),
    }


def _says_text(content: Any, text: str) -> bool:
    """Return whether the blocks hold the whole text, which is made of them for reading."""
    blocks = content if isinstance(content, list) else []
    found = (block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text")
    texts = [one for one in found if isinstance(one, str) and one]
    return text in ("\n".join(texts), "".join(texts))
