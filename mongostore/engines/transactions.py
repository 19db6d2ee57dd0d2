"""Several statements that happen all or not at all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

R = TypeVar("R")

Client = AsyncMongoClient[dict[str, Any]]
Statements = Callable[[AsyncClientSession | None], Awaitable[R]]

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_LAST_SECONDS = 2.0
# The statements of a transaction follow each other within milliseconds: who pauses so long is dead or stands.
_ABANDONED_SECONDS = 1.5
# What this package adds to the name of the driver, by which its transactions are known.
DRIVER = "mongostore"


async def transact(client: Client, concern: WriteConcern, statements: Statements[R]) -> R:
    """Run statements in one transaction, anew whenever another one is in their way.

    They may run several times, and must use nothing but the session that they are given. Only the deadline
    that is set around it ends the trying.

    Raises:
        PyMongoError: The last attempt's; with the label UnknownTransactionCommitResult it may have succeeded.
    """
    pause, patience = _FIRST_PAUSE, time.monotonic() + _ABANDONED_SECONDS
    async with client.start_session() as session:
        while True:
            try:
                await session.start_transaction(write_concern=concern)
                result = await statements(session)
                await _commit(session)
            except BaseException as error:
                if session.in_transaction:
                    await _at_last(session.abort_transaction)
                if not _is_passing(error):
                    raise
            else:
                return result
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)
            if time.monotonic() > patience:
                await end_abandoned(client)
                patience = time.monotonic() + _ABANDONED_SECONDS


async def end_abandoned(client: Client) -> None:
    """End the transactions in the middle of which a process of this package has died, or stands still.

    A server keeps them open for a minute, and keeps all waiting who want to write the same documents. Whoever
    only stood still is told that the transaction is gone, and runs it anew. Users may see and end their own.
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
        async with await client.admin.aggregate(abandoned) as found:
            sessions = [raw["lsid"] for raw in await found.to_list()]
        if sessions:
            await client.admin.command({"killSessions": sessions})


def _is_passing(error: BaseException) -> bool:
    # A lost connection is not: whoever tries again later looks for the new primary first.
    if not isinstance(error, PyMongoError) or isinstance(error, ConnectionFailure):
        return False
    return error.has_error_label("TransientTransactionError")


async def _commit(session: AsyncClientSession) -> None:
    # Given up half-way it may stay open, for the driver aborts none after that, and keep others waiting.
    async def commit() -> None:
        try:
            await _insist(session)
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult"):
                raise
            await _at_last(session.commit_transaction)

    await _to_the_end(commit(), copy_context())


async def _insist(session: AsyncClientSession) -> None:
    while True:
        try:
            return await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult") or error.timeout:
                raise
        await asyncio.sleep(_LONGEST_PAUSE)


async def _at_last(end: Callable[[], Awaitable[None]]) -> None:
    """End a transaction in a context of its own, for which no deadline is over yet."""

    async def run() -> None:
        with pymongo.timeout(_LAST_SECONDS):
            await end()

    await _to_the_end(run(), Context())


async def _to_the_end(work: Coroutine[Any, Any, None], context: Context) -> None:
    """Wait for work that ends by itself; whoever is cancelled meanwhile is so when it has ended."""
    task = asyncio.create_task(work, context=context)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    task.cancelled() or task.exception()
    raise cancelled
