"""The sessions service on each engine, and as a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from mongostore import AsyncMongoStore
from mongostore.servers.sessions import create_app
from tests.servers.endpoint import Endpoint
from tests.servers.parts import client
from tests.servers.serving import Serving


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    """The description of the service, which is that of any store, and long in the making."""
    return create_app(AsyncMongoStore("mongomock://")).openapi()


@pytest.fixture
async def asking(store: AsyncMongoStore, openapi: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service, which shares this process and event loop."""
    app = create_app(store)
    app.openapi = lambda: openapi  # type: ignore[method-assign]
    async with client(app) as opened:
        yield opened


@pytest.fixture
async def embedded() -> AsyncIterator[httpx.AsyncClient]:
    """The same on the embedded engine alone, for what is decided before any store is asked."""
    async with AsyncMongoStore("mongomock://") as store, client(create_app(store)) as opened:
        yield opened


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A model of others."""
    with Endpoint() as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Starts `mongostore serve sessions` with options, any number of times."""
    with ExitStack() as stack:
        count = 0

        def start(*options: str, **environment: str) -> Serving:
            nonlocal count
            count += 1
            return stack.enter_context(Serving(tmp_path / f"log{count}", *options, **environment))

        yield start
