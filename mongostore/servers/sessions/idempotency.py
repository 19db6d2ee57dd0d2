"""Requests that may be sent again: an `Idempotency-Key` names one, and its repetition does nothing more."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import Header, Request

from mongostore.models import Lease
from mongostore.repositories.answered_requests import AnsweredRequests
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.sessions.service import service_of

_KEY_SECONDS = 24 * 3600.0


async def idempotency_key_header(
    idempotency_key: str | None = Header(
        None,
        description="Names the request for a day: sent again with the same body, it changes nothing more; "
        "with another body, it is refused.",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
    ),
) -> None:
    """Declare the header, which an operation looks at when it knows the body."""


@dataclass
class Claim:
    """A request that may be sent again, or one without a key.

    Attributes:
        id: The id that stands for it; None without a key.
        answer: The members that its answer had when it was sent before; None if it was not, or has failed.
    """

    id: str | None = None
    answer: dict[str, Any] | None = None
    _lease: Lease | None = None
    _answers: AnsweredRequests | None = None

    async def answered(self, answer: dict[str, Any]) -> None:
        """Record that the request is done: a repetition changes nothing more."""
        if self._lease is not None and self._answers is not None:
            await self._answers.store(self._lease, answer)


async def claim_key(request: Request) -> Claim:
    """Return what stands for a request that may be sent again."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return Claim()
    leases = service_of(request.app).store.leases
    # The path names the operation, the namespace and the session. Two callers may have thought of one key.
    caller = request.state.key or ""
    claimed = _digest(request.scope["path"].encode(), caller.encode(), key.encode())
    lease = await leases.acquire(f"idempotency/{claimed}", _digest(await request.body()), _KEY_SECONDS)
    if lease is None:
        raise ProblemError(422, "The Idempotency-Key was used for a request with another body")
    answers = AnsweredRequests.of(leases)
    return Claim(claimed, await answers.find(lease), lease, answers)


def gone() -> ProblemError:
    """Return the answer to a request that was done before, and of which nothing is there any more."""
    return ProblemError(409, "It was done when it was sent before, and what it made was deleted since")


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()
