"""People: those who have threads, and the conversations of one."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.reading import list_conversations

router = APIRouter()


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
    """Lead to the page of somebody whose id or identifier was typed."""
    viewer.require()
    return RedirectResponse(f"{request.scope.get('root_path', '')}/people/{encode_id(who)}", status_code=303)


@router.get("/people/{who}")
async def person(request: Request, viewer: Looking, who: str, cursor: str | None = None) -> Response:
    """Show the conversations of one person."""
    viewer.require()
    studio = Studio.of(request)
    who = decode_id(who)
    users = studio.store.threads.users
    user = await users.find_by_identifier(who) or await users.find(who)
    rows = await list_conversations(studio.store, viewer, user=who, cursor=cursor, limit=100)
    return await page_response(
        request,
        "person.html",
        await frame(studio, viewer, request),
        who=who,
        user=user,
        rows=rows,
        current="/people",
    )
