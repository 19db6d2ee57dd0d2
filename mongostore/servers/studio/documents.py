"""Messages and events as their documents hold them, for what cannot be read, too."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.servers.studio.access import Looking, Viewer
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.frame import Studio, frame, page_response

router: Final = APIRouter()


@router.get("/s/{namespace}/{session_id}/at/{position}/document")
async def stored_message(
    request: Request, viewer: Looking, namespace: str, session_id: str, position: int
) -> Response:
    """Show the message at a position of a session as it is stored."""
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    messages = Studio.of(request).store.sessions.in_namespace(namespace).messages
    text = await messages.describe_document(session_id, position)
    path = f"/s/{encode_id(namespace)}/{encode_id(session_id)}"
    return await _answer(request, viewer, text, "Message", position, path, f"{path}?at={position}")


@router.get("/t/{thread_id}/documents/{message_id}")
async def stored_thread_message(
    request: Request, viewer: Looking, thread_id: str, message_id: str
) -> Response:
    """Show a message of a thread as it is stored."""
    viewer.require()
    thread_id, message_id = decode_id(thread_id), decode_id(message_id)
    text = await Studio.of(request).store.threads.messages.describe_document(thread_id, message_id)
    path = f"/t/{encode_id(thread_id)}"
    return await _answer(request, viewer, text, "Message", message_id, path, path)


@router.get("/r/{room_id}/documents/{event_id}")
async def stored_event(request: Request, viewer: Looking, room_id: str, event_id: str) -> Response:
    """Show an event of a room as it is stored."""
    viewer.require()
    room_id, event_id = decode_id(room_id), decode_id(event_id)
    text = await Studio.of(request).store.rooms.events.describe_document(room_id, event_id)
    path = f"/r/{encode_id(room_id)}"
    return await _answer(request, viewer, text, "Event", event_id, path, path)


async def _answer(
    request: Request, viewer: Viewer, text: str, kind: str, name: object, path: str, back: str
) -> Response:
    around = await frame(Studio.of(request), viewer, request)
    return await page_response(
        request, "document.html", around, text=text, title=f"{kind} {name}", current=path, back=back
    )
