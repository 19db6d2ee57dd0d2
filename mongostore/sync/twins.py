"""The blocking twins of the repositories: one line a verb.

Type checkers read `twins.pyi` instead, which `python -m tests.stubs` writes from the async repositories.
"""

from __future__ import annotations

from collections.abc import Callable

from mongostore.portal import Mirrored, mirror, mirror_iter
from mongostore.repositories.keys import AsyncKeys
from mongostore.repositories.rooms import (
    BindingRepository,
    EventRepository,
    IdentityRepository,
    LeaseRepository,
    ObservationRepository,
    ParticipantRepository,
    ReadMarkerRepository,
    RoomRepository,
    TaskRepository,
    VerificationRepository,
    VoiceDeliveryRepository,
)
from mongostore.repositories.sessions import SessionRepository
from mongostore.repositories.threads import (
    AsyncFiles,
    AsyncThreadElements,
    AsyncThreadFeedback,
    AsyncThreadMessages,
    AsyncThreads,
    AsyncUsers,
)
from mongostore.store import AsyncMongoStore
from mongostore.sync.mirror import Mirror, mirror_scope


class StoreVerbs:
    """The verbs of `MongoStore` that its core alone carries out."""

    check_indexes = mirror(AsyncMongoStore.check_indexes)
    apply_indexes = mirror(AsyncMongoStore.apply_indexes)
    describe = mirror(AsyncMongoStore.describe)
    diagnose = mirror(AsyncMongoStore.diagnose)
    usage = mirror(AsyncMongoStore.usage)


class SyncSessionRepository(Mirror[SessionRepository]):
    """Blocking twin of `SessionRepository`."""

    in_namespace = mirror_scope(SessionRepository.in_namespace)
    create = mirror(SessionRepository.create)
    get = mirror(SessionRepository.get)
    find = mirror(SessionRepository.find)
    exists = mirror(SessionRepository.exists)
    list = mirror(SessionRepository.list)
    iter = mirror_iter(SessionRepository.iter, ahead=100)
    count = mirror(SessionRepository.count)
    update = mirror(SessionRepository.update)
    truncate = mirror(SessionRepository.truncate)
    delete = mirror(SessionRepository.delete)
    restore = mirror(SessionRepository.restore)
    purge = mirror(SessionRepository.purge)
    append_message = mirror(SessionRepository.append_message)
    append_messages = mirror(SessionRepository.append_messages)
    update_message = mirror(SessionRepository.update_message)
    upsert_message = mirror(SessionRepository.upsert_message)
    get_message = mirror(SessionRepository.get_message)
    delete_message = mirror(SessionRepository.delete_message)
    delete_messages = mirror(SessionRepository.delete_messages)
    list_messages = mirror(SessionRepository.list_messages)
    iter_messages = mirror_iter(SessionRepository.iter_messages, ahead=100)
    count_messages = mirror(SessionRepository.count_messages)
    conversations = mirror(SessionRepository.conversations)
    layout = mirror(SessionRepository.layout)
    watch = mirror_iter(SessionRepository.watch, ahead=1)
    bind_participant = mirror(SessionRepository.bind_participant)
    unbind_participant = mirror(SessionRepository.unbind_participant)
    list_participants = mirror(SessionRepository.list_participants)
    append_chat_turns = mirror(SessionRepository.append_chat_turns)
    list_chat_turns = mirror(SessionRepository.list_chat_turns)
    iter_chat_turns = mirror_iter(SessionRepository.iter_chat_turns, ahead=100)
    integrate = mirror(SessionRepository.integrate)
    get_context = mirror(SessionRepository.get_context)
    set_context = mirror(SessionRepository.set_context)
    delete_context = mirror(SessionRepository.delete_context)


