"""A store's connection: open here or not, and calls that are tried again while the server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure

from mongostore.documents import COLLECTIONS
from mongostore.documents.mapping import SCHEMA_VERSION
from mongostore.engines import Capability
from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
    UnsupportedError,
)
from mongostore.hooks import CallRecord, Hooks, RetryRecord
from mongostore.repositories import connection as connection_module
from mongostore.repositories import retry as module
from mongostore.repositories.connection import Connection
from mongostore.repositories.operation import (
    Access,
    Operation,
    UnmatchedWrite,
    current_operation,
    find_operation,
)
from mongostore.repositories.retry import majority_step, open_stream, retry_step, run_with_retry
from mongostore.repositories.store_collection import StoreCollection

R = TypeVar("R")


class ScriptedEngine(EmbeddedEngine):
    """An embedded engine that records what it is asked for, and fails as it is told to."""

    def __init__(self) -> None:
        super().__init__("", "connection")
        self.asked: list[str] = []
        self.deadlines: list[float] = []
        self.within = 0
        self.refusal: Exception | None = None
        self.lateness: MongoStoreError = UnavailableError("late")
        self.confirmations: list[Exception] = []
        self.is_there = True
        self.reviving: Callable[[], Awaitable[None]] | None = None

    def deadline(self, seconds: float) -> AbstractContextManager[object]:
        return self._deadline(seconds)

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        if self.refusal:
            raise self.refusal
        self.deadlines.append(seconds)
        self.within += 1
        try:
            yield
        finally:
            self.within -= 1

    async def recover(self) -> bool:
        self.asked.append("recover")
        if self.reviving:
            await self.reviving()
        return self.is_there

    async def read_majority(self, reading: Callable[[], Awaitable[R]]) -> R:
        self.asked.append("read_majority")
        return await reading()

    async def wait_for_write_concern(self) -> None:
        self.asked.append("wait_for_write_concern")
        if self.confirmations:
            raise self.confirmations.pop(0)

    def timeout_error(self) -> MongoStoreError:
        self.asked.append("timeout_error")
        return self.lateness


class Script:
    """An action that does one thing after the other: raises what is an exception and returns what is not."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[Operation] = []
        self.attempts: list[int] = []

    async def __call__(self) -> object:
        call = current_operation()
        self.calls.append(call)
        self.attempts.append(call.attempt)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Stream:
    """Something that is opened and has to be closed."""

    def __init__(self, engine: ScriptedEngine, error: Exception | None = None) -> None:
        self.engine = engine
        self.error = error
        self.closings: list[int] = []

    async def close(self) -> None:
        self.closings.append(self.engine.within)
        if self.error:
            raise self.error


async def give(value: R) -> R:
    return value


def away() -> AutoReconnect:
    return AutoReconnect("secret text of the driver")


