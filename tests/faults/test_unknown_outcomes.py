"""Verbs whose commands fail, stall or are carried out without an answer still do their work exactly once."""

from __future__ import annotations

import asyncio
import copy
import gc
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError as DriverConfigurationError

from mongostore import AsyncMongoStore, ConflictError, Event, Message, NotOpenError, Turn
from mongostore.repositories.sessions import TailLimits
from mongostore.repositories.sessions.bulk import SessionTransfer

pytestmark = pytest.mark.server

WRITES = ["insert", "update", "delete", "findAndModify"]
COMMANDS = [*WRITES, "find"]
LARGE = "x" * 2000
# Tails that roll at 8 messages, by 4, and values that are soon too large to be embedded.
LIMITS = TailLimits(keep=4, full=8, embed_bytes=1000, context_embed_bytes=1000)
KEEP, FULL = LIMITS.keep, LIMITS.full
Verb = Callable[[AsyncMongoStore, str], Awaitable[Any]]


@pytest.fixture
def tail_limits() -> TailLimits:
    return LIMITS


def message(n: int | str, content: str = "text") -> Message:
    return Message(id=f"m{n}", role="user", content=content)


def turns(*contents: Any) -> list[Turn]:
    return [Turn(role="user", content=content) for content in contents]


async def integrate(store: AsyncMongoStore, session_id: str) -> Any:
    def insights_of(participant: str, turns: Sequence[Turn]) -> list[Any]:
        return [f"{participant} {turn.number}" for turn in turns]

    return (await store.sessions.turns.integrate(session_id, insights_of)).results


async def prepare(store: AsyncMongoStore, session_id: str) -> None:
    """Make a session of turns, segments, a full tail, a large message and a large context.

    `…restore` is deleted.
    """
    await store.sessions.create(session_id, participants=["p", "q"])
    await store.sessions.turns.append_many(session_id, "p", turns(*range(KEEP - 1), LARGE))
    old = [*(message(f"old{n}") for n in range(KEEP - 1)), message("oldlarge", LARGE)]
    await store.sessions.messages.append_many(session_id, old)
    await store.sessions.messages.append_many(session_id, [message(n) for n in range(FULL)])
    await store.sessions.messages.append_many(session_id, [message("large", LARGE)])
    last = FULL + KEEP - 1
    await store.sessions.messages.append_many(session_id, [message(n) for n in range(FULL, last)])
    await store.sessions.context.set(session_id, LARGE)
    if session_id.endswith("restore"):
        await store.sessions.soft_delete(session_id)


async def pop_of_segment(store: AsyncMongoStore, id: str) -> Message | None:
    going = ["mlarge", *(f"m{n}" for n in range(4, FULL + KEEP - 1))]
    await store.sessions.messages.delete_many(id, going)
    return await store.sessions.messages.pop(id)


async def pop_twice(store: AsyncMongoStore, id: str) -> list[Message | None]:
    return [await store.sessions.messages.pop(id) for _ in range(2)]


