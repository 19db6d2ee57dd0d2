"""Measures what sessions cost beside the bare driver, and says which budgets hold.

    python -m tests.bench            a session of 100,000 messages; about a minute
    python -m tests.bench --full     one of 1,000,000; about four
    python -m tests.bench --json     a JSON object a line, nothing else on stdout

Ours and raw take turns on one server, and the medians are compared, so a busy machine troubles both
alike. The server is that of MONGOSTORE_TEST_URI, else one is started in a temporary folder (see
`mongostore.engines.mongod`). A bench that misses its budget says so; it never fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mongostore.engines.mongod import Mongod
from tests.bench import sessions
from tests.bench.measuring import Row

COLUMNS = [("work", 46), ("ours", 10), ("raw", 10), ("result", 11), ("budget", 12), ("ok", 4)]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true", help="read from 1,000,000 messages, not 100,000")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row")
    parser.add_argument("--rounds", type=int, default=400, help="how often each piece of work is done")
    options = parser.parse_args()
    with _server() as uri:
        asyncio.run(_run(uri, options))


async def _run(uri: str, options: argparse.Namespace) -> None:
    console, aside = Console(width=110), Console(stderr=True)
    missed = []
    if not options.json:
        console.print(_line(*(name for name, _ in COLUMNS)), style="bold")
    with Progress(console=aside, transient=True) as bar:
        task = bar.add_task("filling a session", visible=False)

        def progress(done: int, end: int) -> None:
            bar.update(task, completed=done, total=end, visible=end >= 1000)

        async with sessions.Bench.opened(
            uri, rounds=options.rounds, full=options.full, progress=progress
        ) as bench:
            async for row in sessions.rows(bench):
                bar.update(task, visible=False)
                if options.json:
                    sys.stdout.write(json.dumps(row.members()) + "\n")
                    sys.stdout.flush()
                else:
                    console.print(_shown(row))
                if not row.ok:
                    missed.append(row.work)
    verdict = f"over budget: {'; '.join(missed)}" if missed else "every budget holds"
    (aside if options.json else console).print(verdict, style="red" if missed else "green")


@contextmanager
def _server() -> Iterator[str]:
    if given := os.environ.get("MONGOSTORE_TEST_URI"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="mongostore-bench-") as folder:
        server = Mongod(Path(folder))
        try:
            yield server.start()
        finally:
            server.stop()


def _shown(row: Row) -> Table:
    amounts = (f"{amount:,.0f} {row.unit}" for amount in (row.ours, row.raw))
    verdict = "[green]yes[/]" if row.ok else "[red]no[/]"
    return _line(row.work, *amounts, row.shown(row.result), f"≤ {row.shown(row.budget)}", verdict)


def _line(*cells: str) -> Table:
    """Return one line of the table, in columns as wide as all others': a row is shown once it is known."""
    line = Table.grid(padding=(0, 1))
    for name, width in COLUMNS:
        line.add_column(width=width, justify="left" if name == "work" else "right")
    line.add_row(*cells)
    return line


main()
