"""Plays one scenario with a room again and again, each time killed before a later one of its writes.

Rooms are named by the number of the fatal write. Prints for each of them which steps were begun; all but the
last one of them were acknowledged.

Arguments: URI, database, `required` or `off` for the transactions of its server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from common import Killer, play_until_killed

from mongostore import AsyncMongoStore, Binding, Event, RoomState

# Without transactions a crash midway may leave them without their effect, or the effect without them.
EFFECTS = {"edit", "erase", "wake"}

# Verbs with their arguments; events are named by their ids, which are unique within the room.
STEPS: list[list[Any]] = [
    ["create"],
    ["append", "e0"],
    ["append", "e1", "e2", "e3", "e4"],
    ["edit", "e5", "e1"],
    ["edit", "e6", "e1"],
    ["erase", "e7", "e1"],
    ["pause"],
    ["wake", "e8"],
    ["pause"],
    ["resume"],
    ["put", "e9", 20],
    ["put", "e10", 15],
    ["append", "e11"],
    ["delete", "e2"],
    ["delete", "e11"],
    ["append", "e12"],
    ["bind", "c"],
    ["mark", "c"],
    ["note", "remembered"],
    ["remove"],
    ["create"],
    ["append", "e0"],
    ["bind", "c"],
    ["remove"],
]


async def do(store: AsyncMongoStore, room_id: str, verb: str, *rest: Any) -> None:
    """Run one step."""
    rooms, events = store.rooms, store.rooms.events
    match verb, *rest:
        case ("create",):
            await rooms.create(room_id)
        case (("append" | "wake"), *ids):
            await asyncio.gather(*(events.append(room_id, event(room_id, id)) for id in ids))
        case ("edit" | "erase") as how, id, of:
            target = event(room_id, of, content=f"changed by {id}")
            kind = "edit" if how == "edit" else "delete"
            change = event(room_id, id, type=kind, change=kind, target_event_id=target.id)
            await events.append(room_id, change, target=target)
        case "put", id, index:
            await events.create(room_id, event(room_id, id, index=index))
        case "delete", id:
            assert await events.delete(room_id, f"{room_id} {id}", replies=False)
        case ("pause",):
            await rooms.update(room_id, status="paused")
        case ("resume",):
            room = await rooms.get(room_id)
            expected = RoomState(room.status, room.paused_at, room.active_at)
            await rooms.replace(room.model_copy(update={"status": "active"}), expected=expected)
        case "bind", channel_id:
            await rooms.bindings.upsert(room_id, Binding(channel_id=channel_id))
        case "mark", channel_id:
            assert await rooms.read_markers.advance(room_id, channel_id)
        case "note", record:
            await rooms.update(room_id, metadata={"note": record})
        case ("remove",):
            assert await rooms.delete(room_id)


def event(room_id: str, id: str, **members: Any) -> Event:
    """Return an event of the room."""
    return Event(id=f"{room_id} {id}", channel_id="c", idempotency_key=id, **members)


def steps_of(transactions: str) -> list[list[Any]]:
    """Return the steps whose every crash leaves a whole room."""
    return [step for step in STEPS if transactions == "required" or step[0] not in EFFECTS]


def main() -> None:
    """Run it to the end, one more write each time."""
    uri, database, transactions = sys.argv[1:]

    async def play(fatal: int, killer: Killer, begin: Callable[[], object]) -> None:
        required: Any = transactions
        async with AsyncMongoStore(uri, database, transactions=required) as store:
            killer.countdown = fatal
            for step in steps_of(transactions):
                begin()
                await do(store, f"r{fatal}", *step)

    for fatal, begun in play_until_killed(play):
        line = {"room": f"r{fatal}", "steps": steps_of(transactions)[:begun]}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
