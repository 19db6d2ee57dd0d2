"""Stores to test on: the embedded engine, and a real server that the tests start or are pointed at."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase

from mongostore import AsyncMongoStore, ConfigurationError
from mongostore.engines.mongod_process import MongodProcess
from mongostore.index_definitions import load_indexes
from mongostore.repositories.change_feed import ChangeReader
from mongostore.repositories.sessions import TailLimits
from mongostore.settings import Settings
from tests.cluster.deployment import sharded_cluster
from tests.cluster.differences import DIFFERENCES
from tests.faults.deployments import certificate, cluster

# What is begun last should be short: first come the files that take longest, then those that wait most.
LONGEST = (
    "test_soak",
    "test_room_attack",
    "test_roomkit_own",
    "test_cancellation",
    "test_privileges",
    "test_failover",
    "test_blocks",
)
FOLDERS = ("faults", "adapters", "servers", "contract", "unit")
# The folders whose tests run on both engines.
TWICE = {"adapters", "contract", "importers", "servers"}
# Words in the names of tests that ask what a server alone can show: callers beside each other, streams,
# large documents, searches, and thousands of documents, for which the embedded engine takes longer.
OF_SERVER = {
    *("parallel", "concurrent", "concurrently", "race", "races", "racing", "beside", "meanwhile", "while"),
    *("late", "once", "callers", "writers", "tasks", "processes", "watch", "tail", "tails", "stream"),
    *("streams", "search", "large", "larger", "mb", "megabytes", "grows", "full", "limit", "limits", "size"),
    *("several", "2000", "filled", "than", "rolls"),
}
# Tests of the suites that take long, and those of the contract that make their claims in every run.
LONG_SUITES = {
    "test_a_thread_of_20_mb_is_whole": "test_many_large_messages_in_one_segment_are_all_kept",
    "test_lists_of_rooms_of_any_size": "test_iter_meets_every_room_of_three_pages",
}
# Those that a store makes when it is opened, for they have indexes.
COLLECTIONS = {command["createIndexes"] for command in load_indexes()}
# A server has less than one GB of data after a run, and keeps as much of it in its cache.
BYTES = 4 * 1024**3
NO_SERVER = "no MongoDB: tests/run brings one, or set MONGOSTORE_TEST_URI or MONGOSTORE_MONGOD"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let those who have the time run the long tests, too."""
    parser.addoption("--long", action="store_true", help="run the tests that are marked as long, too")


def pytest_configure() -> None:
    """Let tests interrupt processes that they start, though a shell in the background ignores interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Share the work among the processes of a run, of which each collects all tests.

    Each begins with folders of its own, for it leaves the assertions that it rewrites to the others. No test
    is seen by the collector of garbage before it is run.
    """
    number, count = _process()
    if count > 1 and session.config.args == session.config.getini("testpaths"):
        tests = Path(__file__).parent
        folders = sorted({str(tests / path.relative_to(tests).parts[0]) for path in tests.rglob("test_*.py")})
        first = number * len(folders) // count
        session.config.args = folders[first:] + folders[:first]
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _process() -> tuple[int, int]:
    """Which of how many processes of a run this is."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return int(number), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Leave out long tests, unless they are asked for.

    Every run asks each claim once, in its shortest form. These are long: the same claim on the other engine;
    more rounds, seeds or values of a claim; the suites of other projects; soaks and long pauses.

    A test on the embedded engine takes a quarter of the time, so every run asks that one, unless a server
    alone can show the claim. In every run a server carries out each verb for what it costs, what the tests
    marked `smoke` ask, and what `tests/unit/test_embedded.py` asks both engines to compare them.
    """
    items.sort(key=_turn)
    _mark_second_engine(items)
    for item in items:
        if " at 0x" in item.name:
            # Each process of a run would collect another test.
            raise pytest.UsageError(f"{item.nodeid}: give the cases ids without addresses")
        if getattr(item, "originalname", None) in LONG_SUITES:
            item.add_marker(pytest.mark.long)
        if os.environ.get("MONGOSTORE_TEST_SERVER") == "sharded":
            _expect_difference(item)
    # `-m long` chooses here.
    yield
    if config.getoption("long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)


def _mark_second_engine(items: list[pytest.Item]) -> None:
    """Mark as long what is asked on the other engine in every run."""
    found = {item.nodeid: item for item in items if item.path.parent.name in TWICE}
    for on_server in found.values():
        test, _, cases = on_server.nodeid.partition("[")
        names = cases.removesuffix("]").split("-")
        twin = "-".join("embedded" if name == "server" else name for name in names)
        embedded = found.get(f"{test}[{twin}]", on_server)
        chosen = {marker.name for one in (on_server, embedded) for marker in one.iter_markers()}
        if embedded is on_server or chosen & {"long", "smoke"}:
            continue
        words = {*test.rpartition("::")[2].split("_")}
        (embedded if words & OF_SERVER else on_server).add_marker(pytest.mark.long)


def _expect_difference(item: pytest.Item) -> None:
    """Mark a test that finds something else on a cluster, and must do so."""
    for end, reason in DIFFERENCES.items():
        if item.nodeid.endswith(end.removeprefix("?")):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=not end.startswith("?")))


