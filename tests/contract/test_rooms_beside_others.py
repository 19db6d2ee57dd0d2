"""Between two steps of a call on a room another caller acts, and the room is as if they had taken turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
import asyncio
from typing import Any

import pytest

from mongostore import AsyncMongoStore, Event
from mongostore.repositories.rooms.room_log import RoomLog


def act_after(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], Awaitable[object]]
) -> None:
    """Let another caller act behind the next call of a function."""
    function = getattr(owner, name)

    async def call(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, function)
        try:
            return await function(*arguments, **options)
        finally:
            await run_apart(act)

    monkeypatch.setattr(owner, name, call)


async def run_apart(act: Callable[[], Awaitable[object]]) -> None:
    """Act as another caller does."""

    async def run() -> None:
        await act()

    await asyncio.get_running_loop().create_task(run(), context=Context())


async def test_an_edit_in_a_later_log_keeps_its_index_when_its_event_is_deleted(
    store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = store.rooms.events
    await store.rooms.create("r")
    target = await events.append("r", Event(channel_id="c"))

    async def edit() -> None:
        # A pause opens another log, in which the edit is.
        await store.rooms.update("r", status="paused")
        change = Event(channel_id="c", type="edit", change="edit", target_event_id=target.id)
        assert (await events.append("r", change, target=target)).index == 1

    act_after(monkeypatch, RoomLog, "change", edit)
    assert await events.delete("r", target.id)
    room = await store.rooms.get("r")
    assert (room.event_count, room.latest_index) == (2, 1)
    assert (await events.append("r", Event(channel_id="c"))).index == 2
