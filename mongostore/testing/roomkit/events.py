"""RoomKit's contract for a store: events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from roomkit.core.exceptions import EventNotFoundError, IdempotencyKeyTakenError
from roomkit.models.event import DeleteContent, EditContent, TextContent
from roomkit.models.room import Room

from mongostore.testing.roomkit.parts import ODD, InRoom, event


class EventSuite(InRoom):
    """Events: what is refused, and pages of them."""

    async def test_delivery_results_are_kept_under_any_channel(self, rooms: Any) -> None:
        await rooms.commit_event("r", event())
        await rooms.record_delivery_results("r", "e0", ODD)
        await rooms.record_delivery_results("elsewhere", "e0", {"lost": 1})
        stored = await rooms.get_event("e0")
        assert stored is not None
        assert stored.delivery_results == ODD
        await rooms.update_event(stored.model_copy(update={"delivery_results": {}, "chain_depth": 3}))
        assert await rooms.get_event("e0") == stored.model_copy(update={"chain_depth": 3})

    async def test_an_event_that_is_there_is_refused_as_such_even_if_its_key_is_taken(
        self, rooms: Any
    ) -> None:
        held = await rooms.commit_event("r", event(id="e", idempotency_key="k"))
        later = held.model_copy(update={"index": 9})
        for refused in (
            rooms.commit_event("r", held),
            rooms.add_event(later),
            rooms.add_event_auto_index("r", held),
        ):
            with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever its database raises
                await refused
            assert not isinstance(caught.value, IdempotencyKeyTakenError)
        assert await rooms.list_events("r") == [held]

    async def test_an_index_that_is_taken_is_refused(self, rooms: Any) -> None:
        await rooms.add_event(event(3))
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever its database raises
            await rooms.add_event(event(3, id="other"))
        assert (await rooms.commit_event("r", event(id="next"))).index == 4

    async def test_a_taken_key_writes_nothing_the_change_of_another_event_neither(self, rooms: Any) -> None:
        await rooms.commit_event("r", event(id="first", idempotency_key="k"))
        target = await rooms.commit_event("r", event(id="target"))
        edited = target.model_copy(update={"content": TextContent(body="new")})
        edit = event(
            id="edit",
            idempotency_key="k",
            content=EditContent(target_event_id="target", new_content=edited.content),
        )
        room = await rooms.get_room("r")
        for write in (
            rooms.commit_event("r", edit, target=edited),
            rooms.commit_event("r", edit),
            rooms.add_event_auto_index("r", edit),
            rooms.add_event(edit.model_copy(update={"index": 50})),
        ):
            with pytest.raises(IdempotencyKeyTakenError):
                await write
        assert await rooms.get_event("target") == target
        assert await rooms.get_event("edit") is None
        assert await rooms.get_room("r") == room
        assert (await rooms.commit_event("r", event(id="next"))).index == 2

    async def test_a_target_that_is_gone_writes_nothing(self, rooms: Any) -> None:
        await rooms.create_room(Room(id="other"))
        elsewhere = await rooms.commit_event("other", event(id="elsewhere", room_id="other"))
        for target in (event(id="gone"), elsewhere):
            change = event(id="change", content=DeleteContent(target_event_id=target.id))
            with pytest.raises(EventNotFoundError):
                await rooms.commit_event("r", change, target=target)
            with pytest.raises(EventNotFoundError):
                await rooms.write_change_target("r", target)
        assert await rooms.get_event_count("r") == 0
        assert await rooms.get_event("elsewhere") == elsewhere

    async def test_pages_of_any_size(self, rooms: Any) -> None:
        for number in range(0, 2100, 100):
            await asyncio.gather(
                *(rooms.commit_event("r", event(id=f"e{number + one}")) for one in range(100))
            )

        async def indexes(**options: Any) -> list[int]:
            return [one.index for one in await rooms.list_events("r", **options)]

        assert await indexes(limit=5000) == list(range(2100))
        assert await indexes(limit=5000, newest_first=True) == list(range(2100))
        assert await indexes(limit=1500, newest_first=True) == list(range(600, 2100))
        assert await indexes(limit=1001, offset=1050) == list(range(1050, 2051))
        assert await indexes(limit=1001, offset=1050, newest_first=True) == list(range(49, 1050))
        assert await indexes(limit=1001, after_index=4) == list(range(5, 1006))
        assert await indexes(limit=1001, before_index=1500) == list(range(499, 1500))
        assert await indexes(limit=2000, before_index=7, offset=3) == list(range(7))
        assert await indexes(limit=0) == await indexes(limit=0, newest_first=True) == []
        assert await indexes(offset=2100) == []
        assert await indexes(before_index=0) == await indexes(before_index=-1) == []
        assert await indexes(after_index=-5, limit=2) == [0, 1]
        with pytest.raises(ValueError, match="mutually exclusive"):
            await rooms.list_events("r", after_index=1, before_index=2)
