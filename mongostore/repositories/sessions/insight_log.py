"""The insights of participants, as they are stored and read: `InsightLog`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mongostore.documents.mapping import StoredDocument, bson_size, check_size
from mongostore.documents.session_participants import MAX_INSIGHTS_BYTES, readable_participants
from mongostore.documents.sessions import PUBLIC_FIELDS
from mongostore.repositories import Connection, current_operation
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.participant_log import LogEnd, ParticipantLog
from mongostore.repositories.sessions.recent_operations import was_done
from mongostore.repositories.sessions.tail import Tail, back_off, session_id_of


class InsightLog:
    """The insights into the turns of sessions' participants, who go by their escaped ids here."""

    def __init__(self, connection: Connection, tail: Tail, overflows: Overflows) -> None:
        self._tail = tail
        self._log = ParticipantLog(connection, overflows, "session_insights", "integrated_until", _totals)

    async def append(
        self,
        key: str,
        end: LogEnd,
        last: int,
        insights: list[Any],
        taken: int,
        revision: int | None = None,
    ) -> bool:
        """Add insights into the turns behind a marker, and move it; return whether it still stood there.

        Args:
            key: The session's `_id`.
            end: Where the marker stood.
            last: The number of the last turn that the insights cover.
            insights: Their stored forms.
            taken: The bytes of all insights of the session, when they were last read.
            revision: The revision that the session must still have.
        """
        what, added = f"the insights of session {session_id_of(key)!r}", {"insights": insights}
        size = size_of(insights)
        if current_operation().attempt and was_done(await self._tail.read_fields(key, "recent_ops")):
            return True
        if size and size + taken > MAX_INSIGHTS_BYTES:
            taken = total_size(await self._tail.read_fields(key, "participants"))
            check_size(what, added, MAX_INSIGHTS_BYTES - taken)
        return await self._log.append(key, end, last, {**added, "size": size}, revision)

    async def load_into(self, sessions: Sequence[StoredDocument]) -> list[StoredDocument]:
        """Return stored sessions, or parts of such, with the insights that their participants count.

        A session whose insights went after it was read is read again; one that went is left as it was.
        """
        loaded, unread = [*sessions], [*range(len(sessions))]
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            found = await self._find([loaded[i] for i in unread])
            for i in unread:
                of_session = _with_insights(loaded[i])
                loaded[i] = {
                    **loaded[i],
                    "insights": {
                        name: found[stored["epoch"]][: stored["insight_count"]]
                        for name, stored in of_session.items()
                        if stored["epoch"] in found
                    },
                }
            unread = [i for i in unread if not _is_complete(loaded[i])]
            if not unread:
                break
            ids = [loaded[i]["_id"] for i in unread]
            same = {"_id": {"$in": ids}, "state": {"$ne": "deleting"}}
            again = await self._tail.sessions.find_all(same, PUBLIC_FIELDS)
            now = {document["_id"]: document for document in again}
            unread = [i for i in unread if loaded[i]["_id"] in now]
            for i in unread:
                loaded[i] = now[loaded[i]["_id"]]
        return loaded

    async def delete(self, key: str, epochs: list[str]) -> None:
        """Delete all insights of epochs of a session."""
        await self._log.delete(key, epochs)

    async def _find(self, sessions: Sequence[StoredDocument]) -> dict[str, list[Any]]:
        """Return the insights of stored sessions by the epochs of their participants, in order."""
        found: dict[str, list[Any]] = {}
        epochs = {
            stored["epoch"]: session["_id"]
            for session in sessions
            for stored in _with_insights(session).values()
        }
        if epochs:
            filter = {"session": {"$in": [*{*epochs.values()}]}, "epoch": {"$in": [*epochs]}}
            async with self._log.batches.find(filter, sort=[("epoch", 1), ("number", 1)]) as cursor:
                async for batch in cursor:
                    found.setdefault(batch["epoch"], []).extend(batch["insights"])
        return found


def size_of(insights: list[Any]) -> int:
    """Return the number of bytes that stored insights take."""
    return bson_size("insights", {"insights": insights}) if insights else 0


def total_size(session: StoredDocument) -> int:
    """Return the number of bytes that all insights of a stored session take."""
    return sum(stored["insights_size"] for stored in session.get("participants", {}).values())


def _totals(batch: StoredDocument) -> dict[str, int]:
    return {"insight_count": len(batch["insights"]), "insights_size": batch["size"]}


def _with_insights(session: StoredDocument) -> dict[str, StoredDocument]:
    """Return the stored participants that have insights."""
    return {
        name: stored
        for name, stored in readable_participants(session).items()
        if isinstance(stored.get("insight_count"), int) and stored["insight_count"]
    }


def _is_complete(session: StoredDocument) -> bool:
    return all(
        len(session["insights"].get(name, ())) == stored["insight_count"]
        for name, stored in _with_insights(session).items()
    )
