"""What a store opens: a URI, or a client or database that the application holds already."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from motor import motor_asyncio
from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import CommandListener

from mongostore import AsyncMongoStore, ConfigurationError, Message, MongoStore


class CommandNames(CommandListener):
    """The names of the commands that a client has sent, and the connections at the server by them."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.connections: dict[str, set[int]] = {}

    def started(self, event: Any) -> None:
        self.sent.append(event.command_name)
        self.connections.setdefault(event.command_name, set()).add(event.server_connection_id)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.fixture
async def client(server_uri: str) -> AsyncIterator[AsyncMongoClient[Any]]:
    """An async client of the application's own."""
    async with AsyncMongoClient[Any](server_uri) as client:
        yield client


@pytest.fixture
def held(request: pytest.FixtureRequest, server_uri: str, database: str) -> Iterator[Any]:
    """A blocking client or database, or Motor's, of the application's own."""
    makes = {"blocking": MongoClient, "motor": motor_asyncio.AsyncIOMotorClient}
    library, kind = request.param
    client = makes[library](server_uri, appname=database, maxPoolSize=7)
    yield client[database] if kind == "database" else client
    client.close()


@pytest.mark.server
@pytest.mark.parametrize("kind", ["client", "database"])
async def test_an_async_client_is_used_as_it_is_and_not_closed(
    client: AsyncMongoClient[Any], database: str, kind: str
) -> None:
    target = client if kind == "client" else client[database]
    for _ in range(2):
        async with AsyncMongoStore(target, database if kind == "client" else None) as store:
            assert store.engine.database.client is client
            await store.sessions.create()

    assert await client[database]["sessions"].count_documents({}) == 2


@pytest.mark.server
@pytest.mark.parametrize("most", [1, 2])
async def test_a_client_lends_a_connection_to_the_stream_of_changes_unless_it_is_its_only_one(
    server_uri: str, database: str, most: int
) -> None:
    names = CommandNames()
    async with (
        AsyncMongoClient[Any](server_uri, maxPoolSize=most, event_listeners=[names]) as client,
        AsyncMongoStore(client, database) as store,
    ):
        await store.sessions.create("s")
        watching = asyncio.create_task(anext(store.sessions.messages.watch("s")))
        while "getMore" not in names.sent:
            await asyncio.sleep(0.01)
        names.connections.pop("findAndModify", None)
        await store.sessions.messages.append("s", Message(id="m", role="user"))
        assert (await watching).message.id == "m"
        assert names.connections["findAndModify"].isdisjoint(names.connections["getMore"])
        assert store.engine.database.client is client


@pytest.mark.server
async def test_an_async_client_of_another_loop_is_refused(
    client: AsyncMongoClient[Any], database: str
) -> None:
    await client.admin.command("ping")
    refused = r"belongs to another event loop: open the store in that one$"

    with pytest.raises(ConfigurationError, match=refused):
        await asyncio.to_thread(lambda: asyncio.run(AsyncMongoStore(client, database).open()))


@pytest.mark.server
async def test_a_closed_client_is_refused(server_uri: str) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server_uri)
    await client.close()

    with pytest.raises(ConfigurationError, match=r"the client that was handed in is closed$"):
        await AsyncMongoStore(client).open()


@pytest.mark.server
@pytest.mark.parametrize(
    "held",
    [(library, kind) for library in ("blocking", "motor") for kind in ("client", "database")],
    indirect=True,
    ids="-".join,
)
async def test_of_another_client_an_equal_one_is_opened(held: Any, database: str) -> None:
    async with AsyncMongoStore(held, database) as store:
        await store.sessions.create("s")
        pool = store.engine.database.client.options.pool_options
        assert (pool.appname, pool.max_pool_size) == (database, 7)
        assert store.engine.database.name == database


