"""Role threads that save themselves, here or on a server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from mongostore.adapters.threadmem.db.models import RoleThreadRecord
from mongostore.adapters.threadmem.file_storage import STORAGE, FileStorage
from mongostore.adapters.threadmem.http_backend import HttpBackend
from mongostore.adapters.threadmem.img import convert_images
from mongostore.adapters.threadmem.local_backend import LocalBackend
from mongostore.adapters.threadmem.messages import RoleMessage, check_columns
from mongostore.adapters.threadmem.openai import read_openai
from mongostore.adapters.threadmem.server.models import V1Role, V1RoleThread, V1UpdateRoleThread
from mongostore.adapters.threadmem.state import COLUMNS, Backend, ThreadState
from mongostore.errors import ConflictError, InvalidValueError

if TYPE_CHECKING:
    from PIL import Image


class RoleThread:
    """A conversation of roles; making one saves it, and so does posting.

    A save of one instance never undoes that of another one: it writes a thread's own members if they
    were changed in this instance, and messages if they are new or were changed in it. An instance shows the
    messages that it has posted if it made the thread, else those that were there when it first read them.

    Args:
        owner_id: The owner of the thread.
        public: A remark; it grants no access.
        name: A name.
        metadata: A JSON object; an empty one is as good as none.
        remote: The address of a server where the thread is kept instead, such as `http://localhost:8090`.
        version: Without effect, since saving makes a new version.
        role_mapping: The speakers of the roles, by the names of the roles.

    Raises:
        InvalidValueError: A value cannot be stored; names it.
        MongoStoreError: The store cannot be opened or does not answer, or the server does not.
    """

    _storage = STORAGE

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
        state = ThreadState(
            owner_id=owner_id,
            public=public,
            name=name,
            metadata=metadata,
            role_mapping=dict(role_mapping or {}),
            remote=remote,
            is_new=True,
        )
        self._backend = _backend(state, self._storage)
        self.save()

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
        state = ThreadState(owner_id=owner_id, public=public, name=name, metadata=metadata, is_new=True)
        state.id = id or state.id
        made = cls._of(LocalBackend(state, cls._storage))
        made.save()
        return made

    @classmethod
    def _of(cls, backend: Backend) -> Self:
        made = cls.__new__(cls)
        made._backend = backend
        return made

    @classmethod
    def at(cls, storage: FileStorage) -> type[Self]:
        """Return the class of threads that are kept on another storage."""
        return type(cls.__name__, (cls,), {"_storage": storage})

    @classmethod
    def storage(cls) -> FileStorage:
        """Return where threads of this class are kept."""
        return cls._storage

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
        check_columns(kwargs, COLUMNS)
        backends: Iterator[Backend] = (
            HttpBackend.find(remote, cls._storage) if remote else LocalBackend.find(cls._storage, kwargs)
        )
        found = [cls._of(backend) for backend in backends if backend.state.has_columns(kwargs)]
        return found if remote else sorted(found, key=lambda thread: thread._backend.state.created)

    @classmethod
    def walk(cls, owner_id: str, page_size: int, cursor: str | None = None) -> Iterator[tuple[Self, str]]:
        """Yield the threads of an owner as they were created, each with the cursor of those that follow.

        Raises:
            InvalidValueError: The cursor is none.
        """
        for backend, following in LocalBackend.walk(cls._storage, owner_id, page_size, cursor):
            yield cls._of(backend), following

    @property
    def id(self) -> str:
        """A UUID, made with the thread."""
        return self._backend.state.id

    @property
    def owner_id(self) -> str | None:
        """The owner of the thread."""
        return self._backend.state.owner_id

    @property
    def public(self) -> bool:
        """A remark; it grants no access."""
        return bool(self._backend.state.public)

    @property
    def name(self) -> str | None:
        """The name, kept by the next save."""
        return self._backend.state.name

    @name.setter
    def name(self, value: str | None) -> None:
        self._backend.state.name = value

    @property
    def metadata(self) -> dict[str, Any] | None:
        """A JSON object, kept by the next save."""
        return self._backend.state.metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any] | None) -> None:
        self._backend.state.metadata = value

    @property
    def remote(self) -> str | None:
        """The address of the server where the thread is kept, None for a local one."""
        return self._backend.state.remote

    @property
    def role_mapping(self) -> dict[str, V1Role]:
        """The speakers of the roles, by the names of the roles."""
        return self._backend.state.role_mapping

    def messages(self, include_private: bool = True) -> list[RoleMessage]:
        """Return the live list of messages, or a new list without private ones.

        The next save stores the changed and the added messages of the live list; it deletes nothing.

        Raises:
            MongoStoreError: They are not read yet, and the store does not answer.
        """
        messages = self._messages
        return messages if include_private else [message for message in messages if not message.private]

    @property
    def _messages(self) -> list[RoleMessage]:
        """The live list, by the name that programs around threadmem know."""
        return self._backend.read()

    def stored_messages(self) -> Iterator[RoleMessage]:
        """Yield the messages as they are stored, none of which the thread keeps in memory."""
        return (RoleMessage.stored(one, self._storage) for one in self._storage.messages(self.id))

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
        message.created = max(message.created, round(self._backend.state.updated * 1_000_000 + 1) / 1_000_000)
        self._backend.post(message)

    def add_msg(self, msg: RoleMessage) -> None:
        """Append a message that exists; of one that belongs to another thread, a copy.

        Raises:
            NotFoundError: The thread is deleted.
            UnsupportedError: The remote server would drop what the message has.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        self._backend.post(msg.for_thread(self.id))

    def save(self) -> None:
        """Store what was changed in this instance: members of the thread and messages.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        self._backend.save()

    def refresh(self, auth_token: str | None = None) -> None:
        """Read the thread again from its server.

        Args:
            auth_token: The sender; else `AGENTSEA_HUB_API_KEY`.

        Raises:
            ValueError: It is a local thread.
            NotFoundError: The server has it no more.
            MongoStoreError: The server does not answer, or refuses.
        """
        if not self.remote:
            raise ValueError("Refresh is only supported for remote threads")
        self._backend.refresh(auth_token)

    def update(self, update: V1UpdateRoleThread) -> None:
        """Change the members of an update of the REST interface, and save the thread.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        state = self._backend.state
        state.public = update.public
        state.name = update.name or state.name
        state.metadata = update.metadata or state.metadata
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
        if role.name in self.role_mapping:
            # Others may have removed it since.
            self._backend.refresh()
        if role.name in self.role_mapping:
            raise ValueError(f"Role {role.name} already exists")
        try:
            self._backend.add_role(role)
        except ConflictError:
            raise ValueError(f"Role {role.name} already exists") from None

    def remove_role(self, name: str) -> None:
        """Remove a role and save the thread.

        Raises:
            ValueError: There is none of that name.
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        # Others may have added it since.
        self._backend.refresh()
        if name not in self.role_mapping:
            raise ValueError(f"Role {name} does not exist")
        self._backend.remove_role(name)

    def delete(self) -> None:
        """Delete the thread for good, with its messages and their images; nothing brings it back.

        Raises:
            MongoStoreError: The store or the server does not answer, or refuses.
        """
        self._backend.delete()

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

    def to_openai(self) -> list[dict[str, Any]]:
        """Return all messages in OpenAI's format.

        Raises:
            ValueError: A message has `<image>` tags, but not as many as images.
        """
        return [message.to_openai() for message in self._messages]

    to_oai = to_openai

    @classmethod
    def from_record(cls, record: RoleThreadRecord) -> Self:
        """Return the thread of a row, a local one; nothing is saved."""
        messages = [RoleMessage.from_record(message, cls._storage) for message in record.messages]
        return cls._of(LocalBackend(ThreadState.from_record(record), cls._storage, messages))

    def to_record(self) -> RoleThreadRecord:
        """Return the thread as a row with those of its messages, which needs no database any more."""
        record = self._backend.state.to_record()
        record.messages = [message.to_record() for message in self._messages]
        return record

    @classmethod
    def from_v1(cls, schema: V1RoleThread) -> Self:
        """Return a thread of the REST interface; nothing is saved."""
        messages = [RoleMessage.from_v1(message, cls._storage) for message in schema.messages]
        return cls._of(_backend(ThreadState.from_v1(schema, schema.remote), cls._storage, messages))

    def to_v1(self) -> V1RoleThread:
        """Return the thread as the REST interface has it, which never names where it is kept."""
        messages = [message.to_v1() for message in self._messages]
        return self.head_to_v1().model_copy(update={"messages": messages})

    def head_to_v1(self) -> V1RoleThread:
        """Return the thread as the REST interface has it, but without its messages."""
        return self._backend.state.to_v1()

    def to_update_schema(self) -> V1UpdateRoleThread:
        """Return the members that a save sends to a server."""
        return self._backend.state.to_update()

    def generate_version_hash(self) -> str:
        """Return the SHA-256, in hexadecimal digits, of the whole thread as the REST interface has it."""
        return hashlib.sha256(json.dumps(self.to_v1().model_dump(), sort_keys=True).encode()).hexdigest()

    def copy(self) -> Self:
        """Return a copy with an id of its own; once it is saved, its messages have ids of their own, too."""
        messages = [message.detached_copy() for message in self._messages]
        return self._of(_backend(self._backend.state.detached_copy(), self._storage, messages))


class Thread(RoleThread):
    """A role thread by its short name."""


def _backend(state: ThreadState, storage: FileStorage, messages: list[RoleMessage] | None = None) -> Backend:
    if state.remote:
        return HttpBackend(state, state.remote, storage, messages)
    return LocalBackend(state, storage, messages)
