"""Filters and orders of lists of threads."""

from __future__ import annotations

from mongostore.arguments import check_flag, check_id, check_members, check_vote
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.threads import to_stored_thread_member
from mongostore.errors import InvalidValueError
from mongostore.models import ListOrder, Thread, ThreadFilter
from mongostore.repositories.paging import SortOrder
from mongostore.repositories.search.lists import has_metadata, members_filter, time_conditions


def thread_order(order: ListOrder, newest: bool) -> SortOrder:
    """Return the order of a list of threads."""
    if order not in ("active", "created"):
        raise InvalidValueError("order", "must be 'active' or 'created'")
    return SortOrder(f"{order}_at", is_ascending=not check_flag("newest", newest))


def thread_filter(where: ThreadFilter, order: SortOrder) -> StoredDocument:
    """Return the filter of the open threads with these members."""
    filter: StoredDocument = {"state": "open"}
    conditions = time_conditions(order, where.get("since"), where.get("until"))
    for name, value in check_members(where, ThreadFilter).items():
        match name:
            case "text" | "since" | "until":
                pass
            case "metadata" | "data":
                filter |= members_filter(name, value)
            case "participant_id":
                person = check_id(name, value)
                fields = ("user_id", "user_identifier", "owner_id")
                conditions.append({"$or": [{field: person} for field in fields]})
            case "vote":
                filter["votes.value"] = check_vote(name, value)
            case "name":
                filter[name] = to_stored_thread_member(name, value)
            case _:
                filter[name] = check_id(name, value)
    return {**filter, "$and": conditions} if conditions else filter


def is_match(where: ThreadFilter, thread: Thread) -> bool:
    """Return whether a thread has the values of a filter, and not just lists with them."""
    return has_metadata(thread.data, where.get("data")) and has_metadata(
        thread.metadata, where.get("metadata")
    )
