"""The stored form of one namespace's sessions, which all of their verbs work on."""

from __future__ import annotations

import copy
from typing import Final

from mongostore.arguments import check_id
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.sessions import to_session
from mongostore.models import Session
from mongostore.repositories import Connection, Repository
from mongostore.repositories.sessions.insight_log import InsightLog
from mongostore.repositories.sessions.message_deleter import MessageDeleter
from mongostore.repositories.sessions.message_reader import MessageReader
from mongostore.repositories.sessions.message_replacer import MessageReplacer
from mongostore.repositories.sessions.message_updater import MessageUpdater
from mongostore.repositories.sessions.message_writer import MessageWriter
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.session_deleter import SessionDeleter
from mongostore.repositories.sessions.tail import Tail
from mongostore.repositories.sessions.turn_log import TurnLog
from mongostore.repositories.store_collection import StoreCollection


class SessionStorage:
    """The documents of one namespace's sessions, with their readers and writers.

    Args:
        connection: The store's connection.
        tail: The tails of all sessions of the store, in all namespaces.

    Attributes:
        namespace: The namespace.
    """

    def __init__(self, connection: Connection, tail: Tail) -> None:
        self.connection = connection
        self.namespace = "default"
        self.tail = tail
        self.overflows: Final = Overflows(connection)
        self.turns: Final = TurnLog(connection, tail, self.overflows)
        self.insights: Final = InsightLog(connection, tail, self.overflows)
        self.session_deleter: Final = SessionDeleter(tail, self.overflows, self.turns, self.insights)
        self.deleter: Final = MessageDeleter(tail, self.overflows, self.turns, self.session_deleter)
        self.writer: Final = MessageWriter(tail, self.overflows, self.session_deleter)
        self.updater: Final = MessageUpdater(tail, self.overflows, self.writer)
        self.replacer: Final = MessageReplacer(tail, self.overflows, self.writer, self.deleter)
        self.reader: Final = MessageReader(connection, tail, self.overflows)

    @property
    def sessions(self) -> StoreCollection:
        """The collection of sessions."""
        return self.tail.sessions

    def in_namespace(self, namespace: str) -> SessionStorage:
        """Return the same readers and writers for the sessions of another namespace."""
        other = copy.copy(self)
        other.namespace = namespace
        return other

    def key(self, session_id: str) -> str:
        """Return the `_id` of a session of this namespace."""
        return f"{self.namespace}/{check_id('session_id', session_id)}"

    async def to_session(self, document: StoredDocument) -> Session:
        """Return a stored session, with the insights of its participants, as callers see it."""
        return to_session((await self.insights.load_into([document]))[0])


class SessionRepository(Repository):
    """Verbs on the sessions of one namespace."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage.connection)
        self._storage, self._namespace = storage, storage.namespace
