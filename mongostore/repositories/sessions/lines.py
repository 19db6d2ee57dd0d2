"""The lines of a session whose messages branch: which of them lead to a message.

A line is a conversation of the session, named after its first message. The session's metadata have each of
them under `branches`: None, or the line that it leaves and the position of the message that it continues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mongostore.codec import decode
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import NotFoundError
from mongostore.repositories.sessions.tail import Positioned, Tail, TailPosition, messages_of

# Conversations, each with the last position of its messages that count.
Lines = Mapping[str, int]
# Returns the id of a message of the session in a document, None for none.
HeadOf = Callable[[StoredDocument], str | None]
_LAST_POSITION = 2**63 - 1

BRANCHES = "branches"


def branches_of(document: StoredDocument) -> dict[str, Any]:
    """Return the lines of a session, each with what it leaves."""
    return dict(decode(document["metadata"].get(BRANCHES, {})))


def lines_to(document: StoredDocument, message: Positioned) -> Lines:
    """Return the lines that lead to a message of a session."""
    branches, line = branches_of(document), message[1]["conversation_id"]
    lines = {line: message[0]}
    while (left := branches.get(line)) and left[0] not in lines:
        line = left[0]
        lines[line] = left[1]
    return lines


def is_tip(document: StoredDocument, message: Positioned) -> bool:
    """Return whether a message is the newest of its line, as far as the session's document has it."""
    line = message[1]["conversation_id"]
    newest = [one for one in messages_of(document) if one[1]["conversation_id"] == line]
    return bool(newest) and newest[-1][0] == message[0]


async def find_message(tail: Tail, document: StoredDocument, message_id: str) -> Positioned | None:
    """Return a message of the session of that document, with its position; None if there is none."""
    found = [one for one in messages_of(document) if one[1]["id"] == message_id]
    if not found and message_id not in document["pending_deletes"]:
        position = TailPosition(document["epoch"], document["tail_start"])
        found = await tail.find_in_segments(document["_id"], position, [message_id])
    return found[0] if found else None


async def get_message(tail: Tail, document: StoredDocument, message_id: str) -> Positioned:
    """Return a message of the session of that document, with its position."""
    found = await find_message(tail, document, message_id)
    if found is None:
        raise NotFoundError("message", message_id)
    return found


async def find_lines(
    tail: Tail, document: StoredDocument, conversation_id: str | None, head_of: HeadOf | None
) -> Lines | None:
    """Return the lines of a conversation, or those that lead to a message; None for all lines."""
    if head_of is None:
        return None if conversation_id is None else {conversation_id: _LAST_POSITION}
    head = head_of(document)
    return {} if head is None else lines_to(document, await get_message(tail, document, head))
