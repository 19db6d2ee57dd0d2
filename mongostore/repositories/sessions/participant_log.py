"""The turns and insights of participants in collections of their own: batches, each behind the one before.

A batch is stored under the number of its first entry, which two callers can therefore not take both, and then
counted in the session's document. Nothing is there before it is counted. A caller that finds the next number
taken counts the batch that took it before its own one, so that a crash between the two writes leaves nothing
half done and no number out. Nothing here needs a transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pymongo.errors import DuplicateKeyError

from mongostore.codec import unescape_key
from mongostore.documents.mapping import SCHEMA_VERSION, StoredDocument
from mongostore.errors import NotFoundError
from mongostore.repositories import CollectionOf, Connection, current_operation
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.recent_operations import operation_token, record_operation
from mongostore.repositories.sessions.tail import other_revision_error, session_id_of
from mongostore.repositories.store_collection import StoreCollection


@dataclass(frozen=True)
class LogEnd:
    """Where the log of a participant ends.

    Attributes:
        name: The participant's escaped id.
        epoch: Its epoch.
        number: The number of the newest entry, 0 before the first.
        create_op: The session's, where it is known.
        revision: The session's when the end was read, where it is known.
        created_at: The session's, likewise.
    """

    name: str
    epoch: str
    number: int
    create_op: str = ""
    revision: int | None = None
    created_at: int | None = None


class ParticipantLog:
    """A collection of batches.

    Args:
        connection: The store's connection.
        overflows: The large values that batches may name.
        collection: The name of the collection.
        counter: The field of a stored participant with the number of its newest entry.
        totals: Returns what a batch adds to other fields of the participant.
    """

    _sessions = CollectionOf("sessions")

    def __init__(
        self,
        connection: Connection,
        overflows: Overflows,
        collection: str,
        counter: str,
        totals: Callable[[StoredDocument], dict[str, int]] = lambda batch: {},
    ) -> None:
        self._connection = connection
        self._overflows = overflows
        self._name = collection
        self._counter = counter
        self._totals = totals

    @property
    def batches(self) -> StoreCollection:
        """The collection of the batches."""
        return self._connection.collection(self._name)

    async def append(
        self, key: str, end: LogEnd, last: int, entries: StoredDocument, revision: int | None = None
    ) -> bool:
        """Append a batch behind the end of a log; return whether it was this one, and was counted.

        If not, the log ends elsewhere by now, or the session has counted the batch in an earlier attempt.

        Args:
            key: The session's `_id`.
            end: The end of the log.
            last: The number of the last entry of the batch.
            entries: The fields of the batch that hold its entries.
            revision: The revision that the session must still have when the batch is counted.

        Raises:
            NotFoundError: If the session is softly deleted; nothing was appended.
            ConflictError: If the session has another revision; nothing was appended.
        """
        number = end.number + 1
        batch = {
            "_id": f"{end.epoch}/{number:012}",
            "session": key,
            "epoch": end.epoch,
            "number": number,
            "end": last,
            "op": operation_token(),
            **entries,
            # Another caller that counts the batch, because this one died, asks the guard as well.
            **({} if revision is None else {"revision": int(revision)}),
        }
        try:
            await self.batches.insert_one(batch)
        except DuplicateKeyError:
            taken = await self.batches.find_one({"_id": batch["_id"], "session": key})
            if taken is None:
                return False
            batch = taken
        is_counted = await self._count(key, end.name, batch) or await self._resolve_uncounted(
            key, end.name, batch
        )
        return is_counted and batch["op"] == operation_token()

    async def delete(self, key: str, epochs: list[str]) -> None:
        """Delete all batches of epochs of a session."""
        await self.batches.delete_many({"session": key, "epoch": {"$in": epochs}})

    async def _count(self, key: str, name: str, batch: StoredDocument) -> bool:
        """Count a batch in the session; return whether it was this call that did."""
        path = f"participants.{name}"
        added = {f"{path}.{field}": amount for field, amount in self._totals(batch).items()}
        counted = await self._sessions.update_one(
            {
                "_id": key,
                "state": "open",
                f"{path}.epoch": batch["epoch"],
                f"{path}.{self._counter}": batch["number"] - 1,
                "recent_ops": {"$ne": _withdrawal(batch)},
                **({"revision": batch["revision"]} if "revision" in batch else {}),
            },
            {
                "$set": {f"{path}.{self._counter}": batch["end"]},
                "$inc": {"revision": 1, **added},
                "$max": {"updated_at": current_operation().now, "active_at": current_operation().active_at},
                "$push": record_operation(token=batch["op"]),
            },
        )
        return counted.matched_count == 1

    async def _resolve_uncounted(self, key: str, name: str, batch: StoredDocument) -> bool:
        """Return whether another call has counted a batch, and delete one that will never be counted.

        Its participant has begun another epoch or has gone; or the session has another revision than that of
        the batch; or the session was softly deleted meanwhile, and comes back without the batch, which is
        withdrawn there before it is deleted; or a newer version has written the session, which this one
        leaves as it is.
        """
        path = f"participants.{name}"
        fields = ["state", path, "recent_ops", "schema_version", "revision"]
        session = await self._sessions.find_one({"_id": key}, fields)
        participant = (session or {}).get("participants", {}).get(name, {})
        is_own = batch["op"] == operation_token()
        is_live = session is not None and participant.get("epoch") == batch["epoch"]
        # Revisions only grow, and it was that one when the batch was stored.
        revision = (session or {}).get("revision")
        is_outdated = session is not None and batch.get("revision", revision) != revision
        if session is not None and is_live:
            if participant[self._counter] >= batch["number"]:
                return True
            is_newer = session.get("schema_version", 0) > SCHEMA_VERSION
            is_withdrawn = is_outdated or _withdrawal(batch) in session.get("recent_ops", ())
            if not is_withdrawn and (not is_own or (session["state"] == "open" and not is_newer)):
                return False
            if not is_withdrawn and not is_newer:
                uncounted = {f"{path}.epoch": batch["epoch"], f"{path}.{self._counter}": batch["number"] - 1}
                withdrawn = await self._sessions.update_one(
                    {"_id": key, **uncounted}, {"$push": record_operation(token=_withdrawal(batch))}
                )
                if not withdrawn.matched_count:
                    return False
        await self.batches.delete_one({"_id": batch["_id"], "session": key, "op": batch["op"]})
        await self._overflows.delete_of(key, batch.get("turns", ()))
        if is_live and is_own:
            if is_outdated:
                raise other_revision_error(key)
            raise NotFoundError("session", session_id_of(key))
        return False


def participant_of(session: StoredDocument, name: str) -> StoredDocument:
    """Return a participant of a stored session."""
    participant: StoredDocument | None = session.get("participants", {}).get(name)
    if participant is None:
        raise NotFoundError("participant", unescape_key(name))
    return participant


def _withdrawal(batch: StoredDocument) -> str:
    """Return what the session records of a batch that it must not count any more."""
    return f"-{batch['op']}"
