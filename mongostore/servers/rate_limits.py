"""How often a caller may ask, count_request in this process."""

from __future__ import annotations

import math
import time

from fastapi import FastAPI, Request
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from mongostore.errors import ConfigurationError
from mongostore.servers.access import Caller
from mongostore.servers.error_responses import ProblemError


class RateLimit:
    """A number of requests that a key, or an address without one, may make in a time.

    Args:
        rate: Such as `100/minute`.

    Raises:
        ConfigurationError: It is no rate.
    """

    def __init__(self, rate: str) -> None:
        try:
            self._rate = parse(rate)
        except ValueError:
            raise ConfigurationError("a rate limit is a number and a time, such as 100/minute") from None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def count(self, caller: str) -> None:
        """Count a request.

        Raises:
            ProblemError: The caller has made too many (429).
        """
        if await self._limiter.hit(self._rate, caller):
            return
        window = await self._limiter.get_window_stats(self._rate, caller)
        seconds = max(math.ceil(window.reset_time - time.time()), 1)
        raise ProblemError(429, headers={"Retry-After": str(seconds)})


def limit_rate(app: FastAPI, rate: str | None) -> None:
    """Limit how often a caller may ask an application for what depends on `count_request`; None for no limit.

    Raises:
        ConfigurationError: It is no rate.
    """
    app.state.rate_limit = None if rate is None else RateLimit(rate)


async def count_request(request: Request, caller: Caller) -> None:
    """Count a request of whoever makes it."""
    limit: RateLimit | None = request.app.state.rate_limit
    if limit is not None:
        address = request.client.host if request.client else ""
        await limit.count(f"key {caller.id}" if caller else f"address {address}")
