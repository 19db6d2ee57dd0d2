"""The context of sessions: `store.sessions.context`."""

from __future__ import annotations

from typing import Any

from mongostore.documents.stored import Raw, check_size, size_of
from mongostore.errors import NotFoundError
from mongostore.repositories import Repository, current_call, reads, writes
from mongostore.repositories.sessions.storage import SessionStorage
from mongostore.repositories.sessions.tail import ATTEMPTS, contended, pause
from mongostore.values import pack, unpack

CONTEXT_EMBED_BYTES = 64 * 1024


class AsyncSessionContext(Repository):
    """One JSON value of up to 16 MiB a session, such as the prompt that a model was last given."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage = storage

    @reads
    async def get(self, session_id: str) -> Any:
        """Return the context messages, in the shape in which they were set.

        Raises:
            NotFoundError: There is no such session, or nothing was set.
            InvalidValueError: The id is no plain string.
        """
        key = self._storage.key(session_id)
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            context = (await self._storage.read(key, "context"))["context"]
            if context is None:
                raise NotFoundError("context of session", session_id)
            if context["overflow"] is None:
                return unpack(context["value"])
            if stored := await self._storage.overflows.find(context["overflow"]):
                return unpack(stored["value"])
        raise contended(key)

    @writes
    async def set(self, session_id: str, context: Any) -> None:
        """Put context messages, any JSON value of up to 16 MiB, in the place of those that are there.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: It is no JSON value; names its path.
            DocumentTooLargeError: It is larger; what was there stays.
        """
        key, value = self._storage.key(session_id), pack("context", context)
        check_size(f"the context of session {session_id!r}", {"value": value})
        if size_of("context", {"value": value}) <= CONTEXT_EMBED_BYTES:
            if await self._swap_context(key, {"value": value, "overflow": None}) is None:
                raise NotFoundError("session", session_id)
            return
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            origin = (await self._storage.read(key, "origin"))["origin"]
            overflow = await self._storage.overflows.put(
                key, origin, f"the context of session {session_id!r}", value
            )
            # Of this very session: one made anew under the same id must not name what goes with the old one.
            if await self._swap_context(key, {"value": None, "overflow": overflow}, origin=origin):
                return
            await self._storage.overflows.delete([overflow])
        raise contended(key)

    @writes
    async def delete(self, session_id: str) -> bool:
        """Remove the context messages and return whether there were any.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
        """
        before = await self._swap_context(self._storage.key(session_id), None)
        if before is None:
            raise NotFoundError("session", session_id)
        # The second sign is that an earlier attempt of this call did it.
        return before.get("context") is not None or before.get("context_by") == current_call().token

    async def _swap_context(self, key: str, context: Raw | None, **guard: str) -> Raw | None:
        """Set a session's context and drop the large one it had; return what there was of the session."""
        call = current_call()
        before = await self._storage.sessions.find_one_and_update(
            {"_id": key, "state": "open", **guard},
            {"$set": {"context": context, "context_by": call.token}, "$max": {"updated_at": call.now}},
            projection={"context.overflow": 1, "context_by": 1},
        )
        if before and before.get("context"):
            await self._storage.overflows.delete([before["context"]["overflow"]])
        return before
