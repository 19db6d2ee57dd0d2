"""Who pages on from what he has read never reads what a failover takes back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, Message, Room
from tests.faults.deployments import Cluster, cluster

pytestmark = pytest.mark.server

PATIENCE = 10


@pytest.fixture(scope="module")
def members(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("members")) as started:
        started.settle()
        yield started


async def found(where: Any, key: dict[str, str]) -> None:
    """Wait until the primary has something, whoever else may have it."""
    async with asyncio.timeout(PATIENCE):
        while await where.find_one(key) is None:
            await asyncio.sleep(0.01)


async def test_what_no_other_member_has_yet_is_shown_to_no_reader(members: Cluster) -> None:
    primary = members.primary()
    async with (
        AsyncMongoStore(members.uri_of(), "settling") as store,
        AsyncMongoClient[dict[str, Any]](primary.address, directConnection=True) as client,
    ):
        await store.sessions.create("s")
        await store.rooms.create(Room(id="r"))
        others = [member for member in members.members if member is not primary]
        for member in others:
            member.send(signal.SIGSTOP)
        try:
            writing = asyncio.gather(
                store.events.commit(Event(id="e", room_id="r", channel_id="c")),
                store.sessions.append_message("s", Message(id="m", role="user")),
            )
            await found(client.settling.events, {"_id": "e"})
            await found(client.settling.sessions, {"messages.id": "m"})
            events = await store.events.list("r")
            pages = [await store.sessions.list_messages("s", newest=newest) for newest in (False, True)]
            messages = [message async for message in store.sessions.iter_messages("s")]
        finally:
            for member in others:
                member.send(signal.SIGCONT)
        assert (events.items, [page.items for page in pages], messages) == ([], [[], []], [])
        await writing
        assert [event.id for event in (await store.events.list("r")).items] == ["e"]
        assert [message.id for message in (await store.sessions.list_messages("s")).items] == ["m"]
