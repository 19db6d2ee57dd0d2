"""Numbers as coordinates of drawings; templates write the marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One bar of a drawing."""

    x: float
    y: float
    width: float
    height: float
    value: float
    label: str


def bars(
    values: Sequence[tuple[str, float]], *, width: float, height: float, left: float = 0, gap: float = 2
) -> list[Bar]:
    """Return the bars of a column chart, from the left to the right, the highest as high as there is room."""
    if not values:
        return []
    most = max(value for _, value in values) or 1
    step = (width - left) / len(values)
    return [
        Bar(
            round(left + index * step, 1),
            round(height - height * value / most, 1),
            round(max(step - gap, 0.6), 1),
            round(height * value / most, 1),
            value,
            label,
        )
        for index, (label, value) in enumerate(values)
    ]


def line(values: Sequence[float], *, width: float, height: float) -> str:
    """Return the points of a line through values."""
    if not values:
        return ""
    most, step = max(values) or 1, width / max(len(values) - 1, 1)
    return " ".join(
        f"{index * step:.1f},{height - 1 - (height - 2) * value / most:.1f}"
        for index, value in enumerate(values)
    )


def steps(most: float, count: int = 4) -> list[float]:
    """Return round numbers for the lines behind a chart, from 0 up."""
    if most <= 0:
        return [0.0]
    rough = most / count
    power = 10 ** (len(str(int(rough))) - 1) if rough >= 1 else 1
    unit = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [index * unit for index in range(int(most / unit) + 1)]
