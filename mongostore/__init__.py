"""A MongoDB backend for AI conversations: `AsyncMongoStore`, its blocking twin `MongoStore`, their values."""

import typing

if typing.TYPE_CHECKING:
    from mongostore.engines import Capability, CollectionUsage
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
        SlowReaderError,
        TokenExpiredError,
        UnavailableError,
        UnsupportedError,
    )
    from mongostore.hooks import CallRecord, Hooks, RetryRecord
    from mongostore.models import (
        ApiKey,
        AppendOptions,
        Binding,
        ChangeKind,
        Conversation,
        Element,
        ErasureLine,
        ErasureReport,
        Event,
        EventFilter,
        EventUpdate,
        Feedback,
        File,
        FullRoom,
        Identity,
        Integration,
        IntegrationStatus,
        Integrator,
        Lease,
        ListOrder,
        Message,
        MessageChange,
        MessageStart,
        MessageStatus,
        Observation,
        Page,
        ParticipantIntegration,
        Person,
        PersonRecord,
        Preview,
        PruneReport,
        ReadMarker,
        ReplySummary,
        RetentionPolicy,
        Room,
        RoomCreate,
        RoomFilter,
        RoomParticipant,
        RoomSearch,
        RoomState,
        RoomUpdate,
        Search,
        Session,
        SessionFilter,
        SessionParticipant,
        Task,
        Thread,
        ThreadFilter,
        ThreadMessage,
        ThreadMessageFilter,
        ThreadMessageUpdate,
        ThreadUpdate,
        Turn,
        User,
        Verification,
        VerificationRequest,
        VoiceDelivery,
    )
    from mongostore.repositories.sessions import AsyncMessageStream
    from mongostore.repositories.statistics import DayStatistics, Statistics
    from mongostore.repositories.threads import AsyncThreads
    from mongostore.store import AsyncMongoStore
    from mongostore.sync import MessageStream, MongoStore
    from mongostore.sync.twins import Threads

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "ApiKey",
    "AppendOptions",
    "AsyncMessageStream",
    "AsyncMongoStore",
    "AsyncThreads",
    "Binding",
    "CallRecord",
    "Capability",
    "ChangeKind",
    "CollectionUsage",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "DayStatistics",
    "DocumentTooLargeError",
    "Element",
    "ErasureLine",
    "ErasureReport",
    "Event",
    "EventFilter",
    "EventUpdate",
    "Feedback",
    "File",
    "FullRoom",
    "Hooks",
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
    "MessageChange",
    "MessageStart",
    "MessageStatus",
    "MessageStream",
    "MongoStore",
    "MongoStoreError",
    "NotFoundError",
    "NotOpenError",
    "Observation",
    "Page",
    "ParticipantIntegration",
    "Person",
    "PersonRecord",
    "Preview",
    "PruneReport",
    "ReadMarker",
    "ReplySummary",
    "RetentionPolicy",
    "RetryRecord",
    "Room",
    "RoomCreate",
    "RoomFilter",
    "RoomParticipant",
    "RoomSearch",
    "RoomState",
    "RoomUpdate",
    "Search",
    "Session",
    "SessionFilter",
    "SessionParticipant",
    "SlowReaderError",
    "Statistics",
    "Task",
    "Thread",
    "ThreadFilter",
    "ThreadMessage",
    "ThreadMessageFilter",
    "ThreadMessageUpdate",
    "ThreadUpdate",
    "Threads",
    "TokenExpiredError",
    "Turn",
    "UnavailableError",
    "UnsupportedError",
    "User",
    "Verification",
    "VerificationRequest",
    "VoiceDelivery",
]

__version__: str

# In the order in which they are looked into: the later ones take long to import.
_MODULES = (
    "errors",
    "hooks",
    "models",
    "engines",
    "repositories.statistics",
    "repositories.threads",
    "repositories.sessions",
    "store",
    "sync.twins",
    "sync",
)

if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> typing.Any:
        # Imported when it is asked for: of the command line, and of an error's module, few ask for all.
        from importlib import import_module, metadata

        if name == "__version__":
            return metadata.version("mongostore")
        if name in __all__:
            for module in _MODULES:
                value = getattr(import_module(f"mongostore.{module}"), name, None)
                if value is not None:
                    globals()[name] = value
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__, "__version__"])
