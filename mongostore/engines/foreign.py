"""Documents of other programs: in collections of a server, in BSON dumps and in Extended JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from mongostore.engines.driver_errors import translate_error
from mongostore.engines.uris import address_of
from mongostore.errors import ConfigurationError, InvalidDocumentError

_RAW = CodecOptions(document_class=RawBSONDocument)
_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
_JSON = json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED, tz_aware=True, tzinfo=UTC)
_TIMEOUT_MILLISECONDS = 5000


def hosts_and_database(uri: str) -> tuple[frozenset[str], str | None]:
    """Return the hosts of a URI, and the database that it names."""
    try:
        parsed = parse_uri(uri, warn=False)
    except (PyMongoError, ValueError):
        raise ConfigurationError("source: is no URI of MongoDB") from None
    return frozenset(f"{host}:{port}" for host, port in parsed["nodelist"]), parsed["database"]


def read_collection(uri: str, database: str, collection: str) -> Iterator[bytes]:
    """Yield the documents of a collection in its natural order, as the majority of the servers has them."""
    try:
        with MongoClient[RawBSONDocument](
            uri, document_class=RawBSONDocument, serverSelectionTimeoutMS=_TIMEOUT_MILLISECONDS
        ) as client:
            source = client.get_database(database, read_concern=ReadConcern("majority"))
            with source.get_collection(collection).find(sort=[("$natural", 1)]) as documents:
                for document in documents:
                    yield bytes(document.raw)
    except PyMongoError as error:
        raise translate_error(error, f"the source {address_of(uri)}") from None


def read_bson(path: Path) -> Iterator[bytes]:
    """Yield the documents of a file that `mongodump` wrote.

    Raises:
        InvalidDocumentError: The file is torn, after the documents before that.
    """
    with path.open("rb") as file:
        try:
            for document in bson.decode_file_iter(file, _RAW):
                yield bytes(document.raw)
        except BSONError:
            raise InvalidDocumentError("dump", path.name, ("BSON",)) from None


def from_extended_json(text: str | bytes) -> bytes:
    """Return a document of canonical or relaxed Extended JSON as BSON."""
    try:
        return bson.encode(json_util.loads(text, json_options=_JSON))
    except (BSONError, OverflowError, RecursionError, TypeError, ValueError):
        raise InvalidDocumentError("document", "", ("BSON",)) from None


def to_plain(document: bytes) -> dict[str, Any]:
    """Return a document as JSON has it: ids as hexadecimal texts, times as texts in UTC."""
    try:
        return {key: _plain(value) for key, value in bson.decode(document, _AWARE).items()}
    except (BSONError, OverflowError, ValueError):
        raise InvalidDocumentError("document", "", ("BSON",)) from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bson.ObjectId):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bson.Int64):
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json_util.default(value, _JSON)
