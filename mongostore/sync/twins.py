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
from mongostore.repositories.sessions import SessionRepository
from mongostore.repositories.threads import (
    ElementRepository,
    FileRepository,
    ThreadMessageRepository,
    ThreadRepository,
    UserRepository,
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
