"""The blocking twin of the store: each verb is mirrored from the async core and has no logic of its own."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from mongostore.engines import Capability, Target, Transactions, settings_of
from mongostore.errors import NotOpenError
from mongostore.hooks import Hooks
from mongostore.models.retention import RetentionPolicy
from mongostore.portal import Portal
from mongostore.repositories.sessions import TailLimits
from mongostore.store import AsyncMongoStore
from mongostore.sync.twins import Keys, Leases, People, Retention, Rooms, Sessions, StoreVerbs, Threads


class MongoStore(StoreVerbs):
    """Conversations in MongoDB, for blocking code: scripts, threads, Flask, also inside a running event loop.

    May be used from many threads at once. In a forked child it opens anew by itself, but for
    `mongomock://`, whose data belongs to the process that made it.

    Args:
        target: As for `AsyncMongoStore`, but of an async client, too, an equal one is opened.
        database: Likewise.
        timeout: Likewise.
        client_options: Likewise.
        prefix: Likewise.
        transactions: Likewise.
        ensure_indexes: Likewise.
        retention: Likewise.
        hooks: Likewise; the store calls them in its own thread.
        tail_limits: Likewise.

    Attributes:
        sessions: Sessions: conversations whose application owns their order.
        threads: Threads: steps of a user interface, in any order, with elements, files and feedback.
        rooms: Rooms: several channels and people on one timeline of events.
        people: One person over all of them: find, export, erase.
        retention: The deletion of what is old or expired.
        keys: The API keys of the store's servers.
        leases: The right to do something alone for a while.

    Raises:
        ConfigurationError: The target cannot work.
    """

    def __init__(
        self,
        target: Target | None = None,
        database: str | None = None,
        *,
        timeout: float | None = None,
        client_options: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        transactions: Transactions = "required",
        ensure_indexes: bool | None = None,
        retention: RetentionPolicy | None = None,
        hooks: Sequence[Hooks] = (),
        tail_limits: TailLimits | None = None,
    ) -> None:
        self._make = functools.partial(
            AsyncMongoStore,
            # The loop of an async client is not the portal's.
            settings_of(target) or target,
            database,
            timeout=timeout,
            client_options=client_options,
            prefix=prefix,
            transactions=transactions,
            ensure_indexes=ensure_indexes,
            retention=retention,
            hooks=hooks,
            tail_limits=tail_limits,
        )
        self._core = self._make()
        self._portal: Portal | None = None
        self._lock = threading.Lock()
        self._is_forked = False
        _stores.add(self)
        self.sessions: Final = Sessions(self, lambda core: core.sessions)
        self.rooms: Final = Rooms(self, lambda core: core.rooms)
        self.leases: Final = Leases(self, lambda core: core.leases)
        self.threads: Final = Threads(self, lambda core: core.threads)
        self.keys: Final = Keys(self, lambda core: core.keys)
        self.people: Final = People(self, lambda core: core.people)
        self.retention: Final = Retention(self, lambda core: core.retention)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.engine.address}>"

    @property
    def core(self) -> AsyncMongoStore:
        """The async store behind this one."""
        return self._core

    @property
    def portal(self) -> Portal:
        """The portal to the core's event loop.

        Raises:
            NotOpenError: The store is not open.
        """
        if self._is_forked:
            self._reopen_after_fork()
        if (portal := self._portal) is None:
            raise NotOpenError("the store is not open: use `with`, or call open() first")
        return portal

    @property
    def address(self) -> str:
        """The target as it may be shown in logs: without a password."""
        return self._core.address

    @property
    def is_open(self) -> bool:
        """Whether the store is open."""
        return self._portal is not None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of the deployment, known once the store is open."""
        return self._core.capabilities

    def open(self) -> None:
        """Connect and create missing indexes; on an open store, do nothing.

        Raises:
            ConfigurationError: The address or the installation cannot work.
            AccessDeniedError: The credentials are wrong, or the user may not create indexes.
            UnavailableError: Nothing answers there, within five seconds.
            UnsupportedError: It is a standalone server, and transactions are required.
            IndexConflictError: An index is there with another definition.
        """
        if self._is_forked:
            self._reopen_after_fork()
        with self._lock:
            if self._portal is None:
                self._use(_open_in_portal(self._core))

    def close(self) -> None:
        """Let the calls under way end, each in its time, close every connection and end the loop thread.

        Calls that begin later are refused, and iterations end. Closing twice is harmless. A store that is
        left open is closed when nothing refers to it any more, or at the end of the process.
        """
        with self._lock:
            portal, self._portal = self._portal, None
            if portal is not None and portal.is_usable:
                self._forget()
                portal.close(self._core.close(), self._core._drain())

    def _use(self, portal: Portal) -> None:
        self._portal = portal
        dropped = weakref.finalize(self, _close_dropped, portal, self._core)
        # At the end of the process its end is waited for.
        dropped.atexit = False
        self._forget = dropped.detach

    def _reopen_after_fork(self) -> None:
        """Begin anew in a forked child: its copies of the loop and of the connections are dead."""
        with self._lock:
            if not self._is_forked:
                return
            if self._portal is not None and not self._core.engine.is_shared:
                raise NotOpenError(
                    "the embedded engine's data is in the process that forked: use a server between processes"
                )
            core = self._make()
            portal = None if self._portal is None else _open_in_portal(core)
            self._core, self._portal, self._is_forked = core, None, False
            if portal is not None:
                self._use(portal)

    def _mark_forked(self) -> None:
        """Record, first thing in a forked child, that nothing here may be used as it is."""
        self._lock, self._is_forked = threading.Lock(), True

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_in_portal(core: AsyncMongoStore) -> Portal:
    """Open a store in an event loop of its own."""
    portal = Portal()
    try:
        portal.run(core.open())
    except BaseException:
        portal.close(core.close())
        raise
    return portal


def _close_dropped(portal: Portal, core: AsyncMongoStore) -> None:
    """Close a store that nothing refers to any more."""
    if portal.is_usable:
        portal.close_in_background(core.close())


_stores: weakref.WeakSet[MongoStore] = weakref.WeakSet()
_shared_stores: dict[tuple[str | None, ...], MongoStore] = {}
_shared_lock = threading.Lock()


def shared_store(uri: str | None = None, database: str | None = None) -> MongoStore:
    """Return the open store of this process for a URI and database, the same one at every call.

    Args:
        uri: As for `MongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.

    Raises:
        MongoStoreError: It cannot be opened; the next call tries again.
    """
    # What the environment says decides too, and reading it whole takes longer than a call may cost.
    key = uri or os.environ.get("MONGOSTORE_URI"), database, os.environ.get("MONGOSTORE_DATABASE")
    with _shared_lock:
        store = _shared_stores.get(key)
        if store is None:
            store = _shared_stores[key] = MongoStore(key[0], database)
    # Anew if it was closed.
    store.open()
    return store


@atexit.register
def _close_all() -> None:
    for store in list(_stores):
        if not store._is_forked:
            store.close()


def _after_fork() -> None:
    global _shared_lock
    # It may have been held by a thread that is not here; and what is shared is the parent's.
    _shared_lock = threading.Lock()
    _shared_stores.clear()
    for store in list(_stores):
        store._mark_forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
