"""The participants of sessions: `store.sessions.participants`."""

from __future__ import annotations

from mongostore.arguments import check_flag, check_id, check_limit
from mongostore.codec import escape_key, from_micros, to_micros
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_participants import StoredParticipant, to_participants
from mongostore.errors import AlreadyExistsError, NotFoundError
from mongostore.models import Page, SessionParticipant
from mongostore.repositories import current_operation, reads, writes
from mongostore.repositories.paging import SortKey, SortOrder
from mongostore.repositories.sessions.filters import revision_guard
from mongostore.repositories.sessions.participant_log import participant_of
from mongostore.repositories.sessions.recent_operations import not_done, record_operation, was_done
from mongostore.repositories.sessions.session_change import PARTICIPANTS
from mongostore.repositories.sessions.storage import SessionRepository
from mongostore.repositories.sessions.tail import back_off, contention_error, other_revision_error

_BY_BINDING = SortOrder("bound_at")


class AsyncSessionParticipants(SessionRepository):
    """The participants bound to sessions."""

    @writes
    async def create(
        self, session_id: str, participant_id: str, *, revision: int | None = None
    ) -> SessionParticipant:
        """Bind a participant to a session, and return it.

        Args:
            session_id: The session.
            participant_id: The participant.
            revision: The revision that the session must still have.

        Raises:
            AlreadyExistsError: If it is bound already; it keeps what it has there.
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision; nothing was bound.
            InvalidValueError: If an argument is of the wrong type.
            DocumentTooLargeError: If the participants of the session would take more than 1 MB.
        """
        guard = revision_guard(revision)
        participant, is_new = await self._bind(session_id, participant_id, guard)
        if not is_new:
            raise AlreadyExistsError("participant", participant_id)
        return participant

    @writes
    async def ensure(self, session_id: str, participant_id: str) -> SessionParticipant:
        """Return a participant, bound if it was not; what it has stays.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept binding and unbinding it for too long.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant is bound and cannot be read.
            DocumentTooLargeError: If the participants of the session would take more than 1 MB.
        """
        return (await self._bind(session_id, participant_id, {}))[0]

    @reads
    async def get(self, session_id: str, participant_id: str) -> SessionParticipant:
        """Return a participant.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant cannot be read.
        """
        name = to_name(participant_id)
        document = await self._read(self._storage.key(session_id), name)
        return await self._to_participant(document, name)

    @reads
    async def find(self, session_id: str, participant_id: str) -> SessionParticipant | None:
        """Return a participant; None without such a session or participant.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant cannot be read.
        """
        try:
            return await self.get(session_id, participant_id)
        except NotFoundError:
            return None

    @reads
    async def list(
        self, session_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionParticipant]:
        """Return a page of participants, in the order in which they were bound.

        Args:
            session_id: The session.
            newest: Whether the page begins with the participant that was bound last.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If the participants cannot be read.
        """
        key, limit = self._storage.key(session_id), check_limit("limit", limit)
        newest, sort_key = check_flag("newest", newest), _BY_BINDING.decode(cursor)
        session = await self._storage.tail.read_fields(key, "participants")
        found = to_participants((await self._storage.insights.load_into([session]))[0])
        if newest:
            found.reverse()
        if sort_key is not None:
            found = _after_key(found, sort_key, newest)
        items = found[:limit]
        if len(found) == len(items):
            return Page(items)
        return Page(items, _BY_BINDING.cursor((to_micros("bound_at", items[-1].bound_at), items[-1].id)))

    @writes
    async def delete(self, session_id: str, participant_id: str, *, revision: int | None = None) -> bool:
        """Unbind a participant with all it has; return whether it was bound.

        Its turns and insights go in the same step. If it is bound again, its numbers begin anew.

        Args:
            session_id: The session.
            participant_id: The participant.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision, or other callers kept changing it for too
                long; nothing was removed.
            InvalidValueError: If an argument is of the wrong type.
        """
        key, name = self._storage.key(session_id), to_name(participant_id)
        try:
            return await self._unbind(key, name, revision_guard(revision))
        except NotFoundError:
            return False

    async def _bind(
        self, session_id: str, participant_id: str, guard: StoredDocument, bound_at: int | None = None
    ) -> tuple[SessionParticipant, bool]:
        """Bind a participant unless it is bound; return it, and whether this call has bound it."""
        call, key, name = current_operation(), self._storage.key(session_id), to_name(participant_id)
        bound_at = call.now if bound_at is None else bound_at
        new = StoredParticipant(bound_at=bound_at, epoch=call.token).model_dump()
        update: StoredDocument = {
            "$set": {f"participants.{name}": new},
            "$addToSet": {"participant_names": {"$each": [name]}},
            "$push": record_operation(),
            "$inc": {"revision": 1},
            "$max": {"updated_at": call.now, "active_at": call.active_at},
        }
        added = PARTICIPANTS.added(session_id, update)
        room, counted = PARTICIPANTS.allowing(added), PARTICIPANTS.counted(update, added)
        is_unbound = {"_id": key, "state": "open", f"participants.{name}": {"$exists": False}}
        for attempt in range(self._storage.tail.limits.attempts):
            await back_off(attempt)
            bound = await self._storage.sessions.update_one(
                {**is_unbound, **guard, **not_done(), **room}, counted
            )
            if bound.matched_count:
                self._storage.turns.forget(key, [name])
                return _to_new_participant(key, name, new), True
            document = await self._read(key, name)
            if name in document.get("participants", {}):
                return await self._to_participant(document, name), was_done(document)
            if was_done(document):
                # It was unbound again before the answer came.
                return _to_new_participant(key, name, new), True
            if not guard.items() <= document.items():
                raise other_revision_error(key)
            if not PARTICIPANTS.allows(document, added):
                counts = await self._storage.tail.read_fields(key, "participants", PARTICIPANTS.field)
                room = {PARTICIPANTS.field: counts.get(PARTICIPANTS.field)}
                counted = PARTICIPANTS.exact(session_id, counts, update)
        raise contention_error(key)

    async def _unbind(self, key: str, name: str, guard: StoredDocument) -> bool:
        """Unbind a participant, then delete what it has; return whether it was there."""
        call, storage = current_operation(), self._storage
        for attempt in range(storage.tail.limits.attempts):
            await back_off(attempt)
            document = await self._read(key, name)
            if not was_done(document):
                if not guard.items() <= document.items():
                    raise other_revision_error(key)
                participant = document.get("participants", {}).get(name)
                if participant is None:
                    return False
                call.memory["epoch"] = epoch = participant["epoch"]
                unbound = await storage.sessions.update_one(
                    {"_id": key, "state": "open", f"participants.{name}.epoch": epoch, **guard},
                    {
                        "$unset": {f"participants.{name}": ""},
                        "$pull": {"participant_names": name},
                        "$push": {"unbound": epoch, **record_operation()},
                        "$inc": {"revision": 1},
                        "$max": dict.fromkeys(("updated_at", "active_at"), call.now),
                    },
                )
                if not unbound.matched_count:
                    continue
            await storage.session_deleter.delete_epochs(key, [], [*document["unbound"], call.memory["epoch"]])
            return True
        raise contention_error(key)

    async def _to_participant(self, document: StoredDocument, name: str) -> SessionParticipant:
        """Return a participant, with its insights, as callers see it."""
        [loaded] = await self._storage.insights.load_into([document])
        bound = {"participants": {name: participant_of(loaded, name)}}
        return to_participants({**loaded, **bound})[0]

    async def _read(self, key: str, name: str) -> StoredDocument:
        fields = ("recent_ops", "revision", "created_at", "create_op", "unbound", PARTICIPANTS.field)
        return await self._storage.tail.read_fields(key, f"participants.{name}", *fields)


def _after_key(found: list[SessionParticipant], sort_key: SortKey, newest: bool) -> list[SessionParticipant]:
    """Return the participants behind a place, also if the one of that place was unbound since."""
    for index, one in enumerate(found, 1):
        if one.id == sort_key[1]:
            return found[index:]
    at = from_micros(sort_key[0])
    return [one for one in found if (one.bound_at < at if newest else one.bound_at > at)]


def _to_new_participant(key: str, name: str, new: StoredDocument) -> SessionParticipant:
    return to_participants({"_id": key, "participants": {name: new}})[0]


def to_name(participant_id: str) -> str:
    """Return the name by which a participant is stored."""
    return escape_key(check_id("participant_id", participant_id))
