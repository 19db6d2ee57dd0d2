"""The blocking twins of the repositories: one line a verb.

Type checkers read `twins.pyi` instead, which `python -m tests.stubs` writes from the async repositories.
"""

from __future__ import annotations

from collections.abc import Callable

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
from mongostore.sync.mirror import Mirror, Owner


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

    def __init__(self, store: Owner, find: Callable[[AsyncMongoStore], AsyncRooms]) -> None:
        super().__init__(store, find)
        self.events = RoomEvents(store, lambda core: find(core).events)
        self.bindings = RoomBindings(store, lambda core: find(core).bindings)
        self.participants = RoomParticipants(store, lambda core: find(core).participants)
        self.tasks = RoomTasks(store, lambda core: find(core).tasks)
        self.observations = RoomObservations(store, lambda core: find(core).observations)
        self.read_markers = ReadMarkers(store, lambda core: find(core).read_markers)
        self.voice_deliveries = VoiceDeliveries(store, lambda core: find(core).voice_deliveries)
        self.identities = Identities(store, lambda core: find(core).identities)
        self.verifications = Verifications(store, lambda core: find(core).verifications)

    create = mirror(AsyncRooms.create)
    ensure = mirror(AsyncRooms.ensure)
    get = mirror(AsyncRooms.get)
    get_full = mirror(AsyncRooms.get_full)
    find = mirror(AsyncRooms.find)
    find_by_binding = mirror(AsyncRooms.find_by_binding)
    find_by_route = mirror(AsyncRooms.find_by_route)
    find_by_participant = mirror(AsyncRooms.find_by_participant)
    exists = mirror(AsyncRooms.exists)
    count = mirror(AsyncRooms.count)
    list = mirror(AsyncRooms.list)
    list_by_channel = mirror(AsyncRooms.list_by_channel)
    iter = mirror_iter(AsyncRooms.iter, prefetch=100)
    cursor_of = staticmethod(AsyncRooms.cursor_of)
    update = mirror(AsyncRooms.update)
    replace = mirror(AsyncRooms.replace)
    advance_delivered_index = mirror(AsyncRooms.advance_delivered_index)
    find_private = mirror(AsyncRooms.find_private)
    set_private = mirror(AsyncRooms.set_private)
    delete = mirror(AsyncRooms.delete)


class RoomEvents(Mirror[AsyncRoomEvents]):
    """Blocking twin of `AsyncRoomEvents`."""

    append = mirror(AsyncRoomEvents.append)
    create = mirror(AsyncRoomEvents.create)
    get = mirror(AsyncRoomEvents.get)
    find = mirror(AsyncRoomEvents.find)
    describe_document = mirror(AsyncRoomEvents.describe_document)
    find_by_id = mirror(AsyncRoomEvents.find_by_id)
    find_by_key = mirror(AsyncRoomEvents.find_by_key)
    exists = mirror(AsyncRoomEvents.exists)
    count = mirror(AsyncRoomEvents.count)
    list = mirror(AsyncRoomEvents.list)
    iter = mirror_iter(AsyncRoomEvents.iter, prefetch=100)
    cursor_of = staticmethod(AsyncRoomEvents.cursor_of)
    summarize_replies = mirror(AsyncRoomEvents.summarize_replies)
    update = mirror(AsyncRoomEvents.update)
    replace = mirror(AsyncRoomEvents.replace)
    pop = mirror(AsyncRoomEvents.pop)
    delete = mirror(AsyncRoomEvents.delete)
    watch = mirror_iter(AsyncRoomEvents.watch, prefetch=1)


class RoomBindings(Mirror[AsyncRoomBindings]):
    """Blocking twin of `AsyncRoomBindings`."""

    upsert = mirror(AsyncRoomBindings.upsert)
    get = mirror(AsyncRoomBindings.get)
    find = mirror(AsyncRoomBindings.find)
    exists = mirror(AsyncRoomBindings.exists)
    delete = mirror(AsyncRoomBindings.delete)
    list = mirror(AsyncRoomBindings.list)
    iter = mirror_iter(AsyncRoomBindings.iter, prefetch=100)


class RoomParticipants(Mirror[AsyncRoomParticipants]):
    """Blocking twin of `AsyncRoomParticipants`."""

    upsert = mirror(AsyncRoomParticipants.upsert)
    get = mirror(AsyncRoomParticipants.get)
    find = mirror(AsyncRoomParticipants.find)
    exists = mirror(AsyncRoomParticipants.exists)
    delete = mirror(AsyncRoomParticipants.delete)
    list = mirror(AsyncRoomParticipants.list)
    iter = mirror_iter(AsyncRoomParticipants.iter, prefetch=100)


