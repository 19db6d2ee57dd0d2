"""Messages as their documents hold them, whether they can be read as messages or not."""

from __future__ import annotations

from mongostore.documents.mapping import StoredDocument
from mongostore.errors import NotFoundError
from mongostore.repositories.sessions.limits import MAX_SEGMENT_MESSAGES
from mongostore.repositories.sessions.tail import Tail, messages_of, messages_start


async def get_stored_message(tail: Tail, key: str, position: int) -> StoredDocument:
    """Return the message at a position of a session."""
    document = await tail.read(key)
    holder: StoredDocument | None = document
    if position < document["tail_start"]:
        holder = await tail.segments.find_one(
            {
                "session": key,
                "epoch": document["epoch"],
                "start": {"$gt": position - MAX_SEGMENT_MESSAGES, "$lte": position},
                "end": {"$gt": position},
            }
        )
    stored = None
    if holder is not None and position >= messages_start(holder):
        stored = dict(messages_of(holder)).get(position)
    if stored is None or stored.get("id") in document["pending_deletes"]:
        raise NotFoundError("message", str(position))
    return stored
