"""The first page: how much there is, and what has happened lately."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mongostore.models import Feedback
from mongostore.repositories.statistics import DayStatistics, Statistics
from mongostore.servers.studio import charts
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.frame import Studio, WholeStudio, frame, page_response

DAYS = (7, 30, 90, 365)
_HOUSES = ("sessions", "threads", "rooms")
_STYLES = ("f1", "f2", "f3")
# What was counted serves all pages for so long.
_SECONDS = 60.0
_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_WEEK = 7
_COMMENTS = 40

router: Final = APIRouter()
Days = Annotated[int, Query(ge=1, le=365)]


@dataclass(frozen=True)
class Counted:
    """Statistics, and when they were counted by this process's clock."""

    statistics: Statistics
    at: float

    @property
    def age(self) -> int:
        """The seconds since then."""
        return int(time.monotonic() - self.at)


class Counter:
    """Counts a store once for all pages that ask at the same time, and shortly after."""

    def __init__(self) -> None:
        self._counted: dict[int, Counted] = {}
        self._counting = asyncio.Lock()

    async def count(self, studio: Studio, days: int, *, again: bool = False) -> Counted:
        """Return the statistics of so many days, of a minute ago at the most."""
        async with self._counting:
            known = self._counted.get(days)
            if known is None or again or time.monotonic() - known.at > _SECONDS:
                since = datetime.now(UTC) - timedelta(days=days - 1)
                known = Counted(await studio.store.statistics(since), time.monotonic())
                self._counted[days] = known
            return known


@router.get("/")
async def overview(request: Request, viewer: Looking, days: Days = 30) -> Response:
    """Show what is there; its numbers follow, for which the store is counted."""
    studio = Studio.of(request)
    around = await frame(studio, viewer, request)
    rows = around["frame"].rows
    if not rows.rows and around["frame"].kind is None:
        return await page_response(request, "empty.html", around, current="/")
    return await page_response(
        request, "overview.html", around, current="/", recent=rows.rows[:12], days=days, all_days=DAYS
    )


@router.get("/cards")
async def cards(request: Request, studio: WholeStudio, days: Days = 30, again: bool = False) -> Response:
    """Show the numbers of some days, as a part of the first page."""
    counted, feedback = await asyncio.gather(
        studio.counter.count(studio, days, again=again), _comments(studio)
    )
    found = counted.statistics
    return await page_response(
        request,
        "cards.html",
        {},
        counted=counted,
        found=found,
        feedback=feedback,
        by_day=_by_day(found),
        lengths=_lengths(found),
        votes=vote_chart(_weeks(found)),
        heat=charts.heat(found.hours, 24, width=330),
        collections=sorted((one for one in found.collections if one.documents), key=lambda one: -one.bytes),
        liked=liked(found),
    )


@router.get("/statistics.csv")
async def statistics_csv(request: Request, studio: WholeStudio, days: Days = 30) -> Response:
    """Send the numbers of each day as a table."""
    counted = await studio.counter.count(studio, days)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["day", *_HOUSES, "people"])
    for day in counted.statistics.days:
        writer.writerow([day.day, *(day.messages[house] for house in _HOUSES), day.people])
    headers = {"Content-Disposition": "attachment; filename=statistics.csv"}
    return Response(out.getvalue(), media_type="text/csv", headers=headers)


async def _comments(studio: Studio) -> list[Feedback]:
    page = await studio.store.threads.feedback.list(limit=_COMMENTS)
    return [one for one in page if one.comment][:5]


def _by_day(found: Statistics) -> charts.Chart:
    values = [
        (
            f"{day.day:%-d %B}: " + ", ".join(f"{day.messages[house]:,} {house}" for house in _HOUSES),
            f"{day.day:%-d %b}",
            [day.messages[house] for house in _HOUSES],
        )
        for day in found.days
    ]
    return charts.stacked(values, _STYLES, width=690, height=210)


def _lengths(found: Statistics) -> charts.Chart:
    values = []
    for first, beyond in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        count = sum(
            n for length, n in found.lengths.items() if length >= first and (not beyond or length < beyond)
        )
        name = (
            f"{first:,}+"
            if beyond is None
            else f"{first}"
            if beyond == first + 1
            else f"{first} to {beyond - 1}"
        )
        values.append((f"{name} messages: {count:,}", f"{first:,}", [count]))
    return charts.stacked(values, ("f1",), width=330, height=150, ticks=6)


def _weeks(found: Statistics) -> list[list[DayStatistics]]:
    span = _WEEK if len(found.days) > 2 * _WEEK else 1
    return [found.days[start : start + span] for start in range(0, len(found.days), span)]


def vote_chart(weeks: list[list[DayStatistics]], *, width: int = 330) -> charts.Chart:
    """Return the votes of some days each, those up above and those down below."""
    values = []
    for week in weeks:
        up = sum(count for day in week for value, count in day.feedback.items() if value > 0)
        down = sum(count for day in week for value, count in day.feedback.items() if value <= 0)
        values.append((f"{week[0].day:%-d %B}: {up} up, {down} down", f"{week[0].day:%-d %b}", up, down))
    return charts.up_and_down(values, width=width, height=150)


def liked(found: Statistics) -> dict[str, Any]:
    """Return how many votes there are, and the share of those up."""
    votes = sum(found.feedback.values())
    up = sum(count for value, count in found.feedback.items() if value > 0)
    return {"votes": votes, "up": up, "share": round(100 * up / votes) if votes else None}
