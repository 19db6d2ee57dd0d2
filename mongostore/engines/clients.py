"""Clients that a service already holds, and how an equal one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

from mongostore.errors import ConfigurationError


class MotorObject(Protocol):
    """A Motor client or database."""

    @property
    def delegate(self) -> Any:
        """Return the PyMongo object behind it."""


Target = str | AsyncMongoClient[Any] | AsyncDatabase[Any] | MongoClient[Any] | Database[Any] | MotorObject

# Motor puts these into the client behind it, for itself.
_MOTOR_OPTIONS = ("driver", "_pool_class", "_monitor_class", "_condition_class")
# They decide how values are read, and when a client connects: the store's own business.
_READING_OPTIONS = ("document_class", "tz_aware", "type_registry", "connect")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a client is made that is equal to another one.

    Attributes:
        uri: The connection string.
        options: The client's options beside the URI's.
        database: The name of the database; None of a client.
    """

    uri: str
    options: Mapping[str, Any]
    database: str | None


def settings_of(target: object) -> ClientSettings | None:
    """Return the settings of a client or database of PyMongo or Motor; None of anything else."""
    client, database = _client_of(target)
    if client is None:
        return None
    # PyMongo keeps the arguments to make copies of a client; there is no public way to them.
    arguments = getattr(client, "_init_kwargs", None)
    if not isinstance(arguments, dict):
        raise ConfigurationError("this PyMongo does not say how a client was made: give the URI itself")
    private = {"host", *_MOTOR_OPTIONS, *_READING_OPTIONS}
    options = {name: value for name, value in arguments.items() if name not in private and value is not None}
    host_names = arguments.get("host") or "mongodb://localhost"
    hosts = [host_names] if isinstance(host_names, str) else list(host_names)
    uri = next((host for host in hosts if "://" in host), None) or "mongodb://" + ",".join(hosts)
    return ClientSettings(uri, options, database)


def equal_client(client: AsyncMongoClient[Any], special: Mapping[str, Any]) -> AsyncMongoClient[Any]:
    """Return a new client that is equal to another one but for special options."""
    settings = settings_of(client)
    assert settings is not None, "it is a client"
    return AsyncMongoClient(settings.uri, **{**settings.options, **special})


def _client_of(target: object) -> tuple[Any, str | None]:
    """Return the PyMongo client behind an object, and the name of the database that it is."""
    if _is_motor(target):
        # Motor answers every attribute with a collection, so only the type of its delegate tells.
        target = getattr(target, "delegate", None)
        if not isinstance(target, MongoClient | Database):
            raise ConfigurationError("give a Motor client or database of Motor 3.7, or the URI itself")
    if isinstance(target, MongoClient | AsyncMongoClient):
        return target, None
    if isinstance(target, Database | AsyncDatabase):
        return target.client, target.name
    return None, None


def _is_motor(target: object) -> bool:
    """Return whether an object comes from Motor, without importing it."""
    return any(base.__module__.partition(".")[0] == "motor" for base in type(target).__mro__)