def _turn(item: pytest.Item) -> tuple[int, int, Path]:
    folder, name = item.path.parent.name, item.path.stem
    return (
        LONGEST.index(name) if name in LONGEST else len(LONGEST),
        FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS),
        item.path,
    )


def absent(reason: str) -> None:
    """Skip at home what fails where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MONGOSTORE_URI",
        "MONGOSTORE_DATABASE",
        "MONGOSTORE_HEARTBEAT",
        "MONGOSTORE_PREFIX",
        "MONGOSTORE_ENSURE_INDEXES",
        "MONGOSTORE_TIMEOUT",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def mongod_binary() -> Path:
    """The server that tests may start by themselves."""
    try:
        return MongodProcess.find_binary(Settings().mongod)
    except ConfigurationError:
        absent(NO_SERVER)
        raise


@pytest.fixture(scope="session")
def databases() -> list[str]:
    """The names of the databases that tests have used."""
    return []


@dataclass(frozen=True)
class Server:
    """A real replica set, or a cluster of several.

    Attributes:
        uri: How stores reach it; on a guarded one as a user with `readWrite`, who may also drop databases.
        admin_uri: How who may do everything reaches it.
    """

    uri: str
    admin_uri: str


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, databases: list[str]
) -> Iterator[Server]:
    """The replica set that tests use.

    MONGOSTORE_TEST_SERVER=guarded makes it one that speaks TLS alone and wants a login, and =sharded a
    cluster of two shards.
    """
    if sent := os.environ.get("MONGOSTORE_TEST_URI"):
        yield Server(sent, sent)
        with MongoClient[dict[str, Any]](sent) as client:
            for name in databases:
                client.drop_database(name)
        return
    binary, folder = request.getfixturevalue("mongod_binary"), tmp_path_factory.mktemp("mongod")
    # Each test has a database of its own, and the server keeps the files of dropped ones for minutes: it
    # would run out of file descriptors if it did not close those that nobody uses soon.
    idle = "file_manager=(close_idle_time=5,close_scan_interval=2,close_handle_minimum=100)"
    options = [f"--wiredTigerEngineConfigString={idle}"]
    if os.environ.get("MONGOSTORE_TEST_SERVER") == "sharded":
        with sharded_cluster(binary, folder, options=options) as sharded:
            yield Server(sharded.uri, sharded.uri)
        return
    if os.environ.get("MONGOSTORE_TEST_SERVER") == "guarded":
        certificate(folder, "server")
        with cluster(binary, folder / "data", members=1, login=True, tls=folder, options=options) as guarded:
            guarded.add_role("dropper", "", "dropDatabase")
            yield Server(guarded.add_user("tester", "readWriteAnyDatabase", "dropper"), guarded.admin_uri)
        return
    with _memory(folder) as data:
        server = MongodProcess(data, binary, ["--setParameter", "enableTestCommands=1", *options])
        uri = server.start()
        yield Server(uri, uri)
        server.stop()


@contextmanager
def _memory(folder: Path) -> Iterator[Path]:
    """A folder in memory, where that is plenty, or the one on disk: a server takes less time in memory."""
    memory, wanted = Path("/dev/shm"), BYTES * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if not memory.is_dir() or min(_available_bytes(), disk_usage(memory).free) < wanted:
        yield folder
        return
    with TemporaryDirectory(prefix="mongostore-tests-", dir=memory) as name:
        yield Path(name)


def _available_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def server_uri(server: Server) -> str:
    """The URI of a real replica set."""
    return server.uri


@pytest.fixture(scope="session")
def admin_uri(server: Server) -> str:
    """The URI of the same for who may do everything."""
    return server.admin_uri


@pytest.fixture(
    params=[pytest.param("embedded"), pytest.param("server", marks=pytest.mark.server)],
)
def store_uri(request: pytest.FixtureRequest) -> str:
    """The URI of each engine in turn."""
    if request.param == "embedded":
        return f"mongomock://{uuid4().hex}"
    return str(request.getfixturevalue("server_uri"))


@dataclass
class Emptied:
    """Empty databases of the real server, whose indexes are long in the making, and to compare.

    Attributes:
        free: The names of those that no test has.
        indexed: The names of all that tests have given each other.
    """

    free: list[str] = field(default_factory=list)
    indexed: set[str] = field(default_factory=set)

    async def add(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        """Empty a database, and let another test have it unless it lacks collections that have indexes.

        A test may have dropped some, or opened no store.
        """
        if await empty(database) >= COLLECTIONS:
            self.free.append(database.name)
            self.indexed.add(database.name)

    def ensure(self, name: str) -> bool | None:
        """Return the `ensure_indexes` of a store on a database: none are missing in one of these."""
        return False if name in self.indexed else None


@pytest.fixture(scope="session")
def emptied() -> Emptied:
    """The databases that tests give each other."""
    return Emptied()


@pytest.fixture
def database(request: pytest.FixtureRequest, databases: list[str], emptied: Emptied) -> str:
    """The name of a database of this test's own, new where it opens its stores by itself."""
    if emptied.free and _has_store_argument(request):
        return emptied.free.pop()
    databases.append(f"test_{uuid4().hex[:16]}")
    return databases[-1]