class RoomTasks(Mirror[AsyncRoomTasks]):
    """Blocking twin of `AsyncRoomTasks`."""

    create = mirror(AsyncRoomTasks.create)
    upsert = mirror(AsyncRoomTasks.upsert)
    get = mirror(AsyncRoomTasks.get)
    find = mirror(AsyncRoomTasks.find)
    find_by_id = mirror(AsyncRoomTasks.find_by_id)
    list = mirror(AsyncRoomTasks.list)
    iter = mirror_iter(AsyncRoomTasks.iter, prefetch=100)
    delete = mirror(AsyncRoomTasks.delete)


class RoomObservations(Mirror[AsyncRoomObservations]):
    """Blocking twin of `AsyncRoomObservations`."""

    create = mirror(AsyncRoomObservations.create)
    delete = mirror(AsyncRoomObservations.delete)
    list = mirror(AsyncRoomObservations.list)
    iter = mirror_iter(AsyncRoomObservations.iter, prefetch=100)


class ReadMarkers(Mirror[AsyncReadMarkers]):
    """Blocking twin of `AsyncReadMarkers`."""

    advance = mirror(AsyncReadMarkers.advance)
    find = mirror(AsyncReadMarkers.find)
    list = mirror(AsyncReadMarkers.list)
    iter = mirror_iter(AsyncReadMarkers.iter, prefetch=100)
    count_unread = mirror(AsyncReadMarkers.count_unread)


class VoiceDeliveries(Mirror[AsyncVoiceDeliveries]):
    """Blocking twin of `AsyncVoiceDeliveries`."""

    find = mirror(AsyncVoiceDeliveries.find)
    claim = mirror(AsyncVoiceDeliveries.claim)
    complete = mirror(AsyncVoiceDeliveries.complete)


class Identities(Mirror[AsyncIdentities]):
    """Blocking twin of `AsyncIdentities`."""

    create = mirror(AsyncIdentities.create)
    get = mirror(AsyncIdentities.get)
    find = mirror(AsyncIdentities.find)
    find_by_address = mirror(AsyncIdentities.find_by_address)
    list = mirror(AsyncIdentities.list)
    iter = mirror_iter(AsyncIdentities.iter, prefetch=100)
    link_address = mirror(AsyncIdentities.link_address)
    unlink_address = mirror(AsyncIdentities.unlink_address)


class Verifications(Mirror[AsyncVerifications]):
    """Blocking twin of `AsyncVerifications`."""

    def __init__(self, store: Owner, find: Callable[[AsyncMongoStore], AsyncVerifications]) -> None:
        super().__init__(store, find)
        self.requests = VerificationRequests(store, lambda core: find(core).requests)

    find = mirror(AsyncVerifications.find)
    upsert = mirror(AsyncVerifications.upsert)
    iter_expiring = mirror_iter(AsyncVerifications.iter_expiring, prefetch=100)


class VerificationRequests(Mirror[AsyncVerificationRequests]):
    """Blocking twin of `AsyncVerificationRequests`."""

    create = mirror(AsyncVerificationRequests.create)
    upsert = mirror(AsyncVerificationRequests.upsert)
    get = mirror(AsyncVerificationRequests.get)
    find = mirror(AsyncVerificationRequests.find)


class Leases(Mirror[AsyncLeases]):
    """Blocking twin of `AsyncLeases`."""

    hold = mirror_context(AsyncLeases.hold)
    acquire = mirror(AsyncLeases.acquire)
    renew = mirror(AsyncLeases.renew)
    release = mirror(AsyncLeases.release)


class ThreadMessages(Mirror[AsyncThreadMessages]):
    """Blocking twin of `AsyncThreadMessages`."""

    merge = mirror(AsyncThreadMessages.merge)
    get = mirror(AsyncThreadMessages.get)
    find = mirror(AsyncThreadMessages.find)
    describe_document = mirror(AsyncThreadMessages.describe_document)
    find_by_id = mirror(AsyncThreadMessages.find_by_id)
    exists = mirror(AsyncThreadMessages.exists)
    count = mirror(AsyncThreadMessages.count)
    list = mirror(AsyncThreadMessages.list)
    iter = mirror_iter(AsyncThreadMessages.iter, prefetch=100)
    cursor_of = staticmethod(AsyncThreadMessages.cursor_of)
    list_pinned = mirror(AsyncThreadMessages.list_pinned)
    delete = mirror(AsyncThreadMessages.delete)


