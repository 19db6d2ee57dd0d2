"""A MongoDB backend for AI conversations: `AsyncMongoStore`, its blocking twin `MongoStore`, their values."""

import typing

if typing.TYPE_CHECKING:
    from mongostore.diagnostics import CheckResult, CheckStatus
    from mongostore.engines import Capability, CollectionUsage, Deployment, Target
    from mongostore.errors import (
        AccessDeniedError,
        AlreadyExistsError,
        ConfigurationError,
        ConflictError,
        DocumentTooLargeError,
        IdempotencyKeyError,
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
    from mongostore.hooks import AppendRecord, CallRecord, Hooks, RetryRecord
    from mongostore.index_definitions import IndexReport, IndexState
    from mongostore.models import (
        ApiKey,
        AppendOptions,
        Binding,
        ChangeKind,
        Conversation,
        Element,
        ErasureLine,
        ErasureMode,
        ErasureReport,
        Event,
        EventFilter,
        EventUpdate,
        Feedback,
        File,
        FullRoom,
        House,
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
        MessageUpdate,
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
        SessionCreate,
        SessionFilter,
        SessionParticipant,
        SessionUpdate,
        StorageLayout,
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
    from mongostore.repositories.leftovers import Leftover
    from mongostore.repositories.rooms import AsyncRooms
    from mongostore.repositories.sessions import AsyncMessageStream, AsyncSessions
    from mongostore.repositories.statistics import DayStatistics, Statistics
    from mongostore.repositories.threads import AsyncThreads
    from mongostore.store import AsyncMongoStore
    from mongostore.sync import MessageStream, MongoStore, Sessions
    from mongostore.sync.twins import Rooms, Threads

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "ApiKey",
    "AppendOptions",
    "AppendRecord",
    "AsyncMessageStream",
    "AsyncMongoStore",
    "AsyncRooms",
    "AsyncSessions",
    "AsyncThreads",
    "Binding",
    "CallRecord",
    "Capability",
    "ChangeKind",
    "CheckResult",
    "CheckStatus",
    "CollectionUsage",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "DayStatistics",
    "Deployment",
    "DocumentTooLargeError",
    "Element",
    "ErasureLine",
    "ErasureMode",
    "ErasureReport",
    "Event",
    "EventFilter",
    "EventUpdate",
    "Feedback",
    "File",
    "FullRoom",
    "Hooks",
    "House",
    "IdempotencyKeyError",
    "Identity",
    "IndexConflictError",
    "IndexReport",
    "IndexState",
    "Integration",
    "IntegrationStatus",
    "Integrator",
    "InvalidDocumentError",
    "InvalidValueError",
    "Lease",
    "Leftover",
    "ListOrder",
    "Message",
    "MessageChange",
    "MessageStart",
    "MessageStatus",
    "MessageStream",
    "MessageUpdate",
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
    "Rooms",
    "Search",
    "Session",
    "SessionCreate",
    "SessionFilter",
    "SessionParticipant",
    "SessionUpdate",
    "Sessions",
    "SlowReaderError",
    "Statistics",
    "StorageLayout",
    "Target",
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
    "models",
    "hooks",
    "engines",
    "repositories.statistics",
    "repositories.threads",
    "repositories.sessions",
    "repositories.rooms",
    "repositories.leftovers",
    "index_definitions",
    "diagnostics",
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
