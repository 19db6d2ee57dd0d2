"""Role threads that save themselves, here or on a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from mongostore.adapters.threadmem.file_storage import FileStorage
from mongostore.adapters.threadmem.http_backend import HttpBackend
from mongostore.adapters.threadmem.img import convert_images
from mongostore.adapters.threadmem.local_backend import LocalBackend
from mongostore.adapters.threadmem.messages import RoleMessage, check_columns, now
from mongostore.adapters.threadmem.openai import read_openai
from mongostore.adapters.threadmem.server.models import V1Role, V1UpdateRoleThread
from mongostore.errors import ConflictError, InvalidValueError

if TYPE_CHECKING:
    from PIL import Image

_COLUMNS = (
    *("id", "owner_id", "public", "name", "role_mapping", "meta_data", "remote", "version"),
    *("created", "updated"),
)


class RoleThread(LocalBackend, HttpBackend):
    """A conversation of roles; making one saves it, and so does posting.

    A save of one instance never undoes that of another one: it writes a thread's own members if they
    were changed in this instance, and messages if they are new or were changed in it. An instance shows the
    messages that it has posted if it made the thread, else those that were there when it first read them.

    Args:
        owner_id: The owner of the thread.
        public: A note; it grants no access.
        name: A name.
        metadata: A JSON object; an empty one is as good as none.
        remote: The address of a server where the thread is kept instead, such as `http://localhost:8090`.
        version: Without effect, since saving makes a new version.
        role_mapping: The speakers of the roles, by the names of the roles.

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
        """Save and return a new local thread, with a generated id by default.

        Raises:
            AlreadyExistsError: The id is taken, if only by a deleted thread.
            InvalidValueError: A value cannot be stored; names it.
        """
        made = cls.__new__(cls)
        made._begin(id or str(uuid4()), owner_id, public, name, metadata, now(), {})
        made._make()
        return made

    @classmethod
    def at(cls, storage: FileStorage) -> type[Self]:
        """Return the class of threads that are kept on another storage."""
        return type(cls.__name__, (cls,), {"_storage": storage})

    @classmethod
    def storage(cls) -> FileStorage:
        """Return where threads of this class are kept."""
        return cls._storage

    def _make(self) -> None:
        self._is_minted = True
        self._loaded, self._known = [] if self._remote else None, set()
        self.save()

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
        found = [*(cls._http_threads(remote) if remote else cls._local_threads(kwargs))]
        found = [thread for thread in found if thread._is(kwargs)]
        return found if remote else sorted(found, key=lambda thread: thread._created)

    def _is(self, columns: Mapping[str, Any]) -> bool:
        record = self._record()
        return all(
            _parse_json_column(getattr(record, name)) == _parse_json_column(value)
            for name, value in columns.items()
        )

    def messages(self, include_private: bool = True) -> list[RoleMessage]:
        """Return the live list of messages, or a new list without private ones.

        The next save stores the changed and the added messages of the live list;
        it deletes nothing.

        Raises:
            MongoStoreError: They are not read yet, and the store does not answer.
        """
        messages = self._messages
        return messages if include_private else [message for message in messages if not message.private]

    @property
    def _messages(self) -> list[RoleMessage]:
        """The live list, by the name that programs around threadmem know."""
        self._is_shown = True
        return self._read()

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
            role: The speaker, such as `user`.
            msg: The text; each `<image>` in it stands for the next image.
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
        message = RoleMessage.new_message(self._storage, role, msg, urls, private, metadata)
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
        self._add(msg.for_thread(self._id))

    def _add(self, message: RoleMessage) -> None:
        if self._remote:
            self._post_http(message)
        else:
            self._post_local(message)

    def save(self) -> None:
        """Store what was changed in this instance: members of the thread and messages.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        if self._remote:
            self._save_http()
        else:
            self._save_local()

    def update(self, update: V1UpdateRoleThread) -> None:
        """Change the members of an update of the REST interface, and save the thread.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        self._public = update.public
        self._name = update.name or self._name
        self._metadata = update.metadata or self._metadata
        self.save()

    def add_role(self, role: V1Role) -> None:
        """Add a role and save the thread; of two instances that add one of the same name, one can.

        Raises:
            ValueError: There is one of that name.
            InvalidValueError: It is no role.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        if not isinstance(role, V1Role):
            raise InvalidValueError("role", f"must be a V1Role, not {type(role).__name__}")
        if self._remote and role.name in self._role_mapping:
            # Others may have removed it since.
            self.refresh()
        if role.name in self._role_mapping:
            raise ValueError(f"Role {role.name} already exists")
        try:
            if self._remote:
                self._add_http(role)
            else:
                self._add_local(role)
        except ConflictError:
            raise ValueError(f"Role {role.name} already exists") from None

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
            self._storage.store.threads.delete(self._id)

    def remove_images(self) -> None:
        """Take all images from the messages of the role `user`; a save keeps it so if the thread is local."""
        for message in self.messages():
            if message.role == "user":
                message.images = []

    @classmethod
    def from_openai(cls, msgs: Iterable[Mapping[str, Any]]) -> Self:
        """Save and return a new thread of messages in OpenAI's format.

        Raises:
            InvalidValueError: One of them is no such message; nothing is saved.
            FileNotFoundError: An image is a path where no file is; nothing is saved.
        """
        read = [read_openai(msg) for msg in msgs]
        read = [(role, text, convert_images(images)) for role, text, images in read]
        thread = cls()
        for role, text, images in read:
            thread.post(role, text, images)
        return thread


class Thread(RoleThread):
    """A role thread by its short name."""


def _parse_json_column(value: Any) -> Any:
    """Return a value of a column; of JSON text what it says, since the order of keys is not kept."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
