"""ChatGPT's data export: a zip file, or the folder that it was unpacked to."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from mongostore.importers.archives import Archive
from mongostore.importers.conversations import Conversation, to_session
from mongostore.importers.report import read_row
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.trees import Node
from mongostore.importers.units import FileUnit, SessionUnit
from mongostore.importers.values import rest_of, text_or_none, to_time, unread_times

_CONVERSATIONS = re.compile(r"(.*/)?conversations(-\d+)?\.json")
_POINTER = re.compile(r"(?:file-service|sediment)://(.+)")
# A page that shows the conversations, and links to them, say nothing more.
_KNOWN = ("chat.html", "message_feedback.json", "shared_conversations.json", "user.json")
_HEAD = ("id", "conversation_id", "title", "create_time", "mapping")
_OF_MESSAGE = ("id", "author", "create_time", "content")


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the conversations as sessions, as they lie in the files."""
    archive = Archive(reading)
    # A browser renames the second file of a name.
    is_alone = len(archive.names) == 1 and archive.names[0].endswith(".json")
    parts = [name for name in archive.names if is_alone or _CONVERSATIONS.fullmatch(name)]
    if not parts:
        raise SourceError(f"{reading.location} has no conversations.json")
    user = next(iter(archive.read_objects("user.json")), {})
    export = _Export(reading, archive, parts, reading.options.user_id or text_or_none(user.get("id")))
    for part in parts:
        for number, conversation in archive.iter_items(part):
            if isinstance(conversation, dict) and isinstance(conversation.get("mapping"), dict):
                session = read_row(reading.report, part, number, partial(export.session, part, conversation))
                if session is not None:
                    yield session
            else:
                reading.report.refuse(part, number, "is no conversation")
    export.report_rest()


class _Export:
    def __init__(self, reading: Reading, archive: Archive, parts: list[str], user_id: str | None) -> None:
        self._report = reading.report
        self._archive = archive
        self._user_id = user_id
        self._unused = {name for name in archive.names if name.rpartition("/")[2] not in _KNOWN} - {*parts}
        self.feedback = {
            row["id"]: _feedback(row)
            for row in archive.read_objects("message_feedback.json")
            if isinstance(row.get("id"), str)
        }

    def report_rest(self) -> None:
        """Name what belongs to no message."""
        for id in self.feedback:
            self._report.warn("message_feedback.json", id, "no such message")
        for name in sorted(self._unused):
            self._report.leave_out("files", name, "no message points at it")

    def session(self, part: str, value: dict[str, Any]) -> SessionUnit:
        """Return a conversation as a session."""
        id = value.get("conversation_id") or value.get("id")
        files: list[FileUnit] = []
        return to_session(
            Conversation(
                id=id if isinstance(id, str) else None,
                table=part,
                members={
                    "user_id": self._user_id,
                    "name": text_or_none(value.get("title")),
                    "data": {**rest_of(value, *_HEAD), **unread_times(value, "create_time")},
                    "created_at": to_time(value.get("create_time")),
                },
                nodes=[self._node(part, id, node) for id, node in value["mapping"].items()],
                current=value.get("current_node"),
            ),
            self._report,
            lambda message: self._members(str(id), message, files),
            files,
        )

    def _node(self, part: str, id: str, node: Any) -> Node:
        node = node if isinstance(node, dict) else {}
        message, parent = node.get("message"), node.get("parent")
        if message is not None and not _has_role(message):
            self._report.refuse(part, id, "is no message with an author")
            message = None
        time = None if message is None else to_time(message.get("create_time"))
        return Node(id, parent if isinstance(parent, str) else None, time, message)

    def _members(self, session_id: str, message: dict[str, Any], files: list[FileUnit]) -> dict[str, Any]:
        author, content = message["author"], message.get("content")
        data = {**rest_of(message, *_OF_MESSAGE), **unread_times(message, "create_time")}
        if others := rest_of(author, "role"):
            data["author"] = others
        if keys := self._files(session_id, message, files):
            data["files"] = keys
        feedback = self.feedback.pop(str(message.get("id")), None)
        return {
            "role": author["role"],
            "content": _text_or_whole(content),
            "data": data,
            "metadata": {} if feedback is None else {"feedback": feedback},
        }

    def _files(self, session_id: str, message: dict[str, Any], files: list[FileUnit]) -> dict[str, str]:
        """Return the keys of the files that a message points at, by their pointers."""
        keys = {}
        for pointer in _pointers(message.get("content")):
            found = _POINTER.fullmatch(pointer)
            file_id = found[1] if found else pointer
            name = self._find_file(file_id)
            if name is None:
                self._report.warn("files", pointer, "the export does not have it")
                continue
            key = f"chatgpt/{session_id}/{file_id}"
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            self._unused.discard(name)
            files.append(FileUnit(key, partial(self._archive.read, name), kind))
            keys[pointer] = key
        return keys

    def _find_file(self, file_id: str) -> str | None:
        for name in self._archive.names:
            last = name.rpartition("/")[2]
            if last == file_id or (last.startswith(file_id) and not last[len(file_id)].isalnum()):
                return name
        return None


def _has_role(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("author"), dict):
        return False
    return isinstance(message["author"].get("role"), str)


def _text_or_whole(content: Any) -> Any:
    """Return the text of a content that is one text and nothing else."""
    match content:
        case {"content_type": "text", "parts": [str(text)], **rest} if not rest:
            return text
    return content


def _pointers(value: Any) -> Iterator[str]:
    match value:
        case {"asset_pointer": str(pointer)}:
            yield pointer
        case dict():
            for item in value.values():
                yield from _pointers(item)
        case list():
            for item in value:
                yield from _pointers(item)


def _feedback(row: dict[str, Any]) -> dict[str, Any]:
    """Return feedback as its row has it, with a value of 1 or 0 and the comment."""
    try:
        details = json.loads(row.get("content") or "{}")
    except (TypeError, ValueError):
        details = row["content"]
    is_good = re.sub(r"[^a-z]", "", str(row.get("rating")).lower()) == "thumbsup"
    comment = details.get("text") if isinstance(details, dict) else None
    feedback = {"value": int(is_good), "rating": row.get("rating"), "content": details}
    return feedback | ({} if comment is None else {"comment": comment})
