"""A person is erased after a dry run, where the studio was started to do so."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any, Final, get_args
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.models import ErasureLine, ErasureMode, ErasureReport, Person
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Viewer
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.frame import Studio, WholeStudio, frame, page_response

# What was counted is erased within so long, or counted again.
PLAN_SECONDS = 600
_MOST_TYPED = 100

# What the documents of a collection are that an erasure deletes or anonymizes.
MEANINGS: Final[dict[str, str]] = {
    "erasures": "one that was cut short goes on, and ends",
    "sessions": "theirs; anonymize keeps those where others take part",
    "session participants": "their places in sessions that stay, with their turns",
    "messages": "theirs in sessions that stay",
    "threads": "theirs, with all that is in them",
    "rooms": "those without another participant, with all that is in them",
    "bindings": "their channels in rooms that stay",
    "events": "what they said in rooms that stay; replies of others stay",
    "participants": "their places in rooms that stay",
    **dict.fromkeys(("tasks", "observations", "voice_deliveries"), "those that name them in rooms that stay"),
    "read_markers": "of their channels in rooms that stay",
    "files.files": "in folders of their names",
    "api_keys": "theirs",
    **dict.fromkeys(
        ("users", "identities", "identity_addresses", "verifications", "verification_requests"),
        "what links their names",
    ),
}

router: Final = APIRouter()


@dataclass(frozen=True)
class Plan:
    """The dry run of an erasure.

    Attributes:
        token: Its time, and a signature of its counts for the one who has asked for them.
    """

    report: ErasureReport
    token: str

    @property
    def lines(self) -> dict[str, ErasureLine]:
        """The lines of the report, by collections."""
        return {line.collection: line for line in self.report.lines}

    @property
    def deleted(self) -> int:
        """How many documents would be deleted."""
        return sum(line.deleted for line in self.report.lines)

    @property
    def anonymized(self) -> int:
        """How many documents would stay, without names and words."""
        return sum(line.anonymized for line in self.report.lines)


async def plans_of(request: Request, person: Person) -> dict[ErasureMode, Plan]:
    """Return the dry runs of a person's erasure in each mode."""
    studio = Studio.of(request)
    reports = await asyncio.gather(*(_count(studio, person, mode) for mode in get_args(ErasureMode)))
    return {report.mode: Plan(report, sign_plan(request, _counted(report))) for report in reports}


async def _count(studio: Studio, person: Person, mode: ErasureMode) -> ErasureReport:
    return await studio.store.people.erase(person, mode=mode, dry_run=True)


@router.post("/people/{who}/erase")
async def erase(request: Request, studio: WholeStudio, who: str) -> Response:
    """Erase a person as a dry run has counted, and report what was done."""
    who = decode_id(who)
    form = await read_form(request)
    mode: Any = form.get("mode", "delete")
    if mode not in get_args(ErasureMode):
        raise ProblemError(422, f"The mode is {' or '.join(get_args(ErasureMode))}")
    if form.get("confirm") != word_for(who):
        raise ProblemError(422, "The name that was typed is not the person's: nothing was erased")
    person = await studio.store.people.get(who)
    check_plan(request, form.get(f"plan_{mode}", ""), _counted(await _count(studio, person, mode)))
    report = await studio.store.people.erase(person, mode=mode)
    return await page_response(
        request,
        "erased.html",
        await frame(studio, Viewer(), request),
        who=who,
        report=report,
        current="/people",
    )


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that was sent."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def word_for(id: str) -> str:
    """Return the word that confirms an id when it is typed: the id, if that can be typed."""
    can_be_typed = id.isprintable() and id == " ".join(id.split()) and len(id) <= _MOST_TYPED
    return id if can_be_typed else "yes"


def sign_plan(request: Request, counted: object, at: int | None = None) -> str:
    """Return the token of a count at a time, or now, for the one who asks."""
    at = int(time.time()) if at is None else at
    return f"{at}.{Studio.of(request).access.sign(request, json.dumps([at, counted]))}"


def check_plan(request: Request, plan: str, counted: object) -> None:
    """Refuse a token unless it is of the same counts for the one who asks, and not too old."""
    begun = plan.partition(".")[0]
    at = int(begun) if begun.isascii() and begun.isdigit() and len(begun) < 12 else 0
    if time.time() - at > PLAN_SECONDS:
        raise ProblemError(409, "That was counted too long ago: count again; nothing was changed")
    if not hmac.compare_digest(plan.encode(), sign_plan(request, counted, at).encode()):
        raise ProblemError(409, "More or less is stored than was counted: count again; nothing was changed")


def _counted(report: ErasureReport) -> object:
    lines = [[line.collection, line.deleted, line.anonymized] for line in report.lines]
    return [report.mode, sorted(report.names), lines]
