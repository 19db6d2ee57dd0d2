"""`mongostore ls`, `show` and `tail`: what is stored, seen on the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from mongostore import AsyncMongoStore, Event, Message, MongoStore
from mongostore.cli import app, terminal
from tests.contract.command_log import CommandLog

# Made before a test asks for colors, which they would have in all tests behind it.
CONSOLES = terminal.out, terminal.err
EVIL = "x\n\r\x1b[2J\x1b]0;t\x07\x7f\x9b2J\u2028\u202e<script>alert(1)</script><img src=x onerror=alert(1)>"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(*arguments: object) -> list[dict[str, object]]:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def uri() -> str:
    """The URI of a store with conversations in all houses."""
    uri = f"mongomock://{uuid4().hex}"
    with MongoStore(uri) as store:
        for number in range(3):
            store.sessions.create(f"s{number}", user_id="ada", name=f"Session {number}")
            store.threads.create(f"t{number}", name=f"Thread {number}")
            store.rooms.create(f"r{number}")
        for number in range(60):
            store.sessions.messages.append("s0", Message(role="user", content=f"step {number}"))
        call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"of": 1}'}}
        parts = [{"type": "text", "text": "A part"}, {"type": "image_url", "image_url": {"url": "data:"}}]
        store.sessions.messages.append(
            "s1", Message(role="assistant", content=parts, data={"tool_calls": [call]})
        )
        data = {"type": "user_message", "name": "Hare"}
        store.threads.messages.merge("t0", "m0", content="More tea?", data=data)
        store.rooms.events.append(
            "r0", Event(channel_id="sms", content={"type": "text", "body": "One, two!"})
        )
        store.sessions.in_namespace("other").create("s9")
        store.threads.create("s9")
        store.sessions.create(EVIL, user_id=EVIL, name=EVIL)
        store.sessions.messages.append(
            EVIL, Message(role=EVIL, content=EVIL, data={"name": EVIL, EVIL: EVIL})
        )
    return uri


def test_ls_pages_through_all_houses_without_gap_or_repetition(uri: str) -> None:
    whole = lines("ls", "--uri", uri)
    assert {(one["house"], one["id"]) for one in whole} >= {
        ("sessions", "s0"),
        ("threads", "t2"),
        ("rooms", "r1"),
    }
    walked: list[dict[str, object]] = []
    cursor: list[str] = []
    while True:
        result = run("ls", "--uri", uri, "--limit", 2, *cursor)
        walked += map(json.loads, result.stdout.splitlines())
        more = re.search(r"--cursor (\S+)", result.stderr)
        if more is None:
            break
        cursor = ["--cursor", more[1]]
    assert walked == whole
    assert len(whole) == 12
    here = lines("ls", "sessions", "--namespace", "default", "--uri", uri)
    others = [one for one in whole if one["house"] == "sessions" and one not in here]
    assert [(one["id"], one["namespace"]) for one in others] == [("s9", "other")]


def test_ls_shows_one_house_and_one_user(uri: str) -> None:
    assert {one["house"] for one in lines("ls", "rooms", "--uri", uri)} == {"rooms"}
    assert {one["id"] for one in lines("ls", "--user", "ada", "--uri", uri)} == {"s0", "s1", "s2"}
    assert lines("ls", "--user", "nobody", "--uri", uri) == []
    assert run("ls", "cellars", "--uri", uri).exit_code == 2
    wrong = run("ls", "--cursor", "x", "--uri", uri)
    assert (wrong.exit_code, wrong.stderr) == (
        1,
        "error: cursor: is not one that a page of these houses gave\n",
    )


def test_brackets_and_colons_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    # As on a machine without a server.
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("MONGOSTORE_MONGOD", raising=False)
    uri, text = f"mongomock://{uuid4().hex}", "[red]x[/red] :tada: [/]"
    with MongoStore(uri) as store:
        store.sessions.create("[i]", user_id="[b]", name=text)
        store.sessions.messages.append("[i]", Message(role="[u]", content=text))
    for printed, *command in (
        (text, "ls"),
        (text, "show", "[i]"),
        (text, "search", "x"),
        ("[b]", "people", "show", "[b]"),
        ("mongostore[mongod]", "demo"),
    ):
        output = re.sub(r"\x1b\[[\d;]*m", "", run(*command, "--uri", uri).output)
        assert printed in output, output


def test_a_terminal_gets_a_table_in_its_width(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    id = str(uuid4())
    with MongoStore(uri) as store:
        store.threads.create(id, name="A thread with a long name")
    printed = re.sub(r"\x1b\[[\d;]*m", "", run("ls", "--uri", uri).stdout)
    assert "Session 0" in printed
    # The id is to be copied.
    assert f" {id} " in printed
    assert "house" in printed.splitlines()[1]
    # So is the name to be read, rather than the number of messages.
    assert "A thread with a lon" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


@pytest.mark.parametrize(
    ("id", "house", "text"), [("s1", "sessions", "A part"), ("t0", "threads", "More tea?")]
)
def test_show_finds_the_house_by_itself(uri: str, id: str, house: str, text: str) -> None:
    head, *parts = lines("show", id, "--uri", uri)
    assert (head["house"], head["id"]) == (house, id)
    assert text in json.dumps(parts)
    assert text in run("show", id, "--as", "text", "--uri", uri).stdout


def test_show_asks_which_of_several_is_meant(uri: str) -> None:
    result = run("show", "s9", "--uri", uri)
    assert result.exit_code == 1
    assert "add --namespace other or --house threads" in result.stderr
    assert lines("show", "s9", "--house", "threads", "--uri", uri)[0]["house"] == "threads"
    assert lines("show", "s9", "--house", "sessions", "--uri", uri)[0]["namespace"] == "other"
    nothing = run("show", "nothing", "--uri", uri, "--database", "other").stderr
    assert nothing == "error: no conversation of the database 'other' has the id 'nothing'\n"


def test_show_as_text_is_of_the_newest_and_says_so(uri: str) -> None:
    printed = run("show", "s0", "--as", "text", "--uri", uri).stdout
    assert ("step 9\n" in printed, "step 10" in printed, "step 59" in printed) == (False, True, True)
    assert "the newest 50 of 60 messages: --limit 0 for all" in printed
    assert "step 9 " in run("show", "s0", "--as", "text", "--limit", 0, "--uri", uri).stdout
    assert len(lines("show", "s0", "--uri", uri)) == 61
    assert [one.get("position") for one in lines("show", "s0", "--limit", 2, "--uri", uri)] == [None, 58, 59]


def test_show_as_openai_is_what_an_import_takes(uri: str) -> None:
    (line,) = lines("show", "s1", "--as", "openai", "--uri", uri)
    with MongoStore(uri) as store:
        (message,) = store.sessions.messages.list("s1")
    assert line == {"messages": [message.to_openai()]}
    (line,) = lines("show", "t0", "--as", "openai", "--uri", uri)
    assert line == {"messages": [{"role": "user", "content": "More tea?"}]}


class Markup(HTMLParser):
    """What a browser makes of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_html_is_one_file_in_which_no_stored_text_is_markup(uri: str) -> None:
    markup = Markup()
    printed = run("show", EVIL, "--as", "html", "--uri", uri).stdout
    markup.feed(printed)
    own = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "p",
        "small",
        "time",
        "pre",
    }
    assert {*markup.tags} == own | {"article", "details", "summary"}
    assert markup.attributes == {"lang", "charset", "name", "content", "http-equiv", "class"}
    assert "http" not in printed.replace("http-equiv", "")
    assert "default-src 'none'; style-src 'sha256-" in printed
    assert printed.count("&lt;script&gt;") >= 4