class SyncRoomRepository(Mirror[RoomRepository]):
    """Blocking twin of `RoomRepository`."""

    create = mirror(RoomRepository.create)
    get = mirror(RoomRepository.get)
    find = mirror(RoomRepository.find)
    exists = mirror(RoomRepository.exists)
    context = mirror(RoomRepository.context)
    list = mirror(RoomRepository.list)
    iter = mirror_iter(RoomRepository.iter, ahead=100)
    count = mirror(RoomRepository.count)
    delete = mirror(RoomRepository.delete)
    update = mirror(RoomRepository.update)
    merge_metadata = mirror(RoomRepository.merge_metadata)
    replace = mirror(RoomRepository.replace)
    get_delivered_index = mirror(RoomRepository.get_delivered_index)
    advance_delivered_index = mirror(RoomRepository.advance_delivered_index)
    get_private = mirror(RoomRepository.get_private)
    set_private = mirror(RoomRepository.set_private)
    find_latest = mirror(RoomRepository.find_latest)
    find_by_binding = mirror(RoomRepository.find_by_binding)
    find_by_participant = mirror(RoomRepository.find_by_participant)
    list_by_channel = mirror(RoomRepository.list_by_channel)


class SyncEventRepository(Mirror[EventRepository]):
    """Blocking twin of `EventRepository`."""

    commit = mirror(EventRepository.commit)
    create = mirror(EventRepository.create)
    update = mirror(EventRepository.update)
    replace = mirror(EventRepository.replace)
    record_delivery = mirror(EventRepository.record_delivery)
    delete = mirror(EventRepository.delete)
    watch = mirror_iter(EventRepository.watch, ahead=1)
    get = mirror(EventRepository.get)
    find = mirror(EventRepository.find)
    find_by_key = mirror(EventRepository.find_by_key)
    list = mirror(EventRepository.list)
    iter = mirror_iter(EventRepository.iter, ahead=100)
    count = mirror(EventRepository.count)
    threads = mirror(EventRepository.threads)


class SyncBindingRepository(Mirror[BindingRepository]):
    """Blocking twin of `BindingRepository`."""

    upsert = mirror(BindingRepository.upsert)
    get = mirror(BindingRepository.get)
    find = mirror(BindingRepository.find)
    exists = mirror(BindingRepository.exists)
    delete = mirror(BindingRepository.delete)
    list = mirror(BindingRepository.list)
    iter = mirror_iter(BindingRepository.iter, ahead=100)


class SyncParticipantRepository(Mirror[ParticipantRepository]):
    """Blocking twin of `ParticipantRepository`."""

    upsert = mirror(ParticipantRepository.upsert)
    get = mirror(ParticipantRepository.get)
    find = mirror(ParticipantRepository.find)
    delete = mirror(ParticipantRepository.delete)
    list = mirror(ParticipantRepository.list)
    iter = mirror_iter(ParticipantRepository.iter, ahead=100)


class SyncIdentityRepository(Mirror[IdentityRepository]):
    """Blocking twin of `IdentityRepository`."""

    create = mirror(IdentityRepository.create)
    get = mirror(IdentityRepository.get)
    find = mirror(IdentityRepository.find)
    find_by_address = mirror(IdentityRepository.find_by_address)
    list = mirror(IdentityRepository.list)
    link_address = mirror(IdentityRepository.link_address)
    unlink_address = mirror(IdentityRepository.unlink_address)


class SyncVerificationRepository(Mirror[VerificationRepository]):
    """Blocking twin of `VerificationRepository`."""

    find = mirror(VerificationRepository.find)
    upsert = mirror(VerificationRepository.upsert)
    iter_expiring = mirror_iter(VerificationRepository.iter_expiring, ahead=100)
    create_request = mirror(VerificationRepository.create_request)
    find_request = mirror(VerificationRepository.find_request)
    upsert_request = mirror(VerificationRepository.upsert_request)


class SyncTaskRepository(Mirror[TaskRepository]):
    """Blocking twin of `TaskRepository`."""

    create = mirror(TaskRepository.create)
    upsert = mirror(TaskRepository.upsert)
    get = mirror(TaskRepository.get)
    find = mirror(TaskRepository.find)
    list = mirror(TaskRepository.list)
    iter = mirror_iter(TaskRepository.iter, ahead=100)