def pauses(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    monkeypatch.setattr(module, "random", SimpleNamespace(uniform=lambda _low, _high: factor))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses(monkeypatch, 0.0)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def connection(engine: ScriptedEngine) -> AsyncIterator[Connection]:
    connection = Connection(engine, 1000)
    connection.attach()
    engine.deadlines.clear()
    yield connection
    connection.detach()


async def test_a_connection_is_open_from_attaching_to_detaching(engine: ScriptedEngine) -> None:
    connection = Connection(engine, 5)
    assert not connection.is_attached

    connection.attach()
    assert connection.is_attached
    connection.check_open()

    connection.detach()
    assert not connection.is_attached
    with pytest.raises(NotOpenError, match=r"^the store is not open: use `async with`"):
        connection.check_open()


async def test_a_connection_may_be_attached_again(connection: Connection) -> None:
    connection.detach()
    connection.detach()
    connection.attach()

    connection.check_open()
    assert await connection.wait_or_closed(give("here")) == "here"


def test_what_was_never_attached_can_be_detached(engine: ScriptedEngine) -> None:
    connection = Connection(engine, 5)

    connection.detach()

    assert not connection.is_attached


async def test_collections_are_there_while_it_is_open(engine: ScriptedEngine) -> None:
    connection = Connection(engine, 5)
    connection.attach()
    collections: list[Any] = [connection.collection(name) for name in COLLECTIONS]
    assert all(isinstance(collection, StoreCollection) for collection in collections)
    assert [collection.name for collection in collections] == list(COLLECTIONS)

    connection.detach()
    with pytest.raises(NotOpenError, match=r"^the store was closed during the call$"):
        connection.collection("sessions")


async def test_attaching_asks_nothing_of_the_server(engine: ScriptedEngine) -> None:
    Connection(engine, 5).attach()

    assert engine.deadlines == engine.asked == []


async def test_a_forked_process_cannot_use_it(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "os", SimpleNamespace(getpid=lambda: -1))

    with pytest.raises(NotOpenError, match="before a fork"):
        connection.check_open()
    assert connection.is_attached


async def test_another_event_loop_cannot_use_it(connection: Connection) -> None:
    async def check() -> None:
        connection.check_open()

    with pytest.raises(NotOpenError, match="in another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(check()))
    assert connection.is_attached


def test_what_the_deployment_can_do_may_be_required(engine: ScriptedEngine) -> None:
    for capability in engine.capabilities:
        Connection(engine, 5).require(capability)


def test_what_the_deployment_cannot_do_is_named(engine: ScriptedEngine) -> None:
    with pytest.raises(UnsupportedError, match=r"^mongomock://: Atlas Search cannot work: use Atlas$"):
        Connection(engine, 5).require(Capability.SEARCH)


async def test_what_is_waited_for_is_returned(connection: Connection) -> None:
    assert await connection.wait_or_closed(give("here")) == "here"


@pytest.mark.parametrize(
    ("error", "reported"),
    [(OperationFailure("secret text", 13), AccessDeniedError), (OperationFailure("x", 286), ConflictError)],
)
async def test_what_is_refused_to_waiting_is_told_in_our_words(
    connection: Connection, error: Exception, reported: type[MongoStoreError]
) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(reported, match=r"^mongomock://: ") as raised:
        await connection.wait_or_closed(fail())

    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("error", [away(), NetworkTimeout("late"), OperationFailure("busy", 91)])
async def test_waiting_ends_with_nothing_when_the_connection_is_lost(
    connection: Connection, error: Exception
) -> None:
    async def fail() -> None:
        raise error

    assert await connection.wait_or_closed(fail()) is None


async def test_waiting_ends_with_nothing_when_the_store_is_closed(connection: Connection) -> None:
    endless = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(connection.wait_or_closed(endless))
    await asyncio.sleep(0)
    assert not waiting.done()

    connection.detach()

    assert await waiting is None
    assert endless.cancelled()


async def test_who_gives_up_waiting_ends_what_is_waited_for(connection: Connection) -> None:
    endless = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(connection.wait_or_closed(endless))
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert endless.cancelled()


async def test_a_call_that_succeeds_is_one_attempt(connection: Connection, engine: ScriptedEngine) -> None:
    action = Script("done")

    assert await run_with_retry(connection, action, Access.WRITE) == "done"

    assert action.attempts == [0]
    assert engine.deadlines == pytest.approx([150.0], abs=0.1)
    assert engine.asked == []
    assert find_operation() is None


async def test_each_retry_reaches_the_hooks(engine: ScriptedEngine) -> None:
    retries: list[RetryRecord] = []
    attempts: list[tuple[str, int]] = []
    within: list[Operation | None] = []

    class Retries(Hooks):
        def on_retry(self, retry: RetryRecord) -> None:
            retries.append(retry)
            within.append(find_operation())

        def on_call(self, call: CallRecord) -> None:
            attempts.append((call.operation, call.attempts))

    connection = Connection(engine, 1000, [Retries()])
    connection.attach()
    action = Script(away(), away(), "done")
    with connection.admit("outer"), connection.admit("inner"):
        assert await run_with_retry(connection, action, Access.WRITE, "a.verb") == "done"
    assert attempts == [("outer", 3)]
    # A task that a hook begins, and that uses the store, has calls of its own.
    assert within == [None, None]
    assert [(one.operation, one.attempt) for one in retries] == [("a.verb", 1), ("a.verb", 2)]
    assert all(one.reason and 900 < one.remaining < 1000 for one in retries)


async def test_a_call_within_another_does_not_reach_the_hooks(engine: ScriptedEngine) -> None:
    calls: list[str] = []

    class Calls(Hooks):
        def on_call(self, call: CallRecord) -> None:
            calls.append(call.operation)

    connection = Connection(engine, 1000, [Calls()])
    connection.attach()
    with connection.admit("outer"), connection.admit("inner"):
        pass
    with connection.admit("next"):
        pass
    assert calls == ["outer", "next"]


async def test_a_closed_store_does_nothing(connection: Connection) -> None:
    action = Script("done")
    connection.detach()

    with pytest.raises(NotOpenError):
        await run_with_retry(connection, action, Access.READ)

    assert action.attempts == []


@pytest.mark.parametrize(
    "error",
    [
        away(),
        NetworkTimeout("late"),
        OperationFailure("busy", 91),
        OperationFailure("aborted", 1, {"errorLabels": ["TransientTransactionError"]}),
        UnavailableError("away"),
        TimeoutError(),
    ],
)
@pytest.mark.parametrize("access", Access)
async def test_a_call_is_tried_again_while_the_server_is_away(
    connection: Connection, access: Access, error: Exception
) -> None:
    action = Script(error, error, "done")

    assert await run_with_retry(connection, action, access) == "done"

    assert action.attempts == [0, 1, 2]
    assert all(call is action.calls[0] and call.access is access for call in action.calls)


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (OperationFailure("secret text", 13), AccessDeniedError),
        (OperationFailure("secret text", 26), MongoStoreError),
        (UnavailableError("gone for good", retryable=False), UnavailableError),
        (ConflictError("lost"), ConflictError),
        (NotFoundError("thing", "a"), NotFoundError),
        (KeyError("unrelated"), KeyError),
    ],
)
async def test_what_would_fail_again_is_tried_once(
    connection: Connection, engine: ScriptedEngine, error: Exception, reported: type[Exception]
) -> None:
    action = Script(error)

    with pytest.raises(reported) as raised:
        await run_with_retry(connection, action, Access.WRITE)

    assert type(raised.value) is reported
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert action.attempts == [0]
    assert engine.asked == []
    assert find_operation() is None


