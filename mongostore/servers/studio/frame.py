"""The frame of every page: the studio's name, its list of conversations, its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.responses import Response

from mongostore.errors import InvalidDocumentError, MongoStoreError
from mongostore.recent import Recent
from mongostore.servers.served_store import ServedStore
from mongostore.servers.studio.access import Looking, StudioAccess, Viewer
from mongostore.servers.studio.pages import render
from mongostore.servers.studio.rows import KINDS, Rows, list_conversations
from mongostore.store import AsyncMongoStore

# The newest of what tails have sent, in one process.
_FRAGMENTS = 64


class Studio(ServedStore):
    """One studio: its store, and what may be done in it.

    Args:
        store: As `ServedStore` takes it.
        token: As `StudioAccess` takes it.
        allow_erase: Whether people can be erased here, and conversations deleted for good.
        counter: Counts what the overview shows.
    """

    def __init__(
        self, store: AsyncMongoStore | None, token: str | None, *, allow_erase: bool, counter: Any
    ) -> None:
        super().__init__(store)
        self.access: StudioAccess = StudioAccess(self.store, token)
        self.allow_erase: bool = allow_erase
        self.counter: Any = counter
        self.fragments: Recent[bytes, str] = Recent(_FRAGMENTS)

    @classmethod
    def of(cls, request: Request) -> Studio:
        """Return the studio that answers a request."""
        studio: Studio = request.app.state.studio
        return studio

    @property
    def database(self) -> str:
        """The name of the database."""
        if urlsplit(self.store.address).scheme == "mongomock":
            return "in memory"
        # Only the open engine knows it: an address need not name it.
        return self.store.engine.database.name if self.store.is_open else ""

    @property
    def host(self) -> str:
        """Where the database is."""
        address = urlsplit(self.store.address)
        if address.scheme == "mongod":
            return "this machine"
        return address.netloc.rpartition("@")[2] or "this process"

    @property
    def location(self) -> str:
        """Where conversations are, in words."""
        if self.store.engine.is_shared:
            return f"{self.database} on {self.host}"
        return "in the memory of this process"


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
