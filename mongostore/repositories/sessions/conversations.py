"""The conversations of sessions, summed up from all of their messages: `store.sessions.conversations`."""

from __future__ import annotations

from mongostore.arguments import check_flag, check_limit
from mongostore.codec import from_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import to_stored_message, to_stored_preview
from mongostore.models import Conversation, Message, Page, Preview
from mongostore.repositories import long_running
from mongostore.repositories.paging import SortOrder, page_of
from mongostore.repositories.sessions.storage import SessionRepository


class AsyncSessionConversations(SessionRepository):
    """The conversations of sessions: messages with the same conversation id."""

    @long_running
    async def list(
        self, session_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[Conversation]:
        """Return a page of a session's conversations, in order of beginning.

        It reads all messages of the session.

        Args:
            session_id: The session.
            newest: Whether the page begins with the conversation that began last.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If a message cannot be read.
        """
        key, limit = self._storage.key(session_id), check_limit("limit", limit)
        order = SortOrder("first", is_ascending=not check_flag("newest", newest))
        after = order.decode(cursor)
        found: dict[str, StoredDocument] = {}
        async for message in self._storage.reader.iterate(key, None, None):
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
        return page_of(groups[: limit + 1], order, limit, _conversation)


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
