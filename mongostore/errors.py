"""Every error that mongostore raises.

MongoStoreError
+ ConfigurationError    (ValueError)             a URI, a setting or an installation that cannot work
+ AccessDeniedError     (PermissionError)        wrong credentials, or a user without the right
+ NotOpenError          (RuntimeError)           used before open(), after close(), in another loop
+ InvalidValueError     (ValueError, TypeError)  an argument that cannot be stored; names its path
+ NotFoundError         (LookupError)            nothing of that kind has that id
+ AlreadyExistsError                             the id is taken
  + IdempotencyKeyError                          another event of the room and channel has the key
+ ConflictError                                  a guard did not hold, or the content differs
  + TokenExpiredError                            a token of `watch` is older than the server's history
+ SlowReaderError                                a reader of `watch` is slower than the changes
+ DocumentTooLargeError                          more than one MongoDB document can hold
+ InvalidDocumentError                           stored data that does not fit its model
+ IndexConflictError                             an index of that name exists with another definition
+ UnsupportedError                               this deployment lacks a capability
+ UnavailableError      (ConnectionError)        no server, or no answer in time

Messages name things by kind, id and path. They never carry a stored text, a password or a driver's own words.
"""

from __future__ import annotations

from typing import Any


class MongoStoreError(Exception):
    """The base of every error of this package."""

    def __str__(self) -> str:
        """Return the message in one line, for an id or a key in it may hold line breaks."""
        message = super().__str__()
        if message.isprintable():
            return message
        escaped = (one if one.isprintable() else one.encode("unicode_escape").decode() for one in message)
        return "".join(escaped)


class ConfigurationError(MongoStoreError, ValueError):
    """A URI, a setting or an installation cannot work. The message names the remedy."""


class AccessDeniedError(MongoStoreError, PermissionError):
    """The server refused the credentials, or their user lacks a right."""


class NotOpenError(MongoStoreError, RuntimeError):
    """The store was used before `open`, after `close`, or from another event loop."""


class InvalidValueError(MongoStoreError, ValueError, TypeError):
    """An argument cannot be stored or looked up.

    Attributes:
        path: Where in the arguments, such as `metadata.tags[3]`.
        reason: The fault there, without the value itself.
    """

    def __init__(self, path: str, reason: str) -> None:
        """Say that the value at `path` is refused for `reason`."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[InvalidValueError], tuple[str, str]]:
        """Pickle by the two fields, which are not the arguments that `Exception` keeps."""
        return type(self), (self.path, self.reason)


class _NamedError(MongoStoreError):
    """An error about one thing, named by its kind and id."""

    wording = "{kind} {id!r}"

    def __init__(self, kind: str, id: str) -> None:
        """Say it of the `kind` of thing with that `id`."""
        super().__init__(self.wording.format(kind=kind, id=id))
        self.kind = kind
        self.id = id

    def __reduce__(self) -> tuple[type[_NamedError], tuple[Any, ...]]:
        """Pickle by the two fields, which are not the arguments that `Exception` keeps."""
        return type(self), (self.kind, self.id)


class NotFoundError(_NamedError, LookupError):
    """Nothing of that kind has that id, or it is deleted."""

    wording = "no {kind} has the id {id!r}"


class AlreadyExistsError(_NamedError):
    """Another one has that id. Nothing was written."""

    wording = "the {kind} {id!r} already exists"


class IdempotencyKeyError(AlreadyExistsError):
    """Another event of the room and channel has that idempotency key. Nothing was written."""

    wording = "another event has the idempotency key {id!r}"

    def __init__(self, key: str) -> None:
        """Say it of a key, which is the `id` of this error."""
        super().__init__("idempotency key", key)

    def __reduce__(self) -> tuple[type[IdempotencyKeyError], tuple[str]]:
        """Pickle by the key, which is not the argument that `Exception` keeps."""
        return type(self), (self.id,)


class ConflictError(MongoStoreError):
    """A guard did not hold, or the id belongs to other content. Nothing was written."""


class TokenExpiredError(ConflictError):
    """A token of `watch` is older than the server's history of changes: list, then watch again."""


class SlowReaderError(MongoStoreError):
    """A reader of `watch` was slower than the changes: go on behind the last change that you have."""

    def __init__(self, reason: str) -> None:
        """Say that too many changes wait for `reason`."""
        super().__init__(f"{reason}: go on with watch(after=…) behind the last one read")
        self.reason = reason

    def __reduce__(self) -> tuple[type[SlowReaderError], tuple[str]]:
        """Pickle by the reason, which is not the argument that `Exception` keeps."""
        return type(self), (self.reason,)


class DocumentTooLargeError(MongoStoreError):
    """A value is larger than a MongoDB document (16 MiB) or its own limit. Nothing was written.

    Attributes:
        what: The thing that is too large, such as `message 'm1'`.
        size: Its size in bytes, as far as it was counted.
        limit: The number of bytes allowed.
        remedy: A way to make room; empty if there is none.
    """

    def __init__(self, what: str, size: int, limit: int, remedy: str = "") -> None:
        """Say that `what` takes `size` bytes where `limit` are allowed."""
        advice = f": {remedy}" if remedy else ""
        super().__init__(f"{what} takes {size:,} bytes; at most {limit:,} can be stored{advice}")
        self.what = what
        self.size = size
        self.limit = limit
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[DocumentTooLargeError], tuple[str, int, int, str]]:
        """Pickle by the fields, which are not the arguments that `Exception` keeps."""
        return type(self), (self.what, self.size, self.limit, self.remedy)


class InvalidDocumentError(_NamedError):
    """Stored data does not fit its model: another program wrote it, or a newer version."""

    wording = "the stored {kind} {id!r} cannot be read"

    def __init__(
        self, kind: str, id: str, fields: tuple[str, ...] = (), *, position: int | None = None
    ) -> None:
        """Say which stored thing it is, which `fields` do not fit, and a session's message's `position`."""
        super().__init__(kind, id)
        self.fields = fields
        self.position = position
        if fields:
            self.args: tuple[Any, ...] = (f"{self.args[0]}: {', '.join(fields)}",)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, which are not the arguments that `Exception` keeps."""
        return type(self), (self.kind, self.id, self.fields), {"position": self.position}


class IndexConflictError(MongoStoreError):
    """An index of that name or on those keys has another definition. It was left as it is."""


class UnsupportedError(MongoStoreError):
    """The engine or the deployment lacks a capability. The message names one that has it."""


class UnavailableError(MongoStoreError, ConnectionError):
    """No server answered in time. A write may have happened: repeat it with the same ids.

    Attributes:
        retryable: Whether the same call may succeed in a moment.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        """Say in words that nothing answered, and whether to try again."""
        super().__init__(message)
        self.retryable = retryable
