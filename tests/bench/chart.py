"""Draws what the benches found as an SVG, which follows the reader's light or dark scheme."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from typing import Any, NamedTuple

from pymongo import MongoClient

from tests.bench.comparisons import Race
from tests.bench.measurement import Row

OTHERS = {
    "postgres": "the framework's own store on PostgreSQL",
    "sqlite": "the framework's own store on SQLite",
    "bare": "bare PyMongo",
}
TITLES = {"sessions": "Sessions", "rooms": "Rooms", "threads": "Chainlit's threads", "roles": "Role threads"}
WIDTH, LEFT, RIGHT, LINE = 880, 345, 195, 24

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.group { font-weight: 600 } .small { font-size: 12px; fill: #59636e }
.card { fill: #ffffff; stroke: #d1d9e0 } .bar { fill: #2f7d4f } .over { fill: #b35900 }
.one { stroke: #59636e; stroke-dasharray: 3 3 } .end { text-anchor: end }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d }
.bar { fill: #4cae75 } .over { fill: #e08a3c } .one { stroke: #9198a1 }
}
"""


class Bar(NamedTuple):
    """A piece of work: the time that it took, over the time of the same work beside it."""

    group: str
    work: str
    ratio: float
    times: str
    ok: bool


def bars_of(bench: str, line: object) -> Iterator[Bar]:
    """Yield the bars of a line of a bench; a line that compares no times has none."""
    title = TITLES.get(bench, bench)
    if isinstance(line, Row) and line.unit == "µs" and line.compare == "ratio":
        times = f"{line.ours:,.0f} / {line.bare:,.0f} µs"
        yield Bar(f"{title}, beside bare PyMongo", line.work, line.result, times, line.ok)
    elif isinstance(line, Race):
        ours = line.paces["mongo"]
        for name, times in line.times.items():
            other = line.paces[name]
            if line.compare == "p50":
                pair = f"{ours.p50:,.2f} / {other.p50:,.2f} ms"
            else:
                pair = f"{ours.per_second:,.0f} / {other.per_second:,.0f} calls/s"
            yield Bar(f"{title}, beside {OTHERS[name]}", line.work, 1 / times, pair, line.ok)


def describe_machine(uri: str) -> str:
    """Return the day, the cores and the versions of a measurement."""
    with MongoClient[dict[str, Any]](uri) as client:
        server = client.server_info()["version"]
    versions = [f"Python {platform.python_version()}", f"PyMongo {version('pymongo')}", f"MongoDB {server}"]
    cores = f"{os.cpu_count()} cores {platform.machine()}"
    return ", ".join([f"{datetime.now(UTC):%d %B %Y}", cores, *versions])


def draw(bars: Sequence[Bar], machine: str) -> str:
    """Return the chart: a shorter bar is faster, and the dashed line is the work beside it."""
    body: list[str] = []
    y = 82
    unit = (WIDTH - LEFT - RIGHT) / max(1.5, *(bar.ratio for bar in bars))
    groups = {bar.group: [other for other in bars if other.group == bar.group] for bar in bars}
    for group, members in groups.items():
        y += LINE + 6
        body.append(f'<text class="group" x="20" y="{y}">{escape(group)}</text>')
        top = y + 8
        for bar in members:
            y += LINE
            body += _draw_bar(bar, y, bar.ratio * unit)
        one = LEFT + unit
        body.append(f'<line class="one" x1="{one:.0f}" x2="{one:.0f}" y1="{top}" y2="{y + 6}"/>')
    height = y + 24
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(_summarize(bars))}</title><style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        '<text class="title" x="20" y="32">Time of a call, as a multiple of the same work beside it</text>',
        f'<text class="small" x="20" y="54">{escape(machine)}. Medians, both sides in turns.</text>',
        '<text class="small" x="20" y="74">Shorter is faster. The dashed line is the work beside it. '
        "Orange is over its budget.</text>",
    ]
    return "\n".join([*head, *body, "</svg>\n"])


def _draw_bar(bar: Bar, y: int, length: float) -> Iterable[str]:
    kind = "bar" if bar.ok else "bar over"
    yield f'<text class="end" x="{LEFT - 12}" y="{y}">{escape(bar.work.strip())}</text>'
    yield f'<rect class="{kind}" x="{LEFT}" y="{y - 11}" width="{length:.0f}" height="14" rx="3"/>'
    yield f'<text x="{LEFT + length + 8:.0f}" y="{y}">{bar.ratio:.2f}x</text>'
    yield f'<text class="small end" x="{WIDTH - 20}" y="{y}">{escape(bar.times)}</text>'


def _summarize(bars: Sequence[Bar]) -> str:
    return "; ".join(f"{bar.work.strip()}: {bar.ratio:.2f} times" for bar in bars)
