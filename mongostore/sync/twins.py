"""The blocking twins of the repositories, each with the verbs of its async class.

Type checkers read `twins.pyi` instead, which `python -m tests.stubs` writes from the async repositories.
"""

from __future__ import annotations

from mongostore.people import AsyncPeople
from mongostore.portal import mirror, mirror_context, mirror_iter
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.leases import AsyncLeases
from mongostore.repositories.rooms import (
    AsyncIdentities,
    AsyncReadMarkers,
    AsyncRoomBindings,
    AsyncRoomEvents,
    AsyncRoomObservations,
    AsyncRoomParticipants,
    AsyncRooms,
    AsyncRoomTasks,
    AsyncVerificationRequests,
    AsyncVerifications,
    AsyncVoiceDeliveries,
)
from mongostore.repositories.sessions import (
    AsyncMessageStream,
    AsyncNamespaces,
    AsyncSessionBranches,
    AsyncSessionContext,
    AsyncSessionConversations,
    AsyncSessionMessages,
    AsyncSessionParticipants,
    AsyncSessions,
    AsyncSessionTurns,
)
from mongostore.repositories.threads import (
    AsyncFiles,
    AsyncThreadElements,
    AsyncThreadFeedback,
    AsyncThreadMessages,
    AsyncThreads,
    AsyncUsers,
)
from mongostore.retention.retention import AsyncRetention
from mongostore.store import AsyncMongoStore
from mongostore.sync.mirror import Mirror, mirror_scope, mirror_stream


class StoreVerbs:
    """The verbs of `MongoStore` that its core alone carries out."""

    check_indexes = mirror(AsyncMongoStore.check_indexes)
    apply_indexes = mirror(AsyncMongoStore.apply_indexes)
    describe = mirror(AsyncMongoStore.describe)
    diagnose = mirror(AsyncMongoStore.diagnose)
    usage = mirror(AsyncMongoStore.usage)
    statistics = mirror(AsyncMongoStore.statistics)
    find_leftovers = mirror(AsyncMongoStore.find_leftovers)
    mend_leftovers = mirror(AsyncMongoStore.mend_leftovers)


class Rooms(Mirror[AsyncRooms]):
    """Blocking twin of `AsyncRooms`."""

    events: RoomEvents
    bindings: RoomBindings
    participants: RoomParticipants
    tasks: RoomTasks
    observations: RoomObservations
    read_markers: ReadMarkers
    voice_deliveries: VoiceDeliveries
    identities: Identities
    verifications: Verifications


class RoomEvents(Mirror[AsyncRoomEvents]):
    """Blocking twin of `AsyncRoomEvents`."""

    watch = mirror_iter(AsyncRoomEvents.watch, prefetch=1)


class RoomBindings(Mirror[AsyncRoomBindings]):
    """Blocking twin of `AsyncRoomBindings`."""


class RoomParticipants(Mirror[AsyncRoomParticipants]):
    """Blocking twin of `AsyncRoomParticipants`."""


class RoomTasks(Mirror[AsyncRoomTasks]):
    """Blocking twin of `AsyncRoomTasks`."""


class RoomObservations(Mirror[AsyncRoomObservations]):
    """Blocking twin of `AsyncRoomObservations`."""


class ReadMarkers(Mirror[AsyncReadMarkers]):
    """Blocking twin of `AsyncReadMarkers`."""


class VoiceDeliveries(Mirror[AsyncVoiceDeliveries]):
    """Blocking twin of `AsyncVoiceDeliveries`."""


class Identities(Mirror[AsyncIdentities]):
    """Blocking twin of `AsyncIdentities`."""


class Verifications(Mirror[AsyncVerifications]):
    """Blocking twin of `AsyncVerifications`."""

    requests: VerificationRequests


class VerificationRequests(Mirror[AsyncVerificationRequests]):
    """Blocking twin of `AsyncVerificationRequests`."""


class Leases(Mirror[AsyncLeases]):
    """Blocking twin of `AsyncLeases`."""

    hold = mirror_context(AsyncLeases.hold)


class ThreadMessages(Mirror[AsyncThreadMessages]):
    """Blocking twin of `AsyncThreadMessages`."""


class ThreadFeedback(Mirror[AsyncThreadFeedback]):
    """Blocking twin of `AsyncThreadFeedback`."""


class ThreadElements(Mirror[AsyncThreadElements]):
    """Blocking twin of `AsyncThreadElements`."""


class Files(Mirror[AsyncFiles]):
    """Blocking twin of `AsyncFiles`."""


class Users(Mirror[AsyncUsers]):
    """Blocking twin of `AsyncUsers`."""


class Threads(Mirror[AsyncThreads]):
    """Blocking twin of `AsyncThreads`."""

    messages: ThreadMessages
    elements: ThreadElements
    feedback: ThreadFeedback
    files: Files
    users: Users


class Keys(Mirror[AsyncKeys]):
    """Blocking twin of `AsyncKeys`."""


class Retention(Mirror[AsyncRetention]):
    """Blocking twin of `AsyncRetention`."""


class People(Mirror[AsyncPeople]):
    """Blocking twin of `AsyncPeople`."""


class MessageStream(Mirror[AsyncMessageStream]):
    """Blocking twin of `AsyncMessageStream`."""


class SessionMessages(Mirror[AsyncSessionMessages]):
    """Blocking twin of `AsyncSessionMessages`."""

    stream = mirror_stream(AsyncSessionMessages.stream, MessageStream)
    watch = mirror_iter(AsyncSessionMessages.watch, prefetch=1)


class SessionConversations(Mirror[AsyncSessionConversations]):
    """Blocking twin of `AsyncSessionConversations`."""


class SessionContext(Mirror[AsyncSessionContext]):
    """Blocking twin of `AsyncSessionContext`."""


class SessionParticipants(Mirror[AsyncSessionParticipants]):
    """Blocking twin of `AsyncSessionParticipants`."""


class SessionBranches(Mirror[AsyncSessionBranches]):
    """Blocking twin of `AsyncSessionBranches`."""


class SessionTurns(Mirror[AsyncSessionTurns]):
    """Blocking twin of `AsyncSessionTurns`."""


class Namespaces(Mirror[AsyncNamespaces]):
    """Blocking twin of `AsyncNamespaces`."""


class Sessions(Mirror[AsyncSessions]):
    """Blocking twin of `AsyncSessions`."""

    messages: SessionMessages
    branches: SessionBranches
    conversations: SessionConversations
    context: SessionContext
    participants: SessionParticipants
    turns: SessionTurns
    namespaces: Namespaces

    in_namespace = mirror_scope(AsyncSessions.in_namespace)
