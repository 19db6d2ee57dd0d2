"""A pytest plugin for RoomKit's own tests: puts our store and locks in the places of RoomKit's.

`MONGOSTORE_STAND_IN_URI` names the server. Each store of a test has a database of its own, but those that
RoomKit's tests open on one file, or on the one PostgreSQL server, share theirs; each has a client of its
own, as if in another process. The databases are emptied after each test and used again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from roomkit.core.locks import InMemoryLockManager
from roomkit.store.memory import InMemoryStore
from roomkit.store.postgres import PostgresStore
from roomkit.store.postgres_lock import PostgresAdvisoryLockManager
from roomkit.store.sqlite import SQLiteStore

from mongostore import AlreadyExistsError, AsyncMongoStore
from mongostore.adapters.roomkit import MongoConversationStore, MongoRoomLockManager

URI = os.environ["MONGOSTORE_STAND_IN_URI"]
# What a process that a test starts has to know: which database stands for which of RoomKit's.
SHARED = "MONGOSTORE_STAND_IN_DATABASES"
# RoomKit's files of tests that run, and the tests of them that cannot be pointed at another store, by why.
TESTS: dict[str, Any] = json.loads(Path(__file__).with_name("roomkit_tests.json").read_text())

_free: list[str] = []
_used: list[str] = []
_users: list[Any] = []
_numbers = count()


def database_of(address: object) -> str:
    """Return the database that stands for a place where RoomKit's tests keep something."""
    shared = json.loads(os.environ.get(SHARED, "{}"))
    if str(address) not in shared:
        shared[str(address)] = new_database()
        os.environ[SHARED] = json.dumps(shared)
    return str(shared[str(address)])


def new_database() -> str:
    """Return an empty database that has its indexes."""
    if not _free:
        name = f"roomkit_{os.getpid()}_{next(_numbers)}"
        # Of its own loop, whether or not the caller's runs by now.
        thread = Thread(target=asyncio.run, args=(_created(name),))
        thread.start()
        thread.join()
        _free.append(name)
    _used.append(_free.pop())
    return _used[-1]


def own_client() -> str:
    """Return the server's URI in a form that nobody else shares a client by."""
    return f"{URI}{'&' if '?' in URI else '?'}appName=stand-in-{next(_numbers)}"


async def _created(name: str) -> None:
    async with AsyncMongoStore(URI, name, ensure_indexes=True):
        pass


class MemoryStandIn(MongoConversationStore):
    # Nobody else knows its database.
    is_process_local = True

    def __init__(self) -> None:
        super().__init__(own_client(), new_database())
        _users.append(self._user)


class SQLiteStandIn(MongoConversationStore):
    def __init__(self, path: str | Path = "roomkit.db") -> None:
        super().__init__(own_client(), new_database() if path == ":memory:" else database_of(path))
        _users.append(self._user)


class PostgresStandIn(MongoConversationStore):
    def __init__(self, dsn: str | None = None, pool: Any = None) -> None:
        assert pool is None, "a pool of PostgreSQL's is nothing that a store of ours can use"
        super().__init__(own_client(), database_of("postgres"))
        self._pool = Pool()
        _users.append(self._user)

    async def init(self, min_size: int = 2, max_size: int = 10) -> None:
        await super().init()


class Pool:
    """Takes the one statement that says nothing but that a test begins with an empty database."""

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[Pool, None]:
        yield self

    async def execute(self, statement: str) -> None:
        assert statement.startswith("TRUNCATE "), "there are no tables here"


class MemoryLockStandIn(MongoRoomLockManager):
    def __init__(self, max_locks: int = 1024) -> None:
        super().__init__(own_client(), new_database())
        _users.append(self._user)


class PostgresLockStandIn(MongoRoomLockManager):
    def __init__(
        self, dsn: str | None = None, *, pool: Any = None, min_size: int = 1, max_size: int = 10
    ) -> None:
        assert pool is None, "a pool of PostgreSQL's is nothing that locks of ours can use"
        super().__init__(own_client(), database_of("postgres"))
        _users.append(self._user)

    async def init(self) -> None:
        pass


