"""Where conversations are kept, chosen by URI; never a silent fallback from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mongostore.engines.embedded import EmbeddedEngine
from mongostore.engines.facts import Deployment, Usage
from mongostore.engines.folder import MongodEngine
from mongostore.engines.mongo import DEFAULT_DATABASE, MongoEngine, Transactions
from mongostore.engines.motor import engine_from_motor, is_motor
from mongostore.engines.protocol import Capability, Database, Engine
from mongostore.errors import ConfigurationError

__all__ = ["Capability", "Database", "Deployment", "Engine", "Transactions", "Usage", "engine_for"]


def engine_for(
    target: object,
    database: str | None = None,
    *,
    default_database: str | None = None,
    transactions: Transactions = "required",
    mongod: Path | None = None,
    client_options: Mapping[str, Any] | None = None,
) -> Engine:
    """Return the engine of a URI, or of a Motor client or database.

    Args:
        target: `mongomock://[name]`, `mongodb://…`, `mongodb+srv://…`, `mongod:///folder`, or the object.
        database: The database's name; else what the target names, else the default.
        default_database: The database where neither says one; else `mongostore`.
        transactions: `off` accepts a standalone server.
        mongod: The binary for `mongod:///folder`.
        client_options: Of PyMongo's client, beside the URI's; the embedded engine has no client.

    Raises:
        ConfigurationError: It is none of these, or a client is given with options.
    """
    default = default_database or DEFAULT_DATABASE
    if is_motor(target):
        if client_options:
            raise ConfigurationError("client options go with a URI: a Motor client has its own")
        return engine_from_motor(target, database, default, transactions=transactions)
    if not isinstance(target, str):
        raise ConfigurationError(f"a store opens a URI or a Motor client, not {type(target).__name__}")
    scheme = target.partition("://")[0]
    if scheme == "mongomock":
        return EmbeddedEngine(target.removeprefix("mongomock://"), database or default)
    if scheme in ("mongodb", "mongodb+srv"):
        return MongoEngine(target, database, default, transactions=transactions, options=client_options)
    if scheme == "mongod":
        parts = urlsplit(target)
        if parts.netloc or not parts.path.strip("/"):
            raise ConfigurationError(
                "mongod:// takes an absolute folder after three slashes: mongod:///srv/chat"
            )
        return MongodEngine(
            Path(unquote(parts.path)), database or default, binary=mongod, options=client_options
        )
    raise ConfigurationError(
        "a store's URI starts with mongomock://, mongodb://, mongodb+srv:// or mongod:///folder"
    )
