"""The votes on answers, with question, answer and comment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.errors import InvalidDocumentError
from mongostore.models import Feedback, ThreadMessage
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.addresses import encode_id
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.markdown import excerpt
from mongostore.servers.studio.overview import liked, vote_chart
from mongostore.servers.studio.search import text_of
from mongostore.store import AsyncMongoStore

_PAGE = 25
# A question is not further from its answer.
_BEFORE = 20
_VALUES = {"down": 0, "up": 1}
_DAYS = 30

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
    request: Request, viewer: Looking, value: str | None = None, cursor: str | None = None
) -> Response:
    """Show feedback, that on the newest messages first."""
    viewer.require()
    studio = Studio.of(request)
    page, around = await asyncio.gather(
        studio.store.threads.feedback.list(value=_VALUES.get(value or ""), limit=_PAGE, cursor=cursor),
        frame(studio, viewer, request),
    )
    votes = await asyncio.gather(*(_about(studio.store, one) for one in page))
    return await page_response(
        request, "feedback.html", around, votes=votes, page=page, value=value, current="/feedback"
    )


@router.get("/feedback/votes")
async def votes_by_day(request: Request, viewer: Looking) -> Response:
    """Show how many votes there were each day, as a part of the page of feedback."""
    viewer.require()
    studio = Studio.of(request)
    found = (await studio.counter.count(studio, _DAYS)).statistics
    chart = vote_chart([[day] for day in found.days], width=1030)
    return await page_response(request, "votes.html", {}, votes=chart, liked=liked(found), days=_DAYS)


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
    asked = next((excerpt(text_of(one.content)) for one in reversed(before.items) if _is_users(one)), "")
    return Vote(feedback, message, asked, excerpt(text_of(message.content)), f"{path}?at={message.id}")


def _is_users(message: ThreadMessage) -> bool:
    return message.data.get("type") == "user_message" or message.data.get("role") == "user"
