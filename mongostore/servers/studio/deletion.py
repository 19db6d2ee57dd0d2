"""Softly deleted sessions come back; conversations go for good, where the studio was started to delete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.models import Session
from mongostore.repositories.sessions.filters import LifeRevision
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.erasure import check_plan, read_form, sign_plan, word_for
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.rows import list_conversations, room_title
from mongostore.servers.studio.views import InRoom, InSession, InThread, View

router: Final = APIRouter()
# Only with `allow_erase`.
for_good: Final = APIRouter()


@dataclass(frozen=True)
class Deletion:
    """A conversation that can be deleted.

    Attributes:
        life: The times of its creation and soft deletion: another one of that id has others.
        parts: Its kinds of parts: how many there are, and what goes with them; none if it cannot be read.
        delete: Deletes the one of an id, and returns whether it was there.
        then: The list that is shown after it.
    """

    kind: str
    title: str
    life: tuple[datetime | None, ...]
    parts: dict[str, tuple[int, str]]
    delete: Callable[[str], Awaitable[bool]]
    then: str


@router.get("/deleted")
async def deleted_sessions(
    request: Request,
    viewer: Looking,
    namespace: str | None = None,
    user: str | None = None,
    cursor: str | None = None,
) -> Response:
    """Show a page of softly deleted sessions by newest activity."""
    studio = Studio.of(request)
    rows, around = await asyncio.gather(
        list_conversations(
            studio.store,
            viewer,
            namespace=namespace or None,
            user=user or None,
            cursor=cursor,
            deleted=True,
        ),
        frame(studio, viewer, request),
    )
    filters = {name: value for name, value in (("namespace", namespace), ("user", user)) if value}
    return await page_response(
        request,
        "deleted.html",
        around,
        rows=rows,
        of_namespace=namespace,
        user=user,
        more=f"/deleted?{urlencode(filters)}{'&' if filters else ''}",
        current="/deleted",
    )


@router.post("/s/{namespace}/{session_id}/undelete")
async def undelete(request: Request, view: InSession) -> Response:
    """Bring back a softly deleted session, and go on to its page."""
    await view.sessions.undelete(view.id)
    return _go(request, view.path)


def path_of(request: Request) -> str:
    """Return the address of the conversation that a request is about; empty if it is about none."""
    match request.path_params:
        case {"namespace": str(namespace), "session_id": str(session_id)}:
            return f"/s/{namespace}/{session_id}"
        case {"thread_id": str(thread_id)}:
            return f"/t/{thread_id}"
        case {"room_id": str(room_id)}:
            return f"/r/{room_id}"
    return ""


async def find_deleted(request: Request, studio: Studio, error: Exception) -> Session | None:
    """Return the softly deleted session that a request did not find; None if there is none."""
    names = request.path_params
    # Only those who may see the namespace get as far as this error.
    if not isinstance(error, NotFoundError) or error.kind != "session" or "session_id" not in names:
        return None
    sessions = studio.store.sessions.in_namespace(decode_id(names["namespace"]))
    return await sessions.find(decode_id(names["session_id"]), deleted=True)


@for_good.api_route("/s/{namespace}/{session_id}/delete", methods=["GET", "POST"])
async def delete_session(request: Request, view: InSession) -> Response:
    """Show what goes with a session, softly deleted or not; delete it once that is confirmed."""
    return await _answer(request, view, "session", _count_session(view), view.sessions.delete)


async def _count_session(view: InSession) -> Deletion:
    session = await view.sessions.find(view.id, deleted=None)
    if session is None:
        raise NotFoundError("session", view.id)
    parts = {
        "messages": (session.count, "with all that is in them, and the session's context"),
        "participants": (len(session.participants), "with their turns and insights"),
    }
    then = "/list?kind=session" if session.deleted_at is None else "/deleted"
    title, life = session.name or session.id, (session.created_at, session.deleted_at)
    delete = partial(view.sessions.delete, revision=LifeRevision.of(session))
    return Deletion("session", title, life, parts, delete, then)


@for_good.api_route("/t/{thread_id}/delete", methods=["GET", "POST"])
async def delete_thread(request: Request, view: InThread) -> Response:
    """Show what goes with a thread; delete it once that is confirmed."""
    return await _answer(request, view, "thread", _count_thread(view), view.store.threads.delete)


async def _count_thread(view: InThread) -> Deletion:
    threads = view.store.threads
    thread, messages = await asyncio.gather(threads.get(view.id), threads.messages.count(view.id))
    elements = files = 0
    async for element in threads.elements.iter(view.id, errors=[]):
        elements, files = elements + 1, files + (element.file_key is not None)
    parts = {
        "messages": (messages, "steps among them, with their feedback"),
        "elements": (elements, "images, texts and others beside the messages"),
        "files": (files, "of the elements"),
    }
    title, life = thread.name or thread.id, (thread.created_at,)
    return Deletion("thread", title, life, parts, threads.delete, "/list?kind=thread")


@for_good.api_route("/r/{room_id}/delete", methods=["GET", "POST"])
async def delete_room(request: Request, view: InRoom) -> Response:
    """Show what goes with a room; delete it once that is confirmed."""
    return await _answer(request, view, "room", _count_room(view), view.store.rooms.delete)


async def _count_room(view: InRoom) -> Deletion:
    full = await view.store.rooms.get_full(view.id)
    parts = {
        "events": (full.room.event_count, "with the room's tasks and observations"),
        "channels": (len(full.bindings), "their bindings and read markers"),
        "participants": (len(full.participants), "their places in the room; their identities stay"),
    }
    title, life = room_title(full.room), (full.room.created_at,)
    return Deletion("room", title, life, parts, view.store.rooms.delete, "/list?kind=room")


async def _answer(
    request: Request,
    view: View,
    kind: str,
    counting: Awaitable[Deletion],
    delete: Callable[[str], Awaitable[bool]],
) -> Response:
    try:
        planned = await counting
    except InvalidDocumentError:
        # It goes whole, though nothing is known of it.
        planned = Deletion(kind, view.id, (), {}, delete, f"/list?kind={kind}")
    parts = ((name, count) for name, (count, _) in planned.parts.items())
    counted, word = [view.path, *map(str, planned.life), *parts], word_for(view.id)
    if request.method != "POST":
        return await page_response(
            request,
            "delete.html",
            await view.frame(request),
            id=view.id,
            word=word,
            planned=planned,
            plan=sign_plan(request, counted),
        )
    form = await read_form(request)
    if form.get("confirm") != word:
        raise ProblemError(422, f"What was typed is not what was asked for: the {planned.kind} stays")
    check_plan(request, form.get("plan", ""), counted)
    if not await planned.delete(view.id):
        raise NotFoundError(planned.kind, view.id)
    return _go(request, planned.then)


def _go(request: Request, path: str) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)
