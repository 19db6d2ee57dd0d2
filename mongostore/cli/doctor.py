"""`mongostore doctor`: what may be wrong with a deployment, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import Database, Uri, open_store, out, plain, run
from mongostore.examining import Finding, Health

_STYLES = {Health.GOOD: "green", Health.DOUBTFUL: "yellow", Health.BAD: "red", Health.UNKNOWN: "dim"}


def doctor(
    uri: Uri = None,
    database: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Examine a deployment, and say what to do about what is wrong.

    Topology, capabilities, version, write concern, rights, clock, connections,
    indexes and schema. Nothing is written. The exit code is 1 when something
    is bad; what is merely doubtful is for a person to judge.

    Examples:
      mongostore doctor --uri mongodb://localhost:27017
      mongostore doctor --json
    """
    target, findings = run(_examine(uri, database))
    is_well = all(finding.health is not Health.BAD for finding in findings)
    if as_json:
        report = {"ok": is_well, "target": target, "findings": [asdict(finding) for finding in findings]}
        out.print_json(json.dumps(report))
    else:
        out.print(_table(findings))
    if not is_well:
        raise typer.Exit(1)


async def _examine(uri: str | None, database: str | None) -> tuple[str, list[Finding]]:
    async with open_store(uri, database, ensure_indexes=False) as store:
        return store.engine.label, await store.examine()


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("check", no_wrap=True)
    table.add_column("health", no_wrap=True)
    table.add_column("found, and what to do")
    for finding in findings:
        said = plain(finding.found)
        if finding.advice:
            said = Text("\n").join([said, plain(finding.advice, "italic")])
        table.add_row(finding.check, Text(finding.health, _STYLES[finding.health]), said)
    return table
