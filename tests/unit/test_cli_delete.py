"""Commands that delete ask in a terminal, and need `--yes` without one."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

from mongostore import MongoStore
from mongostore.cli import app
from mongostore.cli.terminal import err

COMMANDS = [("prune", "--older", "1d"), ("people", "erase", "ada")]


class Terminal(io.StringIO):
    """Standard input of a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[MongoStore]:
    uri = f"mongomock://{uuid4().hex}"
    monkeypatch.setenv("MONGOSTORE_URI", uri)
    with MongoStore(uri) as store:
        store.sessions.create("s", user_id="ada", created_at=datetime(2024, 5, 1, tzinfo=UTC))
        store.sessions.create("t", user_id="ben")
        yield store


def left_by(store: MongoStore, *command: str) -> list[str]:
    """Run a command and return the ids of the sessions that are left."""
    app(command, standalone_mode=False)
    return sorted(one.id for one in store.sessions.list().items)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_deletes_after_a_yes(
    store: MongoStore,
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    with pytest.raises(typer.Abort):
        left_by(store, *command)
    assert "1 sessions" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert app(command, standalone_mode=False) == 1
    assert "add --yes" in capsys.readouterr().err
    assert left_by(store, *command, "--dry-run") == ["s", "t"]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert left_by(store, *command) == ["t"]
    # Nothing is left to ask about.
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert left_by(store, "prune", "--older", "1d") == ["t"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_script_deletes_with_yes(store: MongoStore, command: tuple[str, ...]) -> None:
    assert left_by(store, *command, "--yes") == ["t"]


def test_an_erasure_shows_that_it_goes_on(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is found out when the console is made.
    monkeypatch.setattr(err, "is_interactive", True)
    environment = {"FORCE_COLOR": "1", "TERM": "xterm"}
    result = CliRunner().invoke(app, ["people", "erase", "ada", "--yes"], env=environment)
    assert result.exit_code == 0
    assert "erasing" in result.stderr


ASKING = """
import asyncio
from mongostore.cli.terminal import confirm

async def main():
    confirm("Delete?")

asyncio.run(main())
"""


def test_an_interrupt_ends_a_question() -> None:
    terminal, end = pty.openpty()
    with os.fdopen(terminal), os.fdopen(end) as stdin:
        command = [sys.executable, "-c", ASKING]
        with subprocess.Popen(command, stdin=stdin, stderr=subprocess.PIPE) as asking:
            assert asking.stderr is not None
            assert asking.stderr.read(7) == b"Delete?"
            asking.send_signal(signal.SIGINT)
            try:
                assert asking.wait(30) != 0
            finally:
                asking.kill()
