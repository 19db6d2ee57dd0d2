"""Lets stores that do the same race each other, and says how many times as fast as others ours is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any, Generic, Literal, TypeVar

from tests.bench.measurement import Cells, Work, take_turns, timed

Columns = list[tuple[str, int]]

# "vs" says how many times as fast ours is.
COLUMNS: Columns = [
    *(("work", 26), ("MongoDB", 18), ("PostgreSQL", 17), ("SQLite", 17)),
    *(("vs PG", 6), ("vs SQLite", 9), ("budget", 7), ("ok", 3)),
]
# Calls of each writer in a turn.
EACH = 8
# Turns of slow work, as that of many writers, for one of a single call.
SHARE = 1 / 20

Store = TypeVar("Store")
# Makes the work of a store, given the store.
Making = Callable[[Store], Work]


@dataclass(frozen=True)
class Rate:
    """How fast calls are answered.

    Attributes:
        p50: Half of them within so many milliseconds.
        p95: Nearly all within so many.
        per_second: How many of them in a second.
    """

    p50: float
    p95: float
    per_second: float

    def __str__(self) -> str:
        digits = 1 if self.p95 >= 10 else 2
        return f"{self.p50:.{digits}f} {self.p95:.{digits}f} {self.per_second:,.0f}/s"


@dataclass(frozen=True)
class Race:
    """The same work in each store.

    Attributes:
        work: What was done.
        paces: By store; those that are not there are left out.
        compare: What is compared: half the calls' time, or calls a second.
        budget: How many times as fast as others ours must be at least.
        beside: The others that the budget speaks of.
    """

    work: str
    paces: dict[str, Rate]
    compare: Literal["p50", "per_second"] = "p50"
    budget: float | None = None
    beside: Sequence[str] = ("postgres",)

    @property
    def times(self) -> dict[str, float]:
        """How many times as fast as each of the others ours is."""
        ours = self.paces["mongo"]
        return {
            name: pace.p50 / ours.p50 if self.compare == "p50" else ours.per_second / pace.per_second
            for name, pace in self.paces.items()
            if name != "mongo"
        }

    @property
    def ok(self) -> bool:
        """Whether the work keeps within its budget, as far as that is known."""
        return self.budget is None or all(
            times >= self.budget for name, times in self.times.items() if name in self.beside
        )

    def members(self) -> dict[str, Any]:
        """Return the race as a program reads it."""
        return {**asdict(self), "times": self.times, "ok": self.ok}

    def cells(self) -> Cells:
        """Return the race as a person reads it."""
        names = ("postgres", "sqlite")
        paces = (str(self.paces.get(name, "")) for name in ("mongo", *names))
        times = (_format_pair(self.times[name]) if name in self.times else "" for name in names)
        return [self.work, *paces, *times, "" if self.budget is None else f"≥ {self.budget:g}x"]


@dataclass(frozen=True)
class Field(Generic[Store]):
    """The stores that race, by name.

    Attributes:
        stores: Ours, `mongo`, and what is there of `postgres` and `sqlite`.
        rounds: How often each piece of work is done.
    """

    stores: dict[str, Store]
    rounds: int

    async def race(
        self,
        work: str,
        making: Making[Store],
        *,
        share: float = 1,
        budget: float | None = None,
        beside: Sequence[str] = ("postgres",),
    ) -> Race:
        """Let the stores do a piece of work in turn, and compare the time of a call."""
        took = await take_turns(self._rounds(share), *map(making, self.stores.values()))
        paces = {
            name: _pace(times, 1e9 / median(times)) for name, times in zip(self.stores, took, strict=True)
        }
        return Race(work, paces, budget=budget, beside=beside)

    async def crowd(
        self, work: str, makings: Sequence[Making[Store]], *, each: int = EACH, budget: float | None = None
    ) -> Race:
        """Let each store take the calls of many writers in turn, and compare their number in a second."""
        latencies: dict[str, list[int]] = {name: [] for name in self.stores}
        works = [
            _together([making(store) for making in makings], each, latencies[name])
            for name, store in self.stores.items()
        ]
        took = await take_turns(self._rounds(SHARE), *works)
        paces = {
            name: _pace(latencies[name], 1e9 * len(makings) * each / median(times))
            for name, times in zip(self.stores, took, strict=True)
        }
        return Race(work, paces, "per_second", budget)

    def _rounds(self, share: float) -> int:
        return max(int(self.rounds * share), 4)


def _together(works: list[Work], each: int, latencies: list[int]) -> Work:
    async def write(work: Work) -> None:
        latencies.extend([await timed(work) for _ in range(each)])

    return lambda: asyncio.gather(*map(write, works))


def _pace(times: list[int], per_second: float) -> Rate:
    cuts = quantiles(times, n=20, method="inclusive")
    return Rate(cuts[9] / 1e6, cuts[18] / 1e6, per_second)


def _format_pair(times: float) -> str:
    return f"{times:.{2 if times < 10 else 0}f}x"
