"""One call of a public verb: its time, its attempts and what they have missed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.results import DeleteResult, UpdateResult

from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.engines.embedded.engine import EmbeddedEngine
from mongostore.errors import ConflictError, MongoStoreError, NotFoundError, UnsupportedError
from mongostore.repositories import operation
from mongostore.repositories.operation import (
    Access,
    Operation,
    UnmatchedWrite,
    current_operation,
    find_operation,
    has_matched,
    running,
    verify_match,
)

CURRENT = {"_id": "current", "place": 1, "schema_version": SCHEMA_VERSION}
NEWER = {"_id": "newer", "place": 2, "schema_version": SCHEMA_VERSION + 1}


@pytest.fixture
async def things() -> Any:
    collection = EmbeddedEngine("", "calls").database["things"]
    await collection.insert_many([dict(CURRENT), dict(NEWER), {"_id": "old", "place": 3}])
    return collection


async def answer() -> str:
    return "answer"


async def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("attempt", "is_silent", "of_20", "of_100"),
    [
        (0, False, 3.0, 15.0),
        (1, False, 3.0, 15.0),
        (2, False, 20.0, 100.0),
        (50, False, 20.0, 100.0),
        (0, True, 3.0, 15.0),
        (1, True, 1.0, 5.0),
        (2, True, 2.0, 10.0),
        (3, True, 3.0, 15.0),
        (50, True, 3.0, 15.0),
    ],
)
def test_an_attempt_has_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, attempt: int, is_silent: bool, of_20: float, of_100: float
) -> None:
    monkeypatch.setattr(operation, "time", SimpleNamespace(monotonic=lambda: 100.0))
    turn: dict[str, Any] = {"now": 0, "attempt": attempt, "is_silent": is_silent}

    assert Operation(120.0, Access.READ, **turn).attempt_seconds() == pytest.approx(of_20)
    assert Operation(200.0, Access.READ, **turn).attempt_seconds() == pytest.approx(of_100)


@pytest.mark.parametrize(
    ("left", "seconds"), [(10.0, 3.0), (2.0, 2.0), (0.06, 0.06), (0.01, 0.05), (-5, 0.05)]
)
def test_an_attempt_ends_with_its_call_but_has_some_time(
    monkeypatch: pytest.MonkeyPatch, left: float, seconds: float
) -> None:
    monkeypatch.setattr(operation, "time", SimpleNamespace(monotonic=lambda: 100.0))

    call = Operation(100.0 + left, Access.READ, now=0)

    assert call.attempt_seconds() == pytest.approx(seconds)


def test_a_call_knows_when_it_began_and_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 100.0, time_ns=lambda: 1_700_000_000_123_456_789)
    monkeypatch.setattr(operation, "time", clock)

    with running(20, Access.WRITE) as call:
        assert (call.ends, call.now, call.attempt) == (120.0, 1_700_000_000_123_456, 0)


def test_the_token_of_a_call_stays_and_is_its_own() -> None:
    first, second = Operation(0, Access.WRITE), Operation(0, Access.WRITE)

    assert first.token == first.token
    assert first.token != second.token


def test_what_a_call_has_seen_is_its_own() -> None:
    first, second = Operation(0, Access.WRITE), Operation(0, Access.WRITE)
    first.memory["a"] = 1

    assert second.memory == {}


def test_there_is_no_call_outside_of_one() -> None:
    assert find_operation() is None
    with pytest.raises(AssertionError, match="inside a public verb"):
        current_operation()


def test_the_code_inside_finds_its_call() -> None:
    with running(1, Access.READ_MAJORITY) as call:
        assert find_operation() is call
        assert current_operation() is call
        assert call.access is Access.READ_MAJORITY

    assert find_operation() is None


def test_a_call_within_a_call_gives_way_to_the_outer_one() -> None:
    with running(1, Access.WRITE) as outer:
        with running(1, Access.READ) as inner:
            assert current_operation() is inner
        assert current_operation() is outer


def test_a_call_that_fails_is_over() -> None:
    with pytest.raises(KeyError), running(1, Access.WRITE):
        raise KeyError

    assert find_operation() is None


async def test_calls_at_once_are_kept_apart() -> None:
    async def run() -> bool:
        with running(1, Access.WRITE) as call:
            await asyncio.sleep(0)
            return current_operation() is call

    assert await asyncio.gather(run(), run(), run()) == [True, True, True]


def deleted(count: int) -> DeleteResult:
    return DeleteResult({"n": count}, acknowledged=True)


def matched(count: int) -> UpdateResult:
    return UpdateResult({"n": count, "nModified": 0}, acknowledged=True)


@pytest.mark.parametrize(
    ("result", "attempt", "there"),
    [
        (deleted(1), 0, True),
        (deleted(0), 0, False),
        (deleted(0), 1, True),
        (deleted(1), 1, True),
        (matched(1), 0, True),
        (matched(0), 0, False),
        (matched(0), 2, True),
    ],
)
def test_what_is_gone_when_it_is_tried_again_was_there(
    result: DeleteResult | UpdateResult, attempt: int, there: bool
) -> None:
    with running(1, Access.WRITE) as call:
        call.attempt = attempt
        assert has_matched(result) is there


@pytest.mark.parametrize(
    "where",
    [
        {"_id": "newer"},
        {"_id": "newer", "place": 99},
        {"place": 2},
        {"place": {"$gte": 1}},
    ],
)
async def test_a_newer_document_that_was_missed_is_named(things: Any, where: StoredDocument) -> None:
    with pytest.raises(UnsupportedError, match=r"^things 'newer' was written by a newer version"):
        await UnmatchedWrite(things, where).verify()


@pytest.mark.parametrize(
    "where",
    [{"_id": "current"}, {"_id": "old"}, {"_id": "nobody"}, {"place": 1}, {"place": 2, "user": "u"}],
)
async def test_any_other_document_may_be_missed(things: Any, where: StoredDocument) -> None:
    await UnmatchedWrite(things, where).verify()


async def test_what_an_action_gives_is_returned(things: Any) -> None:
    call = Operation(0, Access.WRITE)
    call.missed["things", "current"] = UnmatchedWrite(things, {"_id": "current"})

    assert await verify_match(call, answer()) == "answer"


async def test_an_answer_that_came_of_missing_a_newer_document_is_none(things: Any) -> None:
    call = Operation(0, Access.WRITE)
    call.missed["things", "current"] = UnmatchedWrite(things, {"_id": "current"})
    call.missed["things", "newer"] = UnmatchedWrite(things, {"_id": "newer"})

    with pytest.raises(UnsupportedError, match="newer version"):
        await verify_match(call, answer())


@pytest.mark.parametrize("error", [ConflictError("lost"), NotFoundError("thing", "newer")])
async def test_a_newer_document_explains_why_nothing_was_found(things: Any, error: MongoStoreError) -> None:
    call = Operation(0, Access.WRITE)
    call.missed["things", "newer"] = UnmatchedWrite(things, {"_id": "newer"})

    with pytest.raises(UnsupportedError, match="newer version"):
        await verify_match(call, fail(error))


@pytest.mark.parametrize("error", [ConflictError("lost"), NotFoundError("thing", "current")])
async def test_without_a_newer_document_nothing_found_is_nothing_found(
    things: Any, error: MongoStoreError
) -> None:
    call = Operation(0, Access.WRITE)
    call.missed["things", "current"] = UnmatchedWrite(things, {"_id": "current"})

    with pytest.raises(type(error)) as raised:
        await verify_match(call, fail(error))

    assert raised.value is error


async def test_an_error_of_another_kind_is_not_looked_into(things: Any) -> None:
    call = Operation(0, Access.WRITE)
    call.missed["things", "newer"] = UnmatchedWrite(things, {"_id": "newer"})

    with pytest.raises(KeyError, match="unrelated"):
        await verify_match(call, fail(KeyError("unrelated")))


async def test_what_is_missed_while_the_action_runs_counts(things: Any) -> None:
    call = Operation(0, Access.WRITE)

    async def miss() -> None:
        call.missed["things", "newer"] = UnmatchedWrite(things, {"_id": "newer"})

    with pytest.raises(UnsupportedError):
        await verify_match(call, miss())
