"""A store on a cluster of two shards, one of three members: where it keeps things, and what a kill loses."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import CommandSucceededEvent
from typer.testing import CliRunner

from mongostore import (
    AsyncMongoStore,
    Event,
    Identity,
    Message,
    MessageChange,
    Task,
    UnavailableError,
    diagnostics,
)
from mongostore.cli import app
from mongostore.index_definitions import load_sharding
from tests.cluster.deployment import ShardedCluster, sharded_cluster
from tests.contract.command_log import CommandLog, examined, logged_store

pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(240)]

SHARDING = load_sharding()
TEXT = "x" * 600
LONG = 20_000
READS = {"find", "aggregate", "count", "distinct"}
WRITES = {"insert", "update", "delete", "findAndModify", "commitTransaction"}


@pytest.fixture(scope="module")
def sharded(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardedCluster]:
    with sharded_cluster(mongod_binary, tmp_path_factory.mktemp("sharded"), members=(3, 1)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(sharded: ShardedCluster) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](sharded.uri) as client:
        yield client


def run(cluster: ShardedCluster, command: str, database: str) -> tuple[int, dict[str, str]]:
    """Return the exit code of a command of `mongostore sharding`, and the states that it prints."""
    arguments = ["--uri", cluster.uri, "--database", database, "--json"]
    result = CliRunner().invoke(app, ["sharding", command, *arguments])
    assert result.stdout, result.stderr
    rows = json.loads(result.stdout)["collections"]
    return result.exit_code, {row["collection"]: row["state"] for row in rows}


def chunks(client: MongoClient[dict[str, Any]], database: str) -> dict[str, list[tuple[Any, Any, str]]]:
    """Return the ranges of a database's sharded collections, each with its shard."""
    found = {}
    for one in client.config.collections.find({"_id": {"$regex": f"^{database}\\."}}):
        ((field, _),) = one["key"].items()
        found[one["_id"].partition(".")[2]] = [
            (chunk["min"][field], chunk["max"][field], chunk["shard"])
            for chunk in client.config.chunks.find({"uuid": one["uuid"]})
        ]
    return found


def on_shards(
    cluster: ShardedCluster, database: str, collection: str, filter: dict[str, Any]
) -> Counter[str]:
    """Return how many documents each shard has itself."""
    found = Counter[str]()
    for name, shard in cluster.shards.items():
        with MongoClient[dict[str, Any]](shard.admin_uri) as client:
            found[name] = client[database][collection].count_documents(filter)
    return +found


def test_apply_shards_every_collection_once(
    sharded: ShardedCluster, client: MongoClient[dict[str, Any]]
) -> None:
    assert run(sharded, "check", "empty") == (1, dict.fromkeys(SHARDING.keys, "missing"))
    assert run(sharded, "apply", "empty") == (0, dict.fromkeys(SHARDING.keys, "sharded"))
    assert run(sharded, "check", "empty")[0] == 0
    before = [*client.config.collections.find(), *client.config.tags.find()]
    assert run(sharded, "apply", "empty")[0] == 0
    assert [*client.config.collections.find(), *client.config.tags.find()] == before


def test_an_owner_lies_on_one_shard_with_its_parts(
    sharded: ShardedCluster, client: MongoClient[dict[str, Any]]
) -> None:
    run(sharded, "apply", "zoned")
    found = chunks(client, "zoned")
    assert found.keys() == SHARDING.keys.keys()
    assert all(sorted(shard for *_, shard in ranges) == ["shard0", "shard1"] for ranges in found.values())
    for together in SHARDING.together:
        assert all(found[name] == found[together[0]] for name in together)


async def test_a_database_with_documents_is_sharded_and_keeps_them(sharded: ShardedCluster) -> None:
    async with AsyncMongoStore(sharded.uri, "filled") as store:
        await store.sessions.create("s")
        await store.sessions.messages.append_many("s", [Message(role="user") for _ in range(3)])
        code, states = await asyncio.to_thread(run, sharded, "apply", "filled")
        assert (code, {*states.values()}) == (0, {"sharded"})
        await store.sessions.messages.append("s", Message(role="user"))
        assert await store.sessions.messages.count("s") == 4
        await store.sessions.create("t")
        assert len(await store.sessions.list()) == 2


async def test_what_stays_unsharded_is_written_and_read(sharded: ShardedCluster) -> None:
    async with AsyncMongoStore(sharded.uri, "test_unsharded") as store:
        user = await store.threads.users.upsert("ada")
        assert await store.threads.users.find_by_identifier("ada") == user
        await store.threads.files.upload("k", b"x" * 300_000)
        assert await store.threads.files.read("k") == b"x" * 300_000
        async with store.leases.hold("l"):
            pass
    assert len(on_shards(sharded, "test_unsharded", "users", {})) == 1
    assert len(on_shards(sharded, "test_unsharded", "files.files", {})) == 1


