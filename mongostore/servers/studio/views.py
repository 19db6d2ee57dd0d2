"""The conversation that a request is about, as its address names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request

from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.studio.access import Looking, Viewer
from mongostore.servers.studio.addresses import decode_id, encode_id
from mongostore.servers.studio.frame import Studio, frame
from mongostore.store import AsyncMongoStore


@dataclass(frozen=True)
class View:
    """A conversation that a viewer may see.

    Attributes:
        id: Its id.
        path: Its address within the studio.
    """

    studio: Studio
    viewer: Viewer
    id: str
    path: str

    @property
    def store(self) -> AsyncMongoStore:
        """The store that it is in."""
        return self.studio.store

    async def frame(self, request: Request) -> dict[str, Any]:
        """Return what is around a page about it."""
        around = await frame(self.studio, self.viewer, request)
        return {**around, "path": self.path, "current": self.path}


@dataclass(frozen=True)
class SessionView(View):
    """A session that a viewer may see; `sessions` are those of its namespace."""

    sessions: AsyncSessions


async def _find_session(request: Request, viewer: Looking, namespace: str, session_id: str) -> SessionView:
    studio, namespace, id = Studio.of(request), decode_id(namespace), decode_id(session_id)
    viewer.require(namespace)
    path = f"/s/{encode_id(namespace)}/{encode_id(id)}"
    return SessionView(studio, viewer, id, path, studio.store.sessions.in_namespace(namespace))


async def _find_thread(request: Request, viewer: Looking, thread_id: str) -> View:
    viewer.require()
    id = decode_id(thread_id)
    return View(Studio.of(request), viewer, id, f"/t/{encode_id(id)}")


async def _find_room(request: Request, viewer: Looking, room_id: str) -> View:
    viewer.require()
    id = decode_id(room_id)
    return View(Studio.of(request), viewer, id, f"/r/{encode_id(id)}")


InSession: TypeAlias = Annotated[SessionView, Depends(_find_session)]
InThread: TypeAlias = Annotated[View, Depends(_find_thread)]
InRoom: TypeAlias = Annotated[View, Depends(_find_room)]
