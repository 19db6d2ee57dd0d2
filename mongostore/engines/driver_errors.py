"""Errors of the driver as errors of this package."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    EncryptionError,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from pymongo.errors import (
    ConfigurationError as DriverConfigurationError,
)
from pymongo.server_description import ServerDescription

from mongostore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConflictError,
    DocumentTooLargeError,
    IndexConflictError,
    MongoStoreError,
    NotOpenError,
    TokenExpiredError,
    UnavailableError,
    UnsupportedError,
)

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024

_TOO_LARGE = {10334, 17280, 17419, 17420}
_STREAM_LOST = {260, 280, 286}
_ELSEWHERE = "use another database, or a prefix"

_UNAUTHORIZED = 13
_NO_LOGIN = "requires authentication"

# By the server's code: the error of ours, what is wrong and what to do about it.
_REFUSALS: dict[int, tuple[type[MongoStoreError], str]] = {
    11: (AccessDeniedError, "the server has no such user: create it, for a certificate by its subject"),
    _UNAUTHORIZED: (
        AccessDeniedError,
        "the user lacks a right: give it the role readWrite on the store's database",
    ),
    18: (AccessDeniedError, "wrong user, password or authSource"),
    8000: (AccessDeniedError, "Atlas refused the user"),
    79: (ConfigurationError, "the server has no write concern of that name: correct w= in the URI"),
    301: (ConfigurationError, "the deployment has no retryable writes: add retryWrites=false to the URI"),
    322: (ConfigurationError, "the server does not know this API version: correct server_api"),
    323: (ConfigurationError, "the API version leaves this command out: set strict=False in server_api"),
    121: (ConfigurationError, f"a validator of the collection refuses our documents: {_ELSEWHERE}"),
    **dict.fromkeys((166, 167), (ConfigurationError, f"it is a view and no collection: {_ELSEWHERE}")),
    13297: (ConfigurationError, "a database has that name in other letter case: write it as it is there"),
    **dict.fromkeys((10003, 10101), (ConfigurationError, f"the collection is capped: {_ELSEWHERE}")),
    **dict.fromkeys(
        (85, 86),
        (IndexConflictError, "an index of that name or those keys differs: see `mongostore indexes check`"),
    ),
    67: (IndexConflictError, "the server cannot build an index: see `mongostore indexes check`"),
    291: (IndexConflictError, "no index serves this: run `mongostore indexes apply`"),
    **dict.fromkeys(
        (59, 115, 238, 263, 303, 40324, 40573),
        (
            UnsupportedError,
            "this deployment cannot do that: use a replica set of MongoDB, or Atlas",
        ),
    ),
}
# Steps of a failover, a restart or a busy moment, such as a full cache: the same call may succeed soon after.
_PASSING = {
    *(6, 7, 24, 43, 46, 50, 63, 64, 89, 91, 100, 107, 112, 129, 133, 134, 150, 175, 189, 202, 234, 237, 239),
    *(262, 317, 355, 365, 384, 388, 462, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436),
}
_PASSING_REASONS = {
    11601: "the server was told to end the operation",
    100: "fewer members are there than w= in the URI asks for: start them, or ask for fewer",
    64: "too few members had stored it in time: see wtimeoutMS and w= in the URI",
    462: "the server takes no more requests for now: send fewer, or scale it up",
}
_DISK_FULL = {14031, 12501}
# What the driver says, and has no code for, of a member that has just started and is in no set yet.
_JUST_STARTED = "Sessions are not supported"
_IN_NO_SET = "if it stays in no replica set, run rs.initiate(), and make a client that you hand in anew"
# The old storage engine and others' servers say so by this text; code 20 has other meanings, too.
_NO_RETRYABLE_WRITES = ("Transaction numbers are only allowed", "does not support retryable writes")
# The code of this one, BadValue, has other meanings, too.
_NO_INDEX = "hint provided does not correspond to an existing index"
# Of a client, or of a session of one, that is closed; the driver has no error of its own for that.
_CLOSED = ("after close", "ended session", "closed")
_NO_MECHANISM = 334
_MECHANISM = re.compile(r"mechanism ([A-Z0-9-]+)")
_DUPLICATE = {11000, 11001, 12582}
_TRANSIENT_LABELS = ("RetryableWriteError", "TransientTransactionError")
_INDEX = re.compile(r" collection: (?:[^. ]+\.)?(\S+) index: (.+?) dup key")

Address = tuple[str, int | None]
Servers = Mapping[Address, ServerDescription]

_CLOSES = "it closes the connection: if it wants TLS, say tls=true"
_NO_HELPER = "install mongocryptd, or name MongoDB's crypt_shared library in auto_encryption_opts"
NO_PRIMARY = "the replica set has no primary: more than half of its members must be up"
_FOLLOWERS = ("RSSecondary", "RSArbiter")
_OTHER_SET = "no member of the replica set that the URI names: is its name right?"
_REASONS = (
    ("hostname mismatch", "its TLS certificate is for another host name"),
    ("ip address mismatch", "its TLS certificate is for another host name"),
    ("certificate verify failed", "its TLS certificate is not trusted: name the right CA with tlsCAFile="),
    ("ssl", "it does not speak TLS, or another version: leave out tls=true, or mend the server"),
    (" closed", _CLOSES),
    ("reset by peer", _CLOSES),
    ("replica set", _OTHER_SET),
    ("refused", "nothing listens there: is the server running?"),
    ("connect call failed", "nothing listens there: is the server running?"),
    ("not known", "there is no such host"),
    ("nodename", "there is no such host"),
    ("name resolution", "the host's name cannot be looked up"),
    ("timed out", "it does not answer"),
)


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


def translate_error(error: Exception, address: str) -> MongoStoreError:
    """Return the error of ours with the meaning of `error`, without the values that the driver's text quotes.

    Args:
        error: The error of PyMongo, or of the embedded engine in its place.
        address: The engine's address, for the message.
    """
    if isinstance(error, BulkWriteError):
        error = _first_error(error)
    if isinstance(error, DocumentTooLarge):
        return DocumentTooLargeError("a document", MAX_DOCUMENT_BYTES + 1, MAX_DOCUMENT_BYTES)
    if isinstance(error, OperationFailure):
        return _translate_server_error(error, address)
    if isinstance(error, EncryptionError):
        # Its timeout is that of MongoDB's helper, or of the collection of keys, not of the command.
        if error.timeout or isinstance(error.cause, ConnectionFailure):
            return UnavailableError(f"{address}: client-side encryption gets no answer: {_NO_HELPER}")
        return ConfigurationError(f"{address}: client-side encryption failed: see auto_encryption_opts")
    if isinstance(error, ConnectionFailure) or getattr(error, "timeout", False):
        return UnavailableError(f"{address}: {_describe(error)}")
    if isinstance(error, InvalidOperation):
        if any(word in str(error) for word in _CLOSED):
            return NotOpenError(f"{address}: the client is closed")
        return MongoStoreError(f"{address}: the driver refuses the operation")
    if isinstance(error, DriverConfigurationError):
        if _JUST_STARTED in str(error):
            return UnavailableError(f"{address}: the server has just started: {_IN_NO_SET}")
        return ConfigurationError(f"{address}: the URI's options do not go together")
    if isinstance(error, BSONError):
        return MongoStoreError(f"{address}: a stored value cannot be read: another program wrote it")
    return MongoStoreError(f"{address}: {type(error).__name__}")


def is_encryption_error(error: Exception) -> bool:
    """Return whether an error is one of the library of client-side encryption, which is an extra."""
    return type(error).__module__.partition(".")[0] == "pymongocrypt"


def find_duplicate(error: PyMongoError) -> tuple[str, list[str]] | None:
    """Return the name and the fields of the unique index that refused a write; None if none did.

    The fields are empty where the server does not name them.
    """
    if isinstance(error, BulkWriteError):
        error = _first_error(error)
    if not isinstance(error, DuplicateKeyError):
        return None
    found = _INDEX.search(str(error))
    return found[2] if found else "", [*(error.details or {}).get("keyPattern", ())]


def refused_writes(error: BulkWriteError) -> dict[int, PyMongoError]:
    """Return the errors of the documents that an insert has not stored, by their place."""
    for concern in error.details.get("writeConcernErrors", ()):
        raise OperationFailure(concern.get("errmsg", ""), concern.get("code"), concern)
    return {
        one["index"]: (DuplicateKeyError if one["code"] in _DUPLICATE else OperationFailure)(
            one["errmsg"], one["code"], one
        )
        for one in error.details["writeErrors"]
    }


def _first_error(error: BulkWriteError) -> PyMongoError:
    """Return the first error of several writes, for the bulk's own code says nothing."""
    details = error.details
    first = next(iter([*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]), None)
    if first is None:
        return OperationFailure("", details.get("code"), details)
    code, text = first.get("code", 0), first.get("errmsg", "")
    known = {**first, "errorLabels": [label for label in _TRANSIENT_LABELS if error.has_error_label(label)]}
    kind = (
        DuplicateKeyError if code in _DUPLICATE else ExecutionTimeout if error.timeout else OperationFailure
    )
    return kind(text, code, known)


