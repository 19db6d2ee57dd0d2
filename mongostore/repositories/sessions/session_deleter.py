"""How sessions are deleted: marked first, and finished by the next call that meets the mark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from mongostore.codec import from_micros
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.documents.session_participants import epochs_of
from mongostore.repositories import current_operation
from mongostore.repositories.expiry import is_expired
from mongostore.repositories.sessions.filters import STATE_FILTERS
from mongostore.repositories.sessions.insight_log import InsightLog
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.recent_operations import life_since
from mongostore.repositories.sessions.tail import Tail, other_revision_error
from mongostore.repositories.sessions.turn_log import TurnLog

# What the deletion of a session needs of it.
DELETED_FIELDS = [
    *("state", "stale", "unbound", "epoch", "create_op", "revision", "participants", "participant_names"),
    *("active_at", "created_at", "expires_at"),
]

# Longer than a call takes, with all its attempts.
_CREATION_LASTS = timedelta(minutes=10)


class SessionDeleter:
    """Sessions, and the parts of epochs that they have left, as they are removed."""

    def __init__(self, tail: Tail, overflows: Overflows, turns: TurnLog, insights: InsightLog) -> None:
        self._tail = tail
        self._overflows = overflows
        self._turns = turns
        self._insights = insights

    async def delete(self, key: str, guard: StoredDocument) -> bool:
        """Delete a session for good, softly deleted or not; return whether it was there."""
        seen, sessions = current_operation().memory, self._tail.sessions
        while document := await sessions.find_one({"_id": key}, DELETED_FIELDS):
            # A session made anew under that id since an earlier attempt is another one.
            if seen.setdefault("incarnation", document["create_op"]) != document["create_op"]:
                break
            if is_expired(document, current_operation().now) and "expires_at" not in guard:
                await self.finish_if_gone(document)
                break
            if document["state"] != "deleting":
                if not guard.items() <= document.items():
                    raise other_revision_error(key)
                seen["deleted"] = True
                document = await sessions.find_one_and_update(
                    {"_id": key, "create_op": document["create_op"], "state": STATE_FILTERS[None], **guard},
                    {"$set": {"state": "deleting"}},
                    projection=DELETED_FIELDS,
                )
                if document is None:
                    # Another call was first.
                    del seen["deleted"]
            if document is not None:
                await self.finish_delete(document)
                break
        return "deleted" in seen

    async def may_begin_again(self, key: str) -> bool:
        """Return whether a call that may create a session, and has found none, can go on.

        It can if there is none now, the deletion of which is finished here, or if another caller has created
        one since: it means any one of that id.
        """
        document = await self._tail.sessions.find_one({"_id": key}, DELETED_FIELDS)
        if document is None or await self.finish_if_gone(document):
            return True
        met = current_operation().memory.pop("incarnation", "")
        return bool(document["state"] == "open" and met != document["create_op"])

    async def finish_if_gone(self, document: StoredDocument) -> bool:
        """Finish the deletion of a session that is being deleted or has expired; return whether it is so."""
        if _is_tombstone(document):
            tombstone = {name: document[name] for name in ("_id", "state", "create_op", "expires_at")}
            await self._tail.sessions.delete_one(tombstone)
            return True
        is_deleting, gone = document["state"] == "deleting", is_expired(document, current_operation().now)
        if gone and not is_deleting:
            same = {name: document[name] for name in ("_id", "create_op", "expires_at")}
            # With the parts that it has by now.
            marked = await self._tail.sessions.find_one_and_update(
                {**same, "state": STATE_FILTERS[None]},
                {"$set": {"state": "deleting"}},
                projection=DELETED_FIELDS,
            )
            is_deleting, document = marked is not None, marked or document
        if is_deleting:
            await self.finish_delete(document)
        return is_deleting or gone

    async def finish_delete(self, document: StoredDocument) -> None:
        """Remove the parts of a marked session, and the mark last: after a crash the next one goes on.

        Of one that was created lately a tombstone stays, by which a retried creation knows its own.
        """
        if _is_tombstone(document):
            return
        await self._delete_parts(
            document["_id"],
            [*document["stale"], document["epoch"], document["create_op"]],
            [*document["unbound"], *epochs_of(document)],
        )
        marked = {"_id": document["_id"], "state": "deleting", "create_op": document["create_op"]}
        ends = from_micros(current_operation().now) + _CREATION_LASTS
        if document["create_op"] < life_since(_CREATION_LASTS):
            await self._tail.sessions.delete_one(marked)
        else:
            left = {"_id": "$_id", "create_op": "$create_op", "state": "deleting", "expires_at": ends}
            tombstone = {"$replaceWith": {**left, "schema_version": SCHEMA_VERSION}}
            await self._tail.sessions.update_one(marked, [tombstone])

    async def delete_epochs(self, key: str, epochs: Sequence[str], unbound: Sequence[str]) -> None:
        """Remove the parts of epochs that a session or participants have left, then the record of them."""
        if epochs or unbound:
            await self._delete_parts(key, epochs, unbound)
            left = {"stale": {"$in": [*epochs]}, "unbound": {"$in": [*unbound]}}
            await self._tail.sessions.update_one({"_id": key}, {"$pull": left})

    async def _delete_parts(self, key: str, epochs: Sequence[str], unbound: Sequence[str]) -> None:
        if epochs:
            await self._tail.segments.delete_many({"session": key, "epoch": {"$in": [*epochs]}})
        if unbound:
            await self._turns.delete(key, [*unbound])
            await self._insights.delete(key, [*unbound])
        await self._overflows.delete_epochs(key, [*epochs, *unbound])


def _is_tombstone(session: StoredDocument) -> bool:
    """Return whether nothing is left of a session but that it was there."""
    return session["state"] == "deleting" and isinstance(session.get("expires_at"), datetime)
