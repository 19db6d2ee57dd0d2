"""Role threads that save themselves, here or on a server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import shortuuid

from mongostore import models
from mongostore.adapters.threadmem.far import FarThread
from mongostore.adapters.threadmem.img import convert_images
from mongostore.adapters.threadmem.messages import RoleMessage, check_columns, now, read_openai
from mongostore.adapters.threadmem.server.models import V1Role, V1UpdateRoleThread
from mongostore.adapters.threadmem.shelf import THREADS, Shelf
from mongostore.errors import ConflictError, InvalidValueError

if TYPE_CHECKING:
    from PIL import Image

_COLUMNS = (
    *("id", "owner_id", "public", "name", "role_mapping", "meta_data", "remote", "version"),
    *("created", "updated"),
)
_ROLE = "role:"
_UNKNOWN = object()


class RoleThread(FarThread):
    """A conversation of roles; making one saves it, and so does posting.

    What one instance saves never undoes what another one has: a thread's own members are written when they
    were changed in this instance, messages when they are new or were changed in it. An instance shows the
    messages that it has posted if it made the thread, else those that were there when it first read them.

    Args:
        owner_id: Who the thread belongs to.
        public: A note; it lets nobody in.
        name: A name.
        metadata: A JSON object; an empty one is as good as none.
        remote: The address of a server where the thread is kept instead, such as `http://localhost:8090`.
        version: Without effect, since saving makes a new version.
        role_mapping: Who speaks in which role, by the names of the roles.

    Raises:
        InvalidValueError: A value cannot be stored; names it.
        MongoStoreError: The store cannot be opened or does not answer, or the server does not.
    """

    def __init__(
        self,
        owner_id: str | None = None,
        public: bool = False,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        remote: str | None = None,
        version: str | None = None,
        role_mapping: Mapping[str, V1Role] | None = None,
    ) -> None:
        self._begin(str(uuid4()), owner_id, public, name, metadata, now(), role_mapping or {})
        self._remote = remote
        self._make()

    @classmethod
    def create(
        cls,
        id: str | None = None,
        *,
        owner_id: str | None = None,
        public: bool = False,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Self:
        """Save and return a new local thread, with an id of its own when none is given.

        Raises:
            AlreadyExistsError: The id is taken, if only by a deleted thread.
            InvalidValueError: A value cannot be stored; names it.
        """
        made = cls.__new__(cls)
        made._begin(id or str(uuid4()), owner_id, public, name, metadata, now(), {})
        made._make()
        return made

    @classmethod
    def at(cls, shelf: Shelf) -> type[Self]:
        """Return the class of threads that are kept on another shelf."""
        return type(cls.__name__, (cls,), {"_shelf": shelf})

    @classmethod
    def shelf(cls) -> Shelf:
        """Return where threads of this class are kept."""
        return cls._shelf

    def _make(self) -> None:
        self._is_minted = True
        self._messages, self._known = [] if self._remote else None, set()
        self.save()

    @classmethod
    def _of(cls, thread: models.Thread) -> Self:
        """Return a thread as it is stored."""
        made, data = cls.__new__(cls), thread.data
        roles = {
            name.removeprefix(_ROLE): V1Role(**role) for name, role in data.items() if name.startswith(_ROLE)
        }
        made._begin(
            thread.id,
            thread.owner_id,
            data.get("public", False),
            thread.name,
            data.get("metadata"),
            data.get("created", thread.created_at.timestamp()),
            roles,
        )
        made._messages, made._is_shown = None, False
        made._note(max(data.get("updated", 0), thread.active_at.timestamp()))
        return made

    @classmethod
    def find(cls, remote: str | None = None, **kwargs: Any) -> list[Self]:
        """Return the threads whose columns have these values, in the order in which they were created.

        Args:
            remote: The address of a server to ask; all its answers are its user's own.
            **kwargs: Any of id, owner_id, public, name, version, created and updated, and `role_mapping` and
                `meta_data` as JSON texts. Threads are found fast by id and owner_id.

        Raises:
            InvalidValueError: There is no such column.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        check_columns(kwargs, _COLUMNS)
        found = [*(cls._far_threads(remote) if remote else cls._near_threads(kwargs))]
        found = [thread for thread in found if thread._is(kwargs)]
        return found if remote else sorted(found, key=lambda thread: thread._created)

    @classmethod
    def _near_threads(cls, columns: Mapping[str, Any]) -> Iterator[Self]:
        threads = cls._shelf.store.threads
        found: Iterable[models.Thread]
        if "id" in columns:
            thread = threads.find(columns["id"]) if isinstance(columns["id"], str) else None
            found = [] if thread is None or thread.kind != THREADS else [thread]
        else:
            texts = {name: columns.get(name) for name in ("owner_id", "name")}
            texts = {name: value for name, value in texts.items() if isinstance(value, str)}
            found = threads.iter(kind=THREADS, **texts)
        return (cls._of(thread) for thread in found)

    def _is(self, columns: Mapping[str, Any]) -> bool:
        record = self._record()
        return all(getattr(record, name) == value for name, value in columns.items())

    def messages(self, include_private: bool = True) -> list[RoleMessage]:
        """Return the live list of messages, whose changes a save keeps, or a new list without private ones.

        Raises:
            MongoStoreError: They are not read yet, and the store does not answer.
        """
        self._is_shown = True
        messages = self._read()
        return messages if include_private else [message for message in messages if not message.private]

    def post(
        self,
        role: str,
        msg: str,
        images: Sequence[str | Image.Image] = (),
        private: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Append a message.

        Args:
            role: Who speaks, such as `user`.
            msg: What is said; each `<image>` in it stands for the next image.
            images: URLs, paths of local files, or PIL images; what is no URL is kept as PNG.
            private: Whether readers of the public part are not shown it.
            metadata: A JSON object.

        Raises:
            InvalidValueError: A value cannot be stored; names it, and nothing is.
            FileNotFoundError: An image is a path where no file is.
            NotFoundError: The thread is deleted.
            UnsupportedError: The remote server would drop `private` or `metadata`.
            MongoStoreError: The store or the server does not answer.
        """
        urls = convert_images(images)
        message = RoleMessage.draft(self._shelf, role, msg, urls, private, metadata)
        # The order of posts is that of their times, whatever the clock says.
        message.created = max(message.created, round(self._updated * 1_000_000 + 1) / 1_000_000)
        self._add(message)

    def add_msg(self, msg: RoleMessage) -> None:
        """Append a message that exists; of one that belongs to another thread, a copy.

        Raises:
            NotFoundError: The thread is deleted.
            UnsupportedError: The remote server would drop what the message has.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        self._add(msg if msg.thread_id in (None, self._id) else _fresh(msg))

    def _add(self, message: RoleMessage) -> None:
        if self._remote:
            self._send(message)
            self.refresh()
            return
        if self._changes():
            self._keep()
        message.keep(self._id)
        self._touch(message.created)
        if self._known is not None:
            self._known.add(message.id)
        if self._messages is None:
            return
        if all(known.id != message.id for known in reversed(self._messages)):
            self._messages.append(message)
        self._keep_messages()

    def save(self) -> None:
        """Store what was changed in this instance: members of the thread and messages.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        if self._remote:
            self._save_far()
        else:
            self._keep()
            self._keep_messages()

    def _keep(self) -> None:
        """Store the members of the thread that have changed."""
        threads = self._shelf.store.threads
        members = self._changes()
        fields = {name: members.pop(name) for name in ("owner_id", "name") if name in members}
        data = {**members, "updated": (updated := now())}
        if not isinstance(self._metadata, dict | None):
            raise InvalidValueError("metadata", "must be a JSON object")
        if self._stored:
            threads.merge(self._id, data=data, **fields)
        elif self._is_minted:
            thread = threads.create(self._id, kind=THREADS, data=data, **fields)
            updated = max(updated, thread.active_at.timestamp())
        else:
            threads.merge(self._id, kind=THREADS, data=data, **fields)
            updated = max(updated, threads.get(self._id).active_at.timestamp())
        self._note(updated)

    def _keep_messages(self) -> None:
        if not self._is_shown or self._messages is None:
            return
        for place, message in enumerate(self._messages):
            if message.thread_id not in (None, self._id):
                message = self._messages[place] = _fresh(message)
            message.keep(self._id)

    def _members(self) -> dict[str, Any]:
        return {
            "owner_id": self._owner_id,
            "name": self._name,
            "public": self._public,
            "metadata": self._metadata or None,
            "created": self._created,
            **{f"{_ROLE}{name}": role.model_dump() for name, role in self._role_mapping.items()},
        }

    def _changes(self) -> dict[str, Any]:
        """Return the members that differ from what is stored; None stands for what is gone."""
        members = self._members()
        gone = dict.fromkeys(self._stored.keys() - members.keys())
        changed = {
            name: value for name, value in members.items() if self._stored.get(name, _UNKNOWN) != value
        }
        return gone | changed

    def _note(self, updated: float) -> None:
        """Note what is stored, apart from what callers may change in place."""
        self._stored = json.loads(json.dumps(self._members()))
        self._touch(updated)

    def _touch(self, updated: float) -> None:
        self._updated = max(updated, self._updated)
        # Not of the messages, which would take the longer the more of them there are: each moves the time.
        version = json.dumps([self._id, self._stored, self._updated], sort_keys=True)
        self._version = hashlib.sha256(version.encode()).hexdigest()

    def update(self, update: V1UpdateRoleThread) -> None:
        """Change what an update of the REST interface says, and save the thread.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        self._public = update.public
        if update.name is not None:
            self._name = update.name
        if update.metadata is not None:
            self._metadata = update.metadata
        self.save()

    def add_role(self, role: V1Role) -> None:
        """Add a role and save the thread.

        Raises:
            ValueError: There is one of that name.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        if role.name in self._role_mapping:
            raise ValueError(f"Role {role.name} already exists")
        if self._remote:
            try:
                self._ask("POST", "/roles", role.model_dump())
            except ConflictError:
                raise ValueError(f"Role {role.name} already exists") from None
            self.refresh()
        else:
            self._role_mapping[role.name] = role
            self.save()

    def remove_role(self, name: str) -> None:
        """Remove a role and save the thread.

        Raises:
            ValueError: There is none of that name.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        if self._remote:
            # Others may have added it since.
            self.refresh()
        if name not in self._role_mapping:
            raise ValueError(f"Role {name} does not exist")
        if self._remote:
            self._ask("DELETE", "/roles", {"name": name})
            self.refresh()
        else:
            self._role_mapping.pop(name)
            self.save()

    def delete(self) -> None:
        """Delete the thread for good, with its messages and their images; nothing brings it back.

        Raises:
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        if self._remote:
            self._ask("DELETE")
        else:
            self._shelf.store.threads.delete(self._id)

    def remove_images(self) -> None:
        """Take all images from the messages of the role `user`; the next save keeps it so."""
        for message in self.messages():
            if message.role == "user":
                message.images = []

    @classmethod
    def from_openai(cls, msgs: Iterable[Mapping[str, Any]]) -> Self:
        """Save and return a new thread of messages in OpenAI's format.

        Raises:
            InvalidValueError: One of them is no such message; nothing is saved.
        """
        read = [read_openai(msg) for msg in msgs]
        thread = cls()
        for role, text, images in read:
            thread.post(role, text, images)
        return thread


class Thread(RoleThread):
    """A role thread by its short name."""


def _fresh(message: RoleMessage) -> RoleMessage:
    """Return a copy of a message that belongs to no thread, with an id of its own."""
    made = message.twin(id=shortuuid.uuid())
    made.thread_id = None
    return made