def _describe(error: Exception) -> str:
    if isinstance(error, WaitQueueTimeoutError):
        return "no answer in time: every connection of the pool is in use (see maxPoolSize)"
    if isinstance(error, ServerSelectionTimeoutError):
        return "no answer in time: no server to ask was found"
    return (
        "no answer in time"
        if isinstance(error, PyMongoError) and error.timeout
        else "the connection was lost"
    )


def describe_code(error: OperationFailure) -> str:
    """Return the code of a server's error, and its name if the server gives it one."""
    name = (error.details or {}).get("codeName")
    return f"(code {error.code or 0}, {name})" if name else f"(code {error.code or 0})"


def _translate_server_error(error: OperationFailure, address: str) -> MongoStoreError:
    code = error.code or 0
    detail = describe_code(error)
    if isinstance(error, DuplicateKeyError):
        found = _INDEX.search(str(error))
        index = f": that of the index {found[2]} of {found[1]}" if found else ""
        return ConflictError(f"{address}: a unique key is taken{index}")
    if code in _TOO_LARGE:
        return DocumentTooLargeError("a document", MAX_DOCUMENT_BYTES + 1, MAX_DOCUMENT_BYTES)
    if code in _STREAM_LOST:
        return TokenExpiredError(
            f"{address}: the token is older than the server's history; read anew, then watch"
        )
    if any(text in str(error) for text in _NO_RETRYABLE_WRITES):
        code = 301
    if _NO_INDEX in str(error):
        code = 291
    if code == _NO_MECHANISM:
        found = _MECHANISM.search(str(error))
        login = found[1] if found else "this way"
        return ConfigurationError(
            f"{address}: the server has no login by {login}: correct authMechanism {detail}"
        )
    if code == _UNAUTHORIZED and _NO_LOGIN in str(error):
        return AccessDeniedError(f"{address}: the server wants a login: name the user in the URI {detail}")
    if code in _REFUSALS:
        kind, reason = _REFUSALS[code]
        return kind(f"{address}: {reason} {detail}")
    if code in _DISK_FULL:
        return UnavailableError(f"{address}: the server's disk is full {detail}", retryable=False)
    if error.timeout and code not in _PASSING_REASONS:
        return UnavailableError(f"{address}: no answer in time {detail}")
    if code in _PASSING or any(map(error.has_error_label, _TRANSIENT_LABELS)):
        reason = _PASSING_REASONS.get(code, "the server is busy or changing its primary")
        return UnavailableError(f"{address}: {reason} {detail}")
    return MongoStoreError(f"{address}: the server refused it {detail}")


