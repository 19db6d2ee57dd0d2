"""The stored form of the participants of sessions, of their turns and of their insights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ConfigDict, TypeAdapter

from mongostore.arguments import check_id, check_list
from mongostore.codec import escape_key, unescape_key
from mongostore.documents.mapping import (
    DECODE_ERRORS,
    Searched,
    StoredDocument,
    StoredPart,
    check_instance,
    decode_document,
    invalid_fields,
    write_slim,
)
from mongostore.errors import InvalidDocumentError, InvalidValueError
from mongostore.models import SessionParticipant, Turn
from mongostore.models.fields import JsonValue

MAX_INSIGHTS_BYTES = 1024 * 1024
_PARTICIPANTS = TypeAdapter(list[SessionParticipant], config=ConfigDict(defer_build=True))


class StoredParticipant(StoredPart):
    """A participant of a session, without the turns and the insights.

    `epoch` is new whenever the turns begin anew, so that those of before can never be taken for those
    of after. `turn_count` is the number of the newest turn, `integrated_until` that of the last one that an
    integration has covered; 0 before the first. A turn or insight behind them is not there.
    """

    bound_at: int
    epoch: str
    turn_count: int = 0
    integrated_until: int = 0
    insight_count: int = 0
    insights_size: int = 0


class StoredTurn(Turn):
    """A turn, without its number; `overflow` names the document with a content too large to embed."""

    overflow: str | None = None


class StoredBatch(StoredPart):
    """The batch of a participant that one call stored: the numbers `number` to `end` of its epoch.

    `op` is the token of that call, `revision` that of the session to which the call was bound, if it was.
    """

    id: str
    session: str
    epoch: str
    number: int
    end: int
    op: str
    revision: int | None = None


class StoredTurns(StoredBatch, Searched):
    """The turns with those numbers."""

    turns: list[StoredTurn]


class StoredInsights(StoredBatch):
    """The insights into the turns with those numbers, and the bytes that they take."""

    insights: list[JsonValue]
    size: int


def to_participants(document: StoredDocument) -> list[SessionParticipant]:
    """Return the participants of a stored session, whose insights were loaded, as callers see them."""
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
            "integrated_until": stored["integrated_until"] or None,
        }
        for name, stored in document.get("participants", {}).items()
    ]


def to_stored_turn(path: str, turn: Turn, now: int) -> StoredDocument:
    """Return a turn in the form of `StoredTurn`."""
    stored = write_slim(check_instance(path, turn, Turn))
    stored.setdefault("created_at", now)
    return stored


def to_turns(stored: Sequence[StoredDocument]) -> tuple[list[Turn], list[InvalidDocumentError]]:
    """Return stored turns, with their numbers, as callers see them, and errors for the unreadable."""
    turns, errors = [], []
    for one in stored:
        try:
            turns.append(Turn.model_validate(one, strict=True, extra="ignore"))
        except DECODE_ERRORS as error:
            errors.append(InvalidDocumentError("turn", str(one["number"]), invalid_fields(error)))
    return turns, errors


def bind_all(participants: Sequence[str], at: int, token: str) -> StoredDocument:
    """Return the participants of a new session in their stored form, bound at a time by a call."""
    check_list("participants", participants)
    names = [escape_key(check_id(f"participants[{i}]", one)) for i, one in enumerate(participants)]
    if len(set(names)) < len(names):
        raise InvalidValueError("participants", "hold the same id twice")
    return renew_epochs({name: {"bound_at": at} for name in names}, token)


def truncated_fields(session: StoredDocument, token: str) -> StoredDocument:
    """Return what is set beside the messages when a call truncates a stored session."""
    return {
        "data": {},
        "participants": renew_epochs(session.get("participants", {}), token),
        "revision": session.get("revision", 0) + 1,
    }


def readable_participants(session: StoredDocument) -> dict[str, StoredDocument]:
    """Return the participants of a stored session that have an epoch, by name: of an odd one perhaps none."""
    participants = session.get("participants")
    if not isinstance(participants, dict):
        return {}
    return {
        name: stored
        for name, stored in participants.items()
        if isinstance(stored, dict) and isinstance(stored.get("epoch"), str)
    }


def epochs_of(session: StoredDocument) -> list[str]:
    """Return the epochs of a stored session's participants."""
    return [stored["epoch"] for stored in readable_participants(session).values()]


def renew_epochs(participants: Mapping[str, StoredDocument], token: str) -> StoredDocument:
    """Return stored participants as they begin anew, bound at the same times, by a call."""
    return {
        name: StoredParticipant(bound_at=stored["bound_at"], epoch=f"{token}-{i}").model_dump()
        for i, (name, stored) in enumerate(participants.items())
    }
