"""ShareGPT's form: a JSON list of conversations, or one conversation a line."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from mongostore.importers.digests import digest_of
from mongostore.importers.json_files import TornError, iter_records
from mongostore.importers.report import Report, read_row
from mongostore.importers.sources import Reading
from mongostore.importers.tables import temporary_folder
from mongostore.importers.units import SessionUnit
from mongostore.importers.values import rest_of, text_or_none
from mongostore.models import Message

_LISTS = ("conversations", "conversation", "items", "messages")
_PAIR = ("human", "user", "gpt", "assistant")
_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "bing", "bard", "function_call"), "assistant"),
    **dict.fromkeys(("observation", "tool"), "tool"),
    "system": "system",
}


def read(reading: Reading) -> Generator[SessionUnit]:
    """Yield the conversations in their order; a second one with the same id gets another."""
    name = reading.path.name
    ids = _Ids(reading)
    with reading.path.open("rb") as file:
        for number, value in iter_records(file):
            if isinstance(value, TornError):
                reading.report.refuse(name, number, str(value))
                continue
            list_name = _list_name(value)
            if list_name is None:
                reading.report.refuse(name, number, "is no conversation")
                continue
            id = read_row(reading.report, name, number, partial(ids.id_of, value))
            if id is None:
                continue
            system = text_or_none(value.get("system"))
            known = [
                list_name,
                *(["id"] if str(value.get("id")) == id else []),
                *(["system"] if system else []),
            ]
            yield SessionUnit(
                id=id,
                members={
                    "user_id": reading.options.user_id,
                    "data": rest_of(value, *known),
                },
                # What is said in front of all messages, and is none of them.
                context=[] if system is None else [system],
                messages=_messages(value[list_name], id, name, reading.report),
            )


def _list_name(value: Any) -> str | None:
    """Return the member of a conversation that holds its turns."""
    members = value if isinstance(value, dict) else {}
    return next((name for name in _LISTS if isinstance(members.get(name), list)), None)


class _Ids:
    """Gives each conversation an id, and remembers them on the disk: there may be millions."""

    def __init__(self, reading: Reading) -> None:
        self._name = reading.path.name
        self._report = reading.report
        self._known = sqlite3.connect(temporary_folder(reading) / "ids.db", check_same_thread=False)
        reading.stack.callback(self._known.close)
        self._known.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, digest TEXT) WITHOUT ROWID")

    def id_of(self, value: dict[str, Any]) -> str:
        """Return the id of a conversation: its own unless that was seen with other content, or a digest."""
        own, digest = value.get("id"), digest_of(value)
        if isinstance(own, bool) or not isinstance(own, str | int) or own == "":
            return digest
        id = str(own)
        self._known.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (id, digest))
        if self._known.execute("SELECT digest FROM ids WHERE id = ?", (id,)).fetchone() == (digest,):
            return id
        another = f"{id}-{digest[:12]}"
        self._report.warn(self._name, id, f"the id comes twice with other content: stored as {another}")
        return another


def _messages(turns: list[Any], session_id: str, name: str, report: Report) -> Iterator[Message]:
    spoken: list[tuple[str, Any, dict[str, Any]]] = []
    for number, turn in enumerate(turns):
        rest = dict(turn) if isinstance(turn, dict) else {}
        for speaker_key, content_key in (("from", "value"), ("role", "content")):
            if isinstance(rest.get(speaker_key), str):
                spoken.append((rest.pop(speaker_key), rest.pop(content_key, None), rest))
                break
        else:
            pair = [(speaker, rest.pop(speaker)) for speaker in _PAIR if speaker in rest]
            if not pair:
                report.refuse(name, f"{session_id}/{number}", "is no turn with a speaker")
            spoken += [(who, content, {} if index else rest) for index, (who, content) in enumerate(pair)]
    for number, (speaker, content, rest) in enumerate(spoken):
        role = _ROLES.get(speaker.lower())
        if role is None:
            report.warn(name, f"{session_id}/{number}", "the speaker is unknown and became the role as it is")
        yield Message(
            id=digest_of(session_id, number),
            role=role or speaker or "unknown",
            content=content,
            data={**rest, "from": speaker},
        )
