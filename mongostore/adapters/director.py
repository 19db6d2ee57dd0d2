"""VideoDB Director's backend interface on MongoDB.

Call `register()` once before Director loads its database, and set `SERVER_DB_TYPE=mongodb`. Director
makes a `MongoDB()` for every request; all of them share one store a process.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from mongostore.arguments import check_id, check_text
from mongostore.codec import from_seconds
from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidDocumentError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
)
from mongostore.extras import explain_import
from mongostore.models import Message, Session
from mongostore.repositories.sessions.filters import LifeRevision
from mongostore.sync import MongoStore, Sessions, shared_store
from mongostore.unreadable import log_unreadable

try:
    from director.constants import DBType
    from director.db import db_types
    from director.db.base import BaseDB
except ImportError as _error:
    raise explain_import(__name__, "run it in Director's backend", _error) from None

logger: Final = logging.getLogger(__name__)

NAMESPACE = "director"
DB_TYPE = "mongodb"
# Messages that move at each of so many reads are hardly removed each time: one has lost its text.
_READS = 5
# Never changed: what is stored goes through JSON text first.
_NOTHING: dict[str, Any] = {}


def register() -> None:
    """Make Director know the database type `mongodb`; calling it again changes nothing."""
    # In place, since Director's modules have imported the dict and the function that reads it by name.
    db_types[_db_type()] = MongoDB


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
        self.db_type: DBType = _db_type()
        self._uri = uri
        self._database = database
        self._store = store

    @property
    def _sessions(self) -> Sessions:
        if self._store is None:
            self._store = shared_store(self._uri, self._database)
        return self._store.sessions.in_namespace(NAMESPACE)

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
            "video_id": _to_plain("video_id", video_id),
            "collection_id": _to_plain("collection_id", collection_id),
            "created_at": _to_seconds(_to_datetime("created_at", created_at)),
            "updated_at": _to_seconds(_to_datetime("updated_at", updated_at)),
            "metadata": _to_plain("metadata", metadata),
        }
        try:
            self._sessions.create(check_id("session_id", session_id), data=row)
        except AlreadyExistsError:
            existing = self._sessions.find(session_id)
            if existing and not existing.data:
                # Its messages came first. Who changes it meanwhile has created it, or deletes it after us.
                with suppress(ConflictError, NotFoundError):
                    self._sessions.update(session_id, revision=LifeRevision.of(existing), data=row)

    def get_session(self, session_id: str) -> dict[str, Any]:
        """Return a session's row, a new `{}` where there is none."""
        session = self._sessions.find(session_id)
        return _to_row(session) if session and session.data else {}

    def get_sessions(self) -> list[dict[str, Any]]:
        """Return the rows of all sessions, the newest `updated_at` first."""
        errors: list[InvalidDocumentError] = []
        newest = sorted(
            self._sessions.iter(errors=errors), key=lambda session: session.created_at, reverse=True
        )
        log_unreadable(errors)
        rows = [_to_row(session) for session in newest if session.data]
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
        message = Message(
            id=check_id("msg_id", msg_id),
            conversation_id=check_id("conv_id", conv_id),
            role=check_text("msg_type", _to_plain("msg_type", msg_type)),
            content=_to_plain("content", content),
            data={
                "agents": _to_plain("agents", agents),
                "actions": _to_plain("actions", actions),
                "status": _to_plain("status", status),
                "metadata": _to_plain("metadata", metadata),
            },
            created_at=_to_datetime("created_at", created_at),
            updated_at=_to_datetime("updated_at", updated_at),
        )
        # Director may write before it has created the session: then to one without a row.
        self._sessions.messages.upsert(session_id, message, create=True)

    def get_conversations(self, session_id: str) -> list[dict[str, Any]]:
        """Return the messages of a session in the order in which they were first added."""
        for _ in range(_READS - 1):
            # They may all be removed while they are read: what is there then is the answer.
            with suppress(ConflictError):
                return self._message_rows(session_id)
        return self._message_rows(session_id)

    def get_context_messages(self, session_id: str) -> Any:
        """Return what was stored as context messages, a new `{}` where nothing was."""
        try:
            return self._sessions.context.get(session_id)
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
        context = _to_plain("context_messages", context_messages)
        self._sessions.context.set(session_id, context, create=True)

    def delete_conversation(self, session_id: str) -> bool:
        """Remove all messages of a session and return whether there were any."""
        with suppress(NotFoundError):
            if self._sessions.messages.count(session_id):
                self._sessions.messages.truncate(session_id)
                return True
        return False

    def delete_context(self, session_id: str) -> bool:
        """Remove the context messages of a session and return whether there were any."""
        try:
            return self._sessions.context.delete(session_id)
        except NotFoundError:
            return False

    def delete_session(self, session_id: str) -> tuple[bool, list[str]]:
        """Remove a session with all it has; return whether anything was there, and what was not."""
        session = self._sessions.find(session_id)
        if not self._sessions.delete(session_id):
            session = None
        existing = {
            "conversation": session is not None and session.count > 0,
            "context": session is not None and session.has_context,
            "session": session is not None and bool(session.data),
        }
        return any(existing.values()), [name for name, has_matched in existing.items() if not has_matched]

    def health_check(self) -> bool:
        """Return whether the database answers, its indexes made if they were not; a failure is logged."""
        try:
            self._sessions.exists("")
        except MongoStoreError as error:
            logger.error("MongoDB health check failed: %s", error)
            return False
        return True

    def _message_rows(self, session_id: str) -> list[dict[str, Any]]:
        try:
            return [
                _to_message_row(session_id, message) for message in self._sessions.messages.iter(session_id)
            ]
        except NotFoundError:
            return []


def _db_type() -> DBType:
    if DB_TYPE not in DBType._value2member_map_:
        member = str.__new__(DBType, DB_TYPE)
        member._name_, member._value_ = DB_TYPE.upper(), DB_TYPE
        DBType._value2member_map_[DB_TYPE] = DBType._member_map_[DB_TYPE.upper()] = member
    return DBType(DB_TYPE)


def _to_row(session: Session) -> dict[str, Any]:
    row = session.data
    return {
        "session_id": session.id,
        "video_id": row.get("video_id"),
        "collection_id": row.get("collection_id"),
        "created_at": row.get("created_at", _to_seconds(session.created_at)),
        "updated_at": row.get("updated_at", _to_seconds(session.active_at)),
        "metadata": row.get("metadata", {}),
    }


def _to_message_row(session_id: str, message: Message) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "conv_id": message.conversation_id,
        "msg_id": message.id,
        "msg_type": message.role,
        "agents": message.data.get("agents", []),
        "actions": message.data.get("actions", []),
        "content": message.content,
        "status": message.data.get("status"),
        "created_at": _to_seconds(message.created_at),
        "updated_at": _to_seconds(message.updated_at),
        "metadata": message.data.get("metadata", {}),
    }


def _to_datetime(path: str, seconds: int | None) -> datetime:
    return from_seconds(path, int(time.time()) if seconds is None else seconds)


def _to_seconds(moment: datetime | None) -> int:
    assert moment is not None, "whatever is stored has its times"
    return int(moment.timestamp())


def _to_plain(path: str, value: Any) -> Any:
    """Return what Director's SQL backends give back: the value as it comes out of JSON text."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(path, f"is not JSON ({type(error).__name__})") from None
