"""The messages of any conversation, as a search reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from mongostore.errors import InvalidDocumentError
from mongostore.models import Event, Message, ThreadMessage
from mongostore.repositories.search.texts import texts_in
from mongostore.servers.studio.addresses import decode_id, path_to
from mongostore.servers.studio.rows import Row
from mongostore.servers.studio.transcript import name_in
from mongostore.store import AsyncMongoStore

_PAGE = 100


@dataclass(frozen=True)
class Entry:
    """A message of any conversation, as a search reads it.

    Attributes:
        label: Its position, if it has one.
        name: The one who speaks.
    """

    label: str
    role: str
    name: str
    path: str
    part: Message | ThreadMessage | Event

    @property
    def at(self) -> datetime | None:
        """When it was stored."""
        return self.part.created_at

    def texts(self) -> list[str]:
        """Return all texts in it."""
        return [*texts_in(self.part.content), *texts_in(self.part.data)]


async def newest_entries(
    store: AsyncMongoStore, row: Row, most: int | None, errors: list[InvalidDocumentError]
) -> AsyncIterator[Entry]:
    """Yield so many messages of a conversation, the newest of them first; all if that is None.

    The errors of those that cannot be read are added to a list.
    """
    ids, cursor = [decode_id(part) for part in row.path.split("/")[2:]], None
    parts: Any = store.rooms.events
    entry_of: Callable[[str, Any], Entry] = _room_entry
    if row.kind == "session":
        parts, entry_of = store.sessions.in_namespace(ids[0]).messages, _session_entry
    elif row.kind == "thread":
        parts, entry_of = store.threads.messages, _thread_entry
    for _ in count() if most is None else range(0, most, _PAGE):
        page = await parts.list(ids[-1], newest=True, limit=_PAGE, cursor=cursor)
        errors += page.errors
        for part in reversed(page.items):
            yield entry_of(row.path, part)
        cursor = page.next_cursor
        if cursor is None:
            return


def _session_entry(path: str, message: Message) -> Entry:
    return Entry(
        str(message.position),
        message.role,
        name_in(message.role, message.data, message.metadata),
        f"{path}?at={message.position}#m{message.position}",
        message,
    )


def _thread_entry(path: str, message: ThreadMessage) -> Entry:
    role = str(message.data.get("type") or message.data.get("role") or "").removesuffix("_message")
    name = name_in("message", message.data)
    return Entry("", role, name, path_to(path, message.id), message)


def _room_entry(path: str, event: Event) -> Entry:
    name = f"{event.channel_id}, {event.participant_id or event.type}"
    path_there = f"{path}?at={event.index}#e{event.index}"
    return Entry(str(event.index), event.type, name, path_there, event)
