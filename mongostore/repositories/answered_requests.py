"""The answers to requests, stored with the leases that stand for the requests."""

from __future__ import annotations

from typing import Any

from mongostore.models import Lease
from mongostore.repositories import CollectionOf, InternalRepository, reads, writes
from mongostore.repositories.leases import held_filter


class AnsweredRequests(InternalRepository):
    """The answers to requests, as long as their leases last."""

    _leases = CollectionOf("leases")

    @reads
    async def find(self, lease: Lease) -> dict[str, Any] | None:
        """Return the answer that was stored with a lease since it was taken; None if there is none.

        Raises:
            InvalidValueError: If it is no lease.
        """
        answered = await self._leases.find_one({**held_filter(lease), "answered": lease.token}, {"answer": 1})
        return None if answered is None else dict(answered["answer"])

    @writes
    async def store(self, lease: Lease, answer: dict[str, Any]) -> None:
        """Store the answer of the request that a lease stands for.

        Raises:
            InvalidValueError: If it is no lease.
        """
        # By the token it is known later that it was not stored with an earlier lease of that name.
        stored = {"answered": lease.token, "answer": answer}
        await self._leases.update_one(held_filter(lease), {"$set": stored})
