"""The frame of every verb of a repository: it checks, bounds and retries, and translates errors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec, Self, TypeVar

from pymongo.errors import PyMongoError

from mongostore.engines.driver_errors import drop_driver_context, translate_error
from mongostore.errors import NotFoundError
from mongostore.repositories.connection import CollectionOf, Connection
from mongostore.repositories.operation import (
    Access,
    activity_of,
    current_operation,
    find_operation,
    has_matched,
)
from mongostore.repositories.retry import majority_step, open_stream, read_step, retry_step, run_with_retry

__all__ = [
    "CollectionOf",
    "Connection",
    "InternalRepository",
    "Repository",
    "activity_of",
    "current_operation",
    "has_matched",
    "long_running",
    "majority_step",
    "open_stream",
    "read_step",
    "reads",
    "reads_majority",
    "retry_step",
    "writes",
]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_DECLARED = "__access__"


class Repository:
    """The verbs of one kind of thing.

    The decorator of each public coroutine and async generator names its access: `writes`, `reads`,
    `reads_majority` or `long_running`. It then runs against an open store, within the store's timeout, is
    tried again while the server is away, and raises errors of this package alone. So each of them must be
    safe to run twice; `current_operation` knows a second run.
    """

    _namespace: str | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __init_subclass__(cls) -> None:
        """Check the declarations."""
        super().__init_subclass__()
        for name, member in vars(cls).items():
            if _runs(member) and not name.startswith("_") and not hasattr(member, _DECLARED):
                raise TypeError(f"{cls.__name__}.{name} must be decorated with what it does, such as @reads")

    @staticmethod
    def _check_found(kind: str, id: str, found: R | None) -> R:
        """Return what was found.

        Raises:
            NotFoundError: If it is None.
        """
        if found is None:
            raise NotFoundError(kind, id)
        return found

    def _report_append(self, parent_id: str, items: list[R]) -> list[R]:
        """Have the hooks, if there are any, receive what the call has appended; return it."""
        if self._connection.hooks:
            self._connection.report_append(self._namespace, parent_id, items)
        return items


def writes(verb: F) -> F:
    """Declare that a coroutine may change something."""
    return _declared(verb, _guarded(verb, Access.WRITE))


def reads(verb: F) -> F:
    """Declare that a coroutine reads what the primary has."""
    return _declared(verb, _guarded(verb, Access.READ))


def reads_majority(verb: F) -> F:
    """Declare that a coroutine reads all that was acknowledged, and nothing that a failover takes back."""
    return _declared(verb, _guarded(verb, Access.READ_MAJORITY))


def long_running(verb: F) -> F:
    """Declare that a coroutine or an async generator waits for something else than the server.

    A function that returns an async generator is run as one. It runs once, and bounds and retries its own
    steps with `retry_step` and `majority_step`.
    """
    guard = _guarded_steps if inspect.iscoroutinefunction(verb) else _guarded_generator
    return _declared(verb, guard(verb))


def _runs(member: object) -> bool:
    """Return whether a member of a class is a coroutine or an async generator, or returns one."""
    returns = str(getattr(member, "__annotations__", {}).get("return"))
    is_generator = inspect.isasyncgenfunction(member) or "AsyncIterator" in returns
    return is_generator or inspect.iscoroutinefunction(member)


def _declared(verb: F, guarded: Any) -> F:
    setattr(guarded, _DECLARED, True)
    declared: F = guarded
    return declared


def _guarded(verb: Callable[P, Awaitable[R]], access: Access) -> Callable[P, Awaitable[R]]:
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        if find_operation() is not None:
            connection.check_open()
            return await verb(*args, **kwargs)
        namespace: str | None = args[0]._namespace  # type: ignore[attr-defined]
        with connection.admit(verb.__qualname__, namespace), drop_driver_context():
            return await run_with_retry(connection, lambda: verb(*args, **kwargs), access, verb.__qualname__)

    return run


def _guarded_steps(verb: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        namespace: str | None = args[0]._namespace  # type: ignore[attr-defined]
        with connection.admit(verb.__qualname__, namespace), drop_driver_context():
            return await verb(*args, **kwargs)

    return run


def _guarded_generator(verb: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncIterator[R]]:
    # A generator lives as long as its consumer likes: it bounds and retries its own steps with `retry_step`.
    @functools.wraps(verb)
    async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        connection: Connection = args[0]._connection  # type: ignore[attr-defined]  # the repository
        connection.check_open()
        items = verb(*args, **kwargs)
        with drop_driver_context():
            try:
                async for item in items:
                    yield item
            except PyMongoError as error:
                raise translate_error(error, connection.engine.address) from None
            finally:
                await items.aclose()  # type: ignore[attr-defined]  # an async generator

    return run


class InternalRepository(Repository):
    """Verbs beside the public ones, for this package alone."""

    @classmethod
    def of(cls, repository: Repository) -> Self:
        """Return those on the store of public verbs."""
        return cls(repository._connection)
