"""The newest operations on a document, by which a retry recognizes what an earlier attempt has done.

Between an attempt whose answer was lost and the next one other callers may change, remove or replace what the
first one wrote, so the values do not answer that. Each write therefore records its operation token in the
same statement, and a write that removes messages records the tokens of those who had appended them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from mongostore.documents.mapping import StoredDocument
from mongostore.repositories import current_operation
from mongostore.repositories.operation import newest_life

# So many writes of one document may come between an attempt and its retry.
_REMEMBERED = 32


def operation_token() -> str:
    """Return the token of the current operation, the same one at each attempt."""
    return current_operation().token[:16]


def record_operation(
    removed: Iterable[StoredDocument | None] = (), token: str | None = None
) -> StoredDocument:
    """Return the `$push` of an update that records the current operation.

    Args:
        removed: The messages that the update removes, the oldest first.
        token: The token of the operation, if another one's work is finished.
    """
    appended = dict.fromkeys(message.get("op", message["id"]) for message in removed if message)
    tokens = [*[*appended][-_REMEMBERED // 2 :], token or operation_token()]
    return {"recent_ops": {"$each": tokens, "$slice": -_REMEMBERED}}


def life_since(span: timedelta) -> str:
    """Return what the tokens of the sessions are greater than that were created in a time before now."""
    return f"{current_operation().now - span // timedelta(microseconds=1):016x}"


def not_later() -> StoredDocument:
    """Return the filter of a session that was there when the current operation began.

    One that was created since is not the one that an earlier attempt may have changed.
    """
    call = current_operation()
    call.memory.setdefault("written", call.attempt)
    return {"create_op": {"$not": {"$gt": newest_life()}}} if _knows_lives() else {}


def is_later(session: StoredDocument) -> bool:
    """Return whether a session was created since the current operation began, which has written before."""
    return _knows_lives() and session["create_op"] > newest_life()


def not_done() -> StoredDocument:
    """Return the filter of a document that the current operation has not changed yet, nor one made anew."""
    return {"recent_ops": {"$ne": operation_token()}, **not_later()}


def was_done(document: StoredDocument) -> bool:
    """Return whether an earlier attempt of the current operation has changed a document."""
    return operation_token() in document.get("recent_ops", ())


def were_appended(document: StoredDocument, message_ids: Iterable[str]) -> bool:
    """Return whether an earlier attempt of the current operation has appended messages, removed since.

    Args:
        document: The session's.
        message_ids: Those of the messages whose ids nothing else has ever had.
    """
    return not {operation_token(), *message_ids}.isdisjoint(document.get("recent_ops", ()))


def _knows_lives() -> bool:
    call = current_operation()
    # A call that may create its session means any one of that id.
    return call.memory.get("written", call.attempt) < call.attempt and "may_create" not in call.memory
