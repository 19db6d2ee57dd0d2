"""The context of sessions: `store.sessions.context`."""

from __future__ import annotations

from typing import Any

from mongostore.codec import decode, encode, is_same
from mongostore.documents.mapping import StoredDocument, bson_size, check_size
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import SessionCreate
from mongostore.repositories import current_operation, reads, writes
from mongostore.repositories.sessions.recent_operations import not_done, record_operation, was_done
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.storage import SessionRepository
from mongostore.repositories.sessions.tail import back_off, contention_error, session_id_of

# Stands for any context, for every JSON value is one.
ANY_CONTEXT: Any = object()


class AsyncSessionContext(SessionRepository):
    """One JSON value of up to 16 MiB a session, such as a model's last prompt."""

    @reads
    async def get(self, session_id: str) -> Any:
        """Return the context of a session.

        Raises:
            NotFoundError: If there is no such session, or no context.
            ConflictError: If other callers kept replacing the context for too long.
            InvalidValueError: If the id is no plain string.
        """
        key = self._storage.key(session_id)
        for attempt in range(self._storage.tail.limits.attempts):
            await back_off(attempt)
            context = (await self._storage.tail.read_fields(key, "context"))["context"]
            if context is None:
                raise NotFoundError("context of session", session_id)
            if context["overflow"] is None:
                return decode(context["value"])
            if stored := await self._storage.overflows.find(key, context["overflow"]):
                return decode(stored["value"])
        raise contention_error(key)

    @reads
    async def find(self, session_id: str) -> Any | None:
        """Return the context of a session; None without a session or context.

        Raises:
            ConflictError: If other callers kept replacing the context for too long.
            InvalidValueError: If the id is no plain string.
        """
        try:
            return await self.get(session_id)
        except NotFoundError:
            return None

    @writes
    async def set(
        self,
        session_id: str,
        value: Any,
        *,
        create: bool | SessionCreate = False,
        expected: Any = ANY_CONTEXT,
    ) -> None:
        """Store or replace a session's context, any JSON value up to 16 MiB.

        Args:
            session_id: The session.
            value: The context.
            create: Whether to create the session if it is not there, or the members to create it with. That
                is a step before: if the process dies in between, the session is there without the context.
            expected: The context as the caller has read it, if it must not have changed since.

        Raises:
            NotFoundError: If there is no such session, or it is deleted; or if there is no context, and one
                is expected.
            ConflictError: If the context is not as expected, or other callers kept changing the session for
                too long.
            InvalidValueError: If it is no JSON value; names its path.
            DocumentTooLargeError: If it is larger; the context before stays.
        """
        key, packed = self._storage.key(session_id), encode("value", value)
        check_size(f"the context of session {session_id!r}", {"value": packed})
        change = SessionChange.from_options(key, {"create": create})
        # What is expected is of a session that is there.
        may_create = change.create is not None and expected is ANY_CONTEXT
        if may_create:
            current_operation().memory["may_create"] = True
        while True:
            try:
                return await self._set(key, packed, expected)
            except NotFoundError:
                if not (may_create and await self._storage.session_deleter.may_begin_again(key)):
                    raise
            await self._storage.writer.begin(change)

    async def _set(self, key: str, packed: Any, expected: Any) -> None:
        session_id, guard = session_id_of(key), await self._guard(key, expected)
        if bson_size("context", {"value": packed}) <= self._storage.tail.limits.context_embed_bytes:
            if await self._replace(key, {"value": packed, "overflow": None}, guard) is None:
                raise _changed_error(session_id) if guard else NotFoundError("session", session_id)
            return
        for attempt in range(self._storage.tail.limits.attempts):
            await back_off(attempt)
            create_op = (await self._storage.tail.read_fields(key, "create_op"))["create_op"]
            overflow = await self._storage.overflows.put(
                key, create_op, f"the context of session {session_id!r}", packed
            )
            # Of this very session: one made anew under the same id must not name what goes with the old one.
            own_write: StoredDocument = {"create_op": create_op, **guard}
            if await self._replace(key, {"value": None, "overflow": overflow}, own_write):
                return
            await self._storage.overflows.delete(key, [overflow])
            if guard:
                raise _changed_error(session_id)
        raise contention_error(key)

    @writes
    async def delete(self, session_id: str, *, expected: Any = ANY_CONTEXT) -> bool:
        """Delete the context of a session and return whether there was one.

        Args:
            session_id: The session.
            expected: The context as the caller has read it, if it must not have changed since.

        Raises:
            ConflictError: If the context is not as expected.
            InvalidValueError: If the id is no plain string.
        """
        key = self._storage.key(session_id)
        try:
            guard = await self._guard(key, expected)
        except NotFoundError:
            return False
        before = await self._replace(key, None, guard)
        if before is None and guard:
            raise _changed_error(session_id)
        return before is not None and (before.get("context") is not None or was_done(before))

    async def _guard(self, key: str, expected: Any) -> StoredDocument:
        """Return the filter of a session whose context is still the expected one."""
        memory = current_operation().memory
        if expected is ANY_CONTEXT or "guard" in memory:
            # A later attempt may find its own work, which it knows by its token.
            return dict(memory.get("guard", {}))
        context = (await self._storage.tail.read_fields(key, "context"))["context"]
        if context is None:
            raise NotFoundError("context of session", session_id_of(key))
        stored = (
            context
            if context["overflow"] is None
            else await self._storage.overflows.find(key, context["overflow"])
        )
        if stored is None or not is_same(decode(stored["value"]), expected):
            raise _changed_error(session_id_of(key))
        memory["guard"] = {"context": context}
        return {"context": context}

    async def _replace(
        self, key: str, context: StoredDocument | None, guard: StoredDocument
    ) -> StoredDocument | None:
        """Set a session's context and drop the large one it had; return what there was of the session."""
        call, projection = current_operation(), {"context.overflow": 1, "recent_ops": 1}
        before = await self._storage.sessions.find_one_and_update(
            {"_id": key, "state": "open", **guard, **not_done()},
            {
                "$set": {"context": context},
                "$max": {"active_at": call.active_at},
                "$push": record_operation(),
            },
            projection=projection,
        )
        if before is None and call.attempt:
            done = await self._storage.sessions.find_one({"_id": key}, projection)
            return done if done and was_done(done) else None
        if before and before.get("context"):
            await self._storage.overflows.delete(key, [before["context"]["overflow"]])
        return before


def _changed_error(session_id: str) -> ConflictError:
    return ConflictError(f"the context of session {session_id!r} has changed since it was read")
