"""Role threads that the store keeps."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from mongostore import models
from mongostore.adapters.threadmem.file_storage import THREADS, FileStorage
from mongostore.adapters.threadmem.messages import RoleMessage, now
from mongostore.adapters.threadmem.server.models import V1Role
from mongostore.adapters.threadmem.state import ThreadState
from mongostore.codec import is_same
from mongostore.errors import UnavailableError

# Roles, and what is in the metadata, are members by themselves: two who add some do not undo each other's.
_ROLE = "role:"
_METADATA = "metadata:"
_UNKNOWN = object()


class _PendingPosts(WeakValueDictionary[str, RoleMessage]):
    """Messages by their ids, as long as the program refers to them; none where it is unpickled."""

    def __reduce__(self) -> tuple[type[_PendingPosts], tuple[()]]:
        return type(self), ()


class LocalBackend:
    """The calls of a thread to the store.

    Args:
        state: The thread.
        storage: The place where it is kept.
        messages: Its messages, None as long as they were not read.
    """

    def __init__(
        self, state: ThreadState, storage: FileStorage, messages: list[RoleMessage] | None = None
    ) -> None:
        self.state = state
        self._storage = storage
        self._loaded = messages
        # The ids of those that an instance which has made the thread knows, None for all there are.
        self._known: set[str] | None = set() if state.is_new else None
        # Those that were added and that the program still refers to.
        self._added = _PendingPosts()
        self._stored: dict[str, Any] = {}

    @classmethod
    def from_stored(cls, thread: models.Thread, storage: FileStorage) -> LocalBackend:
        """Return a thread as it is stored."""
        data = thread.data
        # In lists, since None by itself would stand for what is gone.
        metadata = {name: value for name, (value,) in _with_prefix(_METADATA, data)}
        state = ThreadState(
            id=thread.id,
            owner_id=thread.owner_id,
            public=data.get("public", False),
            name=thread.name,
            metadata=metadata or None,
            role_mapping={name: V1Role(**role) for name, role in _with_prefix(_ROLE, data)},
            created=data.get("created", thread.created_at.timestamp()),
        )
        made = cls(state, storage)
        made._record_stored(max(data.get("updated", 0), thread.active_at.timestamp()))
        return made

    @classmethod
    def find(cls, storage: FileStorage, columns: Mapping[str, Any]) -> Iterator[LocalBackend]:
        """Yield the threads that may have these values of columns."""
        threads = storage.store.threads
        found: Iterable[models.Thread]
        if "id" in columns:
            thread = threads.find(columns["id"]) if isinstance(columns["id"], str) else None
            found = [] if thread is None or thread.kind != THREADS else [thread]
        else:
            where = models.ThreadFilter(kind=THREADS)
            if isinstance(owner_id := columns.get("owner_id"), str):
                where["owner_id"] = owner_id
            if isinstance(name := columns.get("name"), str):
                where["name"] = name
            found = threads.iter(errors=[], **where)
        return (cls.from_stored(thread, storage) for thread in found)

    @classmethod
    def walk(
        cls, storage: FileStorage, owner_id: str, page_size: int, cursor: str | None
    ) -> Iterator[tuple[LocalBackend, str]]:
        """Yield the threads of an owner as they were created, each with the cursor of those that follow."""
        threads, where = storage.store.threads, models.ThreadFilter(kind=THREADS, owner_id=owner_id)
        while True:
            page = threads.list(order="created", newest=False, limit=page_size, cursor=cursor, **where)
            for thread in page:
                yield cls.from_stored(thread, storage), threads.cursor_of(thread, order="created")
            cursor = page.next_cursor
            if cursor is None:
                return

    def read(self) -> list[RoleMessage]:
        if self._loaded is None:
            self._loaded = [
                self._added.get(message.id) or RoleMessage.stored(message, self._storage)
                for message in self._storage.messages(self.state.id)
                if self._known is None or message.id in self._known
            ]
        return self._loaded

    def refresh(self, auth_token: str | None = None) -> None:
        # A save undoes nothing that others have changed.
        pass

    def save(self) -> None:
        self._store()
        self._store_messages()

    def post(self, message: RoleMessage) -> None:
        message.check()
        if self._changes():
            self._store()
        message.store(self.state.id)
        self._touch(message.created)
        if self._known is not None:
            self._known.add(message.id)
        if self._loaded is None:
            self._added[message.id] = message
            return
        if all(known.id != message.id for known in reversed(self._loaded)):
            self._loaded.append(message)
        self._store_messages()

    def add_role(self, role: V1Role) -> None:
        self.save()
        added = {_ROLE + role.name: role.model_dump()}
        self._storage.store.threads.merge(self.state.id, if_absent=True, data=added)
        self.state.role_mapping[role.name] = role
        self._record_stored(self.state.updated)

    def remove_role(self, name: str) -> None:
        self.state.role_mapping.pop(name)
        self.save()

    def delete(self) -> None:
        self._storage.store.threads.delete(self.state.id)

    def _store(self) -> None:
        """Store the members of the thread that have changed."""
        threads, thread_id = self._storage.store.threads, self.state.id
        members = self._changes()
        fields = {name: members.pop(name) for name in ("owner_id", "name") if name in members}
        data = {name: value for name, value in members.items() if value is not None}
        data["updated"] = updated = now()
        if self._stored:
            unset = [f"data.{name}" for name, value in members.items() if value is None]
            threads.merge(thread_id, data=data, unset=unset, **fields)
        elif self.state.is_new:
            try:
                thread = threads.create(thread_id, kind=THREADS, data=data, **fields)
            except UnavailableError:
                # It may be stored all the same, which the next save does not take for another's.
                self.state.is_new = False
                raise
            updated = max(updated, thread.active_at.timestamp())
        else:
            threads.merge(thread_id, kind=THREADS, data=data, **fields)
            updated = max(updated, threads.get(thread_id).active_at.timestamp())
        self._record_stored(updated)

    def _store_messages(self) -> None:
        if self._loaded is None:
            for added in self._added.valuerefs():
                if message := added():
                    message.store(self.state.id)
            return
        for index, message in enumerate(self._loaded):
            own = message.for_thread(self.state.id)
            if own is not message:
                self._loaded[index] = own
            own.store(self.state.id)

    def _members(self) -> dict[str, Any]:
        state = self.state
        return {
            "owner_id": state.owner_id,
            "name": state.name,
            "public": state.public,
            "created": state.created,
            **{f"{_METADATA}{name}": [value] for name, value in (state.metadata or {}).items()},
            **{f"{_ROLE}{name}": role.model_dump() for name, role in state.role_mapping.items()},
        }

    def _changes(self) -> dict[str, Any]:
        """Return the members that differ from what is stored; None stands for what is gone."""
        self.state.check()
        members = self._members()
        gone = dict.fromkeys(self._stored.keys() - members.keys())
        changed = {
            name: value
            for name, value in members.items()
            if not is_same(self._stored.get(name, _UNKNOWN), value)
        }
        return gone | changed

    def _record_stored(self, updated: float) -> None:
        """Remember what is stored, apart from what callers may change in place."""
        self._stored = copy.deepcopy(self._members())
        self._touch(updated)

    def _touch(self, updated: float) -> None:
        state = self.state
        state.updated = max(updated, state.updated)
        # Not of the messages, which would take the longer the more of them there are: each moves the time.
        version = json.dumps([state.id, self._stored, state.updated], sort_keys=True)
        state.version = hashlib.sha256(version.encode()).hexdigest()


def _with_prefix(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the members whose names have a prefix, by their names without it."""
    return ((name.removeprefix(prefix), value) for name, value in data.items() if name.startswith(prefix))
