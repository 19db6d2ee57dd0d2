"""A store that cannot be opened says why within seconds, in one line of ours that gives nothing away."""

from __future__ import annotations

import asyncio
import gc
import signal
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pymongo.errors
import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.server_api import ServerApi

from mongostore import (
    AccessDeniedError,
    AsyncMongoStore,
    ConfigurationError,
    Event,
    Message,
    MongoStoreError,
    Page,
    UnavailableError,
    UnsupportedError,
)
from tests.cluster.messages import encode_answer, read_request
from tests.faults.deployments import SECRET, Member, certificate, cluster, standalone
from tests.faults.memory_limits import Limit
from tests.ports import free_port

DRIVERS_NAMES = [name for name in vars(pymongo.errors) if name.endswith(("Error", "Failure", "Timeout"))]


async def refused(target: Any, kind: type[MongoStoreError], *words: str, **options: Any) -> None:
    """Check that a store cannot be opened, and that its error is as errors should be."""
    limit = Limit(5.0)
    with pytest.raises(MongoStoreError) as caught:
        async with AsyncMongoStore(target, **options):
            pass
    limit.check()
    text = str(caught.value)
    assert type(caught.value) is kind, text
    assert len(text.splitlines()) == 1
    for word in words:
        assert word in text
    assert not [name for name in DRIVERS_NAMES if name in text]
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.fixture(scope="module")
def guarded(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a standalone server that wants a login; it has users for each right."""
    with standalone(mongod_binary, tmp_path_factory.mktemp("guarded"), "--auth") as address:
        with MongoClient[dict[str, Any]](f"mongodb://{address}") as client:
            client.admin.command("createUser", "root", pwd=SECRET, roles=["root"])
        with MongoClient[dict[str, Any]](f"mongodb://root:{SECRET}@{address}") as client:
            actions = ["find", "insert", "update", "remove"]
            privileges = [{"resource": {"db": "chat", "collection": ""}, "actions": actions}]
            client.chat.command("createRole", "crud", privileges=privileges, roles=[])
            for user, roles in {"reader": ["read"], "crud": ["crud"], "owner": ["readWrite"]}.items():
                client.chat.command("createUser", user, pwd=SECRET, roles=roles)
        yield address


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    certificate(folder, "server")
    certificate(folder, "other")
    return folder


@pytest.fixture(scope="module")
def encrypted(
    mongod_binary: Path, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a standalone server that speaks TLS alone."""
    keys = f"--tlsCertificateKeyFile={certificates / 'server.pem'}"
    allowed = f"--tlsCAFile={certificates / 'server.crt'}", "--tlsAllowConnectionsWithoutCertificates"
    folder = tmp_path_factory.mktemp("encrypted")
    with standalone(mongod_binary, folder, "--tlsMode=requireTLS", keys, *allowed) as address:
        yield address


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[bytes | None], Any]]:
    """Start a server that is no MongoDB: it says what it is given and hangs up, or with None says nothing."""
    servers = []

    async def start(answer: bytes | None) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
            writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        return f"127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@asynccontextmanager
async def member_of(*hosts: str) -> AsyncGenerator[str]:
    """Run the primary of a set that calls its members so, as far as a driver asks, and give its address."""
    hello = {"isWritablePrimary": True, "setName": "rs", "hosts": hosts, "me": hosts[0], "ok": 1.0}
    hello |= {"maxWireVersion": 17, "minWireVersion": 0, "logicalSessionTimeoutMinutes": 30}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                writer.write(encode_answer(await read_request(reader), hello))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_member_that_is_in_no_set_yet_can_be_waited_for(mongod_binary: Path, tmp_path: Path) -> None:
    with standalone(mongod_binary, tmp_path, "--replSet=rs") as address:
        uri = f"mongodb://{address}/?directConnection=true"
        await refused(uri, UnavailableError, "has just started", "rs.initiate()")
        store = AsyncMongoStore(uri)
        with pytest.raises(UnavailableError):
            await store.open()
        with MongoClient[dict[str, Any]](uri) as client:
            client.admin.command("replSetInitiate", {"_id": "rs", "members": [{"_id": 0, "host": address}]})
        async with asyncio.timeout(30):
            while not store.is_open:
                with suppress(UnavailableError):
                    await store.open()
        async with store:
            assert await store.sessions.list() == Page([])


