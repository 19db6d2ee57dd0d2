"""Times pieces of work against each other, so that whatever else the machine does troubles them alike."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Work = Callable[[], Awaitable[object]]
# One for each column of a table but the last, which says whether the budget holds.
Cells = list[str]


@dataclass(frozen=True)
class Row:
    """What a piece of work took, and what it may take.

    Attributes:
        work: What was done.
        ours: How much it took through the store.
        bare: How much the work that it is compared with took.
        budget: How many times as much, or how much more, it may take.
        unit: Of `ours` and `bare`.
        compare: Whether the budget is a ratio or a difference.
    """

    work: str
    ours: float
    bare: float
    budget: float
    unit: Literal["µs", "KiB", ""] = "µs"
    compare: Literal["ratio", "difference"] = "ratio"

    @property
    def result(self) -> float:
        """What the budget bounds."""
        return self.ours / self.bare if self.compare == "ratio" else self.ours - self.bare

    @property
    def ok(self) -> bool:
        """Whether the work keeps within its budget."""
        return self.result <= self.budget

    def cells(self) -> Cells:
        """Return the row as a person reads it."""
        amounts = (f"{amount:,.0f} {self.unit}".strip() for amount in (self.ours, self.bare))
        return [self.work, *amounts, self._format_times(self.result), f"≤ {self._format_times(self.budget)}"]

    def members(self) -> dict[str, Any]:
        """Return the row as a program reads it."""
        return {**asdict(self), "result": self.result, "ok": self.ok}

    def _format_times(self, value: float) -> str:
        return f"{value:.2f}x" if self.compare == "ratio" else f"{value:+.0f} {self.unit}".strip()


async def interleave(rounds: int, *works: Work) -> list[float]:
    """Return the median of each piece of work in µs, done in turns."""
    return [median(each) / 1000 for each in await take_turns(rounds, *works)]


async def take_turns(rounds: int, *works: Work) -> list[list[int]]:
    """Return the times of each piece of work in ns: they take turns, each round begun by another one."""
    times: list[list[int]] = [[] for _ in works]
    turns = list(range(len(works)))
    for number in range(-max(rounds // 10, 5), rounds):
        for turn in turns:
            took = await timed(works[turn])
            if number >= 0:
                times[turn].append(took)
        turns.append(turns.pop(0))
    return times


async def timed(work: Work) -> int:
    """Return how many ns a piece of work takes."""
    began = time.perf_counter_ns()
    await work()
    return time.perf_counter_ns() - began
