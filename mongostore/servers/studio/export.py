"""One conversation as a file: every part of it in lines of JSON, or for people as Markdown or HTML."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.models import Event, Message, Session, Thread, ThreadMessage
from mongostore.repositories.threads import AsyncThreads
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.content import to_json
from mongostore.servers.studio.html_file import html_file
from mongostore.servers.studio.rows import room_title
from mongostore.servers.studio.steps import starts_exchange, thread_turns
from mongostore.servers.studio.timeline import timeline
from mongostore.servers.studio.transcript import name_in, session_items, with_unreadable
from mongostore.servers.studio.views import InRoom, InSession, InThread

_TYPES = {
    "jsonl": "application/x-ndjson",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
_ALL = range(sys.maxsize)
# Messages that are shown together: more where they belong to each other.
_AT_ONCE = 100
_MOST_AT_ONCE = 1000
_ELEMENTS = 500
# A file is no page, whatever is in it.
_POLICY = {"Content-Security-Policy": "default-src 'none'; sandbox"}

router: Final = APIRouter()


@dataclass
class _Export:
    """A conversation that is sent as a file.

    Attributes:
        head: The conversation itself.
        parts: What is in it, in order.
        errors: Where `parts` collects what it could not read.
        text_of: Returns a part as Markdown.
        items_of: Returns some parts as pages show them.
        may_begin: Whether such some may begin with a part; it is shown by itself then.
    """

    head: Any
    name: str
    facts: list[str]
    parts: AsyncGenerator[Any, None]
    errors: list[InvalidDocumentError]
    text_of: Callable[[Any], str]
    items_of: Callable[[list[Any]], Sequence[Any]]
    may_begin: Callable[[Any], bool] = lambda part: True


@router.get("/s/{namespace}/{session_id}/export")
async def export_session(view: InSession, form: str = "jsonl") -> Response:
    """Send a session with all of its messages."""
    session = await view.sessions.get(view.id)
    errors: list[InvalidDocumentError] = []
    messages: Any = view.sessions.messages.iter(view.id, errors=errors)
    return _send(
        form,
        _Export(
            session,
            session.name or session.id,
            [f"{session.namespace}/{session.id}", session.user_id or "", f"{session.count:,} messages"],
            messages,
            errors,
            _message_text,
            lambda some: session_items(some, "", whole=_ALL),
            lambda message: "tool_call_id" not in message.data and message.role not in ("tool", "function"),
        ),
    )


@router.get("/t/{thread_id}/export")
async def export_thread(view: InThread, form: str = "jsonl") -> Response:
    """Send a thread with all of its messages."""
    threads = view.store.threads
    thread = await threads.get(view.id)
    errors: list[InvalidDocumentError] = []
    messages = _messages_of(threads, thread, errors)
    elements = (await threads.elements.list(thread.id, limit=_ELEMENTS)).items if form == "html" else []
    numbers = count(1)

    def items_of(some: list[ThreadMessage]) -> Sequence[Any]:
        turns = thread_turns(some, elements, "", whole=True)
        for turn in turns:
            turn.label = str(next(numbers))
            turn.anchor = f"m{turn.label}"
        return turns

    person = thread.user_identifier or thread.owner_id or ""
    name = thread.name or thread.id
    return _send(
        form,
        _Export(thread, name, [thread.id, person], messages, errors, _step_text, items_of, starts_exchange),
    )


async def _messages_of(
    threads: AsyncThreads, thread: Thread, errors: list[InvalidDocumentError]
) -> AsyncGenerator[ThreadMessage, None]:
    async for message in threads.messages.iter(thread.id, errors=errors):
        yield message
    # They end without a word when their thread is deleted: the file is to break off.
    if (await threads.get(thread.id)).created_at != thread.created_at:
        raise NotFoundError("thread", thread.id)


@router.get("/r/{room_id}/export")
async def export_room(view: InRoom, form: str = "jsonl") -> Response:
    """Send a room with all of its events."""
    rooms = view.store.rooms
    full = await rooms.get_full(view.id)
    room = full.room
    errors: list[InvalidDocumentError] = []
    events: Any = rooms.events.iter(room.id, blocked=True, errors=errors)
    return _send(
        form,
        _Export(
            room,
            room_title(room),
            [room.id, room.status, f"{room.event_count:,} events"],
            events,
            errors,
            _event_text,
            lambda some: timeline(some, full.participants, "", whole=True),
        ),
    )


def _send(form: str, export: _Export) -> Response:
    if form == "jsonl":
        lines = _lines(export)
    elif form == "md":
        lines = _text(export)
    elif form == "html":
        kind = type(export.head).__name__.lower()
        facts = [fact for fact in export.facts if fact]
        lines = html_file(kind, export.name, facts, _some_at_a_time(export))
    else:
        raise ProblemError(422, f"The form is one of {', '.join(_TYPES)}")
    return file_response(lines, export.name, form)


def file_response(content: AsyncIterator[bytes], name: str, form: str) -> Response:
    """Return an answer that browsers store as a file, and never show."""
    file = quote(f"{name[:80]}.{form}", safe="", errors="replace")
    headers = _POLICY | {"Content-Disposition": f"attachment; filename*=UTF-8''{file}"}
    return StreamingResponse(content, media_type=_TYPES[form], headers=headers)


async def _some_at_a_time(export: _Export) -> AsyncIterator[Sequence[Any]]:
    """Yield what pages show, with what could not be read, in parts that memory holds."""
    some: list[Any] = []
    async for part in export.parts:
        if len(some) >= _AT_ONCE and (export.may_begin(part) or len(some) >= _MOST_AT_ONCE):
            yield _items(export, some)
            some = []
        some.append(part)
    yield _items(export, some)


def _items(export: _Export, some: list[Any]) -> Sequence[Any]:
    errors, export.errors[:] = [*export.errors], []
    items = export.items_of(some)
    return with_unreadable(items, errors) if isinstance(export.head, Session) else [*items, *errors]


async def _lines(export: _Export) -> AsyncIterator[bytes]:
    yield line_of(export.head)
    async for part in export.parts:
        yield line_of(part)
    for error in export.errors:
        yield to_line({"record": "unreadable", "of": error.kind, "id": error.id, "fields": [*error.fields]})


async def _text(export: _Export) -> AsyncIterator[bytes]:
    yield f"# {export.name}\n".encode(errors="replace")
    async for part in export.parts:
        yield f"\n{export.text_of(part)}\n".encode(errors="replace")
    for error in export.errors:
        yield f"\n*The {error.kind} {error.id} could not be read.*\n".encode(errors="replace")


def line_of(model: BaseModel) -> bytes:
    """Return a conversation or a part of one as a line of JSON, with the name of its model."""
    # A message of a thread has a `kind` of its own.
    return to_line({"record": type(model).__name__, **model.model_dump()})


def to_line(members: dict[str, Any]) -> bytes:
    """Return a line of JSON."""
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
