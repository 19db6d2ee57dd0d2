"""How messages go: single ones leave a hole, so that no other moves; all at once begin a new epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pymongo import ReturnDocument

from mongostore.documents.mapping import Raw
from mongostore.documents.sessions import PUBLIC_FIELDS, to_session, to_stored_preview
from mongostore.models import Session
from mongostore.repositories import current_operation
from mongostore.repositories.sessions.filters import STATE_FILTERS
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import (
    Tail,
    TailPosition,
    back_off,
    contention_error,
    unchanged_filter,
)

# What the deletion of a session needs of it.
_MARKED = ["stale", "epoch", "create_op", "delete_op"]


class MessageDeleter:
    """The messages of sessions, as they are removed."""

    def __init__(self, tail: Tail, overflows: Overflows) -> None:
        self._tail = tail
        self._overflows = overflows

    async def delete(self, key: str, message_ids: Sequence[str]) -> int:
        """Remove messages and return how many of them were there.

        Those in segments are announced in the session's document first: that one write is the
        deletion, and whoever comes next finishes it if this process dies.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
        """
        call = current_operation()
        wanted = set(message_ids)
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            if await self._tail.finish_pending(document):
                continue
            if _was_done(document):
                return int(document["last_delete"]["count"])
            here = {
                i: message
                for i, message in enumerate(document["messages"])
                if message and message["id"] in wanted
            }
            position = TailPosition(document["epoch"], document["tail_start"])
            missing = wanted - {message["id"] for message in here.values()}
            sealed = [message for _, message in await self._tail.find_in_segments(position, [*missing])]
            gone = [*here.values(), *sealed]
            if not gone:
                return 0
            sets: Raw = {f"messages.{index}": None for index in here}
            sets["pending_deletes"] = [message["id"] for message in sealed]
            sets["last_delete"] = {"op": call.token, "count": len(gone)}
            if document["last"]["id"] in wanted:
                sets["last"] = await self._newest_except(document, lambda message: message["id"] in wanted)
            counts: Raw = {"message_count": -len(gone), "edit_count": 1}
            for name, participant in document.get("participants", {}).items():
                if turns := sum(message.get("binding") == participant["epoch"] for message in gone):
                    counts[f"participants.{name}.kept"] = -turns
            erased = await self._tail.sessions.update_one(
                unchanged_filter(document),
                {"$set": sets, "$inc": counts, "$max": {"active_at": call.now}},
            )
            if erased.matched_count:
                if sealed:
                    await self._tail.finish_deletes({**document, **sets})
                await self._overflows.delete(message.get("overflow") for message in gone)
                return len(gone)
        raise contention_error(key)

    async def unbind(self, key: str, name: str) -> bool:
        """Remove a participant with the turns, the insights and the marker; return whether it was there.

        The turns in segments are announced, and finished like messages that are deleted.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
        """
        call = current_operation()
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            if await self._tail.finish_pending(document):
                continue
            if _was_done(document):
                return True
            participant = document.get("participants", {}).get(name)
            if participant is None:
                return False
            binding = participant["epoch"]
            here = {
                i: message
                for i, message in enumerate(document["messages"])
                if message and message.get("binding") == binding
            }
            sets: Raw = {f"messages.{index}": None for index in here}
            sets["unbound"] = [binding] if participant["kept"] > len(here) else []
            sets["last_delete"] = {"op": call.token, "count": participant["kept"]}
            newest = next((message for message in reversed(document["messages"]) if message), None)
            if newest is None or newest.get("binding") == binding:
                sets["last"] = await self._newest_of_others(document, binding)
            unbound = await self._tail.sessions.update_one(
                unchanged_filter(document),
                {
                    "$set": sets,
                    "$unset": {f"participants.{name}": "", f"insights.{name}": ""},
                    "$inc": {"message_count": -participant["kept"], "edit_count": 1, "revision": 1},
                    "$max": {"active_at": call.now},
                },
            )
            if unbound.matched_count:
                await self._overflows.delete(message.get("overflow") for message in here.values())
                if sets["unbound"]:
                    await self._tail.finish_unbinding({**document, **sets})
                return True
        raise contention_error(key)

    async def truncate(self, key: str, changes: Callable[[Raw], Raw]) -> Session:
        """Remove all messages, set other fields of the session in the same step, and return the session.

        Args:
            key: The session's `_id`.
            changes: Gives the other fields, from the session's document as it is before.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidDocumentError: The session cannot be read, after it was emptied.
        """
        call = current_operation()
        empty: Raw = {
            "messages": [],
            "messages_bytes": 0,
            "tail_start": 0,
            "next_position": 0,
            "message_count": 0,
            "last": None,
            "pending_deletes": [],
            "unbound": [],
        }
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            if _was_done(document):
                await self.delete_epochs(key, document["stale"])
                return to_session(await self._tail.read_fields(key, *PUBLIC_FIELDS))
            count, old = document["message_count"], document["epoch"]
            last_delete = {"op": call.token, "count": count}
            seen = {"epoch": old, "message_count": count, "revision": document.get("revision")}
            cleared = await self._tail.sessions.find_one_and_update(
                {"_id": key, "state": "open", **seen},
                {
                    "$set": {**empty, **changes(document), "epoch": call.token, "last_delete": last_delete},
                    "$push": {"stale": old},
                    "$inc": {"edit_count": 1},
                    "$max": {"active_at": call.now},
                },
                projection=PUBLIC_FIELDS,
                return_document=ReturnDocument.AFTER,
            )
            if cleared is not None:
                await self.delete_epochs(key, [*document["stale"], old])
                return to_session(cleared)
        raise contention_error(key)

    async def delete_session(self, key: str) -> bool:
        """Delete a session for good, softly deleted or not; return whether it was there."""
        call = current_operation()
        document = await self._tail.sessions.find_one_and_update(
            {"_id": key, "state": STATE_FILTERS[None]},
            {"$set": {"state": "deleting", "delete_op": call.token}},
            projection=_MARKED,
        )
        own_write = document is not None
        if document is None:
            document = await self._tail.sessions.find_one({"_id": key, "state": "deleting"}, _MARKED)
            own_write = document is not None and document["delete_op"] == call.token
        if own_write:
            call.memory["deleted"] = True
        if document is not None:
            await self.finish_delete(document)
        return "deleted" in call.memory

    async def finish_delete(self, document: Raw) -> None:
        """Remove the parts of a marked session, and the mark last: after a crash the next one goes on."""
        await self.delete_epochs(
            document["_id"], [*document["stale"], document["epoch"], document["create_op"]]
        )
        mark = {"_id": document["_id"], "state": "deleting", "create_op": document["create_op"]}
        await self._tail.sessions.delete_one(mark)

    async def delete_epochs(self, key: str, epochs: Sequence[str]) -> None:
        """Remove the segments and large values of epochs that nothing names any more."""
        if epochs:
            await self._tail.segments.delete_many({"epoch": {"$in": list(epochs)}})
            await self._overflows.delete_epochs(epochs)
            await self._tail.sessions.update_one({"_id": key}, {"$pull": {"stale": {"$in": list(epochs)}}})

    async def _newest_of_others(self, document: Raw, binding: str) -> Any:
        """Return the preview of the newest message that is no turn of a binding, None where all are."""
        others = {"messages": {"$elemMatch": {"binding": {"$ne": binding}}}}
        return await self._newest_except(document, lambda message: message.get("binding") == binding, others)

    async def _newest_except(
        self, document: Raw, gone: Callable[[Raw], bool], others: Raw | None = None
    ) -> Any:
        """Return the preview of the newest message that stays, None where none does.

        Args:
            document: The session's.
            gone: Whether a message does not stay.
            others: What finds the segments with messages that stay, where that spares reading many.
        """
        messages, base = document["messages"], document["tail_start"]
        while True:
            for message in reversed(messages):
                if message and not gone(message):
                    filled = await self._overflows.load_into([message])
                    return to_stored_preview(filled[0] if filled else message)
            segment = base and await self._tail.segments.find_one(
                {"epoch": document["epoch"], "start": {"$lt": base}, **(others or {})},
                sort=[("start", -1)],
            )
            if not segment:
                return None
            messages, base = segment["messages"], segment["start"]


def _was_done(document: Raw) -> bool:
    """Return whether an earlier attempt of this very call, of unknown outcome, has done it."""
    return bool(document["last_delete"] and document["last_delete"]["op"] == current_operation().token)
