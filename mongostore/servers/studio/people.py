"""People: those who have threads, and all that is stored of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mongostore.errors import InvalidDocumentError
from mongostore.models import Person, User
from mongostore.repositories.threads import AsyncUsers
from mongostore.servers.studio import charts
from mongostore.servers.studio.access import Viewer
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.erasure import MEANINGS, plans_of, word_for
from mongostore.servers.studio.export import file_response, to_line
from mongostore.servers.studio.frame import Studio, WholeStudio, frame, page_response
from mongostore.servers.studio.rows import list_conversations

# Of so many weeks the activity of a person is shown, as far as it is read in so long.
ACTIVITY_SECONDS = 3.0
_WEEKS, _WIDTH = 26, 660
_SPOKEN = frozenset({"messages", "turns", "events"})

router: Final = APIRouter()


@dataclass(frozen=True)
class Activity:
    """The messages where a person takes part, by day.

    Attributes:
        first: The first day, a Monday.
        counts: The messages of each Monday, then of each Tuesday, and so on.
        is_all: Whether all was read.
    """

    first: date
    counts: list[int]
    is_all: bool

    @property
    def boxes(self) -> list[tuple[charts.Box, str]]:
        """The boxes of the days, each with its name and count."""
        drawn = charts.heat(self.counts, _WEEKS, width=_WIDTH)
        return [
            (box, f"{self.first + timedelta(days=7 * (n % _WEEKS) + n // _WEEKS):%-d %B}: {self.counts[n]:,}")
            for n, box in enumerate(drawn)
        ]

    @property
    def months(self) -> list[tuple[float, str]]:
        """The months that begin in a week, each where that stands."""
        weeks = [self.first + timedelta(days=7 * week) for week in range(_WEEKS)]
        step = (_WIDTH - 30) / _WEEKS
        return [(round(30 + n * step, 1), f"{week:%b}") for n, week in enumerate(weeks) if week.day <= 7]


@router.get("/people")
async def people(request: Request, studio: WholeStudio, cursor: str | None = None) -> Response:
    """Show those who have threads, the newest first."""
    users = await studio.store.threads.users.list(newest=True, cursor=cursor, limit=100)
    return await page_response(
        request, "people.html", await frame(studio, Viewer(), request), users=users, current="/people"
    )


# Not below `/people`, where it would be a person's.
@router.get("/find-person")
async def find_person(request: Request, studio: WholeStudio, who: str) -> Response:
    """Redirect to the page of a typed id or identifier."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/people/{encode_id(who)}", status_code=303)


@router.get("/people/{who}")
async def person(request: Request, studio: WholeStudio, who: str, cursor: str | None = None) -> Response:
    """Show the conversations of one person; what else is stored of them follows, for which all is read."""
    who = decode_id(who)
    users = studio.store.threads.users
    user, rows, around = await asyncio.gather(
        _find_user(users, who),
        list_conversations(studio.store, Viewer(), user=who, cursor=cursor, limit=100),
        frame(studio, Viewer(), request),
    )
    return await page_response(
        request, "person.html", around, who=who, user=user, rows=rows, current="/people"
    )


@router.get("/people/{who}/records")
async def person_records(request: Request, studio: WholeStudio, who: str) -> Response:
    """Show how much is stored of a person, by collection, and where it is allowed the form that erases it."""
    who = decode_id(who)
    found = await studio.store.people.find(who)
    plans = await plans_of(request, found) if found is not None and studio.allow_erase else {}
    activity = None if found is None else await _read_activity(studio, found)
    return await page_response(
        request,
        "person_records.html",
        {},
        who=who,
        person=found,
        plans=plans,
        word=word_for(who),
        meanings=MEANINGS,
        activity=activity,
    )


@router.get("/people/{who}/export")
async def person_export(request: Request, studio: WholeStudio, who: str) -> Response:
    """Send everything that is a person's or that they said, in lines of JSON."""
    who = decode_id(who)
    found = await studio.store.people.get(who)
    return file_response(_records(studio, found), who, "jsonl")


async def _records(studio: Studio, person: Person) -> AsyncIterator[bytes]:
    async for record in studio.store.people.export(person):
        yield to_line(record.model_dump())


async def _read_activity(studio: Studio, person: Person) -> Activity:
    """Count what was said where a person takes part, as far as a short time goes."""
    today, end = datetime.now(UTC).date(), time.monotonic() + ACTIVITY_SECONDS
    first = today - timedelta(days=today.weekday() + 7 * (_WEEKS - 1))
    counts, is_all = [0] * (7 * _WEEKS), True
    exported: Any = studio.store.people.export(person)
    try:
        async with aclosing(exported) as records:
            async for record in records:
                at = record.value.get("created_at")
                if record.collection in _SPOKEN and at is not None:
                    days = datetime.fromisoformat(at).astimezone(UTC).date() - first
                    week, day = divmod(days.days, 7)
                    if 0 <= week < _WEEKS:
                        counts[_WEEKS * day + week] += 1
                if time.monotonic() > end:
                    is_all = False
                    break
    except InvalidDocumentError:
        is_all = False
    return Activity(first, counts, is_all)


async def _find_user(users: AsyncUsers, who: str) -> User | None:
    return await users.find_by_identifier(who) or await users.find(who)