def lacks_primary(servers: Iterable[ServerDescription]) -> bool:
    """Return whether members of a replica set answer, and none of them is the primary."""
    kinds = {server.server_type_name for server in servers}
    return "RSPrimary" not in kinds and not kinds.isdisjoint(_FOLLOWERS)


def explain_silence(servers: Servers, named: Collection[Address]) -> str:
    """Return why no server answers, as far as it is known.

    Args:
        servers: The descriptions of the hosts, as the driver has them.
        named: The hosts that the URI names; none if they are known from elsewhere.
    """
    if not servers:
        # A member that calls itself by another name is struck off the list.
        return _OTHER_SET
    if lacks_primary(servers.values()):
        return NO_PRIMARY
    # Without the host's name, which may hold any of the signs, and without the settings that are quoted.
    detail = [
        str(server.error).replace(host, "").partition("(configured")[0]
        for (host, _), server in servers.items()
        if server.error
    ]
    text = " ".join(detail).lower()
    reason = next((reason for sign, reason in _REASONS if sign in text), "it does not answer")
    if not named or not servers.keys().isdisjoint(named):
        return reason
    # The driver leaves the hosts of a URI for those by which a set calls its members.
    hosts = sorted(f"{host}:{port}" for host, port in servers)
    remedy = "have the set use names and ports that work here"
    if len(hosts) == 1:
        remedy += ", or write directConnection=true"
    return f"the replica set calls its members {', '.join(hosts)}; {reason}: {remedy}"