async def test_a_client_that_connected_before_its_set_was_initiated_is_to_be_made_anew(
    mongod_binary: Path, tmp_path: Path
) -> None:
    with standalone(mongod_binary, tmp_path, "--replSet=rs") as address:
        uri = f"mongodb://{address}/?directConnection=true"
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            await refused(client, UnavailableError, "has just started")
            config = {"_id": "rs", "members": [{"_id": 0, "host": address}]}
            await client.admin.command("replSetInitiate", config)
            async with asyncio.timeout(30):
                while not (await client.admin.command("hello"))["isWritablePrimary"]:
                    await asyncio.sleep(0.05)
            # The driver's connections keep what they were told first.
            await refused(client, UnavailableError, "make a client that you hand in anew")
        async with AsyncMongoClient[dict[str, Any]](uri) as client, AsyncMongoStore(client) as store:
            assert await store.sessions.list() == Page([])


async def test_a_set_that_has_no_primary(mongod_binary: Path, tmp_path: Path) -> None:
    with cluster(mongod_binary, tmp_path, members=1) as alone:
        [member] = alone.members
        async with AsyncMongoStore(alone.uri_of(), timeout=1) as store:
            await store.sessions.create("s")
            alone.ask(member, {"replSetStepDown": 30, "force": True})
            with pytest.raises(UnavailableError):
                await store.sessions.get("s")
            with pytest.raises(UnavailableError, match="no answer in time: the replica set has no primary"):
                await store.sessions.get("s")
        await refused(alone.uri_of(), UnavailableError, "has no primary", "more than half of its members")


async def test_an_index_is_created_while_a_member_is_down(mongod_binary: Path, tmp_path: Path) -> None:
    with cluster(mongod_binary, tmp_path) as three:
        async with AsyncMongoStore(three.uri_of()) as store:
            await store.sessions.create("s")
            # Of an empty collection the primary makes it alone.
            await store.engine.collection("sessions").drop_index("sessions_by_metadata")
        primary = three.primary()
        next(member for member in three.members if member is not primary).stop()
        async with asyncio.timeout(20), AsyncMongoStore(three.uri_of()) as store:
            reports = {one.name: one.state for one in await store.check_indexes()}
            assert reports["sessions_by_metadata"] == "present"


