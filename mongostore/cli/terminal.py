"""The options, consoles and errors that all commands share."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
from rich.table import Table
from rich.text import Text

from mongostore.settings import Settings
from mongostore.store import AsyncMongoStore

R = TypeVar("R")

# Without these, words of Persian and Hindi are spelled wrong, and some pictures fall into their parts.
_JOINERS = "\u200c\u200d"

# Brackets and colons of stored text, addresses and extras are no markup.
out: Final = Console(highlight=False, markup=False, emoji=False)
err: Final = Console(stderr=True, highlight=False, markup=False, emoji=False)

Uri = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="The address of the store; else MONGOSTORE_URI.", show_default="mongomock://"
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The database; else the one that the URI names, else MONGOSTORE_DATABASE.",
        show_default="mongostore",
    ),
]
Namespace = Annotated[str, typer.Option(metavar="NAME", help="The namespace of the sessions.")]
OneNamespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", metavar="NAME", help="Of sessions, this namespace alone.", show_default="all"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON each.", show_default="in a pipe")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count only.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a script needs it.")]
Cursor = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The cursor with which the page before ended.")
]


def target_of(uri: str | None) -> str:
    """Return the URI of a command: its option, the variable, or that of the embedded engine.

    It is explicit in each case, so that the store does not warn: the commands do so themselves.
    """
    return uri or Settings().uri or "mongomock://"


def open_store(
    uri: str | None, database: str | None, *, ensure_indexes: bool | None = None
) -> AsyncMongoStore:
    """Return a store to open; no command needs a transaction, so a standalone server will do."""
    return AsyncMongoStore(target_of(uri), database, transactions="off", ensure_indexes=ensure_indexes)


def open_to_look(uri: str | None, database: str | None) -> AsyncMongoStore:
    """Return a store to open for a command that only looks at it, which is in vain where nothing can be."""
    if not (uri or Settings().uri):
        warn("there is no --uri and no MONGOSTORE_URI: this store is empty and of this command alone")
    return open_store(uri, database, ensure_indexes=False)


def run_on_store(
    work: Callable[[AsyncMongoStore], Awaitable[R]],
    uri: str | None,
    database: str | None,
    *,
    ensure_indexes: bool | None = None,
) -> R:
    """Run a command on an open store."""

    async def open_and_work() -> R:
        async with open_store(uri, database, ensure_indexes=ensure_indexes) as store:
            return await work(store)

    return asyncio.run(open_and_work())


def warn(text: str) -> None:
    """Print one line on stderr."""
    err.print(plain(text, "yellow"), soft_wrap=True)


def fail(text: str) -> NoReturn:
    """Print an error and end the command with exit code 1."""
    err.print(plain(f"error: {text}", "red"), soft_wrap=True)
    raise typer.Exit(1)


def confirm(question: str) -> None:
    """Ask before data is deleted; without a terminal to answer in, end the command with exit code 1."""
    if not sys.stdin.isatty():
        fail("this command deletes data: add --yes, or --dry-run to count only")
    # An event loop takes the first interrupt for itself, and ends nothing while the answer is awaited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        typer.confirm(question, abort=True, err=True)
    finally:
        signal.signal(signal.SIGINT, before)


def fail_after(errors: Collection[str]) -> None:
    """Print each error, and end the command with exit code 1 if there is one."""
    for error in errors:
        warn(error)
    if errors:
        raise typer.Exit(1)


def print_counts(name: str, title: str, counts: Mapping[str, int]) -> None:
    """Print a table of numbers by their names."""
    table = Table(name, box=box.SIMPLE)
    table.add_column(title, justify="right")
    for key, count in counts.items():
        table.add_row(plain(key), f"{count:,}")
    out.print(table)


@contextmanager
def record_counter(count: Callable[[], int]) -> Iterator[None]:
    """Show in a terminal how many records the work inside has written by now."""

    class Records(ProgressColumn):
        """The number of records."""

        def render(self, task: Task) -> Text:
            return Text(f"{count():,} records")

    columns = SpinnerColumn(), Records()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task("")
        yield


def print_next_page(cursor: str | None, as_json: bool) -> None:
    """Print how the next page is asked for, if there is one; beside JSON on stderr."""
    if cursor is None:
        return
    line = f"next page: --cursor {cursor}"
    if as_json:
        warn(line)
    else:
        out.print(plain(line, "dim"), soft_wrap=True)


def print_json(value: object) -> None:
    """Print JSON in ASCII, which has no characters that control a terminal."""
    out.print_json(data=value, ensure_ascii=True)


def print_json_line(members: Mapping[str, Any]) -> None:
    """Print one line of JSON in ASCII, in a terminal of any width."""
    sys.stdout.write(json_line(members) + "\n")


def json_line(members: Mapping[str, Any]) -> str:
    """Return JSON in ASCII, which has no characters that control a terminal."""
    return json.dumps(members, default=_to_json)


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def wants_json(as_json: bool) -> bool:
    """Return whether to print JSON: if it is asked for, and where no terminal shows the output."""
    return as_json or not out.is_terminal


def plain(text: str, style: str = "") -> Text:
    """Return foreign text in one line, without characters that control a terminal."""
    return Text("".join(char if char.isprintable() or char in _JOINERS else " " for char in text), style)


def plain_block(text: str) -> Text:
    """Return foreign text with its lines, without other characters that control a terminal."""
    return Text("\n").join(plain(line.expandtabs(4)) for line in text.replace("\r\n", "\n").split("\n"))


def headline(name: Text, about: Text) -> Text:
    """Return a name and what is known of it, in one line if that fits, else below each other."""
    fits = name.cell_len + 2 + about.cell_len <= out.width
    return Text.assemble(name, "  " if fits else "\n  ", about)
