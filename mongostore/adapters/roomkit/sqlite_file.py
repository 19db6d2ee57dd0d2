"""RoomKit's own SQLite files, brought to the newest version and read as values of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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


def migrate(path: Path) -> None:
    """Bring a copy of a file to the version that RoomKit writes.

    Raises:
        ConfigurationError: It is of a newer RoomKit than the installed one, or of none.
    """

    async def open_and_close() -> None:
        store = SQLiteStore(path)
        try:
            # Opens the file.
            await store.list_rooms(limit=1)
        finally:
            await store.close()

    try:
        asyncio.run(open_and_close())
    except SQLiteSchemaError as error:
        raise ConfigurationError(f"source: {error}") from None


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
