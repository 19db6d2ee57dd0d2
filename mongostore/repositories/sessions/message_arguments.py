"""Messages and their ids as callers hand them in."""

from __future__ import annotations

from collections.abc import Sequence

from mongostore.arguments import check_id, check_list
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.session_participants import to_stored_turn
from mongostore.documents.sessions import to_stored_message
from mongostore.models import GeneratedId, Message, Turn
from mongostore.repositories import current_operation


def store_messages(messages: Sequence[Message]) -> tuple[list[StoredDocument], bool]:
    """Return the stored forms of messages, and whether all of their ids are used for the first time."""
    check_list("messages", messages)
    stored = [to_stored_message(message, current_operation().now) for message in messages]
    # Each of them is used now: only the first attempt of the first call may trust in new ids.
    return stored, sum(map(claim_fresh_id, messages)) == len(messages)


def claim_fresh_id(one: Message | Turn) -> bool:
    """Return whether the id of a message or a turn is certainly new; from now on it is not."""
    return isinstance(one.id, GeneratedId) and one.id.claim()


def store_turns(turns: Sequence[Turn]) -> tuple[list[StoredDocument], bool]:
    """Return the stored forms of turns, and whether all of their ids are used for the first time."""
    check_list("turns", turns)
    stored = [to_stored_turn(f"turns[{i}]", turn, current_operation().now) for i, turn in enumerate(turns)]
    return stored, sum(map(claim_fresh_id, turns)) == len(turns)


def check_ids(path: str, ids: Sequence[str]) -> list[str]:
    """Return ids."""
    check_list(path, ids)
    return [check_id(f"{path}[{i}]", id) for i, id in enumerate(ids)]


def seen_at(expected: Message | None) -> int | None:
    """Return when a message that must not have changed was last changed, in microseconds since 1970."""
    if expected is None:
        return None
    return to_micros("expected.updated_at", check_instance("expected", expected, Message).updated_at)
