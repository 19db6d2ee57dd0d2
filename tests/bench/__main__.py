"""Measures what the store costs beside others that do the same, and says which budgets hold.

    python -m tests.bench            all but growth and tails; about five minutes
    python -m tests.bench sessions   sessions beside the bare driver: one has 100,000 messages
    python -m tests.bench rooms      RoomKit's store beside its own on PostgreSQL and SQLite: p50 and p95
                                     in ms, calls per second, and how many times as fast ours is
    python -m tests.bench threads    Chainlit's data layer beside its SQLAlchemy layer, likewise
    python -m tests.bench roles      a role thread of 10,000 messages with images, beside threadmem itself if
                                     THREADMEM_PYTHON names an interpreter that has it; about two minutes
    python -m tests.bench serve      the sessions service, asked by 200 clients at once for --seconds: p50,
                                     p95, p99, errors, lost turns, memory
    python -m tests.bench growth     what verbs examine, send and take as ever more is stored: --sizes
    python -m tests.bench tails      what 1,000 live tails cost the verbs of their process: --seconds a side
    python -m tests.bench --full     a session of 1,000,000 messages; about four minutes
    python -m tests.bench --json     a JSON object a line, nothing else on stdout
    python -m tests.bench sessions --chart docs/pages/assets/bench.svg
                                     draws the ratios of the named benches, with the day and the machine

All take turns in one run, and the medians are compared, so a busy machine troubles all alike. The MongoDB
server is that of MONGOSTORE_TEST_URI, else one is started in a temporary folder (see
`mongostore.engines.mongod_process`); so is PostgreSQL if its programs and asyncpg are there. A bench that
misses its budget says so; it never fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mongostore.engines.mongod_process import MongodProcess
from tests.bench import postgres, sessions
from tests.bench.chart import Bar, bars_of, describe_machine, draw
from tests.bench.comparisons import COLUMNS, Columns
from tests.bench.measurement import Cells


class Line(Protocol):
    """What a bench finds."""

    work: str

    @property
    def ok(self) -> bool:
        """Whether the budget holds."""

    def cells(self) -> Cells:
        """Return what is found as a person reads it."""

    def members(self) -> dict[str, Any]:
        """Return what is found as a program reads it."""


class Report:
    """What the benches found, printed line by line."""

    def __init__(self, as_json: bool) -> None:
        self.aside = Console(stderr=True)
        self._as_json = as_json
        self._console = Console(width=110)
        self._missed: list[str] = []
        self.bench = ""
        self.bars: list[Bar] = []

    async def add(self, columns: Columns, found: AsyncIterator[Line]) -> None:
        """Print a table, each line of it as soon as it is known."""
        if not self._as_json:
            self._console.print(_line(columns, [name for name, _ in columns]), style="bold")
        async for row in found:
            if self._as_json:
                sys.stdout.write(json.dumps(row.members()) + "\n")
                sys.stdout.flush()
            else:
                verdict = "[green]yes[/]" if row.ok else "[red]no[/]"
                self._console.print(_line(columns, [*row.cells(), verdict]))
            self.bars += bars_of(self.bench, row)
            if not row.ok:
                self._missed.append(row.work.strip())

    def end(self) -> None:
        """Say which budgets were missed."""
        verdict = f"over budget: {'; '.join(self._missed)}" if self._missed else "every budget holds"
        console = self.aside if self._as_json else self._console
        console.print(verdict, style="red" if self._missed else "green")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "benches", nargs="*", metavar="|".join(BENCHES), help="which ones; all if none is named"
    )
    parser.add_argument("--full", action="store_true", help="read from 1,000,000 messages, not 100,000")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row")
    parser.add_argument("--rounds", type=int, default=400, help="how often each piece of work is done")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long the load of serve and tails lasts"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="how much is stored, growing"
    )
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw the ratios")
    options = parser.parse_args()
    if unknown := set(options.benches) - BENCHES.keys():
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    report = Report(options.json)
    with _server() as uri:
        for name in options.benches or [name for name in BENCHES if name not in ("growth", "tails")]:
            report.bench = name
            BENCHES[name](uri, options, report)
        if options.chart:
            options.chart.write_text(draw(report.bars, describe_machine(uri)))
    report.end()


def _sessions(uri: str, options: argparse.Namespace, report: Report) -> None:
    async def run() -> None:
        with Progress(console=report.aside, transient=True) as bar:
            task = bar.add_task("filling a session", visible=False)

            def progress(done: int, end: int) -> None:
                bar.update(task, completed=done, total=end, visible=end >= 1000 and done < end - 1000)

            async with sessions.Bench.opened(
                uri, rounds=options.rounds, full=options.full, progress=progress
            ) as bench:
                await report.add(sessions.COLUMNS, sessions.rows(bench))

    asyncio.run(run())


def _rooms(uri: str, options: argparse.Namespace, report: Report) -> None:
    if find_spec("roomkit") is None:
        report.aside.print("rooms are left out: RoomKit is not installed")
        return
    from tests.bench import rooms

    async def run(dsn: str | None, folder: Path) -> None:
        async with rooms.Bench.opened(uri, dsn, folder, rounds=options.rounds) as bench:
            await report.add(COLUMNS, rooms.rows(bench))

    _run_beside(run, report)


def _threads(uri: str, options: argparse.Namespace, report: Report) -> None:
    if find_spec("chainlit") is None:
        report.aside.print("threads are left out: Chainlit is not installed")
        return
    from tests.bench import threads

    missing = [name for name in threads.NEEDED if find_spec(name) is None]
    if missing:
        report.aside.print(f"Chainlit's own layer is left out: `pip install {' '.join(missing)}`")

    async def run(dsn: str | None, folder: Path) -> None:
        theirs = {} if missing else threads.addresses(dsn, folder)
        async with threads.Bench.opened(uri, theirs, rounds=options.rounds) as bench:
            with report.aside.status("filling the layers"):
                await bench.fill(threads.USER, threads.THREADS, threads.STEPS)
            await report.add(COLUMNS, threads.rows(bench))

    _run_beside(run, report)


def _roles(uri: str, options: argparse.Namespace, report: Report) -> None:
    if find_spec("shortuuid") is None:
        report.aside.print("role threads are left out: mongostore[threadmem] is not installed")
        return
    from tests.bench import roles

    asyncio.run(report.add(sessions.COLUMNS, roles.rows(uri)))


def _serve(uri: str, options: argparse.Namespace, report: Report) -> None:
    if find_spec("fastapi_swagger") is None:
        report.aside.print("the service is left out: mongostore[api] is not installed")
        return
    from tests.bench import serve

    asyncio.run(report.add(serve.COLUMNS, serve.rows(uri, options.seconds)))


def _growth(uri: str, options: argparse.Namespace, report: Report) -> None:
    from tests.bench import growth

    asyncio.run(report.add(growth.COLUMNS, growth.rows(uri, sorted(options.sizes))))


def _tails(uri: str, options: argparse.Namespace, report: Report) -> None:
    from tests.bench import tails

    asyncio.run(report.add(sessions.COLUMNS, tails.rows(uri, options.seconds)))


def _run_beside(run: Callable[[str | None, Path], Coroutine[Any, Any, None]], report: Report) -> None:
    """Run a bench with PostgreSQL's DSN, None if it is not there, and a folder for SQLite."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mongostore-bench-"))
        dsn = None
        try:
            dsn = stack.enter_context(postgres.running())
        except postgres.MissingError as error:
            report.aside.print(f"PostgreSQL is left out: {error}")
        asyncio.run(run(dsn, Path(folder)))


BENCHES = {
    "sessions": _sessions,
    "rooms": _rooms,
    "threads": _threads,
    "roles": _roles,
    "serve": _serve,
    "growth": _growth,
    "tails": _tails,
}


@contextmanager
def _server() -> Iterator[str]:
    if sent := os.environ.get("MONGOSTORE_TEST_URI"):
        yield sent
        return
    with tempfile.TemporaryDirectory(prefix="mongostore-bench-") as folder:
        server = MongodProcess(Path(folder))
        try:
            yield server.start()
        finally:
            server.stop()


def _line(columns: Columns, cells: Cells) -> Table:
    """Return one line of a table, in columns as wide as all others': a row is shown once it is known."""
    line = Table.grid(padding=(0, 1))
    for name, width in columns:
        line.add_column(width=width, justify="left" if name == "work" else "right")
    line.add_row(*cells)
    return line


main()
