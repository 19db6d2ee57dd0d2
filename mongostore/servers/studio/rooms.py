"""The pages of a room."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mongostore.models import Event, Page
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.files import image_response
from mongostore.servers.studio.frame import page_response
from mongostore.servers.studio.rows import room_title
from mongostore.servers.studio.timeline import lanes, timeline
from mongostore.servers.studio.views import InRoom
from mongostore.store import AsyncMongoStore

PAGE = 50
_MARKERS = 100

router: Final = APIRouter()
Index = Annotated[int | None, Query(ge=0)]


@router.get("/r/{room_id}")
async def room_page(
    request: Request,
    view: InRoom,
    at: Index = None,
    before: Index = None,
    after: Index = None,
    channel: str | None = None,
) -> Response:
    """Show a room's events: the newest, those around an index, or those before or after one."""
    rooms, room_id, path = view.store.rooms, view.id, view.path
    full, page, markers, around = await asyncio.gather(
        rooms.get_full(room_id),
        _events(view.store, room_id, at, before, after, channel),
        rooms.read_markers.list(room_id, limit=_MARKERS),
        view.frame(request),
    )
    replies = await rooms.events.summarize_replies(room_id, [event.id for event in page]) if page else {}
    indexes = [event.index for event in page if event.index is not None]
    end = (full.room.latest_index if full.room.latest_index is not None else -1) + 1
    first, last = (indexes[0], indexes[-1]) if indexes else (0, end - 1)
    return await page_response(
        request,
        "room.html",
        around,
        room=full.room,
        title=room_title(full.room),
        bindings=full.bindings,
        participants=full.participants,
        entries=timeline(page.items, full.participants, path, at=at, replies=replies),
        lanes=lanes(page.items, full.bindings, {marker.channel_id: marker.index for marker in markers}),
        errors=page.errors,
        first=first,
        last=last,
        end=end,
        page_size=PAGE,
        selected=next((event for event in page if event.index == at), None) if at is not None else None,
        channel=channel,
        live_path=f"{path}/live",
    )


async def _events(
    store: AsyncMongoStore,
    room_id: str,
    at: int | None,
    before: int | None,
    after: int | None,
    channel: str | None,
) -> Page[Event]:
    filter: dict[str, Any] = {"blocked": True}
    if channel is not None:
        filter["channel_id"] = channel
    events = store.rooms.events
    if at is not None:
        return await events.list(room_id, around=at, limit=PAGE, **filter)
    if after is not None:
        return await events.list(room_id, after=after, limit=PAGE, **filter)
    return await events.list(room_id, newest=True, before=before, limit=PAGE, **filter)


@router.get("/r/{room_id}/at/{index}")
async def event_details(request: Request, view: InRoom, index: int, fragment: bool = False) -> Response:
    """Show all about one event."""
    path = view.path
    full, event = await asyncio.gather(view.store.rooms.get_full(view.id), _event(view, index))
    known: dict[str, Any] = {
        "room": full.room,
        "title": room_title(full.room),
        "path": path,
        "selected": event,
    }
    if fragment:
        return await page_response(request, "event_details.html", {}, **known)
    entries = timeline([event], full.participants, path, at=index)
    around = await view.frame(request)
    return await page_response(request, "event.html", around, entries=entries, **known)


async def _event(view: InRoom, index: int) -> Event:
    after = index - 1 if index else None
    page = await view.store.rooms.events.list(view.id, after=after, before=index + 1, limit=1, blocked=True)
    if page.errors:
        raise page.errors[0]
    if not page.items:
        raise ProblemError(404, f"The room has no event {index}")
    return page.items[0]


@router.get("/r/{room_id}/at/{index}/images/{number}")
async def event_image(view: InRoom, index: int, number: int) -> Response:
    """Return an image that stands inside of an event."""
    event = await _event(view, index)
    return image_response(event.content, {}, number, f"{index}-{number}")


@router.get("/r/{room_id}/{part}")
async def room_part(request: Request, view: InRoom, part: str) -> Response:
    """Show the people and channels of a room, its tasks or its observations."""
    rooms, room_id = view.store.rooms, view.id
    full = await rooms.get_full(room_id)
    known: dict[str, Any] = {"tasks": [], "observations": []}
    match part:
        case "people":
            known["markers"] = await rooms.read_markers.list(room_id, limit=_MARKERS)
        case "tasks":
            known["tasks"] = await rooms.tasks.list(room_id, limit=200)
        case "observations":
            known["observations"] = await rooms.observations.list(room_id, limit=200)
        case _:
            raise ProblemError(404)
    return await page_response(
        request,
        "room_part.html",
        await view.frame(request),
        room=full.room,
        title=room_title(full.room),
        bindings=full.bindings,
        participants=full.participants,
        part=part,
        **known,
    )
