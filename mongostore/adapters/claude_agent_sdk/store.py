"""The SDK's `SessionStore` protocol on MongoDB: one session a transcript, with its summary."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import anyio.to_thread
import sniffio
from claude_agent_sdk import SessionKey, SessionStoreEntry, fold_session_summary
from claude_agent_sdk.types import SessionListSubkeysKey, SessionStoreListEntry, SessionSummaryEntry

from mongostore.adapters.claude_agent_sdk.entries import id_of, title_of, to_entry, to_messages
from mongostore.arguments import MAX_LIMIT
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Session, SessionUpdate
from mongostore.repositories.sessions import AsyncSessions
from mongostore.repositories.sessions.filters import LifeRevision
from mongostore.shared_store import SharedStore
from mongostore.store import AsyncMongoStore
from mongostore.sync import MongoStore, shared_store

R = TypeVar("R")

NAMESPACE = "claude"
# The keys of a main transcript's metadata that name those of its subagents.
_SUBKEY = "sub:"
# An attempt fails only if others change the session within it.
_ATTEMPTS = 60


class MongoSessionStore:
    """Transcripts of the Claude Agent SDK, those of a project in the namespace `claude:<project key>`.

    Connects when it is first used. Under another event loop than asyncio's, such as trio's, the work is done
    by a blocking store in a thread.

    Args:
        uri: As for `AsyncMongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; a blocking one serves any event loop.
        namespace: The beginning of the namespaces: one for each tenant.
        user_of: Returns the user of a transcript by its key, so that the user's sessions can be listed,
            exported and erased.
    """

    def __init__(
        self,
        uri: str | None = None,
        database: str | None = None,
        *,
        store: AsyncMongoStore | MongoStore | None = None,
        namespace: str = NAMESPACE,
        user_of: Callable[[SessionKey], str | None] | None = None,
    ) -> None:
        self._blocking = store if isinstance(store, MongoStore) else None
        self._shared = SharedStore(uri, database, store if isinstance(store, AsyncMongoStore) else None)
        self._target: Final = uri, database
        self._namespace = namespace
        self._user_of = user_of

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Append entries in order; one whose uuid is stored already is left as it is.

        Raises:
            MongoStoreError: If they are not stored, or some of them are not; the SDK tries again.
        """
        if entries:
            await self._run(lambda store: self._append(store, key, entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return all entries in order; None if there are none."""
        return await self._run(lambda store: self._load(store, key))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the main transcripts of a project."""
        sessions = await self._run(lambda store: self._list(store, project_key))
        return [{"session_id": _session_id(each), "mtime": _mtime(each)} for each in sessions]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the summaries of main transcripts; one that is behind is older than its session."""
        sessions = await self._run(lambda store: self._list(store, project_key))
        return [
            {
                "session_id": _session_id(each),
                "mtime": _mtime(each) - (not _is_current(each)),
                "data": each.data["summary"],
            }
            for each in sessions
            if "summary" in each.data
        ]

    async def delete(self, key: SessionKey) -> None:
        """Delete a main transcript with those of its subagents, or one of these alone.

        Raises:
            ConflictError: If others kept appending to it for too long.
        """
        await self._run(lambda store: self._delete(store, key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session's subagents."""
        return await self._run(lambda store: self._list_subkeys(store, key))

    async def sessions(self, project_key: str) -> AsyncSessions:
        """Return the verbs of a project's main transcripts, in asyncio: `list`, `messages.watch` and others.

        Raises:
            MongoStoreError: If the store cannot be opened.
        """
        return self._mains(await self._shared.get(), project_key)

    async def close(self) -> None:
        """Close the store, if no other object of this event loop uses it."""
        if sniffio.current_async_library() == "asyncio":
            await self._shared.close()

    async def _run(self, verb: Callable[[AsyncMongoStore], Coroutine[Any, Any, R]]) -> R:
        if self._blocking is None and sniffio.current_async_library() == "asyncio":
            return await verb(await self._shared.get())

        def run() -> R:
            store = self._blocking or shared_store(*self._target)
            return store.portal.run(verb(store.core))

        return await anyio.to_thread.run_sync(run)

    def _mains(self, store: AsyncMongoStore, project_key: str) -> AsyncSessions:
        return store.sessions.in_namespace(f"{self._namespace}:{id_of(project_key)}")

    def _subs(self, store: AsyncMongoStore, project_key: str) -> AsyncSessions:
        return store.sessions.in_namespace(f"{self._namespace}-subagents:{id_of(project_key)}")

    def _user(self, key: SessionKey) -> str | None:
        return self._user_of(key) if self._user_of else None

    async def _append(
        self, store: AsyncMongoStore, key: SessionKey, entries: Sequence[SessionStoreEntry]
    ) -> None:
        """Append entries, in several steps where one cannot hold them."""
        append = self._append_sub if key.get("subpath") else self._append_main
        for start in range(0, len(entries), MAX_LIMIT):
            await append(store, key, entries[start : start + MAX_LIMIT])

    async def _append_main(
        self, store: AsyncMongoStore, key: SessionKey, entries: Sequence[SessionStoreEntry]
    ) -> None:
        """Append to a main transcript, and fold the entries into its summary in the same write."""
        sessions, session_id = self._mains(store, key["project_key"]), id_of(key["session_id"])
        seen: tuple[int, int] | None = None
        async for _ in _attempts(session_id):
            session = await sessions.find(session_id)
            if session is not None and seen == (session.revision, session.count):
                # No other process has written: a uuid is stored with other content.
                entries = await _without_stored(sessions, session_id, entries)
            seen = None if session is None else (session.revision, session.count)
            messages = to_messages(entries)
            if not messages:
                return
            if session is not None and session.count and not _is_current(session):
                await self._fold_anew(store, key)
                continue
            update = self._folded(key, session, entries, len(messages))
            with suppress(ConflictError, NotFoundError):
                if session is None:
                    user_id = self._user(key)
                    stored = await sessions.messages.append_many(
                        session_id, messages, create={"user_id": user_id}, update=update, after=-1
                    )
                else:
                    stored = await sessions.messages.append_many(
                        session_id, messages, update=update, revision=LifeRevision.of(session)
                    )
                before = session.count if session else 0
                if any(message.position is None or message.position < before for message in stored):
                    # Some of them were there: what is folded twice may be told wrong.
                    await self._fold_anew(store, key)
                return

    def _folded(
        self, key: SessionKey, session: Session | None, entries: Sequence[SessionStoreEntry], count: int
    ) -> SessionUpdate:
        """Return the change of a session that its new entries make, of which so many are stored."""
        data = dict(session.data) if session else {}
        previous: SessionSummaryEntry | None = None
        if "summary" in data:
            previous = {"session_id": key["session_id"], "mtime": 0, "data": data["summary"]}
        data["summary"] = fold_session_summary(previous, key, list(entries))["data"]
        # As long as that is the number of the entries, the summary tells of all of them.
        data["folded"] = (session.count if session else 0) + count
        if id_of(key["session_id"]) != key["session_id"]:
            data["session_id"] = key["session_id"]
        update: SessionUpdate = {"data": data}
        if title := title_of(entries, session.name if session else None):
            update["name"] = title
        if session is not None and session.user_id is None and (user_id := self._user(key)):
            update["user_id"] = user_id
        return update

    async def _fold_anew(self, store: AsyncMongoStore, key: SessionKey) -> None:
        """Fold all entries of a main transcript, which the summary of it does not tell of."""
        sessions, session_id = self._mains(store, key["project_key"]), id_of(key["session_id"])
        session = await sessions.find(session_id)
        entries = await self._load(store, key) if session else None
        if session is not None and entries:
            empty = session.model_copy(update={"count": 0, "data": {}})
            with suppress(ConflictError, NotFoundError):
                update = self._folded(key, empty, entries, len(entries))
                await sessions.update(session_id, revision=LifeRevision.of(session), **update)

    async def _append_sub(
        self, store: AsyncMongoStore, key: SessionKey, entries: Sequence[SessionStoreEntry]
    ) -> None:
        """Append to a subagent's transcript, which its main transcript has to name before it is there."""
        mains, subs = self._mains(store, key["project_key"]), self._subs(store, key["project_key"])
        session_id, sub_id = id_of(key["session_id"]), id_of(key["session_id"], key["subpath"])
        create: Any = False
        async for _ in _attempts(session_id):
            try:
                if messages := to_messages(entries):
                    await subs.messages.append_many(sub_id, messages, create=create)
                if create:
                    await self._name(mains, session_id, key["subpath"], is_begun=True)
                return
            except NotFoundError:
                await self._name(mains, session_id, key["subpath"])
                create = {"user_id": self._user(key)}
            except ConflictError:
                entries = await _without_stored(subs, sub_id, entries)

    async def _name(
        self, mains: AsyncSessions, session_id: str, subpath: str, *, is_begun: bool = False
    ) -> None:
        """Have a main transcript, begun if need be, name the one of a subagent.

        One that has just begun is named once more: a deletion may have come between its name and its
        beginning, or may have looked for subagents before, and the revision tells it that there is another.
        """
        async for attempt in _attempts(session_id):
            if attempt or not is_begun:
                main = await mains.ensure(session_id)
                if subpath in _subkeys(main) and not is_begun:
                    return
            with suppress(NotFoundError):
                await mains.update(session_id, metadata={_SUBKEY + subpath: True})
                return

    async def _load(self, store: AsyncMongoStore, key: SessionKey) -> list[Any] | None:
        sessions, session_id = self._transcript(store, key)
        entries = list[Any]()
        async for _ in _attempts(session_id):
            # Others may empty it while it is read.
            with suppress(ConflictError):
                with suppress(NotFoundError):
                    entries = [to_entry(one) async for one in sessions.messages.iter(session_id)]
                break
        return entries or None

    def _transcript(self, store: AsyncMongoStore, key: SessionKey) -> tuple[AsyncSessions, str]:
        if subpath := key.get("subpath"):
            return self._subs(store, key["project_key"]), id_of(key["session_id"], subpath)
        return self._mains(store, key["project_key"]), id_of(key["session_id"])

    async def _list(self, store: AsyncMongoStore, project_key: str) -> list[Session]:
        """Return the main transcripts of a project that have entries."""
        sessions, found = self._mains(store, project_key), list[Session]()
        page = await sessions.list(order="created", newest=False, limit=MAX_LIMIT)
        found += page
        while page.next_cursor:
            page = await sessions.list(
                order="created", newest=False, limit=MAX_LIMIT, cursor=page.next_cursor
            )
            found += page
        return [each for each in found if each.count]

    async def _delete(self, store: AsyncMongoStore, key: SessionKey) -> None:
        mains, session_id = self._mains(store, key["project_key"]), id_of(key["session_id"])
        subs, subpath = self._subs(store, key["project_key"]), key.get("subpath")
        async for _ in _attempts(session_id):
            session = await mains.find(session_id)
            if session is None:
                return
            for each in [subpath] if subpath else _subkeys(session):
                await subs.delete(id_of(key["session_id"], each))
            # A subagent that begins meanwhile is named behind that, which changes the revision.
            revision = LifeRevision.of(session)
            with suppress(ConflictError):
                if not subpath:
                    await mains.delete(session_id, revision=revision)
                elif subpath in _subkeys(session):
                    gone = {_SUBKEY + subpath: None}
                    await mains.update(session_id, metadata=gone, revision=revision)
                return

    async def _list_subkeys(self, store: AsyncMongoStore, key: SessionListSubkeysKey) -> list[str]:
        session = await self._mains(store, key["project_key"]).find(id_of(key["session_id"]))
        return [] if session is None else _subkeys(session)


async def _without_stored(
    sessions: AsyncSessions, session_id: str, entries: Sequence[SessionStoreEntry]
) -> list[SessionStoreEntry]:
    """Return the entries whose uuids are not stored."""
    return [
        entry
        for entry in entries
        if not isinstance(uuid := entry.get("uuid"), str)
        or not await sessions.messages.exists(session_id, uuid)
    ]


async def _attempts(session_id: str) -> AsyncIterator[int]:
    """Count the attempts of a change of a session, and raise behind the last one."""
    for attempt in range(_ATTEMPTS):
        if attempt > 1:
            await asyncio.sleep(random.random() * 0.002 * min(attempt, 20))
        yield attempt
    raise ConflictError(f"session {session_id!r}: others changed it at every attempt")


def _subkeys(session: Session) -> list[str]:
    return [key.removeprefix(_SUBKEY) for key in session.metadata if key.startswith(_SUBKEY)]


def _session_id(session: Session) -> str:
    return str(session.data.get("session_id", session.id))


def _mtime(session: Session) -> int:
    return int(session.active_at.timestamp() * 1000)


def _is_current(session: Session) -> bool:
    """Return whether a session's summary tells of all its entries."""
    return session.data.get("folded") == session.count
