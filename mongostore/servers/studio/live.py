"""What changes in a conversation, as it changes: Server-Sent Events with the HTML that a page shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from mongostore.engines import Capability
from mongostore.errors import MongoStoreError, SlowReaderError, TokenExpiredError
from mongostore.models import ChangeKind
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.frame import Studio
from mongostore.servers.studio.pages import page_names, write
from mongostore.servers.studio.reading import room_row, session_row
from mongostore.servers.studio.timeline import timeline
from mongostore.servers.studio.transcript import session_items

# Proxies close what is silent for longer.
_BEAT_SECONDS = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# The newest messages, with which a stream begins; if more came since the page, that is loaded again.
_NEWEST = 50

router: Final = APIRouter()


@router.get("/s/{namespace}/{session_id}/live")
async def session_live(
    request: Request, viewer: Looking, namespace: str, session_id: str, after: int = -1
) -> Response:
    """Send the changes of a session behind a position, or behind `Last-Event-ID` where that is sent."""
    studio = Studio.of(request)
    namespace, session_id = decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    _require_streams(studio)
    sessions = studio.store.sessions.in_namespace(namespace)
    path = session_row(await sessions.get(session_id)).path
    token = request.headers.get("last-event-id") or None
    return _stream(studio, _session_changes(request, sessions, session_id, path, after, token))


async def _session_changes(
    request: Request, sessions: Any, session_id: str, path: str, after: int, token: str | None
) -> AsyncGenerator[str, None]:
    # What has come since the page was made comes first: the stream begins with the newest messages.
    watching = sessions.messages.watch(session_id, after=token, last=None if token else _NEWEST)
    async with aclosing(watching) as changes:
        try:
            expected = None if token else after + 1
            async for change in changes:
                if expected is not None and (change.position or 0) > expected:
                    # More has come than the stream begins with.
                    yield _event("reset", {})
                expected = None
                kind, data = _of_change(request, change, path)
                yield _event(kind, data, change.token)
        except (TokenExpiredError, SlowReaderError):
            # What it has missed is on the page when that is loaded again.
            yield _event("reset", {})
        except MongoStoreError:
            yield _event("away", {})


def _of_change(request: Request, change: Any, path: str) -> tuple[str, dict[str, Any]]:
    if change.kind in (ChangeKind.APPEND, ChangeKind.UPDATE) and change.message is not None:
        items = session_items([change.message], path)
        return ("put", _put(request, items[0], "item.html")) if items else ("skip", {})
    if change.kind is ChangeKind.DELETE:
        return "drop", {"id": f"m{change.position}"}
    return ("close" if change.kind is ChangeKind.CLOSE else "reset"), {}


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
    try:
        watching: Any = studio.store.rooms.events.watch(room_id, after=max(after, -1))
        async with aclosing(watching) as events:
            async for event in events:
                [entry] = timeline([event], participants, path)
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
