"""Role messages that save themselves."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import shortuuid

from mongostore.adapters.threadmem.db.models import RoleMessageRecord
from mongostore.adapters.threadmem.file_storage import (
    MESSAGES,
    STORAGE,
    FileStorage,
    StoredImage,
    file_keys,
    to_time,
)
from mongostore.adapters.threadmem.img import convert_images
from mongostore.adapters.threadmem.openai import read_openai, write_openai
from mongostore.adapters.threadmem.server.models import V1RoleMessage
from mongostore.arguments import check_list, check_text
from mongostore.codec import encode_object, is_same
from mongostore.errors import InvalidValueError
from mongostore.models import ThreadMessage

if TYPE_CHECKING:
    from PIL import Image

_COLUMNS = ("id", "role", "text", "images", "private", "created", "meta_data", "thread_id")
# The members that rows and the REST interface have as they are.
_PLAIN = ("id", "role", "text", "private", "created", "thread_id")
_UNKNOWN = object()


class RoleMessage:
    """A message in a role; making one saves it.

    Attributes:
        id: Made with the message.
        thread_id: The thread that it belongs to; a thread that it is added to sets it.
        images: `data:` and `http(s):` URLs. Those of a stored message that are large are read when they are
            first asked for.
        private: Whether readers of the public part of a thread are not shown it.
        created: In seconds since 1970.

    Args:
        role: The speaker, such as `user`.
        text: The text; each `<image>` in it stands for the next image.
        thread_id: The thread that it belongs to.
        images: URLs, paths of local files, or PIL images; what is no URL is kept as PNG.
        private: As above.
        metadata: A JSON object; an empty one is as good as none.

    Raises:
        InvalidValueError: A value cannot be stored; names it.
        FileNotFoundError: An image is a path where no file is.
        NotFoundError: The thread is deleted.
        MongoStoreError: The store cannot be opened or does not answer.
    """

    _storage = STORAGE
    _images: list[Any]

    def __init__(
        self,
        role: str,
        text: str,
        thread_id: str | None = None,
        images: Sequence[str | Image.Image] = (),
        private: bool | None = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._begin(shortuuid.uuid(), role, text, thread_id, private, now(), metadata)
        self._images = [*convert_images(images)]
        self._is_minted = True
        self.save()

    @classmethod
    def new_message(
        cls,
        storage: FileStorage,
        role: str,
        text: str,
        images: list[str],
        private: bool | None,
        metadata: Any,
    ) -> RoleMessage:
        """Return a new message that is not saved yet; its images are URLs already."""
        message = cls.__new__(cls)
        message._begin(shortuuid.uuid(), role, text, None, private, now(), metadata)
        message._images, message._storage, message._is_minted = [*images], storage, True
        return message

    @classmethod
    def stored(cls, message: ThreadMessage, storage: FileStorage) -> RoleMessage:
        """Return a message as it is stored."""
        made, data = cls.__new__(cls), message.data
        made._begin(
            message.id,
            data.get("role", ""),
            message.content,
            message.thread_id,
            data.get("private"),
            data.get("created", message.created_at and message.created_at.timestamp()),
            data.get("metadata"),
        )
        images: list[StoredImage] = data.get("images", [])
        made._images, made._storage = images, storage
        made._remember(made._members(), message.thread_id, file_keys(images))
        return made

    def _begin(
        self, id: str, role: Any, text: Any, thread_id: Any, private: Any, created: Any, metadata: Any
    ) -> None:
        self.id = id
        self.role = role
        self.text = text
        self.thread_id: Any = thread_id
        self.private = private
        self.created = created
        self.metadata = metadata
        # Whether no other process can know the id.
        self._is_minted = False
        # Whether another message has the id by right.
        self._is_detached = False
        self._stored: dict[str, Any] = {}
        self._home: str | None = None
        self._files: list[str] = []

    @property
    def images(self) -> list[str]:
        """The images, as URLs.

        Raises:
            NotFoundError: The file of one of them is gone.
        """
        if self._files and not all(isinstance(image, str) for image in self._images):
            self._images = [self._storage.image(image) for image in self._images]
            self._stored["images"] = [*self._images]
        return self._images

    @images.setter
    def images(self, images: list[str]) -> None:
        self._images = [*images] if isinstance(images, tuple) else images

    @classmethod
    def find(cls, **kwargs: Any) -> list[RoleMessage]:
        """Return the messages whose columns have these values, in the order in which they were created.

        Args:
            **kwargs: Any of id, role, text, private, created and thread_id, and `images` and `meta_data` as
                JSON texts. By id and thread_id messages are found fast; else every message is looked at.

        Raises:
            InvalidValueError: There is no such column.
        """
        check_columns(kwargs, _COLUMNS)
        return [message for message in cls._candidates(kwargs) if message._is(kwargs)]

    @classmethod
    def _candidates(cls, columns: Mapping[str, Any]) -> Iterator[RoleMessage]:
        filters = {name: columns.get(name) for name in ("thread_id", "text", "role")}
        if "id" in columns:
            messages = cls._storage.store.threads.messages
            found = isinstance(columns["id"], str) and messages.find_by_id(columns["id"])
            return iter([cls.stored(found, cls._storage)] if found and found.kind == MESSAGES else [])
        texts = {name: value for name, value in filters.items() if isinstance(value, str)}
        return (cls.stored(message, cls._storage) for message in cls._storage.messages(**texts))

    def _is(self, columns: Mapping[str, Any]) -> bool:
        record = self.to_record() if "images" in columns else self._record(None)
        return all(getattr(record, name) == value for name, value in columns.items())

    def save(self) -> None:
        """Store what has changed since the message was last stored; others' changes of the rest stay.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
            NotFoundError: The thread is deleted.
            ConflictError: It is stored in another thread.
            DocumentTooLargeError: It takes more than a document can hold.
        """
        self.store(self.thread_id)

    def store(self, thread_id: str | None) -> None:
        """Store what has changed, in a thread."""
        changed = {
            name: value
            for name, value in self._members().items()
            if not is_same(self._stored.get(name, _UNKNOWN), value)
        }
        if not changed and thread_id in (None, self._home):
            return
        self.check()
        if "images" in changed:
            changed["images"] = [*self.images]
        before, is_adopted = self._files, self._home is None and thread_id is not None
        # Only the one who has made the id knows that nothing is there yet.
        is_new = self._is_minted and not self._stored
        files = self._storage.put_message(self.id, thread_id, changed, is_new=is_new)
        if "images" in changed:
            self._storage.delete_files(before, self._home)
        elif is_adopted and thread_id is not None:
            self._storage.upload_files(files := before, self.id, thread_id)
        else:
            files = before
        self.thread_id = thread_id
        self._remember(self._members(), thread_id or self._home, files)

    def check(self) -> None:
        """Refuse what cannot be stored.

        Raises:
            InvalidValueError: A value cannot be stored; names it.
        """
        for name, value in (("role", self.role), ("text", self.text)):
            check_text(name, str.__str__(value) if isinstance(value, str) else value)
        check_list("images", self._images)
        for index, image in enumerate(self._images):
            # Those that stand for files are as they were stored.
            if not (self._files and isinstance(image, dict)):
                check_text(f"images[{index}]", image)
        if self.private is not None and not isinstance(self.private, bool):
            raise InvalidValueError("private", "must be True, False or None")
        if self.metadata is not None:
            encode_object("metadata", self.metadata)
        to_time("created", self.created)

    def detached_copy(self) -> RoleMessage:
        """Return an unsaved copy that shares nothing with it but its id."""
        made = type(self).__new__(type(self))
        metadata = copy.deepcopy(self.metadata)
        made._begin(self.id, self.role, self.text, self.thread_id, self.private, self.created, metadata)
        made._images, made._storage, made._is_detached = [*self.images], self._storage, True
        return made

    def for_thread(self, thread_id: str) -> RoleMessage:
        """Return what stands for the message in a thread: a copy with an id of its own if it is elsewhere."""
        if not self._is_detached and self.thread_id in (None, thread_id):
            return self
        made = self.detached_copy()
        made.id, made.thread_id, made._is_detached, made._is_minted = shortuuid.uuid(), None, False, True
        return made

    def _members(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "text": self.text,
            "private": self.private,
            "created": self.created,
            "metadata": self.metadata or None,
            "images": self._images,
        }

    def _remember(self, members: dict[str, Any], home: str | None, files: list[str]) -> None:
        """Remember what is stored, apart from what callers may change in place."""
        images, metadata = [*members["images"]], copy.deepcopy(members["metadata"])
        self._stored = {**members, "images": images, "metadata": metadata}
        self._home, self._files = home, files

    @classmethod
    def from_openai(cls, msg: dict[str, Any]) -> RoleMessage:
        """Save and return a message in OpenAI's format; parts that are neither text nor image are left out.

        Raises:
            InvalidValueError: It is no such message.
        """
        role, text, images = read_openai(msg)
        return cls(role=role, text=text, images=images)

    def to_openai(self) -> dict[str, Any]:
        """Return the message in OpenAI's format: each `<image>` is the next image, else they come last.

        Raises:
            ValueError: There are `<image>` tags, but not as many as images.
        """
        return write_openai(self.role, self.text, self.images)

    def to_swift3(self) -> dict[str, Any]:
        """Return the message in the format of the Swift trainer, where images stand beside the text."""
        return {"messages": [{"role": self.role, "content": self.text}], "images": self.images}

    def to_record(self) -> RoleMessageRecord:
        """Return the message as a row, which needs no database any more."""
        return self._record(json.dumps(self.images))

    def _record(self, images: str | None) -> RoleMessageRecord:
        metadata = json.dumps(self.metadata) if self.metadata else None
        return RoleMessageRecord(images=images, meta_data=metadata, **self._plain_members())

    def _plain_members(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _PLAIN}

    @classmethod
    def from_record(cls, record: RoleMessageRecord, storage: FileStorage = STORAGE) -> RoleMessage:
        """Return the message of a row; nothing is saved."""
        metadata = json.loads(record.meta_data) if record.meta_data else None
        return cls._restore(record, metadata, json.loads(record.images) if record.images else [], storage)

    def to_v1(self) -> V1RoleMessage:
        """Return the message as the REST interface has it."""
        return V1RoleMessage(images=self.images, metadata=self.metadata, **self._plain_members())

    @classmethod
    def from_v1(cls, schema: V1RoleMessage, storage: FileStorage = STORAGE) -> RoleMessage:
        """Return a message of the REST interface; nothing is saved."""
        return cls._restore(schema, schema.metadata, [*schema.images], storage)

    @classmethod
    def _restore(
        cls, row: RoleMessageRecord | V1RoleMessage, metadata: Any, images: list[str], storage: FileStorage
    ) -> RoleMessage:
        made = cls.__new__(cls)
        made._begin(str(row.id), row.role, row.text, row.thread_id, row.private, row.created, metadata)
        made._images, made._storage = images, storage
        return made


def now() -> float:
    """Return the time in seconds since 1970, to the microsecond, as it is stored."""
    return time.time_ns() // 1000 / 1_000_000


def check_columns(filters: Mapping[str, Any], columns: tuple[str, ...]) -> None:
    """Refuse to find by what is no column.

    Raises:
        InvalidValueError: There is no such column.
    """
    for name in filters:
        if name not in columns:
            raise InvalidValueError(name, f"is none of {', '.join(columns)}")
