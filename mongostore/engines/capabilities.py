"""The capabilities of a deployment, asked for once when a client is opened, and its primary."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bson.binary import Binary
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import OperationFailure

from mongostore.engines.driver_errors import describe_code, translate_error
from mongostore.engines.protocol import Capability, Collection, Refusal
from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    MongoStoreError,
    UnavailableError,
    UnsupportedError,
)

Client = AsyncMongoClient[dict[str, Any]]

_PAUSE_SECONDS = 0.05
_UNAUTHORIZED, _NOT_IN_STABLE_API = 13, 323


@dataclass(frozen=True, slots=True)
class _Question:
    """A use of a capability, by which a deployment is asked for it.

    Attributes:
        use: Uses it on the collection of sessions.
        loss: The things that do not work without it.
        remedy: A deployment that has it.
        right: The right that it needs; empty if it needs none beside those of reading.
    """

    use: Callable[[Collection], Awaitable[None]]
    loss: str
    remedy: str
    right: str = ""


async def _run_transaction(sessions: Collection) -> None:
    database = sessions.database
    async with database.client.start_session() as session:
        # The client's own options may be some that a transaction refuses.
        await session.start_transaction(
            database.read_concern, database.write_concern, database.read_preference
        )
        await sessions.find_one({"_id": ""}, {"_id": 1}, session=session)
        # It waits for no majority, as a commit does.
        await session.abort_transaction()


async def _open_change_stream(sessions: Collection) -> None:
    async with await sessions.database.watch():
        pass


async def _kill_session(sessions: Collection) -> None:
    # Without a session, the command ends all of the user's.
    unused = {"id": Binary.from_uuid(uuid.uuid4())}
    await sessions.database.client.admin.command({"killSessions": [unused]})


async def _list_search_indexes(sessions: Collection) -> None:
    async with await sessions.aggregate([{"$listSearchIndexes": {}}]) as cursor:
        await cursor.to_list()


_QUESTIONS = {
    Capability.TRANSACTIONS: _Question(
        _run_transaction,
        "the store cannot write several documents at once",
        "start a standalone server with --replSet and run rs.initiate(), or open the store with "
        'transactions="off"',
    ),
    Capability.CHANGE_STREAMS: _Question(
        _open_change_stream,
        "`watch` cannot work",
        "use a replica set, or another Atlas cluster than Flex; or list what is new, behind a cursor",
        "changeStream",
    ),
    Capability.KILL_SESSIONS: _Question(
        _kill_session,
        "a transaction that a dead process leaves holds up others for a minute",
        "use a replica set, or a dedicated Atlas cluster",
        "killSession",
    ),
    Capability.SEARCH: _Question(
        _list_search_indexes, "Atlas Search cannot work", "use Atlas", "listSearchIndexes"
    ),
}


async def ask_capabilities(client: Client, sessions: Collection, address: str) -> dict[Capability, Refusal]:
    """Use each capability of a deployment once, and return those that it refuses.

    Args:
        client: The open client.
        sessions: A collection of the store.
        address: The address without a password, for the error.
    """
    hello = await client.admin.command("hello")
    _check_members(client, hello, address)
    asked = {
        capability: await _ask(question, capability, sessions, address)
        for capability, question in _QUESTIONS.items()
    }
    return {capability: refusal for capability, refusal in asked.items() if refusal}


def _check_members(client: Client, hello: Mapping[str, Any], address: str) -> None:
    is_direct = client.topology_description.topology_type_name == "Single"
    # The only member is a secondary for the moment before it is elected.
    if is_direct and hello.get("secondary") and hello["hosts"] != [hello["me"]]:
        raise ConfigurationError(
            f"{address}: it is a secondary, which takes no writes: leave out directConnection=true"
        )
    members = len(hello.get("hosts", ())) + len(hello.get("passives", ()))
    if is_direct and members > 1:
        name = hello["setName"]
        raise ConfigurationError(
            f"{address}: directConnection=true reaches one of {members} members of the replica set {name}, "
            f"which may have what a failover takes back: write replicaSet={name} in its place"
        )


async def _ask(
    question: _Question, capability: Capability, sessions: Collection, address: str
) -> Refusal | None:
    """Return the refusal of a capability, and ask again where the server is only busy."""
    while True:
        try:
            await question.use(sessions)
        except (OperationFailure, DriverConfigurationError) as error:
            # A moment of a failover is no answer: the store would do without for good.
            reported = translate_error(error, address)
            is_passing = isinstance(reported, UnavailableError)
            if isinstance(error, OperationFailure) and not is_passing:
                if error.code == _UNAUTHORIZED and not question.right:
                    return None
                return _refusal(question, capability, error)
            if error.timeout or not is_passing:
                raise
            if isinstance(error, DriverConfigurationError):
                # A connection is never told that its server is in a set by now: that takes another client.
                raise reported from None
        else:
            return None
        await asyncio.sleep(_PAUSE_SECONDS)


def _refusal(question: _Question, capability: Capability, error: OperationFailure) -> Refusal:
    name = capability.replace("_", " ")
    kind: type[MongoStoreError] = UnsupportedError
    cause = f"the deployment has no {name}: {question.remedy}"
    if error.code == _UNAUTHORIZED:
        kind, remedy = AccessDeniedError, "give it the role readWrite on the store's database"
        cause = f"the user lacks a right ({question.right}): {remedy}"
    elif error.code == _NOT_IN_STABLE_API:
        kind, cause = (
            ConfigurationError,
            f"the strict Stable API leaves out {name}: set strict=False in server_api",
        )
    return Refusal(kind, f"{question.loss}, for {cause} {describe_code(error)}")


def primary_of(client: Client) -> str | None:
    """Return the host and port of the primary, None while there is none."""
    for (host, port), server in client.topology_description.server_descriptions().items():
        if server.server_type_name == "RSPrimary":
            return f"{host}:{port}"
    return None


def silence_command_log() -> None:
    """Have the driver log no commands, whose documents it quotes, unless its own level asks for them."""
    commands = logging.getLogger("pymongo.command")
    if commands.level == logging.NOTSET:
        commands.setLevel(logging.INFO)
