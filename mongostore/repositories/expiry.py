"""Expiry: from its `expires_at` on, by the server's clock, a session, thread or room is not found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from mongostore.codec import from_micros
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.errors import InvalidValueError
from mongostore.repositories.operation import current_operation

# The states in which verbs find a head: `deleted` is a state of sessions alone that they can come back from.
_VISIBLE_STATES: Mapping[str, tuple[Any, ...]] = {
    "sessions": ("open", "deleted", {"$in": ["open", "deleted"]}),
    "threads": ("open",),
    "rooms": ("open",),
}
_FIRST = -(2**63)
# The collections whose documents leave tombstones, and the field by which lists name the owner there.
_WITH_TOMBSTONES = {"api_keys": "", "elements": "thread_id", "messages": "thread_id", "users": ""}
# No call still writes to a thing that was deleted so long ago.
TOMBSTONE_LASTS = timedelta(days=30)


def resolve_expiry(members: dict[str, Any]) -> dict[str, Any]:
    """Return members of a head with `expires_at` where they had `expires_in`."""
    if "expires_in" not in members:
        return members
    span = members.pop("expires_in")
    if "expires_at" in members:
        raise InvalidValueError("expires_in", "must not be set beside expires_at")
    if not isinstance(span, timedelta) or span <= timedelta(0):
        raise InvalidValueError("expires_in", "must be a timedelta above 0")
    try:
        return {**members, "expires_at": from_micros(current_operation().now) + span}
    except OverflowError:
        raise InvalidValueError("expires_in", "must end before the year 10000") from None


def hide_tombstones(filter: Any, collection: str) -> Any:
    """Return a filter of parts of threads, users or keys that finds none that is deleted.

    A tombstone has no time of creation, which their indexes have first, or next to the thread.
    """
    owner = _WITH_TOMBSTONES.get(collection)
    if owner is None or (owner and owner not in filter):
        return filter
    # A page names the time in each of its branches.
    if all({*filter, *branch} & {"created_at", "state"} for branch in filter.get("$or", [filter])):
        return filter
    # Where indexes have it first they answer any value; behind a thread they serve the order by a range.
    return {**filter, "created_at": {"$gte": _FIRST} if owner else {"$ne": None}}


def new_tombstone() -> StoredDocument:
    """Return the members of the tombstone of a part of a thread, a user or a key.

    It stays on its shard, and loses its time of creation, by which verbs know that it is not there
    (`hide_tombstones`).
    """
    return {
        "state": "deleted",
        "deleted_at": current_operation().now,
        "expires_at": tombstone_end(),
        "schema_version": SCHEMA_VERSION,
    }


def tombstone_end() -> datetime:
    """Return when a tombstone of now expires, by the server's clock."""
    return datetime.fromtimestamp(current_operation().now / 1_000_000, UTC) + TOMBSTONE_LASTS


def is_expired(head: StoredDocument, now: int) -> bool:
    """Return whether a stored head has expired; one in a state that verbs do not find has not."""
    expires_at = head.get("expires_at")
    return isinstance(expires_at, int) and expires_at <= now


def is_open(head: StoredDocument | None) -> TypeGuard[StoredDocument]:
    """Return whether a stored head is there and open, and has not expired."""
    return head is not None and head.get("state") == "open" and not is_expired(head, current_operation().now)


def not_expired(now: int) -> StoredDocument:
    """Return the filter of the heads that have not expired."""
    return {"expires_at": {"$not": {"$lte": now}}}


def expired(now: int) -> StoredDocument:
    """Return the filter of the heads that have expired, which their partial index serves."""
    return {"expires_at": {"$gt": 0, "$lte": now}}


def states_of(collection: str) -> tuple[Any, ...]:
    """Return the states, as filters name them, in which verbs find the heads of a collection."""
    return _VISIBLE_STATES.get(collection, ())


def hide_expired(filter: Any, states: tuple[Any, ...], now: int) -> Any:
    """Return a filter of heads that finds no expired one, unless it names `expires_at` itself."""
    if "$or" in filter:
        # In each branch: behind a union the server would fetch each document once more.
        filter = {**filter, "$or": [hide_expired(branch, states, now) for branch in filter["$or"]]}
    if "expires_at" in filter or filter.get("state") not in states:
        return filter
    return {**filter, **not_expired(now)}
