"""Requests that may be sent again: an `Idempotency-Key` names one, and its repetition does nothing more."""

from __future__ import annotations

import hashlib

from fastapi import Header, Request

from mongostore.repositories.leases import AsyncLeases
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


async def claim_key(request: Request) -> str | None:
    """Return the id that stands for a request that may be sent again; None for one without a key."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    # The path names the operation, the namespace and the session.
    claimed = _digest(request.scope["path"].encode(), key.encode())
    if await _leases(request).acquire(_name(claimed), _digest(await request.body()), _KEY_SECONDS) is None:
        raise ProblemError(422, "The Idempotency-Key was used for a request with another body")
    return claimed


def _leases(request: Request) -> AsyncLeases:
    return service_of(request.app).store.leases


def _name(claimed: str) -> str:
    return f"idempotency/{claimed}"


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()
