"""The pages of a session."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mongostore.models import Message, Session
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.files import image_response
from mongostore.servers.studio.frame import page_response
from mongostore.servers.studio.outline import HEIGHT, MOST, bars, stretches
from mongostore.servers.studio.transcript import session_items, with_unreadable
from mongostore.servers.studio.views import InSession

PAGE = 50
_MOST = 10_000

router: Final = APIRouter()
Position = Annotated[int | None, Query(ge=0)]


@router.get("/s/{namespace}/{session_id}")
async def session_page(
    request: Request,
    view: InSession,
    at: Position = None,
    before: Position = None,
    after: Position = None,
    all: Position = None,
    conversation: str | None = None,
) -> Response:
    """Show a session's messages: the newest, those around a position, or those before or after one."""
    sessions, session_id, path = view.sessions, view.id, view.path
    at = all if at is None else at
    bounds: dict[str, Any] = {"newest": True, "before": before}
    if at is not None or after is not None:
        bounds = {"around": at} if at is not None else {"after": after}
    session, layout, page, around = await asyncio.gather(
        sessions.get(session_id),
        sessions.describe_storage(session_id, outline=False),
        sessions.messages.list(session_id, limit=PAGE, conversation_id=conversation, **bounds),
        view.frame(request),
    )
    selected = next((message for message in page if message.position == at), None) if at is not None else None
    items = session_items(page.items, path, at=at, whole=[] if all is None else [all])
    end = layout.in_tail + layout.in_segments
    positions = [message.position for message in page if message.position is not None]
    first, last = (positions[0], positions[-1]) if positions else (0, end - 1)
    return await page_response(
        request,
        "session.html",
        around,
        session=session,
        items=with_unreadable(items, page.errors),
        errors=page.errors,
        at=at,
        first=first,
        last=last,
        end=end,
        page_size=PAGE,
        layout=layout,
        selected=selected,
        conversation=conversation,
        since=max((message.updated_at for message in page if message.updated_at), default=None),
        live_path=f"{path}/live",
    )


@router.get("/s/{namespace}/{session_id}/at/{position}")
async def message_details(
    request: Request, view: InSession, position: int, fragment: bool = False
) -> Response:
    """Show all about one message."""
    session, message = await _message(view, position)
    path = view.path
    if fragment:
        return await page_response(
            request, "message_details.html", {}, session=session, selected=message, path=path, layout=None
        )
    return await page_response(
        request,
        "message.html",
        await view.frame(request),
        session=session,
        selected=message,
        item=session_items([message], path, at=position, whole=[position])[0],
        layout=None,
    )


async def _message(view: InSession, position: int) -> tuple[Session, Message]:
    after = position - 1 if position else None
    session, page = await asyncio.gather(
        view.sessions.get(view.id),
        view.sessions.messages.list(view.id, after=after, before=position + 1, limit=1),
    )
    if page.errors:
        raise page.errors[0]
    if not page.items:
        raise ProblemError(404, f"The session has no message {position}")
    return session, page.items[0]


@router.get("/s/{namespace}/{session_id}/at/{position}/images/{number}")
async def message_image(view: InSession, position: int, number: int) -> Response:
    """Return an image that stands inside of a message."""
    _, message = await _message(view, position)
    return image_response(message.content, message.data, number, f"{position}-{number}")


@router.get("/s/{namespace}/{session_id}/map")
async def session_map(request: Request, view: InSession, first: int = 0, last: int = 0) -> Response:
    """Return the map of a session, which its page asks for when it is shown."""
    layout = await view.sessions.describe_storage(view.id)
    end = layout.in_tail + layout.in_segments
    if end > MOST:
        found = stretches(layout.outline, end)
    else:
        found = bars(await view.sessions.messages.list(view.id, limit=MOST), end)
    return await page_response(
        request, "map.html", {}, bars=found, path=view.path, first=first, last=last, end=end, height=HEIGHT
    )


@router.get("/s/{namespace}/{session_id}/{part}")
async def session_part(request: Request, view: InSession, part: str) -> Response:
    """Show the participants of a session, its context, or where its messages are stored."""
    sessions = view.sessions
    session, layout = await asyncio.gather(
        sessions.get(view.id), sessions.describe_storage(view.id, outline=False)
    )
    known: dict[str, Any] = {"session": session, "layout": layout, "part": part}
    match part:
        case "participants" | "documents":
            pass
        case "context":
            known["context"] = await sessions.context.find(view.id)
        case "conversations":
            if session.count > _MOST:
                raise ProblemError(422, f"Conversations of more than {_MOST:,} messages are not counted here")
            known["conversations"] = await sessions.conversations.list(view.id, limit=200)
        case _:
            raise ProblemError(404)
    around = await view.frame(request)
    return await page_response(request, "session_part.html", around, **known)
