"""The filters and orders of lists of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mongostore.arguments import check_flag, check_id, check_int, check_members
from mongostore.codec import escape_key, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import InvalidValueError
from mongostore.models import Session, SessionFilter
from mongostore.repositories.paging import SortOrder
from mongostore.repositories.search.lists import metadata_filter, time_conditions

STATE_FILTERS: Mapping[bool | None, Any] = {
    False: "open",
    True: "deleted",
    None: {"$in": ["open", "deleted"]},
}


def session_filter(namespace: str | None, order: SortOrder, where: SessionFilter) -> StoredDocument:
    """Return the filter of a namespace's sessions, or of all: the one place where such a filter begins."""
    members = check_members(where, SessionFilter)
    of_namespace = {} if namespace is None else {"namespace": namespace}
    filter: StoredDocument = {**of_namespace, "state": state_filter(members.get("deleted", False))}
    if members.get("user_id") is not None:
        filter["user_id"] = check_id("user_id", members["user_id"])
    if members.get("participant_id") is not None:
        name = escape_key(check_id("participant_id", members["participant_id"]))
        filter["participant_names"] = name
    filter |= metadata_filter(members.get("metadata"))
    if times := time_conditions(order, members.get("since"), members.get("until")):
        filter["$and"] = times
    return filter


def state_filter(deleted: bool | None) -> Any:
    """Return the filter of the state of sessions: of those that are not deleted, softly deleted, or both."""
    if deleted not in (True, False, None):
        raise InvalidValueError("deleted", "must be True, False or None")
    return STATE_FILTERS[deleted]


def filters_of_states(filter: StoredDocument) -> list[StoredDocument]:
    """Return the filters of the sessions in each of a filter's states."""
    states = filter["state"]["$in"] if isinstance(filter["state"], dict) else [filter["state"]]
    return [{**filter, "state": state} for state in states]


def check_number(path: str, value: object) -> int:
    """Return `value`, an integer from 0."""
    return check_int(path, value, 0, 2**63, "must be an integer from 0")


def decode_cursor(cursor: object) -> int | None:
    """Return the position or number that a cursor names; None for none."""
    if cursor is None:
        return None
    if type(cursor) is str and cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        return int(cursor)
    raise InvalidValueError("cursor", "is not one that a page gave")


def position_bounds(
    newest: bool, cursor: str | None, before: int | None, after: int | None
) -> tuple[int, int | None]:
    """Return the first position of a page and the one before which it ends, if any."""
    check_flag("newest", newest)
    start = 0 if after is None else check_number("after", after) + 1
    end = None if before is None else check_number("before", before)
    position = decode_cursor(cursor)
    if position is None:
        return start, end
    if newest:
        return start, position if end is None else min(position, end)
    return max(position + 1, start), end


class LifeRevision(int):
    """A revision of one session alone, not of a later one of that id.

    Attributes:
        created_at: When the session was created, in microseconds.
    """

    created_at: int

    @classmethod
    def of(cls, session: Session) -> LifeRevision:
        """Return the revision of a session."""
        revision = cls(session.revision)
        revision.created_at = to_micros("created_at", session.created_at)
        return revision


def revision_guard(revision: int | None) -> StoredDocument:
    """Return the filter of a session that has a revision; of any if it is None."""
    if isinstance(revision, LifeRevision):
        return {"revision": int(revision), "created_at": revision.created_at}
    return {} if revision is None else {"revision": check_number("revision", revision)}
