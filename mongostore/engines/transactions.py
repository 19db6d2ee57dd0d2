"""Several statements that happen all or not at all."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, NetworkTimeout, OperationFailure, PyMongoError

from mongostore.errors import UnavailableError

R = TypeVar("R")

Client = AsyncMongoClient[dict[str, Any]]
TransactionBody = Callable[[AsyncClientSession | None], Awaitable[R]]

_log = logging.getLogger("mongostore.transactions")

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_LAST_SECONDS = 2.0
# A server that answers ends a transaction within this time, though the caller's is over.
_GRACE_SECONDS = 0.1
# The statements of a transaction follow each other within milliseconds: who pauses so long is dead or stands.
_ABANDONED_SECONDS = 1.5
# What this package adds to the name of the driver, by which its transactions are known.
DRIVER = "mongostore"

_ends: ContextVar[float] = ContextVar("mongostore_transaction_ends", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound every command sent inside the `with` block, and the wait for the end of a transaction."""
    token = _ends.set(min(_ends.get(), time.monotonic() + seconds))
    try:
        with pymongo.timeout(seconds):
            yield
    finally:
        _ends.reset(token)


async def transact(
    client: Client,
    admin: AsyncDatabase[dict[str, Any]],
    statements: TransactionBody[R],
    unfinished: set[asyncio.Task[Any]],
) -> R:
    """Run statements in one transaction, anew whenever another one is in their way.

    They may run several times, and must use no other session than their argument. Only the deadline
    that is set around it ends the trying.

    Args:
        client: The client.
        admin: The database admin, with the options that the transaction has as well.
        statements: The statements.
        unfinished: Where the ends of transactions are kept that last longer than that deadline.

    Raises:
        PyMongoError: The last attempt's; with the label UnknownTransactionCommitResult it may have succeeded.
    """
    pause, patience = _FIRST_PAUSE, time.monotonic() + _ABANDONED_SECONDS
    session = client.start_session()
    ending = _TransactionGuard(unfinished)
    try:
        while True:
            try:
                # What is left out here, the client's own options decide.
                await session.start_transaction(
                    read_concern=admin.read_concern,
                    write_concern=admin.write_concern,
                    read_preference=admin.read_preference,
                )
                result = await ending.run_shielded(statements(session))
                await ending.run_shielded(_commit_with_retry(session, ending))
            except BaseException as error:
                # A commit that goes on alone is in the way of an abort.
                has_ended = not ending.is_running and (
                    not session.in_transaction or await ending.start_ending(session.abort_transaction)
                )
                if _may_be_unended(error):
                    ending.kill_later(admin)
                if not has_ended or not _is_transient(error):
                    raise
            else:
                return result
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)
            if time.monotonic() > patience:
                await kill_idle_transactions(admin)
                patience = time.monotonic() + _ABANDONED_SECONDS
    finally:
        await ending.release_session(session)


async def kill_idle_transactions(admin: AsyncDatabase[dict[str, Any]]) -> None:
    """End the transactions in the middle of which a process of this package has died, or stands still.

    A server keeps them open for a minute, and all other writers of the same documents wait. A process
    that only stood still gets an error, and runs its transaction again. Users may see and end their own.
    """
    abandoned: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": False, "idleSessions": True}},
        {
            "$match": {
                "type": "idleSession",
                "clientMetadata.driver.name": {"$regex": DRIVER},
                "transaction.timeInactiveMicros": {"$gt": _ABANDONED_SECONDS * 1e6},
            }
        },
        {"$project": {"lsid.id": 1}},
    ]
    # Not every deployment tells.
    with suppress(OperationFailure):
        async with await admin.aggregate(abandoned) as found:
            sessions = [document["lsid"] for document in await found.to_list()]
        if sessions:
            await admin.command({"killSessions": sessions})
            _log.warning("killed %d abandoned transactions, each idle for over a second", len(sessions))


def _may_be_unended(error: BaseException) -> bool:
    # A refusal, the server's or the statements' own, comes when nothing is on its way.
    if isinstance(error, PyMongoError):
        return not isinstance(error, OperationFailure)
    return isinstance(error, UnavailableError) or not isinstance(error, Exception)


