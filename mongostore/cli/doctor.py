"""`mongostore doctor`: problems of a deployment, and their remedies."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import Database, Uri, open_store, out, plain, run
from mongostore.diagnostics import CheckResult, CheckStatus

_STYLES = {
    CheckStatus.OK: "green",
    CheckStatus.WARNING: "yellow",
    CheckStatus.ERROR: "red",
    CheckStatus.UNKNOWN: "dim",
}


def doctor(
    uri: Uri = None,
    database: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a deployment and print its problems with their remedies.

    Topology, capabilities, version, write concern, rights, clock, connections,
    indexes and schema. Nothing is written. The exit code is 1 if a check has
    the status error; a warning is for you to judge.

    Examples:
      mongostore doctor --uri mongodb://localhost:27017
      mongostore doctor --json
    """
    target, results = run(_diagnose(uri, database))
    is_well = all(result.status is not CheckStatus.ERROR for result in results)
    if as_json:
        report = {"ok": is_well, "target": target, "checks": [asdict(result) for result in results]}
        out.print_json(json.dumps(report))
    else:
        out.print(_table(results))
    if not is_well:
        raise typer.Exit(1)


async def _diagnose(uri: str | None, database: str | None) -> tuple[str, list[CheckResult]]:
    async with open_store(uri, database, ensure_indexes=False) as store:
        return store.address, await store.diagnose()


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
