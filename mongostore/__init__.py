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
    Change,
    ChangeKind,
    ChatTurn,
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
    ListOrder,
    Message,
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
    ThreadFilter,
    ThreadMessage,
    ThreadMessageFilter,
    ThreadMessageUpdate,
    ThreadSummary,
    ThreadUpdate,
    User,
    Verification,
    VerificationRequest,
    VoiceDelivery,
)
from mongostore.repositories.threads import AsyncThreads
from mongostore.store import AsyncMongoStore
from mongostore.sync import MongoStore
from mongostore.sync.twins import Threads

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "ApiKey",
    "AsyncMongoStore",
    "AsyncThreads",
    "Binding",
    "Capability",
    "Change",
    "ChangeKind",
    "ChatTurn",
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
    "ListOrder",
    "Message",
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
    "ThreadFilter",
    "ThreadMessage",
    "ThreadMessageFilter",
    "ThreadMessageUpdate",
    "ThreadSummary",
    "ThreadUpdate",
    "Threads",
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
