"""`mongostore stats`: what is stored, and what was said, day by day."""

from __future__ import annotations

import io
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from mongostore.cli.terminal import AsJson, Database, Uri, out, print_json_line, run_on_store, wants_json
from mongostore.repositories.statistics import Statistics

# The longest bar, and the columns that stand beside one.
_BAR, _BESIDE = 40, 34
_STYLES = {"sessions": "cyan", "threads": "green", "rooms": "magenta"}
_LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# Rich's own form loads a font from elsewhere; the style is of this file alone.
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}"
height="{terminal_height}"/></clipPath>{lines}</defs>
<rect width="100%" height="100%" fill="#0d1117"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def stats(
    plot: Annotated[bool, typer.Option("--plot", help="Show the days and lengths as bars.")] = False,
    days: Annotated[int, typer.Option(metavar="N", min=1, max=366, help="The days up to today.")] = 30,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the bars as an SVG image.")
    ] = None,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show what is stored, and what was said in the last days.

    Conversations, messages, active people, lengths, feedback and the sizes of
    the collections. Days are UTC's. Of collections with very many documents
    the newest are counted, and the output has a remark.

    Examples:
      mongostore stats --uri mongodb://localhost:27017
      mongostore stats --plot --days 90
      mongostore stats --svg days.svg
    """
    since = datetime.now(UTC) - timedelta(days=days - 1)
    found = run_on_store(lambda store: store.statistics(since), uri, database, ensure_indexes=False)
    if svg is not None:
        _write_svg(svg, found)
    if wants_json(as_json):
        print_json_line(_to_json(found))
        return
    out.print(_numbers(found))
    if plot:
        out.print(_plots(found, out.width))
    out.print(_collections(found))
    if not found.is_complete:
        out.print("Counted in the newest documents alone: there are too many.", style="yellow")


def _to_json(found: Statistics) -> dict[str, Any]:
    members = asdict(found)
    members["days"] = [{**day, "day": day["day"].isoformat()} for day in members["days"]]
    return {**members, "messages": found.messages, "feedback": found.feedback}


def _numbers(found: Statistics) -> Table:
    table = Table.grid("", "", padding=(0, 2, 0, 0))
    table.add_row("since", f"{found.since:%Y-%m-%d}, {len(found.days)} days")
    table.add_row("conversations", _by_house(found.conversations))
    table.add_row("messages", _by_house(found.messages))
    table.add_row("active people", f"{found.people:,}")
    table.add_row("messages each", f"median {found.median_length:g}, most {max(found.lengths, default=0):,}")
    if found.feedback:
        table.add_row("feedback", ", ".join(f"value {value}: {n:,}" for value, n in found.feedback.items()))
    return table


def _by_house(counts: dict[str, int]) -> Text:
    parts = [Text(f"{house} {count:,}", _STYLES[house]) for house, count in counts.items() if count]
    return Text(", ").join(parts) if parts else Text("none")


def _plots(found: Statistics, width: int) -> RenderableType:
    longest = max(1, min(_BAR, width - _BESIDE))
    days = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Messages a day", title_justify="left")
    columns: list[tuple[str, JustifyMethod]]
    columns = [("day", "left"), ("", "left"), ("messages", "right"), ("people", "right")]
    for title, justify in columns:
        days.add_column(title, justify=justify, no_wrap=True)
    most = max((sum(day.messages.values()) for day in found.days), default=0)
    for day in found.days:
        total = sum(day.messages.values())
        bar = Text.assemble(*((_bar(n, most, longest), _STYLES[house]) for house, n in day.messages.items()))
        days.add_row(f"{day.day:%m-%d %a}", bar, f"{total:,}", f"{day.people:,}")
    lengths = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="Lengths", title_justify="left")
    columns = [("messages", "right"), ("", "left"), ("conversations", "right")]
    for title, justify in columns:
        lengths.add_column(title, justify=justify, no_wrap=True)
    buckets = _buckets(found.lengths)
    most = max((n for _, n in buckets), default=0)
    for name, count in buckets:
        lengths.add_row(name, Text(_bar(count, most, longest), "cyan"), f"{count:,}")
    return Group("", days, lengths)


def _bar(count: int, most: int, longest: int) -> str:
    """Return a bar that is the longest for `most`, and to be seen where there is anything at all."""
    return "" if not count else "█" * max(1, round(longest * count / most))


def _buckets(lengths: dict[int, int]) -> list[tuple[str, int]]:
    """Return how many conversations are as long as each range has it, up to the longest."""
    buckets = []
    for first, beyond in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        if first > max(lengths, default=0):
            break
        count = sum(n for length, n in lengths.items() if length >= first and (not beyond or length < beyond))
        name = (
            f"{first:,}+"
            if beyond is None
            else str(first)
            if beyond == first + 1
            else f"{first}-{beyond - 1}"
        )
        buckets.append((name, count))
    return buckets


def _collections(found: Statistics) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("collection")
    for title in ("documents", "bytes", "share"):
        table.add_column(title, justify="right")
    total = sum(one.bytes for one in found.collections) or 1
    for one in sorted(found.collections, key=lambda one: -one.bytes):
        if one.documents:
            table.add_row(
                one.collection, f"{one.documents:,}", f"{one.bytes:,}", f"{100 * one.bytes / total:.0f} %"
            )
    return table


def _write_svg(file: Path, found: Statistics) -> None:
    console = Console(
        record=True,
        width=80,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        markup=False,
        emoji=False,
    )
    console.print(_numbers(found), _plots(found, console.width))
    file.write_text(console.export_svg(title="mongostore stats", code_format=_SVG), encoding="utf-8")
