"""Deployments of real servers that tests start, wound and stop."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from tests.ports import free_port

SECRET = "open-sesame"
# By default these are 10 s, and for ever where one stands still that would have to be caught up with.
# The sooner there is a new primary, the more of a stall is due to who asks.
_ELECTION_MS = 2_000
_CATCH_UP_MS = 2_000
# By default a follower asks a member that stands still for 13 seconds before it looks for another one.
# Until it has also given up telling that member of its progress, others know of that by heartbeats alone.
_HEARTBEAT_MS = 250
_NOTICING = "--setParameter=oplogNetworkTimeoutBufferSeconds=1"
# A member that rolls back on a busy machine takes its time.
_START_SECONDS = 120
_PRIMARY, _SECONDARY = 1, 2


def certificate(folder: Path, name: str, address: str = "IP:127.0.0.1") -> Path:
    """Make a certificate that vouches for itself, and the same with its key in `….pem`."""
    if not (openssl := shutil.which("openssl")):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("openssl is not installed")
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={address}", "-days", "2"]
    files = ["-keyout", f"{folder / name}.key", "-out", f"{folder / name}.crt"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / f"{name}.pem"
    both.write_text("".join((folder / f"{name}.{kind}").read_text() for kind in ("key", "crt")))
    return folder / f"{name}.crt"


def with_options(uri: str, **options: object) -> str:
    """Return a URI with more options."""
    sent = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{uri}{'&' if '?' in uri else '/?'}{sent}"


@dataclass
class Member:
    """One server.

    Attributes:
        command: What starts it.
    """

    binary: Path
    folder: Path
    options: list[str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(self.binary), f"--port={self.port}", f"--dbpath={self.folder}", *self.options]
        command += ["--bind_ip=127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB=0.5", _NOTICING]
        with (self.folder / "output").open("a") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "output").read_text()[-2000:])

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGKILL to kill it, SIGSTOP to make it pause and SIGCONT to let it go on."""
        assert self.process is not None
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait()
        elif number is signal.SIGSTOP:
            # One thread of it after the other.
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def stop(self) -> None:
        """End it for good."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def standalone(binary: Path, folder: Path, *options: str) -> Iterator[str]:
    """Run a server that is no replica set, and give its address."""
    server = Member(binary, folder, list(options))
    try:
        server.start()
        yield server.address
    finally:
        server.stop()


@dataclass
class Cluster:
    """A replica set.

    Attributes:
        uri: How its users reach it; with a user's name and password if it wants a login.
        admin_uri: How who may do everything reaches it.
    """

    members: list[Member]
    credentials: str = ""
    options: str = ""
    name: str = "rs"

    @property
    def admin_uri(self) -> str:
        """The URI of who may do everything."""
        return self.uri_of(self.credentials)

    def uri_of(self, credentials: str = "", database: str = "") -> str:
        """Return the URI for somebody, as `name:password@`."""
        hosts = ",".join(member.address for member in self.members)
        return f"mongodb://{credentials}{hosts}/{database}?replicaSet={self.name}{self.options}"

    def add_user(self, name: str, *roles: str | Mapping[str, str]) -> str:
        """Make a user with the password `SECRET`, and return the URI for it."""
        with MongoClient[dict[str, Any]](self.admin_uri) as client:
            client.admin.command("createUser", name, pwd=SECRET, roles=list(roles))
        return self.uri_of(f"{name}:{SECRET}@")

    def add_role(self, name: str, database: str, *actions: str) -> None:
        """Make a role that may do these things to the collections of a database; "" stands for every one."""
        allowed = {"resource": {"db": database, "collection": ""}, "actions": actions}
        with MongoClient[dict[str, Any]](self.admin_uri) as client:
            client.admin.command("createRole", name, privileges=[allowed], roles=[])

    def ask(self, member: Member, command: Any) -> dict[str, Any]:
        """Send a command to one member."""
        uri = f"mongodb://{self.credentials}{member.address}/?directConnection=true{self.options}"
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2000, timeoutMS=10_000) as client:
            return dict(client.admin.command(command))

    def initiate(self) -> None:
        """Make the servers a replica set, and wait for its primary."""
        members = [{"_id": i, "host": member.address} for i, member in enumerate(self.members)]
        settings = {
            "electionTimeoutMillis": _ELECTION_MS,
            "catchUpTimeoutMillis": _CATCH_UP_MS,
            "heartbeatIntervalMillis": _HEARTBEAT_MS,
        }
        config: dict[str, Any] = {"_id": self.name, "members": members, "settings": settings}
        if "--configsvr" in self.members[0].options:
            config["configsvr"] = True
        credentials, self.credentials = self.credentials, ""
        self.ask(self.members[0], {"replSetInitiate": config})
        self.primary()
        self.credentials = credentials

    def primary(self) -> Member:
        """Return the primary, as soon as there is one."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                with suppress(PyMongoError):
                    if self.ask(member, "hello").get("isWritablePrimary"):
                        return member
            time.sleep(0.05)
        raise AssertionError("no member became the primary")

    def wait_for_login(self) -> None:
        """Wait until every member knows who may do everything."""
        deadline = time.monotonic() + _START_SECONDS
        for member in self.members:
            while True:
                try:
                    self.ask(member, "ping")
                    break
                except PyMongoError:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.1)

    def wait_until_idle(self) -> None:
        """Wait until every member is the primary or follows it."""
        deadline = time.monotonic() + _START_SECONDS
        states: list[Any] = []
        while time.monotonic() < deadline:
            states = [member["state"] for member in self._status()]
            if sorted(states) == [_PRIMARY, *[_SECONDARY] * (len(self.members) - 1)]:
                return
            time.sleep(0.1)
        raise AssertionError(f"the members are in the states {states}")

    def _status(self) -> list[dict[str, Any]]:
        with suppress(PyMongoError):
            return list(self.ask(self.primary(), "replSetGetStatus")["members"])
        return []

    def step_down(self) -> None:
        """Make the primary one no more, for ten seconds."""
        with suppress(OperationFailure):
            self.ask(self.primary(), {"replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5})


@contextmanager
def cluster(
    binary: Path,
    folder: Path,
    *,
    members: int = 3,
    login: bool = False,
    tls: Path | None = None,
    options: Sequence[str] = (),
) -> Iterator[Cluster]:
    """Run a replica set.

    Args:
        binary: The server.
        folder: Where it keeps its data.
        members: How many there are.
        login: Whether it wants one; `root` with the password `SECRET` may do everything.
        tls: The folder of a certificate called `server`, if it speaks TLS alone.
        options: More of the servers' command line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options, suffix = ["--replSet=rs", "--setParameter=enableTestCommands=1", *options], ""
    if login:
        key = folder / "key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o400)
        options.append(f"--keyFile={key}")
    if tls:
        options += ["--tlsMode=requireTLS", f"--tlsCertificateKeyFile={tls / 'server.pem'}"]
        options += [f"--tlsCAFile={tls / 'server.crt'}", "--tlsAllowConnectionsWithoutCertificates"]
        suffix = f"&tls=true&tlsCAFile={tls / 'server.crt'}"
    started = Cluster([Member(binary, folder / str(i), options) for i in range(members)], options=suffix)
    try:
        for member in started.members:
            member.start()
        started.initiate()
        if login:
            primary = started.primary()
            started.ask(primary, {"createUser": "root", "pwd": SECRET, "roles": ["root"]})
            started.credentials = f"root:{SECRET}@"
            started.wait_for_login()
        yield started
    finally:
        for member in started.members:
            member.stop()
