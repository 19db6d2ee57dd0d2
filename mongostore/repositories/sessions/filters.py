"""The filters and orders of lists of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mongostore.arguments import check_flag, check_id
from mongostore.documents.mapping import Raw
from mongostore.errors import InvalidValueError
from mongostore.repositories.paging import SortKey, SortOrder

STATE_FILTERS: Mapping[bool | None, Any] = {
    False: "open",
    True: "deleted",
    None: {"$in": ["open", "deleted"]},
}

_FIELDS: Mapping[str, str] = {"active": "active_at", "created": "created_at"}


def list_order(order: str, newest: bool) -> SortOrder:
    """Return the order of a list as callers name it.

    Raises:
        InvalidValueError: If an argument is none of those.
    """
    if type(order) is not str or order not in _FIELDS:
        raise InvalidValueError("order", f"must be one of {', '.join(_FIELDS)}")
    return SortOrder(_FIELDS[order], is_ascending=not check_flag("newest", newest))


def session_filter(namespace: str, user_id: str | None, deleted: bool | None) -> Raw:
    """Return the filter of a namespace's sessions: the one place where such a filter begins.

    Raises:
        InvalidValueError: If an argument is of the wrong type.
    """
    if deleted not in (True, False, None):
        raise InvalidValueError("deleted", "must be True, False or None")
    filter: Raw = {"namespace": namespace, "state": STATE_FILTERS[deleted]}
    if user_id is not None:
        filter["user_id"] = check_id("user_id", user_id)
    return filter


def keyset_filter(order: SortOrder, filter: Raw, place: SortKey | None) -> Raw:
    """Return the filter of the sessions behind a place; None stands before all.

    Each state is a branch of its own: only of such can the server merge what indexes give in order.
    """
    states = filter["state"]["$in"] if isinstance(filter["state"], dict) else [filter["state"]]
    branches_of_states = [order.keyset_filter({**filter, "state": state}, place) for state in states]
    branches = [branch for each in branches_of_states for branch in each.get("$or", [each])]
    return branches[0] if len(branches) == 1 else {"$or": branches}
