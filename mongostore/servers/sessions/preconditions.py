"""Preconditions: a version is an ETag, and an If-Match binds a change to one of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import Header, Request
from starlette.responses import Response

from mongostore.codec import to_micros
from mongostore.errors import ConflictError
from mongostore.models import Message, Session
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.filters import LifeRevision
from mongostore.servers.error_responses import ProblemError

R = TypeVar("R")

NO_MATCH = "It has changed since that ETag: get it again"
_TAG = re.compile(r'(W/)?"([^"]*)"')


async def if_match_header(
    if_match: str | None = Header(None, description="The ETag that it must still have."),
) -> None:
    """Declare the header, which an operation looks at when it knows what is to be changed."""


async def if_none_match_header(
    if_none_match: str | None = Header(None, description="The ETags of versions that need not be sent."),
) -> None:
    """Declare the header, which the route looks at when it knows the answer."""


def etag_of(session: Session) -> str:
    """Return the ETag of a session: its revision, and its creation, for its id may come again."""
    return f'"{session.revision}-{to_micros("created_at", session.created_at):x}"'


def etag_of_message(message: Message) -> str:
    """Return the ETag of a message: the time of its last change."""
    return f'"{message.updated_at and message.updated_at.isoformat()}"'


def etag_of_value(value: Any) -> str:
    """Return the ETag of a JSON value: its digest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"'


def is_bound(request: Request) -> bool:
    """Return whether an If-Match header binds a request to certain versions."""
    return "if-match" in request.headers and _if_match(request).strip() != "*"


def check_match(request: Request, etag: str) -> None:
    """Check that the If-Match header of a request names this version."""
    # A weak tag stands for content that is alike, which is not enough to change it.
    if etag not in {f'"{tag}"' for weak, tag in _TAG.findall(_if_match(request)) if not weak}:
        raise ProblemError(412, NO_MATCH)


async def bound_revision(request: Request, sessions: AsyncSessions, session_id: str) -> int | None:
    """Return the revision that the session must still have; None if the request names none."""
    if not is_bound(request):
        return None
    session = await sessions.get(session_id)
    check_match(request, etag_of(session))
    return LifeRevision.of(session)


async def matched(request: Request, change: Awaitable[R]) -> R:
    """Return the result of a change that may be bound to a version."""
    try:
        return await change
    except ConflictError:
        if not is_bound(request):
            raise
        raise ProblemError(412, NO_MATCH) from None


def check_none_match(request: Request) -> None:
    """Refuse a change that an If-None-Match header binds, which the operations do not look at."""
    if request.method != "GET" and "if-none-match" in request.headers:
        raise ProblemError(400, "If-None-Match is for reading: bind a change by If-Match")


def unless_known(request: Request, response: Response) -> Response:
    """Return the answer to a request; without its body if an If-None-Match header names its version."""
    etag, header = response.headers.get("etag"), ",".join(request.headers.getlist("if-none-match"))
    is_known = header.strip() == "*" or etag in {f'"{tag}"' for _, tag in _TAG.findall(header)}
    if request.method != "GET" or etag is None or not is_known:
        return response
    return Response(status_code=304, headers={"ETag": etag})


def _if_match(request: Request) -> str:
    return ",".join(request.headers.getlist("if-match"))
