"""Of several who delete the same at once, one is told that it was there."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Any

import pytest

from mongostore import AsyncMongoStore
from tests.contract.test_injection import EVERY_VERB, Names, furnish

N = Names("x")
OF_SESSION, OF_ROOM, OF_THREAD = (
    {name: getattr(N, name[:-3])} for name in ("session_id", "room_id", "thread_id")
)
DELETIONS: dict[str, dict[str, Any]] = {
    "sessions.delete": OF_SESSION,
    "sessions.soft_delete": OF_SESSION,
    "sessions.context.delete": OF_SESSION,
    "sessions.messages.delete": {**OF_SESSION, "message_id": N.message},
    "sessions.messages.delete_many": {**OF_SESSION, "message_ids": [N.message]},
    "sessions.participants.delete": {**OF_SESSION, "participant_id": N.participant},
    "rooms.delete": OF_ROOM,
    "rooms.bindings.delete": {**OF_ROOM, "channel_id": N.channel},
    "rooms.events.delete": {**OF_ROOM, "event_id": N.event},
    "rooms.identities.delete": {"identity_id": N.identity},
    "rooms.observations.delete": {**OF_ROOM, "observation_id": N.observation},
    "rooms.participants.delete": {**OF_ROOM, "participant_id": N.person},
    "rooms.tasks.delete": {**OF_ROOM, "task_id": N.task},
    "threads.delete": OF_THREAD,
    "threads.elements.delete": {**OF_THREAD, "element_id": N.element},
    "threads.feedback.delete": {**OF_THREAD, "message_id": N.message},
    "threads.files.delete": {"key": N.file},
    "threads.messages.delete": {**OF_THREAD, "message_id": N.message},
    "threads.users.delete": {},
    "keys.delete": {},
}


def test_every_deletion_is_tried_here() -> None:
    assert {verb for verb in EVERY_VERB if "delete" in verb.rpartition(".")[2].split("_")} - {
        "sessions.undelete"
    } == DELETIONS.keys()


@pytest.mark.smoke
@pytest.mark.parametrize("verb", DELETIONS)
async def test_one_of_parallel_deletions_tells_that_it_was_there(store: AsyncMongoStore, verb: str) -> None:
    await furnish(store, N)
    arguments = dict(DELETIONS[verb])
    if verb == "threads.users.delete":
        arguments["user_id"] = N.user_id
    if verb == "keys.delete":
        arguments["key_id"] = (await store.keys.list()).items[0].id
    delete = attrgetter(verb)(store)
    received = await asyncio.gather(*(delete(**arguments) for _ in range(6)))
    assert sorted(map(int, received)) == [0, 0, 0, 0, 0, 1]
    assert not await delete(**arguments)