async def test_a_commit_of_a_room_is_a_transaction_of_one_shard(
    sharded: ShardedCluster, client: MongoClient[dict[str, Any]]
) -> None:
    def commits() -> dict[str, int]:
        kinds = client.admin.command("serverStatus")["transactions"]["commitTypes"]
        return {way: one["successful"] for way, one in kinds.items()}

    async with AsyncMongoStore(sharded.uri, "test_commits") as store:
        before = commits()
        for number in range(10):
            await store.rooms.create(f"r{number}")
            await store.rooms.tasks.create(f"r{number}", Task())
            await store.rooms.events.append(f"r{number}", Event(room_id=f"r{number}", channel_id="c"))
        after = commits()
        assert after["singleShard"] >= before["singleShard"] + 10
        assert after["twoPhaseCommit"] == before["twoPhaseCommit"]
        for number in range(10):
            await store.rooms.identities.create(Identity(addresses={"sms": [f"+{number}"]}))
        assert commits()["twoPhaseCommit"] > before["twoPhaseCommit"]
    assert len(on_shards(sharded, "test_commits", "rooms", {})) == 2
    for number in range(10):
        (shard,) = on_shards(sharded, "test_commits", "rooms", {"_id": f"r{number}"})
        assert [*on_shards(sharded, "test_commits", "events", {"room_id": f"r{number}"})] == [shard]
        assert [*on_shards(sharded, "test_commits", "tasks", {"room_id": f"r{number}"})] == [shard]


