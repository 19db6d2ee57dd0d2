"""One call of a public verb: how long it may take, and what its attempts have learnt."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, TypeVar
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.results import DeleteResult, UpdateResult

from mongostore.codec import to_micros
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.errors import ConflictError, NotFoundError, UnsupportedError

R = TypeVar("R")

NEWER = {"$gt": SCHEMA_VERSION}
# By these a document is found, on the shard of its owner.
_KEYS = {"_id", "session", "thread_id", "room_id"}

# Short first attempts find the new primary soon after a failover; a later one at a server that answers is
# slow work, and has all the time that is left. A server that is silent between them has less of it at first,
# for another may have taken its place. In seconds, and as a share of the whole time where that is more.
_ATTEMPTS = ((3.0, 0.15), (3.0, 0.15))
_LEAST_SECONDS = 0.05
# So many operations are remembered by a document, for calls that are tried again.
MOST_OPS = 16
_SILENT_ATTEMPTS = ((3.0, 0.15), (1.0, 0.05), (2.0, 0.1), (3.0, 0.15))


class Access(Enum):
    """The kinds of access of a call.

    Attributes:
        WRITE: It may change something.
        READ: It reads what the primary has.
        READ_MAJORITY: It reads what the majority has.
    """

    WRITE = auto()
    READ = auto()
    READ_MAJORITY = auto()


@dataclass
class UnmatchedWrite:
    """An update that did not find its document."""

    collection: Any
    filter: StoredDocument
    times: int = 0

    async def verify(self) -> None:
        """Look whether the document is one that only a newer version may change."""
        filter = self.filter
        if "_id" in filter:
            filter = {name: value for name, value in filter.items() if name in _KEYS}
        newer = await self.collection.find_one({**filter, "schema_version": NEWER}, {"_id": 1})
        if newer is not None:
            raise UnsupportedError(
                f"{self.collection.name} {newer['_id']!r} was written by a newer version of mongostore: "
                "install that one here, too"
            )


@dataclass
class Operation:
    """One call of a public verb, the same object over all of its attempts.

    Attributes:
        ends: When it must have ended, by the monotonic clock.
        access: The access.
        operation: Its name, for logs.
        now: When the call began, in microseconds since 1970, by the server's clock.
        now_at: When that was by the monotonic clock.
        began: The same as its first attempt had it, which wrote nothing before; 0 until then.
        attempt: 0 on the first; after that the outcome of an earlier one is unknown.
        is_silent: Whether the server did not answer at all when the last attempt had failed.
        memory: The certain results of earlier attempts, by names of the verb.
        missed: The updates that did not find their documents, by collection and filter, and how often.
    """

    ends: float
    access: Access
    operation: str = "a call"
    now: int = field(default_factory=lambda: time.time_ns() // 1000)
    now_at: float = field(default_factory=lambda: time.monotonic())
    began: int = 0
    attempt: int = 0
    is_silent: bool = False
    memory: dict[str, Any] = field(default_factory=dict)
    missed: dict[tuple[str, str], UnmatchedWrite] = field(default_factory=dict)
    _began: float = field(default_factory=lambda: time.monotonic(), init=False)

    @functools.cached_property
    def token(self) -> str:
        """Unique; a retried insert knows its own first attempt by it, and few calls ask for it."""
        return uuid4().hex

    @property
    def time(self) -> int:
        """The time by the server's clock, in microseconds since 1970, some of it after `now`."""
        return self.now + round((time.monotonic() - self.now_at) * 1_000_000)

    @property
    def active_at(self) -> int:
        """When that is active which the call changes: now, unless it comes from elsewhere with its time."""
        time = _activity.get()
        return self.now if time is None else min(time, self.now)

    def meets_another(self, name: str, token: str) -> bool:
        """Return whether an earlier attempt has met something else than this one, and remember what it meets.

        That may have been made by a call that began long before, so that its token is no greater.

        Args:
            name: The name of what it meets.
            token: Its token.
        """
        met = self.memory.get(name, token) if self.attempt else token
        self.memory[name] = met
        return bool(met != token)

    def attempt_seconds(self) -> float:
        """Return how many seconds this attempt may take."""
        left = max(self.ends - time.monotonic(), _LEAST_SECONDS)
        if self.is_silent:
            seconds, share = _SILENT_ATTEMPTS[min(self.attempt, len(_SILENT_ATTEMPTS) - 1)]
        elif self.attempt < len(_ATTEMPTS):
            seconds, share = _ATTEMPTS[self.attempt]
        else:
            return left
        return min(max(seconds, share * (self.ends - self._began)), left)


