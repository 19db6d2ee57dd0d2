"""`mongostore doctor`: problems of a deployment, and their remedies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import Database, Uri, out, plain, print_json, run_on_store
from mongostore.diagnostics import CheckResult, CheckStatus
from mongostore.repositories.leftovers import Leftover
from mongostore.store import AsyncMongoStore

_STYLES = {
    CheckStatus.OK: "green",
    CheckStatus.WARNING: "yellow",
    CheckStatus.ERROR: "red",
    CheckStatus.UNKNOWN: "dim",
}
# All parts are read; those of a large store take longer.
LEFTOVER_SECONDS = 60.0


def doctor(
    uri: Uri = None,
    database: Database = None,
    mend: Annotated[
        bool, typer.Option("--mend", help="Finish deletions, delete orphaned parts; takes a minute.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a deployment and print its problems with their remedies.

    Topology, capabilities, version, write concern, rights, clocks, connections,
    indexes, schema, on a cluster sharding and the delay of tails, and what
    deletions and uploads left when they were cut short. Nothing is written
    without --mend. The exit code is 1 if a check has the status error; a
    warning is for you to judge.

    Examples:
      mongostore doctor --uri mongodb://localhost:27017
      mongostore doctor --json
      mongostore doctor --mend --uri mongodb://localhost:27017
    """
    target, results = run_on_store(lambda store: _diagnose(store, mend), uri, database, ensure_indexes=False)
    is_well = all(result.status is not CheckStatus.ERROR for result in results)
    if as_json:
        report = {"ok": is_well, "target": target, "checks": [asdict(result) for result in results]}
        print_json(report)
    else:
        out.print(_table(results))
    if not is_well:
        raise typer.Exit(1)


async def _diagnose(store: AsyncMongoStore, mend: bool) -> tuple[str, list[CheckResult]]:
    mended = await store.mend_leftovers() if mend else 0
    return store.address, [*await store.diagnose(), await _check_leftovers(store, mended)]


async def _check_leftovers(store: AsyncMongoStore, mended: int) -> CheckResult:
    try:
        async with asyncio.timeout(LEFTOVER_SECONDS):
            return _count_leftovers(await store.find_leftovers(), mended)
    except TimeoutError:
        found = f"{mended} mended, " if mended else ""
        found += f"too many documents to look at all of them in {LEFTOVER_SECONDS:g} s"
        advice = "" if mended else "mongostore doctor --mend looks at all, and mends what it finds"
        return CheckResult("leftovers", CheckStatus.UNKNOWN, found, advice)


def _count_leftovers(leftovers: Sequence[Leftover], mended: int) -> CheckResult:
    counts = Counter(f"{leftover.reason} in {leftover.collection}" for leftover in leftovers)
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
    if mended:
        found = f"{mended} mended, {found} left"
    if not leftovers:
        return CheckResult("leftovers", CheckStatus.OK, found)
    advice = "run mongostore doctor --mend while no process deletes or uploads so much"
    return CheckResult("leftovers", CheckStatus.WARNING, found, advice)


def _table(results: list[CheckResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("found, and the remedy")
    for result in results:
        found = plain(result.found)
        if result.advice:
            found = Text("\n").join([found, plain(result.advice, "italic")])
        table.add_row(result.check, Text(result.status, _STYLES[result.status]), found)
    return table