VERBS: dict[str, Verb] = {
    "create": lambda store, id: store.sessions.create(f"{id}~created", name="name"),
    "append": lambda store, id: store.sessions.messages.append(id, message("new")),
    "append-minted": lambda store, id: store.sessions.messages.append(
        id, Message(role="user", content="minted")
    ),
    "append-large": lambda store, id: store.sessions.messages.append(id, message("new", LARGE)),
    "append-many": lambda store, id: store.sessions.messages.append_many(
        id, [message(1000 + n) for n in range(KEEP + 9)]
    ),
    "append-to-begin": lambda store, id: store.sessions.messages.append(
        f"{id}~created", message("new"), create={"name": "begun"}, update={"metadata": {"a": 1}}
    ),
    "append-guarded": lambda store, id: store.sessions.messages.append(
        id, message("new"), update={"name": "changed"}, after=FULL + 2 * KEEP - 1
    ),
    "append-to-branch": lambda store, id: store.sessions.branches.append_many(
        id, [message("new"), message("newer")], parent_id=f"m{FULL + KEEP - 2}", update={"name": "branched"}
    ),
    "append-to-begin-branch": lambda store, id: store.sessions.branches.append_many(
        id, [message("new")], parent_id="m3"
    ),
    "pop": lambda store, id: store.sessions.messages.pop(id),
    "pop-after-pop": pop_twice,
    "pop-of-segment": pop_of_segment,
    "replace-newest": lambda store, id: store.sessions.messages.replace_newest(
        id, [f"m{n}" for n in range(FULL, FULL + KEEP - 1)], [message("r1"), message("r2", LARGE)]
    ),
    "ensure": lambda store, id: store.sessions.ensure(f"{id}~created", name="ensured"),
    "update-newest": lambda store, id: store.sessions.messages.update(
        id, f"m{FULL + KEEP - 2}", content="new"
    ),
    "update-in-tail": lambda store, id: store.sessions.messages.update(id, f"m{FULL}", metadata={"a.b": 1}),
    "update-in-segment": lambda store, id: store.sessions.messages.update(id, "m3", content="new"),
    "update-to-large": lambda store, id: store.sessions.messages.update(id, "m3", content=LARGE),
    "update-large": lambda store, id: store.sessions.messages.update(id, "mlarge", content=LARGE + "y"),
    "update-to-small": lambda store, id: store.sessions.messages.update(id, "mlarge", content="small"),
    "replace": lambda store, id: store.sessions.messages.replace(id, message(3, "new")),
    "upsert-new": lambda store, id: store.sessions.messages.upsert(id, message("new")),
    "upsert-begin": lambda store, id: store.sessions.messages.upsert(
        f"{id}~created", message("new"), create={"name": "begun"}
    ),
    "upsert": lambda store, id: store.sessions.messages.upsert(id, message(3, "new")),
    "delete-in-tail": lambda store, id: store.sessions.messages.delete(id, f"m{FULL}"),
    "delete-in-segment": lambda store, id: store.sessions.messages.delete(id, "m3"),
    "delete-some": lambda store, id: store.sessions.messages.delete_many(
        id, ["m3", f"m{FULL}", "mlarge", "none"]
    ),
    "delete-all": lambda store, id: store.sessions.messages.truncate(id),
    "truncate": lambda store, id: store.sessions.truncate(id),
    "bind": lambda store, id: store.sessions.participants.ensure(id, "new"),
    "bind-again": lambda store, id: store.sessions.participants.ensure(id, "p"),
    "import-participant": lambda store, id: SessionTransfer.of(store.sessions).bind(
        id, "new", datetime(2026, 1, 1, tzinfo=UTC)
    ),
    "unbind": lambda store, id: store.sessions.participants.delete(id, "p"),
    "append-turns": lambda store, id: store.sessions.turns.append_many(id, "p", turns("new", "newer")),
    "append-large-turns": lambda store, id: store.sessions.turns.append_many(id, "q", turns("new", LARGE)),
    "append-many-turns": lambda store, id: store.sessions.turns.append_many(id, "q", turns(*range(KEEP + 9))),
    "append-guarded-turns": lambda store, id: store.sessions.turns.append_many(
        id, "p", turns("new", LARGE), revision=1
    ),
    "append-named-turns": lambda store, id: store.sessions.turns.append_many(
        id, "p", [Turn(id="t", role="user", content=LARGE)]
    ),
    "integrate": integrate,
    "update": lambda store, id: store.sessions.update(id, revision=1, name="new", metadata={"a": None}),
    "set-context": lambda store, id: store.sessions.context.set(id, [{"small": 1}]),
    "set-context-large": lambda store, id: store.sessions.context.set(id, LARGE + "y"),
    "set-context-to-begin": lambda store, id: store.sessions.context.set(
        f"{id}~created", [{"small": 1}], create={"name": "begun"}
    ),
    "set-large-context-to-begin": lambda store, id: store.sessions.context.set(
        f"{id}~created", LARGE, create=True
    ),
    "delete-context": lambda store, id: store.sessions.context.delete(id),
    "delete": lambda store, id: store.sessions.soft_delete(id),
    "restore": lambda store, id: store.sessions.undelete(id),
    "purge": lambda store, id: store.sessions.delete(id),
}
# Calls one after another, between which others may act.
SEVERAL = {"pop-after-pop", "pop-of-segment"}
VARYING = {
    **dict.fromkeys(("id", "created_at", "updated_at", "active_at", "deleted_at", "bound_at"), True),
    "participants": {"__all__": {"bound_at"}},
}


