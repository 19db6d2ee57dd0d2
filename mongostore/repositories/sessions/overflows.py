"""Values too large to be embedded: each in a document of its own, written once under a key of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from mongostore.documents.mapping import StoredDocument, check_size
from mongostore.documents.session_streams import join_stream, parts_of
from mongostore.documents.sessions import EMPTY_BODY
from mongostore.repositories import CollectionOf, Connection


class Overflows:
    """The collection of large values.

    A value is never changed in place: a new one gets a new key, then the document with the old key
    gets the new one, then the old value goes. So a reader, or a crash in between, finds either.
    """

    _collection = CollectionOf("session_overflows")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, key: str, epoch: str, what: str, value: Any) -> str:
        """Store a value of the session with that `_id` and return the value's own key."""
        check_size(what, {"value": value})
        overflow = uuid4().hex
        await self._collection.insert_one({"_id": overflow, "session": key, "epoch": epoch, "value": value})
        return overflow

    async def spill(
        self, key: str, epoch: str, message: StoredDocument, body: StoredDocument
    ) -> StoredDocument:
        """Store the body of a message and return the message without it, naming the value."""
        value = {name: body.get(name, empty) for name, empty in EMPTY_BODY.items()}
        overflow = await self.put(key, epoch, f"message {message['id']!r}", value)
        return {**message, **EMPTY_BODY, "overflow": overflow}

    async def find(self, key: str, overflow: str) -> StoredDocument | None:
        """Return the document with a value of a session, None when it has just been replaced."""
        return await self._collection.find_one({"_id": overflow, "session": key})

    async def delete(self, key: str, overflows: Iterable[str | None]) -> None:
        """Remove values of a session that nothing names any more."""
        if gone := [overflow for overflow in overflows if overflow is not None]:
            await self._collection.delete_many({"session": key, "_id": {"$in": gone}})

    async def delete_of(self, key: str, messages: Iterable[StoredDocument]) -> None:
        """Remove the values of messages of a session that are gone."""
        values = (one for message in messages for one in (message.get("overflow"), *parts_of(message)))
        await self.delete(key, values)

    async def delete_epochs(self, key: str, epochs: Sequence[str]) -> None:
        """Remove all values of epochs of a session that nothing names any more."""
        await self._collection.delete_many({"session": key, "epoch": {"$in": list(epochs)}})

    async def load_into(self, key: str, messages: Iterable[StoredDocument]) -> list[StoredDocument] | None:
        """Return messages of a session with their content in place, None when one has just moved.

        Those that are being written come with their text so far.
        """
        filled = []
        for stored in messages:
            message = await self.load_body(key, stored)
            texts = None if message is None else await self._load_parts(key, message)
            if message is None or texts is None:
                return None
            if message.get("stream") is not None:
                message = join_stream(message, texts, self._connection.clock.now())
            filled.append(message)
        return filled

    async def load_body(self, key: str, message: StoredDocument) -> StoredDocument | None:
        """Return a stored message with its body in place, None when that has just moved elsewhere."""
        if message.get("overflow") is None:
            return message
        body = await self.find(key, message["overflow"])
        return body and {**message, **body["value"]}

    async def _load_parts(self, key: str, message: StoredDocument) -> list[str] | None:
        """Return the texts that have left a message that is being written, in order."""
        keys = parts_of(message)
        if not keys:
            return []
        found = await self._collection.find_all({"session": key, "_id": {"$in": keys}})
        texts = {part["_id"]: part["value"] for part in found}
        return [texts[key] for key in keys] if texts.keys() >= {*keys} else None
