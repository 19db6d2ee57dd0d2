"""Leases, the right to do something alone for a while: `store.leases`."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_id, check_position
from mongostore.codec import EPOCH, from_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.errors import InvalidValueError
from mongostore.models import Lease
from mongostore.recent import Recent
from mongostore.repositories import (
    CollectionOf,
    Connection,
    Repository,
    current_operation,
    has_matched,
    writes,
)
from mongostore.repositories.lease_holder import LeaseHolder

_LONGEST = 24 * 3600.0
# So many leases of other owners are watched.
_WATCHED = 1000


class AsyncLeases(Repository):
    """Leases by their names.

    They end by the server's clock, as long as that runs evenly. If it is set, or another server takes over
    whose clock differs, another owner gets a lease when it was not renewed for its length by the clock of
    this host. A store that is opened after the clock was set forward knows nothing of that.
    """

    _leases = CollectionOf("leases")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._holder = LeaseHolder()
        # Those of other owners: the token, the count of renewals, and when both were seen first.
        self._watched = Recent[str, tuple[int, int, float]](_WATCHED)

    def hold(
        self, name: str, *, seconds: float = 60.0, wait: float = 0.0
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold a lease for a block, which is cancelled if the lease is lost.

        The lease is renewed while the block runs. In blocking code a block is not cancelled; the error comes
        at its end.

        Args:
            name: The name of the lease.
            seconds: How long it lasts after the last renewal, if the process dies.
            wait: For how many seconds to wait while another owner has it.

        Raises:
            ConflictError: If another owner still has it after that, or if it is lost.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        return self._holder.hold(self, name, seconds, wait)

    @writes
    async def acquire(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take a lease; None while another owner has it.

        Args:
            name: The name of the lease.
            owner: The owner, unique to this attempt; the same owner gets the same lease again.
            seconds: How long it lasts unless it is renewed, a day at most.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        milliseconds = _milliseconds(seconds)
        if not check_id("owner", owner):
            raise InvalidValueError("owner", "must not be empty")
        # Times are subtracted, since mongomock adds none to a date.
        ends = {"$ifNull": ["$expires_at", EPOCH]}
        # By the server's clock, and as that was when it was asked last, lest it was set since.
        is_over = {"$and": [{"$lte": [ends, now]} for now in ("$$NOW", from_micros(current_operation().now))]}
        free = {"$or": [{"$eq": ["$owner", ""]}, is_over, self._is_left(check_id("name", name))]}
        # Of a lease that is forgotten by now the tokens go on: they were fewer than the milliseconds since.
        begun = {"$subtract": ["$$NOW", EPOCH]}
        taken = {
            "owner": {"$cond": ["$free", {"$literal": owner}, "$owner"]},
            "token": {"$cond": ["$free", {"$add": [{"$ifNull": ["$token", begun]}, 1]}, "$token"]},
            "expires_at": {"$cond": ["$free", {"$subtract": ["$$NOW", -milliseconds]}, "$expires_at"]},
            "milliseconds": {"$cond": ["$free", milliseconds, "$milliseconds"]},
        }
        steps: list[StoredDocument] = [{"$set": {"free": free}}, {"$set": taken}, {"$unset": "free"}]
        document: Any = None
        while document is None:
            # Another caller may make it this very moment, in the name of the same owner, too.
            with suppress(DuplicateKeyError):
                document = await self._leases.find_one_and_update(
                    {"_id": name}, steps, upsert=True, return_document=ReturnDocument.AFTER
                )
        if document["owner"] != owner:
            self._watch(document)
            return None
        self._watched.pop(name, None)
        return Lease(name, owner, int(document["token"]), seconds)

    @writes
    async def renew(self, lease: Lease, seconds: float | None = None) -> bool:
        """Begin a lease anew from now and return whether it was still held.

        Args:
            lease: The lease that `acquire` returned.
            seconds: How long it lasts from now on; else as long as before.

        Raises:
            InvalidValueError: If it is no lease, or the time is out of range.
        """
        filter = held_filter(lease)
        milliseconds = _milliseconds(lease.seconds if seconds is None else seconds)
        lasts = {"$gt": ["$expires_at", "$$NOW"]}
        # Counted, so that a renewal shows as a change even within the same millisecond.
        renewed = {
            "expires_at": {"$cond": [lasts, {"$subtract": ["$$NOW", -milliseconds]}, "$expires_at"]},
            "renewals": {"$cond": [lasts, {"$add": [{"$ifNull": ["$renewals", 0]}, 1]}, "$renewals"]},
            "milliseconds": {"$cond": [lasts, milliseconds, "$milliseconds"]},
        }
        return bool((await self._leases.update_one(filter, [{"$set": renewed}])).modified_count)

    @writes
    async def release(self, lease: Lease) -> bool:
        """Give a lease back before its end and return whether it was still held.

        Raises:
            InvalidValueError: If it is no lease.
        """
        released = await self._leases.update_one(
            held_filter(lease), [{"$set": {"owner": "", "expires_at": "$$NOW"}}]
        )
        return has_matched(released)

    def _is_left(self, name: str) -> Any:
        """Return the expression of a lease that was seen unchanged for as long as it lasts."""
        if name not in self._watched:
            return False
        token, renewals, since = self._watched[name]
        watched = int((time.monotonic() - since) * 1000)
        return {
            "$and": [
                {"$eq": ["$token", token]},
                {"$eq": [{"$ifNull": ["$renewals", 0]}, renewals]},
                {"$lt": [{"$ifNull": ["$milliseconds", _LONGEST * 1000]}, watched]},
            ]
        }

    def _watch(self, lease: StoredDocument) -> None:
        seen = int(lease["token"]), int(lease.get("renewals", 0))
        since = self._watched.get(lease["_id"])
        self._watched[lease["_id"]] = since if since and since[:2] == seen else (*seen, time.monotonic())


def held_filter(lease: Lease) -> StoredDocument:
    """Return the filter of a lease that is still held."""
    check_instance("lease", lease, Lease)
    return {
        "_id": check_id("name", lease.name),
        "owner": check_id("owner", lease.owner),
        "token": check_position("token", lease.token),
    }


def _milliseconds(seconds: float) -> int:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= _LONGEST:
        raise InvalidValueError("seconds", "must be more than 0 and at most a day")
    return max(int(seconds * 1000), 1)
