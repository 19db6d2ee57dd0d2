"""The capabilities and the primary of a deployment, read when a client is opened."""

from __future__ import annotations

import logging
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from mongostore.engines.protocol import Capability, Collection
from mongostore.errors import ConfigurationError

Client = AsyncMongoClient[dict[str, Any]]


async def detect_capabilities(client: Client, sessions: Collection, address: str) -> frozenset[Capability]:
    """Ask a deployment for its capabilities.

    Args:
        client: The open client.
        sessions: A collection of the store.
        address: The address without a password, for the error.

    Raises:
        ConfigurationError: If the client is connected to a secondary alone, or to one member of several.
        PyMongoError: If the driver fails, as with a wrong password.
    """
    hello = await client.admin.command("hello")
    is_direct = client.topology_description.topology_type_name == "Single"
    if is_direct and hello.get("secondary"):
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
    # The first command that needs a login: wrong credentials show here and not in the middle of the work.
    await sessions.database.command("ping")
    found = {Capability.TTL}
    if "setName" in hello or hello.get("msg") == "isdbgrid":
        found |= {Capability.TRANSACTIONS, Capability.CHANGE_STREAMS}
    if await _has_search(sessions):
        found.add(Capability.SEARCH)
    return frozenset(found)


async def _has_search(sessions: Collection) -> bool:
    # A server without Atlas Search does not know the stage, one without rights or a mongot refuses it.
    try:
        async with await sessions.aggregate([{"$listSearchIndexes": {}}]) as cursor:
            await cursor.to_list()
    except OperationFailure:
        return False
    return True


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
