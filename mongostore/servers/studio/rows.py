"""Conversations of all three houses in one shape, newest activity first."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mongostore.errors import InvalidValueError
from mongostore.models import Page, Room, Session, Thread
from mongostore.servers.studio.access import Viewer
from mongostore.servers.studio.addresses import encode_id
from mongostore.servers.studio.markdown import excerpt
from mongostore.store import AsyncMongoStore

KINDS = ("session", "thread", "room")
PAGE = 50
_NOW = timedelta(seconds=20)


@dataclass(frozen=True)
class Row:
    """A conversation in a list.

    Attributes:
        at: When it was last active.
        order: By what the list is merged.
        path: Its address within the studio.
        owner: The namespace or the person it belongs to.
        person: The user it belongs to, or an empty text.
        deleted_at: When a session was softly deleted.
    """

    kind: str
    title: str
    preview: str
    at: datetime
    order: datetime
    path: str
    owner: str = ""
    person: str = ""
    deleted_at: datetime | None = None

    @property
    def day(self) -> str:
        """The heading under which a list shows it."""
        now = datetime.now(UTC)
        if now - self.at < _NOW:
            return "Now"
        if self.at.date() == now.date():
            return "Today"
        return f"{self.at:%A} {self.at.day} {self.at:%B}" + (
            "" if self.at.year == now.year else f" {self.at.year}"
        )


@dataclass
class Rows:
    """A page of conversations.

    Attributes:
        unreadable: How many there could not be read.
    """

    rows: list[Row]
    cursor: str | None = None
    unreadable: int = 0


@dataclass
class _Source:
    """A list that is merged with others."""

    read: Callable[[str | None, int], Awaitable[Page[Any]]]
    row: Callable[[Any], Row]
    cursor_of: Callable[[Any], str]


async def list_conversations(
    store: AsyncMongoStore,
    viewer: Viewer,
    *,
    kind: str | None = None,
    namespace: str | None = None,
    user: str | None = None,
    text: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    deleted: bool = False,
) -> Rows:
    """Return a page of conversations, merged from the lists of each house; or of softly deleted sessions."""
    kind = "session" if deleted else kind
    sources = _sources(store, viewer, kind, namespace, user, text, deleted)
    positions: dict[str, str | None] = dict.fromkeys(sources) if cursor is None else _decode(cursor)
    names = [name for name in sources if name in positions]
    pages = await asyncio.gather(*(sources[name].read(positions[name], limit) for name in names))
    read = {
        name: [(sources[name].row(item), item) for item in page]
        for name, page in zip(names, pages, strict=True)
    }
    merged = sorted(
        ((row, name) for name, rows in read.items() for row, _ in rows),
        key=lambda one: one[0].order,
        reverse=True,
    )[:limit]
    following: dict[str, str | None] = {}
    for name, page in zip(names, pages, strict=True):
        taken = sum(1 for _, source in merged if source == name)
        if taken < len(page):
            following[name] = sources[name].cursor_of(read[name][taken - 1][1]) if taken else positions[name]
        elif page.next_cursor is not None:
            following[name] = page.next_cursor
    unreadable = sum(len(page.errors) for page in pages)
    return Rows([row for row, _ in merged], _encode(following) if following else None, unreadable)


def _sources(
    store: AsyncMongoStore,
    viewer: Viewer,
    kind: str | None,
    namespace: str | None,
    user: str | None,
    text: str | None,
    deleted: bool,
) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    if kind in (None, "session") and viewer.sees_all and not namespace:
        listed = store.sessions.namespaces.list_sessions
        sources["s"] = _Source(
            lambda cursor, limit: listed(
                user_id=user, text=text, deleted=deleted, cursor=cursor, limit=limit
            ),
            session_row,
            store.sessions.cursor_of,
        )
    elif kind in (None, "session"):
        for name in _namespaces(viewer, namespace):
            sources[f"s {name}"] = _of_sessions(store, name, user, text, deleted)
    if viewer.sees_all and namespace is None:
        if kind in (None, "thread"):
            sources["t"] = _of_threads(store, user, text)
        if kind in (None, "room") and not user:
            sources["r"] = _of_rooms(store, text)
    return sources


def _namespaces(viewer: Viewer, namespace: str | None) -> list[str]:
    """Return the namespaces whose sessions are merged into one list: all that a viewer sees, or the one."""
    if namespace is None:
        return [*(viewer.namespaces or ())]
    if not viewer.sees_all:
        viewer.require(namespace)
    return [namespace]


def _of_sessions(
    store: AsyncMongoStore, namespace: str, user: str | None, text: str | None, deleted: bool
) -> _Source:
    sessions = store.sessions.in_namespace(namespace)
    return _Source(
        lambda cursor, limit: sessions.list(
            user_id=user, text=text, deleted=deleted, cursor=cursor, limit=limit
        ),
        session_row,
        sessions.cursor_of,
    )


def _of_threads(store: AsyncMongoStore, user: str | None, text: str | None) -> _Source:
    async def read(cursor: str | None, limit: int) -> Page[Thread]:
        if user is None:
            return await store.threads.list(text=text, cursor=cursor, limit=limit)
        found = await store.threads.users.find_by_identifier(user) or await store.threads.users.find(user)
        if found is None:
            return Page([])
        return await store.threads.list(user_id=found.id, text=text, cursor=cursor, limit=limit)

    return _Source(read, thread_row, store.threads.cursor_of)


def _of_rooms(store: AsyncMongoStore, text: str | None) -> _Source:
    return _Source(
        lambda cursor, limit: store.rooms.list(text=text, cursor=cursor, limit=limit),
        room_row,
        store.rooms.cursor_of,
    )


def session_row(session: Session) -> Row:
    """Return a session as lists show it."""
    last = session.last
    return Row(
        "session",
        session.name or session.id,
        excerpt(last.text if last else "") or session.description or "",
        session.active_at,
        session.active_at,
        f"/s/{encode_id(session.namespace)}/{encode_id(session.id)}",
        session.namespace,
        session.user_id or "",
        session.deleted_at,
    )


def thread_row(thread: Thread) -> Row:
    """Return a thread as lists show it."""
    person = thread.user_identifier or thread.owner_id or ""
    preview = " · ".join(part for part in (person, ", ".join(thread.tags)) if part)
    path = f"/t/{encode_id(thread.id)}"
    title, at = thread.name or thread.id, thread.active_at
    return Row("thread", title, preview, at, at, path, person, person)


def room_row(room: Room) -> Row:
    """Return a room as lists show it."""
    active = room.active_at or room.created_at or datetime.min.replace(tzinfo=UTC)
    preview = " · ".join(
        part for part in (room.status, room.organization_id, f"{room.event_count} events") if part
    )
    path = f"/r/{encode_id(room.id)}"
    return Row(
        "room",
        room_title(room),
        preview,
        active,
        # Rooms are listed by the second of their activity.
        active.replace(microsecond=0),
        path,
        room.organization_id or "",
    )


def room_title(room: Room) -> str:
    """Return what a room is called: its name, or one in its metadata or data, else its id."""
    if room.name:
        return room.name
    for members in (room.metadata, room.data):
        for name in ("name", "title", "subject"):
            if isinstance(text := members.get(name), str) and text:
                return text
    return room.id


def _encode(positions: dict[str, str | None]) -> str:
    return base64.urlsafe_b64encode(json.dumps(positions).encode()).decode().rstrip("=")


def _decode(cursor: str) -> dict[str, str | None]:
    try:
        positions = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (RecursionError, ValueError):
        positions = None
    if isinstance(positions, dict) and all(isinstance(value, str | None) for value in positions.values()):
        return positions
    raise InvalidValueError("cursor", "is not one that a page gave")
