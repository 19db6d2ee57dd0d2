"""A MongoDB backend for AI conversations: `AsyncMongoStore`, its blocking twin `MongoStore`, their values."""

from mongostore.engines import Capability
from mongostore.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    DocumentTooLargeError,
    IndexConflictError,
    InvalidDocumentError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
    NotOpenError,
    UnavailableError,
    UnsupportedError,
)
from mongostore.models import Change, ChangeKind, Conversation, Message, Page, Preview, Session
from mongostore.store import AsyncMongoStore
from mongostore.sync import MongoStore

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "AsyncMongoStore",
    "Capability",
    "Change",
    "ChangeKind",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "DocumentTooLargeError",
    "IndexConflictError",
    "InvalidDocumentError",
    "InvalidValueError",
    "Message",
    "MongoStore",
    "MongoStoreError",
    "NotFoundError",
    "NotOpenError",
    "Page",
    "Preview",
    "Session",
    "UnavailableError",
    "UnsupportedError",
]
