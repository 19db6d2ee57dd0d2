"""One conversation as a file: every part of it, in lines of JSON, or as Markdown for people."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from mongostore.errors import InvalidDocumentError
from mongostore.models import Event, Message, ThreadMessage
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.content import to_json
from mongostore.servers.studio.frame import Studio
from mongostore.servers.studio.transcript import name_in

_TYPES = {"jsonl": "application/x-ndjson", "md": "text/markdown; charset=utf-8"}
# A file is no page, whatever is in it.
_POLICY = {"Content-Security-Policy": "default-src 'none'; sandbox"}

router: Final = APIRouter()


@router.get("/s/{namespace}/{session_id}/export")
async def export_session(
    request: Request, viewer: Looking, namespace: str, session_id: str, form: str = "jsonl"
) -> Response:
    """Send a session with all of its messages."""
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    sessions = Studio.of(request).store.sessions.in_namespace(namespace)
    session = await sessions.get(session_id)
    errors: list[InvalidDocumentError] = []
    messages: Any = sessions.messages.iter(session_id, errors=errors)
    return _send(form, session.name or session.id, session, messages, errors, _message_text)


@router.get("/t/{thread_id}/export")
async def export_thread(request: Request, viewer: Looking, thread_id: str, form: str = "jsonl") -> Response:
    """Send a thread with all of its messages."""
    viewer.require()
    threads = Studio.of(request).store.threads
    thread = await threads.get(decode_id(thread_id))
    errors: list[InvalidDocumentError] = []
    messages: Any = threads.messages.iter(thread.id, errors=errors)
    return _send(form, thread.name or thread.id, thread, messages, errors, _step_text)


@router.get("/r/{room_id}/export")
async def export_room(request: Request, viewer: Looking, room_id: str, form: str = "jsonl") -> Response:
    """Send a room with all of its events."""
    viewer.require()
    rooms = Studio.of(request).store.rooms
    room = await rooms.get(decode_id(room_id))
    errors: list[InvalidDocumentError] = []
    events: Any = rooms.events.iter(room.id, blocked=True, errors=errors)
    return _send(form, room.id, room, events, errors, _event_text)


def _send(
    form: str,
    name: str,
    head: Any,
    parts: AsyncGenerator[Any, None],
    errors: list[InvalidDocumentError],
    text_of: Callable[[Any], str],
) -> Response:
    if form not in _TYPES:
        raise ProblemError(422, "The form is jsonl or md")
    lines = _lines(head, parts, errors) if form == "jsonl" else _text(name, parts, errors, text_of)
    file = quote(f"{name[:80]}.{form}", safe="", errors="replace")
    headers = _POLICY | {"Content-Disposition": f"attachment; filename*=UTF-8''{file}"}
    return StreamingResponse(lines, media_type=_TYPES[form], headers=headers)


async def _lines(
    head: Any, parts: AsyncGenerator[Any, None], errors: list[InvalidDocumentError]
) -> AsyncIterator[bytes]:
    yield _line({"kind": type(head).__name__.lower(), **_dump(head)})
    async for part in parts:
        yield _line({"kind": type(part).__name__.lower(), **_dump(part)})
    for error in errors:
        yield _line({"kind": "unreadable", "of": error.kind, "id": error.id, "fields": [*error.fields]})


async def _text(
    name: str,
    parts: AsyncGenerator[Any, None],
    errors: list[InvalidDocumentError],
    text_of: Callable[[Any], str],
) -> AsyncIterator[bytes]:
    yield f"# {name}\n".encode(errors="replace")
    async for part in parts:
        yield f"\n{text_of(part)}\n".encode(errors="replace")
    for error in errors:
        yield f"\n*The {error.kind} {error.id} could not be read.*\n".encode(errors="replace")


def _dump(model: Any) -> dict[str, Any]:
    members: dict[str, Any] = model.model_dump()
    return members


def _line(members: dict[str, Any]) -> bytes:
    # ASCII, which holds even texts that are no UTF-8.
    return (json.dumps(members, default=str) + "\n").encode()


def _message_text(message: Message) -> str:
    heading = f"## {message.position}. {name_in(message.role, message.data, message.metadata)}"
    calls = message.data.get("tool_calls")
    return _joined(heading, message.created_at, message.content, calls)


def _step_text(message: ThreadMessage) -> str:
    heading = (
        f"## {name_in(str(message.data.get('type') or message.data.get('role') or 'message'), message.data)}"
    )
    return _joined(heading, message.created_at, message.content, None)


def _event_text(event: Event) -> str:
    heading = f"## {event.index}. {event.channel_id}, {event.participant_id or event.type}"
    body = event.content.get("body") if isinstance(event.content, dict) else None
    return _joined(heading, event.created_at, body if isinstance(body, str) else event.content, None)


def _joined(heading: str, at: Any, content: Any, calls: Any) -> str:
    parts = [heading, f"*{at}*"]
    for value in (content, calls):
        if isinstance(value, str):
            parts.append(value)
        elif value is not None:
            parts.append(f"```json\n{to_json(value)}\n```")
    return "\n\n".join(parts)
