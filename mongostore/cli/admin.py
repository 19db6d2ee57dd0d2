"""`mongostore ping` and `mongostore indexes`: the state of a server and of its indexes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping
from statistics import median
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import Database, Uri, open_store, out, plain, print_json, run_on_store
from mongostore.engines import Capability, Deployment
from mongostore.errors import UnavailableError
from mongostore.index_definitions import IndexReport, IndexState, load_indexes
from mongostore.store import AsyncMongoStore

_WRONG = (IndexState.MISSING, IndexState.DIFFERS)
_STYLES = {IndexState.PRESENT: "green", IndexState.FOREIGN: "dim"}
_PAUSE_SECONDS = 0.5
_NO_OPTIONS = {"v", "ns", "key", "name"}

indexes: Final = typer.Typer(
    no_args_is_help=True, help="Show the index definitions, check a database, or apply them."
)


def ping(
    uri: Uri = None,
    database: Database = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for a server that is starting.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a deployment, its round trip and the state of its indexes.

    Nothing is written. The exit code is 1 when nothing answers, and when
    indexes are missing or differ.

    Examples:
      mongostore ping --uri mongodb://localhost:27017
      mongostore ping --wait 60
      mongostore ping --json
    """
    report = asyncio.run(_ping(uri, database, wait))
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report["ok"]:
        raise typer.Exit(1)


@indexes.command()
def show() -> None:
    """Show the definitions.

    No server is asked.

    Example:
      mongostore indexes show
    """
    table = _table("collection", "name", "definition")
    for command in load_indexes():
        for index in command["indexes"]:
            table.add_row(command["createIndexes"], index["name"], _definition(index))
    out.print(table)


@indexes.command()
def check(uri: Uri = None, database: Database = None) -> None:
    """Compare a database with the definitions.

    The exit code is 1 when indexes are missing or differ. Indexes that are
    foreign do no harm.

    Example:
      mongostore indexes check --uri mongodb://localhost:27017
    """
    _report(run_on_store(lambda store: store.check_indexes(), uri, database, ensure_indexes=False))


@indexes.command()
def apply(uri: Uri = None, database: Database = None) -> None:
    """Create the indexes that are missing.

    Those that differ stay as they are, and the exit code is 1: drop them in
    mongosh and apply anew, at an hour when queries can do without them. Where
    the deployment has Atlas Search, search indexes for your own queries, too.

    Example:
      mongostore indexes apply --uri mongodb://localhost:27017
    """
    before, after = run_on_store(_apply, uri, database, ensure_indexes=False)
    _report(after, [report.name for report in before if report.state is IndexState.MISSING])


async def _ping(uri: str | None, database: str | None, wait: float) -> dict[str, Any]:
    end, store = time.monotonic() + wait, open_store(uri, database, ensure_indexes=False)
    while not store.is_open:
        try:
            await store.open()
        except UnavailableError:
            if time.monotonic() >= end:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
    async with store:
        deployment = await store.describe()
        states = Counter(report.state for report in await store.check_indexes())
        # An embedded store has nothing before it opens, and then makes its indexes at once.
        healthy = not store.engine.is_shared or not any(states[state] for state in _WRONG)
        return {
            "ok": healthy,
            "target": store.address,
            **_facts(deployment),
            "capabilities": [capability for capability in Capability if capability in store.capabilities],
            "indexes": {
                "present": states[IndexState.PRESENT],
                "missing": states[IndexState.MISSING],
                "differing": states[IndexState.DIFFERS],
            },
        }


async def _apply(store: AsyncMongoStore) -> tuple[list[IndexReport], list[IndexReport]]:
    return await store.check_indexes(), await store.apply_indexes()


def _facts(deployment: Deployment) -> dict[str, Any]:
    return {
        "server": deployment.server,
        "topology": deployment.topology,
        "hosts": deployment.hosts,
        "round_trip_ms": {
            "median": round(median(deployment.pings) * 1000, 3),
            "worst": round(max(deployment.pings) * 1000, 3),
        },
        "connections": {
            "current": deployment.connections,
            "available": deployment.connections_available,
        },
    }


def _show(report: Mapping[str, Any]) -> None:
    lacking = [capability for capability in Capability if capability not in report["capabilities"]]
    connections, times = report["connections"], report["round_trip_ms"]
    known = connections["current"] is not None
    table = Table.grid("", "", padding=(0, 2, 0, 0))
    for name, value in (
        ("answers", report["target"]),
        ("server", report["server"]),
        ("topology", report["topology"]),
        ("hosts", ", ".join(report["hosts"])),
        ("round trip", f"{times['median']:.2f} ms, the worst of ten {times['worst']:.2f} ms"),
        ("connections", "{current:,} open, {available:,} available".format(**connections) if known else ""),
        ("has", ", ".join(report["capabilities"])),
        ("lacks", ", ".join(lacking)),
    ):
        if value:
            table.add_row(name, plain(value))
    counts = ", ".join(f"{count} {state}" for state, count in report["indexes"].items())
    if report["ok"] and report["indexes"]["missing"]:
        counts = "made when a store opens"
    table.add_row("indexes", Text(counts, "green" if report["ok"] else "red"))
    out.print(table)


def _report(reports: Collection[IndexReport], created: Collection[str] = ()) -> None:
    """Print how indexes compare, and end the command with exit code 1 unless all of ours are in order."""
    table = _table("collection", "name", "state")
    for report in reports:
        state = "created" if report.name in created and report.state is IndexState.PRESENT else report.state
        table.add_row(report.collection, plain(report.name), Text(state, _STYLES.get(report.state, "red")))
    out.print(table)
    differing = [report for report in reports if report.state is IndexState.DIFFERS]
    if differing:
        out.print(_differences(differing))
    if any(report.state in _WRONG for report in reports):
        raise typer.Exit(1)


def _differences(reports: Collection[IndexReport]) -> Table:
    table = _table("differs", "defined", "found")
    table.show_lines = True
    for column in table.columns[1:]:
        column.no_wrap, column.ratio = False, 1
    for report in reports:
        sides = [side for side in (report.defined, report.found) if side]
        table.add_row(
            report.collection, *(Text("\n").join([plain(side["name"]), _definition(side)]) for side in sides)
        )
    return table


def _table(*columns: str) -> Table:
    *names, last = columns
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, no_wrap=True)
    table.add_column(last)
    return table


def _definition(index: Mapping[str, Any]) -> Text:
    """Return the keys of an index, and below them its options."""
    keys = ", ".join(f"{field} {way}" for field, way in index["key"].items())
    options = [f"{name}: {value}" for name, value in index.items() if name not in _NO_OPTIONS]
    return Text("\n").join(map(plain, [keys, *options]))