@pytest.mark.long
@pytest.mark.parametrize("command", ["listCollections", "listIndexes", "createIndexes"])
async def test_a_server_that_dies_during_an_opening_is_not_waited_for_as_long_as_for_an_index(
    mongod_binary: Path, tmp_path: Path, command: str
) -> None:
    server = Member(mongod_binary, tmp_path, [])

    class Killer(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            if event.command_name == command:
                server.send(signal.SIGKILL)

        def succeeded(self, event: CommandSucceededEvent) -> None: ...

        def failed(self, event: CommandFailedEvent) -> None: ...

    try:
        server.start()
        options = {"event_listeners": [Killer()]}
        store = AsyncMongoStore(f"mongodb://{server.address}", transactions="off", client_options=options)
        # The index may take ten times as long.
        async with asyncio.timeout(60):
            with pytest.raises(UnavailableError):
                await store.open()
    finally:
        server.stop()


async def test_an_address_where_no_mongodb_answers(answering: Callable[[bytes | None], Any]) -> None:
    # The names hold what is looked for in the driver's words about other faults.
    hosts = ["no-such-host.invalid", "ssl-refused.timed-out.invalid"]
    cases = {
        f"127.0.0.1:{free_port()}": ["nothing listens", "running"],
        await answering(None): ["does not answer"],
        await answering(b""): ["closes the connection", "tls=true"],
        await answering(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9): [],
        **{host: ["no such host"] for host in hosts},
    }
    uris = {f"mongodb://u:{SECRET}@{address}": [address, *words] for address, words in cases.items()}
    await asyncio.gather(*(refused(uri, UnavailableError, *words) for uri, words in uris.items()))
    for host in hosts:
        await refused(f"mongodb+srv://u:{SECRET}@{host}", ConfigurationError, host, "DNS")
    gc.collect()


async def test_a_set_whose_members_have_names_for_others(
    answering: Callable[[bytes | None], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mongostore.engines.mongo.OPEN_SECONDS", 2.0)
    silent, one = await answering(None), "or write directConnection=true"
    cases = {
        ("db.invalid:27017",): ["calls its members db.invalid:27017; there is no such host", one],
        (f"127.0.0.1:{free_port()}",): ["calls its members", "nothing listens there", one],
        ("db.invalid:27017", silent): [f"{silent}, db.invalid:27017;", "names and ports that work here"],
    }
    async with AsyncExitStack() as stack:
        addresses = {
            await stack.enter_async_context(member_of(*hosts)): words for hosts, words in cases.items()
        }
        uris = {
            f"mongodb://{address}{option}": words
            for address, words in addresses.items()
            for option in ("", "/?replicaSet=rs")
        }
        await asyncio.gather(*(refused(uri, UnavailableError, *words) for uri, words in uris.items()))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (f"mongodb://u:{SECRET}@localhost/?nonsense=1", ["localhost", "nonsense"]),
        (f"mongodb://u:{SECRET}@localhost/?maxPoolSize=many", ["localhost", "maxPoolSize"]),
        (f"mongodb://u:{SECRET}@localhost/?tls=true&tlsCAFile=/no/such/file", ["localhost", "/no/such/file"]),
        (f"mongodb://u:{SECRET}@localhost/?directConnection=true&loadBalanced=true", ["localhost"]),
        (f"mongodb://u:{SECRET}@localhost:port", ["localhost", "port"]),
        (f"mongodb://u:{SECRET}/@localhost", ["percent-encoded"]),
        (f"mongodb://u:{SECRET}@home@localhost", ["localhost", "percent-encoded"]),
        (f"mongodb://u:{SECRET}%@localhost", ["localhost"]),
        (f"mongodb+srv://u:{SECRET}@localhost", ["localhost"]),
        ("mongodb://", []),
        (f"postgres://u:{SECRET}@localhost", ["mongodb://"]),
        ("mongod://srv/chat", ["mongod:///"]),
        (27017, ["int"]),
    ],
)
async def test_a_target_that_cannot_work(target: Any, words: list[str]) -> None:
    await refused(target, ConfigurationError, *words)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"nonsense": SECRET}, "nonsense"),
        ({"maxPoolSize": "many"}, "maxPoolSize"),
        ({"appName": 5}, "appName"),
        ({"event_listeners": 5}, "event_listeners"),
        ({"host": "elsewhere"}, "host"),
        ({"tls": True, "tlsCAFile": "/no/such/file"}, "No such file"),
    ],
)
async def test_a_client_option_that_cannot_be(options: dict[str, Any], word: str) -> None:
    uri = f"mongodb://u:{SECRET}@localhost"
    await refused(uri, ConfigurationError, "localhost", word, client_options=options)


@pytest.mark.server
@pytest.mark.parametrize("user", ["owner", "nobody"])
async def test_a_wrong_password(guarded: str, user: str) -> None:
    uri = f"mongodb://{user}:not-{SECRET}@{guarded}/chat"
    await refused(uri, AccessDeniedError, guarded, "password", transactions="off")


@pytest.mark.server
async def test_no_login_where_one_is_wanted(guarded: str) -> None:
    words = "the server wants a login: name the user in the URI"
    await refused(f"mongodb://{guarded}/chat", AccessDeniedError, guarded, words, transactions="off")


@pytest.mark.server
async def test_a_user_who_may_not_create_indexes(guarded: str) -> None:
    uri = f"mongodb://crud:{SECRET}@{guarded}/chat"
    await refused(uri, AccessDeniedError, guarded, "right", transactions="off")


@pytest.mark.server
async def test_what_an_opening_has_begun_ends_before_its_error_is_raised(guarded: str) -> None:
    before = asyncio.all_tasks()
    store = AsyncMongoStore(f"mongodb://crud:{SECRET}@{guarded}/chat", transactions="off")
    with pytest.raises(AccessDeniedError):
        await store.open()
    left = [task for task in asyncio.all_tasks() - before if "ensure_indexes" in repr(task.get_coro())]
    assert left == []


