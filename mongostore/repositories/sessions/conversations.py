"""The conversations of a session, summed up from all of its messages."""

from __future__ import annotations

from mongostore.codec import from_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import to_stored_message, to_stored_preview
from mongostore.models import Conversation, Message, Page, Preview
from mongostore.repositories.paging import SortOrder
from mongostore.repositories.sessions.message_reader import MessageReader


async def read_conversations(
    reader: MessageReader, key: str, *, newest: bool, limit: int, cursor: str | None
) -> Page[Conversation]:
    """Return a page of the conversations of the session with that `_id`, in the order in which they began.

    Raises:
        NotFoundError: If there is no such session, or it is deleted.
        InvalidValueError: If the cursor is none that a page gave.
        InvalidDocumentError: If a message cannot be read.
    """
    order = SortOrder("first", is_ascending=not newest)
    after = order.decode(cursor)
    found: dict[str, StoredDocument] = {}
    async for message in reader.iterate(key, None, None):
        name = message.conversation_id
        group = found.setdefault(name, {"_id": name, "first": message.position, "count": 0})
        group["count"] += 1
        group["last"] = message
    groups = [*found.values()][:: -1 if newest else 1]
    if after is not None:
        keys = [order.sort_key(group) for group in groups]
        groups = [
            group
            for key_of_group, group in zip(keys, groups, strict=True)
            if (key_of_group < after if newest else key_of_group > after)
        ]
    return order.page(groups[: limit + 1], limit, _conversation)


def _conversation(group: StoredDocument) -> Conversation:
    """Return the summary of a conversation's messages."""
    last: Message = group["last"]
    preview = to_stored_preview(to_stored_message(last, 0))
    return Conversation(
        id=group["_id"],
        count=group["count"],
        first_position=group["first"],
        last_position=last.position or 0,
        last=Preview(**{**preview, "created_at": from_micros(preview["created_at"])}),
    )