class Times(CommandLog):
    """Notes also the times of writes, and those that reads wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []

    def succeeded(self, event: CommandSucceededEvent) -> None:
        super().succeeded(event)
        if event.command_name in WRITES:
            self.written.append(event.reply["operationTime"])


async def test_a_majority_read_waits_for_the_writes_of_its_store_and_no_others(
    sharded: ShardedCluster,
) -> None:
    wire = Times()
    async with logged_store(sharded.uri, "test_causal", wire) as store:
        await store.sessions.create("s")
        for number in range(4):
            await store.sessions.create(f"s{number}")
            await store.rooms.create(f"r{number}")
            for write in (
                lambda number=number: store.sessions.messages.append(f"s{number}", Message(role="user")),
                lambda number=number: store.rooms.events.append(f"r{number}", Event(channel_id="c")),
                lambda number=number: store.rooms.tasks.create(f"r{number}", Task()),
                lambda number=number: store.sessions.delete(f"s{number}"),
                lambda number=number: store.threads.files.upload(f"f{number}", b"x"),
            ):
                await write()
                for read in (
                    lambda number=number: store.rooms.events.list(f"r{number}"),
                    # Often on another shard than what was written last.
                    lambda: store.sessions.messages.list("s"),
                ):
                    wire.sent.clear()
                    answered = max(wire.written)
                    await read()
                    first, *later = [sent.command["readConcern"] for sent in wire.sent if sent.name in READS]
                    assert first["level"] == "majority"
                    # A room's place in lists is written behind the answer of its append.
                    assert answered <= first["afterClusterTime"]
                    assert first["afterClusterTime"] in wire.written
                    # The reads of one verb follow each other.
                    assert {concern["level"] for concern in later} <= {"majority"}


async def test_what_the_majority_of_a_shard_lacks_is_shown_to_no_reader(sharded: ShardedCluster) -> None:
    shard = sharded.shards["shard0"]
    primary = await asyncio.to_thread(shard.primary)
    others = [member for member in shard.members if member is not primary]
    async with (
        AsyncMongoStore(sharded.uri, "test_lacking") as store,
        AsyncMongoClient[dict[str, Any]](primary.address, directConnection=True) as client,
    ):
        for number in range(8):
            await store.sessions.create(f"s{number}")
        here = await client.test_lacking.sessions.find_one({})
        assert here
        id = here["session_id"]
        for member in others:
            member.send(signal.SIGSTOP)
        try:
            writing = asyncio.create_task(store.sessions.messages.append(id, Message(id="m", role="user")))
            async with asyncio.timeout(20):
                while await client.test_lacking.sessions.find_one({"messages.id": "m"}) is None:
                    await asyncio.sleep(0.01)
            page = await store.sessions.messages.list(id)
        finally:
            for member in others:
                member.send(signal.SIGCONT)
        assert page.items == []
        await writing
        assert [message.id for message in (await store.sessions.messages.list(id)).items] == ["m"]


@pytest.fixture
def silent(sharded: ShardedCluster) -> Iterator[None]:
    """Shards that write nothing by themselves."""

    def write_noops(wanted: bool) -> None:
        for shard in sharded.shards.values():
            for member in shard.members:
                shard.ask(member, {"setParameter": 1, "writePeriodicNoops": wanted})

    write_noops(False)
    yield
    write_noops(True)


async def test_heartbeats_end_the_delay_of_tails(
    sharded: ShardedCluster,
    silent: None,
    monkeypatch: pytest.MonkeyPatch,
    until_followed: Callable[[], Awaitable[None]],
) -> None:
    async def first(store: AsyncMongoStore) -> asyncio.Task[MessageChange]:
        changes = store.sessions.messages.watch("s")
        reading = asyncio.ensure_future(anext(changes))
        await until_followed()
        await store.sessions.messages.append("s", Message(role="user"))
        await asyncio.wait([reading], timeout=5)
        return reading

    async with AsyncMongoStore(sharded.uri, "test_tails") as store:
        await store.sessions.create("s")
        late = await first(store)
        monkeypatch.setenv("MONGOSTORE_HEARTBEAT", "0.2")
        async with AsyncMongoStore(sharded.uri, "test_tails") as beating:
            assert (await (await first(beating))).kind == "append"
        # The other store's heartbeats help this one's tail too, unless a write of the shard has by then.
        assert (await asyncio.wait_for(late, 5)).kind == "append"


async def test_doctor_measures_the_delay_of_tails(
    sharded: ShardedCluster, silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "TAIL_SECONDS", 4.0)
    async with AsyncMongoStore(sharded.uri, "test_doctor") as store:

        async def tails() -> diagnostics.CheckResult:
            [found] = [one for one in await store.diagnose() if one.check == "tails"]
            return found

        await store.sessions.create("s")
        late = await tails()
        assert (late.status, "MONGOSTORE_HEARTBEAT" in late.advice) == ("warning", True)
        monkeypatch.setenv("MONGOSTORE_HEARTBEAT", "0.2")
        async with AsyncMongoStore(sharded.uri, "test_doctor") as beating:
            watching = asyncio.ensure_future(anext(beating.sessions.messages.watch("s")))
            await asyncio.sleep(1)
            assert (await tails()).status == "ok"
            watching.cancel()


async def test_a_long_session_costs_what_a_short_one_costs(
    sharded: ShardedCluster, client: MongoClient[dict[str, Any]]
) -> None:
    lengths = {"short": 100, "middling": 1000, "long": LONG}
    costs: dict[str, list[tuple[int, int]]] = {}
    async with logged_store(sharded.uri, "test_long", wire := CommandLog()) as store:
        messages = store.sessions.messages
        for name, length in lengths.items():
            await store.sessions.create(name)
            for _ in range(0, length, 100):
                await messages.append_many(name, [Message(role="user", content=TEXT) for _ in range(100)])
        wire.explainer = client
        for name in lengths:
            cost = costs[name] = []
            for call in (
                lambda name=name: messages.append(name, Message(role="user", content=TEXT)),
                lambda name=name: messages.list(name, newest=True, limit=20),
                lambda name=name: store.sessions.get(name),
                lambda name=name: messages.count(name),
                # These are about messages that a short session has in its tail.
                lambda name=name: messages.list(name, limit=20),
                lambda name=name: messages.list(name, after=50, limit=20),
            ):
                wire.sent.clear()
                await call()
                cost.append((len(wire.sent), sum(map(examined, wire.sent))))
        assert await messages.count("long") == LONG + 1
    assert costs["long"] == costs["middling"]
    assert costs["long"][:4] == costs["short"][:4]
    assert [commands for commands, _ in costs["long"]] == [1, 1, 1, 1, 2, 3]


async def test_a_killed_member_loses_nothing_acknowledged(sharded: ShardedCluster) -> None:
    acknowledged: dict[str, list[str]] = {f"s{number}": [] for number in range(8)}
    async with AsyncMongoStore(sharded.uri, "test_killed", timeout=60) as store:
        for name in acknowledged:
            await store.sessions.create(name)
        assert len(on_shards(sharded, "test_killed", "sessions", {})) == 2
        for shard in sharded.shards.values():
            for member in shard.members:
                # It has the indexes of all databases by now, and need not make them once more.
                await asyncio.to_thread(shard.ask, member, {"fsync": 1})
        is_over = asyncio.Event()

        async def write(name: str, ids: list[str]) -> None:
            while not is_over.is_set():
                message = Message(role="user", content=TEXT)
                try:
                    await store.sessions.messages.append(name, message)
                except UnavailableError:
                    continue
                ids.append(message.id)

        async def wait_for(count: int) -> None:
            following = {name: len(ids) + count for name, ids in acknowledged.items()}
            while any(len(acknowledged[name]) < wanted for name, wanted in following.items()):
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as writers:
            for name, ids in acknowledged.items():
                writers.create_task(write(name, ids))
            await wait_for(10)
            shard = sharded.shards["shard0"]
            killed = await asyncio.to_thread(shard.primary)
            await asyncio.to_thread(killed.send, signal.SIGKILL)
            await wait_for(10)
            await asyncio.to_thread(killed.start)
            await asyncio.to_thread(shard.wait_until_idle)
            await wait_for(10)
            is_over.set()
        for name, ids in acknowledged.items():
            stored = [message.id async for message in store.sessions.messages.iter(name)]
            assert [id for id in ids if id not in stored] == []
            assert len(stored) == len({*stored})