def _is_transient(error: BaseException) -> bool:
    # A lost connection is not: the next attempt looks for the new primary first.
    if not isinstance(error, PyMongoError) or isinstance(error, ConnectionFailure):
        return False
    return error.has_error_label("TransientTransactionError")


class _TransactionGuard:
    """What is under way in a transaction, and its end: neither is given up half-way.

    An abort on another connection would overtake a statement, which would then begin the transaction anew and
    keep it open, and after a commit the driver aborts nothing. The caller waits until the deadline, and
    hardly longer; what has not ended by then goes on without it.
    """

    def __init__(self, unfinished: set[asyncio.Task[Any]]) -> None:
        self._unended = unfinished
        self._task: asyncio.Task[Any] | None = None

    @property
    def is_running(self) -> bool:
        """Whether something is under way that no caller waits for any more."""
        return self._task is not None and not self._task.done()

    async def run_shielded(self, work: Awaitable[R]) -> R:
        """Wait for something in the transaction, and return what comes of it."""

        async def run() -> R:
            return await work

        task = asyncio.create_task(run(), context=copy_context())
        try:
            await _wait_shielded(task, _ends.get() + _GRACE_SECONDS)
        finally:
            if not task.done():
                self._hold_reference(task)
        if not task.done():
            raise NetworkTimeout("it has not ended in time")
        return task.result()

    async def start_ending(self, end: Callable[[], Awaitable[None]]) -> bool:
        """Begin an end of the transaction, with time of its own, and return whether it is reached by now."""
        task = self._hold_reference(asyncio.create_task(_with_deadline(end), context=Context()))
        await _wait_shielded(task, max(_ends.get(), time.monotonic() + _GRACE_SECONDS))
        if task.done():
            task.result()
        return task.done()

    def kill_later(self, admin: AsyncDatabase[dict[str, Any]]) -> None:
        """End the transaction once more, when nothing of it can be on its way any more.

        After a lost connection the server may read a statement later than the abort, which begins the
        transaction anew; and the driver keeps to itself that an abort has not arrived.
        """

        async def kill() -> None:
            # By then others may use its session, of which only an idle transaction may be ended.
            await asyncio.sleep(2 * _ABANDONED_SECONDS)
            # Where it fails, another one kills what is in its way.
            with suppress(PyMongoError):
                await _with_deadline(partial(kill_idle_transactions, admin))

        task = asyncio.create_task(kill(), context=Context())
        self._unended.add(task)
        task.add_done_callback(self._record_outcome)

    async def release_session(self, session: AsyncClientSession) -> None:
        """Give the session back as soon as nothing uses it any more."""
        if (before := self._task) is None or before.done():
            await session.end_session()
            return

        async def leave() -> None:
            await asyncio.wait([before])
            await _with_deadline(session.end_session)

        self._hold_reference(asyncio.create_task(leave(), context=Context()))

    def _hold_reference(self, task: asyncio.Task[R]) -> asyncio.Task[R]:
        self._task = task
        self._unended.add(task)
        task.add_done_callback(self._record_outcome)
        return task

    def _record_outcome(self, task: asyncio.Task[Any]) -> None:
        self._unended.discard(task)
        # Retrieved, so that the loop does not report it as unhandled.
        task.cancelled() or task.exception()


async def _commit_with_retry(session: AsyncClientSession, ending: _TransactionGuard) -> None:
    try:
        await _retry_commit(session)
    except PyMongoError as error:
        if not error.has_error_label("UnknownTransactionCommitResult"):
            raise
        if not await ending.start_ending(session.commit_transaction):
            raise


async def _retry_commit(session: AsyncClientSession) -> None:
    while True:
        try:
            return await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult") or error.timeout:
                raise
        await asyncio.sleep(_LONGEST_PAUSE)


async def _with_deadline(end: Callable[[], Awaitable[object]]) -> None:
    with pymongo.timeout(_LAST_SECONDS):
        await end()


async def _wait_shielded(task: asyncio.Task[Any], until: float) -> None:
    """Wait for what ends by itself, or until then; a cancellation takes effect after it."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and (left := until - time.monotonic()) > 0:
        try:
            await asyncio.wait([task], timeout=None if left == math.inf else left)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if task.done():
            task.cancelled() or task.exception()
        raise cancelled
