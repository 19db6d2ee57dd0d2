"""Numbers as coordinates of drawings; templates write the marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The edges that all charts have in common.
LEFT, TOP, BOTTOM = 34.0, 6.0, 18.0
# Names of lines that are closer would be written over each other.
_APART = 11


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True)
class Column:
    """The boxes of one value, with what is said of them.

    Attributes:
        tick: The label below it; empty where there is no room.
        center: Where that stands.
    """

    title: str
    boxes: list[Box]
    tick: str
    center: float


@dataclass(frozen=True)
class Chart:
    """A chart of columns.

    Attributes:
        lines: The lines behind it: the height of each, and what it stands for.
    """

    width: float
    height: float
    columns: list[Column]
    lines: list[tuple[float, str]]
    base: float


def stacked(
    values: Sequence[tuple[str, str, Sequence[float]]],
    styles: Sequence[str],
    *,
    width: float,
    height: float,
    ticks: int = 4,
) -> Chart:
    """Return a chart of columns in parts that stand on each other.

    Args:
        values: For each column what is said of it, what stands below it, and its parts.
        styles: How each part looks.
        width: The width of the drawing.
        height: Its height.
        ticks: How many columns are named below, at the most.
    """
    base = height - BOTTOM
    grid = steps(max((sum(parts) for _, _, parts in values), default=0))
    scale = (base - TOP) / (grid[-1] or 1)
    step = (width - LEFT) / max(len(values), 1)
    named = max(-(-len(values) // ticks), 1)
    columns = []
    for number, (title, tick, parts) in enumerate(values):
        x, y = LEFT + number * step + step * 0.09, base
        boxes = []
        for style, part in zip(styles, parts, strict=True):
            tall = part * scale
            if part:
                y -= tall
                boxes.append(Box(round(x, 1), round(y, 1), round(step * 0.82, 1), round(tall, 1), style))
        is_named = number % named == 0
        columns.append(Column(title, boxes, tick if is_named else "", round(x + step * 0.41, 1)))
    lines = [(round(base - value * scale, 1), short(value)) for value in grid]
    return Chart(width, height, columns, lines, base)


def up_and_down(values: Sequence[tuple[str, str, float, float]], *, width: float, height: float) -> Chart:
    """Return a chart of columns above and below a line."""
    up = max((above for _, _, above, _ in values), default=0)
    down = max((below for _, _, _, below in values), default=0)
    scale = (height - BOTTOM - TOP) / ((up + down) or 1)
    base = TOP + up * scale
    step = (width - LEFT) / max(len(values), 1)
    named = max(-(-len(values) // 3), 1)
    columns = []
    for number, (title, tick, above, below) in enumerate(values):
        x, wide = round(LEFT + number * step + step * 0.09, 1), round(step * 0.82, 1)
        boxes = [
            Box(x, round(base - above * scale, 1), wide, round(above * scale, 1), "f1"),
            Box(x, round(base + 0.5, 1), wide, round(below * scale, 1), "fr"),
        ]
        visible = [box for box in boxes if box.height]
        is_named = number % named == 0
        columns.append(Column(title, visible, tick if is_named else "", round(x + wide / 2, 1)))
    ends = [(TOP, short(up)), (height - BOTTOM, short(down))]
    lines = [(round(base, 1), "0"), *((y, name) for y, name in ends if abs(y - base) > _APART)]
    return Chart(width, height, columns, lines, round(base, 1))


def line(values: Sequence[float], *, width: float, height: float) -> str:
    """Return the points of a line through values, the lowest of which is 0 at the bottom."""
    most, step = max(values, default=0) or 1, width / max(len(values) - 1, 1)
    return " ".join(
        f"{number * step:.1f},{height - 1 - (height - 4) * value / most:.1f}"
        for number, value in enumerate(values)
    )


def curve(values: Sequence[float], *, width: float, height: float) -> tuple[str, Chart]:
    """Return the points of a line through values, and a chart without columns that is behind it."""
    base = height - BOTTOM
    grid = steps(max(values, default=0))
    scale = (base - TOP) / (grid[-1] or 1)
    step = (width - LEFT) / max(len(values) - 1, 1)
    points = " ".join(
        f"{LEFT + number * step:.1f},{base - value * scale:.1f}" for number, value in enumerate(values)
    )
    lines = [(round(base - value * scale, 1), short(value)) for value in grid]
    return points, Chart(width, height, [], lines, base)


def heat(counts: Sequence[int], columns: int, *, width: float) -> list[Box]:
    """Return the boxes of the rows of a table: the more, the darker."""
    most, step = max(counts, default=0) or 1, (width - 30) / columns
    return [
        Box(
            round(30 + (number % columns) * step, 1),
            round(number // columns * 18.4, 1),
            round(step - 1.6, 1),
            16.5,
            "h0" if not count else f"h{min(1 + int(4 * count / most), 4)}",
        )
        for number, count in enumerate(counts)
    ]


def steps(most: float) -> list[float]:
    """Return round numbers for the lines behind a chart, from 0 to at least the highest value."""
    unit, factors = 1.0, (2.0, 2.5, 2.0)
    number = 0
    while unit * 4 < most:
        unit *= factors[number % 3]
        number += 1
    return [unit * count for count in range(max(int(-(-most // unit)), 1) + 1)]


def short(value: float) -> str:
    """Return a number as the edge of a chart has it."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
