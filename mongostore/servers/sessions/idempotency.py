"""Requests that may be sent again: an `Idempotency-Key` names one, and its repetition does nothing more."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from uuid import uuid4

from fastapi import Header, Request
from starlette.responses import Response

from mongostore.repositories.leases import AsyncLeases
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.sessions.service import service_of

_KEY_SECONDS = 24 * 3600.0
_ANSWER_SECONDS = 60.0


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
    """Return the id that stands for a request that may be sent again; None for one without a key.

    Raises:
        ProblemError: If the key was used for another body (422).
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    # The path names the operation, the namespace and the session.
    claimed = _digest(request.scope["path"].encode(), key.encode())
    if await _leases(request).acquire(_name(claimed), _digest(await request.body()), _KEY_SECONDS) is None:
        raise ProblemError(422, "The Idempotency-Key was used for a request with another body")
    return claimed


async def answer_once(
    request: Request,
    claimed: str | None,
    run: Callable[[], Awaitable[Response]],
    repeat: Callable[[], Awaitable[Response]],
) -> Response:
    """Return the answer of `run` to the first request of a key, and that of `repeat` to the others.

    A process that dies between the work and its mark leaves the work to be done again.

    Args:
        request: The request.
        claimed: The id that stands for it, if it has a key.
        run: Does the work, and answers.
        repeat: Answers when the work was done.

    Raises:
        ProblemError: If another request of that key is being answered (409).
    """
    if claimed is None:
        return await run()
    leases, owner = _leases(request), uuid4().hex
    running = await leases.acquire(f"{_name(claimed)}/run", owner, _ANSWER_SECONDS)
    if running is None:
        raise ProblemError(409, "A request with that Idempotency-Key is being answered: wait for it")
    try:
        # A request that was answered has it for a day.
        answered = await leases.acquire(f"{_name(claimed)}/done", owner, _ANSWER_SECONDS)
        if answered is None:
            return await repeat()
        try:
            answer = await run()
        except BaseException:
            await leases.release(answered)
            raise
        await leases.renew(answered, _KEY_SECONDS)
        return answer
    finally:
        await leases.release(running)


def _leases(request: Request) -> AsyncLeases:
    return service_of(request.app).store.leases


def _name(claimed: str) -> str:
    return f"idempotency/{claimed}"


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()