@pytest.mark.parametrize(
    "lateness", [ConfigurationError("no such name"), UnavailableError("stopped", retryable=False)]
)
async def test_the_engine_says_why_something_is_late(
    connection: Connection, engine: ScriptedEngine, lateness: MongoStoreError
) -> None:
    engine.lateness = lateness

    with pytest.raises(type(lateness)) as raised:
        await run_with_retry(connection, Script(TimeoutError()), Access.READ)

    assert raised.value is lateness
    assert engine.asked == ["timeout_error"]


async def test_what_never_ends_is_ended_soon_after_its_time(engine: ScriptedEngine) -> None:
    connection = Connection(engine, 0.0)
    connection.attach()
    endless = asyncio.get_running_loop().create_future()

    with pytest.raises(UnavailableError, match=r"^late$"):
        await asyncio.wait_for(run_with_retry(connection, lambda: endless, Access.READ), 1)

    assert endless.cancelled()
    assert engine.asked == ["timeout_error"]


@pytest.mark.parametrize(
    ("access", "asked"),
    [
        (Access.READ, ["recover", "recover"]),
        (Access.READ_MAJORITY, ["read_majority", "recover", "read_majority", "recover", "read_majority"]),
        (Access.WRITE, ["recover", "recover", "wait_for_write_concern"]),
    ],
)
async def test_the_engine_is_asked_for_what_the_kind_of_call_needs(
    connection: Connection, engine: ScriptedEngine, access: Access, asked: list[str]
) -> None:
    await run_with_retry(connection, Script(away(), away(), "done"), access)

    assert engine.asked == asked


async def test_a_change_that_cannot_be_confirmed_is_tried_again(
    connection: Connection, engine: ScriptedEngine
) -> None:
    action = Script(away(), "first", "second")
    engine.confirmations = [away()]

    assert await run_with_retry(connection, action, Access.WRITE) == "second"

    assert engine.asked == ["recover", "wait_for_write_concern", "recover", "wait_for_write_concern"]


@pytest.mark.parametrize(
    ("is_there", "seconds"), [(True, [150, 150, 1000, 1000, 1000]), (False, [150, 50, 100, 150, 150])]
)
async def test_a_silent_server_has_less_time(
    connection: Connection, engine: ScriptedEngine, is_there: bool, seconds: list[float]
) -> None:
    engine.is_there = is_there

    await run_with_retry(connection, Script(*[away() for _ in range(4)], "done"), Access.READ)

    assert engine.deadlines == pytest.approx(seconds, abs=1)


async def test_pauses_grow_up_to_a_second(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pauses(monkeypatch, 1.0)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))

    await run_with_retry(connection, Script(*[away() for _ in range(7)], "done"), Access.READ)

    assert slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


