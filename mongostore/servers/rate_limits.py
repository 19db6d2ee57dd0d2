"""The number of requests that a caller may make in a time, counted in this process."""

from __future__ import annotations

import math
import time

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from mongostore.errors import ConfigurationError
from mongostore.servers.error_responses import ProblemError


class RateLimit:
    """A number of requests that a key, or an address without one, may make in a time.

    Args:
        rate: Such as `100/minute`.
    """

    def __init__(self, rate: str) -> None:
        try:
            self._rate = parse(rate)
        except ValueError:
            raise ConfigurationError("a rate limit is a number and a time, such as 100/minute") from None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def count(self, caller: str) -> None:
        """Count a request."""
        if await self._limiter.hit(self._rate, caller):
            return
        window = await self._limiter.get_window_stats(self._rate, caller)
        seconds = max(math.ceil(window.reset_time - time.time()), 1)
        raise ProblemError(429, headers={"Retry-After": str(seconds)})
