"""RoomKit's own SQLite files, brought to the newest version and read as values of the store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from roomkit.models.channel import ChannelBinding
from roomkit.models.event import RoomEvent
from roomkit.models.identity import Identity
from roomkit.models.participant import Participant
from roomkit.models.room import Room
from roomkit.models.task import Observation, Task
from roomkit.models.verification import Verification, VerificationRequest
from roomkit.models.voice_delivery import VoiceDeliveryRecord
from roomkit.store.sqlite import SQLiteSchemaError, SQLiteStore

from mongostore.adapters.roomkit import conversions
from mongostore.errors import ConfigurationError, InvalidValueError

_READERS: Final[dict[str, tuple[Any, Callable[..., Any]]]] = {
    "rooms": (Room, conversions.room_members),
    "bindings": (ChannelBinding, conversions.from_binding),
    "participants": (Participant, conversions.from_participant),
    "tasks": (Task, conversions.from_task),
    "observations": (Observation, conversions.from_observation),
    "voice_deliveries": (VoiceDeliveryRecord, conversions.from_delivery),
    "identities": (Identity, conversions.from_identity),
    "verifications": (Verification, conversions.from_verification),
    "verification_requests": (VerificationRequest, conversions.from_request),
}
# Beside the rooms: their JSON is read when a file of an older version is opened.
_MIGRATED: Final = ("bindings", "events", "participants")


def migrate(path: Path) -> None:
    """Bring a copy of a file to the version that RoomKit writes.

    RoomKit reads the JSON of all rooms for that, and of more in a file of an older version: what it cannot
    read is null from then on, which is none of its records.

    Raises:
        ConfigurationError: It is of a newer RoomKit than the installed one, or of none.
    """
    try:
        _open_and_close(path)
    except (ValidationError, sqlite3.DatabaseError):
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            rooms = _blank_unreadable(database)
        _open_and_close(path)
        with closing(sqlite3.connect(path)) as database, database:
            database.executemany("UPDATE rooms SET data = 'null' WHERE rowid = ?", rooms)


def _open_and_close(path: Path) -> None:
    async def open_and_close() -> None:
        store = SQLiteStore(path)
        try:
            # Opens the file.
            await store.room_exists("")
        finally:
            await store.close()

    try:
        asyncio.run(open_and_close())
    except SQLiteSchemaError as error:
        raise ConfigurationError(f"source: {error}") from None


def _blank_unreadable(database: sqlite3.Connection) -> list[tuple[int]]:
    """Put null in the place of unreadable JSON, an empty room in that of rooms, whose rows are returned."""
    for table in _MIGRATED:
        database.execute(f"UPDATE {table} SET data = 'null' WHERE NOT json_valid(data)")
    # Not all that is stored as a text is one.
    found = database.execute("SELECT rowid, CAST(data AS BLOB) FROM rooms")
    rooms = [(row,) for row, data in found if not _is_room(data)]
    empty = Room(id="unreadable").model_dump_json()
    database.executemany("UPDATE rooms SET data = ? WHERE rowid = ?", [(empty, row) for (row,) in rooms])
    return rooms


def _is_room(data: bytes) -> bool:
    try:
        Room.model_validate_json(data)
    except ValidationError:
        return False
    return True


def fields_of(table: str) -> set[str]:
    """Return the names of the members of RoomKit's records."""
    model = RoomEvent if table == "events" else _READERS[table][0]
    return {*model.model_fields}


def read_record(table: str, data: str, **columns: Any) -> Any:
    """Return the value of the JSON in a row; columns go before the JSON.

    Raises:
        InvalidValueError: It is none of RoomKit's records.
    """
    model, convert = _READERS[table]
    record = _parse(model, table, data)
    return convert(record.model_copy(update=columns) if columns else record)


def read_event(data: str, room_id: str, index: int) -> Any:
    """Return the event of a row.

    Raises:
        InvalidValueError: It is no event of RoomKit.
    """
    event = _parse(RoomEvent, "events", data)
    return conversions.from_event(event.model_copy(update={"index": index}), room_id)


def _parse(model: Any, table: str, data: str) -> Any:
    try:
        return model.model_validate_json(data)
    except ValidationError:
        raise InvalidValueError(table, "is no record of RoomKit") from None
