"""Where role threads are kept: the store, and what their messages and images look like in it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from mongostore.adapters.threadmem.img import unwrap, wrap
from mongostore.errors import ConfigurationError, InvalidValueError, MongoStoreError, UnavailableError
from mongostore.models import Element, ThreadMessage, ThreadMessageFilter
from mongostore.sync import MongoStore, shared_store

THREADS = "role_thread"
MESSAGES = "role_message"
# A message keeps images of so many bytes; what goes beyond is kept as files.
INLINE_BYTES = 1024 * 1024

_DATA = ("role", "private", "metadata", "created")

# An image in a message: its URL, or the key of the file that holds it.
StoredImage = str | dict[str, str]


class FileStorage:
    """A place for role threads; it connects when it is first used.

    Args:
        uri: As for `MongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead.

    Raises:
        ConfigurationError: There are both a URI or database and a store.
    """

    def __init__(
        self, uri: str | None = None, database: str | None = None, *, store: MongoStore | None = None
    ) -> None:
        self.move(uri, database, store)

    def __reduce__(self) -> str:
        # The process that unpickles has one of that name; a copy of what is kept here is kept here, too.
        return "STORAGE"

    def move(self, uri: str | None, database: str | None, store: MongoStore | None) -> None:
        """Use another store from now on."""
        if store is not None and (uri is not None or database is not None):
            raise ConfigurationError("give a URI and a database, or a store")
        self._uri, self._database, self._store = uri, database, store
        self._is_warned = False

    @property
    def store(self) -> MongoStore:
        """The store, open.

        Raises:
            MongoStoreError: It cannot be opened.
        """
        if self._store is not None:
            return self._store
        if not self._is_warned and self._uri is None and not os.environ.get("MONGOSTORE_URI"):
            self._is_warned = True
            warnings.warn(
                "role threads are kept in the memory of this process, where nothing lasts: call "
                "configure(uri), or set MONGOSTORE_URI",
                stacklevel=4,
            )
        return shared_store(self._uri, self._database)

    def messages(
        self, thread_id: str | None = None, *, text: str | None = None, role: str | None = None
    ) -> Iterator[ThreadMessage]:
        """Yield stored role messages, the oldest first."""
        where = ThreadMessageFilter(kind=MESSAGES)
        if text is not None:
            where["content"] = text
        if role is not None:
            where["data"] = {"role": role}
        return self.store.threads.messages.iter(thread_id, errors=[], **where)

    def put_message(
        self, message_id: str, thread_id: str | None, members: dict[str, Any], *, is_new: bool
    ) -> list[str]:
        """Store members of a message and return the keys of the files that hold its images."""
        data: dict[str, Any] = {name: members[name] for name in _DATA if name in members}
        arguments: dict[str, Any] = {"kind": MESSAGES, "data": data}
        if "text" in members:
            arguments["content"] = members["text"]
        if "created" in members:
            arguments["created_at"] = to_time("created", members["created"])
        images = members.get("images", [])
        stored = _assign_keys(images)
        if "images" in members:
            data["images"] = stored
        try:
            for image, form in zip(images, stored, strict=True):
                if not isinstance(form, str):
                    self._upload(form["file"], image, message_id, thread_id)
            self.store.threads.messages.merge(thread_id, message_id, only_missing=is_new, **arguments)
        except UnavailableError:
            # It may have been stored all the same.
            raise
        except MongoStoreError:
            self.delete_files(file_keys(stored), thread_id)
            raise
        return file_keys(stored)

    def upload_files(self, keys: list[str], message_id: str, thread_id: str) -> None:
        """Make files of a message go with a thread when it is deleted."""
        for key in keys:
            element = Element(id=key, message_id=message_id, file_key=key)
            self.store.threads.elements.upsert(thread_id, element)

    def delete_files(self, keys: list[str], thread_id: str | None) -> None:
        """Delete files of a message, which may be in a thread."""
        for key in keys:
            if thread_id is None or not self.store.threads.elements.delete(thread_id, key):
                self.store.threads.files.delete(key)

    def image(self, stored: StoredImage) -> str:
        """Return the URL of an image of a stored message."""
        if isinstance(stored, str):
            return stored
        file = self.store.threads.files.get(stored["file"])
        content = self.store.threads.files.read(file.key)
        return wrap(content, file.data["head"]) if "head" in file.data else content.decode()

    def _upload(self, key: str, image: str, message_id: str, thread_id: str | None) -> None:
        if unwrapped := unwrap(image):
            content, media_type, head = unwrapped
            self.store.threads.files.upload(key, content, content_type=media_type, data={"head": head})
        else:
            self.store.threads.files.upload(key, image.encode())
        if thread_id is not None:
            self.upload_files([key], message_id, thread_id)


STORAGE = FileStorage()


def configure(
    uri: str | None = None, database: str | None = None, *, store: MongoStore | None = None
) -> None:
    """Say where role threads of this process are kept from now on.

    Args:
        uri: As for `MongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays its owner's to close.

    Raises:
        ConfigurationError: There are both a URI and a store.
    """
    STORAGE.move(uri, database, store)


def _assign_keys(images: list[str]) -> list[StoredImage]:
    """Return images as a message keeps them, with new files for those for which it has no room."""
    room = INLINE_BYTES
    stored: list[StoredImage] = []
    for image in images:
        # Base64 and URLs are ASCII, so that their characters are their bytes.
        if len(image) <= room:
            room -= len(image)
            stored.append(image)
        else:
            stored.append({"file": uuid4().hex})
    return stored


def file_keys(images: list[StoredImage]) -> list[str]:
    """Return the keys of those images that are files."""
    return [image["file"] for image in images if not isinstance(image, str)]


def to_time(path: str, seconds: object) -> datetime:
    """Return the time of so many seconds since 1970.

    Raises:
        InvalidValueError: It is no number, or no time between the years 1 and 9999.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidValueError(path, "must be a number of seconds since 1970")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise InvalidValueError(path, "is no time in seconds between the years 1 and 9999") from None
