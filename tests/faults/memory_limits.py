"""How long a call may take, on machines that have other work."""

from __future__ import annotations

import asyncio
import time

# The last part of each limit, in turns of the event loop.
_TURNS, _TURN_SECONDS = 100, 0.001


class Limit:
    """A timer begun beside a call, which is late as the call is where a busy machine gives neither a turn.

    Args:
        seconds: What the call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(self._seconds - _TURNS * _TURN_SECONDS)
        for _ in range(_TURNS):
            await asyncio.sleep(_TURN_SECONDS)

    def stop(self) -> tuple[bool, float]:
        """Return whether the call was within its limit, and the seconds that it took."""
        remaining = not self._task.done()
        self._task.cancel()
        return remaining, time.monotonic() - self._began

    def check(self) -> float:
        """Check that the call was within its limit, and return the seconds that it took."""
        in_time, seconds = self.stop()
        assert in_time, f"took {seconds:.2f} of {self._seconds} s"
        return seconds
