"""Search over all conversations: the newest first, as far as there is time, and from there on."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from starlette.responses import Response

from mongostore.errors import NotFoundError
from mongostore.servers.studio.access import Looking, Viewer
from mongostore.servers.studio.addresses import decode_id
from mongostore.servers.studio.formats import visible
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.reading import KINDS, Row, list_conversations
from mongostore.servers.studio.transcript import name_in
from mongostore.store import AsyncMongoStore

# A search that no index serves ends after so long, and says how far it has come.
_SECONDS = 2.0
_HITS = 20
_AT_ONCE = 8
_ROWS = 40
# Messages of one conversation that are looked at, the newest.
_MESSAGES = 200
_SNIPPETS = 4
_MOST = 200
_KEYS = ("role", "user", "namespace", "kind")
_BEFORE, _AFTER = 70, 130
_DATA = re.compile(r"data:[\w.+/;=-]{0,100},")

router: Final = APIRouter()


@dataclass
class Query:
    """The terms of a search.

    Attributes:
        words: All of them are in a message, in any case.
        filters: The words before a colon, such as `role`.
    """

    text: str
    words: list[str]
    filters: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Query:
        """Return what a text asks for."""
        words: list[str] = []
        filters: dict[str, str] = {}
        for part in text[:_MOST].split():
            key, colon, value = part.partition(":")
            if colon and value and key in _KEYS:
                filters[key] = value
            else:
                words.append(part.casefold())
        return cls(text[:_MOST], words, filters)

    def finds(self, text: str, role: str) -> bool:
        """Return whether a message is looked for."""
        if self.filters.get("role") not in (None, role):
            return False
        folded = text.casefold()
        return bool(self.words) and all(word in folded for word in self.words)

    def snippet(self, text: str) -> Markup:
        """Return what is around the first word, with all of them marked."""
        pattern = re.compile("|".join(re.escape(visible(word)) for word in self.words), re.IGNORECASE)
        shown = visible(" ".join(text.split()))
        first = pattern.search(shown)
        start = max((first.start() if first else 0) - _BEFORE, 0)
        part = shown[start : start + _BEFORE + _AFTER]
        pieces, end = [Markup("…") if start else Markup()], 0
        for found in pattern.finditer(part):
            pieces += [escape(part[end : found.start()]), Markup("<mark>{}</mark>").format(found[0])]
            end = found.end()
        pieces.append(escape(part[end:]))
        return Markup().join(pieces) + ("…" if start + len(part) < len(shown) else "")


@dataclass
class Snippet:
    """A message that is looked for."""

    label: str
    role: str
    path: str
    html: Markup


@dataclass
class Hit:
    """A conversation with messages that are looked for."""

    row: Row
    snippets: list[Snippet] = field(default_factory=list)


@dataclass
class Found:
    """The result of a search in its time.

    Attributes:
        cursor: Where it goes on; None if it has looked at all.
        looked_at: How many conversations it has looked at.
        seconds: How long it took.
    """

    hits: list[Hit]
    cursor: str | None
    looked_at: int
    seconds: float

    @property
    def messages(self) -> int:
        """How many messages there are among them."""
        return sum(len(hit.snippets) for hit in self.hits)


@router.get("/search")
async def search_page(
    request: Request, viewer: Looking, q: str = "", find: str | None = None, cursor: str | None = None
) -> Response:
    """Show the messages that hold all words, by conversation."""
    studio = Studio.of(request)
    query = Query.parse(q)
    kind = find or query.filters.get("kind")
    kind = kind if kind in KINDS else None
    found, around = await asyncio.gather(
        search(studio.store, viewer, query, kind, cursor), frame(studio, viewer, request)
    )
    return await page_response(
        request,
        "search.html",
        around,
        query=query,
        found=found,
        found_kind=kind,
        current="/search",
        asked=q[:_MOST],
    )


async def search(
    store: AsyncMongoStore, viewer: Viewer, query: Query, kind: str | None, cursor: str | None = None
) -> Found:
    """Return what is found within two seconds, beginning with the conversations that were active last.

    Raises:
        InvalidValueError: If the cursor is none.
    """
    began, hits, looked_at = time.monotonic(), list[Hit](), 0
    if not query.words:
        return Found([], None, 0, 0.0)
    while True:
        rows = await list_conversations(
            store,
            viewer,
            kind=kind,
            namespace=query.filters.get("namespace"),
            user=query.filters.get("user"),
            cursor=cursor,
            limit=_ROWS,
        )
        for start in range(0, len(rows.rows), _AT_ONCE):
            some = rows.rows[start : start + _AT_ONCE]
            found = await asyncio.gather(*(_look_into(store, row, query) for row in some))
            hits += [hit for hit in found if hit is not None]
            looked_at += len(some)
        cursor = rows.cursor
        seconds = time.monotonic() - began
        if cursor is None or len(hits) >= _HITS or seconds > _SECONDS:
            return Found(hits, cursor, looked_at, seconds)


async def _look_into(store: AsyncMongoStore, row: Row, query: Query) -> Hit | None:
    """Return a conversation with the messages in it that are looked for; None if there are none."""
    hit = Hit(row)
    try:
        messages = await _messages(store, row)
    except NotFoundError:
        return None
    for label, role, name, path, content in reversed(messages):
        text = text_of(content)
        if query.finds(text, role):
            hit.snippets.append(Snippet(label, name, path, query.snippet(text)))
            if len(hit.snippets) == _SNIPPETS:
                break
    title = row.title.casefold()
    named = "role" not in query.filters and all(word in title for word in query.words)
    return hit if hit.snippets or named else None


async def _messages(store: AsyncMongoStore, row: Row) -> Sequence[tuple[str, str, str, str, Any]]:
    ids = [decode_id(part) for part in row.path.split("/")[2:]]
    if row.kind == "session":
        sessions = store.sessions.in_namespace(ids[0])
        return [
            (
                str(message.position),
                message.role,
                name_in(message.role, message.data, message.metadata),
                f"{row.path}?at={message.position}#m{message.position}",
                message.content,
            )
            for message in await sessions.messages.list(ids[1], newest=True, limit=_MESSAGES)
        ]
    if row.kind == "thread":
        return [
            (
                "",
                str(message.data.get("type") or message.data.get("role") or "").removesuffix("_message"),
                name_in("message", message.data),
                f"{row.path}?at={message.id}",
                message.content,
            )
            for message in await store.threads.messages.list(ids[0], newest=True, limit=_MESSAGES)
        ]
    return [
        (
            str(event.index),
            event.type,
            f"{event.channel_id}, {event.participant_id or event.type}",
            f"{row.path}?at={event.index}#e{event.index}",
            event.content,
        )
        for event in await store.rooms.events.list(ids[0], newest=True, limit=_MESSAGES)
    ]


def text_of(value: Any, depth: int = 0) -> str:
    """Return all texts in a content, without files that stand in it."""
    if isinstance(value, str):
        return "" if _DATA.match(value) else value
    if depth > 8:
        return ""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return " ".join(text for part in parts if (text := text_of(part, depth + 1)))
