"""The attempts of one operation: tried again while the server is away and the operation's time lasts."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from pymongo.errors import PyMongoError, ServerSelectionTimeoutError

from mongostore.engines.driver_errors import translate_error
from mongostore.errors import MongoStoreError, UnavailableError
from mongostore.hooks import RetryRecord, call_hooks
from mongostore.repositories.connection import Connection
from mongostore.repositories.operation import Access, Operation, outside_of_call, running, verify_match

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("mongostore.retry")

# What ends by itself at a call's end, says why; what does not is ended.
_GRACE_SECONDS = 0.1


async def retry_step(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run one bounded, retried step of what is not bounded and retried as a whole."""
    return await run_with_retry(connection, lambda: action(*args, **kwargs), Access.WRITE, _name_of(action))


async def read_step(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a step that reads what the primary has."""
    return await run_with_retry(connection, lambda: action(*args, **kwargs), Access.READ, _name_of(action))


async def majority_step(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a step whose reads show all that was acknowledged, and nothing that a failover takes back."""
    return await run_with_retry(
        connection, lambda: action(*args, **kwargs), Access.READ_MAJORITY, _name_of(action)
    )


def _name_of(action: object) -> str:
    return str(getattr(action, "__qualname__", "a step")).replace(".<locals>", "")


@asynccontextmanager
async def open_stream(
    connection: Connection, action: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> AsyncGenerator[R, None]:
    """Run a step that opens a stream, and close it, for its cursor would live on at the server.

    A cancellation takes effect at once; the stream is closed all the same.
    """
    opening = asyncio.create_task(retry_step(connection, action, *args, **kwargs))
    try:
        stream = await asyncio.shield(opening)
    except asyncio.CancelledError:
        connection.close_in_background(opening)
        raise
    try:
        yield stream
    finally:
        await asyncio.shield(connection.close_in_background(opening))


async def run_with_retry(
    connection: Connection, action: Callable[[], Awaitable[R]], access: Access, operation: str = "a step"
) -> R:
    """Run an action as one call, and again while the server is away and the call's time lasts."""
    connection.check_open()
    engine, cancelled = connection.engine, _cancellations()
    with running(connection.timeout, access, operation) as call:
        call.now = connection.clock.from_host(call.now)
        while True:
            try:
                with engine.deadline(call.attempt_seconds()):
                    # The driver looks for a server half a second at a time, and for its name without end.
                    async with asyncio.timeout(call.ends - time.monotonic() + _GRACE_SECONDS):
                        result = await _run_attempt(connection, call, action)
                # The driver waits by `asyncio.wait_for`, which swallows a cancellation on Python 3.11 that
                # comes with the answer.
                if _cancellations() > cancelled:
                    raise asyncio.CancelledError
                return result
            except (TimeoutError, ServerSelectionTimeoutError):
                reported = engine.timeout_error()
            except PyMongoError as error:
                reported = translate_error(error, engine.address)
            except UnavailableError as error:
                reported = error
            if not (isinstance(reported, UnavailableError) and reported.retryable):
                raise reported from None
            await _back_off(connection, call, reported)


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


async def _run_attempt(connection: Connection, call: Operation, action: Callable[[], Awaitable[R]]) -> R:
    engine = connection.engine
    if connection.clock.is_stale:
        await connection.read_clock()
        call.now, call.now_at = connection.clock.now(), time.monotonic()
    call.began = call.began or call.now
    if call.access is Access.READ_MAJORITY:
        return await verify_match(call, engine.read_majority(action))
    result = await verify_match(call, action())
    if call.attempt and call.access is Access.WRITE:
        # What it found done already may be stored by fewer members so far than its writer has asked for.
        await engine.wait_for_write_concern()
    return result


async def _back_off(connection: Connection, call: Operation, reported: MongoStoreError) -> None:
    """Wait before the next attempt, and prepare the engine for it."""
    pause = min(0.05 * 2**call.attempt, 1.0) * random.uniform(0.5, 1.0)
    if time.monotonic() + pause >= call.ends:
        raise reported from None
    operation, attempt, reason = call.operation, call.attempt + 1, str(reported)
    retry = RetryRecord(operation, attempt, reason, call.ends - time.monotonic())
    _log.warning(
        "%s: attempt %d failed (%s); %.1f s left",
        *(operation, attempt, reason, retry.remaining),
        extra={"operation": operation, "attempt": attempt, "reason": reason},
    )
    with outside_of_call():
        call_hooks(connection.hooks, lambda hooks: hooks.on_retry(retry))
    await asyncio.sleep(pause)
    try:
        async with asyncio.timeout(call.ends - time.monotonic()):
            call.is_silent = not await connection.engine.recover()
    except TimeoutError:
        raise reported from None
    connection.check_open()
    connection.count_retry()
    call.attempt += 1
