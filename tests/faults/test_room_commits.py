"""Commits whose commands fail, stall or are carried out without an answer store each event exactly once."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pymongo.errors import NetworkTimeout

from mongostore import (
    AsyncMongoStore,
    Binding,
    Event,
    Identity,
    MongoStoreError,
    UnavailableError,
    VoiceDelivery,
)

pytestmark = pytest.mark.server

STATEMENTS = ["aggregate", "insert", "update", "commitTransaction", "abortTransaction"]
GROUP = 8
FAULTS = {
    "closed": {"closeConnection": True},
    "not-the-primary": {"errorCode": 10107},
    "shutting-down": {"errorCode": 91},
    "conflict": {"errorCode": 112},
    "no-such-transaction": {"errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    "late": {"writeConcernError": {"code": 64, "errmsg": "late"}},
    "done-while-shutting-down": {"writeConcernError": {"code": 91, "errmsg": "gone"}},
}
# One after which the driver tries again, and one after which the transaction is begun anew.
EVERYWHERE = ("closed", "conflict")


def new_event(n: int | str) -> Event:
    return Event(id=f"e{n}", room_id="r", channel_id="c", content="said", idempotency_key=f"k{n}")


def edit(target: Event, n: int | str) -> tuple[Event, Event]:
    """Return an event that edits another one, and that one as it is to be."""
    event = new_event(n).model_copy(update={"type": "edit", "change": "edit", "target_event_id": target.id})
    return event, target.model_copy(update={"content": f"edited by {event.id}"})


async def check_room(store: AsyncMongoStore, *expected: str) -> None:
    """Check that a room holds these events, each once, and that its counters say so."""
    stored = [event async for event in store.rooms.events.iter("r", blocked=True)]
    assert sorted(event.id for event in stored) == sorted(expected)
    assert [event.index for event in stored] == list(range(len(stored)))
    room = await store.rooms.get("r")
    assert (room.event_count, room.latest_index) == (len(stored), len(stored) - 1 if stored else None)


async def check_nothing_open(admin: Any) -> None:
    """Check that the server has no transaction open, or none for long."""
    async with asyncio.timeout(5):
        while (await admin.admin.command("serverStatus"))["transactions"]["currentOpen"]:
            await asyncio.sleep(0.02)


def is_ours(task: asyncio.Task[Any]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and frame.f_globals["__name__"].startswith("mongostore.")


async def check_no_task() -> None:
    """Check that every task of the stores ends."""
    async with asyncio.timeout(5):
        while any(map(is_ours, asyncio.all_tasks())):
            await asyncio.sleep(0.01)


@pytest.fixture
async def room(faults: Any) -> Event:
    """The first event of a new room; nothing fails yet."""
    await faults.store.rooms.create("r")
    return await faults.store.rooms.events.append("r", new_event("first"))


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        # In every run each statement fails in two ways, and a commit in all.
        pytest.param(
            command,
            fault,
            marks=() if command == "commitTransaction" or fault in EVERYWHERE else pytest.mark.long,
        )
        for command in STATEMENTS
        for fault, how in FAULTS.items()
        # Statements inside a transaction wait for no majority.
        if command == "commitTransaction" or "writeConcernError" not in how
    ],
)
async def test_a_commit_of_which_a_statement_fails_is_stored_once(
    faults: Any, room: Event, command: str, fault: str
) -> None:
    store = faults.store
    event, target = edit(room, "edit")
    # Something has to be aborted before an abort can fail.
    aborting = command == "abortTransaction"
    # Twice is once more than the driver tries by itself.
    numbers = (1,) if aborting else (1, 2)
    for times in numbers:
        await faults.fail([command], times, **FAULTS[fault])
        if aborting:
            with pytest.raises(MongoStoreError):
                await store.rooms.events.append("r", new_event(f"none-{times}"), target=new_event("missing"))
        single = event.model_copy(update={"id": f"single-{times}", "idempotency_key": f"single-{times}"})
        stored = await store.rooms.events.append("r", single, target=target)
        assert await store.rooms.events.get("r", single.id) == stored
        group = [new_event(f"{times}-{n}") for n in range(GROUP)]
        await faults.fail([command], times, **FAULTS[fault])
        committed = await asyncio.gather(*(store.rooms.events.append("r", one) for one in group))
        assert [await store.rooms.events.get("r", one.id) for one in group] == committed
    assert (await store.rooms.events.get("r", "efirst")).content == "edited by eedit"
    await check_nothing_open(faults.admin)
    names = ["efirst"]
    for times in numbers:
        names += [f"single-{times}", *(f"e{times}-{n}" for n in range(GROUP))]
    await check_room(store, *names)


@pytest.mark.parametrize(
    "fault", ["closed", *(pytest.param(name, marks=pytest.mark.long) for name in ("shutting-down", "late"))]
)
async def test_commits_throughout_a_fault_are_stored_once_when_it_is_over(
    faults: Any, room: Event, fault: str
) -> None:
    commands = ["insert"] if fault == "late" else STATEMENTS
    async with faults.failing(commands, **FAULTS[fault]):
        working = [
            asyncio.create_task(faults.store.rooms.events.append("r", new_event(n))) for n in range(GROUP)
        ]
        # What only the majority has yet to acknowledge is found stored, and waited for.
        done, _ = await asyncio.wait(working, timeout=15 if fault == "late" else 1.5)
        assert len(done) == (GROUP if fault == "late" else 0)
    await asyncio.gather(*working)
    await check_room(faults.store, "efirst", *(f"e{n}" for n in range(GROUP)))


@pytest.mark.parametrize(
    "command",
    [
        "findAndModify",
        # As the first statement of a transaction stalls, so do those behind it.
        *(pytest.param(name, marks=pytest.mark.long) for name in ("commitTransaction", "insert", "update")),
    ],
)
async def test_a_commit_that_stalls_beyond_an_attempt_is_stored_once(
    faults: Any, room: Event, command: str
) -> None:
    await faults.fail([command], 1, blockConnection=True, blockTimeMS=3300)
    working = [
        asyncio.create_task(faults.store.rooms.events.append("r", edit(room, 0)[0], target=edit(room, 0)[1]))
    ]
    working += [
        asyncio.create_task(faults.store.rooms.events.append("r", new_event(n))) for n in range(1, GROUP)
    ]
    await asyncio.gather(*working)
    await check_nothing_open(faults.admin)
    await check_room(faults.store, "efirst", *(f"e{n}" for n in range(GROUP)))


class LossyConnection:
    """A stretch of network before a server.

    Attributes:
        loses: The commands that it carries on, once for each time they are named, and whose reply it loses.
        drops: The commands that it does not carry on, once for each time they are named.
        delays: How many seconds it keeps a command before it carries it on, whoever has gone meanwhile.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.loses: list[str] = []
        self.drops: list[str] = []
        self.delays: dict[str, float] = {}

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, onward = await asyncio.open_connection("127.0.0.1", self.port)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await frame(reader)
                # Of an OP_MSG: the first name in its first section, behind header, flags, kind, length, type.
                name = request[26 : request.index(0, 26)].decode(errors="replace")
                await asyncio.sleep(self.delays.get(name, 0))
                if name in self.drops:
                    self.drops.remove(name)
                    # Until nobody waits for an answer any more.
                    await reader.read()
                    break
                onward.write(request)
                reply = await frame(upstream)
                if name in self.loses:
                    self.loses.remove(name)
                    break
                writer.write(reply)
        for stream in (writer, onward):
            stream.close()
            with suppress(ConnectionError):
                await stream.wait_closed()


