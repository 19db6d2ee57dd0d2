"""What a connection string names, and how it may be shown."""

from __future__ import annotations

import re
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri, validate_options

from mongostore.errors import ConfigurationError


def address_of(uri: str) -> str:
    """Return the scheme and hosts of a URI: no user, password, path or option."""
    # Greedy to the last @, so that not even a password with an unescaped one shows.
    found = re.match(r"([a-z+]*://)(?:.*@)?([^/?]*)", uri)
    return f"{found[1]}{found[2]}" if found else "the URI"


def address_of_client(client: AsyncMongoClient[Any]) -> str:
    """Return the scheme and hosts of a client."""
    hosts = client.topology_description.server_descriptions()
    return "mongodb://" + ",".join(f"{host}:{port}" for host, port in hosts)


def uri_options(uri: str) -> set[str]:
    """Return the names, in lower case, of the options that a URI sets, having checked them."""
    # Checked without the DNS look-ups that an SRV address takes.
    plain = uri.replace("mongodb+srv://", "mongodb://", 1)
    try:
        options = parse_uri(plain, validate=False)["options"]
        # Not while they are parsed: the driver would then tell neither the option nor the file.
        validate_options(options)
    except OSError as error:
        # The driver opens the certificates that are named.
        raise ConfigurationError(f"{address_of(uri)}: {error.filename}: {error.strerror}") from None
    except (InvalidURI, DriverConfigurationError, ValueError) as error:
        raise ConfigurationError(f"{address_of(uri)}: {first_line(error)}") from None
    return {name.lower() for name in options}


def first_line(error: Exception) -> str:
    """Return the first line of an error of the driver's, without a password."""
    # PyMongo quotes a password in one text alone: that of a URI whose user info is not escaped.
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "user name and password must be percent-encoded" if "@" in line or "quote" in line else line
