"""Events on their way into a room, and which of them go together."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from mongostore.documents.mapping import StoredDocument
from mongostore.repositories.rooms.room_log import LogHead

_GROUP = 100
_GROUP_BYTES = 4 * 1024 * 1024


@dataclass
class TargetReplacement:
    """The change of an event by another one that edits or deletes it.

    Attributes:
        event_id: The event that is changed.
        update: The update document that does it.
        marks_edits: Whether the event's edits, which hold its former content, are marked as deleted too.
    """

    event_id: str
    update: StoredDocument
    marks_edits: bool


@dataclass
class PendingEvent:
    """An event on its way into a room.

    Attributes:
        event: Its stored form, without the index.
        bytes: The size of that.
        is_counted: Whether it moves the room's counters.
        is_activity: Whether it is the room's activity, which makes a paused room active.
        target: Its effect on another event.
        index: The index that it is to have, unless a later event has that one by then; None for the next.
        seconds: How long an attempt to store it may take.
        is_retry: Whether an earlier attempt has failed.
    """

    event: StoredDocument
    bytes: int
    is_counted: bool
    is_activity: bool
    target: TargetReplacement | None = None
    index: int | None = None
    seconds: float = 0
    is_retry: bool = False
    done: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def position(self, head: LogHead, now: int) -> StoredDocument:
        """Return it as it is stored behind the end of a log."""
        index = head.next_index if self.index is None else self.index
        counters = {**head.counters, "active_at": now} if self.is_activity else head.counters
        if self.is_counted:
            counters = {**counters, "event_count": counters["event_count"] + 1, "latest_index": index}
        position = {"epoch": head.epoch, "log": head.log, "log_index": head.log_index + 1}
        return {**self.event, "index": index, **position, "counters": counters}

    def wakes(self, head: LogHead) -> bool:
        """Return whether it makes a paused room active."""
        return self.is_activity and head.is_paused

    def resolve(self, index: int) -> None:
        """Answer with its index."""
        if not self.done.done():
            self.done.set_result(index)

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        if not self.done.done():
            self.done.set_exception(error)


def take_group(waiting: deque[PendingEvent]) -> deque[PendingEvent]:
    """Take what goes together of the events that wait, without those whose callers are gone."""
    group, size = deque[PendingEvent](), 0
    while waiting and len(group) < _GROUP and (not group or size + waiting[0].bytes <= _GROUP_BYTES):
        pending = waiting.popleft()
        if not pending.done.done():
            group.append(pending)
            size += pending.bytes
    return group


def take_batch(group: deque[PendingEvent], head: LogHead) -> list[PendingEvent]:
    """Return the events at the head of a group that one insert can store; one with effects is alone."""
    batch: list[PendingEvent] = []
    next_index = head.next_index
    for pending in group:
        has_effect = pending.target is not None or pending.wakes(head)
        is_below = pending.index is not None and pending.index < next_index
        if batch and (has_effect or is_below):
            break
        batch.append(pending)
        if has_effect:
            break
        next_index = (next_index if pending.index is None else pending.index) + 1
    return batch
