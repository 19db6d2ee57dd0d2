"""Every block of the README does what it shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest
import typer

from mongostore.cli import app, load_command
from tests.conftest import absent
from tests.environments import run_apart

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
# What needs a server of ours, which tests/servers/test_readme.py starts.
SERVED = [text for _, text in BLOCKS if "mongostore serve" in text or "127.0.0.1:8000" in text]
SHELL = [text for kind, text in BLOCKS if kind == "sh" and text not in SERVED]
CHAINLIT = [text for kind, text in BLOCKS if kind == "python" and "import chainlit" in text]
# What pytest runs, in tests/unit/test_testing.py.
SUITES = [text for kind, text in BLOCKS if kind == "python" and "mongostore.testing" in text]
SERVER = "mongodb://localhost:27017/?replicaSet=rs0"


def python_blocks() -> list[tuple[str, str | None]]:
    """Each Python block, with the output that follows it, if one does."""
    following = [*BLOCKS[1:], ("", "")]
    return [
        (text, after if kind == "text" and after.count("{") == 0 else None)
        for (language, text), (kind, after) in zip(BLOCKS, following, strict=True)
        # Others run these, each in a test of its own.
        if language == "python" and text not in CHAINLIT + SERVED + SUITES
    ]


@pytest.mark.parametrize(("code", "shown"), python_blocks(), ids=range(len(python_blocks())))
def test_python_blocks_print_what_they_show(
    request: pytest.FixtureRequest, code: str, shown: str | None
) -> None:
    if "roomkit" in code and sys.version_info < (3, 12):
        pytest.skip("RoomKit needs Python 3.12 or later")
    stand_in = ROOT / "tests" / "adapters" / "stand_in"
    environment = os.environ | {"PYTHONPATH": str(stand_in)}
    if SERVER in code:
        code = code.replace(SERVER, request.getfixturevalue("server_uri"))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert shown is None or ran.stdout == shown


# That the wheel can be installed and used is asked in every run, in tests/unit/test_packaging.py.
@pytest.mark.long
def test_the_first_command_sets_everything_up_and_runs_the_demo(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    ran = run_apart(tmp_path, "sh", "-ec", SHELL[0])
    assert ran.returncode == 0, ran.stderr
    assert "Seventeen Steps" in ran.stdout


def test_the_second_command_is_what_ci_runs() -> None:
    assert SHELL[1] == "tests/run\n"
    assert "\ntests/run\n" in (ROOT / ".ci" / "run").read_text()


def test_the_docker_command_starts_the_file_that_is_there() -> None:
    assert SHELL[2] == "docker compose up -d --wait\n"
    assert (ROOT / "docker-compose.yml").is_file()


@contextmanager
def chainlit_runs(folder: Path, uri: str | None) -> Iterator[str]:
    """Starts the application that is shown with the command that is shown, and gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "app.py").write_text(CHAINLIT[0])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAINLIT_")}
    environment |= {"CHAINLIT_PORT": str(port), "BROWSER": "true"} | ({"MONGOSTORE_URI": uri} if uri else {})
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (folder / "log").open("ab") as log:
        command = ["sh", "-ec", SHELL[3]]
        running = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not is_reachable(port):
            assert running.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)
        (folder / "log").unlink()


def is_reachable(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def ask(browser: OpenerDirector, url: str, content: bytes | None = None, kind: str = "") -> Any:
    headers = {"Content-Type": kind} if kind else {}
    with browser.open(Request(url, content, headers), timeout=60) as response:
        return json.load(response)


@pytest.mark.parametrize(
    "engine", ["embedded", pytest.param("folder", marks=[pytest.mark.server, pytest.mark.long])]
)
def test_chainlit_runs_as_shown_and_people_log_in(
    request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    if find_spec("chainlit") is None:
        absent("Chainlit is not installed")
    if engine == "folder":
        request.getfixturevalue("mongod_binary")
    uri = f"mongod://{tmp_path}/data" if engine == "folder" else None
    ids = []
    for _ in range(2):
        with chainlit_runs(tmp_path, uri) as url:
            browser = build_opener(HTTPCookieProcessor(CookieJar()))
            form = urlencode({"username": "ada", "password": "secret"}).encode()
            assert ask(browser, f"{url}/login", form, "application/x-www-form-urlencoded")["success"]
            user = ask(browser, f"{url}/user")
            listing = json.dumps({"pagination": {"first": 20}, "filter": {}}).encode()
            assert ask(browser, f"{url}/project/threads", listing, "application/json")["data"] == []
            log = (tmp_path / "log").read_text()
            assert not re.search("ERROR|Traceback|Warning", log), log
            ids.append((user["identifier"], user["id"]))
    assert {identifier for identifier, _ in ids} == {"ada"}
    # In a folder they are remembered.
    assert len({*ids}) == (1 if uri else 2)


@pytest.mark.server
def test_the_commands_run_as_printed(server_uri: str, database: str, tmp_path: Path) -> None:
    environment = os.environ | {"MONGOSTORE_URI": server_uri, "MONGOSTORE_DATABASE": database}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ran = subprocess.run(
        ["sh", "-ec", SHELL[4]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "talks.jsonl").stat().st_size > 30_000


def test_no_other_command_is_shown_without_a_test() -> None:
    assert len(SHELL) == 5
    assert (len(CHAINLIT), len(SUITES)) == (1, 1)
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "text"}


def test_every_command_is_named_and_has_help() -> None:
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        command = load_command(name)
        assert command.help
        for child in getattr(command, "commands", {"": command}).values():
            assert f"mongostore {name}" + (f" {child.name}" if child is not command else "") in README
            assert child.help