def plain(value: Any) -> Any:
    """Return a result without what differs from call to call."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not hasattr(value, "model_dump"):
        return value
    members = value.model_dump(exclude=VARYING | {"last": True})
    return members | {"new": value.created_at == value.updated_at} if isinstance(value, Message) else members


async def left(store: AsyncMongoStore, session_id: str) -> Any:
    """Return everything there is of a session by now."""
    found: list[Any] = []
    for id in (session_id, f"{session_id}~created"):
        if session := await store.sessions.find(id):
            messages = [one async for one in store.sessions.messages.iter(id)]
            context = await store.sessions.context.get(id) if session.has_context else None
            found += [plain(session), [(one.position, plain(one)) for one in messages], context]
    return found


async def run_without_faults(store: AsyncMongoStore, name: str) -> tuple[Any, Any]:
    """Return what a verb gives and leaves when nothing fails."""
    id = f"plain-{name}"
    await prepare(store, id)
    return plain(await VERBS[name](store, id)), await left(store, id)


class LossyConnection:
    """A stretch of network before a server that loses the request or the reply of chosen writes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.losses: dict[int, str] = {}
        self.writes = 0
        self.lost = 0

    def lose(self, losses: dict[int, str]) -> None:
        """Lose the request or the reply of these of the writes that come, counted from 1."""
        self.losses, self.writes = losses, 0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, onward = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while True:
                request = await frame(reader)
                loss = self.loss_of(request)
                if loss == "request":
                    return
                onward.write(request)
                reply = await frame(upstream)
                if loss:
                    return
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for stream in (writer, onward):
                stream.close()
                with suppress(ConnectionError):
                    await stream.wait_closed()

    def loss_of(self, request: bytes) -> str | None:
        # Of an OP_MSG: the first name in its first section, behind header, flags, kind, length and type.
        name = request[26 : request.index(0, 26)].decode() if request[12:14] == b"\xdd\x07" else ""
        if name not in WRITES:
            return None
        self.writes += 1
        loss = self.losses.get(self.writes)
        self.lost += loss is not None
        return loss


async def frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("<i", head)[0] - 4)


@asynccontextmanager
async def lossy_store(uri: str, database: str) -> AsyncIterator[tuple[AsyncMongoStore, LossyConnection]]:
    network = LossyConnection(int(uri.partition("127.0.0.1:")[2].partition("/")[0]))
    server = await asyncio.start_server(network.connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # Without the driver's own retry each loss is for the store to make good.
    options = "directConnection=true&retryWrites=false&serverMonitoringMode=poll"
    uri = f"mongodb://127.0.0.1:{port}/?{options}"
    async with AsyncMongoStore(uri, database, tail_limits=LIMITS) as store:
        yield store, network
    server.close()


LOSSES = [
    *({n: "reply"} for n in range(1, 6)),
    *({n: "request"} for n in range(1, 3)),
    *({n: "reply", n + 1: "reply"} for n in range(1, 4)),
]
# The first reply. Below, the requests of all verbs are refused for a while in every run.
FEW_LOSSES = [LOSSES[0]]


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    "losses_of", [FEW_LOSSES, pytest.param(LOSSES, marks=pytest.mark.long)], ids=["few", "all"]
)
async def test_a_verb_whose_writes_are_lost_on_the_way_gives_and_leaves_the_same(
    server_uri: str,
    server_store: AsyncMongoStore,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    losses_of: list[dict[int, str]],
) -> None:
    if "127.0.0.1" not in server_uri or "tls=true" in server_uri:
        pytest.skip("needs a server on this machine whose traffic can be read")
    # Else the driver waits half a second after each lost connection.
    monkeypatch.setattr("pymongo.common.MIN_HEARTBEAT_INTERVAL", 0.01)
    expected = await run_without_faults(server_store, name)

    async with lossy_store(server_uri, database) as (store, network):
        for number, losses in enumerate(losses_of):
            id = f"{number}-{name}"
            await prepare(server_store, id)
            network.lose(losses)
            sent = plain(await VERBS[name](store, id))
            network.lose({})
            assert (sent, await left(server_store, id)) == expected, losses
    assert network.lost >= min(len(losses_of), 3)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"closeConnection": True}, id="connections-closed"),
        pytest.param(
            {"errorCode": 10107, "closeConnection": False}, id="not-the-primary", marks=pytest.mark.long
        ),
        pytest.param({"errorCode": 11600}, id="shutting-down", marks=pytest.mark.long),
        pytest.param(
            {"writeConcernError": {"code": 64, "errmsg": "late"}}, id="majority-late", marks=pytest.mark.long
        ),
        pytest.param(
            {"writeConcernError": {"code": 91, "errmsg": "gone"}},
            id="done-while-shutting-down",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"blockConnection": True, "blockTimeMS": 3300},
            id="stalled-beyond-an-attempt",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_verbs_during_a_fault_give_and_leave_the_same(faults: Any, how: dict[str, Any]) -> None:
    expected = dict(
        zip(
            VERBS,
            await asyncio.gather(*(run_without_faults(faults.store, name) for name in VERBS)),
            strict=True,
        )
    )
    for name in VERBS:
        await prepare(faults.store, name)
    commands = WRITES if "writeConcernError" in how else COMMANDS
    async with faults.failing(commands, **how):
        working = {name: asyncio.create_task(verb(faults.store, name)) for name, verb in VERBS.items()}
        await asyncio.sleep(0.6)
        early = {name for name, task in working.items() if task.done()}
    sent = await asyncio.gather(*working.values(), return_exceptions=True)
    outcomes = {
        name: (plain(one), await left(faults.store, name)) for name, one in zip(VERBS, sent, strict=True)
    }
    assert {name: outcome for name, outcome in outcomes.items() if outcome != expected[name]} == {}
    # Of some that are tried again the own write is found, and is what the majority has.
    assert len(early) < len(VERBS) / 4