class ThreadFeedback(Mirror[AsyncThreadFeedback]):
    """Blocking twin of `AsyncThreadFeedback`."""

    upsert = mirror(AsyncThreadFeedback.upsert)
    find = mirror(AsyncThreadFeedback.find)
    find_by_id = mirror(AsyncThreadFeedback.find_by_id)
    list = mirror(AsyncThreadFeedback.list)
    delete = mirror(AsyncThreadFeedback.delete)


class ThreadElements(Mirror[AsyncThreadElements]):
    """Blocking twin of `AsyncThreadElements`."""

    upsert = mirror(AsyncThreadElements.upsert)
    get = mirror(AsyncThreadElements.get)
    find = mirror(AsyncThreadElements.find)
    find_by_id = mirror(AsyncThreadElements.find_by_id)
    list = mirror(AsyncThreadElements.list)
    iter = mirror_iter(AsyncThreadElements.iter, prefetch=100)
    delete = mirror(AsyncThreadElements.delete)


class Files(Mirror[AsyncFiles]):
    """Blocking twin of `AsyncFiles`."""

    upload = mirror(AsyncFiles.upload)
    get = mirror(AsyncFiles.get)
    find = mirror(AsyncFiles.find)
    exists = mirror(AsyncFiles.exists)
    list = mirror(AsyncFiles.list)
    iter = mirror_iter(AsyncFiles.iter, prefetch=100)
    read = mirror(AsyncFiles.read)
    iter_content = mirror_iter(AsyncFiles.iter_content, prefetch=100)
    delete = mirror(AsyncFiles.delete)


class Users(Mirror[AsyncUsers]):
    """Blocking twin of `AsyncUsers`."""

    create = mirror(AsyncUsers.create)
    ensure = mirror(AsyncUsers.ensure)
    upsert = mirror(AsyncUsers.upsert)
    get = mirror(AsyncUsers.get)
    find = mirror(AsyncUsers.find)
    find_by_identifier = mirror(AsyncUsers.find_by_identifier)
    count = mirror(AsyncUsers.count)
    list = mirror(AsyncUsers.list)
    iter = mirror_iter(AsyncUsers.iter, prefetch=100)
    delete = mirror(AsyncUsers.delete)


class Threads(Mirror[AsyncThreads]):
    """Blocking twin of `AsyncThreads`."""

    def __init__(self, store: Owner, find: Callable[[AsyncMongoStore], AsyncThreads]) -> None:
        super().__init__(store, find)
        self.messages = ThreadMessages(store, lambda core: find(core).messages)
        self.elements = ThreadElements(store, lambda core: find(core).elements)
        self.feedback = ThreadFeedback(store, lambda core: find(core).feedback)
        self.files = Files(store, lambda core: find(core).files)
        self.users = Users(store, lambda core: find(core).users)

    create = mirror(AsyncThreads.create)
    ensure = mirror(AsyncThreads.ensure)
    get = mirror(AsyncThreads.get)
    find = mirror(AsyncThreads.find)
    exists = mirror(AsyncThreads.exists)
    count = mirror(AsyncThreads.count)
    list = mirror(AsyncThreads.list)
    iter = mirror_iter(AsyncThreads.iter, prefetch=100)
    cursor_of = staticmethod(AsyncThreads.cursor_of)
    update = mirror(AsyncThreads.update)
    merge = mirror(AsyncThreads.merge)
    delete = mirror(AsyncThreads.delete)


class Keys(Mirror[AsyncKeys]):
    """Blocking twin of `AsyncKeys`."""

    create = mirror(AsyncKeys.create)
    get = mirror(AsyncKeys.get)
    find = mirror(AsyncKeys.find)
    verify = mirror(AsyncKeys.verify)
    count = mirror(AsyncKeys.count)
    list = mirror(AsyncKeys.list)
    delete = mirror(AsyncKeys.delete)


class Retention(Mirror[AsyncRetention]):
    """Blocking twin of `AsyncRetention`."""

    prune = mirror(AsyncRetention.prune)


class People(Mirror[AsyncPeople]):
    """Blocking twin of `AsyncPeople`."""

    get = mirror(AsyncPeople.get)
    find = mirror(AsyncPeople.find)
    export = mirror_iter(AsyncPeople.export, prefetch=100)
    erase = mirror(AsyncPeople.erase)
