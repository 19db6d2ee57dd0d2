"""OpenAI's JSON lines: conversations, batches with their answers, preferences, and single messages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mongostore.codec import is_encodable
from mongostore.importers.agent_items import role_of
from mongostore.importers.json_files import TornError, iter_lines
from mongostore.importers.jsonl import LineError, MessageLine, SessionLine, line_digest, parse_line
from mongostore.importers.report import read_row
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import temporary_folder
from mongostore.importers.units import SessionUnit
from mongostore.importers.values import rest_of
from mongostore.models import Message

_NON_PREFERRED = "non_preferred"


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the conversations in the order of their lines, then the sessions of single messages."""
    path = reading.path
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"{reading.location} has no files in JSON lines")
    lines = _Lines(reading)
    for file in files:
        lines.find_answers(file)
    for file in files:
        yield from lines.sessions(file)
    yield from lines.sessions_of_messages()


class _Lines:
    """What lines of a file say of those before and behind them, kept on the disk."""

    def __init__(self, reading: Reading) -> None:
        self._report = reading.report
        self._user_id = reading.options.user_id
        self._known = sqlite3.connect(temporary_folder(reading) / "lines.db", check_same_thread=False)
        reading.stack.callback(self._known.close)
        for table in (
            "answers (custom_id TEXT, line TEXT)",
            "requests (custom_id TEXT PRIMARY KEY)",
            "seen (digest TEXT PRIMARY KEY, count INTEGER)",
            "messages (row_id INTEGER PRIMARY KEY, session_id TEXT, digest TEXT, line TEXT)",
        ):
            self._known.execute(f"CREATE TABLE {table}")
        self._known.execute("CREATE INDEX by_session ON messages (session_id)")
        self._known.execute("CREATE INDEX by_request ON answers (custom_id)")

    def find_answers(self, file: Path) -> None:
        """Remember the answers of batches, which may come before or behind their requests."""
        for _, value in self._values(file):
            match value:
                # An id that no text can hold is refused when its line is read as a conversation.
                case {"custom_id": str(id)} if not is_encodable(id):
                    pass
                case {"custom_id": str(id), "response": _}:
                    self._known.execute("INSERT INTO answers VALUES (?, ?)", (id, json.dumps(value)))
                case {"custom_id": str(id), "body": _}:
                    self._known.execute("INSERT OR IGNORE INTO requests VALUES (?)", (id,))

    def sessions(self, file: Path) -> Iterator[SessionUnit]:
        """Yield the conversations of a file."""
        for number, value in self._values(file):
            if isinstance(value, TornError):
                self._report.refuse(file.name, number, str(value))
                continue
            try:
                unit = read_row(self._report, file.name, number, partial(self._session, file, value))
            except LineError as error:
                self._report.refuse(file.name, number, str(error))
            else:
                if unit is not None:
                    yield unit

    def sessions_of_messages(self) -> Iterator[SessionUnit]:
        """Yield the sessions of lines with one message each, in the order of their first lines."""
        sql = "SELECT session_id, min(row_id) AS first FROM messages GROUP BY session_id ORDER BY first"
        for session_id, _ in self._known.execute(sql):
            yield SessionUnit(session_id, {"user_id": self._user_id}, self._messages(session_id))

    def _messages(self, session_id: str) -> Iterator[Message]:
        # The same words said twice are two messages; their file imported twice has them once.
        sql = """
            SELECT line, digest, row_number() OVER (PARTITION BY digest ORDER BY row_id) - 1
            FROM messages WHERE session_id = ? ORDER BY row_id
        """
        for line, digest, occurrence in self._known.execute(sql, (session_id,)):
            parsed = parse_line(json.loads(line))
            assert isinstance(parsed, MessageLine), "it was one when it was put here"
            message = parsed.message
            yield (
                message
                if digest is None
                else message.model_copy(update={"id": line_digest(digest, occurrence)})
            )

    def _session(self, file: Path, value: Any) -> SessionUnit | None:
        match value:
            case {"custom_id": str(id), "body": dict()}:
                request: dict[str, Any] = value["body"]
                messages, rest = _messages_of_request(request)
                return self._batch(id, messages, {"request": rest})
            case {"custom_id": str(id), "response": _}:
                sql = "SELECT 1 FROM requests WHERE custom_id = ?"
                is_known = self._known.execute(sql, (id,)).fetchone()
                return None if is_known else self._batch(id, [], {})
            case {"input": {"messages": list(messages)}, "preferred_output": list(preferred)}:
                return self._preference(value, messages, preferred)
            case {"output": list(answers)} if "messages" not in value:
                messages, rest = _messages_of_request(rest_of(value, "output"))
                value = {**rest, "messages": [*messages, *map(_to_message, answers)]}
            case {"type": str(kind)} if kind == "reasoning" or kind.endswith(("_call", "_output")):
                value = _to_message(value)
        line = parse_line(value)
        if isinstance(line, MessageLine):
            session_id = file.stem if line.session_id is None else line.session_id
            row = (session_id, line.digest, json.dumps(value))
            self._known.execute("INSERT INTO messages (session_id, digest, line) VALUES (?, ?, ?)", row)
            return None
        return self._to_unit(line, has_id=value.get("id") is not None)

    def _batch(self, id: str, messages: list[Any], data: dict[str, Any]) -> SessionUnit:
        """Return the session of a request with all its answers."""
        sql = "SELECT DISTINCT line FROM answers WHERE custom_id = ? ORDER BY rowid"
        for (text,) in self._known.execute(sql, (id,)).fetchall():
            answer: dict[str, Any] = json.loads(text)
            response = answer["response"] if isinstance(answer["response"], dict) else {}
            body = response.get("body")
            body = body if isinstance(body, dict) else {}
            answers, about = _messages_of_response(body)
            messages = [*messages, *answers]
            data |= {name: body[name] for name in ("model", "created", "usage") if name in body}
            if answer.get("error") is not None:
                data["error"] = answer["error"]
            response = {**response, "body": about} if isinstance(response.get("body"), dict) else response
            whole = {**rest_of(answer, "custom_id", "error"), "response": response or answer["response"]}
            data.setdefault("responses", []).append(whole)
        line = parse_line({"id": id, "messages": messages, "data": data})
        assert isinstance(line, SessionLine), "it has messages"
        return self._to_unit(line, has_id=True)

    def _preference(self, value: dict[str, Any], messages: list[Any], preferred: list[Any]) -> SessionUnit:
        """Return the session of a preference; what was not preferred is a conversation of its own."""
        worse = value.get("non_preferred_output")
        other = [
            {**message, "conversation_id": _NON_PREFERRED} if isinstance(message, dict) else message
            for message in (worse if isinstance(worse, list) else [])
        ]
        rest = rest_of(value, "input", "preferred_output", "non_preferred_output")
        members = {**rest_of(value["input"], "messages"), **rest}
        line = parse_line({**members, "messages": [*messages, *preferred, *other]})
        assert isinstance(line, SessionLine), "it has messages"
        return self._to_unit(line, has_id=False)

    def _to_unit(self, line: SessionLine, *, has_id: bool) -> SessionUnit:
        id = line.id
        if not has_id:
            # Two equal conversations are told apart by their lines.
            sql = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count"
            (count,) = self._known.execute(sql, (id,)).fetchone()
            id = id if count == 1 else line_digest(id, count)
        members = {**line.members, "user_id": self._user_id or line.members.get("user_id")}
        return SessionUnit(id, members, line.messages, context=line.context)

    def _values(self, file: Path) -> Iterator[tuple[int, Any]]:
        with file.open("rb") as source:
            yield from iter_lines(source)


def _messages_of_request(body: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the messages of a request, of chat completions or of responses, and its other members."""
    if isinstance(messages := body.get("messages"), list):
        return messages, rest_of(body, "messages")
    items = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
    if isinstance(items, list) and all(isinstance(one, str | dict) for one in items):
        return [*map(_to_message, items)], rest_of(body, "input")
    return [], body


def _messages_of_response(body: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the messages of a response, and its other members, those of its choices among them."""
    if isinstance(output := body.get("output"), list):
        return [*map(_to_message, output)], rest_of(body, "output")
    listed = body.get("choices")
    choices = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    answers = [one["message"] for one in choices if one.get("message") is not None]
    about = {"choices": [rest_of(one, "message") for one in choices]} if choices else {}
    return answers, {**body, **about}


def _to_message(item: Any) -> Any:
    """Return an item of a response as a message: a text is the user's, and all have a role."""
    if isinstance(item, str):
        return {"role": "user", "content": item}
    if not isinstance(item, dict) or isinstance(item.get("role"), str):
        return item
    return {**item, "role": role_of(item)}
