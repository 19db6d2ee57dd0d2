"""The changes of a conversation while they happen: Server-Sent Events with the HTML that a page shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from mongostore.engines import Capability
from mongostore.errors import MongoStoreError, SlowReaderError, TokenExpiredError
from mongostore.models import ChangeKind, Message, MessageChange
from mongostore.repositories.sessions import AsyncSessionMessages
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.frame import Studio
from mongostore.servers.studio.pages import page_names, write
from mongostore.servers.studio.reading import room_row, session_row
from mongostore.servers.studio.timeline import timeline
from mongostore.servers.studio.transcript import Item, is_of_tools, session_items

# Proxies close what is silent for longer.
_BEAT_SECONDS = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# The newest messages, with which a stream begins; if more came since the page, that is loaded again.
_NEWEST = 50
# Calls of tools and their results are not further from each other.
_NEAR = 40

router: Final = APIRouter()


@router.get("/s/{namespace}/{session_id}/live")
async def session_live(
    request: Request,
    viewer: Looking,
    namespace: str,
    session_id: str,
    after: int = -1,
    since: AwareDatetime | None = None,
) -> Response:
    """Send the changes of a session behind a page, or behind `Last-Event-ID` where that is sent.

    A page sends the last position that it shows, and the time of the newest change in it.
    """
    studio = Studio.of(request)
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    _require_streams(studio)
    sessions = studio.store.sessions.in_namespace(namespace)
    path = session_row(await sessions.get(session_id)).path
    token = request.headers.get("last-event-id") or None
    changes = _session_changes(request, sessions.messages, session_id, path, (after, since), token)
    return _stream(studio, changes)


async def _session_changes(
    request: Request,
    messages: AsyncSessionMessages,
    session_id: str,
    path: str,
    shown: tuple[int, datetime | None],
    token: str | None,
) -> AsyncGenerator[str, None]:
    # What has come since the page was made comes first: the stream begins with the newest messages.
    watching: Any = messages.watch(session_id, after=token, last=None if token else _NEWEST)
    async with aclosing(watching) as changes:
        try:
            after, since = shown
            expected = None if token else after + 1
            async for change in changes:
                if expected is not None and (change.position or 0) > expected:
                    # More has come than the stream begins with.
                    yield _event("reset", {})
                expected = None
                if not _is_shown(change, after, since):
                    kind, data = await _of_change(request, messages, session_id, change, path)
                    yield _event(kind, data, change.token)
        except (TokenExpiredError, SlowReaderError):
            # What it has missed is on the page when that is loaded again.
            yield _event("reset", {})
        except MongoStoreError:
            yield _event("away", {})


def _is_shown(change: MessageChange, after: int, since: datetime | None) -> bool:
    """Return whether a page that shows all up to a position and a time has a change already."""
    message = change.message
    if message is None or since is None or change.position is None or change.position > after:
        return False
    return message.updated_at is not None and message.updated_at <= since


async def _of_change(
    request: Request, messages: AsyncSessionMessages, session_id: str, change: MessageChange, path: str
) -> tuple[str, dict[str, Any]]:
    if change.kind in (ChangeKind.APPEND, ChangeKind.UPDATE) and change.message is not None:
        item = await _item(messages, session_id, change.message, path)
        return ("skip", {}) if item is None else ("put", _put(request, item, "item.html"))
    if change.kind is ChangeKind.DELETE:
        return "drop", {"id": f"m{change.position}"}
    return ("close" if change.kind is ChangeKind.CLOSE else "reset"), {}


async def _item(messages: AsyncSessionMessages, session_id: str, message: Message, path: str) -> Item | None:
    """Return what shows a message: the result of a tool is shown by the message that has called it."""
    items = session_items([message], path)
    item = items[0] if items else None
    if item is None or message.position is None or not is_of_tools(message):
        return item
    near = await messages.list(session_id, around=message.position, limit=_NEAR)
    label = str(message.position)
    for found in session_items(near.items, path):
        if found.label == label or any(call.position == label for call in found.calls):
            return found
    return item


@router.get("/r/{room_id}/live")
async def room_live(request: Request, viewer: Looking, room_id: str, after: int = -1) -> Response:
    """Send the events of a room behind an index, and behind `Last-Event-ID` where that is sent."""
    viewer.require()
    studio = Studio.of(request)
    room_id = decode_id(room_id)
    _require_streams(studio)
    last = request.headers.get("last-event-id", "")
    full = await studio.store.rooms.get_full(room_id)
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else after
    return _stream(
        studio, _room_changes(request, studio, room_id, full.participants, room_row(full.room).path, after)
    )


async def _room_changes(
    request: Request, studio: Studio, room_id: str, participants: Any, path: str, after: int
) -> AsyncGenerator[str, None]:
    rooms = studio.store.rooms
    try:
        watching: Any = rooms.events.watch(room_id, after=max(after, -1))
        async with aclosing(watching) as events:
            async for event in events:
                target = event.target_event_id and await rooms.events.find(room_id, event.target_event_id)
                *changed, entry = timeline([*([target] if target else []), event], participants, path)
                for one in changed:
                    yield _event("change", _put(request, one, "entry.html"))
                yield _event("put", _put(request, entry, "entry.html"), str(event.index))
    except MongoStoreError:
        yield _event("away", {})
        return
    yield _event("close", {})


def _require_streams(studio: Studio) -> None:
    if Capability.CHANGE_STREAMS not in studio.store.capabilities:
        raise ProblemError(501, "A standalone server has no change streams: reload the page")


def _put(request: Request, item: Any, template: str) -> dict[str, Any]:
    html = write(template, **page_names(request), item=item)
    return {"id": item.anchor, "label": item.label, "html": html}


def _event(kind: str, data: dict[str, Any], id: str | None = None) -> str:
    name = f"id: {id}\n" if id is not None else ""
    return f"{name}event: {kind}\ndata: {json.dumps(data)}\n\n"


def _stream(studio: Studio, events: AsyncGenerator[str, None]) -> Response:
    return StreamingResponse(_with_beats(studio, events), media_type="text/event-stream", headers=_HEADERS)


async def _with_beats(studio: Studio, events: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """Yield events until the studio ends, and a comment where there is none for long."""
    yield ": begun\n\n"
    ending = asyncio.ensure_future(studio.ending.wait())
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            either: list[asyncio.Future[Any]] = [upcoming, ending]
            await asyncio.wait(either, timeout=_BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                return
            if not upcoming.done():
                yield ": still here\n\n"
                continue
            if (event := upcoming.result()) is None:
                return
            yield event
            upcoming = asyncio.ensure_future(anext(events, None))
    finally:
        # A client that has gone cancels all that is awaited here, again and again.
        await asyncio.shield(studio.start_task(_stop(events, upcoming, ending)))


async def _stop(events: AsyncGenerator[str, None], *waiting: asyncio.Future[Any]) -> None:
    """End an iteration that waits for an event."""
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await events.aclose()
