"""Messages and events as their documents hold them, for what cannot be read, too."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.frame import page_response
from mongostore.servers.studio.views import InRoom, InSession, InThread, View

router: Final = APIRouter()


@router.get("/s/{namespace}/{session_id}/at/{position}/document")
async def stored_message(request: Request, view: InSession, position: int) -> Response:
    """Show the message at a position of a session as it is stored."""
    text = await view.sessions.messages.describe_document(view.id, position)
    return await _answer(request, view, text, f"Message {position}", f"?at={position}")


@router.get("/t/{thread_id}/documents/{message_id}")
async def stored_thread_message(request: Request, view: InThread, message_id: str) -> Response:
    """Show a message of a thread as it is stored."""
    text = await view.store.threads.messages.describe_document(view.id, decode_id(message_id))
    return await _answer(request, view, text, f"Message {decode_id(message_id)}")


@router.get("/r/{room_id}/documents/{event_id}")
async def stored_event(request: Request, view: InRoom, event_id: str) -> Response:
    """Show an event of a room as it is stored."""
    text = await view.store.rooms.events.describe_document(view.id, decode_id(event_id))
    return await _answer(request, view, text, f"Event {decode_id(event_id)}")


async def _answer(request: Request, view: View, text: str, title: str, query: str = "") -> Response:
    """Show a document; send all of it to those who do not ask for a page, which leaves out files in it."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response(text, media_type="application/json")
    return await page_response(
        request,
        "document.html",
        await view.frame(request),
        text=text,
        title=title,
        address=request.url.path,
        back=view.path + query,
    )
