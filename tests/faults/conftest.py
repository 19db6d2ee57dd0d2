"""What the fault tests share: processes of their own, failing commands, and ways to read a whole session."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mongostore import AsyncMongoStore, Message
from mongostore.repositories.sessions import TailLimits
from tests.conftest import Emptied
from tests.faults.deployments import Cluster, certificate, cluster, standalone, with_options

Child = Callable[..., subprocess.Popen[str]]
Read = Callable[[AsyncMongoStore, str], Awaitable[list[Message]]]


@pytest.fixture
def child() -> Iterator[Child]:
    """Start a script of `children/` with arguments; its output is captured, what is left of it is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        path = Path(__file__).with_name("children") / script
        started.append(
            subprocess.Popen(
                [sys.executable, str(path), *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def iterated(store: AsyncMongoStore, session_id: str) -> list[Message]:
    """Read all messages as one iteration."""
    return [message async for message in store.sessions.messages.iter(session_id)]


async def paged_forwards(store: AsyncMongoStore, session_id: str) -> list[Message]:
    """Read all messages by pages from the first one on."""
    page = await store.sessions.messages.list(session_id, limit=37)
    messages = page.items
    while page.next_cursor:
        page = await store.sessions.messages.list(session_id, limit=37, cursor=page.next_cursor)
        messages += page.items
    return messages


async def paged_backwards(store: AsyncMongoStore, session_id: str) -> list[Message]:
    """Read all messages by pages from the newest one back."""
    page = await store.sessions.messages.list(session_id, limit=37, newest=True)
    messages = page.items
    while page.next_cursor:
        page = await store.sessions.messages.list(session_id, limit=37, newest=True, cursor=page.next_cursor)
        messages = page.items + messages
    return messages


@pytest.fixture
def readers() -> list[Read]:
    """Every way to read a whole session."""
    return [iterated, paged_forwards, paged_backwards]


@pytest.fixture(scope="session")
def guarded(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A replica set of one member that speaks TLS alone and wants a login."""
    folder = tmp_path_factory.mktemp("guarded")
    certificate(folder, "server")
    with cluster(mongod_binary, folder / "data", members=1, login=True, tls=folder) as started:
        yield started


@dataclass(frozen=True)
class Faults:
    """A store whose commands can be made to fail, as are those of whoever opens another one by its URI."""

    store: AsyncMongoStore
    uri: str
    app: str
    admin: AsyncMongoClient[dict[str, Any]]

    async def fail(self, commands: list[str], mode: str | int, **how: Any) -> int:
        """Make the store's commands of these names fail, always or so many times, as failCommand says.

        Returns:
            How many commands have failed before, which `wait_until_failing` takes.
        """
        data = {"failCommands": commands, "appName": self.app, **how}
        wanted = mode if isinstance(mode, str) else {"times": mode}
        point = {"configureFailPoint": "failCommand", "mode": wanted, "data": data}
        return int((await self.admin.admin.command(point))["count"])

    async def wait_until_failing(self, before: int) -> None:
        """Wait until a command has come to what was made to fail."""
        point = {"waitForFailPoint": "failCommand", "timesEntered": before + 1, "maxTimeMS": 60_000}
        await self.admin.admin.command(point)

    @asynccontextmanager
    async def failing(self, commands: list[str], **how: Any) -> AsyncIterator[None]:
        """Make the store's commands of these names fail inside the `with` block."""
        await self.fail(commands, "alwaysOn", **how)
        try:
            yield
        finally:
            await self.admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.fixture
async def faults(
    server_uri: str,
    admin_uri: str,
    database: str,
    tail_limits: TailLimits,
    emptied: Emptied,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Faults]:
    """A store on the real server, and the means to make its commands fail."""
    # A server that says it is going is asked again soon; else the driver waits half a second after each lost
    # connection, and as long until it no longer listens to what the server would say by itself.
    monkeypatch.setattr("pymongo.common.MIN_HEARTBEAT_INTERVAL", 0.01)
    options = {"heartbeatFrequencyMS": 500, "serverMonitoringMode": "poll"}
    uri = with_options(server_uri, appName=database, **options)
    ensure = emptied.ensure(database)
    async with AsyncMongoClient[dict[str, Any]](admin_uri) as admin:
        async with AsyncMongoStore(uri, database, ensure_indexes=ensure, tail_limits=tail_limits) as store:
            try:
                yield Faults(store, uri, database, admin)
            finally:
                await admin.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await emptied.add(admin[database])


@pytest.fixture(scope="session")
def standalone_uri(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a server that is no replica set."""
    with standalone(mongod_binary, tmp_path_factory.mktemp("standalone")) as address:
        yield f"mongodb://{address}"
