"""Deletes whole sessions, threads and rooms, never half ones: `store.retention`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

from mongostore.arguments import check_flag, check_id, check_list
from mongostore.codec import from_micros, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.errors import (
    AccessDeniedError,
    InvalidValueError,
    MongoStoreError,
    NotOpenError,
    UnavailableError,
)
from mongostore.models.retention import House, PruneReport
from mongostore.repositories import Connection, Repository, long_running
from mongostore.repositories.heads import Heads, Walk
from mongostore.repositories.sessions.namespaces import AsyncNamespaces
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import Tail

_FIRST_TIME = to_micros("time", datetime.min.replace(tzinfo=UTC))
HOUSES: tuple[House, ...] = get_args(House)


@dataclass(frozen=True)
class _Rules:
    """Which conversations go: those that have expired, and those whose times are before these."""

    now: int
    idle_before: int | None
    older_than: int | None
    namespaces: Sequence[str] | None
    keep_pinned: bool

    def pins_of(self, house: House, field: str) -> StoredDocument:
        """Return the filter of those that no pinned message keeps, of what goes for its time in a field."""
        spares_pinned = house == "threads" and self.keep_pinned and field != "expires_at"
        return {"has_pinned": {"$ne": True}} if spares_pinned else {}

    def is_old(self, head: StoredDocument) -> bool:
        return self.older_than is not None and head["created_at"] < self.older_than


class AsyncRetention(Repository):
    """Deletes whole conversations, with all their parts and files."""

    def __init__(self, connection: Connection, tail: Tail) -> None:
        super().__init__(connection)
        self._heads = Heads(connection, tail)
        self._sessions = SessionStorage(connection, tail)

    @long_running
    async def prune(
        self,
        *,
        idle: timedelta | None = None,
        older: timedelta | None = None,
        namespaces: Sequence[str] | None = None,
        houses: Sequence[House] = HOUSES,
        keep_pinned: bool = True,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> PruneReport:
        """Delete what has expired, and by `idle` and `older` other conversations.

        Each conversation goes in one piece, unless it has changed since it was found. Cut short, it goes on
        when it is called again.

        Args:
            idle: Conversations that had no activity for so long, softly deleted ones too.
            older: Conversations that were created longer ago.
            namespaces: Only the sessions of these namespaces, and no threads and rooms, which have none.
            houses: Only these.
            keep_pinned: Whether threads with pinned messages stay until they expire.
            limit: How many to delete at most.
            dry_run: Whether to count only.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        if namespaces is not None:
            check_list("namespaces", namespaces)
            namespaces = [check_id("namespaces", name) for name in namespaces]
        check_flag("dry_run", dry_run)
        now = self._connection.clock.now()
        rules = _Rules(
            now,
            _before("idle", idle, now),
            _before("older", older, now),
            namespaces,
            check_flag("keep_pinned", keep_pinned),
        )
        counts, errors = Counter[str](), list[str]()
        times = {"idle_since": _to_time(rules.idle_before), "created_before": _to_time(rules.older_than)}
        most = _check_most(limit)
        for house in _check_houses(houses, namespaces):
            async with aclosing(self._candidates(house, rules)) as found:
                async for unmoved, head in found:
                    if most is not None and counts.total() >= most:
                        return PruneReport(
                            dry_run=dry_run, **times, **counts, is_complete=False, errors=errors
                        )
                    try:
                        # One may have been pinned since.
                        unpinned = rules.pins_of(house, unmoved)
                        gone = dry_run or await self._heads.delete(house, head, unmoved, unpinned)
                    except (AccessDeniedError, NotOpenError, UnavailableError):
                        raise
                    except MongoStoreError as error:
                        errors.append(f"{house} {head['_id']!r}: {error}")
                    else:
                        counts[house] += bool(gone)
        return PruneReport(dry_run=dry_run, **times, **counts, errors=errors)

    async def _candidates(
        self, house: House, rules: _Rules
    ) -> AsyncGenerator[tuple[str, StoredDocument], None]:
        """Yield the heads that are to go, each once, with the name of the time for which they do."""
        async for expired in self._walk(house, "expires_at", rules.now + 1, rules):
            yield "expires_at", expired
        if rules.older_than is not None:
            async for old in self._walk(house, "created_at", rules.older_than, rules):
                yield "created_at", old
        if rules.idle_before is None:
            return
        # A room's newest event alone has its time, and the room the second of that.
        field = "listed_at" if house == "rooms" else "active_at"
        async for head in self._walk(house, field, rules.idle_before, rules):
            if not rules.is_old(head) and (head.get("active_at") or head["created_at"]) < rules.idle_before:
                yield "active_at", head

    async def _walk(
        self, house: House, field: str, before: int, rules: _Rules
    ) -> AsyncGenerator[StoredDocument, None]:
        async with aclosing(self._filters(house, field, rules)) as filters:
            async for filter in filters:
                async with aclosing(self._heads.walk(house, Walk(field, before, filter))) as heads:
                    async for head in heads:
                        # The id of an erased session stays taken for 30 days, however short the rules are.
                        if filter["state"] != "deleted" or not head.get("is_erased"):
                            yield head

    async def _filters(self, house: House, field: str, rules: _Rules) -> AsyncGenerator[StoredDocument, None]:
        """Yield filters that find heads by the beginning of an index."""
        if house != "sessions":
            yield {"state": "open", **rules.pins_of(house, field)}
        elif field == "expires_at":
            namespaces = {} if rules.namespaces is None else {"namespace": {"$in": [*rules.namespaces]}}
            yield {"state": {"$in": ["open", "deleted"]}, **namespaces}
        else:
            every = AsyncNamespaces(self._sessions).iter
            names = every() if rules.namespaces is None else _each(rules.namespaces)
            async for name in names:
                for state in ("open", "deleted"):
                    yield {"namespace": name, "state": state}


async def _each(names: Iterable[str]) -> AsyncGenerator[str, None]:
    for name in names:
        yield name


def _before(name: str, span: object, now: int) -> int | None:
    """Return the time that lies a span of time ago."""
    if span is None:
        return None
    if not isinstance(span, timedelta) or span <= timedelta(0):
        raise InvalidValueError(name, "must be a timedelta above 0")
    # Nothing is older than any time.
    return max(now - span // timedelta(microseconds=1), _FIRST_TIME)


def _to_time(before: int | None) -> datetime | None:
    return None if before is None else from_micros(before)


def _check_houses(houses: Sequence[House], namespaces: Sequence[str] | None) -> Sequence[House]:
    check_list("houses", houses)
    if unknown := [house for house in houses if house not in HOUSES]:
        raise InvalidValueError("houses", f"must be of {', '.join(HOUSES)}, not {unknown[0]!r}")
    return [house for house in HOUSES if house in houses and (namespaces is None or house == "sessions")]


def _check_most(limit: object) -> int | None:
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidValueError("limit", "must be an integer from 1")
    return limit
