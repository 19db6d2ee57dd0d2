"""Whoever goes on from what was read is shown all that was acknowledged, and nothing that is taken back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Event, Message, Turn, UnavailableError
from mongostore.engines.mongo import MongoEngine
from tests.contract.command_log import CommandLog, logged_store
from tests.faults.conftest import with_options
from tests.faults.deployments import Cluster, cluster

pytestmark = pytest.mark.server

PATIENCE = 60
CALLS: dict[str, Callable[[AsyncMongoStore], Awaitable[object]]] = {
    "create": lambda store: store.sessions.create("new"),
    "update": lambda store: store.sessions.update("s", name="new"),
    "set context": lambda store: store.sessions.context.set("s", "new"),
    "append": lambda store: store.sessions.messages.append("s", Message(id="n", role="user")),
    "append, id minted": lambda store: store.sessions.messages.append("s", Message(role="user")),
    "append many": lambda store: store.sessions.messages.append_many("s", [Message(id="o", role="user")]),
    "change a message": lambda store: store.sessions.messages.update("s", "m", content="new"),
    "upsert a message": lambda store: store.sessions.messages.upsert("s", Message(id="u", role="user")),
    "delete a message": lambda store: store.sessions.messages.delete("s", "gone"),
    "append turns": lambda store: store.sessions.turns.append_many("s", "p", [Turn(role="user")]),
    "create a room": lambda store: store.rooms.create("new"),
    "merge metadata": lambda store: store.rooms.update("r", metadata={"key": "new"}, unset=[]),
    "commit": lambda store: store.rooms.events.append("r", Event(id="new", channel_id="c")),
    "acquire": lambda store: store.leases.acquire("l", "owner", seconds=30),
    "merge a thread": lambda store: store.threads.merge("t", name="new"),
    "upsert a user": lambda store: store.threads.users.upsert("ada"),
}


@pytest.fixture(scope="module")
def members(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("members")) as started:
        started.wait_until_idle()
        yield started


# Carried out, and then told to be in doubt: a later attempt finds it done.
DOUBT = {
    "failCommands": ["insert", "update", "findAndModify", "delete", "commitTransaction"],
    "writeConcernError": {"code": 91, "errmsg": "going"},
}
FAILING = {"configureFailPoint": "failCommand", "mode": "off", "data": DOUBT}


async def found(where: Any, key: dict[str, str]) -> None:
    """Wait until the primary has something, whoever else may have it."""
    async with asyncio.timeout(PATIENCE):
        while await where.find_one(key) is None:
            await asyncio.sleep(0.01)


async def prepare(store: AsyncMongoStore) -> None:
    """Store what the calls change, and nothing of what they make."""
    assert isinstance(store.engine, MongoEngine)
    await store.engine.database.client.drop_database(store.engine.database)
    await store.sessions.create("s", participants=["p"])
    await store.sessions.messages.append_many("s", [Message(id=id, role="user") for id in ("m", "gone")])
    await store.rooms.create("r")


async def test_what_no_other_member_has_yet_is_shown_to_no_reader(members: Cluster) -> None:
    primary = members.primary()
    async with (
        AsyncMongoStore(members.uri_of(), "settling") as store,
        AsyncMongoClient[dict[str, Any]](primary.address, directConnection=True) as client,
    ):
        await store.sessions.create("s")
        await store.rooms.create("r")
        # A client that has yet to wait for the majority, would have to now.
        assert not (await store.rooms.events.list("r")).items
        others = [member for member in members.members if member is not primary]
        for member in others:
            member.send(signal.SIGSTOP)
        try:
            writing = asyncio.gather(
                store.rooms.events.append("r", Event(id="e", channel_id="c")),
                store.sessions.messages.append("s", Message(id="m", role="user")),
            )
            await found(client.settling.events, {"_id": "e"})
            await found(client.settling.sessions, {"messages.id": "m"})
            events = await store.rooms.events.list("r")
            pages = [await store.sessions.messages.list("s", newest=newest) for newest in (False, True)]
            messages = [message async for message in store.sessions.messages.iter("s")]
        finally:
            for member in others:
                member.send(signal.SIGCONT)
        assert (events.items, [page.items for page in pages], messages) == ([], [[], []], [])
        await writing
        assert [event.id for event in (await store.rooms.events.list("r")).items] == ["e"]
        assert [message.id for message in (await store.sessions.messages.list("s")).items] == ["m"]


async def test_after_an_election_the_first_reader_waits_for_all_that_was_acknowledged(
    members: Cluster,
) -> None:
    members.wait_until_idle()
    wire = CommandLog()
    async with logged_store(members.uri_of(), "acknowledged", wire) as store:
        # The first election is that before it opened.
        assert [sent.name for sent in wire.sent][-2:] == ["ping", "find"]
        await store.sessions.create("s")
        for _ in range(2):
            await asyncio.to_thread(members.step_down)
            wire.sent.clear()
            await store.sessions.messages.append("s", Message(role="user"))
            for _ in range(2):
                await store.sessions.messages.list("s")
            # What the new primary has at the ping was acknowledged, or nobody was told yet.
            assert [sent.name for sent in wire.sent][-4:] == ["ping", "find", "find", "find"]
            waiting, *reading = [sent.command["readConcern"] for sent in wire.sent[-3:]]
            assert waiting.keys() == {"level", "afterClusterTime"}
            assert {waiting["level"]} == {concern["level"] for concern in reading} == {"majority"}


@pytest.mark.long
async def test_what_was_acknowledged_is_shown_at_once_after_each_election(members: Cluster) -> None:
    members.wait_until_idle()

    async def write(session_id: str) -> None:
        await store.sessions.create(session_id)
        ids: list[str] = []
        while not over.is_set():
            ids.append(f"m{len(ids)}")
            await store.sessions.messages.append(session_id, Message(id=ids[-1], role="user"))
            page = await store.sessions.messages.list(session_id, newest=True, limit=3)
            assert [message.id for message in page.items] == ids[-3:]
            written[session_id] = len(ids)

    async def wait_for_five_more() -> None:
        wanted = {name: count + 5 for name, count in written.items()}
        async with asyncio.timeout(PATIENCE):
            while any(written[name] < count for name, count in wanted.items()):
                await asyncio.sleep(0.05)

    over, written = asyncio.Event(), {f"s{number}": 0 for number in range(8)}
    async with AsyncMongoStore(members.uri_of(), "shown") as store, asyncio.TaskGroup() as writing:
        for session_id in written:
            writing.create_task(write(session_id))
        for _ in range(2):
            await wait_for_five_more()
            killed = members.primary()
            killed.send(signal.SIGKILL)
            await asyncio.to_thread(members.primary)
            killed.start()
        await wait_for_five_more()
        over.set()


async def test_what_a_later_attempt_finds_done_is_told_when_the_majority_has_it(members: Cluster) -> None:
    members.wait_until_idle()
    primary, wire = members.primary(), CommandLog()
    uri = with_options(members.uri_of(), heartbeatFrequencyMS=500)
    async with logged_store(uri, "confirmed", wire) as store:
        await prepare(store)
        for name, call in CALLS.items():
            wire.sent.clear()
            await call(store)
            # What is acknowledged at once, the server itself has waited for.
            assert "ping" not in {sent.name for sent in wire.sent}, name
        await prepare(store)
        for name, call in CALLS.items():
            # Of all that is in doubt, the driver itself does not try this again.
            unconfirmed = {**DOUBT, "writeConcernError": {"code": 64, "errmsg": "late"}}
            members.ask(primary, {**FAILING, "mode": {"times": 1}, "data": unconfirmed})
            wire.sent.clear()
            await call(store)
            assert [sent.name for sent in wire.sent][-2:] == ["ping", "find"], (name, wire.sent)
            assert wire.sent[-1].command["readConcern"].keys() == {"level", "afterClusterTime"}
        # What has only been read waits for nobody.
        late = {"failCommands": ["find"], "errorCode": 50}
        members.ask(primary, {**FAILING, "mode": {"times": 1}, "data": late})
        wire.sent.clear()
        await store.sessions.get("s")
        assert [sent.name for sent in wire.sent if sent.name != "aggregate"] == ["find", "find"]


async def test_nothing_is_acknowledged_that_the_majority_does_not_have(
    members: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    members.wait_until_idle()
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "3")
    primary = members.primary()
    others = [member for member in members.members if member is not primary]
    following = {"configureFailPoint": "stopReplProducer", "mode": "off"}
    async with AsyncMongoStore(with_options(members.uri_of(), heartbeatFrequencyMS=500), "doubt") as store:
        await prepare(store)
        try:
            for member in others:
                members.ask(member, {**following, "mode": "alwaysOn"})
            members.ask(primary, {**FAILING, "mode": "alwaysOn"})
            calling = asyncio.gather(*(call(store) for call in CALLS.values()), return_exceptions=True)
            await asyncio.sleep(0.7)
            members.ask(primary, FAILING)
            outcomes = dict(zip(CALLS, await calling, strict=True))
        finally:
            for member in others:
                members.ask(member, following)
        assert {type(outcome) for outcome in outcomes.values()} == {UnavailableError}, outcomes
