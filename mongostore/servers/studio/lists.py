"""The first page, and the list of conversations beside every page."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.rows import KINDS, list_conversations

router: Final = APIRouter()


@router.get("/list")
async def conversations(
    request: Request,
    viewer: Looking,
    kind: str | None = None,
    namespace: str | None = None,
    user: str | None = None,
    q: str | None = None,
    cursor: str | None = None,
    fragment: bool = False,
    palette: bool = False,
) -> Response:
    """Show a page of conversations by newest activity."""
    studio = Studio.of(request)
    kind = kind if kind in KINDS else None
    rows = await list_conversations(
        studio.store,
        viewer,
        kind=kind,
        namespace=namespace or None,
        user=user or None,
        text=q or None,
        cursor=cursor,
        limit=8 if palette else 50,
    )
    members = {"kind": kind, "namespace": namespace, "user": user, "q": q}
    filters = urlencode({name: value for name, value in members.items() if value})
    around = {} if fragment else await frame(studio, viewer, request)
    template = "rows.html" if fragment else "list.html"
    return await page_response(
        request,
        template,
        around,
        rows=rows,
        kind=kind,
        of_namespace=namespace,
        user=user,
        q=q,
        first_day="",
        more=f"/list?{filters}&" if filters else "/list?",
    )
