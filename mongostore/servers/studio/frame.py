"""The frame of every page: the studio's name, its list of conversations, its state."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.responses import Response

from mongostore.background_tasks import BackgroundTasks
from mongostore.errors import InvalidDocumentError, MongoStoreError
from mongostore.recent import Recent
from mongostore.servers.studio.access import Looking, StudioAccess, Viewer
from mongostore.servers.studio.pages import render
from mongostore.servers.studio.rows import KINDS, Rows, list_conversations
from mongostore.store import AsyncMongoStore

# The newest of what tails have sent, in one process.
_FRAGMENTS = 64


@dataclass
class Studio:
    """One studio: its store, and what may be done in it."""

    store: AsyncMongoStore
    access: StudioAccess
    allow_erase: bool = False
    counter: Any = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    fragments: Recent[bytes, str] = field(default_factory=lambda: Recent(_FRAGMENTS))
    # What goes on when the request that needs it has gone.
    tasks: BackgroundTasks = field(default_factory=BackgroundTasks)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, request: Request) -> Studio:
        """Return the studio that answers a request."""
        studio: Studio = request.app.state.studio
        return studio

    @property
    def database(self) -> str:
        """The name of the database."""
        address = urlsplit(self.store.address)
        if address.scheme == "mongomock":
            return "in memory"
        # An address need not name it.
        return self.store.engine.database.name if self.store.is_open else address.path.strip("/")

    @property
    def host(self) -> str:
        """Where the database is."""
        return urlsplit(self.store.address).netloc.rpartition("@")[2] or "this process"

    @property
    def location(self) -> str:
        """Where conversations are, in words."""
        if self.store.engine.is_shared:
            return f"{self.database} on {self.host}"
        return "in the memory of this process"

    async def open(self) -> None:
        """Open the store, unless it is."""
        async with self._opening:
            await self.store.open()


@dataclass
class Frame:
    """The frame of a page's content."""

    studio: Studio
    viewer: Viewer
    rows: Rows
    kind: str | None


async def _whole(request: Request, viewer: Looking) -> Studio:
    viewer.require()
    return Studio.of(request)


# The studio, for those who see all of it; to others it is as if the page were not there.
WholeStudio: TypeAlias = Annotated[Studio, Depends(_whole)]


async def frame(studio: Studio, viewer: Viewer, request: Request) -> dict[str, Any]:
    """Return what is around a page; its list of conversations goes by `kind` in the address."""
    kind = request.query_params.get("kind")
    kind = kind if kind in KINDS else None
    return {"frame": Frame(studio, viewer, await list_conversations(studio.store, viewer, kind=kind), kind)}


async def bare_frame(studio: Studio) -> dict[str, Any]:
    """Return what is around a page that could not ask the store."""
    return {"frame": Frame(studio, Viewer(), Rows([]), None)}


async def page_response(
    request: Request, template: str, around: dict[str, Any], *, status: int = 200, **context: Any
) -> Response:
    """Return a page, with what a template always needs."""
    return await render(
        request, template, status=status, **{"current": "", "live_path": "", **around, **context}
    )


def describe_error(error: MongoStoreError) -> str:
    """Return the text of an error for a page: the fields of a document, and never their values."""
    if isinstance(error, InvalidDocumentError):
        fields = ", ".join(error.fields)
        return f"{error.kind} {error.id}: {fields or 'the document'} does not fit"
    return str(error)