@pytest.mark.server
async def test_a_reader_is_told_at_the_first_write(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"mongodb://reader:{SECRET}@{guarded}/chat"
    await refused(uri, AccessDeniedError, guarded, "right", transactions="off")
    monkeypatch.setenv("MONGOSTORE_ENSURE_INDEXES", "false")
    async with AsyncMongoStore(uri, transactions="off") as store:
        assert await store.sessions.find("s") is None
        with pytest.raises(
            AccessDeniedError, match=r"^\S+: the user lacks a right: give it .* \(code 13, Unauthorized\)$"
        ):
            await store.sessions.create("s")


@pytest.mark.server
async def test_a_user_with_crud_alone_works_once_an_operator_has_made_the_indexes(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncMongoStore(f"mongodb://owner:{SECRET}@{guarded}/chat", transactions="off"):
        pass
    monkeypatch.setenv("MONGOSTORE_ENSURE_INDEXES", "false")
    async with AsyncMongoStore(f"mongodb://crud:{SECRET}@{guarded}/chat", transactions="off") as store:
        await store.sessions.create("crud")
        await store.sessions.messages.append_many(
            "crud", [Message(id=f"{n}", role="user") for n in range(300)]
        )
        assert await store.sessions.messages.delete("crud", "3")
        await store.sessions.context.set("crud", "x" * 100_000)
        assert await store.sessions.messages.count("crud") == 299
        assert await store.sessions.delete("crud")


@pytest.mark.server
async def test_a_standalone_server_unless_transactions_are_off(guarded: str) -> None:
    uri = f"mongodb://owner:{SECRET}@{guarded}/chat"
    await refused(uri, UnsupportedError, guarded, "standalone", "--replSet", 'transactions="off"')
    async with AsyncMongoStore(uri, transactions="off") as store:
        assert not await store.sessions.exists("s")


@pytest.mark.server
async def test_a_server_that_speaks_otherwise_than_the_uri_says(
    standalone_uri: str, encrypted: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It says at once what is wrong; the driver asks again until its time is over.
    monkeypatch.setattr("mongostore.engines.mongo.OPEN_SECONDS", 2.0)
    plain = standalone_uri.partition("://")[2]
    named, right = encrypted.replace("127.0.0.1", "localhost"), certificates / "server.crt"
    cases = {
        f"{plain}/?replicaSet=other": ["replica set"],
        f"{plain}/?replicaSet=other&directConnection=true": ["replica set"],
        f"{plain}/?tls=true": ["TLS", "tls=true"],
        f"{encrypted}": ["tls=true"],
        f"{encrypted}/?tls=true": ["trusted", "tlsCAFile"],
        f"{encrypted}/?tls=true&tlsCAFile={certificates / 'other.crt'}": ["trusted", "tlsCAFile"],
        f"{named}/?tls=true&tlsCAFile={right}": ["another host name"],
    }
    work = [
        refused(f"mongodb://u:{SECRET}@{rest}", UnavailableError, rest.partition("/")[0], *words)
        for rest, words in cases.items()
    ]
    await asyncio.gather(*work)
    gc.collect()


async def test_a_certificate_file_that_holds_none(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("garbage")
    uri = f"mongodb://u:{SECRET}@localhost/?tls=true&tlsCAFile={tmp_path / 'ca'}"
    await refused(uri, ConfigurationError, "localhost", "certificate")


@pytest.mark.server
async def test_the_right_certificate_opens(encrypted: str, certificates: Path) -> None:
    uri = f"mongodb://{encrypted}/?tls=true&tlsCAFile={certificates / 'server.crt'}"
    async with AsyncMongoStore(uri, transactions="off") as store:
        assert not await store.sessions.exists("s")


@pytest.mark.server
async def test_a_store_works_with_the_strict_stable_api(server_uri: str, database: str) -> None:
    options = {"server_api": ServerApi("1", strict=True)}
    async with AsyncMongoStore(server_uri, database, client_options=options) as store:
        await store.sessions.create("s")
        await store.sessions.messages.append("s", Message(role="user", content="x"))
        assert len((await store.sessions.messages.list("s")).items) == await store.sessions.count() == 1
        await store.rooms.create("r")
        await store.rooms.events.append("r", Event(channel_id="c", content="x"))
        assert len((await store.rooms.events.list("r")).items) == await store.rooms.count() == 1
        await store.threads.merge("t", name="n")
        assert len((await store.threads.list()).items) == await store.threads.count() == 1
        async with aclosing(store.rooms.events.watch("r", after=-1)) as events:  # type: ignore[type-var]
            assert (await anext(events)).content == "x"
