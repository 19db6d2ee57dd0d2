"""RoomKit's contract for a store: rooms."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from roomkit.models.channel import ChannelBinding
from roomkit.models.enums import RoomStatus
from roomkit.models.participant import Participant
from roomkit.models.room import Room, RoomTimers
from roomkit.models.store_filter import RoomFilter
from roomkit.models.task import Observation, Task

from mongostore.testing.roomkit.parts import NOON, ODD, InRoom, delivery, event, request


class RoomSuite(InRoom):
    """Rooms: their lists, their metadata and their private state."""

    async def test_private_state_is_nobody_elses_object(self, rooms: Any) -> None:
        state: dict[str, Any] = {"a": [1], **ODD}
        await rooms.patch_room_metadata("r", {"k.$": 1, "other": 2})
        await rooms.set_private_state("r", "k.$", state)
        state["a"].append(2)
        read = await rooms.get_private_state("r", "k.$")
        assert read == {**ODD, "a": [1]}
        room = await rooms.get_room("r")
        assert room is not None
        assert room.metadata == {"other": 2}
        await rooms.set_private_state("r", "k.$", None)
        assert await rooms.get_private_state("r", "k.$") is None
        await rooms.set_private_state("nowhere", "k", {})
        assert await rooms.get_private_state("nowhere", "k") is None

    async def test_metadata_are_patched_under_any_key(self, rooms: Any) -> None:
        await rooms.patch_room_metadata("r", {**ODD, "gone.$": 1, "both": 1})
        room = await rooms.patch_room_metadata(
            "r", {"both": None, "$new": "$x"}, unset=["gone.$", "both", "no"]
        )
        assert room is not None
        assert room.metadata == {**ODD, "both": None, "$new": "$x"}
        assert await rooms.find_rooms(metadata_filter={"a.b": ODD["a.b"], "huge": 2**70}) == [room]
        assert await rooms.patch_room_metadata("nowhere", {}) is None

    async def test_lists_of_rooms_of_any_size(self, rooms: Any) -> None:
        ids = [f"room{number:04}" for number in range(1050)]

        async def add(room_id: str) -> None:
            await rooms.create_room(Room(id=room_id, created_at=NOON + timedelta(hours=1)))
            await rooms.add_binding(ChannelBinding(room_id=room_id, channel_id="sms", channel_type="sms"))

        for start in range(0, len(ids), 50):
            await asyncio.gather(*(add(room_id) for room_id in ids[start : start + 50]))
        assert [room.id for room in await rooms.list_rooms(limit=5000)] == ["r", *ids]
        assert [room.id for room in await rooms.list_rooms(offset=1049, limit=5)] == ids[1048:]
        assert [room.id for room in await rooms.find_rooms(limit=1030, offset=2)] == ids[1:1031]
        assert await rooms.list_rooms(limit=0) == []
        assert await rooms.list_rooms(offset=5000) == []
        assert await rooms.find_room_ids_by_channel("sms", limit=sys.maxsize) == ids
        assert await rooms.find_room_ids_by_channel("sms", limit=1020) == ids[:1020]
        assert await rooms.find_room_ids_by_channel("sms", limit=0) == []
        assert await rooms.find_room_ids_by_channel("sms", RoomFilter(statuses=[])) == []

    async def test_a_room_that_moved_by_a_microsecond_is_not_updated(self, rooms: Any) -> None:
        room = Room(id="timed", timers=RoomTimers(last_activity_at=NOON))
        await rooms.create_room(room)
        state: dict[str, Any] = {"status": RoomStatus.ACTIVE, "paused_at": None}
        wrong = NOON + timedelta(microseconds=1)
        assert await rooms.update_room_if(room, **state, last_activity_at=wrong) is None
        assert await rooms.update_room_if(room, **state, last_activity_at=None) is None
        assert await rooms.update_room_if(room, **state, last_activity_at=NOON) == room
        other = room.model_copy(update={"id": "nowhere"})
        assert await rooms.update_room_if(other, **state, last_activity_at=NOON) is None

    async def test_a_deleted_room_takes_all_but_people_with_it(self, rooms: Any) -> None:
        await rooms.commit_event("r", event())
        await rooms.add_binding(ChannelBinding(room_id="r", channel_id="sms", channel_type="sms"))
        await rooms.add_participant(Participant(id="p", room_id="r", channel_id="sms"))
        await rooms.add_task(Task(id="t", room_id="r", title="T"))
        await rooms.add_observation(Observation(id="o", room_id="r", channel_id="ai", content="c"))
        await rooms.mark_all_read("r", "sms")
        await rooms.set_private_state("r", "k", {"a": 1})
        await rooms.claim_voice_delivery(delivery())
        await rooms.create_verification_request(request())
        assert await rooms.delete_room("r")
        await rooms.create_room(Room(id="r"))
        assert await rooms.load_room_context("r") == (await rooms.get_room("r"), [], [])
        assert await rooms.get_event("e0") is None
        assert await rooms.list_tasks("r") == await rooms.list_observations("r") == []
        assert (await rooms.get_task("t"), await rooms.get_private_state("r", "k")) == (None, None)
        assert await rooms.list_read_markers("r") == {}
        assert await rooms.get_voice_delivery("r", delivery().key_hash) is None
        assert await rooms.get_verification_request("q") == request()
        assert (await rooms.commit_event("r", event())).index == 0
