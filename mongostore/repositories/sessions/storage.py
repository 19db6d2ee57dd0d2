"""The stored form of one namespace's sessions, which all of their verbs work on."""

from __future__ import annotations

from typing import Final

from pymongo.asynchronous.collection import AsyncCollection

from mongostore.arguments import check_id
from mongostore.documents.mapping import Raw
from mongostore.errors import InvalidValueError
from mongostore.repositories import Connection
from mongostore.repositories.sessions.message_deleter import MessageDeleter
from mongostore.repositories.sessions.message_reader import MessageReader
from mongostore.repositories.sessions.message_updater import MessageUpdater
from mongostore.repositories.sessions.message_writer import MessageWriter
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import Tail
from mongostore.repositories.sessions.turns import Turns


class SessionStorage:
    """The documents of one namespace's sessions, with their readers and writers.

    Args:
        connection: The store's connection.
        namespace: The namespace.
        tail: The tails of all sessions of the store, whatever their namespace.
    """

    def __init__(self, connection: Connection, namespace: str, tail: Tail) -> None:
        self.connection = connection
        self.namespace = namespace
        self.tail = tail
        self.overflows: Final = Overflows(connection)
        self.writer: Final = MessageWriter(tail, self.overflows)
        self.updater: Final = MessageUpdater(tail, self.overflows, self.writer)
        self.deleter: Final = MessageDeleter(tail, self.overflows)
        self.reader: Final = MessageReader(connection, tail, self.overflows)
        self.turns: Final = Turns(connection, tail, self.overflows, self.writer)

    @property
    def sessions(self) -> AsyncCollection[Raw]:
        """The collection of sessions."""
        return self.tail.sessions

    def key(self, session_id: str) -> str:
        """Return the `_id` of a session of this namespace.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
        return f"{self.namespace}/{check_id('session_id', session_id)}"


def state_change(state: str, deleted_at: int | None) -> Raw:
    """Return the update that hides a session, or shows it again."""
    return {"$set": {"state": state, "deleted_at": deleted_at}, "$inc": {"revision": 1}}


def revision_guard(revision: int | None) -> Raw:
    """Return the filter of a session that has a revision; of any if it is None.

    Raises:
        InvalidValueError: If it is no number.
    """
    return {} if revision is None else {"revision": check_number("revision", revision)}


def check_number(path: str, value: object) -> int:
    """Return `value`, an integer from 0.

    Raises:
        InvalidValueError: If it is anything else.
    """
    if type(value) is not int or not 0 <= value < 2**63:
        raise InvalidValueError(path, "must be an integer from 0")
    return value


def decode_cursor(cursor: object) -> int | None:
    """Return the position or number that a cursor names; None for none.

    Raises:
        InvalidValueError: If it is no text of a number.
    """
    if cursor is None:
        return None
    if type(cursor) is str and cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        return int(cursor)
    raise InvalidValueError("cursor", "is not one that a page gave")