@pytest.mark.server
@pytest.mark.parametrize("kind", ["client", "database"])
async def test_a_blocking_store_opens_an_equal_client_of_an_async_one(
    client: AsyncMongoClient[Any], database: str, kind: str
) -> None:
    await client.admin.command("ping")

    def work() -> None:
        with MongoStore(client if kind == "client" else client[database], database) as store:
            store.sessions.create("s")

    await asyncio.to_thread(work)

    assert await client[database]["sessions"].count_documents({}) == 1


@pytest.mark.server
async def test_client_options_reach_the_client(server_uri: str, database: str) -> None:
    names = CommandNames()
    options = {"event_listeners": [names], "maxPoolSize": 3}
    async with AsyncMongoStore(server_uri, database, client_options=options) as store:
        await store.sessions.create("s")

    assert "insert" in names.sent


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"target": "mongomock://", "client_options": {}}, "mongomock:// has none"),
        ({"target": MongoClient(connect=False), "client_options": {}}, "a client has its own"),
        ({"target": 7}, "not int$"),
        ({"target": MongoClient(connect=False)["db"]["collection"]}, "not Collection$"),
        ({"target": "mongomock://", "timeout": 0}, "^timeout: "),
        ({"target": "mongomock://", "timeout": True}, "^timeout: "),
        ({"target": "mongomock://", "timeout": float("inf")}, "^timeout: "),
        ({"target": "mongomock://", "prefix": "$chat"}, "^prefix: "),
        ({"target": "mongomock://", "prefix": "system."}, "^prefix: "),
        ({"target": "mongomock://", "prefix": 7}, "^prefix: "),
    ],
)
@pytest.mark.parametrize("store", [AsyncMongoStore, MongoStore])
def test_what_cannot_work_is_refused_at_once(store: Any, arguments: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ConfigurationError, match=refusal):
        store(**arguments)


async def test_stores_with_two_prefixes_share_a_database_and_see_nothing_of_each_other(
    store_uri: str, database: str
) -> None:
    async with (
        AsyncMongoStore(store_uri, database, prefix="ada_") as ada,
        AsyncMongoStore(store_uri, database, prefix="ben_") as ben,
    ):
        await ada.sessions.create("s")
        await ada.threads.files.upload("f", b"content")

        assert not await ben.sessions.exists("s")
        assert await ben.threads.files.find("f") is None
        names = {usage.collection for usage in await ada.usage()}
        assert {"ada_sessions", "ada_files.files", "ada_files.chunks"} <= names
        assert {name.partition("_")[0] for name in names} == {"ada"}
        states = {report.state for report in await ben.check_indexes()}
        assert states == {"present"}


def test_the_prefix_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOSTORE_PREFIX", "ada_")
    with MongoStore("mongomock://") as store:
        store.sessions.create("s")
        assert [usage.collection for usage in store.usage() if usage.documents] == ["ada_sessions"]


def test_a_store_without_a_target_warns_once_that_nothing_lasts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MONGOSTORE_URI", raising=False)
    with caplog.at_level(logging.WARNING), MongoStore() as store:
        store.open()

    assert [(record.name, record.levelname) for record in caplog.records] == [("mongostore", "WARNING")]
    lost = "conversations are kept in memory and lost at exit"
    assert caplog.messages == [f"no target and no MONGOSTORE_URI: {lost}"]


@pytest.mark.parametrize("named_by", ["argument", "variable"])
def test_a_store_that_is_in_memory_on_purpose_does_not_warn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named_by: str
) -> None:
    monkeypatch.delenv("MONGOSTORE_URI", raising=False)
    if named_by == "variable":
        monkeypatch.setenv("MONGOSTORE_URI", "mongomock://")
    with caplog.at_level(logging.WARNING), MongoStore("mongomock://" if named_by == "argument" else None):
        pass

    assert caplog.messages == []


async def test_opening_and_closing_are_logged_with_the_address(
    store_uri: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mongostore"):
        async with AsyncMongoStore(store_uri, database) as store:
            assert store.is_open
            await store.open()
        await store.close()

    assert not store.is_open
    assert caplog.messages == [f"opened {store.address}", f"closed {store.address}"]
    assert "@" not in store.address
