"""`mongostore import SOURCE`, as a user calls it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from mongostore import MongoStore
from mongostore.cli import app
from mongostore.importers import names
from tests.importers.expected import DATA, load
from tests.importers.test_engine import write_source


@pytest.fixture
def uri() -> str:
    return f"mongomock://{uuid4().hex}"


def run(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_each_source_is_in_the_help() -> None:
    result = CliRunner().invoke(app, ["import", "--help"], terminal_width=200)
    words = set(result.output.replace(",", " ").replace(".", " ").split())
    assert set(names()) <= words


def test_a_source_is_imported_and_reported(uri: str, tmp_path: Path) -> None:
    arguments = (
        "chatgpt",
        DATA / "chatgpt" / "chatgpt.zip",
        "--namespace",
        "ada",
        "--user",
        "ada",
        "--uri",
        uri,
    )
    report = tmp_path / "report.json"
    assert "be new" in run(*arguments, "--dry-run")
    output = run(*arguments, "--report", report)
    assert "15" in output
    assert "warning: message_feedback.json" in output
    with MongoStore(uri) as store:
        sessions = list(store.sessions.in_namespace("ada").iter())
    assert len(sessions) == 3
    assert {session.user_id for session in sessions} == {"ada"}
    written = json.loads(report.read_text())
    assert written["counts"]["messages"]["new"] == 15
    assert {key for key in written["digests"] if key.startswith("sessions/")} == {
        f"sessions/ada/{session.id}" for session in sessions
    }
    assert "parcel" not in report.read_text()
    run(*arguments)


def test_rows_that_are_refused_are_named_with_exit_code_1(uri: str) -> None:
    output = run("director", DATA / "director" / "director.db", "--uri", uri, exit_code=1)
    assert "refused: conversations torn: content is not JSON" in output


def test_options_of_formats_reach_the_source(uri: str) -> None:
    langchain = DATA / "langchain-mongodb" / "message_store.bson"
    run("langchain", langchain, "--key", "SessionId=sid", "--key", "History=msg", "--uri", uri)
    agents = DATA / "openai-agents" / "agents.db"
    tables = ("--table", "agent_sessions=my_sessions", "--table", "agent_messages=my_messages")
    run("agents", agents, *tables, "--uri", uri)
    run("chainlit", DATA / "chainlit" / "chainlit.db", "--files", DATA / "chainlit" / "files", "--uri", uri)
    with MongoStore(uri) as store:
        assert {session.id for session in store.sessions.iter()} == {"other-keys", "own-tables"}
        assert len(list(store.threads.files.iter())) == load("chainlit")["counts"]["files"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("chatgpt",), "chatgpt wants one path or URI"),
        (("agents", "a.db", "--table", "none"), "must be NAME=OTHER"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: tuple[str, ...], text: str) -> None:
    assert text in run(*arguments, exit_code=2)


def test_what_is_no_source_is_one_line_of_an_error(uri: str, tmp_path: Path) -> None:
    for source in names():
        output = run(source, tmp_path / "missing", "--uri", uri, exit_code=1)
        assert "error: there is no file" in output


def test_an_interrupt_ends_a_batch_and_the_next_import_goes_on(
    server_uri: str, database: str, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "a.db", {f"s{n}": ["one"] * 20 for n in range(600)})
    arguments = [sys.executable, "-m", "mongostore", "import", "agents", source, "--database", database]
    environment = {**os.environ, "MONGOSTORE_URI": server_uri}
    with (
        MongoStore(server_uri, database) as store,
        subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process,
    ):
        while not store.sessions.count():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "interrupted after" in errors
        stored = store.sessions.count()
        assert 0 < stored < 600
        subprocess.run(arguments, env=environment, check=True, timeout=240, capture_output=True)
        assert store.sessions.count() == 600


@pytest.mark.parametrize("source", [["chatgpt"], ["openai"], ["director"], []], ids="-".join)
def test_a_compressed_source_is_refused_by_name(uri: str, tmp_path: Path, source: list[str]) -> None:
    for name, compress in (("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress)):
        (tmp_path / name).write_bytes(compress(b"[]"))
        assert f"{name} is compressed: unpack it" in run(*source, tmp_path / name, "--uri", uri, exit_code=1)


def test_a_source_that_cannot_be_reached_is_named_without_its_password(uri: str) -> None:
    for source, address, printed in (
        (
            "langchain",
            "mongodb://u:geheim@127.0.0.1:1/x",
            "the source mongodb://127.0.0.1:1: no answer in time",
        ),
        ("chainlit", "postgresql://u:geheim@127.0.0.1:1/x", "PostgreSQL cannot be read: no server answers"),
    ):
        output = run(source, address, "--uri", uri, exit_code=1)
        assert printed in output
        assert "geheim" not in output


@pytest.mark.parametrize("source", ["chatgpt", "claude"])
def test_an_export_is_whole_and_may_have_another_name(uri: str, tmp_path: Path, source: str) -> None:
    export = DATA / source / f"{source}.zip"
    (tmp_path / "cut.zip").write_bytes(export.read_bytes()[:-100])
    assert "cut.zip is a broken zip file" in run(source, tmp_path / "cut.zip", "--uri", uri, exit_code=1)
    # A browser renames the second file of a name.
    alone = tmp_path / "conversations (1).json"
    with zipfile.ZipFile(export) as archive:
        alone.write_bytes(
            archive.read("conversations.json" if source == "claude" else "conversations-000.json")
        )
    run(source, alone, "--uri", uri)
    with MongoStore(uri) as store:
        assert list(store.sessions.iter())
