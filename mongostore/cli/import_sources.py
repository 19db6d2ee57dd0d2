"""`mongostore import SOURCE PATH|URI`: conversations that other programs have stored."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mongostore.cli.terminal import err, open_store, out, plain, warn
from mongostore.importers import Importer, Options, Refusal, Report

_LINE_SECONDS = 10
_TIMELINES = ("messages", "events")
# As shells have it for a program that was interrupted.
_INTERRUPTED = 130


class CutShortError(Exception):
    """The user has ended the import, between two batches."""


async def import_source(
    source: str,
    location: str,
    options: Options,
    *,
    uri: str | None,
    database: str | None,
    dry_run: bool,
    restart: bool,
    verify: bool,
    has_digests: bool,
) -> Report:
    """Import a source and return the report, having named each row that is not stored as it was."""
    report = Report(_print_row, has_digests=has_digests)
    async with open_store(uri, database) as store:
        if not store.engine.is_shared and not dry_run:
            warn(f"{store.address} loses all data when this command ends: name a server with --uri")
        importer = Importer(store, dry_run=dry_run, verify=verify)
        try:
            with _ProgressBar(source) as bar:
                await importer.run(
                    source, location, options, report=report, restart=restart, progress=bar.show
                )
        except CutShortError as error:
            warn(f"interrupted after {error}: the same command goes on")
            raise typer.Exit(_INTERRUPTED) from None
    return report


def print_report(report: Report, *, dry_run: bool, file: Path | None) -> None:
    """Print the numbers of an import, and write the whole report to a file if one is named."""
    out.print(_table(report, dry_run))
    out.print(f" {_summary(report, dry_run)}", soft_wrap=True)
    if file is not None:
        text = json.dumps(report.to_json() | {"digests": report.digests}, indent=1)
        file.write_text(text + "\n", encoding="utf-8")


class _ProgressBar:
    """A bar in a terminal, else a line every ten seconds; ends the import after an interrupt."""

    def __init__(self, source: str) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self._progress.add_task(source, total=None, rate="")
        self._began = self._printed = time.monotonic()
        self._is_interrupted = False

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        self._progress.stop()

    def show(self, report: Report, done: int, total: int | None) -> None:
        """Show how far the import is."""
        now = time.monotonic()
        read = sum(report.counts[noun].read for noun in _TIMELINES if noun in report.counts)
        rate = f"{read / max(now - self._began, 0.001):,.0f} messages/s"
        self._progress.update(self._task, completed=done, total=total, rate=rate)
        if not err.is_terminal and now - self._printed >= _LINE_SECONDS:
            self._printed = now
            err.print(f"{done:,} of {'?' if total is None else f'{total:,}'}, {rate}", soft_wrap=True)
        if self._is_interrupted:
            raise CutShortError(f"{done:,} units")

    def _interrupt(self) -> None:
        self._is_interrupted = True
        # A second one ends it at once.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def _print_row(kind: str, row: Refusal) -> None:
    color = {"refused": "red", "warnings": "yellow", "left_out": "dim"}[kind]
    word = {"refused": "refused", "warnings": "warning", "left_out": "left out"}[kind]
    err.print(plain(f"{word}: {row.table} {row.key}: {row.reason}", color), soft_wrap=True)


def _table(report: Report, dry_run: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    # In two lines, so that the table fits into a narrow terminal.
    new = "would\nbe new" if dry_run else "new"
    for title in ("read", new, "already\nthere", "changed", "refused"):
        table.add_column(title, justify="right")
    for noun, counts in sorted(report.counts.items()):
        numbers = (counts.read, counts.new, counts.known, counts.changed, counts.refused)
        table.add_row(noun, *(f"{number:,}" for number in numbers))
    return table


def _summary(report: Report, dry_run: bool) -> str:
    refused, warnings, left_out = (rows.count for rows in (report.refused, report.warnings, report.left_out))
    warned = f"{warnings:,} warning{'' if warnings == 1 else 's'}"
    ending = "nothing is written" if dry_run else f"{report.verified:,} read back and equal"
    return f"{refused:,} refused, {warned}, {left_out:,} left out; {ending}"
