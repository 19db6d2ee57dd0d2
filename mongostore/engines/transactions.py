"""Several statements that happen all or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import ConnectionFailure, PyMongoError
from pymongo.write_concern import WriteConcern

R = TypeVar("R")

Client = AsyncMongoClient[dict[str, Any]]
Statements = Callable[[AsyncClientSession | None], Awaitable[R]]

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_ABORT_SECONDS = 2.0


async def transact(client: Client, concern: WriteConcern, statements: Statements[R]) -> R:
    """Run statements in one transaction, anew whenever another one is in their way.

    They may run several times, and must use nothing but the session that they are given. Only the deadline
    that is set around it ends the trying.

    Raises:
        PyMongoError: The last attempt's; with the label UnknownTransactionCommitResult it may have succeeded.
    """
    pause = _FIRST_PAUSE
    async with client.start_session() as session:
        while True:
            try:
                await session.start_transaction(write_concern=concern)
                result = await statements(session)
                await _commit(session)
            except BaseException as error:
                if session.in_transaction:
                    await _abort(session)
                if not _is_passing(error):
                    raise
            else:
                return result
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)


def _is_passing(error: BaseException) -> bool:
    # A lost connection is not: whoever tries again later looks for the new primary first.
    if not isinstance(error, PyMongoError) or isinstance(error, ConnectionFailure):
        return False
    return error.has_error_label("TransientTransactionError")


async def _commit(session: AsyncClientSession) -> None:
    while True:
        try:
            return await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult") or error.timeout:
                raise
        await asyncio.sleep(_LONGEST_PAUSE)


async def _abort(session: AsyncClientSession) -> None:
    # In a context of its own, for which no deadline is over yet: an open transaction keeps others waiting.
    async def abort() -> None:
        with pymongo.timeout(_ABORT_SECONDS):
            await session.abort_transaction()

    await asyncio.shield(asyncio.create_task(abort(), context=Context()))
