"""Where conversations are kept, chosen by URI; never a silent fallback from one to another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from mongostore.engines.clients import ClientSettings, MotorObject, Target, settings_of
from mongostore.engines.deployment import CollectionUsage, Deployment
from mongostore.engines.mongo import DEFAULT_DATABASE, MongoEngine, Transactions
from mongostore.engines.protocol import Capability, Database, Engine, Refusal
from mongostore.engines.uris import check_database
from mongostore.errors import ConfigurationError

__all__ = [
    "Capability",
    "ClientSettings",
    "CollectionUsage",
    "Database",
    "Deployment",
    "Engine",
    "MotorObject",
    "Refusal",
    "Target",
    "Transactions",
    "engine_for",
    "settings_of",
]


# The name of a collection and of its indexes has 255 bytes at most.
_PREFIX = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,63})?")


def engine_for(
    target: Target | ClientSettings,
    database: str | None,
    *,
    default_database: str | None,
    prefix: str,
    transactions: Transactions,
    client_options: Mapping[str, Any] | None,
    mongod: Path | None,
) -> Engine:
    """Return the engine of a URI, a client or a database.

    Args:
        target: `mongomock://[name]`, `mongodb://…`, `mongodb+srv://…`, `mongod:///folder`, or a client or
            database of PyMongo or Motor, or the settings of one.
        database: The database's name; else what the target names, else the default.
        default_database: The database where neither names one; else `mongostore`.
        prefix: Begins the name of every collection.
        transactions: `off` accepts a standalone server.
        client_options: Options of PyMongo's client, for a URI of a server.
        mongod: The binary for `mongod:///folder`.
    """
    default = default_database or DEFAULT_DATABASE
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix) or prefix.startswith("system."):
        raise ConfigurationError(
            "prefix: up to 64 letters, digits, _, . or -, with a letter or _ first, not system."
        )
    if not isinstance(target, str):
        if client_options is not None:
            raise ConfigurationError("client_options go with a URI; a client has its own")
        return _engine_of_client(target, database, default, prefix, transactions)
    match target.partition("://")[0]:
        case "mongomock":
            if client_options is not None:
                raise ConfigurationError("client_options go with the URI of a server; mongomock:// has none")
            return _embedded_engine(target, database or default, prefix)
        case "mongodb" | "mongodb+srv":
            return MongoEngine(
                target, database, default, prefix=prefix, transactions=transactions, options=client_options
            )
        case "mongod":
            return _engine_in_folder(target, database or default, prefix, client_options, mongod)
    raise ConfigurationError(
        "a store's URI starts with mongomock://, mongodb://, mongodb+srv:// or mongod:///folder"
    )


def _embedded_engine(target: str, database: str, prefix: str) -> Engine:
    # Only here: mongomock takes a third of the time to import this package.
    from mongostore.engines.embedded.engine import EmbeddedEngine

    name = target.removeprefix("mongomock://")
    if {"/", "?"} & {*name}:
        raise ConfigurationError("mongomock:// takes a name alone: no database and no options")
    return EmbeddedEngine(name, check_database(database), prefix)


def _engine_in_folder(
    target: str, database: str, prefix: str, options: Mapping[str, Any] | None, binary: Path | None
) -> Engine:
    from mongostore.engines.mongod_engine import MongodEngine

    parts = urlsplit(target)
    if parts.query:
        raise ConfigurationError("mongod:/// takes no options: use client_options")
    if parts.netloc or not parts.path.strip("/"):
        raise ConfigurationError("mongod:// takes an absolute folder after three slashes: mongod:///srv/chat")
    return MongodEngine(Path(unquote(parts.path)), database, binary=binary, prefix=prefix, options=options)


def _engine_of_client(
    target: object, database: str | None, default: str, prefix: str, transactions: Transactions
) -> MongoEngine:
    if isinstance(target, AsyncDatabase):
        return MongoEngine(
            target.client, database or str(target.name), default, prefix=prefix, transactions=transactions
        )
    if isinstance(target, AsyncMongoClient):
        return MongoEngine(target, database, default, prefix=prefix, transactions=transactions)
    settings = target if isinstance(target, ClientSettings) else settings_of(target)
    if settings is None:
        raise ConfigurationError(
            f"a store opens a URI, or a client or database of PyMongo or Motor, not {type(target).__name__}"
        )
    return MongoEngine(
        settings.uri,
        database or settings.database,
        default,
        prefix=prefix,
        transactions=transactions,
        options=settings.options,
    )
