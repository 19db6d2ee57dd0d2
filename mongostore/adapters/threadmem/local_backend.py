"""Role threads that the store keeps."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from mongostore import models
from mongostore.adapters.threadmem.conversions import ThreadConversions
from mongostore.adapters.threadmem.file_storage import THREADS
from mongostore.adapters.threadmem.messages import RoleMessage, now
from mongostore.adapters.threadmem.server.models import V1Role
from mongostore.codec import is_same

# Roles, and what is in the metadata, are members by themselves: two who add some do not undo each other's.
_ROLE = "role:"
_NOTE = "metadata:"
_UNKNOWN = object()


class LocalBackend(ThreadConversions):
    """The calls of a thread without a `remote` to the store."""

    @classmethod
    def _from_stored(cls, thread: models.Thread) -> Self:
        """Return a thread as it is stored."""
        made, data = cls.__new__(cls), thread.data
        roles = {name: V1Role(**role) for name, role in _under(_ROLE, data)}
        # In lists, since None by itself would stand for what is gone.
        metadata = {name: value for name, (value,) in _under(_NOTE, data)}
        made._begin(
            thread.id,
            thread.owner_id,
            data.get("public", False),
            thread.name,
            metadata or None,
            data.get("created", thread.created_at.timestamp()),
            roles,
        )
        made._loaded, made._is_shown = None, False
        made._note(max(data.get("updated", 0), thread.active_at.timestamp()))
        return made

    @classmethod
    def _local_threads(cls, columns: Mapping[str, Any]) -> Iterator[Self]:
        threads = cls._storage.store.threads
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
        return (cls._from_stored(thread) for thread in found)

    @classmethod
    def walk(cls, owner_id: str, page_size: int, cursor: str | None = None) -> Iterator[tuple[Self, str]]:
        """Yield the threads of an owner as they were created, each with the cursor of those that follow.

        Raises:
            InvalidValueError: The cursor is none.
        """
        threads = cls._storage.store.threads
        while True:
            page = threads.list(
                order="created",
                newest=False,
                limit=page_size,
                cursor=cursor,
                kind=THREADS,
                owner_id=owner_id,
            )
            for thread in page:
                yield cls._from_stored(thread), threads.cursor_of(thread, order="created")
            cursor = page.next_cursor
            if cursor is None:
                return

    def _post_local(self, message: RoleMessage) -> None:
        message.check()
        if self._changes():
            self._store()
        message.store(self._id)
        self._touch(message.created)
        if self._known is not None:
            self._known.add(message.id)
        if self._loaded is None:
            self._added[message.id] = message
            return
        if all(known.id != message.id for known in reversed(self._loaded)):
            self._loaded.append(message)
        self._store_messages()

    def _save_local(self) -> None:
        self._store()
        self._store_messages()

    def _store(self) -> None:
        """Store the members of the thread that have changed."""
        self._check()
        threads = self._storage.store.threads
        members = self._changes()
        fields = {name: members.pop(name) for name in ("owner_id", "name") if name in members}
        data = {name: value for name, value in members.items() if value is not None}
        data["updated"] = updated = now()
        if self._stored:
            unset = [f"data.{name}" for name, value in members.items() if value is None]
            threads.merge(self._id, data=data, unset=unset, **fields)
        elif self._is_minted:
            thread = threads.create(self._id, kind=THREADS, data=data, **fields)
            updated = max(updated, thread.active_at.timestamp())
        else:
            threads.merge(self._id, kind=THREADS, data=data, **fields)
            updated = max(updated, threads.get(self._id).active_at.timestamp())
        self._note(updated)

    def _store_messages(self) -> None:
        if self._loaded is None:
            for added in self._added.valuerefs():
                if message := added():
                    message.store(self._id)
            return
        if not self._is_shown:
            return
        for place, message in enumerate(self._loaded):
            mine = message.for_thread(self._id)
            if mine is not message:
                self._loaded[place] = mine
            mine.store(self._id)

    def _add_local(self, role: V1Role) -> None:
        """Add a role.

        Raises:
            ConflictError: Somebody else has just added one of that name.
        """
        self._save_local()
        added = {_ROLE + role.name: role.model_dump()}
        self._storage.store.threads.merge(self._id, if_absent=True, data=added)
        self._role_mapping[role.name] = role
        self._note(self._updated)

    def _members(self) -> dict[str, Any]:
        return {
            "owner_id": self._owner_id,
            "name": self._name,
            "public": self._public,
            "created": self._created,
            **{f"{_NOTE}{name}": [value] for name, value in (self._metadata or {}).items()},
            **{f"{_ROLE}{name}": role.model_dump() for name, role in self._role_mapping.items()},
        }

    def _changes(self) -> dict[str, Any]:
        """Return the members that differ from what is stored; None stands for what is gone."""
        self._check()
        members = self._members()
        gone = dict.fromkeys(self._stored.keys() - members.keys())
        changed = {
            name: value
            for name, value in members.items()
            if not is_same(self._stored.get(name, _UNKNOWN), value)
        }
        return gone | changed

    def _note(self, updated: float) -> None:
        """Note what is stored, apart from what callers may change in place."""
        self._stored = copy.deepcopy(self._members())
        self._touch(updated)

    def _touch(self, updated: float) -> None:
        self._updated = max(updated, self._updated)
        # Not of the messages, which would take the longer the more of them there are: each moves the time.
        version = json.dumps([self._id, self._stored, self._updated], sort_keys=True)
        self._version = hashlib.sha256(version.encode()).hexdigest()


def _under(mark: str, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the members with a mark, by their names without it."""
    return ((name.removeprefix(mark), value) for name, value in data.items() if name.startswith(mark))
