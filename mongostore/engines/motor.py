"""A Motor client or database that a service already holds, as an engine on PyMongo's async client."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from mongostore.engines.mongo import MongoEngine, Transactions
from mongostore.errors import ConfigurationError

# What Motor puts into its delegate for itself.
_MOTORS_OWN = ("driver", "_pool_class", "_monitor_class", "_condition_class")


def is_motor(candidate: object) -> bool:
    """Return whether it comes from Motor, told without importing it."""
    return any(base.__module__.partition(".")[0] == "motor" for base in type(candidate).__mro__)


def engine_from_motor(
    motor: Any, database: str | None, default_database: str, *, transactions: Transactions = "required"
) -> MongoEngine:
    """Return an engine with the same hosts, credentials and options, on connections of its own.

    Args:
        motor: A `motor.motor_asyncio.AsyncIOMotorClient` or `…Database`.
        database: The database; else the Motor database's, else the one that the client's URI names.
        default_database: The database where none of these says one.
        transactions: As for `MongoEngine`.

    Raises:
        ConfigurationError: It is another object of Motor's, or a Motor that hides how it was made.
    """
    # Motor answers every attribute with a collection, so only the type of its delegate tells.
    delegate = motor.delegate
    if isinstance(delegate, Database):
        database = database or delegate.name
        delegate = motor.client.delegate
    made_with = getattr(delegate, "_init_kwargs", None)
    if not isinstance(delegate, MongoClient) or not isinstance(made_with, dict):
        raise ConfigurationError("give a Motor client or database of Motor 3.7, or the URI itself")
    options = {key: value for key, value in made_with.items() if key not in _MOTORS_OWN and value is not None}
    hosts = options.pop("host", None) or "mongodb://localhost"
    hosts = [hosts] if isinstance(hosts, str) else list(hosts)
    uri = next((host for host in hosts if "://" in host), None) or "mongodb://" + ",".join(hosts)
    return MongoEngine(uri, database, default_database, transactions=transactions, options=options)
