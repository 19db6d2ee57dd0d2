"""Filters and orders of lists of threads."""

from __future__ import annotations

from typing import Any

from mongostore.arguments import check_flag, check_id, check_members, check_vote
from mongostore.codec import encode_members
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.threads import to_stored_thread_member
from mongostore.errors import InvalidValueError
from mongostore.models import ListOrder, ThreadFilter
from mongostore.repositories.paging import SortOrder


def thread_order(order: ListOrder, newest: bool) -> SortOrder:
    """Return the order of a list of threads.

    Raises:
        InvalidValueError: If there is no such order, or `newest` is no bool.
    """
    if order not in ("active", "created"):
        raise InvalidValueError("order", "must be 'active' or 'created'")
    return SortOrder(f"{order}_at", is_ascending=not check_flag("newest", newest))


def thread_filter(where: ThreadFilter) -> StoredDocument:
    """Return the filter of the open threads with these members.

    Raises:
        InvalidValueError: If a member is of the wrong type, or there is none of that name.
    """
    filter: StoredDocument = {"state": "open"}
    for name, value in check_members(where, ThreadFilter).items():
        match name:
            case "data" | "metadata":
                # By `$eq`, for a key of a value may look like an operator.
                filter |= {
                    f"{name}.{key}": {"$eq": item} for key, item in encode_members(name, value).items()
                }
            case "vote":
                filter["votes.value"] = check_vote(name, value)
            case "name":
                filter[name] = to_stored_thread_member(name, value)
            case _:
                filter[name] = check_id(name, value)
    return filter


def is_match(where: ThreadFilter, data: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Return whether a thread has the values of a filter, and not just lists with them."""
    return all(
        existing.get(key) == value
        for existing, wanted in ((data, where.get("data", {})), (metadata, where.get("metadata", {})))
        for key, value in wanted.items()
    )
