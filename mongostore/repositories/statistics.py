"""Statistics over all houses, at a bounded cost: `store.statistics`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import Any

from mongostore.codec import from_micros, to_micros
from mongostore.documents import COLLECTIONS
from mongostore.documents.mapping import StoredDocument
from mongostore.engines import CollectionUsage
from mongostore.errors import InvalidValueError
from mongostore.repositories import Connection, Repository, reads

HOUSES = ("sessions", "threads", "rooms")
_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_MAX_DAYS = 366
# So many documents of a collection are read, the newest first; a session's or a segment's has many messages.
MOST_READ = {
    **{"sessions": 20_000, "session_segments": 10_000, "session_turns": 50_000},
    **{"messages": 200_000, "events": 200_000},
}
# And so many groups of them are brought here.
_MOST_GROUPS = 100_000
_AT_ONCE = 1_000
# 1970 began on a Thursday.
_MONDAY = 4 * 24


@dataclass(frozen=True, slots=True)
class DayStatistics:
    """One day, in UTC.

    Attributes:
        messages: The number of messages and events by house: `sessions`, `threads` and `rooms`.
        people: How many people wrote, or have a conversation that was written to.
        feedback: The number of messages of that day by the value of their feedback.
    """

    day: date
    messages: dict[str, int]
    people: int
    feedback: dict[int, int]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The contents of a store, and its messages by day.

    Attributes:
        since: The first moment that is counted.
        counted_at: When it was counted, by the server's clock.
        conversations: How many conversations of each house are stored.
        people: How many people were active in that time.
        days: Each day of that time, the oldest first.
        hours: The messages of each hour of the week, from Monday 0:00 UTC.
        lengths: How many conversations have how many messages in that time.
        feedback_by_tag: The number of messages with feedback by each tag of their threads, and by its value;
            under an empty text those of threads without tags.
        collections: The size of each collection.
        is_complete: Whether all was read. Of a large collection the newest documents are.
    """

    since: datetime
    counted_at: datetime
    conversations: dict[str, int]
    people: int
    days: list[DayStatistics]
    hours: list[int]
    lengths: dict[int, int]
    feedback_by_tag: dict[str, dict[int, int]]
    collections: list[CollectionUsage]
    is_complete: bool

    @property
    def messages(self) -> dict[str, int]:
        """The number of messages and events in that time, by house."""
        return {house: sum(day.messages[house] for day in self.days) for house in self.conversations}

    @property
    def feedback(self) -> dict[int, int]:
        """The number of messages with feedback, by its value."""
        values = sorted({value for day in self.days for value in day.feedback})
        return {value: sum(day.feedback.get(value, 0) for day in self.days) for value in values}

    @property
    def median_length(self) -> float:
        """The median of the lengths; 0 if there are no conversations."""
        lengths = [length for length, count in self.lengths.items() for _ in range(count)]
        return median(lengths) if lengths else 0.0


class AsyncStatistics(Repository):
    """Counts what is stored."""

    @reads
    async def read(self, since: datetime) -> Statistics:
        """Return the statistics of the days from that of a time to today.

        Raises:
            InvalidValueError: If the time has no zone, or is none of the last 366 days.
        """
        now = self._connection.clock.now()
        start = to_micros("since", since) // _DAY * _DAY
        if not 0 <= (now - start) // _DAY < _MAX_DAYS:
            raise InvalidValueError("since", f"must be a time of the last {_MAX_DAYS} days")
        count = _Count(self._connection, start)
        await count.read()
        return await count.result(now)


