"""Search over all conversations: those that the store finds, with the newest of their messages that fit."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from starlette.responses import Response

from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.repositories.search.words import Terms
from mongostore.servers.studio import charts
from mongostore.servers.studio.access import Looking, Viewer
from mongostore.servers.studio.entries import Entry, newest_entries
from mongostore.servers.studio.export import file_response, line_of, to_line
from mongostore.servers.studio.formats import visible
from mongostore.servers.studio.frame import Studio, frame, page_response
from mongostore.servers.studio.rows import KINDS, Row, Rows, list_conversations
from mongostore.store import AsyncMongoStore

# A search whose words are in few of the conversations that have one of them ends after so long.
_SECONDS = 2.0
_HITS = 20
_AT_ONCE = 8
# So many of the newest messages of a conversation are looked at for excerpts.
_LOOKED_AT = 1_000
_SNIPPETS = 4
_VALUES = 8
_MOST = 200
_KEYS = ("role", "user", "namespace", "kind", "since")
_DAYS = re.compile(r"(\d{1,4})d")
# A chart of the times has so many columns at the most, and as many days at least as a week.
_COLUMNS = 28
_WEEK = timedelta(days=6)
_BEFORE, _AFTER = 70, 130

router: Final = APIRouter()


@dataclass
class Query:
    """The terms of a search.

    Attributes:
        words: They are all in one message, or in the name.
        filters: The words before a colon, such as `role`.
    """

    words: str
    filters: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Query:
        """Return what a text asks for."""
        words: list[str] = []
        filters: dict[str, str] = {}
        for part in text[:_MOST].split():
            key, _, value = part.partition(":")
            if _is_filter(key, value):
                filters[key] = value
            else:
                words.append(part)
        return cls(" ".join(words), filters)

    @property
    def misread(self) -> list[str]:
        """Words that look like filters, and are none by their values."""
        return [word for word in self.words.split() if word.startswith(("kind:", "since:"))]

    @property
    def kind(self) -> str | None:
        """The only kind of conversations that is looked for; None for all."""
        return self.filters.get("kind")

    @property
    def filter_text(self) -> str:
        """The filters as they are typed."""
        return " ".join(f"{key}:{value}" for key, value in self.filters.items())

    @property
    def text(self) -> str:
        """The words, and the filters behind them."""
        return f"{self.words} {self.filter_text}".strip()

    @cached_property
    def terms(self) -> Terms | None:
        """The words as the store looks for them; None if there are none."""
        return Terms.parse(self.words)

    @cached_property
    def since(self) -> datetime | None:
        """The time before which nothing is looked for; None for all times."""
        return _moment(self.filters.get("since", ""))

    @property
    def is_of_messages(self) -> bool:
        """Whether a name alone is not enough."""
        return not self.filters.keys().isdisjoint(("role", "since"))

    def narrowed(self, key: str, value: str | None) -> str:
        """Return the text with one more filter, or without that of a key where it has it or there is none."""
        filters = {name: term for name, term in self.filters.items() if name != key}
        if value and self.filters.get(key) != value:
            filters[key] = value
        return Query(self.words, filters).text

    def finds(self, entry: Entry) -> bool:
        """Return whether a message is looked for."""
        return (
            self.filters.get("role") in (None, entry.role)
            and (self.since is None or (entry.at is not None and entry.at >= self.since))
            and self.terms is not None
            and self.terms.is_in(entry.texts())
        )

    def snippet(self, entry: Entry) -> Markup:
        """Return the text around the first word, with all of them marked."""
        texts = entry.texts()
        text = " · ".join([text for text in texts if next(self._spans(text), None)] or texts)
        plain = visible(" ".join(text.split()))
        first, _ = next(self._spans(plain), (0, 0))
        start = max(first - _BEFORE, 0)
        part = plain[start : start + _BEFORE + _AFTER]
        pieces, end = [Markup("…") if start else Markup()], 0
        for begin, stop in self._spans(part):
            pieces += [escape(part[end:begin]), Markup("<mark>{}</mark>").format(part[begin:stop])]
            end = stop
        pieces.append(escape(part[end:]))
        return Markup().join(pieces) + ("…" if start + len(part) < len(plain) else "")

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        return self.terms.spans(text) if self.terms else iter(())


@dataclass
class Snippet:
    """A message that is looked for."""

    entry: Entry
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
        cursor: Where it goes on; None if there is no more.
        seconds: How long it took.
    """

    hits: list[Hit]
    cursor: str | None
    seconds: float

    def kinds(self) -> Counter[str]:
        """Return how many of the conversations each house has."""
        return Counter(hit.row.kind for hit in self.hits)

    def facets(self) -> dict[str, list[tuple[str, int]]]:
        """Return the values of each filter that are here, and how often each is."""
        rows = [hit.row for hit in self.hits]
        found = {
            "role": Counter(one.entry.role for hit in self.hits for one in hit.snippets),
            "namespace": Counter(row.owner for row in rows if row.kind == "session"),
            "user": Counter(row.person for row in rows),
        }
        return {key: _most_frequent(counts) for key, counts in found.items()}

    def times(self) -> charts.Chart | None:
        """Return a chart of the messages by the days on which they were stored; None if there are none."""
        moments = [one.entry.at for hit in self.hits for one in hit.snippets]
        days = sorted(at.astimezone(UTC) for at in moments if at is not None)
        if not days:
            return None
        first = min(days[0], days[-1] - _WEEK).date()
        span = -(-((days[-1].date() - first).days + 1) // _COLUMNS)
        counts = Counter((day.date() - first).days // span for day in days)
        values = []
        for number in range(max(counts) + 1):
            begin = first + timedelta(days=number * span)
            last = begin + timedelta(days=span - 1)
            name = f"{begin:%-d %b}" if span == 1 else f"{begin:%-d %b} to {last:%-d %b}"
            values.append((f"{name}: {counts[number]}", f"{begin:%-d %b}", [counts[number]]))
        return charts.stacked(values, ("f1",), width=226, height=84, ticks=2)


def _most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    # A filter is one word.
    return [(value, count) for value, count in counts.most_common(_VALUES) if value.split() == [value]]


@router.get("/search")
async def search_page(
    request: Request, viewer: Looking, q: str = "", filters: str = "", cursor: str | None = None
) -> Response:
    """Show the messages that hold all words, by conversation; the last of two filters of a key counts."""
    studio = Studio.of(request)
    query = Query.parse(f"{filters} {q}")
    found, around = await asyncio.gather(
        search(studio.store, viewer, query, cursor), frame(studio, viewer, request)
    )
    return await page_response(
        request,
        "search.html",
        around,
        query=query,
        found=found,
        most=_SNIPPETS,
        # Of the conversations on another page nothing is known.
        is_all=cursor is None and found.cursor is None,
        current="/search",
    )


@router.get("/search/export")
async def search_export(request: Request, viewer: Looking, q: str = "") -> Response:
    """Send all that a search finds, in lines of JSON: each conversation, and its messages behind it."""
    query = Query.parse(q)
    lines = _lines(Studio.of(request).store, viewer, query)
    return file_response(lines, f"search {query.text}", "jsonl")


async def search(store: AsyncMongoStore, viewer: Viewer, query: Query, cursor: str | None = None) -> Found:
    """Return a page of what the store finds, the conversations that were active last first."""
    began, hits = time.monotonic(), list[Hit]()
    if query.terms is None:
        return Found([], None, 0.0)
    while True:
        rows = await _list(store, viewer, query, cursor, _HITS - len(hits))
        for start in range(0, len(rows.rows), _AT_ONCE):
            some = rows.rows[start : start + _AT_ONCE]
            found = await asyncio.gather(*(_look_into(store, row, query) for row in some))
            hits += [hit for hit in found if hit is not None]
        cursor = rows.cursor
        seconds = time.monotonic() - began
        if cursor is None or len(hits) >= _HITS or seconds > _SECONDS:
            return Found(hits, cursor, seconds)


async def _list(store: AsyncMongoStore, viewer: Viewer, query: Query, cursor: str | None, limit: int) -> Rows:
    return await list_conversations(
        store,
        viewer,
        kind=query.kind,
        namespace=query.filters.get("namespace"),
        user=query.filters.get("user"),
        text=query.words,
        cursor=cursor,
        limit=limit,
    )


async def _lines(store: AsyncMongoStore, viewer: Viewer, query: Query) -> AsyncIterator[bytes]:
    cursor = None
    while query.terms is not None:
        rows = await _list(store, viewer, query, cursor, _HITS)
        for row in rows.rows:
            head = to_line(
                {"record": row.kind.title(), "path": row.path, "title": row.title, "active_at": row.at}
            )
            errors: list[InvalidDocumentError] = []
            async for entry in _found_in(store, row, query, None, errors):
                yield head + line_of(entry.part)
                head = b""
            if head and not query.is_of_messages:
                yield head
            for error in errors:
                yield to_line({"record": "unreadable", "of": error.kind, "id": error.id})
        if rows.unreadable:
            yield to_line({"record": "unreadable", "count": rows.unreadable})
        if (cursor := rows.cursor) is None:
            return


async def _look_into(store: AsyncMongoStore, row: Row, query: Query) -> Hit | None:
    """Return a conversation with messages that are looked for; None if it has none that a filter asks for."""
    hit = Hit(row)
    async for entry in _found_in(store, row, query, _LOOKED_AT, []):
        hit.snippets.append(Snippet(entry, query.snippet(entry)))
        if len(hit.snippets) == _SNIPPETS:
            break
    return hit if hit.snippets or not query.is_of_messages else None


async def _found_in(
    store: AsyncMongoStore,
    row: Row,
    query: Query,
    most: int | None,
    errors: list[InvalidDocumentError],
) -> AsyncIterator[Entry]:
    """Yield those of a conversation's newest messages that are looked for; see `newest_entries`."""
    with suppress(NotFoundError):
        async for entry in newest_entries(store, row, most, errors):
            if query.finds(entry):
                yield entry


def _is_filter(key: str, value: str) -> bool:
    if key in ("kind", "since"):
        return value in KINDS if key == "kind" else _moment(value) is not None
    return key in _KEYS and bool(value)


def _moment(text: str) -> datetime | None:
    """Return the time that is meant by so many days, such as `30d`, or by a date; None if it is none."""
    if found := _DAYS.fullmatch(text):
        return datetime.now(UTC) - timedelta(days=int(found[1]))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