STAND_INS: dict[object, type] = {
    InMemoryStore: MemoryStandIn,
    SQLiteStore: SQLiteStandIn,
    PostgresStore: PostgresStandIn,
    InMemoryLockManager: MemoryLockStandIn,
    PostgresAdvisoryLockManager: PostgresLockStandIn,
}


def install() -> None:
    """Put the stand-ins wherever RoomKit's modules hold what they stand for."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "roomkit":
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type) and value in STAND_INS:
                    setattr(module, attribute, STAND_INS[value])
    for original, stand_in in STAND_INS.items():
        stand_in.__name__ = stand_in.__qualname__ = original.__name__  # type: ignore[attr-defined]
    # The database's own error, by the names under which the tests catch it.
    driver = sys.modules["asyncpg"] = ModuleType("asyncpg")
    driver.UniqueViolationError = AlreadyExistsError  # type: ignore[attr-defined]
    sqlite3.IntegrityError = AlreadyExistsError  # type: ignore[misc, assignment]
    # Some tests count what is logged while they run.
    logging.getLogger("pymongo").setLevel(logging.WARNING)
    os.environ["POSTGRES_DSN"] = "postgresql://stand-in/roomkit"
    os.environ["MONGOSTORE_ENSURE_INDEXES"] = "false"


install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [name for names in TESTS["left_out"].values() for name in names]
    found = {name: [item for item in items if is_within(item.nodeid, name)] for name in left_out}
    files = {item.nodeid.partition("::")[0] for item in items}
    if gone := [name for name in left_out if not found[name] and name.partition("::")[0] in files]:
        raise pytest.UsageError(f"left out, but not there: {gone}")
    deselected = {item for those in found.values() for item in those}
    config.hook.pytest_deselected(items=list(deselected))
    items[:] = [item for item in items if item not in deselected]


def is_within(test: str, name: str) -> bool:
    """Return whether a test is the one of a name, or one of its cases or of its class."""
    return test == name or test.startswith((f"{name}[", f"{name}::"))


@pytest.fixture(autouse=True)
async def _leave() -> AsyncIterator[None]:
    yield
    # What a test leaves running would otherwise connect again while its loop is being closed.
    left = [task for task in asyncio.all_tasks() if _is_of_test(task)]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=5)
    while _users:
        await _users.pop().close()


def _is_of_test(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    ours = code is None or {"pymongo", "mongostore"} & set(Path(code.co_filename).parts)
    return task is not asyncio.current_task() and not ours


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthen the limits of tests that give processes, or many round trips, a few seconds."""
    if request.node.originalname in TESTS["lengthened"]:
        for name in ("wait_for", "timeout"):
            monkeypatch.setattr(asyncio, name, _lengthened(getattr(asyncio, name)))
        monkeypatch.setattr(asyncio, "timeout_at", _timeout_later)


def _timeout_later(when: float) -> asyncio.Timeout:
    now = asyncio.get_running_loop().time()
    return asyncio.Timeout(now + 9 * (when - now))


def _lengthened(limit: Callable[..., Any]) -> Callable[..., Any]:
    def longer(*arguments: Any, **options: Any) -> Any:
        *others, seconds = (*arguments, *options.values())
        return limit(*others, seconds and 9 * seconds)

    return longer


@pytest.fixture(autouse=True)
def _empty(_client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    os.environ[SHARED] = "{}"
    yield
    for database in map(_client.get_database, _used):
        for collection in _filled(database):
            database[collection].delete_many({})
    _free.extend(_used)
    _used.clear()


def _filled(database: Database[dict[str, Any]]) -> list[str]:
    """Return the collections that hold something: a command for each of all would be a fifth of a test."""
    first: list[dict[str, Any]] = [{"$documents": []}]
    for name in database.list_collection_names():
        one = [{"$limit": 1}, {"$project": {"_id": 0, "name": {"$literal": name}}}]
        first.append({"$unionWith": {"coll": name, "pipeline": one}})
    return [found["name"] for found in database.aggregate(first)]


@pytest.fixture(scope="session")
def _client() -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](URI) as client:
        yield client
        for name in _free:
            client.drop_database(name)