@pytest.mark.parametrize("command", ["find", "update"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_connections_closed_in_a_row_are_made_good(faults: Any, command: str, times: int) -> None:
    await faults.store.sessions.create("s")
    await faults.fail([command], times, closeConnection=True)
    await faults.store.sessions.messages.append("s", message(1))
    assert [one.id for one in (await faults.store.sessions.messages.list("s")).items] == ["m1"]


@pytest.mark.parametrize("count", [40, pytest.param(150, marks=pytest.mark.long)])
async def test_an_append_cancelled_at_any_moment_and_repeated_is_there_once(
    server_store: AsyncMongoStore, count: int
) -> None:
    sessions, chance = server_store.sessions, random.Random(7)
    cancelled = 0

    async def insist(session_id: str, n: int) -> None:
        nonlocal cancelled
        sent = Message(role="user", content=LARGE if n % 20 == 0 else f"text {n}")
        for _ in range(3):
            work = asyncio.create_task(sessions.messages.append(session_id, sent))
            await asyncio.sleep(chance.random() * 0.01)
            cancelled += work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        await sessions.messages.append(session_id, sent)

    async def fill(session_id: str) -> None:
        await sessions.create(session_id)
        for n in range(count):
            await insist(session_id, n)
        found = [one async for one in sessions.messages.iter(session_id)]
        assert [one.content[:9] for one in found] == [
            LARGE[:9] if n % 20 == 0 else f"text {n}" for n in range(count)
        ]

    await asyncio.gather(*(fill(f"s{number}") for number in range(4)))
    gc.collect()
    assert cancelled > 100


@pytest.mark.parametrize("way", ["same", "copy", "deepcopy", "dumped"])
@pytest.mark.parametrize("first", ["append", "upsert"])
async def test_a_message_with_a_minted_id_is_known_when_it_comes_again(
    server_store: AsyncMongoStore, first: str, way: str
) -> None:
    sessions = server_store.sessions
    await sessions.create("s")
    sent = Message(role="user", content="once")
    again = {
        "same": lambda: sent,
        "copy": sent.model_copy,
        "deepcopy": lambda: copy.deepcopy(sent),
        "dumped": lambda: Message.model_validate(sent.model_dump()),
    }[way]()
    if first == "append":
        await sessions.messages.append("s", sent)
    else:
        stored = await sessions.messages.upsert("s", sent)
        assert stored.created_at == stored.updated_at
    await sessions.messages.append_many("s", [message(n) for n in range(FULL)])
    await sessions.messages.append("s", again)
    assert await sessions.messages.count("s") == FULL + 1
    with pytest.raises(ConflictError):
        await sessions.messages.append("s", again.model_copy(update={"content": "other"}))


async def test_a_verb_that_is_tried_again_ends_when_its_store_is_closed(faults: Any) -> None:
    async with faults.failing(["find", "aggregate"], closeConnection=True):
        trying = asyncio.create_task(faults.store.rooms.find("r"))
        await asyncio.sleep(0.5)
        await faults.store.close()
        with pytest.raises(NotOpenError):
            await trying


async def test_a_member_that_has_just_started_is_asked_again(
    server_store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server_store.rooms.create("r")
    # An event that wakes its room is stored in a transaction.
    await server_store.rooms.update("r", status="paused")
    insert, refused = AsyncCollection.insert_one, iter(range(2))

    async def refuse(collection: Any, *arguments: Any, session: Any = None, **options: Any) -> Any:
        if session and session.in_transaction and next(refused, None) is not None:
            # In the driver's words; its connection is to a member that was in no set when it was made.
            raise DriverConfigurationError("Sessions are not supported by this MongoDB deployment")
        return await insert(collection, *arguments, session=session, **options)

    monkeypatch.setattr(AsyncCollection, "insert_one", refuse)
    stored = await server_store.rooms.events.append("r", Event(channel_id="c"))
    assert (stored.index, [*refused]) == (0, [])
