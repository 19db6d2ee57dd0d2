"""The time by the server's clock, which decides where those of its clients differ."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from mongostore.codec import FIRST_MICROS, LAST_MICROS

# Clocks that are kept by NTP differ by less, and asking takes some of it.
_TOLERANCE = 1_000_000


class ServerClock:
    """Computes the server's time by the clock of this host and by how much that is wrong.

    Attributes:
        offset: How many microseconds the server is ahead of this host.
    """

    def __init__(self) -> None:
        self.offset: int = 0
        self._base = _base()
        self._last_tick = 0

    @property
    def is_stale(self) -> bool:
        """Whether this host's clock was set, or stood still, since the server was asked."""
        return abs(_base() - self._base) > _TOLERANCE

    def now(self) -> int:
        """Return the time in microseconds since 1970."""
        return self.from_host(_now())

    def tick(self) -> int:
        """Return the time, or a moment later than what was returned before: the order of what arrives."""
        self._last_tick = max(self.now(), self._last_tick + 1)
        return self._last_tick

    def from_host(self, micros: int) -> int:
        """Return what the server's clock has shown at a time of this host's, as far as it can be read."""
        return min(max(micros + self.offset, FIRST_MICROS), LAST_MICROS)

    def set(self, local_time: datetime, asked_at: int) -> None:
        """Set the server's time by its answer, which was asked for at a time of this host's."""
        answered = _now()
        server_time = round(local_time.replace(tzinfo=UTC).timestamp() * 1_000_000)
        offset = server_time - (asked_at + answered) // 2
        self.offset = offset if abs(offset) > _TOLERANCE + answered - asked_at else 0
        self._base = _base()


def _now() -> int:
    return time.time_ns() // 1000


def _base() -> int:
    """Return the time at which this host's monotonic clock has shown zero, by its other one."""
    return (time.time_ns() - time.monotonic_ns()) // 1000
