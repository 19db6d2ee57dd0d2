"""The pages of a session."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mongostore.models import Message, Session
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.content import decode_image, image_type, read_content
from mongostore.servers.studio.files import image_response
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.outline import HEIGHT, MOST, marks, stretches
from mongostore.servers.studio.reading import session_row
from mongostore.servers.studio.transcript import session_items, with_unreadable

PAGE = 50
_MOST = 10_000

router: Final = APIRouter()
Position = Annotated[int | None, Query(ge=0)]


@router.get("/s/{namespace}/{session_id}")
async def session_page(
    request: Request,
    viewer: Looking,
    namespace: str,
    session_id: str,
    at: Position = None,
    before: Position = None,
    after: Position = None,
    all: Position = None,
    conversation: str | None = None,
) -> Response:
    """Show a session's messages: the newest, those around a position, or those before or after one."""
    studio = Studio.of(request)
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    sessions = studio.store.sessions.in_namespace(namespace)
    at = all if at is None else at
    bounds: dict[str, Any] = {"newest": True, "before": before}
    if at is not None or after is not None:
        bounds = {"around": at} if at is not None else {"after": after}
    session, layout, page, around = await asyncio.gather(
        sessions.get(session_id),
        sessions.describe_storage(session_id),
        sessions.messages.list(session_id, limit=PAGE, conversation_id=conversation, **bounds),
        frame(studio, viewer, request),
    )
    path = session_row(session).path
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
        path=path,
        current=path,
        items=with_unreadable(items, page.errors),
        errors=page.errors,
        first=first,
        last=last,
        end=end,
        page_size=PAGE,
        layout=layout,
        selected=selected,
        conversation=conversation,
        live_path=f"{path}/live",
    )


@router.get("/s/{namespace}/{session_id}/at/{position}")
async def message_details(
    request: Request, viewer: Looking, namespace: str, session_id: str, position: int, fragment: bool = False
) -> Response:
    """Show all about one message."""
    studio = Studio.of(request)
    session, message = await _message(studio, viewer, namespace, session_id, position)
    path = session_row(session).path
    if fragment:
        return await page_response(
            request, "message_details.html", {}, session=session, selected=message, path=path, layout=None
        )
    return await page_response(
        request,
        "message.html",
        await frame(studio, viewer, request),
        session=session,
        path=path,
        current=path,
        selected=message,
        item=session_items([message], path, at=position, whole=[position])[0],
        layout=None,
    )


async def _message(
    studio: Studio, viewer: Looking, namespace: str, session_id: str, position: int
) -> tuple[Session, Message]:
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    sessions = studio.store.sessions.in_namespace(namespace)
    session, page = await asyncio.gather(
        sessions.get(session_id),
        sessions.messages.list(
            session_id, after=position - 1 if position else None, before=position + 1, limit=1
        ),
    )
    if page.errors:
        raise page.errors[0]
    if not page.items:
        raise ProblemError(404, f"The session has no message {position}")
    return session, page.items[0]


@router.get("/s/{namespace}/{session_id}/at/{position}/images/{number}")
async def message_image(
    request: Request, viewer: Looking, namespace: str, session_id: str, position: int, number: int
) -> Response:
    """Return an image that stands inside of a message."""
    _, message = await _message(Studio.of(request), viewer, namespace, session_id, position)
    content = read_content(message.content)
    for address in message.data.get("images") or [] if isinstance(message.data.get("images"), list) else []:
        content.add_image(address)
    for block in content.blocks:
        if block.kind == "image" and block.number == number:
            image = decode_image(block)
            return image_response(
                image or b"", image_type(image or b""), block.name or f"{position}-{number}"
            )
    raise ProblemError(404, "The message has no such image")


@router.get("/s/{namespace}/{session_id}/map")
async def session_map(
    request: Request, viewer: Looking, namespace: str, session_id: str, first: int = 0, last: int = 0
) -> Response:
    """Return the map of a session, which its page asks for when it is shown."""
    studio = Studio.of(request)
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    sessions = studio.store.sessions.in_namespace(namespace)
    layout = await sessions.describe_storage(session_id)
    end = layout.in_tail + layout.in_segments
    found = (
        stretches(layout.outline, end)
        if end > MOST
        else marks(await sessions.messages.list(session_id, limit=MOST), end)
    )
    path = f"/s/{encode_id(namespace)}/{encode_id(session_id)}"
    return await page_response(
        request, "map.html", {}, marks=found, path=path, first=first, last=last, end=end, height=HEIGHT
    )


@router.get("/s/{namespace}/{session_id}/{part}")
async def session_part(
    request: Request, viewer: Looking, namespace: str, session_id: str, part: str
) -> Response:
    """Show the participants of a session, its context, or where its messages are stored."""
    studio = Studio.of(request)
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    sessions = studio.store.sessions.in_namespace(namespace)
    session, layout = await asyncio.gather(sessions.get(session_id), sessions.describe_storage(session_id))
    path = f"/s/{encode_id(namespace)}/{encode_id(session_id)}"
    known: dict[str, Any] = {
        "session": session,
        "layout": layout,
        "path": path,
        "current": path,
        "part": part,
    }
    match part:
        case "participants" | "documents":
            pass
        case "context":
            known["context"] = await sessions.context.find(session_id)
        case "conversations":
            if session.count > _MOST:
                raise ProblemError(422, f"Conversations of more than {_MOST:,} messages are not counted here")
            known["conversations"] = await sessions.messages.list_conversations(session_id, limit=200)
        case _:
            raise ProblemError(404)
    return await page_response(request, "session_part.html", await frame(studio, viewer, request), **known)
