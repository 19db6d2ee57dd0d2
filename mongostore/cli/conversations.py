"""The conversations of all houses in one shape, for commands that look at them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from mongostore.arguments import decode_cursor, encode_cursor
from mongostore.errors import ConflictError, InvalidDocumentError, InvalidValueError, NotFoundError
from mongostore.models import Event, Message, Page, Room, Session, Thread, ThreadMessage
from mongostore.store import AsyncMongoStore

_OLD = datetime.min.replace(tzinfo=UTC)
_MOST_PAGES = 200
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class House(StrEnum):
    """The kind of conversation."""

    SESSIONS = "sessions"
    THREADS = "threads"
    ROOMS = "rooms"


Head = Session | Thread | Room
Part = Message | ThreadMessage | Event


@dataclass(frozen=True)
class Conversation:
    """A session, thread or room.

    Attributes:
        head: The conversation without its messages.
    """

    house: House
    head: Head

    @property
    def active_at(self) -> datetime:
        """The time of its newest activity."""
        if isinstance(self.head, Room):
            return self.head.active_at or self.head.created_at or _OLD
        return self.head.active_at

    @property
    def listed_at(self) -> datetime:
        """The time by which a list has it, of a room the second of that."""
        return self.active_at.replace(microsecond=0) if isinstance(self.head, Room) else self.active_at

    @property
    def name(self) -> str:
        """The name, empty if it has none."""
        name = self.head.name
        if isinstance(self.head, Room):
            name = name or self.head.data.get("name")
        return name if isinstance(name, str) else ""

    @property
    def namespace(self) -> str:
        """The namespace of a session; else empty."""
        return self.head.namespace if isinstance(self.head, Session) else ""

    @property
    def person(self) -> str:
        """The user, or the organization of a room; empty if there is none."""
        if isinstance(self.head, Room):
            return self.head.organization_id or ""
        if isinstance(self.head, Thread):
            return self.head.user_identifier or self.head.user_id or self.head.owner_id or ""
        return self.head.user_id or ""

    @property
    def count(self) -> int | None:
        """The number of messages or events; None where it is not stored with the conversation."""
        if isinstance(self.head, Thread):
            return None
        return self.head.count if isinstance(self.head, Session) else self.head.event_count

    @property
    def last(self) -> str:
        """The beginning of the newest message of a session; else what is known of the state."""
        if isinstance(self.head, Session):
            return self.head.last.text if self.head.last else ""
        return self.head.status if isinstance(self.head, Room) else " ".join(self.head.tags)

    def to_json(self) -> dict[str, Any]:
        """Return the members, with those times and values that JSON has."""
        return {"house": self.house.value, **self.head.model_dump()}


async def list_conversations(
    store: AsyncMongoStore,
    houses: Sequence[House],
    namespace: str | None,
    filter: Mapping[str, Any],
    limit: int,
    cursor: str | None,
) -> Page[Conversation]:
    """Return a page over several houses and one namespace or all, the most recently active first."""
    cursors = _decode(cursor, houses)
    page: Page[Conversation] = Page([])
    pages = {}
    for house, after in cursors.items():
        pages[house] = await _list(store, house, namespace, filter, limit, after)
        page.errors += pages[house].errors
    found = [Conversation(house, head) for house, each in pages.items() for head in each.items]
    found.sort(key=lambda one: one.listed_at, reverse=True)
    page.items.extend(found[:limit])
    rest: dict[str, str | None] = {}
    for house, each in pages.items():
        taken = [one for one in page.items if one.house is house]
        if len(taken) < len(each.items):
            rest[house] = _cursor_of(store, taken[-1].head) if taken else cursors[house]
        elif each.next_cursor:
            rest[house] = each.next_cursor
    return Page(page.items, encode_cursor([rest]) if rest else None, page.errors)


def _decode(cursor: str | None, houses: Sequence[House]) -> dict[House, str | None]:
    if cursor is None:
        return dict.fromkeys(houses)
    match decode_cursor(cursor):
        case [dict() as cursors] if cursors and all(
            house in houses and (after is None or isinstance(after, str)) for house, after in cursors.items()
        ):
            return {House(house): after for house, after in cursors.items()}
    raise InvalidValueError("cursor", "is not one that a page of these houses gave")


async def _list(
    store: AsyncMongoStore,
    house: House,
    namespace: str | None,
    filter: Mapping[str, Any],
    limit: int,
    cursor: str | None,
) -> Page[Any]:
    sessions = store.sessions
    lists: dict[House, Any] = {
        House.SESSIONS: sessions.in_namespace(namespace).list
        if namespace
        else sessions.namespaces.list_sessions,
        House.THREADS: store.threads.list,
        House.ROOMS: store.rooms.list,
    }
    page: Page[Any] = Page([], cursor)
    # A page of a search may be short while others follow.
    for _ in range(_MOST_PAGES):
        options = {"limit": limit - len(page.items), "cursor": page.next_cursor, "newest": True, **filter}
        more = await lists[house](**options)
        page = Page([*page.items, *more.items], more.next_cursor, [*page.errors, *more.errors])
        if page.next_cursor is None or len(page.items) >= limit:
            break
    return page


def _cursor_of(store: AsyncMongoStore, head: Head) -> str:
    if isinstance(head, Session):
        return store.sessions.cursor_of(head)
    return store.threads.cursor_of(head) if isinstance(head, Thread) else store.rooms.cursor_of(head)


async def find_conversation(
    store: AsyncMongoStore, id: str, house: House | None, namespace: str | None
) -> Conversation:
    """Return the conversation of an id, in any house.

    Args:
        store: An open store.
        id: The id.
        house: The house; None for all.
        namespace: The namespace of a session; None for all, `default` first.
    """
    found: list[Conversation] = []
    if house in (None, House.SESSIONS):
        found += [Conversation(House.SESSIONS, one) for one in await _find_sessions(store, id, namespace)]
    if house in (None, House.THREADS) and (thread := await store.threads.find(id)):
        found.append(Conversation(House.THREADS, thread))
    if house in (None, House.ROOMS) and (room := await store.rooms.find(id)):
        found.append(Conversation(House.ROOMS, room))
    if not found:
        kind = house.value.removesuffix("s") if house else "conversation"
        raise NotFoundError(f"{kind} of the database {store.engine.database.name!r}", id)
    if len(found) > 1:
        options = [
            f"--namespace {one.head.namespace}" if isinstance(one.head, Session) else f"--house {one.house}"
            for one in found
        ]
        raise ConflictError(f"several conversations have the id {id!r}: add {' or '.join(options)}")
    return found[0]


async def _find_sessions(store: AsyncMongoStore, id: str, namespace: str | None) -> list[Session]:
    if namespace is not None:
        session = await store.sessions.in_namespace(namespace).find(id)
        return [session] if session else []
    return [session async for session in store.sessions.namespaces.iter_sessions(id)]


async def iter_parts(
    store: AsyncMongoStore,
    conversation: Conversation,
    limit: int,
    errors: list[InvalidDocumentError],
) -> AsyncIterator[Part]:
    """Yield the newest messages or events of a conversation in reading order; all if `limit` is 0."""
    id = conversation.head.id
    if limit:
        for part in reversed(await _newest(store, conversation, limit, errors)):
            yield part
    elif isinstance(conversation.head, Session):
        sessions = store.sessions.in_namespace(conversation.head.namespace)
        async for message in sessions.messages.iter(id, errors=errors):
            yield message
    elif isinstance(conversation.head, Thread):
        async for step in store.threads.messages.iter(id, errors=errors):
            yield step
        # They end without a word when their thread is deleted.
        if (await store.threads.get(id)).created_at != conversation.head.created_at:
            raise NotFoundError("thread", id)
    else:
        async for event in store.rooms.events.iter(id, errors=errors, blocked=True):
            yield event


async def _newest(
    store: AsyncMongoStore, conversation: Conversation, limit: int, errors: list[InvalidDocumentError]
) -> list[Part]:
    """Return the newest messages or events, the newest first."""
    parts: list[Part] = []
    cursor: str | None = None
    while len(parts) < limit:
        page = await list_parts(
            store, conversation, newest=True, limit=min(limit - len(parts), 1000), cursor=cursor
        )
        parts += reversed(page.items)
        errors += page.errors
        cursor = page.next_cursor
        if cursor is None:
            break
    return parts


async def list_parts(store: AsyncMongoStore, conversation: Conversation, **options: Any) -> Page[Any]:
    """Return a page of the messages or events of a conversation."""
    head = conversation.head
    if isinstance(head, Session):
        return await store.sessions.in_namespace(head.namespace).messages.list(head.id, **options)
    if isinstance(head, Thread):
        return await store.threads.messages.list(head.id, **options)
    return await store.rooms.events.list(head.id, blocked=True, **options)


def speaker_of(part: Part) -> str:
    """Return the name of the one who speaks."""
    if isinstance(part, Event):
        return part.participant_id or part.channel_id
    name = part.data.get("name") or part.data.get("role")
    if isinstance(name, str):
        return name
    return part.role if isinstance(part, Message) else str(part.data.get("type") or part.kind or "message")


def role_of(part: Part) -> str:
    """Return the role that OpenAI's chat form has for the one who speaks."""
    if isinstance(part, Message):
        return part.role
    if isinstance(part, Event):
        return "tool" if part.type.startswith("tool") else "user"
    if isinstance(role := part.data.get("role"), str):
        return role
    return {"user_message": "user", "tool": "tool", "system_message": "system"}.get(
        str(part.data.get("type")), "assistant"
    )


def text_of(value: Any) -> str:
    """Return what a person reads of a content: its texts, and the kinds of its other parts in brackets."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    if isinstance(value, dict):
        for name in ("text", "body", "content", "output", "parts"):
            if isinstance(value.get(name), str | list):
                return text_of(value[name])
        return f"[{value['type']}]" if isinstance(value.get("type"), str) else "[data]"
    return str(value)


def parse_time(text: str) -> datetime:
    """Return a time that is written as ISO 8601, in UTC if it names no zone, or as an age such as `90d`."""
    if age := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValueError("time", "must be such as 2026-07-04, 2026-07-04T12:00Z or 90d") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
