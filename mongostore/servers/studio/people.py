"""People: those who have threads, and all that is stored of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mongostore.models import Person, User
from mongostore.repositories.threads import AsyncUsers
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.erasure import OUTCOMES, plan_of
from mongostore.servers.studio.export import file_response, to_line
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.rows import list_conversations

router: Final = APIRouter()


@router.get("/people")
async def people(request: Request, viewer: Looking, cursor: str | None = None) -> Response:
    """Show those who have threads, the newest first."""
    viewer.require()
    studio = Studio.of(request)
    users = await studio.store.threads.users.list(newest=True, cursor=cursor, limit=100)
    return await page_response(
        request, "people.html", await frame(studio, viewer, request), users=users, current="/people"
    )


@router.get("/people/find")
async def find_person(request: Request, viewer: Looking, who: str) -> Response:
    """Redirect to the page of a typed id or identifier."""
    viewer.require()
    return RedirectResponse(f"{request.scope.get('root_path', '')}/people/{encode_id(who)}", status_code=303)


@router.get("/people/{who}")
async def person(request: Request, viewer: Looking, who: str, cursor: str | None = None) -> Response:
    """Show the conversations of one person; what else is stored of them follows, for which all is read."""
    viewer.require()
    studio = Studio.of(request)
    who = decode_id(who)
    users = studio.store.threads.users
    user, rows, around = await asyncio.gather(
        _find_user(users, who),
        list_conversations(studio.store, viewer, user=who, cursor=cursor, limit=100),
        frame(studio, viewer, request),
    )
    return await page_response(
        request, "person.html", around, who=who, user=user, rows=rows, current="/people"
    )


@router.get("/people/{who}/records")
async def person_records(request: Request, viewer: Looking, who: str) -> Response:
    """Show how much is stored of a person, by collection, and where it is allowed the form that erases it."""
    viewer.require()
    studio = Studio.of(request)
    who = decode_id(who)
    found = await studio.store.people.find(who)
    plan = plan_of(studio, found) if found is not None and studio.allow_erase else None
    return await page_response(
        request, "person_records.html", {}, who=who, person=found, plan=plan, outcomes=OUTCOMES
    )


@router.get("/people/{who}/export")
async def person_export(request: Request, viewer: Looking, who: str) -> Response:
    """Send everything that is a person's or that they said, in lines of JSON."""
    viewer.require()
    studio = Studio.of(request)
    who = decode_id(who)
    found = await studio.store.people.get(who)
    return file_response(_records(studio, found), who, "jsonl")


async def _records(studio: Studio, person: Person) -> AsyncIterator[bytes]:
    async for record in studio.store.people.export(person):
        yield to_line(record.model_dump())


async def _find_user(users: AsyncUsers, who: str) -> User | None:
    return await users.find_by_identifier(who) or await users.find(who)