class _Count:
    """What is counted while the collections are read one after the other.

    Args:
        connection: The connection.
        start: The first moment that is counted.
    """

    def __init__(self, connection: Connection, start: int) -> None:
        self._connection = connection
        self._start = start
        self._hours: dict[str, Counter[int]] = {house: Counter() for house in HOUSES}
        self._lengths: Counter[tuple[str, str]] = Counter()
        self._people: set[tuple[int, str]] = set()
        self._votes: Counter[tuple[int, int]] = Counter()
        self._tags: dict[str, Counter[int]] = {}
        self._is_complete = True

    async def read(self) -> None:
        """Read the collections that hold messages."""
        session, segment = {"of": "$_id", "person": "$user_id"}, {"of": "$session"}
        await self._add("sessions", await self._groups("sessions", session, unwind="messages"))
        groups = await self._groups("session_segments", segment, unwind="messages")
        await self._add("sessions", groups, people="user_id")
        await self._add("sessions", await self._groups("session_turns", segment, unwind="turns"))
        groups = await self._groups("messages", {"of": "$thread_id"})
        await self._add("threads", groups, people="user_id")
        event = {"of": "$room_id", "person": "$participant_id"}
        # A fence of the log and an event that is deleted have no index.
        await self._add("rooms", await self._groups("events", event, {"index": {"$gte": 0}}))
        await self._count_votes()

    async def _groups(
        self, collection: str, by: StoredDocument, match: StoredDocument | None = None, unwind: str = ""
    ) -> list[StoredDocument]:
        """Return the number of messages of each conversation, person and hour."""
        time = f"{unwind}.created_at" if unwind else "created_at"
        most = MOST_READ[collection]
        fields = [path.lstrip("$") for path in by.values()]
        pipeline: list[StoredDocument] = [
            {"$limit": most},
            {"$project": dict.fromkeys([time, *fields, *(match or {})], 1)},
            *([{"$unwind": f"${unwind}"}] if unwind else []),
            {"$match": {**(match or {}), time: {"$gte": self._start}}},
            {"$group": {"_id": {"hour": _start_of(_HOUR, time), **by}, "count": {"$sum": 1}}},
            {"$limit": _MOST_GROUPS},
        ]
        groups = await self._aggregate(collection, pipeline)
        if len(groups) == _MOST_GROUPS:
            self._is_complete = False
        return groups

    async def _add(self, house: str, groups: list[StoredDocument], people: str = "") -> None:
        """Add what was counted; `people` is the field of the conversations that names a person."""
        of_day: dict[tuple[int, str], str | None] = {}
        for group in groups:
            key, count = group["_id"], group["count"]
            if not isinstance(key.get("of"), str):
                # A message of no thread yet, or a document of others.
                continue
            # The embedded engine computes with floats.
            hour = int(key["hour"])
            day = hour // _DAY * _DAY
            self._hours[house][hour] += count
            self._lengths[house, key["of"]] += count
            of_day[day, key["of"]] = None
            if isinstance(person := key.get("person"), str):
                self._people.add((day, person))
        if people:
            names = await self._values_of(house, {of for _, of in of_day}, people, "string")
            self._people |= {(day, names[of]) for day, of in of_day if of in names}

    async def _values_of(self, house: str, ids: set[str], field: str, kind: str) -> dict[str, Any]:
        """Return the values of a field of conversations, where they are of a BSON type."""
        values: dict[str, Any] = {}
        keys = sorted(ids)
        for first in range(0, len(keys), _AT_ONCE):
            wanted = {"_id": {"$in": keys[first : first + _AT_ONCE]}, field: {"$type": kind}}
            found = await self._connection.collection(house).find_all(wanted, {field: 1})
            values |= {document["_id"]: document[field] for document in found}
        return values

    async def _count_votes(self) -> None:
        # With the filter of the index of feedback.
        match = {"feedback.id": {"$gt": ""}, "created_at": {"$gte": self._start}}
        by = {"day": _start_of(_DAY, "created_at"), "value": "$feedback.value", "thread": "$thread_id"}
        pipeline: list[StoredDocument] = [
            {"$match": match},
            {"$limit": MOST_READ["messages"]},
            {"$group": {"_id": by, "count": {"$sum": 1}}},
            {"$limit": _MOST_GROUPS},
        ]
        groups = await self._aggregate("messages", pipeline, newest=False)
        if len(groups) == _MOST_GROUPS:
            self._is_complete = False
        votes = [(group["_id"], group["count"]) for group in groups]
        votes = [(key, count) for key, count in votes if isinstance(key.get("value"), int)]
        threads = {key["thread"] for key, _ in votes if isinstance(key.get("thread"), str)}
        tags = await self._values_of("threads", threads, "tags", "array")
        for key, count in votes:
            self._votes[int(key["day"]), key["value"]] += count
            for tag in {tag for tag in tags.get(key.get("thread"), []) if isinstance(tag, str)} or {""}:
                self._tags.setdefault(tag, Counter())[key["value"]] += count

    async def _aggregate(
        self, collection: str, pipeline: list[StoredDocument], *, newest: bool = True
    ) -> list[StoredDocument]:
        options: dict[str, Any] = {"hint": {"$natural": -1}} if newest else {}
        return await self._connection.collection(collection).aggregate_all(pipeline, **options)

    async def result(self, now: int) -> Statistics:
        """Return what was counted."""
        usage = await self._connection.engine.usage(COLLECTIONS)
        documents = {one.collection: one.documents for one in usage}
        if any(documents.get(name, 0) > most for name, most in MOST_READ.items()):
            self._is_complete = False
        hours = [0] * 168
        for of_house in self._hours.values():
            for hour, count in of_house.items():
                hours[(hour // _HOUR - _MONDAY) % 168] += count
        days: dict[str, Counter[int]] = {house: Counter() for house in HOUSES}
        for house, of_house in self._hours.items():
            for hour, count in of_house.items():
                days[house][hour // _DAY * _DAY] += count
        people = Counter(day for day, _ in self._people)
        votes: dict[int, dict[int, int]] = {}
        for (day, value), count in sorted(self._votes.items()):
            votes.setdefault(day, {})[value] = count
        return Statistics(
            since=from_micros(self._start),
            counted_at=from_micros(now),
            conversations={house: documents.get(house, 0) for house in HOUSES},
            people=len({person for _, person in self._people}),
            days=[
                DayStatistics(
                    day=from_micros(day).date(),
                    messages={house: days[house][day] for house in HOUSES},
                    people=people[day],
                    feedback=votes.get(day, {}),
                )
                for day in range(self._start, now + 1, _DAY)
            ],
            hours=hours,
            lengths=dict(sorted(Counter(self._lengths.values()).items())),
            feedback_by_tag={tag: dict(sorted(votes.items())) for tag, votes in sorted(self._tags.items())},
            collections=usage,
            is_complete=self._is_complete,
        )


def _start_of(unit: int, field: str) -> StoredDocument:
    """Return the expression of the first moment of the hour or day of a stored time."""
    return {"$subtract": [f"${field}", {"$mod": [f"${field}", unit]}]}
