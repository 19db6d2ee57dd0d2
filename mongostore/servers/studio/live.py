"""The changes of a conversation while they happen: Server-Sent Events with the HTML that a page shows."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from mongostore.engines import Capability
from mongostore.errors import InvalidDocumentError, MongoStoreError, SlowReaderError, TokenExpiredError
from mongostore.models import ChangeKind, Event, Message, MessageChange, RoomParticipant
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.frame import Studio
from mongostore.servers.studio.pages import page_names, write
from mongostore.servers.studio.timeline import timeline
from mongostore.servers.studio.transcript import Item, is_of_tools, session_items
from mongostore.servers.studio.views import InRoom, InSession, SessionView, View

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# The newest messages, with which a stream begins; if more came since the page, that is loaded again.
_NEWEST = 50
# Calls of tools and their results are not further from each other.
_AROUND = 40

router: Final = APIRouter()


@router.get("/s/{namespace}/{session_id}/live")
async def session_live(
    request: Request, view: InSession, after: int = -1, since: AwareDatetime | None = None
) -> Response:
    """Send the changes of a session behind a page, or behind `Last-Event-ID` where that is sent.

    A page sends the last position that it shows, and the time of the newest change in it.
    """
    _require_streams(view.studio)
    await view.sessions.get(view.id)
    return _stream(view.studio, _session_changes(request, view, after, since))


async def _session_changes(
    request: Request, view: SessionView, after: int, since: datetime | None
) -> AsyncGenerator[str, None]:
    token = request.headers.get("last-event-id") or None
    messages = view.sessions.messages
    # What has come since the page was made comes first: the stream begins with the newest messages.
    watching: Any = messages.watch(view.id, after=token, last=None if token else _NEWEST)
    async with aclosing(watching) as changes:
        try:
            expected = None if token else after + 1
            async for change in changes:
                if expected is not None and (change.position or 0) > expected:
                    # More has come than the stream begins with.
                    yield _event("reset", {})
                expected = None
                if not _is_visible(change, after, since):
                    kind, data = await _of_change(request, view, change)
                    yield _event(kind, data, change.token)
        except (TokenExpiredError, SlowReaderError):
            # What it has missed is on the page when that is loaded again.
            yield _event("reset", {})
        except MongoStoreError:
            yield _event("away", {})


def _is_visible(change: MessageChange, after: int, since: datetime | None) -> bool:
    """Return whether a page that shows all up to a position and a time has a change already."""
    message = change.message
    if message is None or since is None or change.position is None or change.position > after:
        return False
    return message.updated_at is not None and message.updated_at <= since


async def _of_change(
    request: Request, view: SessionView, change: MessageChange
) -> tuple[str, dict[str, Any]]:
    if change.kind in (ChangeKind.APPEND, ChangeKind.UPDATE) and change.message is not None:
        item = await _item(view, change.message)
        return ("skip", {}) if item is None else ("put", _put(request, item, "item.html"))
    if change.kind is ChangeKind.DELETE:
        return "drop", {"id": f"m{change.position}"}
    return ("close" if change.kind is ChangeKind.CLOSE else "reset"), {}


async def _item(view: SessionView, message: Message) -> Item | None:
    """Return what shows a message: the result of a tool is shown by the message that has called it."""
    items = session_items([message], view.path)
    item = items[0] if items else None
    if item is None or message.position is None or not is_of_tools(message):
        return item
    around_message = await view.sessions.messages.list(view.id, around=message.position, limit=_AROUND)
    label = str(message.position)
    for found in session_items(around_message.items, view.path):
        if found.label == label or any(call.position == label for call in found.calls):
            return found
    return item


@router.get("/r/{room_id}/live")
async def room_live(request: Request, view: InRoom, after: int = -1) -> Response:
    """Send the events of a room behind an index, and behind `Last-Event-ID` where that is sent."""
    _require_streams(view.studio)
    last = request.headers.get("last-event-id", "")
    full = await view.store.rooms.get_full(view.id)
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else after
    return _stream(view.studio, _room_changes(request, view, full.participants, after))


async def _room_changes(
    request: Request, view: View, participants: Sequence[RoomParticipant], after: int
) -> AsyncGenerator[str, None]:
    rooms = view.store.rooms
    try:
        watching: Any = rooms.events.watch(view.id, after=max(after, -1))
        async with aclosing(watching) as events:
            async for event in events:
                some = [*await _target_of(view, event), event]
                *changed, entry = timeline(some, participants, view.path)
                for one in changed:
                    yield _event("change", _put(request, one, "entry.html"))
                yield _event("put", _put(request, entry, "entry.html"), str(event.index))
    except MongoStoreError:
        yield _event("away", {})
        return
    yield _event("close", {})


async def _target_of(view: View, event: Event) -> list[Event]:
    """Return the event that another one edits or deletes, if it does and that can be read."""
    if event.target_event_id is None:
        return []
    try:
        target = await view.store.rooms.events.find(view.id, event.target_event_id)
    except InvalidDocumentError:
        return []
    return [] if target is None else [target]


def _require_streams(studio: Studio) -> None:
    if Capability.CHANGE_STREAMS not in studio.store.capabilities:
        raise ProblemError(501, "A standalone server has no change streams: reload the page")


def _put(request: Request, item: Any, template: str) -> dict[str, Any]:
    """Return what shows an item, written once for all tails that send the same."""
    fragments, names = Studio.of(request).fragments, page_names(request)
    key = hashlib.blake2b(pickle.dumps((names["root"], template, item)), digest_size=16).digest()
    html = fragments.get(key)
    fragments[key] = html = write(template, **names, item=item) if html is None else html
    return {"id": item.anchor, "label": item.label, "html": html}


def _event(kind: str, data: dict[str, Any], id: str | None = None) -> str:
    name = f"id: {id}\n" if id is not None else ""
    return f"{name}event: {kind}\ndata: {json.dumps(data)}\n\n"


def _stream(studio: Studio, events: AsyncGenerator[str, None]) -> Response:
    return StreamingResponse(_with_beats(studio, events), media_type="text/event-stream", headers=_HEADERS)


async def _with_beats(studio: Studio, events: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """Yield events until the studio ends, and a comment where there is none for long."""
    yield ": begun\n\n"
    async with aclosing(studio.follow(events)) as following:
        async for event in following:
            yield ": still here\n\n" if event is None else event
