"""Frameworks to test the adapters with."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from mongostore import AsyncMongoStore, MongoStore

DIRECTOR_ADAPTER = "mongostore.adapters.director"


def _forget_director() -> None:
    for name in list(sys.modules):
        if name == DIRECTOR_ADAPTER or name.partition(".")[0] == "director":
            del sys.modules[name]


@pytest.fixture(scope="module")
def director_adapter() -> Iterator[Callable[[Path], ModuleType]]:
    """Imports the adapter on the `director` package of a folder; both are forgotten after the module."""
    with pytest.MonkeyPatch.context() as patch:

        def import_on(folder: Path) -> ModuleType:
            _forget_director()
            patch.setattr(sys, "path", [str(folder), *sys.path])
            return importlib.import_module(DIRECTOR_ADAPTER)

        yield import_on
    _forget_director()


@pytest.fixture
def zone() -> Iterator[None]:
    """A time zone far from UTC."""
    from tests.adapters.chainlit_parts import AUCKLAND, in_zone

    with in_zone(AUCKLAND):
        yield


@pytest.fixture
async def layer(store: AsyncMongoStore, zone: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Chainlit's data layer on each engine in turn, as seen from a session that has begun."""
    from tests.adapters.chainlit_parts import SECRET, MongoDataLayer, enter, http_session

    monkeypatch.setenv("CHAINLIT_AUTH_SECRET", SECRET)
    enter(http_session())
    opened = MongoDataLayer(store=store)
    yield opened
    await opened.close()


@pytest.fixture(
    scope="module", params=[pytest.param("embedded"), pytest.param("server", marks=pytest.mark.server)]
)
def role_store(request: pytest.FixtureRequest, databases: list[str]) -> Iterator[MongoStore]:
    """Where role threads are kept, on each engine in turn: one database for a module."""
    from mongostore.adapters.threadmem import configure

    uri = "mongomock://"
    if request.param == "server":
        uri = request.getfixturevalue("server_uri")
    databases.append(database := f"test_{uuid4().hex[:16]}")
    with MongoStore(uri, database) as store:
        configure(store=store)
        yield store
        configure()


@pytest.fixture
def open_stores(monkeypatch: pytest.MonkeyPatch) -> set[AsyncMongoStore]:
    """The stores that are open, of those that are opened from now on."""
    stores: set[AsyncMongoStore] = set()
    open_, close = AsyncMongoStore.open, AsyncMongoStore.close

    async def opening(store: AsyncMongoStore) -> None:
        await open_(store)
        stores.add(store)

    async def closing(store: AsyncMongoStore) -> None:
        await close(store)
        stores.discard(store)

    monkeypatch.setattr(AsyncMongoStore, "open", opening)
    monkeypatch.setattr(AsyncMongoStore, "close", closing)
    return stores


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    """Asks Chainlit's application."""
    import httpx

    from tests.adapters.chainlit_parts import app

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://chat.example") as client:
        yield client