class SyncObservationRepository(Mirror[ObservationRepository]):
    """Blocking twin of `ObservationRepository`."""

    create = mirror(ObservationRepository.create)
    list = mirror(ObservationRepository.list)
    iter = mirror_iter(ObservationRepository.iter, ahead=100)


class SyncReadMarkerRepository(Mirror[ReadMarkerRepository]):
    """Blocking twin of `ReadMarkerRepository`."""

    mark = mirror(ReadMarkerRepository.mark)
    mark_all = mirror(ReadMarkerRepository.mark_all)
    count_unread = mirror(ReadMarkerRepository.count_unread)
    by_channel = mirror(ReadMarkerRepository.by_channel)


class SyncVoiceDeliveryRepository(Mirror[VoiceDeliveryRepository]):
    """Blocking twin of `VoiceDeliveryRepository`."""

    find = mirror(VoiceDeliveryRepository.find)
    claim = mirror(VoiceDeliveryRepository.claim)
    complete = mirror(VoiceDeliveryRepository.complete)


class SyncLeaseRepository(Mirror[LeaseRepository]):
    """Blocking twin of `LeaseRepository`."""

    acquire = mirror(LeaseRepository.acquire)
    renew = mirror(LeaseRepository.renew)
    release = mirror(LeaseRepository.release)


class ThreadMessages(Mirror[AsyncThreadMessages]):
    """Blocking twin of `AsyncThreadMessages`."""

    merge = mirror(AsyncThreadMessages.merge)
    get = mirror(AsyncThreadMessages.get)
    find = mirror(AsyncThreadMessages.find)
    find_by_id = mirror(AsyncThreadMessages.find_by_id)
    exists = mirror(AsyncThreadMessages.exists)
    count = mirror(AsyncThreadMessages.count)
    list = mirror(AsyncThreadMessages.list)
    iter = mirror_iter(AsyncThreadMessages.iter, ahead=100)
    list_pinned = mirror(AsyncThreadMessages.list_pinned)
    delete = mirror(AsyncThreadMessages.delete)


class ThreadFeedback(Mirror[AsyncThreadFeedback]):
    """Blocking twin of `AsyncThreadFeedback`."""

    upsert = mirror(AsyncThreadFeedback.upsert)
    find = mirror(AsyncThreadFeedback.find)
    find_by_id = mirror(AsyncThreadFeedback.find_by_id)
    delete = mirror(AsyncThreadFeedback.delete)


class ThreadElements(Mirror[AsyncThreadElements]):
    """Blocking twin of `AsyncThreadElements`."""

    upsert = mirror(AsyncThreadElements.upsert)
    get = mirror(AsyncThreadElements.get)
    find = mirror(AsyncThreadElements.find)
    find_by_id = mirror(AsyncThreadElements.find_by_id)
    list = mirror(AsyncThreadElements.list)
    iter = mirror_iter(AsyncThreadElements.iter, ahead=100)
    delete = mirror(AsyncThreadElements.delete)


class Files(Mirror[AsyncFiles]):
    """Blocking twin of `AsyncFiles`."""

    upload = mirror(AsyncFiles.upload)
    get = mirror(AsyncFiles.get)
    find = mirror(AsyncFiles.find)
    exists = mirror(AsyncFiles.exists)
    list = mirror(AsyncFiles.list)
    iter = mirror_iter(AsyncFiles.iter, ahead=100)
    read = mirror(AsyncFiles.read)
    iter_content = mirror_iter(AsyncFiles.iter_content, ahead=100)
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
    iter = mirror_iter(AsyncUsers.iter, ahead=100)
    delete = mirror(AsyncUsers.delete)


class Threads(Mirror[AsyncThreads]):
    """Blocking twin of `AsyncThreads`."""

    def __init__(
        self, store: Mirrored[AsyncMongoStore], find: Callable[[AsyncMongoStore], AsyncThreads]
    ) -> None:
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
    iter = mirror_iter(AsyncThreads.iter, ahead=100)
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
