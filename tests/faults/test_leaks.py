"""A password and the words of others show in no error, log, problem or output, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pymongo import AsyncMongoClient
from typer.testing import CliRunner

from mongostore import (
    AccessDeniedError,
    AlreadyExistsError,
    AsyncMongoStore,
    ConfigurationError,
    ConflictError,
    DocumentTooLargeError,
    Event,
    IdempotencyKeyError,
    Identity,
    InvalidDocumentError,
    InvalidValueError,
    Message,
    MongoStore,
    MongoStoreError,
    UnavailableError,
)
from mongostore.cli import app as cli
from mongostore.servers.error_responses import install_error_handlers
from mongostore.settings import Settings
from tests.contract.command_log import repositories_of
from tests.faults.deployments import SECRET, Cluster, cluster, with_options
from tests.ports import free_port
from tests.servers.parts import client

pytestmark = pytest.mark.server

TEXT = "canary-said-this"
COMMANDS = "pymongo.command"
DATABASE = "leaks"


@pytest.fixture(scope="module")
def secret(mongod_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A replica set of one member that wants a login, for `root` and for somebody who only reads."""
    with cluster(mongod_binary, tmp_path_factory.mktemp("secret"), members=1, login=True) as started:
        started.add_user("reader", {"role": "read", "db": DATABASE})
        yield started


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls give up soon."""
    monkeypatch.setenv("MONGOSTORE_TIMEOUT", "1")


class Lines(logging.Handler):
    """Keeps whatever is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {self.format(record)} {record.args!r}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines of every logger, while the root logger is at DEBUG as an application may set it."""
    root, handler = logging.getLogger(), Lines()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before)


def is_leaked(text: str) -> bool:
    """Whether a text tells what nobody should see."""
    return SECRET in text or TEXT in text


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it came of, hidden or not."""
    while error is not None:
        yield error
        if error.__cause__ is not None:
            yield from chain_of(error.__cause__)
        error = error.__context__


def forms_of(error: BaseException) -> Iterator[str]:
    """Yield all that anybody can make of an error."""
    yield "".join(traceback.format_exception(error))
    yield repr(pickle.dumps(error))
    for one in chain_of(error):
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)), repr(getattr(one, "details", None)))