async def test_without_time_for_another_attempt_there_is_none(
    connection: Connection, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses(monkeypatch, 1e9)
    action = Script(away(), "done")

    with pytest.raises(UnavailableError, match=r"^mongomock://: the connection was lost$") as raised:
        await asyncio.wait_for(run_with_retry(connection, action, Access.READ), 1)

    assert raised.value.__suppress_context__
    assert action.attempts == [0]
    assert engine.asked == []


async def test_a_server_that_takes_too_long_to_come_back_is_away(engine: ScriptedEngine) -> None:
    connection = Connection(engine, 0.05)
    connection.attach()
    engine.reviving = asyncio.get_running_loop().create_future
    action = Script(away(), "done")

    with pytest.raises(UnavailableError, match=r"^mongomock://: the connection was lost$"):
        await run_with_retry(connection, action, Access.READ)

    assert action.attempts == [0]


async def test_a_store_closed_between_attempts_does_not_go_on(
    connection: Connection, engine: ScriptedEngine
) -> None:
    async def close() -> None:
        connection.detach()

    engine.reviving = close
    action = Script(away(), "done")

    with pytest.raises(NotOpenError):
        await run_with_retry(connection, action, Access.WRITE)

    assert action.attempts == [0]


@pytest.mark.parametrize("access", Access)
async def test_nothing_comes_of_missing_a_newer_document(
    connection: Connection, engine: ScriptedEngine, access: Access
) -> None:
    things = engine.database["things"]
    await things.insert_one({"_id": "newer", "schema_version": SCHEMA_VERSION + 1})

    async def miss() -> None:
        current_operation().missed["things", "newer"] = UnmatchedWrite(things, {"_id": "newer"})

    with pytest.raises(UnsupportedError, match="newer version"):
        await run_with_retry(connection, miss, access)


@pytest.mark.parametrize(
    ("run", "access"), [(retry_step, Access.WRITE), (majority_step, Access.READ_MAJORITY)]
)
async def test_a_step_is_a_call_of_its_kind(connection: Connection, run: Any, access: Access) -> None:
    failures: list[Exception] = [away()]

    async def act(*args: object, **kwargs: object) -> tuple[object, ...]:
        if failures:
            raise failures.pop()
        return current_operation().access, current_operation().attempt, args, kwargs

    assert await run(connection, act, 1, connection=2) == (access, 1, (1,), {"connection": 2})


async def test_a_cancellation_that_an_attempt_swallows_takes_effect(connection: Connection) -> None:
    begun = asyncio.Event()

    async def act() -> str:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return "the answer"

    call = asyncio.create_task(retry_step(connection, act))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_within_a_cancelled_task_is_made(connection: Connection) -> None:
    async def clean_up() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return await retry_step(connection, give, "done")

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "done"


async def test_an_opened_stream_is_closed_at_the_end(connection: Connection, engine: ScriptedEngine) -> None:
    stream = Stream(engine)

    async with open_stream(connection, Script(away(), stream)) as sent:
        assert sent is stream
        assert stream.closings == []

    assert stream.closings == [1]


async def test_an_opened_stream_is_closed_when_its_reader_fails(
    connection: Connection, engine: ScriptedEngine
) -> None:
    stream = Stream(engine)

    with pytest.raises(KeyError):
        async with open_stream(connection, Script(stream)):
            raise KeyError

    assert stream.closings == [1]


async def test_what_is_opened_is_given_its_arguments(connection: Connection, engine: ScriptedEngine) -> None:
    stream = Stream(engine)

    async def act(*args: object, **kwargs: object) -> Stream:
        assert (args, kwargs) == ((1,), {"name": 2})
        return stream

    async with open_stream(connection, act, 1, name=2) as sent:
        assert sent is stream


async def test_a_stream_that_cannot_be_opened_is_not_read(connection: Connection) -> None:
    with pytest.raises(AccessDeniedError):
        async with open_stream(connection, Script(OperationFailure("no", 13))):
            pytest.fail("there is nothing to read")


@pytest.mark.parametrize("error", [away(), UnavailableError("away")])
async def test_a_stream_that_cannot_be_closed_is_let_go(
    connection: Connection, engine: ScriptedEngine, error: Exception
) -> None:
    stream = Stream(engine, error)

    async with open_stream(connection, Script(stream)):
        pass

    assert stream.closings == [1]


async def test_who_is_cancelled_while_opening_is_so_at_once_and_the_stream_is_closed(
    connection: Connection, engine: ScriptedEngine
) -> None:
    stream, gate, closed = Stream(engine), asyncio.Event(), asyncio.Event()

    async def act() -> Any:
        await gate.wait()
        return SimpleNamespace(close=close)

    async def close() -> None:
        await stream.close()
        closed.set()

    async def read() -> None:
        async with open_stream(connection, act):
            pytest.fail("it was cancelled before")

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert stream.closings == []

    gate.set()
    await asyncio.wait_for(closed.wait(), 1)
    assert stream.closings == [1]


async def test_who_is_cancelled_while_reading_leaves_the_stream_closed(
    connection: Connection, engine: ScriptedEngine
) -> None:
    stream, is_reading = Stream(engine), asyncio.Event()

    async def read() -> None:
        async with open_stream(connection, Script(stream)):
            is_reading.set()
            await asyncio.get_running_loop().create_future()

    reading = asyncio.create_task(read())
    await asyncio.wait_for(is_reading.wait(), 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert stream.closings == [1]


async def test_what_is_discarded_is_closed_in_the_time_of_one_call(
    connection: Connection, engine: ScriptedEngine
) -> None:
    stream = Stream(engine)

    await connection.close_in_background(asyncio.create_task(give(stream)))

    assert stream.closings == [1]
    assert engine.deadlines == [1000]


@pytest.mark.parametrize("error", [away(), UnavailableError("away"), ConflictError("lost")])
async def test_discarding_what_was_never_opened_is_harmless(connection: Connection, error: Exception) -> None:
    async def fail() -> Stream:
        raise error

    await connection.close_in_background(asyncio.create_task(fail()))
