"""The blocking twins, written by `python -m tests.stubs` for type checkers: not to be edited."""

import builtins
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Unpack

from mongostore.diagnostics import CheckResult
from mongostore.engines import CollectionUsage, Deployment
from mongostore.errors import InvalidDocumentError
from mongostore.index_definitions import IndexReport
from mongostore.models import (
    ApiKey,
    AppendOptions,
    Binding,
    Conversation,
    Element,
    Event,
    EventFilter,
    EventUpdate,
    Feedback,
    File,
    FullRoom,
    Identity,
    Integration,
    Integrator,
    Lease,
    ListOrder,
    Message,
    MessageChange,
    MessageStart,
    MessageUpdate,
    Observation,
    Page,
    ReadMarker,
    ReplySummary,
    Room,
    RoomCreate,
    RoomFilter,
    RoomParticipant,
    RoomSearch,
    RoomState,
    RoomUpdate,
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
from mongostore.models.people import ErasureMode, ErasureReport, Person, PersonRecord
from mongostore.models.retention import House, PruneReport
from mongostore.people import AsyncPeople
from mongostore.repositories.api_keys import AsyncKeys
from mongostore.repositories.leases import AsyncLeases
from mongostore.repositories.leftovers import Leftover
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
from mongostore.repositories.sessions.context import ANY_CONTEXT
from mongostore.repositories.statistics import Statistics
from mongostore.repositories.threads import (
    AsyncFiles,
    AsyncThreadElements,
    AsyncThreadFeedback,
    AsyncThreadMessages,
    AsyncThreads,
    AsyncUsers,
)
from mongostore.repositories.threads.content import Content
from mongostore.retention.retention import HOUSES, AsyncRetention
from mongostore.sync.mirror import Mirror

class StoreVerbs:
    """The verbs of `MongoStore` that its core alone carries out."""

    def check_indexes(self) -> list[IndexReport]:
        """Compare every index of the store's collections, defined or found.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    def apply_indexes(self) -> list[IndexReport]:
        """Create missing indexes; those that differ stay as they are.

        Where the deployment has Atlas Search, also those of `indexes/search/`, which no verb needs.

        Returns:
            The result of `check_indexes` after that, and the search indexes that are there.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    def describe(self) -> Deployment:
        """Return the deployment with its speed and number of connections.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    def diagnose(self) -> list[CheckResult]:
        """Check the deployment: its topology, rights, clock, indexes and more.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    def usage(self) -> list[CollectionUsage]:
        """Return how much each of the store's collections holds.

        Raises:
            MongoStoreError: If the server refuses the command.
        """

    def statistics(self, since: datetime | None = None) -> Statistics:
        """Return what the store holds, and what was said in it day by day.

        Of a collection with many thousands of documents the newest are read, so that the cost is bounded;
        the result has whether that was all.

        Args:
            since: The first day; else 30 days ago.

        Raises:
            InvalidValueError: If the time has no zone, or is none of the last 366 days.
            MongoStoreError: If the server refuses the command.
        """

    def find_leftovers(self) -> list[Leftover]:
        """Return documents that interrupted deletions and uploads left.

        Those that another process is deleting or writing at the moment may be among them.

        Raises:
            MongoStoreError: If the server refuses to be asked.
        """

    def mend_leftovers(self, *, grace: float = 60.0) -> int:
        """Finish deletions and delete orphaned parts; return the number of both.

        Args:
            grace: Seconds to wait before a part without a head is deleted: more than a call may take that
                writes the part first.

        Raises:
            MongoStoreError: If the server refuses; the part that is done stays done.
        """

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

    def create(self, room_id: str | None = None, **members: Unpack[RoomCreate]) -> Room:
        """Create a room, with a generated id by default.

        Raises:
            AlreadyExistsError: If the id is taken, if only by a room that was erased with a person.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def ensure(self, room_id: str, **members: Unpack[RoomCreate]) -> Room:
        """Return the room, created with these members if it is not there.

        Raises:
            NotFoundError: If the room was erased with a person.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If it is there and cannot be read.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def get_full(self, room_id: str) -> FullRoom:
        """Return a room with its bindings and participants, in one round trip.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the room or one of the others cannot be read.
        """

    def find(self, room_id: str) -> Room | None:
        """Return a room; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find_by_binding(
        self,
        channel_id: str,
        names: Sequence[str],
        *,
        recipient: tuple[str, str] | None = None,
        **filter: Unpack[RoomFilter],
    ) -> Room | None:
        """Return the newest room in which a channel is bound to these people.

        Args:
            channel_id: The channel.
            names: The participants whom the binding reaches.
            recipient: A key and an address: as well a binding that has no participant, is no group, and has
                that address, a text or an integer, under that key of its metadata.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the room cannot be read.
        """

    def find_by_route(
        self, channel_id: str, names: Sequence[str], **filter: Unpack[RoomFilter]
    ) -> Room | None:
        """Return the newest room that reached these participants by a channel.

        Args:
            channel_id: The channel.
            names: Ids of participants, or of their identities.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the room cannot be read.
        """

    def find_by_participant(
        self, participant_id: str, *, channel_type: str | None = None, **filter: Unpack[RoomFilter]
    ) -> Room | None:
        """Return the newest room of a person, by participant or binding.

        Args:
            participant_id: The person.
            channel_type: Only bindings of this type of channel; participants are found anyway.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the room cannot be read.
        """

    def exists(self, room_id: str) -> bool:
        """Return whether there is such a room.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

    def count(self, *, limit: int | None = None, **where: Unpack[RoomSearch]) -> int:
        """Return how many rooms there are, `limit` at most.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def list(
        self,
        *,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[RoomSearch],
    ) -> Page[Room]:
        """Return a page of rooms, the most recently active ones first.

        With `text` a page may be short, even empty, while others follow.

        Args:
            order: By the second of the newest activity (`active`; of the creation, before the first event),
                or by creation (`created`), which stands still while pages are read. Then by id.
            newest: Whether the newest ones come first.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.
            **where: Which rooms. An index of single values finds their metadata; what it finds too much is
                read and left out.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def list_by_channel(
        self,
        channel_id: str,
        *,
        group: bool | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        **filter: Unpack[RoomFilter],
    ) -> Page[Room]:
        """Return a page of a channel's rooms, by creation time, then by id.

        Args:
            channel_id: The channel.
            group: Whether the binding is a group's; None for both.
            newest: Whether the newest ones come first.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.
            **filter: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[RoomSearch],
    ) -> Iterator[Room]:
        """Yield rooms by the time of their creation, then by id.

        Args:
            newest: Whether the newest ones come first.
            errors: Collects the errors of rooms that cannot be read.
            **where: Which rooms.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a room cannot be read and `errors` is None.
        """

    @staticmethod
    def cursor_of(room: Room, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page behind a room, in either direction.

        Raises:
            InvalidValueError: If it is no room that is stored, or there is no such order.
        """

    def update(self, room_id: str, **members: Unpack[RoomUpdate]) -> Room:
        """Change members of a room; the others stay.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If it cannot be read, after it was changed.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """

    def replace(self, room: Room, *, expected: RoomState | None = None) -> Room:
        """Replace a room but for its counters, creation and private values.

        Its name and its expiry stay unless others are set.

        Args:
            room: The room as it is to be.
            expected: Replace it only if it is still in this state.

        Raises:
            NotFoundError: If there is no such room.
            ConflictError: If it is in another state; nothing is changed.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """

    def advance_delivered_index(self, room_id: str, index: int, *, force: bool = False) -> bool:
        """Move the delivered index forward; return whether it was its turn.

        Args:
            room_id: The room.
            index: The index of the event that is delivered now.
            force: Whether to move from any lower index, and not only from the one before.

        Raises:
            InvalidValueError: If the id is no plain string, or the index no integer.
        """

    def find_private(self, room_id: str, key: str) -> Any | None:
        """Return the private values of a room, outside its members, or None.

        Raises:
            InvalidValueError: If the id or the key is no plain string.
        """

    def set_private(self, room_id: str, key: str, value: Any) -> None:
        """Store a private value of a room, and remove the key from its metadata.

        Args:
            room_id: The room.
            key: Any text.
            value: Any JSON value; None removes the key.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If the id or the key is no plain string, or the value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def delete(self, room_id: str) -> bool:
        """Delete a room and its parts, but no identity; return if it existed.

        From the first moment on the room is not found and takes nothing more. A deletion that is cut short
        goes on when the room is deleted or created again.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

class RoomEvents(Mirror[AsyncRoomEvents]):
    """Blocking twin of `AsyncRoomEvents`."""

    def watch(self, room_id: str, *, after: int | None = None, last: int | None = None) -> Iterator[Event]:
        """Yield new events once, in order, until the room is deleted.

        Needs a replica set or the embedded engine. A lost connection is made again, and the stream goes on
        behind the last event; a caller that starts anew hands its index to `after`. An event that cannot be
        read is passed over with a WARNING.

        Args:
            room_id: The room.
            after: Begin with the events above this index, -1 for all; None for those from now on.
            last: Begin with so many of the last events, 1,000 at most.

        Raises:
            NotFoundError: If there is no such room.
            UnsupportedError: If the deployment has no change streams.
            InvalidValueError: If an argument is of the wrong type or out of range, or both are set.
        """

    def append(
        self,
        room_id: str,
        event: Event,
        *,
        create: bool | RoomCreate = False,
        target: Event | None = None,
        activity: bool = True,
    ) -> Event:
        """Store an event at the room's next index, in one step, and return it.

        Events of one room become visible in the order of their indexes, from any process. On
        a server without transactions a crash midway may leave an edit or a delete without its effect on its
        target, or a paused room active without the event.

        Args:
            room_id: The room.
            event: The event; an index that it has is ignored.
            create: Whether to create the room if it is not there, or the members to create it with. That is
                a step before: if the event is refused, or the process dies, the room is there without it.
            target: The event that this one edits or deletes, as it is to be: replaced in the same step.
                A delete also marks all edits of its target, which hold its former content, as deleted.
            activity: Whether this is activity of the room: moves `active_at`, wakes a paused room.

        Raises:
            NotFoundError: If there is no such room, or no such target in it; nothing is written.
            AlreadyExistsError: If the event's id is taken; nothing is written.
            IdempotencyKeyError: If its idempotency key is taken in its room and channel; likewise.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def create(self, room_id: str, event: Event) -> Event:
        """Store an event at its own or the next index; no counter changes.

        Raises:
            NotFoundError: If there is no such room.
            AlreadyExistsError: If its id or its index is taken; nothing is written.
            IdempotencyKeyError: If its idempotency key is taken in its room and channel; likewise.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, room_id: str, event_id: str) -> Event:
        """Return an event.

        Raises:
            NotFoundError: If the room has no such event.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, room_id: str, event_id: str) -> Event | None:
        """Return an event; None if the room has no such event.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def describe_document(self, room_id: str, event_id: str) -> str:
        """Return a stored event, readable or not, in Extended JSON.

        Raises:
            NotFoundError: If the room has no such event.
            InvalidValueError: If an id is no plain string.
        """

    def find_by_id(self, event_id: str) -> Event | None:
        """Return an event whose room is not known; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find_by_key(self, room_id: str, key: str, *, channel_id: str | None = None) -> Event | None:
        """Return the event of an idempotency key, blocked or not, or None.

        Args:
            room_id: The room.
            key: The idempotency key.
            channel_id: The channel that the key belongs to; None for any, and then the event of the lowest
                index.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the event cannot be read.
        """

    def exists(self, room_id: str, event_id: str) -> bool:
        """Return whether the room has such an event.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

    def count(self, room_id: str, *, limit: int | None = None, **filter: Unpack[EventFilter]) -> int:
        """Return how many events a list would show, `limit` at most.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def list(
        self,
        room_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        **filter: Unpack[EventFilter],
    ) -> Page[Event]:
        """Return a page of events, the first or the last ones; blocked ones only if `blocked` is set.

        Args:
            room_id: The room.
            newest: Whether to take the last ones and not the first.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same `newest`.
            before: Only events below this index.
            after: Only events above this index.
            around: The index in the middle of the page, in place of all other bounds; the next page has
                what follows.
            **filter: Which events.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self,
        room_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **filter: Unpack[EventFilter],
    ) -> Iterator[Event]:
        """Yield a room's events by index, or backwards; blocked ones only if `blocked` is set.

        Args:
            room_id: The room.
            newest: Whether to begin with the last one.
            errors: Collects the errors of events that cannot be read.
            **filter: Which events.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If an event cannot be read and `errors` is None.
        """

    @staticmethod
    def cursor_of(event: Event) -> str:
        """Return the cursor of the page behind an event, in either direction.

        Raises:
            InvalidValueError: If it is no event, or has no index.
        """

    def summarize_replies(self, room_id: str, event_ids: Sequence[str]) -> dict[str, ReplySummary]:
        """Return the summaries of replies to these events, if they have any.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """

    def update(self, room_id: str, event_id: str, **members: Unpack[EventUpdate]) -> Event:
        """Change members of an event; the others stay.

        An event of an expired room is changed until the room is pruned, but not found.

        Raises:
            NotFoundError: If the room has no such event.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If it cannot be read, after it was changed.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """

    def replace(self, room_id: str, event: Event, *, erase_edits: bool = False) -> Event:
        """Replace an event but for its index, creation and delivery results.

        An event of an expired room is replaced until the room is pruned, but not found.

        Args:
            room_id: The room.
            event: The event as it is to be.
            erase_edits: Mark all edits of it, which hold its former content, as deleted in the same step.

        Raises:
            NotFoundError: If the room has no such event.
            IdempotencyKeyError: If its idempotency key is taken by another event.
            InvalidValueError: If a value cannot be stored.
            InvalidDocumentError: If it cannot be read, after it was replaced.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def pop(self, room_id: str, event_id: str, *, replies: bool = True) -> builtins.list[Event]:
        """Delete an event as `delete` does; return all the deleted events.

        The event comes first, then its replies, then the edits and deletes, each by index.

        Args:
            room_id: The room.
            event_id: The event.
            replies: Whether its replies are deleted as well.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If one of them cannot be read; nothing is deleted.
        """

    def delete(self, room_id: str, event_id: str, *, replies: bool = True) -> bool:
        """Delete an event but no counter or index; return whether it existed.

        All edits and deletes of what is deleted go with it.

        Args:
            room_id: The room.
            event_id: The event.
            replies: Whether its replies are deleted as well.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class RoomBindings(Mirror[AsyncRoomBindings]):
    """Blocking twin of `AsyncRoomBindings`."""

    def list(
        self, room_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[Binding]:
        """Return a page of those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self, room_id: str, *, newest: bool = False, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[Binding]:
        """Yield all those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

    def upsert(self, room_id: str, binding: Binding) -> Binding:
        """Attach a channel, or replace its binding, which keeps its place.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, room_id: str, channel_id: str) -> Binding:
        """Return a binding.

        Raises:
            NotFoundError: If the channel is not attached.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, room_id: str, channel_id: str) -> Binding | None:
        """Return a binding; None if the channel is not attached.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def exists(self, room_id: str, channel_id: str) -> bool:
        """Return whether a channel is attached.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

    def delete(self, room_id: str, channel_id: str) -> bool:
        """Detach a channel and return whether it was attached.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class RoomParticipants(Mirror[AsyncRoomParticipants]):
    """Blocking twin of `AsyncRoomParticipants`."""

    def list(
        self, room_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[RoomParticipant]:
        """Return a page of those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self, room_id: str, *, newest: bool = False, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[RoomParticipant]:
        """Yield all those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

    def upsert(self, room_id: str, participant: RoomParticipant) -> RoomParticipant:
        """Add a participant, or replace the one of that id in its place.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, room_id: str, participant_id: str) -> RoomParticipant:
        """Return a participant.

        Raises:
            NotFoundError: If the room has no such participant.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, room_id: str, participant_id: str) -> RoomParticipant | None:
        """Return a participant; None if the room has no such participant.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def exists(self, room_id: str, participant_id: str) -> bool:
        """Return whether the room has such a participant.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

    def delete(self, room_id: str, participant_id: str) -> bool:
        """Delete a participant and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class RoomTasks(Mirror[AsyncRoomTasks]):
    """Blocking twin of `AsyncRoomTasks`."""

    def list(
        self,
        room_id: str,
        *,
        status: str | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Task]:
        """Return a page of tasks, of one status or all, in order of addition.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self,
        room_id: str,
        *,
        status: str | None = None,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> Iterator[Task]:
        """Yield a room's tasks, of one status or all, in order of addition.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

    def create(self, room_id: str, task: Task) -> Task:
        """Store a task.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            NotFoundError: If the room was deleted during the call and made anew, or erased with a person.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def upsert(self, room_id: str, task: Task) -> Task:
        """Store a task, or replace the one of that id in its place; one of another room comes into this one.

        Raises:
            NotFoundError: If the room was deleted during the call and made anew, or erased with a person.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, room_id: str, task_id: str) -> Task:
        """Return a task.

        Raises:
            NotFoundError: If the room has no such task.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, room_id: str, task_id: str) -> Task | None:
        """Return a task; None if the room has no such task.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find_by_id(self, task_id: str) -> Task | None:
        """Return a task whose room is not known; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def delete(self, room_id: str, task_id: str) -> bool:
        """Delete a task and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class RoomObservations(Mirror[AsyncRoomObservations]):
    """Blocking twin of `AsyncRoomObservations`."""

    def list(
        self, room_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[Observation]:
        """Return a page of those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self, room_id: str, *, newest: bool = False, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[Observation]:
        """Yield all those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

    def create(self, room_id: str, observation: Observation) -> Observation:
        """Store an observation.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            NotFoundError: If the room was deleted during the call and made anew, or erased with a person.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def delete(self, room_id: str, observation_id: str) -> bool:
        """Delete an observation and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class ReadMarkers(Mirror[AsyncReadMarkers]):
    """Blocking twin of `AsyncReadMarkers`."""

    def list(
        self, room_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[ReadMarker]:
        """Return a page of those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self, room_id: str, *, newest: bool = False, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[ReadMarker]:
        """Yield all those of a room, in their order.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

    def advance(
        self, room_id: str, channel_id: str, event_id: str | None = None, *, index: int | None = None
    ) -> bool:
        """Move a marker to an event or the newest; return whether it exists.

        Args:
            room_id: The room.
            channel_id: The channel.
            event_id: The event; None for the newest one.
            index: The index to move to, instead of an event's, for a marker whose event is deleted.

        Raises:
            InvalidValueError: If an argument is of the wrong type, or there are both an event and an index.
        """

    def find(self, room_id: str, channel_id: str) -> ReadMarker | None:
        """Return a channel's marker; None if it has read nothing.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def count_unread(self, room_id: str, channel_id: str, *, limit: int | None = None) -> int:
        """Return how many events are above a channel's marker, at most `limit`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

class VoiceDeliveries(Mirror[AsyncVoiceDeliveries]):
    """Blocking twin of `AsyncVoiceDeliveries`."""

    def find(self, room_id: str, key: str) -> VoiceDelivery | None:
        """Return a reservation; None if there is none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def claim(self, room_id: str, delivery: VoiceDelivery) -> VoiceDelivery:
        """Reserve speech that is free, or failed and may be tried again.

        Returns:
            The reservation that holds: the caller's own if it has the caller's `attempt_id`.

        Raises:
            NotFoundError: If there is no such room.
            InvalidValueError: If a value cannot be stored, or the claim has an outcome already.
            InvalidDocumentError: If the reservation that holds cannot be read.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def complete(self, room_id: str, delivery: VoiceDelivery) -> bool:
        """Store the outcome of a reservation once; return whether it has it.

        Args:
            room_id: The room.
            delivery: With its outcome, and the `attempt_id` of the reservation.

        Returns:
            False if another attempt has the reservation by now, or it has another outcome.

        Raises:
            InvalidValueError: If a value cannot be stored, or there is no outcome.
            InvalidDocumentError: If the reservation cannot be read.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

class Identities(Mirror[AsyncIdentities]):
    """Blocking twin of `AsyncIdentities`."""

    def create(self, identity: Identity) -> Identity:
        """Store an identity with its addresses.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            ConflictError: If an address belongs to another identity; nothing is written.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, identity_id: str) -> Identity:
        """Return an identity.

        Raises:
            NotFoundError: If there is no such identity.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, identity_id: str) -> Identity | None:
        """Return an identity; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find_by_address(
        self, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity | None:
        """Return the identity with an address in an organization, or in none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def list(
        self,
        *,
        organization_id: str | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Identity]:
        """Return a page of the identities of an organization, or of none, by id.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range, or is no cursor of a page.
        """

    def iter(
        self, *, organization_id: str | None = None, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[Identity]:
        """Yield the identities of an organization, or of none, by id.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

    def link_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity:
        """Give an address to an identity, which may have it already.

        Raises:
            NotFoundError: If the organization has no such identity.
            ConflictError: If the address belongs to another identity; nothing is written.
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the identity cannot be read, after it was changed.
            DocumentTooLargeError: If it would take more than a document can hold; it is left as it was.
        """

    def unlink_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity:
        """Take an address from an identity; that of another one stays.

        Raises:
            NotFoundError: If the organization has no such identity.
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If the identity cannot be read, after it was changed.
        """

    def delete(self, identity_id: str) -> bool:
        """Delete an identity with its addresses and verification; return whether it was there.

        Requests for a verification stay.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

class Verifications(Mirror[AsyncVerifications]):
    """Blocking twin of `AsyncVerifications`."""

    requests: VerificationRequests

    def find(self, identity_id: str, *, organization_id: str | None = None) -> Verification | None:
        """Return the verification of an identity; None if there is none.

        Raises:
            InvalidValueError: If an argument is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def upsert(self, verification: Verification) -> Verification:
        """Store the verification of an identity, or replace it.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def iter_expiring(
        self, status: str, *, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[Verification]:
        """Yield the verifications of a status that will end, of every organization.

        Raises:
            InvalidValueError: If the status is no plain string.
            InvalidDocumentError: If one cannot be read and `errors` is None.
        """

class VerificationRequests(Mirror[AsyncVerificationRequests]):
    """Blocking twin of `AsyncVerificationRequests`."""

    def create(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request.

        Raises:
            AlreadyExistsError: If the id is taken; nothing is written.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def upsert(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request, or replace the one with that id.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If it takes more than a document can hold.
        """

    def get(self, request_id: str) -> VerificationRequest:
        """Return a request.

        Raises:
            NotFoundError: If there is no such request.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, request_id: str) -> VerificationRequest | None:
        """Return a request; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

class Leases(Mirror[AsyncLeases]):
    """Blocking twin of `AsyncLeases`."""

    def hold(self, name: str, *, seconds: float = 60.0, wait: float = 0.0) -> AbstractContextManager[Lease]:
        """Hold a lease for a block, which is cancelled if the lease is lost.

        The lease is renewed while the block runs. In blocking code a block is not cancelled; the error comes
        at its end.

        Args:
            name: The name of the lease.
            seconds: How long it lasts after the last renewal, if the process dies.
            wait: For how many seconds to wait while another owner has it.

        Raises:
            ConflictError: If another owner still has it after that, or if it is lost.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def acquire(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take a lease; None while another owner has it.

        Args:
            name: The name of the lease.
            owner: The owner, unique to this attempt; the same owner gets the same lease again.
            seconds: How long it lasts unless it is renewed, a day at most.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def renew(self, lease: Lease, seconds: float | None = None) -> bool:
        """Begin a lease anew from now and return whether it was still held.

        Args:
            lease: The lease that `acquire` returned.
            seconds: How long it lasts from now on; else as long as before.

        Raises:
            InvalidValueError: If it is no lease, or the time is out of range.
        """

    def release(self, lease: Lease) -> bool:
        """Give a lease back before its end and return whether it was still held.

        Raises:
            InvalidValueError: If it is no lease.
        """

class ThreadMessages(Mirror[AsyncThreadMessages]):
    """Blocking twin of `AsyncThreadMessages`."""

    def merge(
        self,
        thread_id: str | None,
        message_id: str,
        *,
        only_missing: bool = False,
        begun_at: datetime | None = None,
        **members: Unpack[ThreadMessageUpdate],
    ) -> None:
        """Change members of a message, begun with its thread if not there.

        A message that belongs to no thread yet goes to the one that is named. `data` is merged key by key,
        where None is a value. The beginning of a message may come after its end: with `only_missing` it fills
        what is absent or empty.

        A message of an expired thread is changed until the thread is pruned, but not found.

        Args:
            thread_id: The thread of the message; None leaves it where it is, which may be in none.
            message_id: The message.
            only_missing: Whether to leave what later merges have set.
            begun_at: When the message began, by the clock of this host: a thread that was deleted before that
                is begun anew. None leaves it deleted.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted, or the message was after it began; nothing is stored.
            ConflictError: If the message belongs to another thread.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take too much; it is left as it was.
        """

    def get(self, thread_id: str, message_id: str) -> ThreadMessage:
        """Return a message of a thread.

        Raises:
            NotFoundError: If the thread has no such message.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """

    def find(self, thread_id: str, message_id: str) -> ThreadMessage | None:
        """Return a message of a thread; None if it is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """

    def describe_document(self, thread_id: str, message_id: str) -> str:
        """Return a stored message, readable or not, in Extended JSON.

        Raises:
            NotFoundError: If the thread has no such message.
            InvalidValueError: If an id is no plain string.
        """

    def find_by_id(self, message_id: str) -> ThreadMessage | None:
        """Return a message whose thread is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """

    def exists(self, thread_id: str, message_id: str) -> bool:
        """Return whether a thread has such a message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

    def count(self, thread_id: str, *, limit: int | None = None) -> int:
        """Return how many messages a thread has, `limit` at most.

        Raises:
            InvalidValueError: If the id is no plain string, or the limit is out of range.
        """

    def list(
        self,
        thread_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[ThreadMessageFilter],
    ) -> Page[ThreadMessage]:
        """Return a page of messages in reading order, the first or the last ones.

        Args:
            thread_id: The thread.
            newest: Whether the page is of the last messages.
            limit: How many at most, 1 to 1,000.
            cursor: The `next_cursor` of the page before.
            **where: Only those with these members.

        Returns:
            The page; messages that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self,
        thread_id: str | None = None,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[ThreadMessageFilter],
    ) -> Iterator[ThreadMessage]:
        """Yield all messages of a thread or of a kind, the oldest first.

        Args:
            thread_id: The thread; None for all.
            newest: Whether the newest come first.
            errors: Collects the errors of messages that cannot be read, instead of raising them.
            **where: Only those with these members.

        Raises:
            InvalidValueError: If an argument is of the wrong type, or there is neither a thread nor a kind.
            InvalidDocumentError: If a message cannot be read and there is no list of `errors`.
        """

    def list_pinned(
        self, user_id: str, *, newest: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[ThreadMessage]:
        """Return a page of a user's pinned messages, the newest first.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    @staticmethod
    def cursor_of(message: ThreadMessage) -> str:
        """Return the cursor of the page behind a message, in either direction.

        Raises:
            InvalidValueError: If it is no message that a list has shown.
        """

    def delete(self, thread_id: str | None, message_id: str) -> bool:
        """Delete a message with all that is its own; return whether it was there.

        Its feedback, elements and files go with it. The steps of the message stay.

        Args:
            thread_id: The thread of the message; None for one that belongs to none.
            message_id: The message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class ThreadFeedback(Mirror[AsyncThreadFeedback]):
    """Blocking twin of `AsyncThreadFeedback`."""

    def upsert(self, thread_id: str | None, feedback: Feedback) -> Feedback:
        """Store the feedback of a message, or replace it, which keeps its id.

        Args:
            thread_id: The thread of the message; None for a message that is not stored yet, and joined by its
                feedback when it is.
            feedback: The feedback.

        Returns:
            The feedback as it is stored.

        Raises:
            NotFoundError: If the thread has no such message, or the message is deleted.
            ConflictError: If there is no `thread_id`, and the message is in a thread.
            AlreadyExistsError: If the id is that of another message's feedback.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the message would take too much with it.
        """

    def find(self, thread_id: str, message_id: str) -> Feedback | None:
        """Return the feedback of a message; None if it has none.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the feedback cannot be read.
        """

    def find_by_id(self, feedback_id: str) -> Feedback | None:
        """Return feedback whose message is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the feedback cannot be read.
        """

    def list(
        self, *, value: int | None = None, newest: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[Feedback]:
        """Return a page of all threads' feedback, by their messages' creation.

        Feedback that cannot be read is in the `errors` of the page.

        Args:
            value: Only feedback of this value.
            newest: Whether that on the newest messages comes first.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def delete(self, thread_id: str | None, message_id: str) -> bool:
        """Delete the feedback of a message and return whether it had some.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class ThreadElements(Mirror[AsyncThreadElements]):
    """Blocking twin of `AsyncThreadElements`."""

    def upsert(self, thread_id: str, element: Element, *, begun_at: datetime | None = None) -> Element:
        """Store or replace an element; delete the earlier file if it differs.

        Args:
            thread_id: The thread.
            element: The element.
            begun_at: When the caller began to make it, by the clock of this host, now by default.
                Elements are listed in this order, and what was deleted since stays deleted.

        Returns:
            The element as it is stored.

        Raises:
            NotFoundError: If the thread is deleted, or the element or its message was after it began; nothing
                is stored, and the element's file is deleted too.
            ConflictError: If there is an element with that id in another thread.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the element takes more than a document can hold.
        """

    def get(self, thread_id: str, element_id: str) -> Element:
        """Return an element of a thread.

        Raises:
            NotFoundError: If the thread has no such element.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the element cannot be read.
        """

    def find(self, thread_id: str, element_id: str) -> Element | None:
        """Return an element of a thread; None if it is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the element cannot be read.
        """

    def find_by_id(self, element_id: str) -> Element | None:
        """Return an element whose thread is not known; None if it is not there.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the element cannot be read.
        """

    def list(
        self,
        thread_id: str,
        *,
        message_id: str | None = None,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Element]:
        """Return a page of elements, of one message or all, in order of arrival.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self,
        thread_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> Iterator[Element]:
        """Yield all elements of a thread as they came.

        `errors` collects those that cannot be read.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If an element cannot be read and there is no list of `errors`.
        """

    def delete(self, thread_id: str, element_id: str) -> bool:
        """Delete an element with its file, and return whether it was there.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class Files(Mirror[AsyncFiles]):
    """Blocking twin of `AsyncFiles`."""

    def upload(
        self,
        key: str,
        content: Content,
        *,
        content_type: str = "application/octet-stream",
        data: dict[str, Any] | None = None,
    ) -> File:
        """Store or replace a file; readers see the old or the new one, whole.

        Args:
            key: The file.
            content: Bytes, a path, an open file, or an iterator of bytes; these are read piece by piece.
            content_type: Its media type.
            data: The other members of the file.

        Raises:
            InvalidValueError: If a value cannot be stored, or the content does not consist of bytes.
            DocumentTooLargeError: If the data take more than a document can hold.
            OSError: If the content cannot be read.
        """

    def get(self, key: str) -> File:
        """Return what is known of a file.

        Raises:
            NotFoundError: If there is no such file.
            InvalidValueError: If the key is no plain string.
        """

    def find(self, key: str) -> File | None:
        """Return what is known of a file; None if there is none.

        Raises:
            InvalidValueError: If the key is no plain string.
        """

    def exists(self, key: str) -> bool:
        """Return whether there is such a file.

        Raises:
            InvalidValueError: If the key is no plain string.
        """

    def list(
        self, *, prefix: str = "", newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[File]:
        """Return a page of the files whose keys begin so, by key.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(self, *, prefix: str = "") -> Iterator[File]:
        """Yield the files whose keys begin so, by key.

        Raises:
            InvalidValueError: If the prefix is no plain string.
        """

    def read(self, key: str) -> bytes:
        """Return the whole content of a file.

        Raises:
            NotFoundError: If there is no such file, or it is deleted or replaced while it is read.
            InvalidValueError: If the key is no plain string.
        """

    def iter_content(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the content of a file, piece by piece.

        Args:
            key: The file.
            start: The first byte.
            end: The byte behind the last one; None for all.

        Raises:
            NotFoundError: If there is no such file, or it is deleted or replaced while it is read.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def delete(self, key: str) -> bool:
        """Delete a file and return whether it was there.

        Raises:
            InvalidValueError: If the key is no plain string.
        """

class Users(Mirror[AsyncUsers]):
    """Blocking twin of `AsyncUsers`."""

    def create(
        self,
        identifier: str,
        *,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> User:
        """Create a user, with a generated id and the time of the call by default.

        Raises:
            AlreadyExistsError: If there is a user with that identifier or id.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """

    def ensure(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Return the user with an identifier, created if it is not there.

        If it is, `metadata` is ignored.

        Raises:
            InvalidValueError: If a value cannot be stored.
            InvalidDocumentError: If the user cannot be read.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """

    def upsert(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Create a user, or replace the metadata of the one with that identifier.

        Raises:
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """

    def get(self, user_id: str) -> User:
        """Return a user.

        Raises:
            NotFoundError: If there is no such user.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the user cannot be read.
        """

    def find(self, user_id: str) -> User | None:
        """Return a user; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the user cannot be read.
        """

    def find_by_identifier(self, identifier: str) -> User | None:
        """Return the user with an identifier; None if there is none.

        Raises:
            InvalidValueError: If the identifier is no plain string.
            InvalidDocumentError: If the user cannot be read.
        """

    def count(self, *, limit: int | None = None) -> int:
        """Return how many users there are, `limit` at most.

        Raises:
            InvalidValueError: If the limit is out of range.
        """

    def list(self, *, newest: bool = False, limit: int = 50, cursor: str | None = None) -> Page[User]:
        """Return a page of users, in the order of their creation.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self, *, newest: bool = False, errors: builtins.list[InvalidDocumentError] | None = None
    ) -> Iterator[User]:
        """Yield all users by creation; `errors` collects unreadable ones.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a user cannot be read and there is no list of `errors`.
        """

    def delete(self, user_id: str) -> bool:
        """Delete a user and return whether it was there; threads stay.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

class Threads(Mirror[AsyncThreads]):
    """Blocking twin of `AsyncThreads`."""

    messages: ThreadMessages
    elements: ThreadElements
    feedback: ThreadFeedback
    files: Files
    users: Users

    def create(
        self,
        thread_id: str | None = None,
        *,
        created_at: datetime | None = None,
        **members: Unpack[ThreadUpdate],
    ) -> Thread:
        """Create a thread, by default with a new id and the current time.

        Raises:
            AlreadyExistsError: If the id is taken, if only by a deleted thread.
            NotFoundError: If there is no such user.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the thread takes more than a document can hold.
        """

    def ensure(self, thread_id: str, **members: Unpack[ThreadUpdate]) -> Thread:
        """Return a thread, created with these members if it is not there.

        If it is, they are ignored.

        Raises:
            NotFoundError: If the thread is deleted, or there is no such user.
            InvalidValueError: If a value cannot be stored; names its path.
            InvalidDocumentError: If the thread cannot be read.
            DocumentTooLargeError: If the thread takes more than a document can hold.
        """

    def update(self, thread_id: str, **members: Unpack[ThreadUpdate]) -> Thread:
        """Change members of a thread.

        `data` is replaced whole. `metadata` is merged key by key, where None removes a key unless `unset` is
        set.

        Raises:
            NotFoundError: If the thread is not there, or there is no such user; nothing is changed.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If the thread cannot be read, after it was changed.
            DocumentTooLargeError: If the thread would take too much; it is left as it was.
        """

    def merge(
        self,
        thread_id: str,
        *,
        if_absent: bool = False,
        begun_at: datetime | None = None,
        **members: Unpack[ThreadUpdate],
    ) -> None:
        """Change members of a thread, which is begun if it is not there.

        `data` and `metadata` are merged key by key. In `metadata` None removes a key unless `unset` is set.

        Args:
            thread_id: The thread.
            if_absent: Whether to change nothing if one of the keys to set in `data` and `metadata` is there.
            begun_at: When the talk began that this is said of, by the clock of this host: a thread that was
                deleted before that is begun anew. None leaves it deleted.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted, or there is no such user; nothing is changed.
            ConflictError: If `if_absent` is set and one of the keys is there.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the thread would take too much; it is left as it was.
        """

    def get(self, thread_id: str) -> Thread:
        """Return a thread.

        Raises:
            NotFoundError: If there is no such thread, or it is deleted.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the thread cannot be read.
        """

    def find(self, thread_id: str) -> Thread | None:
        """Return a thread; None if there is none, or it is deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the thread cannot be read.
        """

    def exists(self, thread_id: str) -> bool:
        """Return whether there is such a thread, not deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

    def count(self, *, limit: int | None = None, **where: Unpack[ThreadFilter]) -> int:
        """Return how many threads there are, `limit` at most.

        Raises:
            InvalidValueError: If the limit or a filter is of the wrong type or out of range.
        """

    def list(
        self,
        *,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[ThreadFilter],
    ) -> Page[Thread]:
        """Return a page of threads, the most recently active first.

        With `text` a page may be short, even empty, while others follow.

        Args:
            order: Whether by activity or by creation.
            newest: Whether the newest come first.
            limit: How many at most, 1 to 1,000.
            cursor: The `next_cursor` of the page before.
            **where: Only those with these members.

        Returns:
            The page; threads that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[ThreadFilter],
    ) -> Iterator[Thread]:
        """Yield all threads in the order of their creation.

        Args:
            newest: Whether the newest come first.
            errors: Collects the errors of threads that cannot be read, instead of raising them.
            **where: Only those with these members.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If a thread cannot be read and there is no list of `errors`.
        """

    @staticmethod
    def cursor_of(thread: Thread, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page that begins behind a thread.

        Raises:
            InvalidValueError: If it is no thread that a list has shown, or there is no such order.
        """

    def delete(self, thread_id: str) -> bool:
        """Delete a thread with all parts for good; return whether it was there.

        From the first moment on it is not found. A deletion that is cut short is finished by the next verb
        that meets the thread.

        Raises:
            InvalidValueError: The id is no plain string.
        """

class Keys(Mirror[AsyncKeys]):
    """Blocking twin of `AsyncKeys`."""

    def create(
        self,
        *,
        name: str,
        namespaces: Sequence[str] = (),
        owner_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """Create a key; return it with its `token`, which is stored nowhere.

        Args:
            name: The purpose of the key.
            namespaces: Those it may use; `["*"]` for all.
            owner_id: Whom it speaks for.
            expires_at: The time at which it ends; None for never.

        Raises:
            InvalidValueError: If a value cannot be stored.
        """

    def get(self, key_id: str) -> ApiKey:
        """Return a key.

        Raises:
            NotFoundError: If there is no such key.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the key cannot be read.
        """

    def find(self, key_id: str) -> ApiKey | None:
        """Return a key; None if there is none.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the key cannot be read.
        """

    def verify(self, token: str) -> ApiKey | None:
        """Return the key of a token; None if it is invalid, deleted or expired.

        Raises:
            InvalidDocumentError: If the key cannot be read.
        """

    def count(self, *, limit: int | None = None) -> int:
        """Return how many keys there are, expired ones too, `limit` at most.

        Raises:
            InvalidValueError: If the limit is out of range.
        """

    def list(self, *, newest: bool = False, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        """Return a page of all keys, expired ones too, by their creation.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def delete(self, key_id: str) -> bool:
        """Delete a key, whose token is then refused; return whether it existed.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

class Retention(Mirror[AsyncRetention]):
    """Blocking twin of `AsyncRetention`."""

    def prune(
        self,
        *,
        idle: timedelta | None = None,
        older: timedelta | None = None,
        namespaces: Sequence[str] | None = None,
        houses: Sequence[House] = HOUSES,
        keep_pinned: bool = True,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> PruneReport:
        """Delete what has expired, and by `idle` and `older` other conversations.

        Each conversation goes in one piece, unless it has changed since it was found. Cut short, it goes on
        when it is called again.

        Args:
            idle: Conversations that had no activity for so long, softly deleted ones too.
            older: Conversations that were created longer ago.
            namespaces: Only the sessions of these namespaces, and no threads and rooms, which have none.
            houses: Only these.
            keep_pinned: Whether threads with pinned messages stay until they expire.
            limit: How many to delete at most.
            dry_run: Whether to count only.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

class People(Mirror[AsyncPeople]):
    """Blocking twin of `AsyncPeople`."""

    def get(
        self, name: str, *, namespaces: Sequence[str] | None = None, organization_id: str | None = None
    ) -> Person:
        """Return the person with a name, and all names that are linked to it.

        Users and identities link them.

        Args:
            name: An id or identifier of a user, an id or address of an identity, an owner or a participant.
            namespaces: Only sessions of these.
            organization_id: Only rooms and identities of this one.

        Raises:
            NotFoundError: If nothing has that name.
            InvalidValueError: If an argument is of the wrong type.
        """

    def find(
        self, name: str, *, namespaces: Sequence[str] | None = None, organization_id: str | None = None
    ) -> Person | None:
        """Return the person with a name as `get` does; None if there is none.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """

    def export(self, person: Person) -> Iterator[PersonRecord]:
        """Yield as JSON everything that is a person's or that they said.

        The texts of others are left out. The contents of files are not among it: `threads.files.iter_content`
        of a `file_key`, of an element or of a file in a folder of theirs, reads them. Of a softly deleted
        session it is the session alone: undelete it to have its messages.

        Raises:
            InvalidValueError: If it is no person that `get` returned.
            InvalidDocumentError: If something cannot be read.
        """

    def erase(self, person: Person, *, mode: ErasureMode = "delete", dry_run: bool = False) -> ErasureReport:
        """Erase a person: delete what is theirs, and what they said among others.

        Their sessions and threads, and rooms without another participant, go whole in both modes. In what
        they share with others `delete` removes what they said and that they were there; `anonymize` leaves
        the places, without words and names. The words of others stay. If it was cut short, call it again
        with any of the names: they are stored until it is complete, for 30 days at most. A repetition does
        no harm.

        Args:
            person: The person, as `get` returned it.
            mode: `delete` or `anonymize`.
            dry_run: Whether to count only, as the erasure in this mode would.

        Raises:
            ConflictError: If they keep writing.
            InvalidValueError: If an argument is of the wrong type, or there is no such mode.
        """

class MessageStream(Mirror[AsyncMessageStream]):
    """Blocking twin of `AsyncMessageStream`."""

    @property
    def message(self) -> Message:
        """The message as it was last stored."""

    @property
    def text(self) -> str:
        """The whole text so far, flushed or not."""

    def write(self, text: str) -> None:
        """Add text, which the next flush stores.

        Raises:
            NotFoundError: If the message or its session is gone.
            ConflictError: If another writer has taken the message over, or the stream has ended.
            InvalidValueError: If it is no text that can be stored.
            DocumentTooLargeError: If the message would take more than 16 MiB; the text is not added.
            NotOpenError: If the store was closed.
        """

    def update(self, **members: Unpack[MessageUpdate]) -> None:
        """Change other members with the next flush, such as `data` with tool calls or usage.

        Args:
            **members: As for `messages.update`, but for `content` and `status`, which are the stream's own.

        Raises:
            NotFoundError: If the message or its session is gone.
            ConflictError: If another writer has taken the message over, or the stream has ended.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take more than 16 MiB; nothing is changed.
            NotOpenError: If the store was closed.
        """

    def flush(self) -> Message:
        """Store unstored text and members now, and return the message.

        Raises:
            NotFoundError: If the message or its session is gone.
            ConflictError: If another writer has taken the message over, or the stream has ended.
            UnavailableError: If the server was away for too long; a later flush stores them.
            NotOpenError: If the store was closed.
        """

class SessionMessages(Mirror[AsyncSessionMessages]):
    """Blocking twin of `AsyncSessionMessages`."""

    def stream(
        self,
        session_id: str,
        *,
        create: bool | SessionCreate = False,
        flush_every: float = 0.2,
        **members: Unpack[MessageStart],
    ) -> AbstractContextManager[MessageStream]:
        """Write a message that grows while readers and watchers see it.

        The block begins with a message whose status is `streaming`. Its end stores the rest, shielded from
        cancellation: the status is `complete`, or `interrupted` if the block raised, was cancelled or was
        closed. `AsyncMessageStream` describes what is left if the process dies.

        Args:
            session_id: The session.
            create: Whether to create the session if it is not there, or the members to create it with.
            flush_every: Seconds from a write to the flush that stores it, 5 at most.
            **members: The members that the message begins with; `role` is `assistant` by default.

        Raises:
            NotFoundError: If there is no such session, or it, or the message, is deleted in between.
            ConflictError: If a message of that id is complete, or another writer takes this one over.
            InvalidValueError: If an argument is of the wrong type or out of range.
            DocumentTooLargeError: If the message would take more than 16 MiB; the text before is kept.
            NotOpenError: If the store is closed before the end of the block.
        """

    def watch(
        self, session_id: str, *, after: str | None = None, last: int | None = None
    ) -> Iterator[MessageChange]:
        """Yield the changes of a session's messages until it is deleted.

        They are those from now on, or behind a token.

        Args:
            session_id: The session.
            after: The `token` of the last change seen; no change since then is left out.
            last: The number of the newest messages, 1,000 at most, to yield first, as if they were appended
                now; no change of them since is left out.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            UnsupportedError: If the deployment has no change streams.
            InvalidValueError: If the token is none of a change, `last` is out of range, or both are set.
            TokenExpiredError: If the token is older than the server's history.
        """

    def append(self, session_id: str, message: Message, **options: Unpack[AppendOptions]) -> Message:
        """Append a message exactly once, and return it as it is stored.

        A message whose id is there with the same content is left as it is, and so is the session.
        The options change the session in the same write, or guard that write: see `AppendOptions`.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the id has other content, or `after` or `revision` fail; nothing is written.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """

    def append_many(
        self, session_id: str, messages: Sequence[Message], **options: Unpack[AppendOptions]
    ) -> builtins.list[Message]:
        """Append at most 1,000 messages in order; readers see all or none.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If an id has other content, or `after` or `revision` fail; nothing is written.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB.
        """

    def get(self, session_id: str, message_id: str) -> Message:
        """Return a message.

        Raises:
            NotFoundError: If there is no such session or message.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """

    def find(self, session_id: str, message_id: str) -> Message | None:
        """Return a message; None if the session or the message is not there.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the message cannot be read.
        """

    def describe_document(self, session_id: str, position: int) -> str:
        """Return a stored message, readable or not, in Extended JSON.

        Raises:
            NotFoundError: If there is no such session, or no message at the position.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def exists(self, session_id: str, message_id: str) -> bool:
        """Return whether there is such a message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

    def count(self, session_id: str, *, limit: int | None = None, conversation_id: str | None = None) -> int:
        """Return how many messages a conversation or all have, at most `limit`.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def list(
        self,
        session_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        conversation_id: str | None = None,
    ) -> Page[Message]:
        """Return a page of messages, the first or the last ones, in reading order.

        Args:
            session_id: The session.
            newest: Whether the page ends with the newest messages.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            before: The position before which the messages are.
            after: The position behind which the messages are.
            around: The position in the middle, in place of all other bounds; the next page follows.
            conversation_id: The conversation of the messages, if not of all.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self,
        session_id: str,
        *,
        newest: bool = False,
        conversation_id: str | None = None,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> Iterator[Message]:
        """Yield the messages that are there when the iteration begins, in order.

        They are read a segment at a time.

        Args:
            session_id: The session.
            newest: Whether the newest comes first.
            conversation_id: The conversation of the messages, if not of all.
            errors: A list that collects what cannot be read, so that it does not end the iteration.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If all messages were removed in between.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If a message cannot be read and there is no list of `errors`.
        """

    @staticmethod
    def cursor_of(message: Message) -> str:
        """Return the cursor of the page behind a message, in either direction.

        Raises:
            InvalidValueError: If it is no message, or has no position.
        """

    def update(
        self,
        session_id: str,
        message_id: str,
        *,
        expected: Message | None = None,
        **members: Unpack[MessageUpdate],
    ) -> Message:
        """Change members of a message of any conversation, and return it.

        `content`, `role`, `conversation_id` and `data` are replaced; `metadata` is merged key by key,
        None removing a key. `content` and `status` end a stream that writes the message.

        Raises:
            NotFoundError: If there is no such session or message.
            ConflictError: If the message differs from `expected`, or the session kept changing for too long.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the message would take more than 16 MiB; it is left as it was.
            InvalidDocumentError: If the message cannot be read, after it was changed.
        """

    def upsert(self, session_id: str, message: Message, *, create: bool | SessionCreate = False) -> Message:
        """Replace the message of that id, or append it; return it as stored.

        A message that is replaced keeps its position and its `created_at`; everything else is that
        of the new one. `create` creates a missing session, with members if it is a dict of them.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """

    def replace(self, session_id: str, message: Message) -> Message:
        """Replace the message of that id as `upsert` does; return it as stored.

        Raises:
            NotFoundError: If there is no such session or message.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the message takes more than 16 MiB.
        """

    def replace_newest(
        self, session_id: str, message_ids: Sequence[str], messages: Sequence[Message]
    ) -> builtins.list[Message]:
        """Replace the newest messages by others, of new ids, and return these.

        It is one step. `message_ids` names all the messages that go, the newest of the session, the oldest
        first.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If those are not the newest messages, or a new id is there already.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB.
        """

    def pop(self, session_id: str) -> Message | None:
        """Delete the newest message and return it; None if there is none.

        Raises:
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the message cannot be read; nothing is deleted.
        """

    def delete(self, session_id: str, message_id: str, *, expected: Message | None = None) -> bool:
        """Delete a message but move no other; return whether it existed.

        Raises:
            ConflictError: If the message differs from `expected`, or the session kept changing for too long.
            InvalidValueError: If an id is no plain string.
        """

    def delete_many(self, session_id: str, message_ids: Sequence[str]) -> int:
        """Delete messages in one step, moving no other; return how many existed.

        Raises:
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If an id is no plain string.
        """

    def truncate(self, session_id: str) -> Session:
        """Remove all messages in one step, but no turns; positions begin anew.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session cannot be read, after its messages were removed.
        """

class SessionConversations(Mirror[AsyncSessionConversations]):
    """Blocking twin of `AsyncSessionConversations`."""

    def list(
        self, session_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[Conversation]:
        """Return a page of a session's conversations, in order of beginning.

        It reads all messages of the session.

        Args:
            session_id: The session.
            newest: Whether the page begins with the conversation that began last.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If a message cannot be read.
        """

class SessionContext(Mirror[AsyncSessionContext]):
    """Blocking twin of `AsyncSessionContext`."""

    def get(self, session_id: str) -> Any:
        """Return the context of a session.

        Raises:
            NotFoundError: If there is no such session, or no context.
            ConflictError: If other callers kept replacing the context for too long.
            InvalidValueError: If the id is no plain string.
        """

    def find(self, session_id: str) -> Any | None:
        """Return the context of a session; None without a session or context.

        Raises:
            ConflictError: If other callers kept replacing the context for too long.
            InvalidValueError: If the id is no plain string.
        """

    def set(
        self,
        session_id: str,
        value: Any,
        *,
        create: bool | SessionCreate = False,
        expected: Any = ANY_CONTEXT,
    ) -> None:
        """Store or replace a session's context, any JSON value up to 16 MiB.

        Args:
            session_id: The session.
            value: The context.
            create: Whether to create the session if it is not there, or the members to create it with. That
                is a step before: if the process dies in between, the session is there without the context.
            expected: The context as the caller has read it, if it must not have changed since.

        Raises:
            NotFoundError: If there is no such session, or it is deleted; or if there is no context, and one
                is expected.
            ConflictError: If the context is not as expected, or other callers kept changing the session for
                too long.
            InvalidValueError: If it is no JSON value; names its path.
            DocumentTooLargeError: If it is larger; the context before stays.
        """

    def delete(self, session_id: str, *, expected: Any = ANY_CONTEXT) -> bool:
        """Delete the context of a session and return whether there was one.

        Args:
            session_id: The session.
            expected: The context as the caller has read it, if it must not have changed since.

        Raises:
            ConflictError: If the context is not as expected.
            InvalidValueError: If the id is no plain string.
        """

class SessionParticipants(Mirror[AsyncSessionParticipants]):
    """Blocking twin of `AsyncSessionParticipants`."""

    def create(
        self, session_id: str, participant_id: str, *, revision: int | None = None
    ) -> SessionParticipant:
        """Bind a participant to a session, and return it.

        Args:
            session_id: The session.
            participant_id: The participant.
            revision: The revision that the session must still have.

        Raises:
            AlreadyExistsError: If it is bound already; it keeps what it has there.
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision; nothing was bound.
            InvalidValueError: If an argument is of the wrong type.
            DocumentTooLargeError: If the participants of the session would take more than 1 MB.
        """

    def ensure(self, session_id: str, participant_id: str) -> SessionParticipant:
        """Return a participant, bound if it was not; what it has stays.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept binding and unbinding it for too long.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant is bound and cannot be read.
            DocumentTooLargeError: If the participants of the session would take more than 1 MB.
        """

    def get(self, session_id: str, participant_id: str) -> SessionParticipant:
        """Return a participant.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant cannot be read.
        """

    def find(self, session_id: str, participant_id: str) -> SessionParticipant | None:
        """Return a participant; None without such a session or participant.

        Raises:
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If the participant cannot be read.
        """

    def list(
        self, session_id: str, *, newest: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionParticipant]:
        """Return a page of participants, in the order in which they were bound.

        Args:
            session_id: The session.
            newest: Whether the page begins with the participant that was bound last.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If the participants cannot be read.
        """

    def delete(self, session_id: str, participant_id: str, *, revision: int | None = None) -> bool:
        """Unbind a participant with all it has; return whether it was bound.

        Its turns and insights go in the same step. If it is bound again, its numbers begin anew.

        Args:
            session_id: The session.
            participant_id: The participant.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision, or other callers kept changing it for too
                long; nothing was removed.
            InvalidValueError: If an argument is of the wrong type.
        """

class SessionBranches(Mirror[AsyncSessionBranches]):
    """Blocking twin of `AsyncSessionBranches`."""

    def append_many(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        parent_id: str | None = None,
        create: bool | SessionCreate = False,
        update: SessionUpdate | None = None,
        revision: int | None = None,
    ) -> builtins.list[Message]:
        """Append a chain of messages that continues another one, exactly once.

        Args:
            session_id: The session.
            messages: As for `messages.append_many`; their `conversation_id` becomes that of the branch.
            parent_id: The message that the first of them continues; None if it continues none.
            create: Whether to create the session if it is not there, or the members to create it with.
            update: Members of the session that the same write changes.
            revision: The revision that the session must still have.

        Returns:
            The messages as they are stored, with their times, conversation and positions.

        Raises:
            NotFoundError: If there is no such session or message, or the session is deleted.
            ConflictError: If an id is there with other content, the session has another revision, or
                others have appended in between; nothing was written.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a message takes more than 16 MiB, or the branches more than 4 MiB.
        """

    def list(
        self,
        session_id: str,
        message_id: str | Callable[[Session], str | None],
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Message]:
        """Return a page of a message and those that lead to it, in order.

        Args:
            session_id: The session.
            message_id: The last of the messages, or a function that returns its id, or None for no
                messages, of the session as the same command has read it.
            newest: Whether the page ends with the last ones.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.

        Raises:
            NotFoundError: If there is no such session or message, or the session is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
            InvalidDocumentError: If the session cannot be read, and a function wants it.
        """

    def find_by_message(self, message_id: str) -> Session | None:
        """Return a session with a message in one of its branches, or None.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session cannot be read.
        """

class SessionTurns(Mirror[AsyncSessionTurns]):
    """Blocking twin of `AsyncSessionTurns`."""

    def append(
        self, session_id: str, participant_id: str, turn: Turn, *, revision: int | None = None
    ) -> Turn:
        """Append a turn exactly once, and return it with its number.

        A turn whose id is there with the same content is left as it is.

        Args:
            session_id: The session.
            participant_id: The participant.
            turn: The turn.
            revision: The revision that the session must still have.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the id is there with other content, the session has another revision, or other
                callers kept changing it for too long; nothing was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the turn takes too much.
        """

    def append_many(
        self, session_id: str, participant_id: str, turns: Sequence[Turn], *, revision: int | None = None
    ) -> builtins.list[Turn]:
        """Append turns in order, all or none, and return them with numbers.

        They are no messages of the session. Each participant's are numbered from 1 without gaps.

        Args:
            session_id: The session.
            participant_id: The participant.
            turns: At most 1,000.
            revision: The revision that the session must still have.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If an id is there with other content, the session has another revision, or other
                callers kept changing it for too long; none was appended.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If a turn takes more than 16 MiB; none was appended.
        """

    def count(self, session_id: str, participant_id: str, *, limit: int | None = None) -> int:
        """Return the number of a participant's turns, at most `limit`.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def list(
        self,
        session_id: str,
        participant_id: str,
        *,
        newest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        after: int | None = None,
    ) -> Page[Turn]:
        """Return a page of a participant's first or last turns, in order.

        Args:
            session_id: The session.
            participant_id: The participant.
            newest: Whether the page ends with the newest turns.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            after: The number behind which the turns are.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the session kept changing under the reader for too long.
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self,
        session_id: str,
        participant_id: str,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
    ) -> Iterator[Turn]:
        """Yield the turns of a participant, in order.

        They are those that are there when the iteration begins.

        Args:
            session_id: The session.
            participant_id: The participant.
            newest: Whether the newest comes first.
            errors: A list that collects what cannot be read, so that it does not end the iteration.

        Raises:
            NotFoundError: If there is no such session or participant, or the session is deleted.
            ConflictError: If the turns were removed in between.
            InvalidValueError: If an id is no plain string.
            InvalidDocumentError: If a turn cannot be read and there is no list of `errors`.
        """

    def integrate(
        self,
        session_id: str,
        integrator: Integrator,
        *,
        executor: Executor | None = None,
        revision: int | None = None,
    ) -> Integration:
        """Give participants' new turns to an integrator; store its insights.

        New are the turns behind `integrated_until` that are there when the call begins. The insights
        are added and the marker moves in one step, so each turn is covered once, also if several
        callers integrate at the same time: turns that another call has covered are left to it, and these
        insights are dropped. The integrator is not called where nothing is new. If it raises, or returns
        something else than a list of JSON values, or more than the session can hold, nothing changes for
        this participant, and the others go on.

        Args:
            session_id: The session.
            integrator: Called with a participant's id and its new turns; it may take ten minutes, else it has
                failed with `TimeoutError`. A coroutine function is awaited, anything else runs in a thread.
            executor: The executor of those threads; by default each call has a new daemon thread.
            revision: The revision that the session must still have when the first insights are stored.

        Raises:
            NotFoundError: If there is no such session, or it is deleted, also in between.
            ConflictError: If the session has another revision, or other callers kept changing it for too
                long.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the session or a turn cannot be read.
        """

class Namespaces(Mirror[AsyncNamespaces]):
    """Blocking twin of `AsyncNamespaces`."""

    def exists(self, namespace: str) -> bool:
        """Return whether a namespace has sessions.

        Raises:
            InvalidValueError: If the name is no plain string.
        """

    def list(self, *, limit: int = 50, cursor: str | None = None, newest: bool = False) -> Page[str]:
        """Return a page of namespaces, in alphabetical order.

        Args:
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            newest: Whether the page is taken from the end of the alphabet, backwards.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter_sessions(self, session_id: str) -> Iterator[Session]:
        """Yield the sessions that have an id, in alphabetical order of their namespaces.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If one of them cannot be read.
        """

    def list_sessions(
        self,
        *,
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[SessionFilter],
    ) -> Page[Session]:
        """Return a page of sessions of all namespaces, by newest activity.

        Sessions that cannot be read are in the `errors` of the page. With `text` a page may be short, even
        empty, while others follow.

        Args:
            newest: Whether the most recently active come first.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments, or what
                `store.sessions.cursor_of` gives.
            **where: Which sessions.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(self) -> Iterator[str]:
        """Yield all namespaces, in alphabetical order.

        Raises:
            MongoStoreError: If the server refuses.
        """

class Sessions(Mirror[AsyncSessions]):
    """Blocking twin of `AsyncSessions`."""

    messages: SessionMessages
    branches: SessionBranches
    conversations: SessionConversations
    context: SessionContext
    participants: SessionParticipants
    turns: SessionTurns
    namespaces: Namespaces

    def in_namespace(self, namespace: str) -> Sessions:
        """Return the same verbs for another namespace, apart from all others.

        Raises:
            InvalidValueError: If the name is no plain string, is empty or has a slash.
        """

    @property
    def namespace(self) -> str:
        """The namespace of these sessions."""

    def create(self, session_id: str | None = None, **members: Unpack[SessionCreate]) -> Session:
        """Create a session, by default with a new id and the current time.

        Args:
            session_id: The session's id.
            **members: `user_id`, `name`, `description`, `data`, `metadata` and `created_at`; `participants`
                are bound from the start; from `expires_at` on, or after `expires_in`, it is not found.

        Raises:
            AlreadyExistsError: If the id is taken, also by a softly deleted session.
            InvalidValueError: If a value cannot be stored, or a participant comes twice; names its path.
            DocumentTooLargeError: If `data`, or `name`, `description` and `metadata` together, exceed 4 MiB.
        """

    def ensure(self, session_id: str, **members: Unpack[SessionCreate]) -> Session:
        """Return a session, created with these members if it is not there.

        Args:
            session_id: The session's id.
            **members: As for `create`; without effect on a session that is there.

        Raises:
            NotFoundError: If the session is softly deleted.
            ConflictError: If other callers kept creating and deleting it for too long.
            InvalidValueError: If a value cannot be stored, or a participant comes twice; names its path.
            InvalidDocumentError: If the session is there and cannot be read.
            DocumentTooLargeError: If `data` or `metadata` take more than 4 MiB.
        """

    def get(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def find(self, session_id: str, *, deleted: bool | None = False) -> Session | None:
        """Return a session; None if there is none.

        Args:
            session_id: The session.
            deleted: False for one that is not deleted, True for a softly deleted one, None for either.

        Raises:
            InvalidValueError: If the id is no plain string, or an argument is of the wrong type.
            InvalidDocumentError: If it cannot be read.
        """

    def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, not deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

    def list(
        self,
        *,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[SessionFilter],
    ) -> Page[Session]:
        """Return a page of sessions, the most recently active first.

        Each comes with its newest message. Sessions that cannot be read are in the `errors` of the page. With
        `text` a page may be short, even empty, while others follow.

        Args:
            order: By newest activity (`active`), or by creation (`created`), which stands still while
                sessions become active, come and go.
            newest: Whether the newest come first.
            limit: The size of the page, 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same other arguments.
            **where: Which sessions.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def iter(
        self,
        *,
        newest: bool = False,
        errors: builtins.list[InvalidDocumentError] | None = None,
        **where: Unpack[SessionFilter],
    ) -> Iterator[Session]:
        """Yield all sessions by their creation, each once and none missed.

        Args:
            newest: Whether the newest come first.
            errors: A list that collects what cannot be read, so that it does not end the iteration.
            **where: Which sessions.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a session cannot be read and there is no list of `errors`.
        """

    @staticmethod
    def cursor_of(session: Session, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page that begins after a session.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """

    def count(self, *, limit: int | None = None, **where: Unpack[SessionFilter]) -> int:
        """Return the number of sessions, at most `limit`.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def update(
        self, session_id: str, *, revision: int | None = None, **members: Unpack[SessionUpdate]
    ) -> Session:
        """Change members of a session, and return it as it now is.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.
            **members: `user_id`, `name`, `description`, `data` and `expires_at` are replaced; `metadata` is
                merged key by key, None removing a key unless `unset` names the keys to remove, as
                `metadata.<key>`; `expires_in` sets `expires_at` from now.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision; nothing was changed.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the session would take too much; it is left as it was.
            InvalidDocumentError: If the session cannot be read, after it was changed.
        """

    def truncate(self, session_id: str, *, revision: int | None = None) -> Session:
        """Remove a session's messages, turns, insights and `data` in one step; return it as it now is.

        All else stays, participants among it. Positions begin anew from 0, numbers of turns from 1.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If the session has another revision, or others kept changing it for too long.
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If the session cannot be read, after it was emptied.
        """

    def soft_delete(self, session_id: str, *, revision: int | None = None) -> bool:
        """Hide a session until `undelete`, and return whether it was there.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision; it is not hidden.
            InvalidValueError: If an argument is of the wrong type.
        """

    def undelete(self, session_id: str) -> Session:
        """Bring back a softly deleted session with all its parts, and return it.

        Raises:
            NotFoundError: If there is no such session.
            ConflictError: If it is not deleted.
            InvalidValueError: If the id is no plain string.
        """

    def delete(self, session_id: str, *, revision: int | None = None) -> bool:
        """Delete a session for good with all parts; return whether it was there.

        A softly deleted one is deleted, too.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision; nothing was deleted.
            InvalidValueError: If an argument is of the wrong type.
        """

    def describe_storage(self, session_id: str, *, outline: bool = True) -> StorageLayout:
        """Return where a session's messages lie; with its outline, for which the sizes of all parts are read.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If the id is no plain string, or an argument is of the wrong type.
        """
