"""The stored form of the participants of sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, TypeAdapter

from mongostore.arguments import check_id, check_list
from mongostore.codec import escape_key, unescape_key
from mongostore.documents.mapping import StoredDocument, decode_document
from mongostore.errors import InvalidValueError
from mongostore.models import SessionParticipant

_PARTICIPANTS = TypeAdapter(list[SessionParticipant])


class StoredParticipant(BaseModel):
    """A participant of a session, without the insights.

    `epoch` is new whenever the turns begin anew, so that those of before can never be taken for those
    of after. `turn_count` is the number of the newest one, `kept` how many of them are still there.
    `integrated_until` is the number of the last one that an integration has covered.
    """

    bound_at: int
    epoch: str
    turn_count: int = 0
    kept: int = 0
    integrated_until: int | None = None


def to_participants(document: StoredDocument) -> list[SessionParticipant]:
    """Return the participants of a stored session as callers see them.

    Raises:
        InvalidDocumentError: If they do not fit the model.
    """
    return decode_document(
        "session",
        document,
        lambda: _PARTICIPANTS.validate_python(participant_documents(document), strict=True),
    )


def participant_documents(document: StoredDocument) -> list[StoredDocument]:
    """Return the participants of a stored session as `SessionParticipant` reads them."""
    insights = document.get("insights", {})
    return [
        {
            "id": unescape_key(name),
            "bound_at": stored["bound_at"],
            "turn_count": stored["turn_count"],
            "insights": insights.get(name, []),
            "integrated_until": stored["integrated_until"],
        }
        for name, stored in document.get("participants", {}).items()
    ]


def bind_all(participants: Sequence[str], at: int, token: str) -> StoredDocument:
    """Return the participants of a new session in their stored form, bound at a time by a call.

    Raises:
        InvalidValueError: If they are no list of ids, or hold one twice.
    """
    check_list("participants", participants)
    names = [escape_key(check_id(f"participants[{i}]", one)) for i, one in enumerate(participants)]
    if len(set(names)) < len(names):
        raise InvalidValueError("participants", "hold the same id twice")
    return _with_new_epochs({name: {"bound_at": at} for name in names}, token)


def truncated_fields(session: StoredDocument, token: str) -> StoredDocument:
    """Return what is set beside the messages when a call truncates a stored session."""
    return {
        "data": {},
        "participants": _with_new_epochs(session.get("participants", {}), token),
        "insights": {},
        "insights_size": 0,
        "revision": session.get("revision", 0) + 1,
    }


def _with_new_epochs(participants: Mapping[str, StoredDocument], token: str) -> StoredDocument:
    return {
        name: StoredParticipant(bound_at=stored["bound_at"], epoch=f"{token}-{i}").model_dump()
        for i, (name, stored) in enumerate(participants.items())
    }


def truncated_message_fields(session: StoredDocument) -> StoredDocument:
    """Return what is set in a stored session's participants when all messages go, and the numbers go on."""
    return {f"participants.{name}.kept": 0 for name in session.get("participants", {})}