_call: ContextVar[Operation | None] = ContextVar("mongostore_call", default=None)
_activity: ContextVar[int | None] = ContextVar("mongostore_activity", default=None)


def find_operation() -> Operation | None:
    """Return the call that this code runs in, None on behalf of several at once."""
    return _call.get()


def current_operation() -> Operation:
    """Return the call that this code runs in."""
    call = _call.get()
    assert call is not None, "repositories' helpers run inside a public verb"
    return call


def life_token(token: str | None = None, at: int | None = None) -> str:
    """Return a token of what a call creates; those of what is created later are greater.

    Args:
        token: Unique, for each of several creations; by default the call's, the same at each attempt.
        at: When it is created; by default when the call began, the same at each attempt.
    """
    call = current_operation()
    return f"{at or call.began or call.now:016x}{(token or call.token)[:16]}"


def newest_life() -> str:
    """Return what the tokens of all that was created since the call began are greater than."""
    call = current_operation()
    return f"{call.began or call.now:016x}~"


def not_made_since(field: str) -> StoredDocument:
    """Return the filter that finds, when a call is tried again, nothing that was created since it began.

    Args:
        field: The field with the token of what was created.
    """
    return {field: {"$not": {"$gt": newest_life()}}} if current_operation().attempt else {}


def has_matched(result: DeleteResult | UpdateResult) -> bool:
    """Return whether a deletion met something; what is gone when it is tried again, it has met before."""
    met = result.deleted_count if isinstance(result, DeleteResult) else result.matched_count
    return bool(met) or current_operation().attempt > 0


def remember(token: str) -> StoredDocument:
    """Return the `$push` by which a document remembers an operation, in `ops`."""
    return {"ops": {"$each": [token], "$slice": -MOST_OPS}}


async def update_once(
    documents: Any, filter: StoredDocument, update: StoredDocument, **options: Any
) -> StoredDocument | None:
    """Update a document, once however often the call is tried, and return it; None if there is none."""
    call = current_operation()
    document: StoredDocument | None = await documents.find_one_and_update(
        {**filter, "ops": {"$ne": call.token}},
        {**update, "$push": {**update.get("$push", {}), **remember(call.token)}},
        return_document=ReturnDocument.AFTER,
        **options,
    )
    return await find_done(documents, filter, **options) if document is None else document


async def find_done(documents: Any, filter: StoredDocument, **options: Any) -> StoredDocument | None:
    """Return a document that an earlier attempt of the call has updated; None if none has."""
    call = current_operation()
    if not call.attempt:
        return None
    fields = options.pop("projection", None)
    document: StoredDocument | None = await documents.find_one(
        {**filter, "ops": call.token}, fields, **options
    )
    return document


@contextmanager
def activity_of(time: datetime | None) -> Iterator[None]:
    """Let what is changed inside the `with` block be activity of a time, if there is one, and not of now.

    So an import needs no second write that sets the time, which it would not come to if it were killed.
    """
    token = _activity.set(_activity.get() if time is None else to_micros("active_at", time))
    try:
        yield
    finally:
        _activity.reset(token)


@contextmanager
def running(seconds: float, access: Access, operation: str = "a call") -> Iterator[Operation]:
    """Run what is inside the `with` block as one call that may take so many seconds."""
    call = Operation(time.monotonic() + seconds, access, operation)
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


@contextmanager
def outside_of_call() -> Iterator[None]:
    """Run the `with` block outside of any call, for a task that begins there is no part of it."""
    token = _call.set(None)
    try:
        yield
    finally:
        _call.reset(token)


async def verify_match(call: Operation, action: Awaitable[R]) -> R:
    """Return what an action gives, having looked whether a newer document is why it found nothing."""
    try:
        result = await action
    except (ConflictError, NotFoundError):
        for missed in call.missed.values():
            await missed.verify()
        raise
    for missed in call.missed.values():
        await missed.verify()
    return result
