"""Two processes that serve one room by RoomKit keep and deliver every message once and in order."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from mongostore import AsyncMongoStore

if sys.version_info < (3, 12):
    pytest.skip("RoomKit needs Python 3.12", allow_module_level=True)

from roomkit import RoomKit, WebSocketChannel
from roomkit.models.enums import EventType

from mongostore.adapters.roomkit import MongoConversationStore, MongoRoomLockManager

AMOUNT = 20


@pytest.mark.server
async def test_two_processes_serve_one_room(
    server_uri: str, server_store: AsyncMongoStore, database: str
) -> None:
    remaining = MongoConversationStore(store=server_store)
    kit = RoomKit(store=remaining, lock_manager=MongoRoomLockManager(store=server_store))
    await kit.create_room(room_id="r")
    for number in range(2):
        kit.register_channel(WebSocketChannel(f"ws-{number}"))
        await kit.attach_channel("r", f"ws-{number}")
    script = Path(__file__).with_name("children") / "roomkit_server.py"
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), server_uri, database, str(number), str(AMOUNT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        ended = await asyncio.gather(*(asyncio.to_thread(one.communicate, "go\n", 120) for one in processes))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors

    events = await remaining.list_events("r", limit=1000)
    assert [event.index for event in events] == list(range(len(events)))
    messages = [event for event in events if event.type == EventType.MESSAGE]
    bodies = sorted(getattr(event.content, "body", "") for event in messages)
    assert bodies == sorted(f"{number}:{n}" for number in range(2) for n in range(AMOUNT))
    for number in range(2):
        for first in range(2):
            own = [f"{number}:{n}" for n in range(first, AMOUNT, 2)]
            assert [body for event in messages if (body := event.content.body) in own] == own
    room = await remaining.get_room("r")
    assert room is not None
    assert (room.event_count, room.latest_index) == (len(events), len(events) - 1)

    records = (await server_store.engine.database["heard"].find_one({"_id": "r"}))["notes"]
    for number in range(2):
        heard = [record["id"] for record in records if record["channel"] == f"ws-{number}"]
        theirs = [event.id for event in messages if event.source.channel_id != f"ws-{number}"]
        assert [id for id in heard if id in set(theirs)] == theirs
    indexes = [record["index"] for record in records]
    assert indexes == sorted(indexes)
    await kit.close()
