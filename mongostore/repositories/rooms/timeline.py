"""How the events of a room are read: in the order of their indexes, one by one, or summed up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from mongostore.documents.rooms import to_event
from mongostore.documents.stored import Raw, given
from mongostore.errors import InvalidDocumentError, NotFoundError
from mongostore.models import Event, EventFilter, Page, ThreadSummary
from mongostore.repositories import Repository, long_running, reads, reads_majority, settled_step
from mongostore.values import (
    check_flag,
    check_id,
    check_limit,
    check_list,
    check_offset,
    check_position,
    check_text,
    from_micros,
    to_micros,
)

_ITER_PAGE = 500
_BLOCKED = "blocked"
_RISING = [("index", 1)]
_FALLING = [("index", -1)]
_EQUAL = (
    *("visibility", "channel_id", "channel_type", "participant_id"),
    *("correlation_id", "responds_to", "parent_event_id"),
)


class Timeline(Repository):
    """The verbs that read events."""

    @reads
    async def get(self, event_id: str) -> Event:
        """Return an event.

        Raises:
            NotFoundError: There is no such event.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        event = await self.find(event_id)
        if event is None:
            raise NotFoundError("event", event_id)
        return event

    @reads
    async def find(self, event_id: str) -> Event | None:
        """Return an event, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._events.find_one({"_id": check_id("event_id", event_id)})
        return None if raw is None else to_event(raw)

    @reads
    async def find_by_key(self, room_id: str, key: str, *, channel_id: str | None = None) -> Event | None:
        """Return the event of a room that has an idempotency key, blocked or not; None where it is free.

        Args:
            room_id: The room.
            key: The idempotency key.
            channel_id: The channel that the key belongs to; None for any, and then the event of the lowest
                index.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: The event cannot be read.
        """
        of_key = {"room_id": check_id("room_id", room_id), "idempotency_key": check_id("key", key)}
        if channel_id is not None:
            of_key["channel_id"] = check_id("channel_id", channel_id)
        raw = await self._events.find_one(of_key, sort=None if channel_id else _RISING)
        return None if raw is None else to_event(raw)

    @reads_majority
    async def list(
        self,
        room_id: str,
        *,
        where: EventFilter | None = None,
        limit: int = 50,
        offset: int = 0,
        newest: bool = False,
        before: int | str | None = None,
        after: int | str | None = None,
    ) -> Page[Event]:
        """Return a page of a room's events, ascending by index, without the blocked ones unless asked.

        Args:
            room_id: The room.
            where: Which events.
            limit: How many at most, 1 to 1000.
            offset: How many to pass over, from the end where the page is taken; indexes do that at no cost.
            newest: The last ones and not the first.
            before: The last ones below this index, or before a page's `next_cursor`.
            after: The first ones above this index, or after a page's `next_cursor`.

        Returns:
            The page; hand its `next_cursor` to `after`, or to `before` where the page was taken from the
            end. Events that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range.
        """
        limit = check_limit("limit", limit)
        offset, newest = check_offset("offset", offset), check_flag("newest", newest)
        conditions = _conditions(room_id, where)
        bounds: Raw = {}
        if after is not None:
            bounds["$gt"] = check_position("after", after)
        if before is not None:
            bounds["$lt"] = check_position("before", before)
        falling = newest or before is not None
        if offset and (start := await self._nth(conditions, bounds, offset, falling)) is None:
            return Page([])
        if offset:
            bounds["$lte" if falling else "$gte"] = start
        if bounds:
            conditions["index"] = bounds
        raws = await self._page(conditions, _FALLING if falling else _RISING, limit + 1)
        more, raws = len(raws) > limit, raws[:limit]
        page: Page[Event] = Page([], str(raws[-1]["index"]) if more else None)
        for raw in reversed(raws) if falling else raws:
            try:
                page.items.append(to_event(raw))
            except InvalidDocumentError as error:
                page.errors.append(error)
        return page

    @long_running
    async def iter(self, room_id: str, *, where: EventFilter | None = None) -> AsyncIterator[Event]:
        """Yield a room's events by index, passing over those that cannot be read.

        Args:
            room_id: The room.
            where: Which events.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        conditions = _conditions(room_id, where)
        while True:
            raws = await settled_step(self._connection, self._page, conditions, _RISING, _ITER_PAGE)
            for raw in raws:
                with suppress(InvalidDocumentError):
                    yield to_event(raw)
            if len(raws) < _ITER_PAGE:
                return
            conditions["index"] = {"$gt": raws[-1]["index"]}

    @reads
    async def count(self, room_id: str, *, where: EventFilter | None = None) -> int:
        """Return how many events a room holds: all of them, or exactly those that a list would show.

        Args:
            room_id: The room.
            where: Which events; None for all, the blocked ones too.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        conditions = (
            {"room_id": check_id("room_id", room_id)} if where is None else _conditions(room_id, where)
        )
        return int(await self._events.count_documents(conditions))

    @reads
    async def threads(self, room_id: str, event_ids: Sequence[str]) -> dict[str, ThreadSummary]:
        """Return the threads that events of a room have begun, by their ids; without replies there is none.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        check_list("event_ids", event_ids)
        roots = [check_id("event_ids", event_id) for event_id in event_ids]
        replies = {
            "room_id": check_id("room_id", room_id),
            "parent_event_id": {"$in": roots, "$gte": ""},
            "status": {"$ne": _BLOCKED},
        }
        summed = {"_id": "$parent_event_id", "count": {"$sum": 1}, "last": {"$max": "$created_at"}}
        async with await self._events.aggregate([{"$match": replies}, {"$group": summed}]) as cursor:
            found = await cursor.to_list()
        return {
            raw["_id"]: ThreadSummary(raw["_id"], raw["count"], from_micros(raw["last"])) for raw in found
        }

    @property
    def _events(self) -> Any:
        return self._connection.collection("events")

    async def _nth(self, conditions: Raw, bounds: Raw, offset: int, falling: bool) -> int | None:
        """Return the index of the event behind `offset` others, read from the database's index alone."""
        where = {**conditions, "index": bounds} if bounds else conditions
        found = self._events.find(
            where,
            {"_id": 0, "index": 1},
            sort=_FALLING if falling else _RISING,
            skip=offset,
            limit=1,
        )
        async with found:
            return next((raw["index"] for raw in await found.to_list()), None)

    async def _page(self, conditions: Raw, sort: Sequence[tuple[str, int]], limit: int) -> Sequence[Raw]:
        async with self._events.find(conditions, sort=sort, limit=limit, batch_size=limit + 1) as found:
            raws: Sequence[Raw] = await found.to_list()
        return raws


def _conditions(room_id: str, where: EventFilter | None) -> Raw:
    """Return the filter of the events that are meant: the one place where such a filter begins."""
    where = EventFilter() if where is None else given("where", where, EventFilter)
    conditions: Raw = {"room_id": check_id("room_id", room_id)}
    if not check_flag("blocked", where.blocked):
        conditions["status"] = {"$ne": _BLOCKED}
    types: Raw = {}
    for name, operator in (("types", "$in"), ("exclude_types", "$nin")):
        if (listed := getattr(where, name)) is not None:
            check_list(name, listed)
            types[operator] = [check_id(name, type_) for type_ in listed]
    if types:
        conditions["type"] = types
    for name in _EQUAL:
        if (value := getattr(where, name)) is not None:
            conditions[name] = check_text(name, value) if name == "visibility" else check_id(name, value)
    if check_flag("top_level", where.top_level):
        # No reply to anything is a reply to a certain event.
        conditions["parent_event_id"] = None if where.parent_event_id is None else {"$in": []}
    times: Raw = {}
    for name, operator in (("created_after", "$gt"), ("created_before", "$lt")):
        if (time := getattr(where, name)) is not None:
            times[operator] = to_micros(name, time)
    if times:
        conditions["created_at"] = times
    return conditions
