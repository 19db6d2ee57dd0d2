"""Writes to rooms in every way at once, and notes what it is answered: a line of JSON an answer.

Arguments: URI, database, the folder of the notes, how long in seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from mongostore import (
    AlreadyExistsError,
    AsyncMongoStore,
    Binding,
    ConflictError,
    Event,
    NotFoundError,
    RoomState,
    UnavailableError,
)

ROOMS = ("steady", "paused", "edited", "thinned")
GONERS = tuple(f"goner{n}" for n in range(3))
WRITERS, GONER_WRITERS = 4, 2

Step = Callable[[], Awaitable[None]]


class Attacker:
    """The work of one process."""

    def __init__(self, store: AsyncMongoStore, folder: Path) -> None:
        self._rooms, self._events = store.rooms, store.rooms.events
        # Written at once, for the process may be killed at any time.
        self._records = os.open(folder / f"{uuid4().hex}.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def record(self, *record: object) -> None:
        os.write(self._records, json.dumps(record).encode() + b"\n")

    async def append(self, room_id: str, event: Event, **options: Any) -> int:
        """Append an event, again after an unknown outcome, and return its index."""
        while True:
            try:
                index = (await self._events.append(room_id, event, **options)).index
            except UnavailableError:
                continue
            except AlreadyExistsError as error:
                stored = await self._events.find(room_id, event.id)
                # An earlier call may have stored it, whose answer was lost.
                if stored is None or error.kind != "event":
                    raise
                index = stored.index
            assert index is not None
            return index

    def writer(self) -> Step:
        own: dict[str, list[Event]] = {room_id: [] for room_id in ROOMS}

        async def step() -> None:
            room_id = random.choice((*ROOMS, "steady", "steady"))
            activity, dice, done = random.random() < 0.7, random.random(), own[room_id]
            event = Event(channel_id="c", idempotency_key=uuid4().hex, metadata={"activity": activity})
            options: dict[str, Any] = {"activity": activity}
            if dice < 0.1 and done:
                return await self._repeat(room_id, event, random.choice(done[-50:]))
            if dice < 0.5 and done and room_id == "edited":
                target = random.choice(done)
                event = event.model_copy(update={"change": "edit", "target_event_id": target.id})
                options["target"] = target.model_copy(update={"content": event.id})
            if dice > 0.8 and done and room_id == "thinned":
                gone = done.pop(random.randrange(len(done))).id
                self.record("delete", gone)
                await self._events.delete(room_id, gone, replies=False)
                return None
            index = await self.append(room_id, event, **options)
            self.record("stored", room_id, event.id, index)
            done.append(event)
            return None

        return step

    async def _repeat(self, room_id: str, event: Event, done: Event) -> None:
        """Append an event under an id, or with an idempotency key, that another one has."""
        taken = {"id": done.id} if random.random() < 0.5 else {"idempotency_key": done.idempotency_key}
        try:
            stored = await self._events.append(room_id, event.model_copy(update=taken))
        except AlreadyExistsError:
            return
        self.record("wrong", "a taken id or key was taken again", room_id, stored.id)

    async def pause(self) -> None:
        """Pause a room on the condition that it is as it was read."""
        await asyncio.sleep(random.random() * 0.3)
        room = await self._rooms.get("paused")
        if room.status == "active":
            expected = RoomState(room.status, room.paused_at, room.active_at)
            paused = room.model_copy(update={"status": "paused", "paused_at": datetime.now(UTC)})
            try:
                paused = await self._rooms.replace(paused, expected=expected)
            except ConflictError:
                return
            self.record("pause", str(paused.paused_at), paused.event_count - 1)

    async def use_goner(self) -> None:
        """Use, delete and create a room that others delete and create all the time."""
        room_id, dice = random.choice(GONERS), random.random()
        try:
            if dice < 0.08:
                await self._rooms.create(room_id)
            elif dice < 0.13:
                await self._rooms.delete(room_id)
            elif dice < 0.2:
                await self._rooms.bindings.upsert(room_id, Binding(channel_id=f"c{random.randrange(4)}"))
            elif dice < 0.25:
                await self._rooms.read_markers.advance(room_id, f"c{random.randrange(4)}")
            else:
                await self.append(room_id, Event(channel_id="c"))
                self.record("goner", "took an event")
        except AlreadyExistsError:
            pass
        except NotFoundError:
            self.record("goner", "refused an event")

    async def repeat(self, step: Step, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                await step()
            except UnavailableError as error:
                self.record("unavailable", str(error))
            except Exception as error:
                self.record("wrong", f"{type(error).__name__}: {error}"[:300])


async def main() -> None:
    """Run all writers on one store."""
    uri, database, folder, seconds = sys.argv[1:]
    async with AsyncMongoStore(uri, database) as store:
        attacker = Attacker(store, Path(folder))
        steps = [attacker.writer() for _ in range(WRITERS)]
        steps += [*(attacker.use_goner for _ in range(GONER_WRITERS)), attacker.pause]
        await asyncio.gather(*(attacker.repeat(step, float(seconds)) for step in steps))


if __name__ == "__main__":
    asyncio.run(main())
