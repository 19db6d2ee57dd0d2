"""The one thing that the studio changes, where it was started to: a person is erased after a dry run."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Final, get_args
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.models import ErasureMode, Person
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Viewer
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.frame import Studio, WholeStudio, frame, page_response

# What was counted is erased within so long, or counted again.
_SECONDS = 600

_SHARED = "a room of theirs alone is deleted; "
# For each collection, what each mode does with the documents that name a person.
OUTCOMES: Final[dict[str, tuple[str, str]]] = {
    "erasures": ("goes on, and ends", "goes on, and ends"),
    "sessions": (
        "theirs are deleted; they leave those of others",
        "theirs are deleted, or emptied of their words where others take part; they leave those of others",
    ),
    "threads": ("deleted", "deleted"),
    "bindings": (f"{_SHARED}elsewhere removed", f"{_SHARED}elsewhere kept without name and words"),
    "events": ("deleted; replies of others stay", "kept without name and words"),
    "participants": (f"{_SHARED}elsewhere removed", f"{_SHARED}elsewhere renamed"),
    **dict.fromkeys(
        (
            "api_keys",
            "verifications",
            "verification_requests",
            "identity_addresses",
            "identities",
            "users",
        ),
        ("deleted", "deleted"),
    ),
}

router: Final = APIRouter()


def plan_of(studio: Studio, person: Person) -> str:
    """Return a signed text with the counts and the time of a dry run; no other studio can make one."""
    return _sign(studio, person, int(time.time()))


@router.post("/people/{who}/erase")
async def erase(request: Request, studio: WholeStudio, who: str) -> Response:
    """Erase a person as a dry run has counted, and report what was done."""
    who = decode_id(who)
    form = {
        name: values[0]
        for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()
    }
    mode = form.get("mode", "delete")
    if mode not in get_args(ErasureMode):
        raise ProblemError(422, f"The mode is {' or '.join(get_args(ErasureMode))}")
    if form.get("confirm") != who:
        raise ProblemError(422, "The name that was typed is not the person's: nothing was erased")
    person = await studio.store.people.get(who)
    begun = form.get("plan", "").partition(".")[0]
    at = int(begun) if begun.isascii() and begun.isdigit() and len(begun) < 12 else 0
    if time.time() - at > _SECONDS:
        raise ProblemError(409, "The dry run was too long ago: count again; nothing was erased")
    if not hmac.compare_digest(form.get("plan", ""), _sign(studio, person, at)):
        raise ProblemError(
            409, "More or less is stored than the dry run has counted: count again; nothing was erased"
        )
    report = await studio.store.people.erase(person, mode=mode)  # type: ignore[arg-type]  # one of the modes
    return await page_response(
        request,
        "erased.html",
        await frame(studio, Viewer(), request),
        who=who,
        report=report,
        current="/people",
    )


def _sign(studio: Studio, person: Person, at: int) -> str:
    counted = json.dumps([at, sorted(person.names), sorted(person.counts.items())])
    return f"{at}.{hmac.new(studio.secret, counted.encode(), hashlib.sha256).hexdigest()}"
