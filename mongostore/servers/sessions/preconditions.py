"""Preconditions: a session's revision is its ETag, and an If-Match binds a change to one of them."""

from __future__ import annotations

import re

from fastapi import Header

from mongostore.models import Session
from mongostore.servers.error_responses import ProblemError

NO_MATCH = "The session has changed since that ETag: get it again"
_TAG = re.compile(r'(W/)?"([^"]*)"')


async def if_match_header(
    if_match: str | None = Header(None, description="The ETag that the session must still have."),
) -> None:
    """Declare the header, which an operation looks at when it knows the session."""


def etag_of(session: Session) -> str:
    """Return the ETag of a session."""
    return f'"{session.revision}"'


def revision_from_if_match(if_match: str | None, session: Session) -> int | None:
    """Return the revision that an If-Match header binds a change to; None for any.

    Args:
        if_match: The header's value.
        session: The session as it is.

    Raises:
        ProblemError: If the header names other revisions only (412).
    """
    if if_match is None or if_match.strip() == "*":
        return None
    # A weak tag stands for content that is alike, which is not enough to change it.
    tags = {f'"{tag}"' for weak, tag in _TAG.findall(if_match) if not weak}
    if etag_of(session) not in tags:
        raise ProblemError(412, NO_MATCH)
    return session.revision