async def frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("<i", head)[0] - 4)


@asynccontextmanager
async def lossy_store(uri: str, database: str) -> AsyncIterator[tuple[AsyncMongoStore, LossyConnection]]:
    if "127.0.0.1" not in uri or "tls=true" in uri:
        pytest.skip("needs a server on this machine whose traffic can be read")
    network = LossyConnection(int(uri.partition("127.0.0.1:")[2].partition("/")[0]))
    server = await asyncio.start_server(network.connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # Without the driver's own retry of writes each loss is for the store to make good.
    options = "directConnection=true&retryWrites=false&serverMonitoringMode=poll"
    async with AsyncMongoStore(f"mongodb://127.0.0.1:{port}/?{options}", database) as store:
        yield store, network
    server.close()


@pytest.mark.parametrize("losses", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("command", STATEMENTS)
async def test_a_commit_whose_answers_are_lost_is_stored_once(
    faults: Any, room: Event, server_uri: str, database: str, command: str, losses: int
) -> None:
    async with lossy_store(server_uri, database) as (store, network):
        network.loses = [command] * losses
        if command == "abortTransaction":
            network.loses = ["abortTransaction", "insert"]
        event, target = edit(room, "edit")
        stored = await store.rooms.events.append("r", event, target=target)
        assert await faults.store.rooms.events.get("r", event.id) == stored
        assert not network.loses
        network.loses = [command] * losses
        group = [new_event(n) for n in range(GROUP)]
        committed = await asyncio.gather(*(store.rooms.events.append("r", one) for one in group))
        assert sorted(one.index for one in committed) == list(range(2, 2 + GROUP))
    await check_nothing_open(faults.admin)
    await check_room(faults.store, "efirst", "eedit", *(f"e{n}" for n in range(GROUP)))


async def test_a_room_whose_creation_was_tried_again_has_one_log(
    faults: Any, server_uri: str, database: str
) -> None:
    async with lossy_store(server_uri, database) as (store, network):
        network.loses = ["findAndModify"]
        await store.rooms.create("r")
        assert not network.loses
        for number, one in enumerate((store, faults.store, store)):
            assert (await one.rooms.events.append("r", new_event(number))).index == number
    await check_room(faults.store, "e0", "e1", "e2")


async def test_callers_cancelled_at_any_moment_harm_nobody_else_of_their_group(
    faults: Any, room: Event
) -> None:
    store, chance = faults.store, random.Random(5)
    acknowledged, cancelled, round = [], 0, 0
    while cancelled < 30:
        round += 1
        working = [
            asyncio.create_task(store.rooms.events.append("r", new_event(f"{round}-{n}")))
            for n in range(GROUP)
        ]
        await asyncio.sleep(chance.random() * 0.02)
        cancelled += sum(task.cancel() for task in working[:3])
        ended = await asyncio.gather(*working, return_exceptions=True)
        assert all(isinstance(one, Event) for one in ended[3:])
        acknowledged += [one.id for one in ended if isinstance(one, Event)]
        assert all(isinstance(one, Event | asyncio.CancelledError) for one in ended)
    await check_no_task()
    await check_nothing_open(faults.admin)
    stored = [event.id async for event in store.rooms.events.iter("r")]
    assert set(acknowledged) <= set(stored)
    await check_room(store, *stored)


async def test_a_commit_behind_a_stalled_one_ends_in_time(
    server_uri: str, database: str, faults: Any, room: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "1")
    app = f"{server_uri}{'&' if '?' in server_uri else '/?'}appName=stalled-{database}"
    async with AsyncMongoStore(app, database) as store:
        stalled = replace(faults, app=f"stalled-{database}")
        before = await stalled.fail(["insert"], 2, blockConnection=True, blockTimeMS=1500)
        working = [asyncio.create_task(store.rooms.events.append("r", new_event(0)))]
        await stalled.wait_until_failing(before)
        working += [
            asyncio.create_task(store.rooms.events.append("r", new_event(n))) for n in range(1, GROUP)
        ]
        async with asyncio.timeout(12):
            ended = await asyncio.gather(*working, return_exceptions=True)
        assert {type(one) for one in ended} == {UnavailableError}
        # The room is not blocked by what it had to give up.
        async with asyncio.timeout(12):
            while True:
                with suppress(UnavailableError):
                    await store.rooms.events.append("r", new_event("after"))
                    break
    await check_nothing_open(faults.admin)
    stored = [event.id async for event in faults.store.rooms.events.iter("r")]
    assert "eafter" in stored
    await check_room(faults.store, *stored)


@pytest.mark.parametrize(
    "moment", [0.01, *(pytest.param(moment, marks=pytest.mark.long) for moment in (0.0, 0.005, 0.02, 0.3))]
)
@pytest.mark.parametrize("stalled", [None, "insert", "commitTransaction"])
async def test_closing_the_store_lets_those_end_well_who_wait(
    faults: Any, room: Event, moment: float, stalled: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = AsyncMongoStore(faults.uri, faults.store.engine.database.name)
    await store.open()
    if stalled:
        await faults.fail([stalled], 1, blockConnection=True, blockTimeMS=600)
    working = [asyncio.create_task(store.rooms.events.append("r", new_event(0)))]
    await asyncio.sleep(moment)
    working += [asyncio.create_task(store.rooms.events.append("r", new_event(n))) for n in range(1, GROUP)]
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(15):
        ended = await asyncio.gather(*working, return_exceptions=True)
    assert all(isinstance(one, Event) for one in ended), ended
    await check_no_task()
    assert not [record for record in caplog.records if record.name == "asyncio"]
    await faults.store.rooms.events.append("r", new_event("after"))
    stored = [event.id async for event in faults.store.rooms.events.iter("r")]
    assert {one.id for one in ended if isinstance(one, Event)} <= set(stored)
    await check_room(faults.store, *stored)


Verb = Callable[[AsyncMongoStore], Awaitable[Any]]
VERBS: dict[str, tuple[list[str], Verb]] = {
    "delete-event": (
        ["find", "update", "commitTransaction"],
        lambda store: store.rooms.events.delete("r", "efirst"),
    ),
    "delete-newest-event": (
        ["aggregate", "find", "update", "findAndModify", "commitTransaction"],
        lambda store: store.rooms.events.delete("r", "ereply"),
    ),
    "create-event": (
        ["insert"],
        lambda store: store.rooms.events.create("r", new_event("own").model_copy(update={"index": 7})),
    ),
    "create-identity": (
        ["findAndModify", "insert", "commitTransaction"],
        lambda store: store.rooms.identities.create(Identity(id="i2", addresses={"sms": ["2", "3"]})),
    ),
    "link-address": (
        ["findAndModify", "commitTransaction"],
        lambda store: store.rooms.identities.link_address("i", "sms", "2"),
    ),
    "unlink-address": (
        ["findAndModify", "delete", "commitTransaction"],
        lambda store: store.rooms.identities.unlink_address("i", "sms", "1"),
    ),
    "delete-identity": (
        ["delete", "commitTransaction"],
        lambda store: store.rooms.identities.delete("i"),
    ),
    "bind": (
        ["findAndModify", "update", "commitTransaction"],
        lambda store: store.rooms.bindings.upsert("r", Binding(channel_id="c2")),
    ),
    "claim-voice": (
        ["findAndModify", "commitTransaction"],
        lambda store: store.rooms.voice_deliveries.claim(
            "r", VoiceDelivery(key="k", content_hash="h", attempt_id="a")
        ),
    ),
}
REMAINING = ["rooms", "events", "bindings", "identities", "identity_addresses", "voice_deliveries"]
VARYING = {
    *("op", "created_at", "updated_at", "active_at", "room_created_at"),
    "listed_at",
    *("epoch", "log", "counters", "ops", "delete_op", "unindexed", "stored_at"),
}


async def prepare(store: AsyncMongoStore) -> None:
    # What is left of a room keeps other processes from adding to it.
    await store.rooms.delete("r")
    for name in REMAINING:
        await store.engine.database[name].delete_many({"emptied_at": None})
    await store.rooms.create("r")
    first = await store.rooms.events.append("r", new_event("first"))
    event, target = edit(first, "edit")
    await store.rooms.events.append("r", event, target=target)
    await store.rooms.events.append("r", new_event("reply").model_copy(update={"parent_event_id": "efirst"}))
    await store.rooms.identities.create(Identity(id="i", addresses={"sms": ["1"]}))


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(one) for one in value]
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    return {name: one for name, one in value.items() if name not in VARYING} if type(value) is dict else value


async def left(store: AsyncMongoStore) -> Any:
    found = {}
    for name in REMAINING:
        found_documents = store.engine.database[name].find({"emptied_at": None}).sort("_id", 1)
        documents = [plain(one) async for one in found_documents]
        found[name] = documents
    return found


# Of all verbs the answers are lost, below, in every run.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("create-event", "create-identity") else pytest.mark.long)
        for name in VERBS
    ],
)
async def test_other_transactions_that_fail_give_and_leave_the_same(faults: Any, name: str) -> None:
    store, (statements, verb) = faults.store, VERBS[name]
    await prepare(store)
    expected = plain(await verb(store)), await left(store)
    for command in statements:
        for fault in ("closed", "conflict", "late", "done-while-shutting-down"):
            if "writeConcernError" in FAULTS[fault] and command != "commitTransaction":
                continue
            await prepare(store)
            await faults.fail([command], 3, **FAULTS[fault])
            assert (plain(await verb(store)), await left(store)) == expected, (command, fault)
    await check_nothing_open(faults.admin)


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("losses", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_other_transactions_whose_answers_are_lost_give_and_leave_the_same(
    faults: Any, server_uri: str, database: str, losses: int, name: str
) -> None:
    (statements, verb) = VERBS[name]
    await prepare(faults.store)
    expected = plain(await verb(faults.store)), await left(faults.store)
    async with lossy_store(server_uri, database) as (store, network):
        for command in statements:
            await prepare(faults.store)
            network.loses = [command] * losses
            assert (plain(await verb(store)), await left(faults.store)) == expected, command
            network.loses = []
    await check_nothing_open(faults.admin)


async def test_transactions_cancelled_at_any_moment_leave_none_open(faults: Any, room: Event) -> None:
    identities, chance, cancelled = faults.store.rooms.identities, random.Random(11), 0
    await identities.create(Identity(id="i"))
    numbers = itertools.count()
    while cancelled < 50:
        work = asyncio.create_task(identities.link_address("i", "sms", f"{next(numbers)}"))
        await asyncio.sleep(chance.random() * 0.012)
        cancelled += work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await check_nothing_open(faults.admin)
    identity = await identities.get("i")
    for address in identity.addresses.get("sms", []):
        held = await identities.find_by_address("sms", address)
        assert held == identity
    stored = faults.store.engine.database["identity_addresses"]
    assert await stored.count_documents({}) == len(identity.addresses.get("sms", []))


async def test_no_transaction_is_begun_behind_a_caller_who_is_gone(
    faults: Any, server_uri: str, database: str
) -> None:
    async with lossy_store(server_uri, database) as (store, network):
        await store.rooms.identities.create(Identity(id="i"))
        network.delays = dict.fromkeys(("findAndModify", "update"), 0.5)
        work = asyncio.create_task(store.rooms.identities.link_address("i", "sms", "1"))
        await asyncio.sleep(0.2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        # By now the server has been told all that was on its way.
        await asyncio.sleep(0.6)
        await check_nothing_open(faults.admin)


async def test_a_commit_that_was_on_its_way_when_its_caller_was_cancelled_is_carried_through(
    faults: Any, server_uri: str, database: str
) -> None:
    async with lossy_store(server_uri, database) as (store, network):
        await store.rooms.identities.create(Identity(id="i"))
        network.drops = ["commitTransaction"]
        work = asyncio.create_task(store.rooms.identities.link_address("i", "sms", "1"))
        async with asyncio.timeout(20):
            while network.drops:
                await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await check_nothing_open(faults.admin)
        assert await store.rooms.identities.find_by_address("sms", "1") is not None


async def test_a_statement_that_does_not_end_is_waited_for_until_the_deadline_and_undone_after_it(
    faults: Any,
) -> None:
    engine, over = faults.store.engine, asyncio.Event()

    async def statements(session: Any) -> None:
        await engine.database["rooms"].insert_one({"_id": "r"}, session=session)
        # As the driver waits for the look-up of a name.
        async with asyncio.timeout(5):
            await over.wait()

    with pytest.raises(NetworkTimeout), engine.deadline(0.3):
        await engine.transact(statements)
    over.set()
    await check_nothing_open(faults.admin)
    assert await engine.database["rooms"].find_one({"_id": "r"}) is None


async def test_a_deleted_room_takes_all_with_it_whatever_fails(faults: Any) -> None:
    store = faults.store
    for command in ("findAndModify", "delete"):
        for fault in ("closed", "not-the-primary", "late"):
            await prepare(store)
            await store.rooms.bindings.upsert("r", Binding(channel_id="c"))
            await faults.fail([command], 3, **FAULTS[fault])
            assert await store.rooms.delete("r")
            for name in ("rooms", "events", "bindings"):
                assert await store.engine.database[name].count_documents({"emptied_at": None}) == 0
            assert not await store.rooms.delete("r")
