"""The sessions of a namespace: `store.sessions`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Unpack
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.documents.participants import begun_anew, to_bound
from mongostore.documents.sessions import SHOWN, SessionFields, sized_member, to_session, to_stored_members
from mongostore.documents.stored import Raw
from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)
from mongostore.models import Page, Session, SessionUpdate, StorageLayout
from mongostore.repositories import (
    Connection,
    Repository,
    current_call,
    long_running,
    reads,
    settled_step,
    writes,
)
from mongostore.repositories.paging import Order, Place
from mongostore.repositories.sessions.contexts import AsyncSessionContext
from mongostore.repositories.sessions.messages import AsyncSessionMessages
from mongostore.repositories.sessions.participants import AsyncSessionParticipants, AsyncSessionTurns
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import Tail, bindings_of
from mongostore.values import (
    check_flag,
    check_id,
    check_limit,
    check_members,
    pack_members,
    to_micros,
)

_ITER_PAGE = 200
_NEWEST = Order("updated_at", rising=False)
_OLDEST = Order("created_at")
_HEAD = {"messages": 0, "context.value": 0, "deletions": 0, "erasure": 0}
_STATES: Mapping[bool | None, Any] = {False: "open", True: "deleted", None: {"$in": ["open", "deleted"]}}


class AsyncSessions(Repository):
    """The sessions of one namespace; `store.sessions` is the namespace `default`.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` if the server does not answer within the store's timeout, `AccessDeniedError`
    if the user lacks the right, and `NotOpenError` on a store that is not open.

    Attributes:
        namespace: The namespace.
        messages: The messages of these sessions.
        context: The context of these sessions: one JSON value each.
        participants: The participants bound to these sessions.
        turns: The turns of the participants.
    """

    def __init__(self, connection: Connection, namespace: str = "default", tail: Tail | None = None) -> None:
        super().__init__(connection)
        self._storage = SessionStorage(connection, namespace, tail or Tail(connection))
        self.namespace = namespace
        self.messages = AsyncSessionMessages(self._storage)
        self.context = AsyncSessionContext(self._storage)
        self.participants = AsyncSessionParticipants(self._storage)
        self.turns = AsyncSessionTurns(self._storage)

    def in_namespace(self, namespace: str) -> AsyncSessions:
        """Return the same verbs for another namespace, whose sessions are apart from all others.

        Raises:
            InvalidValueError: The name is no plain string, is empty or has a slash.
        """
        if not check_id("namespace", namespace) or "/" in namespace:
            raise InvalidValueError("namespace", "must not be empty and has no slash")
        return AsyncSessions(self._connection, namespace, self._storage.tail)

    @writes
    async def create(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        name: str | None = None,
        description: str | None = None,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
        participants: Sequence[str] = (),
    ) -> Session:
        """Create a session, with an id of its own when none is given, and as of now unless a time is given.

        The participants are bound from the start.

        Raises:
            AlreadyExistsError: The id is taken, if only by a deleted session.
            InvalidValueError: A value cannot be stored, or a participant comes twice; names its path.
            DocumentTooLargeError: `data` or `metadata` take more than 4 MiB.
        """
        call = current_call()
        key = self._storage.key(call.token if session_id is None else session_id)
        given: SessionUpdate = {
            "user_id": user_id,
            "name": name,
            "description": description,
            "data": data or {},
        }
        sets = to_stored_members(given)
        created = call.now if created_at is None else to_micros("created_at", created_at)
        fields = SessionFields(
            id=key,
            namespace=self.namespace,
            session_id=key.partition("/")[2],
            **sets,
            metadata=sized_member("metadata", pack_members("metadata", metadata or {})),
            participants=to_bound(participants, created, call.token),
            created_at=created,
            updated_at=call.now,
            generation=uuid4().hex,
            origin=call.token,
        )
        raw = {"_id": key, **fields.model_dump(exclude={"id"})}
        while True:
            try:
                await self._storage.sessions.insert_one(raw)
            except DuplicateKeyError:
                there = await self._storage.sessions.find_one({"_id": key}, _HEAD)
                if there is None:
                    continue
                if there["state"] == "purging":
                    await self._finish_purge(there)
                    continue
                if there["origin"] != call.token:
                    raise AlreadyExistsError("session", key.partition("/")[2]) from None
            self._storage.tail.learn(key, bindings_of(raw))
            return to_session(raw)

    @reads
    async def get(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        session = await self.find(session_id)
        if session is None:
            raise NotFoundError("session", session_id)
        return session

    @reads
    async def find(self, session_id: str) -> Session | None:
        """Return a session, None where there is none or it is deleted.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """
        raw = await self._storage.sessions.find_one(
            {"_id": self._storage.key(session_id), "state": "open"}, SHOWN
        )
        return None if raw is None else to_session(raw)

    @reads
    async def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, not deleted.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        return (
            await self._storage.sessions.find_one(
                {"_id": self._storage.key(session_id), "state": "open"}, {"_id": 1}
            )
            is not None
        )

    @reads
    async def list(
        self,
        *,
        user_id: str | None = None,
        deleted: bool | None = False,
        oldest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Session]:
        """Return a page of the namespace's sessions, each with its last message, newest activity first.

        Args:
            user_id: Only those of one user.
            deleted: False for the open ones, True for the deleted ones, None for both.
            oldest: In the order of their creation instead, the oldest first, which stands still while
                sessions become active, come and go.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before, in the same order.

        Returns:
            The page; sessions that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """
        where = self._scope(user_id, deleted)
        limit, order = check_limit("limit", limit), _OLDEST if check_flag("oldest", oldest) else _NEWEST
        where = _behind(order, where, order.decode(cursor))
        return order.page(await self._page(where, order.sort, limit + 1), limit, to_session)

    @long_running
    async def iter(
        self, *, user_id: str | None = None, deleted: bool | None = False
    ) -> AsyncIterator[Session]:
        """Yield the namespace's sessions by id, passing over those that cannot be read.

        The order of ids stands still while sessions become active, so that none is missed or met twice.

        Args:
            user_id: Only those of one user.
            deleted: False for the open ones, True for the deleted ones, None for both.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        where = self._scope(user_id, deleted)
        while True:
            documents = await settled_step(self._connection, self._page, where, [("_id", 1)], _ITER_PAGE)
            for document in documents:
                with suppress(InvalidDocumentError):
                    yield to_session(document)
            if len(documents) < _ITER_PAGE:
                return
            where["_id"] = {"$gt": documents[-1]["_id"]}

    @reads
    async def count(self, *, user_id: str | None = None, deleted: bool | None = False) -> int:
        """Return how many sessions there are.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """
        return await self._storage.sessions.count_documents(self._scope(user_id, deleted))

    @writes
    async def update(
        self, session_id: str, *, revision: int | None = None, **members: Unpack[SessionUpdate]
    ) -> Session:
        """Change the given members of a session; the others stay.

        Args:
            session_id: The session.
            revision: Change it only if it still has this revision.
            **members: `user_id`, `name`, `description` and `data` are replaced; `metadata` is merged key
                by key, None removing a key.

        Returns:
            The session as it now is.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: It has another revision; nothing was changed.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """
        call, key = current_call(), self._storage.key(session_id)
        given = check_members(members, SessionUpdate)
        notes = given.pop("metadata", {})
        packed = sized_member("metadata", pack_members("metadata", notes))
        sets = to_stored_members(given) | {"revised_by": call.token}
        sets |= {f"metadata.{name}": value for name, value in packed.items() if value is not None}
        update: Raw = {"$set": sets, "$inc": {"revision": 1}, "$max": {"updated_at": call.now}}
        if dropped := {f"metadata.{name}": "" for name, value in packed.items() if value is None}:
            update["$unset"] = dropped
        guard: Raw = {"_id": key, "state": "open"}
        if revision is not None:
            if type(revision) is not int or not 0 <= revision < 2**63:
                raise InvalidValueError("revision", "must be an integer from 0")
            guard["revision"] = revision
        raw = await self._storage.sessions.find_one_and_update(
            guard, update, projection=_HEAD, return_document=ReturnDocument.AFTER
        )
        if raw is None:
            raw = await self._storage.sessions.find_one({"_id": key, "state": "open"}, _HEAD)
            if raw is None:
                raise NotFoundError("session", session_id)
            if raw.get("revised_by") != call.token:
                raise ConflictError(f"session {session_id!r} has another revision by now")
        return to_session(raw)

    @writes
    async def truncate(self, session_id: str) -> Session:
        """Clear the session's `data`, and remove all its messages and all insights, in one step.

        All else stays, participants among it. Positions start from 0 again, numbers of chat turns from 1.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: The id is no plain string.
        """
        token = current_call().token
        await self._storage.eraser.clear(
            self._storage.key(session_id), lambda session: begun_anew(session, token)
        )
        return await self.get(session_id)

    @writes
    async def soft_delete(self, session_id: str) -> bool:
        """Delete a session softly and return whether it was there; `restore` brings it back whole.

        Raises:
            InvalidValueError: The id is no plain string.
        """
        call, key = current_call(), self._storage.key(session_id)
        deleted = await self._storage.sessions.update_one(
            {"_id": key, "state": "open"},
            {
                "$set": {"state": "deleted", "deleted_at": call.now, "state_by": call.token},
                "$inc": {"revision": 1},
            },
        )
        if deleted.matched_count or call.attempt == 0:
            return bool(deleted.matched_count)
        # An earlier attempt of this call may have been the one that did it.
        done = {"_id": key, "state": "deleted", "state_by": call.token}
        return await self._storage.sessions.find_one(done, {"_id": 1}) is not None

    @writes
    async def undelete(self, session_id: str) -> Session:
        """Bring back a softly deleted session with everything it had.

        Raises:
            NotFoundError: There is no such session.
            ConflictError: It is not deleted.
            InvalidValueError: The id is no plain string.
        """
        call, key = current_call(), self._storage.key(session_id)
        raw = await self._storage.sessions.find_one_and_update(
            {"_id": key, "state": "deleted"},
            {
                "$set": {"state": "open", "deleted_at": None, "state_by": call.token},
                "$inc": {"revision": 1},
            },
            projection=_HEAD,
            return_document=ReturnDocument.AFTER,
        )
        if raw is None:
            raw = await self._storage.sessions.find_one({"_id": key, "state": "open"}, _HEAD)
            if raw is None:
                raise NotFoundError("session", session_id)
            if raw.get("state_by") != call.token:
                raise ConflictError(f"session {session_id!r} is not deleted")
        return to_session(raw)

    @writes
    async def delete(self, session_id: str) -> Session | None:
        """Remove a session, deleted or not, with everything that hangs on it, for good.

        Returns:
            The session as it last was; None where there was none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It is removed, but cannot be read for the answer.
        """
        call, key = current_call(), self._storage.key(session_id)
        raw = await self._storage.sessions.find_one_and_update(
            {"_id": key, "state": _STATES[None]},
            {"$set": {"state": "purging", "purged_by": call.token}},
            projection=_HEAD,
        )
        mine = raw is not None
        if raw is None:
            raw = await self._storage.sessions.find_one({"_id": key, "state": "purging"}, _HEAD)
            mine = raw is not None and raw["purged_by"] == call.token
        if raw is not None:
            if mine:
                call.seen["purged"] = raw
            await self._finish_purge(raw)
        return to_session(call.seen["purged"]) if "purged" in call.seen else None

    @reads
    async def describe_storage(self, session_id: str) -> StorageLayout:
        """Return where the session's messages lie: in its own document, and in how many segments.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
        """
        document = await self._storage.tail.read(self._storage.key(session_id))
        below = {"generation": document["generation"], "start": {"$lt": document["base"]}}
        segments = await self._storage.tail.segments.count_documents(below)
        return StorageLayout(
            in_tail=len(document["messages"]), in_segments=document["base"], segments=segments
        )

    async def _page(self, where: Raw, sort: Sequence[tuple[str, int]], limit: int) -> Sequence[Raw]:
        async with self._storage.sessions.find(
            where, SHOWN, sort=sort, limit=limit, batch_size=limit + 1
        ) as found:
            return await found.to_list()

    async def _finish_purge(self, raw: Raw) -> None:
        """Remove the parts of a marked session, and the mark last: after a crash the next one goes on."""
        await self._storage.eraser.drop_generations(
            raw["_id"], [*raw["stale"], raw["generation"], raw["origin"]]
        )
        await self._storage.sessions.delete_one(
            {"_id": raw["_id"], "state": "purging", "origin": raw["origin"]}
        )

    def _scope(self, user_id: str | None, deleted: bool | None) -> Raw:
        """Return the filter of this namespace's sessions: the one place where such a filter begins."""
        if deleted not in (True, False, None):
            raise InvalidValueError("deleted", "must be True, False or None")
        where: Raw = {"namespace": self.namespace, "state": _STATES[deleted]}
        if user_id is not None:
            where["user_id"] = check_id("user_id", user_id)
        return where


def _behind(order: Order, where: Raw, place: Place | None) -> Raw:
    """Return the filter of the sessions behind a place; None stands before all.

    Each state is a branch of its own: only of such can the server merge what indexes give in order.
    """
    states = where["state"]["$in"] if isinstance(where["state"], dict) else [where["state"]]
    behind = [order.behind({**where, "state": state}, place) for state in states]
    branches = [branch for each in behind for branch in each.get("$or", [each])]
    return branches[0] if len(branches) == 1 else {"$or": branches}
