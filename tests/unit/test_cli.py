import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

import mongostore
from mongostore import Message, MongoStore
from mongostore.cli import app, load_command

FULL = Path("/dev/full")


def run(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mongostore", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def commands(group, *path):
    for name, command in sorted(group.commands.items()):
        command = command if path else load_command(name)
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield [*path, name]


COMMANDS = list(commands(typer.main.get_command(app)))


def test_the_help_names_each_command_by_its_first_sentence():
    for name, listed in typer.main.get_command(app).commands.items():
        assert load_command(name).help.split("\n\n")[0].replace("\n", " ") == listed.help
        assert listed.rich_help_panel


def test_the_help_imports_no_driver_and_no_models():
    # Each of these takes as long to import as the help may take.
    code = (
        "import sys; from mongostore.cli import app; app(['--help'], standalone_mode=False); "
        "print(sorted({'beanie', 'bson', 'pydantic', 'pymongo'} & sys.modules.keys()))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines()[-1] == "[]"
    assert "Commands" not in printed.stdout


def test_a_look_imports_only_what_it_needs_and_builds_no_validators():
    code = """
import sys
from pydantic import BaseModel
from mongostore.cli import load_command
for name in ("ls", "search", "show"):
    load_command(name)
others = ("importers", "servers", "adapters", "integrators", "samples", "sync", "testing", "beanie")
unused = {"beanie", "fastapi", "mongomock", "starlette", *(f"mongostore.{name}" for name in others)}
print(sorted(unused & sys.modules.keys()))
classes = [BaseModel]
for one in classes:
    classes += one.__subclasses__()
ours = [one for one in classes if one.__module__.startswith(("mongostore.models", "mongostore.documents"))]
print(len(ours) > 40, [one.__name__ for one in ours if one.__pydantic_complete__])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "True []"]


def test_completion_names_the_commands_and_their_options():
    complete = {"_MONGOSTORE_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "mongostore do"}
    assert "doctor" in process(**complete).stdout.split()
    options = complete | {"COMP_CWORD": "2", "COMP_WORDS": "mongostore ping --d"}
    assert "--database" in process(**options).stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("import cha", ["chainlit", "chatgpt"]),
        ("import chatgpt cha", []),
        ("export all.zip --house r", ["rooms"]),
        ("prune --house t", ["threads"]),
        ("people erase ada --mode a", ["anonymize"]),
    ],
)
def test_completion_names_the_values_of_a_choice(words, found):
    complete = {"_MONGOSTORE_COMPLETE": "complete_bash", "COMP_CWORD": str(len(words.split()))}
    assert process(**complete, COMP_WORDS=f"mongostore {words}").stdout.split() == found


def test_these_are_the_commands():
    assert [" ".join(command) for command in COMMANDS] == [
        "backup",
        "demo",
        "docs",
        "doctor",
        "export",
        "import",
        "indexes apply",
        "indexes check",
        "indexes show",
        "keys create",
        "keys list",
        "keys revoke",
        "ls",
        "people erase",
        "people export",
        "people show",
        "ping",
        "prune",
        "search",
        "serve sessions",
        "serve threadmem",
        "sharding apply",
        "sharding check",
        "sharding plan",
        "show",
        "stats",
        "studio",
        "tail",
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"  mongostore {' '.join(command)}" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    written = load_command(command[0])
    for name in command[1:]:
        written = written.commands[name]
    # No line is so long that a terminal of 80 columns breaks it.
    output = [line.strip() for line in result.stdout.splitlines()]
    assert not [line for line in written.help.splitlines() if line.strip() not in output]


def run_script(printed):
    """Run the script that the demo prints at its end."""
    script = re.search(r"^from mongostore import .*?^ +print\(.*?$", printed, re.MULTILINE | re.DOTALL)[0]
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return ran.stdout


def test_demo_tells_its_seven_steps_on_the_embedded_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("MONGOSTORE_MONGOD", str(tmp_path / "none"))
    result = run("demo", "--uri", f"mongomock://{uuid4().hex}")
    assert result.exit_code == 0, result.output
    steps = [line[0] for line in result.stdout.splitlines() if line[1:3] == "  " and line[0].isdigit()]
    assert steps == list("1234567")
    assert "embedded engine" in result.stdout
    assert "append 2" in result.stdout
    assert "segments" in result.stdout
    assert run_script(result.stdout) == "user Hello?\n"


@pytest.mark.server
def test_the_script_of_the_demo_keeps_its_data_where_a_server_can_run(monkeypatch, tmp_path, mongod_binary):
    monkeypatch.setenv("MONGOSTORE_MONGOD", str(mongod_binary))
    monkeypatch.chdir(tmp_path)
    # The folder's name may be longer than a line.
    printed = process("demo", COLUMNS="300").stdout
    assert [run_script(printed) for _ in range(2)] == ["user Hello?\n", "user Hello?\nuser Hello?\n"]
    commands = re.findall(r"^  mongostore (.*)$", printed, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["ls", "show", "studio"]
    for command in commands[:2]:
        printed = run(*shlex.split(command))
        assert "first" in printed.stdout, printed.output


@pytest.mark.server
def test_demo_may_be_given_again_and_says_what_was_there(server_uri, database):
    target = ("--uri", server_uri, "--database", database)
    first, second = run("demo", *target), run("demo", *target)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "Sessions: 10 stored, 0 there already." in first.stdout
    assert "Sessions: 0 stored, 10 there already." in second.stdout
    assert len(run_script(second.stdout).splitlines()) == 15
    for command in ("ls", "show", "studio"):
        assert re.search(rf"^  mongostore {command} .*--uri mongodb://", second.stdout, re.MULTILINE)
    with MongoStore(server_uri, database) as store:
        assert store.sessions.in_namespace("demo").count() == 11
        assert store.sessions.count() == 0


def test_demo_takes_a_file_whose_texts_cannot_steer_the_terminal(tmp_path):
    nasty = "\x1b[31mred\x07 [bold]half \ud800"
    messages = [{"role": "user", "content": nasty, "name": nasty}, {"role": "assistant"}]
    lines = [{"id": "empty", "messages": []}, {"id": "s", "name": "[/]\x1b[2J", "messages": messages}]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    result = run("demo", "--file", path, "--uri", f"mongomock://{uuid4().hex}")
    assert result.exit_code == 0, result.output
    assert "red  [bold]half" in result.stdout
    assert not {"\x1b", "\x07"} & set(result.stdout)


def test_demo_of_a_file_without_messages_is_an_error(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": "empty", "messages": []}')
    result = run("demo", "--file", path, "--uri", f"mongomock://{uuid4().hex}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the file holds no messages")


def test_an_import_that_nobody_will_ever_see_is_warned_of(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"role": "user"}')
    assert "name a server with --uri" in run("import", path).stderr


def test_a_process_ends_with_0_and_prints_no_colour_into_a_pipe():
    result = process("demo")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (["ping", "--uri", "nonsense://user:secret@x"], {}, "error: a store's URI starts with"),
        (["ping"], {"MONGOSTORE_TIMEOUT": "secret"}, "error: MONGOSTORE_TIMEOUT: "),
        (["demo"], {"MONGOSTORE_TIMEOUT": "secret"}, "error: MONGOSTORE_TIMEOUT: "),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(arguments, environment, reason):
    result = process(*arguments, **environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(reason)
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


@pytest.mark.parametrize("before", [[], ["ping"], ["indexes"], ["keys", "list"]])
def test_a_uri_in_the_wrong_place_is_quoted_without_its_password(before):
    result = process(*before, "mongodb://user:secret/@x@example.com/store")
    assert result.returncode == 2
    assert "mongodb://***@example.com/store" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("arguments", [["import", "no-such-file"], ["ping", "--nonsense"], ["import"]])
def test_wrong_usage_is_exit_code_2(arguments):
    result = process(*arguments)
    assert result.returncode == 2
    assert "Usage: mongostore" in result.stderr


@pytest.mark.server
def test_export_ends_quietly_when_its_reader_has_had_enough(server_uri, database, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        "".join(json.dumps({"role": "user", "content": f"{i} {'x' * 1000}"}) + "\n" for i in range(500))
    )
    target = ("--uri", server_uri, "--database", database)
    assert run("import", path, *target).exit_code == 0
    with subprocess.Popen(
        [sys.executable, "-m", "mongostore", "export", "--messages", *target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as export:
        export.stdout.read(10)
        export.stdout.close()
        assert b"Traceback" not in export.stderr.read()


@pytest.mark.parametrize("command", [["-m", "mongostore"], ["-c", "from mongostore.cli import main; main()"]])
def test_the_version_is_shown(command: list[str]) -> None:
    printed = subprocess.run(
        [sys.executable, *command, "--version"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == f"mongostore {mongostore.__version__}\n"


def test_output_has_no_control_characters_of_stored_texts():
    evil = "x\n\r\x1b[2J\x1b]0;t\x07\x7f\x9b2J\u2028\u202e"
    uri = f"mongomock://{uuid4().hex}"
    with MongoStore(uri) as store:
        store.keys.create(name=evil, namespaces=[evil], owner_id=evil)
        session = store.sessions.create(evil, name=evil, data={evil: evil}, metadata={evil: evil})
        store.sessions.messages.append(session.id, Message(role="user", content=evil, data={"name": evil}))
        for command in (
            ("keys", "list"),
            ("keys", "list", "--json"),
            ("export", "-"),
            ("export", "-", "--messages"),
            ("export", "-", "--session", evil + "?"),
            ("keys", "revoke", evil),
            ("ping",),
            ("ping", "--json"),
            ("doctor", "--json"),
        ):
            result = run(*command, "--uri", uri)
            output = result.output.replace("\n", "").replace("\u202e", "")
            assert output.isprintable(), (command, output)
            assert command[0] not in ("export", "keys") or "[2J" in output or result.exit_code


def end(error: BaseException):
    raise error


@pytest.mark.parametrize(
    "command",
    ["import -", "export -", "people erase ada --yes", "prune --idle 1d --yes", "indexes apply", "stats"],
)
def test_an_interrupt_ends_a_command_with_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mongostore.store.AsyncMongoStore.open", lambda self: end(KeyboardInterrupt()))
    result = run(*command.split(), "--uri", f"mongomock://{uuid4().hex}")
    assert (result.exit_code, result.output) == (130, "interrupted\n")


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device")
@pytest.mark.parametrize(
    "command", ["stats", "doctor --json", "docs", "ping", "--help", "--version", "keys --help"]
)
def test_an_output_that_takes_no_more_is_one_line_of_an_error(command: str) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mongostore", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "MONGOSTORE_URI": "mongomock://"},
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: the output: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_export_of_a_person_that_fails_leaves_what_was_there(tmp_path, monkeypatch) -> None:
    uri, path = f"mongomock://{uuid4().hex}", tmp_path / "ada.zip"
    path.write_bytes(b"earlier")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("zipfile.ZipFile.writestr", lambda *arguments: end(full))
    with MongoStore(uri) as store:
        store.sessions.create("s", user_id="ada")
        result = run("people", "export", "ada", "-o", path, "--uri", uri)
    assert (result.exit_code, result.output) == (1, "error: the output: No space left on device\n")
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize("command", ["ls", "search x", "show x", "tail"])
def test_a_look_at_a_store_that_can_hold_nothing_is_named(command: str) -> None:
    assert "there is no --uri and no MONGOSTORE_URI" in run(*command.split()).stderr
    assert run(*command.split(), "--uri", f"mongomock://{uuid4().hex}").stderr.count("MONGOSTORE_URI") == 0


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_an_output_without_unicode_takes_what_it_can(form: str, server_uri: str, database: str) -> None:
    with MongoStore(server_uri, database) as store:
        store.sessions.create("s", name="Käse \u200d ")
        store.sessions.messages.append("s", Message(role="user", content="日本語 \ud83d"))
    environment = {"MONGOSTORE_URI": server_uri, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = process("show", "s", "--as", form, "--database", database, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "日本語" in done.stdout
