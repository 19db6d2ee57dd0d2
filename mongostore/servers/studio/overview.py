"""The first page: how much there is, and what has happened lately."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from mongostore.engines import CollectionUsage, Deployment
from mongostore.errors import MongoStoreError
from mongostore.servers.studio.access import Looking
from mongostore.servers.studio.frame import Studio, frame, page_response

router = APIRouter()


@router.get("/")
async def overview(request: Request, viewer: Looking) -> Response:
    """Show how much is stored; of an empty store, how to begin."""
    studio = Studio.of(request)
    around = await frame(studio, viewer, request)
    rows = around["frame"].rows
    if not rows.rows and around["frame"].kind is None:
        return await page_response(request, "empty.html", around, current="/")
    usage: list[CollectionUsage] = []
    deployment: Deployment | None = None
    if viewer.sees_all:
        try:
            usage, deployment = await asyncio.gather(studio.store.usage(), studio.store.describe())
        except MongoStoreError:
            # Somebody without the right to ask still sees conversations.
            usage, deployment = [], None
    usage = sorted((one for one in usage if one.documents), key=lambda one: -one.bytes)
    return await page_response(
        request,
        "overview.html",
        around,
        current="/",
        usage=usage,
        deployment=deployment,
        recent=rows.rows[:12],
    )
