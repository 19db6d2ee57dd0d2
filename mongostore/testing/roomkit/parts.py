"""The parts of tests of a store: a room and its contents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from roomkit.models.enums import ChannelType
from roomkit.models.event import EventSource, RoomEvent, TextContent
from roomkit.models.room import Room
from roomkit.models.verification import VerificationRequest
from roomkit.models.voice_delivery import VoiceDeliveryRecord

NOON = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
ODD: dict[str, Any] = {
    "a.b": {"$set": 1, "": [None, True, 1.5]},
    "$where": "$room_id",
    "nul\0key": "nul\0text",
    "huge": 2**70,
    "least": -(2**64) - 1,
    "whole float": 1e16,
    "ünïcode 🙂": "\u2028",
    "~": {"~1": "~0"},
}


def event(index: int = 0, room_id: str = "r", **members: Any) -> RoomEvent:
    members = {"id": f"e{index}", "content": TextContent(body=str(index)), **members}
    source = members.pop("source", EventSource(channel_id="sms", channel_type=ChannelType.SMS))
    return RoomEvent(room_id=room_id, index=index, source=source, **members)


def delivery(**members: Any) -> VoiceDeliveryRecord:
    members = {"content_hash": "h", "attempt_id": "first", "created_at": NOON, **members}
    return VoiceDeliveryRecord(
        room_id="r", channel_id="voice", session_id="s", idempotency_key="k\0.$", **members
    )


def request(**members: Any) -> VerificationRequest:
    members = {"id": "q", "method": "code", "max_attempts": 3, **members}
    return VerificationRequest(
        identity_id="i",
        room_id="r",
        channel_id="sms",
        secret_hash="scrypt$",
        window_start=NOON,
        created_at=NOON,
        expires_at=NOON + timedelta(microseconds=1),
        **members,
    )


class InRoom:
    """Tests in a store that has one room, `r`."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest_asyncio.fixture(autouse=True)
    async def _room(self, rooms: Any) -> None:
        await rooms.create_room(Room(id="r", created_at=NOON))
