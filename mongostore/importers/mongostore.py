"""Archives that `mongostore export` has written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator
from functools import partial
from itertools import islice
from typing import Any

from mongostore.importers.archive import MEMBERS, VERSION
from mongostore.importers.archives import Archive
from mongostore.importers.json_files import TornError, iter_lines
from mongostore.importers.sources import Reading, SourceError
from mongostore.importers.tables import temporary_folder
from mongostore.importers.units import (
    FileUnit,
    LooseMessageUnit,
    RecordUnit,
    RoomUnit,
    SessionUnit,
    ThreadUnit,
    Unit,
    UserUnit,
)
from mongostore.models import (
    Binding,
    Element,
    Event,
    Feedback,
    Identity,
    Message,
    Observation,
    RoomCreate,
    RoomParticipant,
    Session,
    SessionParticipant,
    Task,
    Thread,
    ThreadMessage,
    Turn,
    User,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.models import Room as RoomModel

_ROWS = 500
_PARTS: dict[str, Any] = {
    "bindings": Binding,
    "participants": RoomParticipant,
    "tasks": Task,
    "observations": Observation,
    "voice_deliveries": VoiceDelivery,
}
_RECORDS: dict[str, Any] = {
    "identities": Identity,
    "verifications": Verification,
    "verification_requests": VerificationRequest,
}


def read(reading: Reading) -> Generator[Unit]:
    """Yield users, sessions, threads, people and rooms, as they lie in the archive."""
    archive = Archive(reading)
    manifest = next(iter(archive.read_objects("mongostore.json")), {})
    if not isinstance(version := manifest.get("version"), int):
        raise SourceError(f"{reading.location} is no archive of mongostore export")
    if version > VERSION:
        raise SourceError(f"the archive has version {version}, which is newer than {VERSION}")
    source = _Source(reading, archive)
    reading.total = sum(map(source.count, ("users", "sessions", "files", "threads", "rooms", *_RECORDS)))
    yield from source.users()
    yield from source.sessions()
    yield from source.files()
    yield from source.threads()
    yield from source.loose_messages()
    yield from source.records()
    yield from source.rooms()


class _Source:
    """The lines of an archive, copied so that those of each owner are found."""

    def __init__(self, reading: Reading, archive: Archive) -> None:
        self._report = reading.report
        self._archive = archive
        self._rows = sqlite3.connect(temporary_folder(reading) / "archive.db", check_same_thread=False)
        reading.stack.callback(self._rows.close)
        for name in MEMBERS:
            self._rows.execute(f"CREATE TABLE {name} (row_id INTEGER PRIMARY KEY, owner TEXT, line TEXT)")
            lines = self._lines(name)
            while batch := list(islice(lines, _ROWS)):
                self._rows.executemany(f"INSERT INTO {name} (owner, line) VALUES (?, ?)", batch)
            self._rows.execute(f"CREATE INDEX of_{name} ON {name} (owner)")

    def count(self, name: str) -> int:
        """Return the number of lines of a kind."""
        return int(self._rows.execute(f"SELECT count(*) FROM {name}").fetchone()[0])

    def users(self) -> Iterator[UserUnit]:
        for _, members in self._all("users"):
            user = User.model_validate(members)
            arguments = {"user_id": user.id, "metadata": user.metadata, "created_at": user.created_at}
            yield UserUnit(user.identifier, arguments)

    def sessions(self) -> Iterator[SessionUnit]:
        for (namespace, id), members in self._all("sessions"):
            context, participants = members.pop("context", []), members.pop("participants", [])
            moment = members["created_at"]
            session = Session.model_validate({**members, "id": id, "updated_at": moment, "active_at": moment})
            arguments = {name: getattr(session, name) for name in members}
            yield SessionUnit(
                id=id,
                namespace=namespace,
                members=arguments,
                messages=(Message.model_validate(one) for one in self._of("messages", [namespace, id])),
                context=context,
                participants=[SessionParticipant.model_validate(one) for one in participants],
                turns=partial(self._turns, namespace, id),
            )

    def _turns(self, namespace: str, id: str, participant_id: str) -> Iterator[Turn]:
        return (Turn.model_validate(one) for one in self._of("turns", [namespace, id, participant_id]))

    def threads(self) -> Iterator[ThreadUnit]:
        for id, members in self._all("threads"):
            thread = Thread.model_validate({**members, "active_at": members["created_at"]})
            arguments = {name: getattr(thread, name) for name in members if name != "id"}
            elements = [Element.model_validate(one) for one in self._of("elements", id)]
            yield ThreadUnit(
                id=id,
                members={name: value for name, value in arguments.items() if value is not None},
                messages=(self._message(one) for one in self._of("thread_messages", id)),
                feedback=[
                    Feedback.model_validate(one["feedback"])
                    for one in self._of("thread_messages", id)
                    if one["feedback"] is not None
                ],
                elements=elements,
            )

    def loose_messages(self) -> Iterator[LooseMessageUnit]:
        for members in self._of("thread_messages", None):
            yield LooseMessageUnit(self._message(members))

    def files(self) -> Iterator[FileUnit]:
        for key, file in self._all("files"):
            read = partial(self._archive.read, file["name"])
            yield FileUnit(key, read, file["content_type"], file["data"])

    def records(self) -> Iterator[RecordUnit]:
        for name, model in _RECORDS.items():
            for _, members in self._all(name):
                yield RecordUnit(model.model_validate(members))

    def rooms(self) -> Iterator[RoomUnit]:
        for id, value in self._all("rooms"):
            members = value["members"]
            next_index = members.pop("next_index")
            room = RoomModel.model_validate({**members, "id": id})
            arguments: dict[str, Any] = {
                name: getattr(room, name)
                for name in RoomCreate.__annotations__
                if name in RoomModel.model_fields
            }
            parts: dict[str, Any] = {
                name: [model.model_validate(one) for one in value[name]] for name, model in _PARTS.items()
            }
            yield RoomUnit(
                id=id,
                members=RoomCreate(**arguments, next_index=next_index),  # type: ignore[typeddict-item]  # names from it
                events=(Event.model_validate(one) for one in self._of("events", id)),
                private=value["private"],
                read_markers={one["channel_id"]: one["index"] for one in value["read_markers"]},
                **parts,
            )

    def _message(self, members: dict[str, Any]) -> ThreadMessage:
        return ThreadMessage.model_validate({**members, "feedback": None})

    def _all(self, name: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        for owner, line in self._rows.execute(f"SELECT owner, line FROM {name} ORDER BY row_id"):
            yield json.loads(owner), json.loads(line)

    def _of(self, name: str, owner: Any) -> Iterator[dict[str, Any]]:
        sql = f"SELECT line FROM {name} WHERE owner = ? ORDER BY row_id"
        for (line,) in self._rows.execute(sql, (json.dumps(owner),)):
            yield json.loads(line)

    def _lines(self, name: str) -> Iterator[tuple[str, str]]:
        member = next(iter(self._archive.find_all(f"{name}.jsonl")), None)
        if member is None:
            return
        with self._archive.open(member) as file:
            for number, value in iter_lines(file):
                if isinstance(value, TornError) or not isinstance(value, list) or len(value) != 2:
                    self._report.refuse(member, number, "is no line of an archive")
                else:
                    yield json.dumps(value[0]), json.dumps(value[1])
