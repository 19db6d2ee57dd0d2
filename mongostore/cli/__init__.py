"""The command line: `mongostore --help` names its commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group

import mongostore
from mongostore.errors import MongoStoreError


class _Entry(NamedTuple):
    """A command as the help lists it, and the function or group behind it."""

    panel: str
    help: str
    module: str
    attribute: str


_LOOK, _MOVE, _OPERATE = "Look", "Move", "Operate"
# The modules of the commands import the store, which takes several times as long as to print the help.
_ENTRIES: Final = {
    "ls": _Entry(_LOOK, "List conversations, the most recently active first.", "lists", "ls"),
    "show": _Entry(_LOOK, "Show a conversation.", "show", "show"),
    "tail": _Entry(_LOOK, "Show the newest messages, and follow them.", "tail", "tail"),
    "search": _Entry(_LOOK, "Search the conversations of all houses for words.", "search", "search"),
    "stats": _Entry(_LOOK, "Show what is stored, and what was said in the last days.", "stats", "stats"),
    "studio": _Entry(_LOOK, "Look into sessions, threads and rooms in a browser.", "studio", "studio"),
    "demo": _Entry(_LOOK, "Store real dialogues, resume one, and watch another grow.", "demo", "demo"),
    "docs": _Entry(_LOOK, "Show where the documentation is, and how to build it.", "docs", "docs"),
    "import": _Entry(
        _MOVE,
        "Import conversations from JSON lines, or from another program.",
        "import_export",
        "import_conversations",
    ),
    "export": _Entry(
        _MOVE,
        "Export conversations as JSON lines, one a session, or all as an archive.",
        "import_export",
        "export_lines",
    ),
    "backup": _Entry(_OPERATE, "Show how to back up and restore a store.", "backup", "backup"),
    "people": _Entry(
        _OPERATE, "Show, give out or erase all that is stored about one person.", "people", "people"
    ),
    "prune": _Entry(
        _OPERATE, "Delete conversations that have expired, and those that are idle or old.", "prune", "prune"
    ),
    "ping": _Entry(
        _OPERATE, "Show a deployment, its round trip and the state of its indexes.", "admin", "ping"
    ),
    "doctor": _Entry(
        _OPERATE, "Check a deployment and print its problems with their remedies.", "doctor", "doctor"
    ),
    "serve": _Entry(_OPERATE, "Serve the store over HTTP, by default its sessions.", "serve", "serve"),
    "keys": _Entry(_OPERATE, "Create, list and revoke the API keys of the servers.", "keys", "keys"),
    "indexes": _Entry(
        _OPERATE, "Show the index definitions, check a database, or apply them.", "admin", "indexes"
    ),
    "sharding": _Entry(
        _OPERATE,
        "Plan how collections are sharded, check a cluster, or shard them.",
        "sharding",
        "sharding",
    ),
}


class _Commands(TyperGroup):
    """Imports a command when it is run, and quotes a wrong command line without the password of a URI."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)
            for name, entry in _ENTRIES.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return [*self.commands]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the arguments of a command line."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in _ENTRIES else command, rest

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line, and print the help or the version if that is all it asks for."""
        with _checked_output():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the command line names; an error of ours becomes one line, and exit code 1."""
        try:
            with _checked_output():
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            # As shells have it for a program that was interrupted.
            raise typer.Exit(130) from None
        except MongoStoreError as error:
            _fail(str(error))
        except Exception as error:
            # An error of usage, whose class is typer's own or click's, by its version.
            if isinstance(message := getattr(error, "message", None), str):
                error.message = re.sub(r"://\S*@", "://***@", message)  # type: ignore[attr-defined]  # typer's or click's
            raise


@contextmanager
def _checked_output() -> Iterator[None]:
    """Let a file that cannot be used, and an output that takes no more, be one line and exit code 1."""
    try:
        yield
    except (BrokenPipeError, MongoStoreError):
        # The reader of the output has closed it, which is no error; ours speak for themselves.
        raise
    except OSError as error:
        _fail(f"{error.filename or 'the output'}: {error.strerror}")


def _fail(text: str) -> NoReturn:
    fail: Callable[[str], NoReturn] = import_module("mongostore.cli.terminal").fail
    fail(text)


def load_command(name: str) -> Any:
    """Return the command of a name, with its options."""
    entry = _ENTRIES[name]
    target = getattr(import_module(f"mongostore.cli.{entry.module}"), entry.attribute)
    if isinstance(target, typer.Typer):
        group = get_group(target)
        group.name = name
        return group
    single = typer.Typer()
    single.command(name)(target)
    (info,) = single.registered_commands
    return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")


app: Final = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mongostore {mongostore.__version__}")
        raise typer.Exit


@app.callback(help="Conversations in MongoDB.")
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    # Pydantic looks for plugins in the metadata of all packages, which takes a fifth of the time of `ls`.
    # The integrators that a server loads may have a use for them.
    if sys.argv[1:2] != ["serve"]:
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with Path(os.devnull).open("w") as nowhere:
        # A program may be started without an output.
        sys.stdout = sys.stdout or nowhere
        if isinstance(sys.stdout, TextIOWrapper):
            # Files and pipes have UTF-8, as exports do, and terminals what they can show.
            encoding = None if sys.stdout.isatty() else "utf-8"
            sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
        try:
            app(prog_name="mongostore")
        finally:
            try:
                sys.stdout.flush()
            except OSError:
                # It was said already; Python would try again when it ends, and say it once more.
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
