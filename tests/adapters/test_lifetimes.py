"""Adapters that are made, used and dropped unclosed leave no more than bare PyMongo, which is a case too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient, MongoClient

from mongostore.sync import shared_store
from tests.faults.test_lifetimes import Held, comes_back, forgotten, held, use_blocking

__all__ = ["held"]

# PyMongo warns of each client of its own that is dropped.
pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")]

HERE = Path(__file__).parent
TIMES = 10

Use = Callable[[str, str], object]


async def pymongo_async(uri: str, database: str) -> None:
    await AsyncMongoClient[dict[str, Any]](uri)[database].sessions.find_one({})


def pymongo(uri: str, database: str) -> None:
    MongoClient[dict[str, Any]](uri)[database].sessions.find_one({})


async def roomkit(uri: str, database: str) -> None:
    from mongostore.adapters.roomkit import MongoConversationStore, MongoRoomLockManager

    await MongoConversationStore(uri, database).get_room("r")
    async with MongoRoomLockManager(uri, database).locked(uuid4().hex):
        pass


async def pydantic_ai(uri: str, database: str) -> None:
    from mongostore.adapters.pydantic_ai import MongoConversationStore

    await MongoConversationStore(uri, database).load("c")


async def openai_agents(uri: str, database: str) -> None:
    from mongostore.adapters.openai_agents import MongoSession

    await MongoSession(uuid4().hex, uri, database).add_items([{"role": "user", "content": "x"}])


async def claude_agent_sdk(uri: str, database: str) -> None:
    from mongostore.adapters.claude_agent_sdk import MongoSessionStore

    entries: Any = [{"type": "user", "uuid": "u", "message": {"role": "user", "content": "x"}}]
    await MongoSessionStore(uri, database).append({"project_key": "p", "session_id": uuid4().hex}, entries)


async def chainlit(uri: str, database: str) -> None:
    from tests.adapters.chainlit_parts import MongoDataLayer

    await MongoDataLayer(uri, database).get_user("ada")


def in_loop(use: Callable[[str, str], Awaitable[None]]) -> Use:
    """Return what uses an object in an event loop that ends with it."""

    async def run(uri: str, database: str) -> None:
        await use(uri, database)

    return lambda uri, database: asyncio.run(run(uri, database))


ASYNC = (pymongo_async, forgotten, roomkit, pydantic_ai, openai_agents, claude_agent_sdk, chainlit)
OBJECTS: dict[str, Use] = {use.__name__: in_loop(use) for use in ASYNC}
OBJECTS |= {"pymongo": pymongo, "blocking": use_blocking}
LONG = {*OBJECTS} - {"pymongo_async", "forgotten", "roomkit"}


def use_in_threads(use: Use, uri: str, database: str) -> None:
    threads = [threading.Thread(target=use, args=(uri, database)) for _ in range(TIMES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in OBJECTS]
)
def test_nothing_is_left_of_objects_that_are_dropped(
    server_uri: str, database: str, held: Callable[[], Held], name: str
) -> None:
    nothing, use = held(), OBJECTS[name]
    # What is imported and made once may stay, but for connections.
    use(server_uri, database)
    comes_back(held, (nothing[0], *held()[1:]))
    before = held()
    for _ in range(TIMES):
        use(server_uri, database)
    comes_back(held, before)

    use_in_threads(use, server_uri, database)

    comes_back(held, before)


@pytest.fixture(params=["pymongo", "director", "threadmem"])
def shared_use(
    request: pytest.FixtureRequest,
    server_uri: str,
    database: str,
    director_adapter: Callable[[Path], ModuleType],
) -> Iterator[Use]:
    """Uses new objects that share one client in a process, as those of Director and threadmem do."""
    if request.param == "pymongo":
        with MongoClient[dict[str, Any]](server_uri) as client:
            yield lambda uri, database: client[database].sessions.find_one({})
        return
    if request.param == "director":
        adapter = director_adapter(HERE / "stand_in")
        yield lambda uri, database: adapter.MongoDB(uri, database).get_sessions()
    else:
        from mongostore.adapters.threadmem import RoleThread, configure

        configure(server_uri, database)
        yield lambda uri, database: RoleThread.find(name="x")
        configure()
    shared_store(server_uri, database).close()


def test_objects_that_share_a_client_take_a_connection_a_thread_at_most(
    server_uri: str, database: str, held: Callable[[], Held], shared_use: Use
) -> None:
    async def use(uri: str, database: str) -> None:
        shared_use(uri, database)

    shared_use(server_uri, database)
    connections, files, threads = held()
    for _ in range(TIMES):
        asyncio.run(use(server_uri, database))
    for _ in range(TIMES):
        use_in_threads(shared_use, server_uri, database)

    comes_back(held, (connections + TIMES, files + TIMES, threads))
