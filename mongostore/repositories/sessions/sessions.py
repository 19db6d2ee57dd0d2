"""The sessions of a namespace: `store.sessions`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Final, Unpack

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from mongostore.arguments import check_flag, check_id, check_limit
from mongostore.codec import to_micros
from mongostore.documents.mapping import StoredDocument, check_instance
from mongostore.documents.session_participants import truncated_fields
from mongostore.documents.sessions import PUBLIC_FIELDS, to_session
from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidDocumentError,
    InvalidValueError,
    NotFoundError,
)
from mongostore.models import (
    ListOrder,
    Page,
    Session,
    SessionCreate,
    SessionFilter,
    SessionUpdate,
    StorageLayout,
)
from mongostore.recent import Recent
from mongostore.repositories import current_operation, long_running, read_step, reads, writes
from mongostore.repositories.change_feed import ChangeFeed
from mongostore.repositories.paging import count_options, list_order
from mongostore.repositories.sessions.branches import AsyncSessionBranches
from mongostore.repositories.sessions.context import AsyncSessionContext
from mongostore.repositories.sessions.conversations import AsyncSessionConversations
from mongostore.repositories.sessions.filters import revision_guard, session_filter, state_filter
from mongostore.repositories.sessions.messages import AsyncSessionMessages
from mongostore.repositories.sessions.namespaces import AsyncNamespaces
from mongostore.repositories.sessions.participants import AsyncSessionParticipants
from mongostore.repositories.sessions.recent_operations import (
    not_done,
    operation_token,
    record_operation,
    was_done,
)
from mongostore.repositories.sessions.session_change import MERGED, new_session, session_update, state_change
from mongostore.repositories.sessions.session_lists import list_sessions
from mongostore.repositories.sessions.storage import SessionRepository, SessionStorage
from mongostore.repositories.sessions.tail import back_off, contention_error, other_revision_error
from mongostore.repositories.sessions.turns import AsyncSessionTurns

# So many namespaces are kept; the verbs of one more are made anew.
_SCOPES = 1000
_HEAD_FIELDS = {"messages": 0, "context.value": 0, "pending_deletes": 0}


class AsyncSessions(SessionRepository):
    """The sessions of one namespace; `store.sessions` is the namespace `default`.

    Ids are plain strings of at most 512 bytes. Beside the errors that it names, every verb raises
    `UnavailableError` if the server does not answer within the store's timeout, `AccessDeniedError`
    if the user lacks the right, and `NotOpenError` on a store that is not open.

    Attributes:
        messages: The messages of these sessions; `branches` those that continue earlier ones.
        conversations: The conversations of these sessions.
        context: The context of these sessions: one JSON value each.
        participants: The participants bound to these sessions.
        turns: The turns of the participants.
        namespaces: The namespaces that have sessions.
    """

    def __init__(
        self, storage: SessionStorage, changes: ChangeFeed, scopes: Recent[str, AsyncSessions] | None = None
    ) -> None:
        super().__init__(storage)
        self._changes = changes
        # Those of other namespaces, the same objects at each call.
        self._scopes = Recent[str, AsyncSessions](_SCOPES) if scopes is None else scopes
        self._scopes[storage.namespace] = self
        self._key = self._storage.key
        self.messages: Final = AsyncSessionMessages(self._storage, changes)
        self.branches: Final = AsyncSessionBranches(self._storage)
        self.conversations: Final = AsyncSessionConversations(self._storage)
        self.context: Final = AsyncSessionContext(self._storage)
        self.participants: Final = AsyncSessionParticipants(self._storage)
        self.turns: Final = AsyncSessionTurns(self._storage)
        self.namespaces: Final = AsyncNamespaces(self._storage)

    @property
    def namespace(self) -> str:
        """The namespace of these sessions."""
        return self._storage.namespace

    def in_namespace(self, namespace: str) -> AsyncSessions:
        """Return the same verbs for another namespace, apart from all others.

        Raises:
            InvalidValueError: If the name is no plain string, is empty or has a slash.
        """
        if not check_id("namespace", namespace) or "/" in namespace:
            raise InvalidValueError("namespace", "must not be empty and has no slash")
        if scope := self._scopes.get(namespace):
            self._scopes.move_to_end(namespace)
        return scope or AsyncSessions(self._storage.in_namespace(namespace), self._changes, self._scopes)

    @writes
    async def create(self, session_id: str | None = None, **members: Unpack[SessionCreate]) -> Session:
        """Create a session, by default with a new id and the current time.

        Args:
            session_id: The session's id.
            **members: `user_id`, `name`, `description`, `data`, `metadata` and `created_at`; `participants`
                are bound from the start; from `expires_at` on, or after `expires_in`, it is not found.

        Raises:
            AlreadyExistsError: If the id is taken, also by a softly deleted session.
            InvalidValueError: If a value cannot be stored, or a participant comes twice; names its path.
            DocumentTooLargeError: If `data`, or `name`, `description` and `metadata` together, exceed 4 MiB.
        """
        key = self._key(current_operation().token if session_id is None else session_id)
        while True:
            document = new_session(key, members)
            try:
                await self._storage.sessions.insert_one(document)
            except DuplicateKeyError:
                existing = await self._storage.sessions.find_one({"_id": key}, _HEAD_FIELDS)
                if existing is None or not existing["create_op"].endswith(operation_token()):
                    if existing and not await self._storage.session_deleter.finish_if_gone(existing):
                        raise AlreadyExistsError("session", document["session_id"]) from None
                    continue
                # That of an earlier attempt, be it deleted since.
                document["create_op"] = existing["create_op"]
            self._storage.turns.cache(document)
            return to_session(document)

    @writes
    async def ensure(self, session_id: str, **members: Unpack[SessionCreate]) -> Session:
        """Return a session, created with these members if it is not there.

        Args:
            session_id: The session's id.
            **members: As for `create`; without effect on a session that is there.

        Raises:
            NotFoundError: If the session is softly deleted.
            ConflictError: If other callers kept creating and deleting it for too long.
            InvalidValueError: If a value cannot be stored, or a participant comes twice; names its path.
            InvalidDocumentError: If the session is there and cannot be read.
            DocumentTooLargeError: If `data` or `metadata` take more than 4 MiB.
        """
        for attempt in range(self._storage.tail.limits.attempts):
            await back_off(attempt)
            # Another caller may be first, and may have deleted it since.
            with suppress(AlreadyExistsError):
                return await self.find(session_id) or await self.create(session_id, **members)
            if await self.find(session_id, deleted=True):
                raise NotFoundError("session", session_id)
        raise contention_error(self._key(session_id))

    @reads
    async def get(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """
        return self._check_found("session", session_id, await self.find(session_id))

    @reads
    async def find(self, session_id: str, *, deleted: bool | None = False) -> Session | None:
        """Return a session; None if there is none.

        Args:
            session_id: The session.
            deleted: False for one that is not deleted, True for a softly deleted one, None for either.

        Raises:
            InvalidValueError: If the id is no plain string, or an argument is of the wrong type.
            InvalidDocumentError: If it cannot be read.
        """
        key = {"_id": self._key(session_id), "state": state_filter(deleted)}
        document = await self._storage.sessions.find_one(key, PUBLIC_FIELDS)
        return None if document is None else await self._storage.to_session(document)

    @reads
    async def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, not deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        key = {"_id": self._key(session_id), "state": "open"}
        return await self._storage.sessions.find_one(key, {"_id": 1}) is not None

    @long_running
    async def list(
        self,
        *,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[SessionFilter],
    ) -> Page[Session]:
        """Return a page of sessions, the most recently active first.

        Each comes with its newest message. Sessions that cannot be read are in the `errors` of the page. With
        `text` a page may be short, even empty, while others follow.

        Args:
            order: By newest activity (`active`), or by creation (`created`), which stands still while
                sessions become active, come and go.
            newest: Whether the newest come first.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            **where: Which sessions.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        limit, by = check_limit("limit", limit), list_order(order, newest)
        return await list_sessions(self._storage, self.namespace, by, where).page(limit, cursor)

    @long_running
    def iter(
        self,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[SessionFilter],
    ) -> AsyncIterator[Session]:
        """Yield all sessions by their creation, each once and none missed.

        Args:
            newest: Whether the newest come first.
            errors: A list that collects what cannot be read, so that it does not end the iteration.
            **where: Which sessions.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a session cannot be read and there is no list of `errors`.
        """
        found = list_sessions(self._storage, self.namespace, list_order("created", newest), where)
        return found.iterate(errors)

    @staticmethod
    def cursor_of(session: Session, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page that begins after a session.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """
        check_instance("session", session, Session)
        by, at = list_order(order, True), session.active_at if order == "active" else session.created_at
        return by.cursor((to_micros(order, at), f"{session.namespace}/{session.id}"))

    @long_running
    async def count(self, *, limit: int | None = None, **where: Unpack[SessionFilter]) -> int:
        """Return the number of sessions, at most `limit`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """
        options, by = count_options(limit), list_order("active", True)
        if where.get("text") or where.get("metadata"):
            return await list_sessions(self._storage, self.namespace, by, where).count(limit)
        filter = session_filter(self.namespace, by, where)
        return await read_step(self._connection, self._storage.sessions.count_documents, filter, **options)

    @writes
    async def update(
        self, session_id: str, *, revision: int | None = None, **members: Unpack[SessionUpdate]
    ) -> Session:
        """Change members of a session, and return it as it now is.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.
            **members: `user_id`, `name`, `description`, `data` and `expires_at` are replaced; `metadata` is
                merged key by key, None removing a key unless `unset` names the keys to remove, as
                `metadata.<key>`; `expires_in` sets `expires_at` from now.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision; nothing was changed.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the session would take too much; it is left as it was.
            InvalidDocumentError: If the session cannot be read, after it was changed.
        """
        key, update = self._key(session_id), session_update(members)
        guard: StoredDocument = {"_id": key, "state": "open", **revision_guard(revision)}
        run = partial(self._update, key)
        document = await MERGED.write(self._storage.sessions, session_id, guard, update, run)
        if document is None:
            if not await self.exists(session_id):
                raise NotFoundError("session", session_id)
            raise other_revision_error(key)
        return await self._storage.to_session(document)

    @writes
    async def truncate(self, session_id: str, *, revision: int | None = None) -> Session:
        """Remove a session's messages, turns, insights and `data` in one step; return it as it now is.

        All else stays, participants among it. Positions begin anew from 0, numbers of turns from 1.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision, or others kept changing it for too long.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the session cannot be read, after it was emptied.
        """
        key, guard = self._key(session_id), revision_guard(revision)
        return to_session(await self._storage.deleter.truncate(key, truncated_fields, guard))

    @writes
    async def soft_delete(self, session_id: str, *, revision: int | None = None) -> bool:
        """Hide a session until `undelete`, and return whether it was there.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision; it is not hidden.
            InvalidValueError: If an argument is of the wrong type.
        """
        key, guard = self._key(session_id), {"state": "open", **revision_guard(revision)}
        changed = await self._update(key, guard, state_change("deleted", current_operation().now))
        if not changed and revision is not None and await self.exists(session_id):
            raise other_revision_error(key)
        return changed is not None

    @writes
    async def undelete(self, session_id: str) -> Session:
        """Bring back a softly deleted session with all its parts, and return it.

        Raises:
            NotFoundError: If there is no such session.
            ConflictError: If it is not deleted.
            InvalidValueError: If the id is no plain string.
        """
        document = await self._update(self._key(session_id), {"state": "deleted"}, state_change("open", None))
        if document is None:
            if not await self.exists(session_id):
                raise NotFoundError("session", session_id)
            raise ConflictError(f"session {session_id!r} is not deleted")
        return await self._storage.to_session(document)

    @writes
    async def delete(self, session_id: str, *, revision: int | None = None) -> bool:
        """Delete a session for good with all parts; return whether it was there.

        A softly deleted one is deleted, too.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision; nothing was deleted.
            InvalidValueError: If an argument is of the wrong type.
        """
        return await self._storage.session_deleter.delete(self._key(session_id), revision_guard(revision))

    @reads
    async def describe_storage(self, session_id: str, *, outline: bool = True) -> StorageLayout:
        """Return where a session's messages lie; with its outline, for which the sizes of all parts are read.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If the id is no plain string, or an argument is of the wrong type.
        """
        check_flag("outline", outline)
        return await self._storage.tail.describe(self._key(session_id), outline=outline)

    async def _update(self, key: str, guard: StoredDocument, update: StoredDocument) -> StoredDocument | None:
        """Change a session, however often it is tried, and return it; None if the guard does not hold."""
        changed = await self._storage.sessions.find_one_and_update(
            {"_id": key, **guard, **not_done()},
            {**update, "$push": record_operation()},
            projection=_HEAD_FIELDS,
            return_document=ReturnDocument.AFTER,
        )
        if changed is None and current_operation().attempt:
            changed = await self._storage.sessions.find_one({"_id": key}, _HEAD_FIELDS)
            return changed if changed and was_done(changed) else None
        return changed
