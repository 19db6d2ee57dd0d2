"""Values too large to be embedded: each in a document of its own, written once under a key of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from pymongo.asynchronous.collection import AsyncCollection

from mongostore.documents.mapping import StoredDocument, check_size
from mongostore.documents.sessions import EMPTY_BODY
from mongostore.repositories import Connection


class Overflows:
    """The collection of large values.

    A value is never changed in place: a new one gets a new key, then whatever named the old key is
    pointed to the new one, then the old value goes. So a reader, or a crash in between, finds either.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _collection(self) -> AsyncCollection[StoredDocument]:
        return self._connection.collection("session_overflows")

    async def put(self, key: str, epoch: str, what: str, value: Any) -> str:
        """Store a value of the session with that `_id` and return the value's own key.

        Raises:
            DocumentTooLargeError: No document can hold `what` it is.
        """
        check_size(what, {"value": value})
        overflow = uuid4().hex
        await self._collection.insert_one({"_id": overflow, "session": key, "epoch": epoch, "value": value})
        return overflow

    async def spill(
        self, key: str, epoch: str, message: StoredDocument, body: StoredDocument
    ) -> StoredDocument:
        """Store the body of a message and return the message without it, naming the value.

        Raises:
            DocumentTooLargeError: If no document can hold the body.
        """
        value = {name: body.get(name, empty) for name, empty in EMPTY_BODY.items()}
        overflow = await self.put(key, epoch, f"message {message['id']!r}", value)
        return {**message, **EMPTY_BODY, "overflow": overflow}

    async def find(self, overflow: str) -> StoredDocument | None:
        """Return the document with a value, None when it has just been replaced."""
        return await self._collection.find_one({"_id": overflow})

    async def delete(self, overflows: Iterable[str | None]) -> None:
        """Remove values that nothing names any more."""
        if gone := [overflow for overflow in overflows if overflow is not None]:
            await self._collection.delete_many({"_id": {"$in": gone}})

    async def delete_epochs(self, epochs: Sequence[str]) -> None:
        """Remove all values of epochs that nothing names any more."""
        await self._collection.delete_many({"epoch": {"$in": list(epochs)}})

    async def load_into(self, messages: Iterable[StoredDocument]) -> list[StoredDocument] | None:
        """Return stored messages with their content in place, None when one has just moved elsewhere."""
        filled = []
        for message in messages:
            if message.get("overflow") is None:
                filled.append(message)
            elif body := await self.find(message["overflow"]):
                filled.append({**message, **body["value"]})
            else:
                return None
        return filled
