"""Plays one scenario with a room again and again, each time killed before a later one of its writes.

The first time it is killed before its first write, then before its second one, which is right after the
first one was answered, and so on until it comes to its end. Rooms are named by the number of the fatal
write. Prints for each of them which steps were begun; all but the last one of them were acknowledged.

Arguments: URI, database, `required` or `off` for the transactions of its server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from typing import Any

import pymongo.monitoring

from mongostore import AsyncMongoStore, Binding, Event, RoomState

WRITES = {"insert", "update", "delete", "findAndModify"}
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


class Killer(pymongo.monitoring.CommandListener):
    """Ends the process before its n-th write, once it is set which."""

    countdown = 0

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            self.countdown -= 1
            if self.countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        pass


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
        case "note", note:
            await rooms.update(room_id, metadata={"note": note})
        case ("remove",):
            assert await rooms.delete(room_id)


def event(room_id: str, id: str, **members: Any) -> Event:
    """Return an event of the room."""
    return Event(id=f"{room_id} {id}", channel_id="c", idempotency_key=id, **members)


def steps_of(transactions: str) -> list[list[Any]]:
    """Return the steps whose every crash leaves a whole room."""
    return [step for step in STEPS if transactions == "required" or step[0] not in EFFECTS]


async def play(uri: str, database: str, transactions: Any, fatal: int, log: int) -> None:
    """Run the scenario until the fatal write."""
    killer = Killer()
    pymongo.monitoring.register(killer)
    async with AsyncMongoStore(uri, database, transactions=transactions) as store:
        killer.countdown = fatal
        for step in steps_of(transactions):
            os.write(log, b".")
            await do(store, f"r{fatal}", *step)


def main() -> None:
    """Run it to the end, one more write each time."""
    uri, database, transactions = sys.argv[1:]
    status = fatal = 0
    while fatal == 0 or os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
        fatal += 1
        with tempfile.TemporaryFile() as log:
            if not (pid := os.fork()):
                asyncio.run(play(uri, database, transactions, fatal, log.fileno()))
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            begun = os.fstat(log.fileno()).st_size
        line = {"room": f"r{fatal}", "steps": steps_of(transactions)[:begun]}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
