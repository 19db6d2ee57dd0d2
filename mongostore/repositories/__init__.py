"""What every repository does around each of its verbs: check, bound, retry and put errors into our words."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import ClassVar, ParamSpec, TypeVar

from pymongo.errors import PyMongoError

from mongostore.engines.faults import translate, unchained
from mongostore.repositories.calls import Kind, current_call, find_call, was_there
from mongostore.repositories.connection import Connection, bounded, opened, settled_step, step

__all__ = ["Connection", "Repository", "current_call", "opened", "settled_step", "step", "was_there"]

P = ParamSpec("P")
R = TypeVar("R")

# Verbs mean the same everywhere; one with another name is taken for one that changes something.
_READING = {"get", "find", "list", "count", "exists"}


class Repository:
    """The verbs of one kind of thing.

    Every public coroutine and async generator of a subclass is wrapped: it runs against an open
    store, within the store's timeout, is tried again while the server is away, and raises errors of
    this package alone. So each of them must be safe to run twice; `current_call` tells a second run.

    Attributes:
        in_steps: The coroutines that wait for something else than the server. Like generators they are
            run once, and bound and retry their own steps with `step`.
        settled: The coroutines whose callers go on from what they have read, as generators do by
            `settled_step`: they show all that was acknowledged, and nothing that a failover takes back.
    """

    in_steps: ClassVar[frozenset[str]] = frozenset()
    settled: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if name in cls.in_steps:
                setattr(cls, name, _guarded_steps(member))
            elif inspect.iscoroutinefunction(member):
                kind = Kind.SETTLED if name in cls.settled else _kind_of(name)
                setattr(cls, name, _guarded(member, kind))
            elif inspect.isasyncgenfunction(member):
                setattr(cls, name, _guarded_generator(member))


def _kind_of(name: str) -> Kind:
    return Kind.READING if name.partition("_")[0] in _READING else Kind.CHANGING


def _guarded(verb: Callable[P, Awaitable[R]], kind: Kind) -> Callable[P, Awaitable[R]]:
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        if find_call() is not None:
            connection.check_open()
            return await verb(*args, **kwargs)
        with unchained():
            return await bounded(connection, lambda: verb(*args, **kwargs), kind)

    return run


def _guarded_steps(verb: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        connection.check_open()
        with unchained():
            return await verb(*args, **kwargs)

    return run


def _guarded_generator(verb: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncIterator[R]]:
    # A generator lives as long as its consumer likes: it bounds and retries its own steps with `step`.
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        connection.check_open()
        items = verb(*args, **kwargs)
        with unchained():
            try:
                async for item in items:
                    yield item
            except PyMongoError as error:
                raise translate(error, connection.engine.label) from None
            finally:
                await items.aclose()  # type: ignore[attr-defined]  # an async generator

    return run
