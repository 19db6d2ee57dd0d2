"""The SDK's `Session` protocol on MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from agents import SessionSettings, TResponseInputItem
from agents.memory.session_settings import coerce_session_settings, resolve_session_limit

from mongostore.adapters.openai_agents.items import to_item, to_message
from mongostore.arguments import MAX_LIMIT, check_id
from mongostore.errors import ConflictError, InvalidDocumentError, NotFoundError, NotOpenError
from mongostore.models import Message, SessionCreate
from mongostore.repositories.sessions import AsyncSessions
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore
from mongostore.unreadable import log_unreadable

R = TypeVar("R")


NAMESPACE = "openai"


class MongoSession:
    """A session of the OpenAI Agents SDK, in the namespace `openai` unless another is named.

    Connects when it is first used, in the event loop that uses it. A write that is cancelled ends before the
    cancellation is raised, so that its outcome is known.

    Args:
        session_id: The session's id.
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays open when this session is closed.
        namespace: The namespace of the session: one for each tenant.
        user_id: The user of the session, if this object creates it.
        name: Its title, likewise.
        metadata: Its metadata, likewise.
        session_settings: The SDK's settings; their `limit` holds where none is named.

    Raises:
        InvalidValueError: If the id is no plain string of at most 512 bytes; it is a `TypeError`, too.

    Attributes:
        session_id: The session's id.
        session_settings: The SDK's settings.
    """

    session_settings: SessionSettings | None = None

    def __init__(
        self,
        session_id: str,
        uri: str | None = None,
        database: str | None = None,
        *,
        store: AsyncMongoStore | None = None,
        namespace: str = NAMESPACE,
        user_id: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        self.session_id: str = check_id("session_id", session_id)
        self.session_settings = coerce_session_settings(session_settings or {})
        self._store = SharedStore(uri, database, store)
        self._namespace = namespace
        self._create: SessionCreate = {
            "user_id": user_id,
            "name": name,
            "metadata": dict(metadata or {}),
        }
        self._is_closed = False

    async def sessions(self) -> AsyncSessions:
        """Return the verbs of the namespace: `list(user_id=…)`, `update(…, name=…)`, `messages.watch(…)`.

        Raises:
            NotOpenError: If this session is closed; it is a `RuntimeError`, too.
            MongoStoreError: If the store cannot be opened.
        """
        self._check_open()
        return (await self._store.get()).sessions.in_namespace(self._namespace)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the newest items, all without a limit or with a negative one, the oldest of them first.

        Items that cannot be read are logged and passed over.
        """
        sessions, limit = await self.sessions(), resolve_session_limit(limit, self.session_settings)
        if limit is None or limit < 0:
            return [to_item(message) for message in await self._all(sessions)]
        return [to_item(message) for message in (await self._newest(sessions, limit))[0]]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all or none of them; the first ones create the session.

        Raises:
            TypeError: If an item is no JSON value; nothing is written.
            NotFoundError: If the session is softly deleted.
            DocumentTooLargeError: If an item takes more than 16 MiB; nothing is written.
            InvalidValueError: If there are more than 1,000; nothing is written.
        """
        self._check_open()
        messages = [to_message(item) for item in items]
        if messages:
            sessions = await self.sessions()
            await _finish(sessions.messages.append_many(self.session_id, messages, create=self._create))

    async def pop_item(self) -> TResponseInputItem | None:
        """Delete the newest item and return it; None if there is none.

        Raises:
            InvalidDocumentError: If it cannot be read; it is not deleted.
        """
        sessions = await self.sessions()
        message = await _finish(sessions.messages.pop(self.session_id))
        return None if message is None else to_item(message)

    async def clear_session(self) -> None:
        """Delete all items in one step; the session stays, with its user and its title."""
        sessions = await self.sessions()
        with suppress(NotFoundError):
            await _finish(sessions.messages.truncate(self.session_id))

    async def close(self) -> None:
        """Refuse further calls, and close the store if no other object uses it."""
        self._is_closed = True
        await self._store.close()

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[TResponseInputItem], bool] | None = None
    ) -> Any:
        """Return the newest items with what replaces them in one step, as the SDK's own stores do."""
        own = type(self)
        if (own.get_items, own.add_items) != (MongoSession.get_items, MongoSession.add_items):
            # What a subclass does to items would be passed by.
            return None
        from agents.memory.session import _CompactionSnapshot

        sessions = await self.sessions()
        found, is_complete = await self._newest(sessions, limit)

        async def replace_suffix(start: int, items: list[TResponseInputItem]) -> bool:
            going = [message.id for message in found[start:]]
            if not going:
                return False
            new = [to_message(item) for item in items]
            try:
                await _finish(sessions.messages.replace_newest(self.session_id, going, new))
            except (ConflictError, NotFoundError):
                return False
            if prune_prefix is not None:
                await _finish(self._prune(sessions, prune_prefix))
            return True

        return _CompactionSnapshot([to_item(message) for message in found], is_complete, replace_suffix)

    async def _prune(self, sessions: AsyncSessions, is_old: Callable[[TResponseInputItem], bool]) -> None:
        """Delete the oldest items, as long as they are said to be old."""
        with suppress(NotFoundError):
            while page := await sessions.messages.list(self.session_id):
                old = next((i for i, one in enumerate(page) if not is_old(to_item(one))), len(page))
                await sessions.messages.delete_many(self.session_id, [one.id for one in page[:old]])
                if old < len(page):
                    return

    async def _all(self, sessions: AsyncSessions) -> list[Message]:
        errors: list[InvalidDocumentError] = []
        try:
            found = [one async for one in sessions.messages.iter(self.session_id, errors=errors)]
        except NotFoundError:
            return []
        except ConflictError:
            # All were removed while they were read: what has come since is there to be read.
            return await self._all(sessions)
        log_unreadable(errors)
        return found

    async def _newest(self, sessions: AsyncSessions, limit: int) -> tuple[list[Message], bool]:
        """Return so many of the newest messages, and whether they are all."""
        found: list[Message] = []
        cursor: str | None = None
        while len(found) < limit:
            count = min(limit - len(found), MAX_LIMIT)
            try:
                page = await sessions.messages.list(self.session_id, newest=True, limit=count, cursor=cursor)
            except NotFoundError:
                return [], True
            log_unreadable(page.errors)
            found, cursor = page.items + found, page.next_cursor
            if cursor is None:
                return found, True
        return found, False

    def _check_open(self) -> None:
        if self._is_closed:
            raise NotOpenError(f"the session {self.session_id!r} is closed")


async def _finish(write: Coroutine[Any, Any, R]) -> R:
    """Return what a write returns; if the caller is cancelled meanwhile, raise that when it has ended."""
    task = asyncio.ensure_future(write)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is not None:
        # It is retrieved, so that the loop does not report it as unhandled.
        task.cancelled() or task.exception()
        raise cancelled
    return task.result()
