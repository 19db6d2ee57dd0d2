"""The blocking twins of the repositories: one line a verb.

Type checkers read `twins.pyi` instead, which `python -m tests.stubs` writes from the async repositories.
"""

from __future__ import annotations

from mongostore.portal import mirror, mirror_iter
from mongostore.repositories.keys import KeyRepository
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
from mongostore.repositories.sessions import (
    AsyncSessionContext,
    AsyncSessionMessages,
    AsyncSessionParticipants,
    AsyncSessions,
    AsyncSessionTurns,
)
from mongostore.repositories.threads import (
    ElementRepository,
    FileRepository,
    ThreadMessageRepository,
    ThreadRepository,
    UserRepository,
)
from mongostore.store import AsyncMongoStore
from mongostore.sync.mirror import Mirror, mirror_part, mirror_scope


class StoreVerbs:
    """The verbs of `MongoStore` that its core alone carries out."""

    check_indexes = mirror(AsyncMongoStore.check_indexes)
    apply_indexes = mirror(AsyncMongoStore.apply_indexes)
    describe = mirror(AsyncMongoStore.describe)
    diagnose = mirror(AsyncMongoStore.diagnose)
    usage = mirror(AsyncMongoStore.usage)


class SessionMessages(Mirror[AsyncSessionMessages]):
    """Blocking twin of `AsyncSessionMessages`."""

    append = mirror(AsyncSessionMessages.append)
    append_many = mirror(AsyncSessionMessages.append_many)
    get = mirror(AsyncSessionMessages.get)
    find = mirror(AsyncSessionMessages.find)
    exists = mirror(AsyncSessionMessages.exists)
    count = mirror(AsyncSessionMessages.count)
    list = mirror(AsyncSessionMessages.list)
    iter = mirror_iter(AsyncSessionMessages.iter, ahead=100)
    list_conversations = mirror(AsyncSessionMessages.list_conversations)
    update = mirror(AsyncSessionMessages.update)
    upsert = mirror(AsyncSessionMessages.upsert)
    delete = mirror(AsyncSessionMessages.delete)
    delete_many = mirror(AsyncSessionMessages.delete_many)
    truncate = mirror(AsyncSessionMessages.truncate)
    watch = mirror_iter(AsyncSessionMessages.watch, ahead=1)


class SessionContext(Mirror[AsyncSessionContext]):
    """Blocking twin of `AsyncSessionContext`."""

    get = mirror(AsyncSessionContext.get)
    find = mirror(AsyncSessionContext.find)
    set = mirror(AsyncSessionContext.set)
    delete = mirror(AsyncSessionContext.delete)


class SessionParticipants(Mirror[AsyncSessionParticipants]):
    """Blocking twin of `AsyncSessionParticipants`."""

    create = mirror(AsyncSessionParticipants.create)
    ensure = mirror(AsyncSessionParticipants.ensure)
    get = mirror(AsyncSessionParticipants.get)
    find = mirror(AsyncSessionParticipants.find)
    list = mirror(AsyncSessionParticipants.list)
    delete = mirror(AsyncSessionParticipants.delete)


class SessionTurns(Mirror[AsyncSessionTurns]):
    """Blocking twin of `AsyncSessionTurns`."""

    append = mirror(AsyncSessionTurns.append)
    append_many = mirror(AsyncSessionTurns.append_many)
    count = mirror(AsyncSessionTurns.count)
    list = mirror(AsyncSessionTurns.list)
    iter = mirror_iter(AsyncSessionTurns.iter, ahead=100)
    integrate = mirror(AsyncSessionTurns.integrate)


class Sessions(Mirror[AsyncSessions]):
    """Blocking twin of `AsyncSessions`."""

    messages = mirror_part(AsyncSessions.messages, SessionMessages)
    context = mirror_part(AsyncSessions.context, SessionContext)
    participants = mirror_part(AsyncSessions.participants, SessionParticipants)
    turns = mirror_part(AsyncSessions.turns, SessionTurns)
    in_namespace = mirror_scope(AsyncSessions.in_namespace)
    create = mirror(AsyncSessions.create)
    get = mirror(AsyncSessions.get)
    find = mirror(AsyncSessions.find)
    exists = mirror(AsyncSessions.exists)
    count = mirror(AsyncSessions.count)
    list = mirror(AsyncSessions.list)
    iter = mirror_iter(AsyncSessions.iter, ahead=100)
    update = mirror(AsyncSessions.update)
    truncate = mirror(AsyncSessions.truncate)
    soft_delete = mirror(AsyncSessions.soft_delete)
    undelete = mirror(AsyncSessions.undelete)
    delete = mirror(AsyncSessions.delete)
    describe_storage = mirror(AsyncSessions.describe_storage)


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


class SyncUserRepository(Mirror[UserRepository]):
    """Blocking twin of `UserRepository`."""

    upsert = mirror(UserRepository.upsert)
    get = mirror(UserRepository.get)
    find = mirror(UserRepository.find)
    find_by_identifier = mirror(UserRepository.find_by_identifier)


class SyncFileRepository(Mirror[FileRepository]):
    """Blocking twin of `FileRepository`."""

    upload = mirror(FileRepository.upload)
    get = mirror(FileRepository.get)
    find = mirror(FileRepository.find)
    read = mirror_iter(FileRepository.read, ahead=100)
    delete = mirror(FileRepository.delete)


class SyncThreadRepository(Mirror[ThreadRepository]):
    """Blocking twin of `ThreadRepository`."""

    create = mirror(ThreadRepository.create)
    merge = mirror(ThreadRepository.merge)
    get = mirror(ThreadRepository.get)
    find = mirror(ThreadRepository.find)
    list = mirror(ThreadRepository.list)
    iter = mirror_iter(ThreadRepository.iter, ahead=100)
    delete = mirror(ThreadRepository.delete)


class SyncThreadMessageRepository(Mirror[ThreadMessageRepository]):
    """Blocking twin of `ThreadMessageRepository`."""

    merge = mirror(ThreadMessageRepository.merge)
    get = mirror(ThreadMessageRepository.get)
    find = mirror(ThreadMessageRepository.find)
    list = mirror(ThreadMessageRepository.list)
    iter = mirror_iter(ThreadMessageRepository.iter, ahead=100)
    iter_pinned = mirror_iter(ThreadMessageRepository.iter_pinned, ahead=100)
    count = mirror(ThreadMessageRepository.count)
    delete = mirror(ThreadMessageRepository.delete)
    upsert_feedback = mirror(ThreadMessageRepository.upsert_feedback)
    delete_feedback = mirror(ThreadMessageRepository.delete_feedback)


class SyncElementRepository(Mirror[ElementRepository]):
    """Blocking twin of `ElementRepository`."""

    upsert = mirror(ElementRepository.upsert)
    get = mirror(ElementRepository.get)
    find = mirror(ElementRepository.find)
    iter = mirror_iter(ElementRepository.iter, ahead=100)
    delete = mirror(ElementRepository.delete)


class SyncKeyRepository(Mirror[KeyRepository]):
    """Blocking twin of `KeyRepository`."""

    create = mirror(KeyRepository.create)
    verify = mirror(KeyRepository.verify)
    list = mirror(KeyRepository.list)
    delete = mirror(KeyRepository.delete)
    count = mirror(KeyRepository.count)