async def problem_of(error: MongoStoreError) -> str:
    """Return how a server of ours answers when this is raised."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    async with client(app) as asking:
        answer = await asking.get("/")
    return f"{answer.headers} {answer.text}"


def new_message(**members: Any) -> Message:
    return Message(**{"id": "m", "role": "user", "content": TEXT, "data": {"k": TEXT}, **members})


async def talk(store: AsyncMongoStore) -> None:
    """Say what nobody else should hear."""
    await store.sessions.delete("s")
    await store.sessions.create("s", name=TEXT, description=TEXT, data={"k": TEXT}, metadata={"k": TEXT})
    await store.sessions.messages.append("s", new_message())


@asynccontextmanager
async def failing(secret: Cluster, **how: Any) -> AsyncIterator[None]:
    """Make the commands of stores fail inside the `with` block."""
    point = {"configureFailPoint": "failCommand", "mode": "alwaysOn"}
    data = {"failCommands": ["update", "insert", "findAndModify"], **how}
    async with AsyncMongoClient[dict[str, Any]](secret.admin_uri) as client:
        await client.admin.command({**point, "data": data})
        try:
            yield
        finally:
            await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


async def wrong_password(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.uri_of(f"root:{SECRET}{TEXT}@"), DATABASE):
        pass


async def unescaped_password(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.uri_of(f"root:{SECRET}/@{TEXT}@"), DATABASE):
        pass


async def nonsense_option(secret: Cluster) -> None:
    async with AsyncMongoStore(with_options(secret.admin_uri, maxPoolSize=TEXT), DATABASE):
        pass


async def no_server(secret: Cluster) -> None:
    async with AsyncMongoStore(f"mongodb://root:{SECRET}@127.0.0.1:{free_port()}", DATABASE):
        pass


async def no_right(secret: Cluster) -> None:
    uri = secret.uri_of(f"reader:{SECRET}@")
    async with AsyncMongoStore(uri, DATABASE, ensure_indexes=False) as store:
        await store.sessions.messages.append("s", new_message(id="n"))


async def duplicate_id(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        for _ in range(2):
            await store.rooms.create("r", data={"k": TEXT})


async def duplicate_key(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await store.rooms.create("keys")
        for _ in range(2):
            await store.rooms.events.append("keys", Event(channel_id="c", content=TEXT, idempotency_key="k"))


async def duplicate_address(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        for _ in range(2):
            await store.rooms.identities.create(Identity(addresses={"sms": [TEXT]}))


async def other_content(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        await store.sessions.messages.append("s", new_message(content=[TEXT, TEXT]))


async def not_valid(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, "leaks_validated") as store:
        validator = {"$jsonSchema": {"properties": {"data": {"type": "string"}}}}
        await store.engine.database.command({"collMod": "rooms", "validator": validator})
        await store.rooms.create("r", data={"k": TEXT})


async def too_large(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        await store.sessions.messages.append("s", new_message(id="n", data={"k": TEXT * 1_200_000}))


async def no_json(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await store.rooms.create("odd", data={"k": [TEXT, TEXT.encode()]})


async def not_readable(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        change = {"$set": {"messages.0.role": {"k": TEXT}, "name": [TEXT], "created_at": TEXT}}
        await store.engine.database.sessions.update_one({"session_id": "s"}, change)
        page = await store.sessions.list()
        assert page.errors
        assert not any(map(is_leaked, map(repr, page.errors)))
        await store.sessions.get("s")


async def not_readable_message(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        change = {"$set": {"messages.0.role": {"k": TEXT}}}
        await store.engine.database.sessions.update_one({"session_id": "s"}, change)
        await store.sessions.messages.get("s", "m")


async def no_answer(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        async with failing(secret, blockConnection=True, blockTimeMS=2000):
            await store.sessions.messages.append("s", new_message(id="n"))


async def refused(secret: Cluster) -> None:
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        async with failing(secret, errorCode=2):
            await store.sessions.messages.update("s", "m", content=[TEXT])


async def killed(secret: Cluster) -> None:
    [server] = secret.members
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        await talk(store)
        server.send(signal.SIGKILL)
        try:
            await store.sessions.messages.append("s", new_message(id="n"))
        finally:
            server.start()
            await asyncio.to_thread(secret.primary)


FAULTS: dict[Callable[[Cluster], Awaitable[None]], type[MongoStoreError]] = {
    wrong_password: AccessDeniedError,
    unescaped_password: ConfigurationError,
    nonsense_option: ConfigurationError,
    no_server: UnavailableError,
    no_right: AccessDeniedError,
    duplicate_id: AlreadyExistsError,
    duplicate_key: IdempotencyKeyError,
    duplicate_address: ConflictError,
    other_content: ConflictError,
    not_valid: ConfigurationError,
    too_large: DocumentTooLargeError,
    no_json: InvalidValueError,
    not_readable: InvalidDocumentError,
    not_readable_message: InvalidDocumentError,
    no_answer: UnavailableError,
    refused: MongoStoreError,
    killed: UnavailableError,
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_no_fault_tells_a_password_or_what_somebody_said(
    secret: Cluster, logged: list[str], fault: Callable[[Cluster], Awaitable[None]]
) -> None:
    with pytest.raises(MongoStoreError) as caught:
        await fault(secret)
    assert type(caught.value) is FAULTS[fault]
    assert [form for form in forms_of(caught.value) if is_leaked(form)] == []
    assert not is_leaked(await problem_of(caught.value))
    assert logged
    assert [line for line in logged if is_leaked(line)] == []


async def test_commands_are_logged_for_whoever_asks_for_them_by_name(
    secret: Cluster, logged: list[str]
) -> None:
    commands = logging.getLogger(COMMANDS)
    before = commands.level
    commands.setLevel(logging.DEBUG)
    try:
        async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
            await talk(store)
    finally:
        commands.setLevel(before)
    assert any(line.startswith(COMMANDS) and TEXT in line for line in logged)


async def test_nothing_shows_the_password_that_it_was_given(
    secret: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", secret.admin_uri)
    assert Settings().uri == secret.admin_uri
    assert not is_leaked(repr(Settings()))
    async with AsyncMongoStore(secret.admin_uri, DATABASE) as store:
        printed = [
            store,
            store.engine,
            *repositories_of(store).values(),
            store.capabilities,
            await store.describe(),
        ]
        printed += [*await store.diagnose(), *await store.check_indexes(), *await store.usage()]
        key = await store.keys.create(name="k", namespaces=["a"])
        token = key.token
        assert token not in repr(key) + repr(pickle.dumps(key)) + key.model_dump_json()
        assert not [one for one in printed for text in (str(one), repr(one)) if is_leaked(text)]
    with MongoStore(secret.admin_uri, DATABASE) as blocking:
        public = [one for name, one in vars(blocking).items() if name[0] != "_"]
        public += [part for one in public for name, part in vars(one).items() if name[0] != "_"]
        assert not [one for one in public if is_leaked(repr(one))]
        assert not is_leaked(repr(blocking))


OUTPUT = {
    "ping": (["ping"], "root"),
    "ping as json": (["ping", "--json"], "root"),
    "doctor": (["doctor"], "root"),
    "indexes check": (["indexes", "check"], "root"),
    "keys list": (["keys", "list"], "root"),
    "ping with a wrong password": (["ping"], f"root:{TEXT}"),
    "export with a wrong password": (["export", "-"], f"root:{TEXT}"),
    "keys with no right": (["keys", "create", "k", "--admin"], "reader"),
    "import of bad lines": (["import", "LINES"], "root"),
    "import with no right": (["import", "LINES"], "reader"),
}


@pytest.mark.parametrize("what", OUTPUT)
def test_no_command_prints_a_password_or_what_somebody_said(
    secret: Cluster, logged: list[str], tmp_path: Path, what: str
) -> None:
    arguments, user = OUTPUT[what]
    lines = tmp_path / "lines"
    bad = [{"messages": [{"role": {"k": TEXT}}]}, {"messages": TEXT}, [TEXT], {TEXT: TEXT}]
    lines.write_text("\n".join([f'{{"messages": "{TEXT}', TEXT, *map(json.dumps, bad)]))
    credentials = f"{user}:{SECRET}@" if ":" not in user else f"{user}@"
    target = ["--uri", secret.uri_of(credentials), "--database", DATABASE]
    sent = [str(lines) if argument == "LINES" else argument for argument in arguments]
    result = CliRunner().invoke(cli, [*sent, *target])
    assert result.output, result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not is_leaked(result.output)
    assert [line for line in logged if is_leaked(line)] == []
