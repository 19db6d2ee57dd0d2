"""What the driver reports, in this package's own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    ConfigurationError as DriverConfigurationError,
)
from pymongo.errors import (
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    DocumentTooLargeError,
    IndexConflictError,
    MongoStoreError,
    NotOpenError,
    UnavailableError,
    UnsupportedError,
)

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024

_ACCESS = {
    13: "the user lacks a right",
    18: "wrong user, password or authSource",
    8000: "Atlas refused the user",
}
_TOO_LARGE = {10334, 17280, 17419, 17420}
_INDEX = {85, 86}
_UNSUPPORTED = {59, 115, 263, 303, 40573}
_STREAM_LOST = {260, 280, 286}
# Steps of a failover, a restart or a busy moment, such as a full cache: the same call may succeed soon after.
_PASSING = {
    *(6, 7, 43, 50, 64, 89, 91, 112, 133, 134, 189, 262, 388),
    *(9001, 10107, 11600, 11602, 13388, 13435, 13436),
}
# What the driver says, and has no code for, of a member that has just started and is in no set yet.
_JUST_STARTED = "Sessions are not supported"
_TRANSIENT_LABELS = ("RetryableWriteError", "TransientTransactionError")


@contextmanager
def drop_driver_context() -> Iterator[None]:
    """Part the errors of ours that leave the block from those of the driver that they came of.

    Those quote what is stored. `from None` hides them from a traceback, not from who looks at errors whole.
    """
    try:
        yield
    except MongoStoreError as error:
        if error.__suppress_context__:
            error.__context__ = None
        raise


def translate_error(error: PyMongoError, where: str) -> MongoStoreError:
    """Return the error of ours that says what `error` says, without the values that the driver's text quotes.

    Args:
        error: What PyMongo, or the embedded engine in its place, raised.
        where: The engine's address, for the message.
    """
    if isinstance(error, DocumentTooLarge):
        return DocumentTooLargeError("a document", MAX_DOCUMENT_BYTES + 1, MAX_DOCUMENT_BYTES)
    if isinstance(error, OperationFailure):
        return _translate_server_error(error, where)
    if isinstance(error, ConnectionFailure) or error.timeout:
        return UnavailableError(f"{where}: {_describe(error)}")
    if isinstance(error, InvalidOperation):
        return NotOpenError(f"{where}: the client is closed")
    if isinstance(error, DriverConfigurationError):
        if _JUST_STARTED in str(error):
            return UnavailableError(f"{where}: the server has just started")
        return ConfigurationError(f"{where}: the URI's options do not go together")
    return MongoStoreError(f"{where}: {type(error).__name__}")


def _describe(error: PyMongoError) -> str:
    if isinstance(error, WaitQueueTimeoutError):
        return "no answer in time: every connection of the pool is in use (see maxPoolSize)"
    if isinstance(error, ServerSelectionTimeoutError):
        return "no answer in time: no server to ask was found"
    return "no answer in time" if error.timeout else "the connection was lost"


def _translate_server_error(error: OperationFailure, where: str) -> MongoStoreError:
    code = error.code or 0
    name = (error.details or {}).get("codeName", "unnamed")
    if isinstance(error, DuplicateKeyError):
        return ConflictError(f"{where}: a unique key is taken")
    if code in _ACCESS:
        return AccessDeniedError(f"{where}: {_ACCESS[code]} (code {code})")
    if code in _TOO_LARGE:
        return DocumentTooLargeError("a document", MAX_DOCUMENT_BYTES + 1, MAX_DOCUMENT_BYTES)
    if code in _INDEX:
        return IndexConflictError(f"{where}: an index of that name or those keys differs (code {code})")
    if code in _STREAM_LOST:
        return ConflictError(f"{where}: the token is older than the server's history; read anew, then watch")
    if code in _UNSUPPORTED:
        return UnsupportedError(f"{where}: this deployment cannot do that (code {code}, {name})")
    if error.timeout:
        return UnavailableError(f"{where}: no answer in time (code {code}, {name})")
    if code in _PASSING or any(map(error.has_error_label, _TRANSIENT_LABELS)):
        return UnavailableError(f"{where}: the server is busy or changing its primary (code {code}, {name})")
    return MongoStoreError(f"{where}: the server refused it (code {code}, {name})")
