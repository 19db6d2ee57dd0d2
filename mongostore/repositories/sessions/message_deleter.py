"""How messages go: single ones leave a hole, so that no other moves; all at once begin a new epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from pymongo import ReturnDocument

from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import epochs_of
from mongostore.documents.sessions import PUBLIC_FIELDS, to_stored_preview
from mongostore.errors import NotFoundError
from mongostore.repositories import current_operation
from mongostore.repositories.sessions.message_patch import changed_at, other_version_error
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.recent_operations import record_operation, was_done
from mongostore.repositories.sessions.session_deleter import SessionDeleter
from mongostore.repositories.sessions.tail import (
    Tail,
    TailPosition,
    back_off,
    contention_error,
    other_revision_error,
    tail_length,
    unchanged_filter,
)
from mongostore.repositories.sessions.turn_log import TurnLog

_NOTHING: StoredDocument = {}
_NO_MESSAGES: StoredDocument = {
    "messages": [],
    "messages_bytes": 0,
    "tail_start": 0,
    "next_position": 0,
    "message_count": 0,
    "last": None,
    "pending_deletes": [],
}


class MessageDeleter:
    """The messages of sessions, as they are removed."""

    def __init__(self, tail: Tail, overflows: Overflows, turns: TurnLog, sessions: SessionDeleter) -> None:
        self._tail = tail
        self._overflows = overflows
        self._turns = turns
        self._sessions = sessions

    async def delete(self, key: str, message_ids: Sequence[str], seen_at: int | None = None) -> int:
        """Remove messages and return how many of them were there, none in a session that is not there.

        Those in segments are announced in the session's document first: that one write is the
        deletion, and the next caller finishes it if this process dies.
        """
        wanted = set(message_ids)
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            try:
                document = await self._tail.read(key)
            except NotFoundError:
                return 0
            if await self._tail.finish_pending(document):
                continue
            if was_done(document):
                return await self.finish(key)
            gone = await self.delete_from(document, wanted, seen_at=seen_at)
            if gone is not None:
                return gone
        raise contention_error(key)

    async def delete_from(
        self,
        document: StoredDocument,
        wanted: set[str],
        *,
        sets: StoredDocument = _NOTHING,
        counts: StoredDocument = _NOTHING,
        seen_at: int | None = None,
        sealed: Sequence[StoredDocument] | None = None,
    ) -> int | None:
        """Remove messages from a session unless it has changed; return how many there were, None if it has.

        Args:
            document: The session's document, nothing of which is pending, with all messages of the tail that
                are wanted, and the newest that stays if one of them is the newest.
            wanted: The ids of the messages.
            sets: The members that the same write sets; with them, messages may be none.
            counts: The counters that the same write moves.
            seen_at: When the messages must have been changed last, if that matters.
            sealed: The messages that are in segments, if they are known.
        """
        first = tail_length(document) - len(document["messages"])
        here = {
            index: message
            for index, message in enumerate(document["messages"], first)
            if message and message["id"] in wanted
        }
        if sealed is None:
            sealed = await self._find_sealed(document, wanted - {message["id"] for message in here.values()})
        gone = [*sealed, *here.values()]
        if not gone and not sets:
            return 0
        for message in gone:
            if seen_at not in (None, changed_at(message)):
                raise other_version_error(message["id"])
        changed: StoredDocument = {f"messages.{index}": None for index in here} | sets
        changed["pending_deletes"] = [message["id"] for message in sealed]
        if "last" not in changed and document["last"] and document["last"]["id"] in wanted:
            changed["last"] = await self._newest_except(document, wanted)
        update: StoredDocument = {
            "$set": changed,
            "$inc": {"edit_count": 1, **counts, "message_count": counts.get("message_count", 0) - len(gone)},
            "$max": {"active_at": current_operation().now},
            "$push": record_operation(gone),
        }
        # If the answer to what follows is lost and the next attempt finds it done, it was these.
        current_operation().memory["gone"] = gone
        erased = await self._tail.sessions.update_one(unchanged_filter(document), update)
        if not erased.matched_count:
            return None
        last = await self._tail.finish_deletes({**document, **changed}) if sealed else ()
        # Others may have changed those in segments before they went.
        await self._overflows.delete_of(document["_id"], [*gone, *last])
        return len(gone)

    async def finish(self, key: str) -> int:
        """Remove the large values of the messages that this call has removed; return how many these are."""
        gone: list[StoredDocument] = current_operation().memory["gone"]
        await self._overflows.delete_of(key, gone)
        return len(gone)

    async def _find_sealed(self, document: StoredDocument, message_ids: set[str]) -> list[StoredDocument]:
        position = TailPosition(document["epoch"], document["tail_start"])
        found = await self._tail.find_in_segments(document["_id"], position, [*message_ids])
        return [message for _, message in found]

    async def truncate(
        self, key: str, changes: Callable[[StoredDocument, str], StoredDocument], guard: StoredDocument
    ) -> StoredDocument:
        """Remove all messages, set other fields of the session in the same step, and return the session.

        If these begin the participants anew, their turns and insights go as well.

        Args:
            key: The session's `_id`.
            changes: Returns the other fields, of the session's document before and of the new epoch.
            guard: The fields that the session must still have, if any.
        """
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            if was_done(document):
                await self._sessions.delete_epochs(key, document["stale"], document["unbound"])
                return await self._tail.read_fields(key, *PUBLIC_FIELDS)
            if not guard.items() <= document.items():
                raise other_revision_error(key)
            epoch = uuid4().hex
            changed = {**_NO_MESSAGES, **changes(document, epoch), "epoch": epoch}
            unbound = epochs_of(document) if "participants" in changed else []
            cleared = await self._clear(document, changed, unbound)
            if cleared is not None:
                self._turns.forget(key, changed.get("participants", ()))
                epochs = [*document["stale"], document["epoch"]]
                await self._sessions.delete_epochs(key, epochs, [*document["unbound"], *unbound])
                return cleared
        raise contention_error(key)

    async def _clear(
        self, document: StoredDocument, changed: StoredDocument, unbound: list[str]
    ) -> StoredDocument | None:
        """Begin another epoch of a session and return the session; None if it has changed since."""
        times = ["active_at", "updated_at"] if "revision" in changed else ["active_at"]
        seen = {name: document.get(name) for name in ("epoch", "message_count", "revision")}
        left = {"stale": document["epoch"], "unbound": {"$each": unbound}}
        return await self._tail.sessions.find_one_and_update(
            {"_id": document["_id"], "state": "open", **seen},
            {
                "$set": changed,
                "$push": {**left, **record_operation(document["messages"])},
                "$inc": {"edit_count": 1},
                "$max": dict.fromkeys(times, current_operation().now),
            },
            projection=PUBLIC_FIELDS,
            return_document=ReturnDocument.AFTER,
        )

    async def _newest_except(self, document: StoredDocument, gone: set[str]) -> Any:
        """Return the preview of the newest message that is none of these, None if there is none."""
        messages, base = document["messages"], document["tail_start"]
        while True:
            for message in reversed(messages):
                if message and message["id"] not in gone:
                    filled = await self._overflows.load_into(document["_id"], [message])
                    return to_stored_preview(filled[0] if filled else message)
            segment = await self._tail.find_newest_segment(document, base) if base else None
            if not segment:
                return None
            messages, base = segment["messages"], segment["start"]
