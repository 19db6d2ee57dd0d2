"""The parts of a connection string, and its form for logs."""

from __future__ import annotations

import re
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri, validate_options

from mongostore.errors import ConfigurationError

_MAX_DATABASE_BYTES = 63
_NOT_IN_DATABASES = frozenset('/\\. "$*<>:|?\0')
# No transaction works in them.
_DATABASES_OF_SERVERS = ("admin", "config", "local")


def address_of(uri: str) -> str:
    """Return the scheme and hosts of a URI: no user, password, path or option."""
    # Greedy to the last @, so that not even a password with an unescaped one shows.
    found = re.match(r"([a-z+]*://)(?:.*@)?([^/?]*)", uri)
    return f"{found[1]}{found[2]}" if found else "the URI"


def address_of_client(client: AsyncMongoClient[Any]) -> str:
    """Return the scheme and hosts of a client."""
    hosts = client.topology_description.server_descriptions()
    return "mongodb://" + ",".join(f"{host}:{port}" for host, port in hosts)


def check_database(name: str) -> str:
    """Return the name of a database, which a server takes."""
    if not isinstance(name, str) or not name or len(name.encode()) > _MAX_DATABASE_BYTES:
        raise ConfigurationError(f"database: the name has 1 to {_MAX_DATABASE_BYTES} bytes")
    if wrong := sorted(set(name) & _NOT_IN_DATABASES):
        raise ConfigurationError(f"database {name!r}: the name has no {wrong[0]!r}")
    if name in _DATABASES_OF_SERVERS:
        raise ConfigurationError(f"database {name!r}: a server keeps it for itself: use another one")
    return name


def uri_options(uri: str) -> set[str]:
    """Return the names, in lower case, of the options that a URI sets, having checked them."""
    # Checked without the DNS look-ups that an SRV address takes.
    plain = uri.replace("mongodb+srv://", "mongodb://", 1)
    try:
        parsed = parse_uri(plain, validate=False)
        options = parsed["options"]
        # Not while they are parsed: the driver would then tell neither the option nor the file.
        validate_options(options)
    except OSError as error:
        # The driver opens the certificates that are named.
        raise ConfigurationError(f"{address_of(uri)}: {error.filename}: {error.strerror}") from None
    except (InvalidURI, DriverConfigurationError, KeyError, ValueError) as error:
        raise ConfigurationError(f"{address_of(uri)}: {first_line(error)}") from None
    if parsed["collection"] is not None:
        check_database(f"{parsed['database']}.{parsed['collection']}")
    return {name.lower() for name in options}


def first_line(error: Exception) -> str:
    """Return the first line of an error of the driver's, without a password."""
    if isinstance(error, KeyError):
        # So it tells of a name that is no member of an enumeration.
        return f"an option has no value {error}"
    # PyMongo quotes a password in one text alone: that of a URI whose user info is not escaped.
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "user name and password must be percent-encoded" if "@" in line or "quote" in line else line