def _has_store_argument(request: pytest.FixtureRequest) -> bool:
    cases = getattr(request.node, "callspec", None)
    is_on_server = cases is not None and cases.params.get("store_uri") == "server"
    names = request.fixturenames
    givers = {"server_store", "server_db", "faults"}
    return not givers.isdisjoint(names) or (is_on_server and not {"store", "db"}.isdisjoint(names))


async def empty(database: AsyncDatabase[dict[str, Any]]) -> set[str]:
    """Delete all documents of a database, which keeps its indexes, and return its collections."""
    database = database.with_options(write_concern=WriteConcern(1))
    names = await database.list_collection_names()
    if not names:
        return set()
    # One question finds the few collections that have any.
    first, *others = [(name, _name_if_any(name)) for name in names]
    unions = [{"$unionWith": {"coll": name, "pipeline": stages}} for name, stages in others]
    async with await database[first[0]].aggregate([*first[1], *unions]) as found:
        for each in await found.to_list():
            await database[each["name"]].delete_many({})
    return set(names)


def _name_if_any(collection: str) -> list[dict[str, Any]]:
    return [{"$limit": 1}, {"$project": {"_id": 0, "name": {"$literal": collection}}}]


@pytest.fixture
def tail_limits() -> TailLimits:
    """When messages leave a session's document; tests that want them to leave early give others."""
    return TailLimits()


@pytest.fixture
async def store(
    store_uri: str, database: str, emptied: Emptied, tail_limits: TailLimits
) -> AsyncIterator[AsyncMongoStore]:
    """An open store on each engine in turn."""
    ensure = emptied.ensure(database)
    async with AsyncMongoStore(store_uri, database, ensure_indexes=ensure, tail_limits=tail_limits) as opened:
        yield opened
        if opened.engine.is_shared:
            await emptied.add(opened.engine.database)
        else:
            await opened.engine.database.client.drop_database(database)


@pytest.fixture
async def server_store(
    server_uri: str, database: str, emptied: Emptied, tail_limits: TailLimits
) -> AsyncIterator[AsyncMongoStore]:
    """An open store on the real server."""
    ensure = emptied.ensure(database)
    async with AsyncMongoStore(
        server_uri, database, ensure_indexes=ensure, tail_limits=tail_limits
    ) as opened:
        yield opened
        await emptied.add(opened.engine.database)


@pytest.fixture
def until_followed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Waits, once a task has been made that reads a watch, until it sees what is written from then on."""
    following, wait_for_next = set[ChangeReader](), ChangeReader.next

    async def wait_for_change(reader: ChangeReader) -> Any:
        following.add(reader)
        return await wait_for_next(reader)

    monkeypatch.setattr(ChangeReader, "next", wait_for_change)

    async def wait() -> None:
        before = len(following)
        async with asyncio.timeout(60):
            while len(following) == before:
                await asyncio.sleep(0.01)

    return wait
