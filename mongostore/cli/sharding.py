"""`mongostore sharding`: how collections are spread over the shards of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import Database, Uri, out, plain, print_json, run_on_store
from mongostore.index_definitions import load_sharding
from mongostore.settings import Settings
from mongostore.sharding import (
    ShardReport,
    ShardState,
    apply_sharding,
    diff_sharding,
    format_command,
    plan_commands,
    to_extended_json,
)

_STYLES = {ShardState.SHARDED: "green", ShardState.MISSING: "red", ShardState.DIFFERS: "red"}
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

sharding: Final = typer.Typer(
    no_args_is_help=True, help="Plan how collections are sharded, check a cluster, or shard them."
)


@sharding.command()
def plan(
    shards: Annotated[int, typer.Option(min=1, max=1000, help="The number of shards.")] = 2,
    database: Database = None,
    as_json: _AsJson = False,
) -> None:
    """Print the commands that shard empty collections, for mongosh.

    No server is asked: the shards are called shard0 and so on. Each owns an
    equal range of the hashed values, the same in all collections, so that
    what belongs to a room lies on one shard.

    Examples:
      mongostore sharding plan --shards 3
      mongostore sharding plan --database chat | mongosh mongodb://mongos:27017
    """
    settings, names = Settings(), [f"shard{number}" for number in range(shards)]
    commands = plan_commands(database or settings.database or "mongostore", settings.prefix, names)
    if as_json:
        written = [to_extended_json(command) for _, command in commands]
        print_json({"commands": written, "unsharded": load_sharding().unsharded})
        return
    for _, command in commands:
        out.print(plain(f"db.adminCommand({format_command(command)});"), soft_wrap=True)
    for name, reason in load_sharding().unsharded.items():
        out.print(plain(f"// {name} stays on one shard: {reason}"), soft_wrap=True)


@sharding.command()
def check(uri: Uri = None, database: Database = None, as_json: _AsJson = False) -> None:
    """Compare a cluster with the shard keys.

    The exit code is 1 when collections are not sharded, or by other keys.

    Example:
      mongostore sharding check --uri mongodb://mongos:27017
    """
    reports = run_on_store(lambda store: diff_sharding(store.engine), uri, database, ensure_indexes=False)
    _report(reports, as_json)


@sharding.command()
def apply(uri: Uri = None, database: Database = None, as_json: _AsJson = False) -> None:
    """Shard the collections that are not sharded.

    Those with other keys stay as they are, and the exit code is 1: nothing is
    ever resharded. The user needs the roles clusterManager and clusterMonitor.

    Example:
      mongostore sharding apply --uri mongodb://mongos:27017
    """
    reports = run_on_store(lambda store: apply_sharding(store.engine), uri, database, ensure_indexes=False)
    _report(reports, as_json)


def _report(reports: Sequence[ShardReport], as_json: bool) -> None:
    """Print how collections are sharded, and end the command with exit code 1 unless all are."""
    is_well = all(report.state is ShardState.SHARDED for report in reports)
    if as_json:
        rows = [
            {"collection": one.collection, "state": one.state, "key": one.key, "found": one.found}
            for one in reports
        ]
        print_json({"ok": is_well, "collections": rows})
    else:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("collection", "shard key", "state", "found"):
            table.add_column(column)
        for report in reports:
            table.add_row(
                report.collection,
                _key(report.key),
                Text(report.state, _STYLES[report.state]),
                _key(report.found) if report.state is ShardState.DIFFERS else "",
            )
        out.print(table)
    if not is_well:
        raise typer.Exit(1)


def _key(key: Any) -> Text:
    return plain(", ".join(f"{field}: {way}" for field, way in (key or {}).items()))
