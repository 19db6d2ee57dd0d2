"""Filters and orders of lists of threads."""

from __future__ import annotations

from mongostore.arguments import check_id, check_members, check_vote
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.threads import to_stored_thread_member
from mongostore.models import Thread, ThreadFilter
from mongostore.repositories.paging import SortOrder
from mongostore.repositories.search.lists import (
    both,
    has_metadata,
    members_filter,
    metadata_filter,
    time_conditions,
)

_OF_PARTICIPANT = ("user_id", "user_identifier", "owner_id")


def thread_filters(where: ThreadFilter, order: SortOrder) -> list[StoredDocument]:
    """Return the filters of the open threads with these members, one for each role of their participant."""
    filter: StoredDocument = {"state": "open"}
    conditions = time_conditions(order, where.get("since"), where.get("until"))
    for name, value in check_members(where, ThreadFilter).items():
        match name:
            case "text" | "since" | "until" | "participant_id":
                pass
            case "metadata":
                filter |= metadata_filter(value)
            case "data":
                filter |= members_filter(name, value)
            case "vote":
                filter["votes.value"] = check_vote(name, value)
            case "name":
                filter[name] = to_stored_thread_member(name, value)
            case _:
                filter[name] = check_id(name, value)
    if conditions:
        filter["$and"] = conditions
    if where.get("participant_id") is None:
        return [filter]
    person = check_id("participant_id", where["participant_id"])
    return [both(filter, {field: person}) for field in _OF_PARTICIPANT]


def is_match(where: ThreadFilter, thread: Thread) -> bool:
    """Return whether a thread has the values of a filter, and not just lists with them."""
    return has_metadata(thread.data, where.get("data")) and has_metadata(
        thread.metadata, where.get("metadata")
    )
