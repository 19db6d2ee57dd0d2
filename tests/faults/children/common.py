"""What the child processes share."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator

import pymongo.monitoring

from mongostore.repositories.sessions import TailLimits

WRITES = {"insert", "update", "delete", "findAndModify"}


def limits_of(sent: str) -> TailLimits:
    """Return the limits that a parent has given as JSON; it and its children must have the same."""
    return TailLimits(**json.loads(sent))


class Killer(pymongo.monitoring.CommandListener):
    """Ends the process before its n-th write, once it is told which."""

    countdown = 0

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        """Count a write."""
        if event.command_name in WRITES:
            self.countdown -= 1
            if self.countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


def play_until_killed(
    play: Callable[[int, Killer, Callable[[], object]], Coroutine[None, None, None]],
) -> Iterator[tuple[int, int]]:
    """Play a scenario again and again, each time killed before a later one of its writes.

    The first time it is killed before its first write, then before its second one, which is right after the
    first one was answered, and so on until it comes to its end, where this process ends as that one did.

    Args:
        play: Plays it, of the number of the fatal write, with what kills, and with what to call before
            each step.

    Yields:
        The number of the fatal write, and how many steps were begun.
    """
    status = fatal = 0
    while fatal == 0 or os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
        fatal += 1
        with tempfile.TemporaryFile() as log:
            if not (pid := os.fork()):
                killer = Killer()
                pymongo.monitoring.register(killer)
                asyncio.run(play(fatal, killer, lambda: os.write(log.fileno(), b".")))
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            begun = os.fstat(log.fileno()).st_size
        yield fatal, begun
    sys.exit(os.waitstatus_to_exitcode(status))
