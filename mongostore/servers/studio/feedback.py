"""The votes on answers, with question, answer and comment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.errors import InvalidDocumentError
from mongostore.models import Feedback, Page, ThreadMessage
from mongostore.repositories.search.texts import texts_in
from mongostore.servers.studio.access import Viewer
from mongostore.servers.studio.addresses import encode_id, path_to
from mongostore.servers.studio.export import file_response, to_line
from mongostore.servers.studio.frame import WholeStudio, frame, page_response
from mongostore.servers.studio.markdown import excerpt
from mongostore.servers.studio.overview import liked, vote_chart
from mongostore.store import AsyncMongoStore

_PAGE = 25
# A question is not further from its answer.
_BEFORE = 20
_VALUES = {"down": 0, "up": 1}
_DAYS = 30
_TAGS = 8

router: Final = APIRouter()


@dataclass(frozen=True)
class Vote:
    """A feedback with what it is about.

    Attributes:
        asked: The user's text before the answer.
        answered: The answer.
    """

    feedback: Feedback
    message: ThreadMessage | None
    asked: str
    answered: str
    path: str


@router.get("/feedback")
async def feedback_page(
    request: Request, studio: WholeStudio, value: str | None = None, cursor: str | None = None
) -> Response:
    """Show feedback, that on the newest messages first."""
    (page, votes), around = await asyncio.gather(
        _page(studio.store, value, cursor), frame(studio, Viewer(), request)
    )
    return await page_response(
        request, "feedback.html", around, votes=votes, page=page, value=value, current="/feedback"
    )


@router.get("/feedback/votes")
async def votes_by_day(request: Request, studio: WholeStudio, value: str | None = None) -> Response:
    """Show how many votes there were each day and by tag, as a part of the page of feedback."""
    found = (await studio.counter.count(studio, _DAYS)).statistics
    chart = vote_chart([[day] for day in found.days], width=690)
    wanted = _VALUES.get(value or "down", 0)
    tags = Counter({tag: votes.get(wanted, 0) for tag, votes in found.feedback_by_tag.items()})
    return await page_response(
        request,
        "votes.html",
        {},
        votes=chart,
        liked=liked(found),
        days=_DAYS,
        is_up=wanted > 0,
        tags=[(tag, count) for tag, count in tags.most_common(_TAGS) if count],
    )


@router.get("/feedback/export")
async def feedback_export(request: Request, studio: WholeStudio, value: str | None = None) -> Response:
    """Send all feedback in lines of JSON, with what was asked and answered."""
    name = f"feedback {value}" if value in _VALUES else "feedback"
    return file_response(_lines(studio.store, value), name, "jsonl")


async def _page(
    store: AsyncMongoStore, value: str | None, cursor: str | None
) -> tuple[Page[Feedback], list[Vote]]:
    page = await store.threads.feedback.list(value=_VALUES.get(value or ""), limit=_PAGE, cursor=cursor)
    return page, await asyncio.gather(*(_about(store, one) for one in page))


async def _lines(store: AsyncMongoStore, value: str | None) -> AsyncIterator[bytes]:
    cursor = None
    while True:
        page, votes = await _page(store, value, cursor)
        for vote in votes:
            members = vote.feedback.model_dump(mode="json")
            about = {"asked": vote.asked, "answered": vote.answered}
            yield to_line({"record": "Feedback", **members, **about})
        for error in page.errors:
            yield to_line({"record": "unreadable", "of": error.kind, "id": error.id})
        if (cursor := page.next_cursor) is None:
            return


async def _about(store: AsyncMongoStore, feedback: Feedback) -> Vote:
    thread_id = feedback.thread_id
    if thread_id is None:
        return Vote(feedback, None, "", "", "/feedback")
    path = f"/t/{encode_id(thread_id)}"
    try:
        message = await store.threads.messages.find(thread_id, feedback.message_id)
    except InvalidDocumentError:
        message = None
    if message is None:
        return Vote(feedback, None, "", "", path)
    cursor = store.threads.messages.cursor_of(message)
    before = await store.threads.messages.list(thread_id, newest=True, limit=_BEFORE, cursor=cursor)
    asked = next((_excerpt_of(one) for one in reversed(before.items) if _is_users(one)), "")
    return Vote(feedback, message, asked, _excerpt_of(message), path_to(path, message.id))


def _excerpt_of(message: ThreadMessage) -> str:
    return excerpt(" ".join(texts_in(message.content)))


def _is_users(message: ThreadMessage) -> bool:
    return message.data.get("type") == "user_message" or message.data.get("role") == "user"