def test_no_form_lets_stored_text_control_a_terminal(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (
        ("ls",),
        ("ls", "--json"),
        *(("show", EVIL, "--as", form) for form in ("text", "json", "openai", "markdown", "html")),
        ("tail",),
        ("search", "script"),
        ("tail", EVIL),
        ("show", EVIL + "?"),
    ):
        for forced in ("", "1"):
            monkeypatch.setenv("FORCE_COLOR", forced)
            result = run(*command, "--uri", uri)
            output = re.sub(r"\x1b\[[\d;]*m", "", result.output).replace("\n", "").replace("\t", "")
            assert output.isprintable(), (command, output)


def test_tail_shows_the_newest_and_stops(uri: str) -> None:
    assert [one["position"] for one in lines("tail", "s0", "-n", 3, "--uri", uri)] == [57, 58, 59]
    assert [one["id"] for one in lines("tail", "-n", 1, "--uri", uri)] == [EVIL]


def test_search_shows_where_the_words_are(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (hit,) = lines("search", "MORE tea", "--uri", uri)
    assert (hit["house"], hit["id"]) == ("threads", "t0")
    assert [one["texts"] for one in hit["messages"]] == [["More tea?", "Hare"]]  # type: ignore[attr-defined]
    assert {one["id"] for one in lines("search", "session", "--uri", uri)} == {"s0", "s1", "s2"}
    assert [len(one["messages"]) for one in lines("search", "step 5", "--uri", uri)] == [3]  # type: ignore[arg-type]
    assert lines("search", "step", "--house", "rooms", "--uri", uri) == []
    assert lines("search", "nowhere", "--uri", uri) == []
    first = run("search", "session", "--limit", 2, "--uri", uri)
    more = re.search(r"next page: --cursor (\S+)", first.stderr)
    assert more is not None
    rest = lines("search", "session", "--cursor", more[1], "--uri", uri)
    found = [*map(json.loads, first.stdout.splitlines()), *rest]
    assert [len(rest), *sorted(one["id"] for one in found)] == [1, "s0", "s1", "s2"]
    result = run("search", "  ", "--uri", uri)
    assert result.exit_code == 2
    assert "there is nothing to search for" in result.stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    printed = run("search", "two", "--uri", uri).stdout
    assert "#0 sms One, two!" in printed
    assert "Nothing found." in run("search", "nowhere", "--uri", uri).stdout


def test_ls_takes_the_filters_of_lists(uri: str) -> None:
    assert {one["id"] for one in lines("ls", "--text", "tea", "--uri", uri)} == {"t0"}
    assert lines("ls", "--metadata", "topic=tea", "--uri", uri) == []
    assert len(lines("ls", "--since", "1h", "--limit", 3, "--uri", uri)) == 3
    assert lines("ls", "--until", "2020-01-01", "--uri", uri) == []
    assert lines("ls", "--participant", "nobody", "--uri", uri) == []
    for wrong in (("--since", "soon"), ("--metadata", "topic")):
        assert run("ls", *wrong, "--uri", uri).exit_code == 2


def test_stats_are_numbers_bars_and_an_image_without_addresses(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (found,) = lines("stats", "--uri", uri)
    assert found["conversations"] == {"sessions": 5, "threads": 4, "rooms": 3}
    assert found["messages"] == {"sessions": 62, "threads": 1, "rooms": 1}
    assert len(found["days"]) == 30  # type: ignore[arg-type]
    monkeypatch.setenv("FORCE_COLOR", "1")
    svg = tmp_path / "days.svg"
    printed = run("stats", "--plot", "--days", 3, "--svg", svg, "--uri", uri).stdout
    assert "█" * 30 in printed
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run("stats", "--plot", "--days", 3, "--uri", uri).stdout
    assert "█" * 20 in narrow
    assert "…" not in narrow
    assert all(text in printed for text in ("sessions 62", "50-99", "collection"))
    assert re.findall('https?://[^"]*', svg.read_text()) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in svg.read_text()
    ElementTree.fromstring(svg.read_text())


@pytest.mark.server
def test_tail_follows_a_session_with_its_edits(server_uri: str, database: str) -> None:
    with MongoStore(server_uri, database) as store:
        store.sessions.create("s")
        store.sessions.messages.append("s", Message(id="m0", role="user", content="one"))
        command = [sys.executable, "-m", "mongostore", "tail", "-f", "s", "--uri", server_uri]
        with subprocess.Popen(
            [*command, "--database", database], stdout=subprocess.PIPE, env={**_unbuffered()}
        ) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["id"] == "m0"
            store.sessions.messages.append("s", Message(id="m1", role="user", content="two"))
            assert json.loads(process.stdout.readline())["id"] == "m1"
            # By then the stream is open.
            time.sleep(1.5)
            store.sessions.messages.update("s", "m0", content="uno")
            change = json.loads(process.stdout.readline())
            assert (change["change"], change["content"]) == ("update", "uno")
            store.sessions.delete("s")
            assert json.loads(process.stdout.readline())["change"] == "close"
            assert process.wait(timeout=20) == 0


@pytest.mark.server
def test_ls_sends_few_commands_however_much_is_stored(
    server_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MongoStore(server_uri, database) as store:
        for number in range(60):
            store.sessions.in_namespace("abc"[number % 3]).create(f"s{number}")
            store.threads.create(f"t{number}")
            store.rooms.create(f"r{number}")
    sent: list[str] = []
    opening: list[str] = []

    @asynccontextmanager
    async def open_wired(uri: str, database: str, *, ensure_indexes: bool) -> AsyncIterator[AsyncMongoStore]:
        options = {"event_listeners": [wire := CommandLog()]}
        async with AsyncMongoStore(
            uri, database, transactions="off", ensure_indexes=ensure_indexes, client_options=options
        ) as store:
            opening[:] = [one.name for one in wire.sent]
            yield store
            sent[:] = [one.name for one in wire.sent[len(opening) :]]

    monkeypatch.setattr("mongostore.cli.terminal.open_store", open_wired)
    for command, commands in {("ls",): 4, ("ls", "rooms"): 2, ("ls", "--limit", "3"): 4}.items():
        assert run(*command, "--uri", server_uri, "--database", database).exit_code == 0
        assert 0 < len(sent) <= commands, (command, sent)
        # A look at the indexes is not part of it.
        assert len(opening) <= 9
        assert "listIndexes" not in opening, opening


def _unbuffered() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONUNBUFFERED": "1"}
