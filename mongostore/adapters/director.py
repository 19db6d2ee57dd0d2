"""VideoDB Director's backend interface on MongoDB.

Call `register()` once before Director loads its database, and set `SERVER_DB_TYPE=mongodb`. Director
makes a `MongoDB()` for every request; all of them share one store a process.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from director.constants import DBType
from director.db import db_types
from director.db.base import BaseDB

from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
)
from mongostore.models import Message, Session
from mongostore.sync import MongoStore, SyncSessionRepository, shared_store
from mongostore.values import check_id, check_text, from_seconds

logger = logging.getLogger(__name__)

NAMESPACE = "director"
DB_TYPE = "mongodb"
# Never changed: what is stored goes through JSON text first.
_NOTHING: dict[str, Any] = {}


def register() -> None:
    """Make Director know the database type `mongodb`; calling it again changes nothing.

    Director looks types up in an enum and in a dict, under names that its modules have imported
    already: so both are added to in place.
    """
    if DB_TYPE not in DBType._value2member_map_:
        member = str.__new__(DBType, DB_TYPE)
        member._name_, member._value_ = DB_TYPE.upper(), DB_TYPE
        DBType._value2member_map_[DB_TYPE] = DBType._member_map_[DB_TYPE.upper()] = member
    db_types[DBType(DB_TYPE)] = MongoDB


class MongoDB(BaseDB):  # type: ignore[misc]  # Director has no types
    """Director's sessions, conversations and context messages, in the namespace `director`.

    May be used from any thread and from inside any event loop. Connects when it is first used.

    Args:
        uri: As for `MongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead.
    """

    def __init__(
        self, uri: str | None = None, database: str | None = None, *, store: MongoStore | None = None
    ) -> None:
        register()
        self.db_type = DBType(DB_TYPE)
        self._uri = uri
        self._database = database
        self._store = store

    @property
    def _sessions(self) -> SyncSessionRepository:
        store = self._store or shared_store(self._uri, self._database)
        return store.sessions.in_namespace(NAMESPACE)

    def create_session(
        self,
        session_id: str,
        video_id: str | None = None,
        collection_id: str | None = None,
        created_at: int | None = None,
        updated_at: int | None = None,
        metadata: Any = _NOTHING,
        **kwargs: Any,
    ) -> None:
        """Create a new session; one that is there is left entirely as it is."""
        row = {
            "video_id": video_id,
            "collection_id": collection_id,
            "created_at": _seconds(created_at),
            "updated_at": _seconds(updated_at),
            "metadata": _plain("metadata", metadata),
        }
        try:
            self._sessions.create(session_id, data=row)
        except AlreadyExistsError:
            self._fill_shell(session_id, row)

    def get_session(self, session_id: str) -> dict[str, Any]:
        """Return a session's row, a new `{}` where there is none."""
        session = self._sessions.find(session_id)
        return _row(session) if session and session.data else {}

    def get_sessions(self) -> list[dict[str, Any]]:
        """Return the rows of all sessions, the newest `updated_at` first."""
        rows = [_row(session) for session in self._sessions.iter() if session.data]
        return sorted(rows, key=lambda row: row["updated_at"], reverse=True)

    def add_or_update_msg_to_conv(
        self,
        session_id: str,
        conv_id: str,
        msg_id: str,
        msg_type: str,
        agents: list[str],
        actions: list[str],
        content: list[dict[str, Any]],
        status: str | None = None,
        created_at: int | None = None,
        updated_at: int | None = None,
        metadata: Any = _NOTHING,
        **kwargs: Any,
    ) -> None:
        """Add a message, or put it in the place of the one with its id, which keeps its `created_at`."""
        members = {
            "agents": agents,
            "actions": actions,
            "status": status,
            "metadata": metadata,
        }
        message = Message(
            id=check_id("msg_id", msg_id),
            conversation_id=check_id("conv_id", conv_id),
            role=check_text("msg_type", _plain("msg_type", msg_type)),
            content=_plain("content", content),
            data=_plain("data", members),
            created_at=from_seconds("created_at", _seconds(created_at)),
            updated_at=from_seconds("updated_at", _seconds(updated_at)),
        )
        try:
            self._sessions.upsert_message(session_id, message)
        except NotFoundError:
            self._create_shell(session_id)
            self._sessions.upsert_message(session_id, message)

    def get_conversations(self, session_id: str) -> list[dict[str, Any]]:
        """Return the messages of a session in the order in which they were first added."""
        try:
            return [_message_row(session_id, message) for message in self._sessions.iter_messages(session_id)]
        except NotFoundError:
            return []

    def get_context_messages(self, session_id: str) -> Any:
        """Return what was stored as context messages, a new `{}` where nothing was."""
        try:
            return self._sessions.get_context(session_id)
        except NotFoundError:
            return {}

    def add_or_update_context_msg(
        self,
        session_id: str,
        context_messages: Any,
        created_at: int | None = None,
        updated_at: int | None = None,
        metadata: Any = _NOTHING,
        **kwargs: Any,
    ) -> None:
        """Put context messages in the place of those that are stored."""
        context = _plain("context_messages", context_messages)
        try:
            self._sessions.set_context(session_id, context)
        except NotFoundError:
            self._create_shell(session_id)
            self._sessions.set_context(session_id, context)

    def delete_conversation(self, session_id: str) -> bool:
        """Remove all messages of a session and return whether there were any."""
        try:
            return self._sessions.delete_messages(session_id) > 0
        except NotFoundError:
            return False

    def delete_context(self, session_id: str) -> bool:
        """Remove the context messages of a session and return whether there were any."""
        try:
            return self._sessions.delete_context(session_id)
        except NotFoundError:
            return False

    def delete_session(self, session_id: str) -> tuple[bool, list[str]]:
        """Remove a session with all it has; return whether anything was there, and what was not."""
        session = self._sessions.purge(session_id)
        there = {
            "conversation": session is not None and session.count > 0,
            "context": session is not None and session.has_context,
            "session": session is not None and bool(session.data),
        }
        return any(there.values()), [name for name, was_there in there.items() if not was_there]

    def health_check(self) -> bool:
        """Return whether the database answers, with its indexes in place; a failure is logged."""
        try:
            self._sessions.exists("")
        except MongoStoreError as error:
            logger.error("MongoDB health check failed: %s", error)
            return False
        return True

    def _create_shell(self, session_id: str) -> None:
        """Create a session that has no row yet: Director stores messages before sessions, or without."""
        try:
            self._sessions.create(session_id)
        except AlreadyExistsError:
            return

    def _fill_shell(self, session_id: str, row: dict[str, Any]) -> None:
        session = self._sessions.find(session_id)
        if session is None or session.data:
            return
        try:
            self._sessions.update(session_id, revision=session.revision, data=row)
        except (ConflictError, NotFoundError):
            # Another process has just filled or removed it: either way it is not ours to change.
            return


def _row(session: Session) -> dict[str, Any]:
    row = session.data
    return {
        "session_id": session.id,
        "video_id": row["video_id"],
        "collection_id": row["collection_id"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "metadata": row["metadata"],
    }


def _message_row(session_id: str, message: Message) -> dict[str, Any]:
    assert message.created_at is not None
    assert message.updated_at is not None
    return {
        "session_id": session_id,
        "conv_id": message.conversation_id,
        "msg_id": message.id,
        "msg_type": message.role,
        "agents": message.data["agents"],
        "actions": message.data["actions"],
        "content": message.content,
        "status": message.data["status"],
        "created_at": int(message.created_at.timestamp()),
        "updated_at": int(message.updated_at.timestamp()),
        "metadata": message.data["metadata"],
    }


def _seconds(given: int | None) -> int:
    return int(time.time()) if given is None else given


def _plain(path: str, value: Any) -> Any:
    """Return what Director's SQL backends give back: the value as it comes out of JSON text."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(path, f"is not JSON ({type(error).__name__})") from None
