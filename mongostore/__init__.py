"""A MongoDB backend for AI conversations: `AsyncMongoStore`, its blocking twin `MongoStore`, their values."""

import typing

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
from mongostore.models import (
    ApiKey,
    Binding,
    ChangeKind,
    Conversation,
    Element,
    Event,
    EventFilter,
    Feedback,
    File,
    Identity,
    Integration,
    IntegrationStatus,
    Integrator,
    Lease,
    Message,
    MessageChange,
    Observation,
    Page,
    Participant,
    ParticipantIntegration,
    Preview,
    Room,
    RoomContext,
    RoomFilter,
    RoomState,
    Session,
    SessionParticipant,
    Task,
    Thread,
    ThreadMessage,
    ThreadSummary,
    Turn,
    User,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.store import AsyncMongoStore
from mongostore.sync import MongoStore

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "ApiKey",
    "AsyncMongoStore",
    "Binding",
    "Capability",
    "ChangeKind",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "DocumentTooLargeError",
    "Element",
    "Event",
    "EventFilter",
    "Feedback",
    "File",
    "Identity",
    "IndexConflictError",
    "Integration",
    "IntegrationStatus",
    "Integrator",
    "InvalidDocumentError",
    "InvalidValueError",
    "Lease",
    "Message",
    "MessageChange",
    "MongoStore",
    "MongoStoreError",
    "NotFoundError",
    "NotOpenError",
    "Observation",
    "Page",
    "Participant",
    "ParticipantIntegration",
    "Preview",
    "Room",
    "RoomContext",
    "RoomFilter",
    "RoomState",
    "Session",
    "SessionParticipant",
    "Task",
    "Thread",
    "ThreadMessage",
    "ThreadSummary",
    "Turn",
    "UnavailableError",
    "UnsupportedError",
    "User",
    "Verification",
    "VerificationRequest",
    "VoiceDelivery",
]

__version__: str

if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        # Looked up when it is asked for: few ask, and an import is to stay fast.
        if name == "__version__":
            from importlib.metadata import version

            return version("mongostore")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
