"""Hooks: methods of an application that the store calls with what it has just done."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mongostore.errors import ConfigurationError
from mongostore.models import Event, Message, Turn

_log = logging.getLogger("mongostore")


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call of a verb that has ended.

    Attributes:
        operation: The verb, such as `AsyncSessionMessages.append`, or a step of the store's own upkeep.
        namespace: That of the sessions; None for a verb of anything else.
        seconds: How long the call took, with its retries.
        attempts: How often it was tried: 1, unless something failed.
        error: The name of the type of its error; None if there was none.
    """

    operation: str
    namespace: str | None
    seconds: float
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class AppendRecord:
    """Messages, turns or events that a call has appended, acknowledged by the server.

    Attributes:
        operation: The verb, such as `AsyncSessionMessages.append`.
        namespace: That of the session; None for a room.
        parent_id: The session or the room.
        items: The result of the verb, or the message that was streamed.
    """

    operation: str
    namespace: str | None
    parent_id: str
    items: tuple[Message | Turn | Event, ...]


@dataclass(frozen=True, slots=True)
class RetryRecord:
    """An attempt of a call that failed and is made again.

    Attributes:
        operation: The verb.
        attempt: The number of the attempt that failed, from 1.
        reason: The error, in the words of this package.
        remaining: The seconds that the call has left.
    """

    operation: str
    attempt: int
    reason: str
    remaining: float


class Hooks:
    """The base of hooks: override the methods that you want, for metrics, traces or alerts.

    The store calls them in its event loop after the fact, so they must be quick. An error that one of them
    raises is logged by its type and dropped. New methods may come; each of them does nothing by itself.
    """

    def on_call(self, call: CallRecord) -> None:
        """Receive a call that has ended, well or not; an iteration is no call."""

    def on_retry(self, retry: RetryRecord) -> None:
        """Receive an attempt that failed and is made again."""

    def on_append(self, append: AppendRecord) -> None:
        """Receive messages, turns or events that this process has appended, for caches and notifications.

        They are those of every `append` and `append_many`, and a streamed message when its stream ends. One
        that was there already is received again. A process that dies, or a call that is cancelled, does not
        call this: to see each message for certain, `watch`.
        """


def check_hooks(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    """Return hooks.

    Raises:
        ConfigurationError: If they are no list of `Hooks`, or a method of one is a coroutine function.
    """
    if isinstance(hooks, Hooks) or not all(isinstance(one, Hooks) for one in hooks):
        raise ConfigurationError("hooks: must be a list of instances of mongostore.Hooks")
    for one in hooks:
        if any(map(inspect.iscoroutinefunction, (one.on_call, one.on_retry, one.on_append))):
            raise ConfigurationError(f"hooks: the methods of {type(one).__name__} must not be coroutines")
    return tuple(hooks)


def call_hooks(hooks: Sequence[Hooks], call: Callable[[Hooks], None]) -> None:
    """Call each hook; an error that one raises is logged."""
    for one in hooks:
        try:
            call(one)
        except Exception as error:
            # Its text may hold what the application had in hand.
            _log.warning("a hook of %s failed: %s", type(one).__name__, type(error).__name__)
