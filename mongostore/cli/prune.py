"""`mongostore prune`: deletes what has expired, and what is idle or old."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mongostore.cli.conversations import House
from mongostore.cli.terminal import (
    AsJson,
    Database,
    DryRun,
    Uri,
    Yes,
    confirm,
    err,
    fail_after,
    print_counts,
    print_json_line,
    run_on_store,
    wants_json,
)
from mongostore.models import PruneReport
from mongostore.store import AsyncMongoStore

# So many go between two moves of the bar.
_STEP = 200
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31557600}
_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def _parse_duration(text: str) -> timedelta:
    """Return a time span such as 90d, 36h, 2w, 1y or, as in ISO 8601, P90D."""
    number, unit = text[:-1], text[-1:].lower()
    try:
        if unit in _SECONDS and not text.upper().startswith("P"):
            return timedelta(seconds=float(number) * _SECONDS[unit])
        return _DURATION.validate_python(text)
    except (OverflowError, ValueError, ValidationError):
        raise typer.BadParameter(f"{text!r} is no time span such as 90d, 36h or P90D") from None


def prune(
    idle: Annotated[
        timedelta | None,
        typer.Option(parser=_parse_duration, metavar="SPAN", help="Without activity for so long: 90d, 36h."),
    ] = None,
    older: Annotated[
        timedelta | None,
        typer.Option(parser=_parse_duration, metavar="SPAN", help="Created longer ago: 2y, 26w."),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only sessions of this namespace; may be repeated."),
    ] = None,
    house: Annotated[
        list[House] | None,
        typer.Option(metavar="NAME", help="Only sessions, threads or rooms; may be repeated."),
    ] = None,
    keep_pinned: Annotated[bool, typer.Option(help="Keep threads with pinned messages.")] = True,
    dry_run: DryRun = False,
    yes: Yes = False,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Delete conversations that have expired, and those that are idle or old.

    Whole conversations go, with all parts and files. A prune that is cut
    short goes on when it is run again. The exit code is 1 if some could not
    be deleted.

    Examples:
      mongostore prune --idle 90d --dry-run
      mongostore prune --older 2y --house threads --no-keep-pinned --yes
    """
    options: dict[str, Any] = {
        "idle": idle,
        "older": older,
        "namespaces": namespace or None,
        "houses": house or [*House],
        "keep_pinned": keep_pinned,
    }
    report = run_on_store(lambda store: _prune(store, options, dry_run, yes), uri, database)
    if wants_json(as_json):
        print_json_line(report.model_dump())
    else:
        counts: dict[str, int] = {name: getattr(report, name) for name in House}
        print_counts("conversations", "would go" if report.dry_run else "deleted", counts)
    fail_after(report.errors)


async def _prune(store: AsyncMongoStore, options: dict[str, Any], dry_run: bool, yes: bool) -> PruneReport:
    planned = await store.retention.prune(**options, dry_run=True)
    if dry_run:
        return planned
    if planned.total and not yes:
        found = ", ".join(f"{getattr(planned, name):,} {name}" for name in House)
        confirm(f"Delete {found}?")
    columns = TextColumn("pruning"), BarColumn(), MofNCompleteColumn()
    done = PruneReport(dry_run=False, is_complete=False)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=planned.total)
        while not done.is_complete:
            step = await store.retention.prune(**options, limit=_STEP)
            counts: dict[str, int] = {name: getattr(done, name) + getattr(step, name) for name in House}
            done = step.model_copy(update=counts)
            bar.update(task, completed=done.total)
    return done
