"""The pages of a thread."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.models import Element, Page, Thread, ThreadMessage
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.files import image_response
from mongostore.servers.studio.frame import page_response
from mongostore.servers.studio.rows import thread_row
from mongostore.servers.studio.steps import Turn, seconds_of, thread_turns, waterfall
from mongostore.servers.studio.views import InThread
from mongostore.store import AsyncMongoStore

# Messages and steps together: an answer has many of them.
PAGE = 200
_ELEMENTS = 500

router: Final = APIRouter()


@router.get("/t/{thread_id}")
async def thread_page(
    request: Request, view: InThread, at: str | None = None, before: str | None = None
) -> Response:
    """Show a thread's messages: the newest, those from one on, or those before one."""
    threads, path = view.store.threads, view.path
    thread, page, elements, around = await asyncio.gather(
        threads.get(view.id),
        read_page(view.store, view.id, at, before),
        threads.elements.list(view.id, limit=_ELEMENTS),
        view.frame(request),
    )
    turns = turns_of(thread, page, elements.items, at)
    selected = next((message for message in page if message.id == at), None)
    return await page_response(
        request,
        "thread.html",
        around,
        thread=thread,
        turns=turns,
        steps=sum(len(turn.steps) for turn in turns),
        errors=page.errors,
        elements=elements.items,
        selected=selected,
        took=None if selected is None else seconds_of(selected),
        parents={message.id: message for message in page},
        older=page.items[0].id if page.items and page.next_cursor is not None else None,
        feedback=[turn for turn in turns if turn.feedback],
        live_path=path if page.next_cursor is None else "",
        polls=True,
    )


def turns_of(
    thread: Thread, page: Page[ThreadMessage], elements: list[Element], at: str | None
) -> list[Turn]:
    """Return the transcript of a page of a thread."""
    is_whole = page.next_cursor is None
    return thread_turns(page.items, elements, thread_row(thread).path, at=at, first=1 if is_whole else None)


async def read_page(
    store: AsyncMongoStore, thread_id: str, at: str | None, before: str | None
) -> Page[ThreadMessage]:
    """Return a page of messages in order: the newest, those from one on, or those before one."""
    messages = store.threads.messages
    cursor = None
    if before is not None:
        cursor = messages.cursor_of(await messages.get(thread_id, before))
    page = await messages.list(thread_id, newest=True, limit=PAGE, cursor=cursor)
    if at is not None and page.next_cursor is not None and all(message.id != at for message in page):
        found = await messages.get(thread_id, at)
        following = await messages.list(thread_id, limit=PAGE // 2, cursor=messages.cursor_of(found))
        return Page([found, *following.items], "older", following.errors)
    return page


@router.get("/t/{thread_id}/messages/{message_id}/images/{number}")
async def message_image(view: InThread, message_id: str, number: int) -> Response:
    """Return an image that stands inside of a message."""
    message = await view.store.threads.messages.get(view.id, decode_id(message_id))
    return image_response(message.content, message.data, number, f"{message_id}-{number}")


@router.get("/t/{thread_id}/{part}")
async def thread_part(request: Request, view: InThread, part: str) -> Response:
    """Show the steps, the elements or the feedback of a thread."""
    if part not in ("steps", "elements", "feedback"):
        raise ProblemError(404)
    threads = view.store.threads
    thread, page, elements, around = await asyncio.gather(
        threads.get(view.id),
        read_page(view.store, view.id, None, None),
        threads.elements.list(view.id, limit=_ELEMENTS),
        view.frame(request),
    )
    return await page_response(
        request,
        "thread_part.html",
        around,
        thread=thread,
        part=part,
        all_steps=waterfall(page.items, {message.id: message for message in page}),
        elements=elements.items,
        turns=turns_of(thread, page, elements.items, None),
    )
