"""The blocking twins, written by `python -m tests.stubs` for type checkers: not to be edited."""

import builtins
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any, Unpack

from mongostore.diagnostics import CheckResult
from mongostore.engines import CollectionUsage, Deployment
from mongostore.errors import InvalidDocumentError
from mongostore.indexing import IndexReport
from mongostore.models import (
    ApiKey,
    Binding,
    Change,
    ChatTurn,
    Conversation,
    Element,
    Event,
    EventFilter,
    EventMembers,
    Feedback,
    File,
    Identity,
    Integration,
    Integrator,
    Layout,
    Lease,
    ListOrder,
    Message,
    MessageMembers,
    Observation,
    Page,
    Participant,
    Room,
    RoomContext,
    RoomFilter,
    RoomMembers,
    RoomState,
    Session,
    SessionMembers,
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
from mongostore.repositories.threads.content import Content
from mongostore.sync.mirror import Mirror

class StoreVerbs:
    """The verbs of `MongoStore` that its core alone carries out."""

    def check_indexes(self) -> list[IndexReport]:
        """Return every index of the store's collections, defined or found, with how the two compare.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """

    def apply_indexes(self) -> list[IndexReport]:
        """Create the indexes that are missing, also beside some that differ; those stay as they are.

        Returns:
            What `check_indexes` finds after that.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """

    def describe(self) -> Deployment:
        """Return what the deployment is, how fast it answers and how many connections it has.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """

    def diagnose(self) -> list[CheckResult]:
        """Return what each check of the deployment finds: its topology, rights, clock, indexes and more.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """

    def usage(self) -> list[CollectionUsage]:
        """Return how much each of the store's collections holds.

        Raises:
            MongoStoreError: What the server refused, by its meaning.
        """

class SyncSessionRepository(Mirror[SessionRepository]):
    """Blocking twin of `SessionRepository`."""

    def in_namespace(self, namespace: str) -> SyncSessionRepository:
        """Return the same verbs for another namespace, whose sessions are apart from all others.

        Raises:
            InvalidValueError: The name is no plain string, is empty or has a slash.
        """

    def create(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        name: str | None = None,
        description: str | None = None,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
        participants: Sequence[str] = (),
    ) -> Session:
        """Create a session, with an id of its own when none is given, and as of now unless a time is given.

        The participants are bound from the start.

        Raises:
            AlreadyExistsError: The id is taken, if only by a deleted session.
            InvalidValueError: A value cannot be stored, or a participant comes twice; names its path.
            DocumentTooLargeError: `data` or `metadata` take more than 4 MiB.
        """

    def get(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, session_id: str) -> Session | None:
        """Return a session, None where there is none or it is deleted.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, not deleted.

        Raises:
            InvalidValueError: The id is no plain string.
        """

    def list(
        self,
        *,
        user_id: str | None = None,
        deleted: bool | None = False,
        oldest: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Session]:
        """Return a page of the namespace's sessions, each with its last message, newest activity first.

        Args:
            user_id: Only those of one user.
            deleted: False for the open ones, True for the deleted ones, None for both.
            oldest: In the order of their creation instead, the oldest first, which stands still while
                sessions become active, come and go.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before, in the same order.

        Returns:
            The page; sessions that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def iter(self, *, user_id: str | None = None, deleted: bool | None = False) -> Iterator[Session]:
        """Yield the namespace's sessions by id, passing over those that cannot be read.

        The order of ids stands still while sessions become active, so that none is missed or met twice.

        Args:
            user_id: Only those of one user.
            deleted: False for the open ones, True for the deleted ones, None for both.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def count(self, *, user_id: str | None = None, deleted: bool | None = False) -> int:
        """Return how many sessions there are.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def update(
        self, session_id: str, *, revision: int | None = None, **members: Unpack[SessionMembers]
    ) -> Session:
        """Change the given members of a session; the others stay.

        Args:
            session_id: The session.
            revision: Change it only if it still has this revision.
            **members: `user_id`, `name`, `description` and `data` are replaced; `metadata` is merged key
                by key, None removing a key.

        Returns:
            The session as it now is.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: It has another revision; nothing was changed.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """

    def truncate(self, session_id: str) -> Session:
        """Clear the session's `data`, and remove all its messages and all insights, in one step.

        All else stays, participants among it. Positions start from 0 again, numbers of chat turns from 1.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: The id is no plain string.
        """

    def delete(self, session_id: str) -> bool:
        """Delete a session softly and return whether it was there; `restore` brings it back whole.

        Raises:
            InvalidValueError: The id is no plain string.
        """

    def restore(self, session_id: str) -> Session:
        """Bring back a softly deleted session with everything it had.

        Raises:
            NotFoundError: There is no such session.
            ConflictError: It is not deleted.
            InvalidValueError: The id is no plain string.
        """

    def purge(self, session_id: str) -> Session | None:
        """Remove a session, deleted or not, with everything that hangs on it, for good.

        Returns:
            The session as it last was; None where there was none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It is removed, but cannot be read for the answer.
        """

    def append_message(self, session_id: str, message: Message) -> Message:
        """Append a message, exactly once however often the call is repeated.

        A message whose id is there with the same content is left as it is.

        Returns:
            The message as it is stored, with its times; its position is known once it is read.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: The id is there with other content.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: The message takes more than 16 MiB.
        """

    def append_messages(self, session_id: str, messages: Sequence[Message]) -> builtins.list[Message]:
        """Append messages so that readers see all or none of them, in the order given.

        Args:
            session_id: The session.
            messages: At most 1,000, taking at most 8 MiB beside those that are larger than 1 MiB each.

        Returns:
            The messages as they are stored.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: An id is there with other content; nothing was appended.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: A message, or all of them together, take too much.
        """

    def update_message(self, session_id: str, message_id: str, **members: Unpack[MessageMembers]) -> None:
        """Change the given members of a message; the others stay.

        Args:
            session_id: The session.
            message_id: The message, in whichever conversation.
            **members: `content`, `role`, `conversation_id` and `data` are replaced; `metadata` is merged
                key by key, None removing a key.

        Raises:
            NotFoundError: There is no such session or message.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: The message would take more than 16 MiB; it is left as it was.
        """

    def upsert_message(self, session_id: str, message: Message) -> bool:
        """Put a message in the place of the one with its id, or append it; return whether it was new.

        A message that is replaced keeps its position and its `created_at`; everything else is that
        of the new one.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: The message takes more than 16 MiB.
        """

    def get_message(self, session_id: str, message_id: str) -> Message:
        """Return a message.

        Raises:
            NotFoundError: There is no such session or message.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def delete_message(self, session_id: str, message_id: str) -> bool:
        """Remove a message and return whether it was there; the others keep their positions.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: An id is no plain string.
        """

    def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        """Remove messages, or all of them when none is named, in one step; return how many were there.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: An id is no plain string.
        """

    def list_messages(
        self,
        session_id: str,
        *,
        limit: int = 50,
        newest: bool = False,
        before: int | str | None = None,
        after: int | str | None = None,
        conversation_id: str | None = None,
    ) -> Page[Message]:
        """Return a page of messages, always in ascending order.

        Args:
            session_id: The session.
            limit: How many at most, 1 to 1000.
            newest: The last messages, not the first.
            before: The last messages before this position.
            after: The first messages behind this position.
            conversation_id: Only those of one conversation.

        Returns:
            The page. Its `next_cursor` goes on in the same direction: hand it back as `after`, or as
            `before` when the page was read backwards.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: An argument is of the wrong type or out of range, or two directions are given.
        """

    def iter_messages(self, session_id: str, *, conversation_id: str | None = None) -> Iterator[Message]:
        """Yield the messages that are there when the iteration begins, in order, a segment at a time.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: All messages were removed meanwhile.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: A message cannot be read; `list_messages` passes over it.
        """

    def count_messages(self, session_id: str) -> int:
        """Return the number of messages.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
        """

    def conversations(self, session_id: str) -> builtins.list[Conversation]:
        """Return the conversations of a session in the order in which they began; reads all its messages.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: A message cannot be read.
        """

    def layout(self, session_id: str) -> Layout:
        """Return where the session's messages lie: in its own document, and in how many segments.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
        """

    def watch(self, session_id: str, *, after: str | None = None) -> Iterator[Change]:
        """Yield what happens to a session's messages from now on, or from a token on, until it is deleted.

        Break off with `aclose()` (or `contextlib.aclosing`) to let go of the server's stream at once.

        Args:
            session_id: The session.
            after: The `token` of the last change seen; nothing since then is left out.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            UnsupportedError: The deployment has no change streams.
            InvalidValueError: The token is none of ours.
            ConflictError: The token is older than the server's history.
        """

    def bind_participant(self, session_id: str, participant: str) -> bool:
        """Bind a participant to a session, and return whether it was not; what it has there stays.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: An id is no plain string.
            DocumentTooLargeError: The session takes all that a document can hold.
        """

    def unbind_participant(self, session_id: str, participant: str) -> bool:
        """Remove a participant with its chat turns, insights and marker; return whether it was bound.

        All of it goes in one step, and what binds it again begins anew.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: An id is no plain string.
        """

    def list_participants(self, session_id: str) -> builtins.list[SessionParticipant]:
        """Return the participants of a session, in the order in which they were bound.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: They cannot be read.
        """

    def append_chat_turns(self, session_id: str, participant: str, turns: Sequence[ChatTurn]) -> int:
        """Append chat turns of a participant, all or none of them, and return how many came in so far.

        They are messages of the session, in the conversation that has the participant's id, and beside
        their positions there they are numbered from 1 without gaps.

        Args:
            session_id: The session.
            participant: The participant.
            turns: At most 1,000, taking at most 8 MiB beside those that are larger than 1 MiB each.

        Raises:
            NotFoundError: There is no such session or participant, or the session is deleted.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: A turn, or all of them together, take too much; none was appended.
        """

    def list_chat_turns(
        self, session_id: str, participant: str, *, after: int | str = 0, limit: int = 50
    ) -> Page[ChatTurn]:
        """Return a page of a participant's chat turns, in ascending order.

        Args:
            session_id: The session.
            participant: The participant.
            after: The first turns behind this number, or behind a page's `next_cursor`.
            limit: How many at most, 1 to 1000.

        Raises:
            NotFoundError: There is no such session or participant, or the session is deleted.
            ConflictError: The session kept changing under the reader for too long.
            InvalidValueError: An argument is of the wrong type or out of range.
        """

    def iter_chat_turns(self, session_id: str, participant: str) -> Iterator[ChatTurn]:
        """Yield the chat turns of a participant that are there when the iteration begins, in order.

        Raises:
            NotFoundError: There is no such session or participant, or the session is deleted.
            ConflictError: They were removed meanwhile.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: A turn cannot be read; `list_chat_turns` passes over it.
        """

    def integrate(
        self, session_id: str, integrator: Integrator, *, executor: Executor | None = None
    ) -> Integration:
        """Hand each participant's new chat turns to an integrator, and keep the insights that it gives.

        New are the turns behind `last_integration_turn` that are there when the call begins. The insights
        are added and the marker moves in one step, so each turn is counted once, whoever else integrates:
        what another call has covered meanwhile is left to it, and these insights are dropped. The
        integrator is not called where nothing is new; where it raises, or gives what is no list of JSON
        values or more than the session can hold, nothing changes for this participant, and the others go on.

        Args:
            session_id: The session.
            integrator: Called with a participant and its new turns; it may take as long as it likes. A
                coroutine function is awaited, anything else runs in a thread.
            executor: Whose threads those are; the event loop's own unless given.

        Raises:
            NotFoundError: There is no such session, or it is deleted, if only meanwhile.
            ConflictError: Others kept changing the session for too long.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: The session or a turn cannot be read.
        """

    def get_context(self, session_id: str) -> Any:
        """Return the context messages, in the shape in which they were set.

        Raises:
            NotFoundError: There is no such session, or nothing was set.
            InvalidValueError: The id is no plain string.
        """

    def set_context(self, session_id: str, context: Any) -> None:
        """Put context messages, any JSON value of up to 16 MiB, in the place of those that are there.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: It is no JSON value; names its path.
            DocumentTooLargeError: It is larger; what was there stays.
        """

    def delete_context(self, session_id: str) -> bool:
        """Remove the context messages and return whether there were any.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            InvalidValueError: The id is no plain string.
        """

class SyncRoomRepository(Mirror[RoomRepository]):
    """Blocking twin of `RoomRepository`."""

    def create(self, room: Room) -> Room:
        """Create a room with the counters that it brings; it is never created twice.

        Returns:
            The room as it is stored.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def get(self, room_id: str) -> Room:
        """Return a room.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, room_id: str) -> Room | None:
        """Return a room, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def exists(self, room_id: str) -> bool:
        """Return whether there is such a room.

        Raises:
            InvalidValueError: The id is no plain string.
        """

    def context(self, room_id: str) -> RoomContext | None:
        """Return a room with its bindings and participants, in one round trip; None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: One of them cannot be read.
        """

    def list(
        self,
        *,
        where: RoomFilter | None = None,
        metadata: dict[str, Any] | None = None,
        limit: int = 50,
        offset: int = 0,
        cursor: str | None = None,
    ) -> Page[Room]:
        """Return a page of rooms, the oldest first: by the time of their creation, then by id.

        Args:
            where: Which rooms.
            metadata: Each of these keys has this value, compared as Python compares. They are found by an
                index of single values; what it finds too much is read and left out.
            limit: How many at most, 1 to 1000.
            offset: How many to pass over; a cursor does that at no cost.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; rooms that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def iter(
        self, *, where: RoomFilter | None = None, metadata: dict[str, Any] | None = None
    ) -> Iterator[Room]:
        """Yield rooms, the oldest first, passing over those that cannot be read.

        Args:
            where: Which rooms.
            metadata: Each of these keys has this value.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def count(self, *, where: RoomFilter | None = None, metadata: dict[str, Any] | None = None) -> int:
        """Return how many rooms there are.

        Args:
            where: Which rooms.
            metadata: Each of these keys has this value.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def delete(self, room_id: str) -> bool:
        """Delete a room for good, with all that hangs on it but identities; return whether it was there.

        From the first moment on nobody finds the room or adds to it. A deletion that is cut short goes on
        when the room is deleted or created again.

        Raises:
            InvalidValueError: The id is no plain string.
        """

    def update(self, room_id: str, **members: Unpack[RoomMembers]) -> Room:
        """Change the given members of a room; the others stay.

        Args:
            room_id: The room.
            **members: Those of `RoomMembers`; `metadata` is merged key by key, None removing a key.

        Returns:
            The room as it now is.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """

    def merge_metadata(self, room_id: str, metadata: dict[str, Any], *, unset: Sequence[str] = ()) -> Room:
        """Merge metadata into those of a room, where None is a value as any other.

        Args:
            room_id: The room.
            metadata: Keys with their new values.
            unset: Keys to be removed before that.

        Returns:
            The room as it now is.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """

    def replace(self, room: Room, *, expected: RoomState | None = None) -> Room:
        """Replace all members of a room but its counters, its creation and what is private.

        Args:
            room: The room as it is to be.
            expected: Replace it only if it is still in this state.

        Returns:
            The room as it now is, with the stored counters.

        Raises:
            NotFoundError: There is no such room.
            ConflictError: It is in another state; nothing was changed.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """

    def get_delivered_index(self, room_id: str) -> int:
        """Return the index up to which all events are delivered.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: The id is no plain string.
        """

    def advance_delivered_index(self, room_id: str, index: int, *, force: bool = False) -> bool:
        """Move the delivered index on to `index` and return whether that was its turn.

        Args:
            room_id: The room.
            index: The event that is delivered now.
            force: Move from any lower index, and not from the one before alone.

        Raises:
            InvalidValueError: The id is no plain string, or the index no integer.
        """

    def get_private(self, room_id: str, key: str) -> Any:
        """Return what the service keeps for itself about a room under a key; None where there is nothing.

        Raises:
            InvalidValueError: The id or the key is no plain string.
        """

    def set_private(self, room_id: str, key: str, value: Any) -> bool:
        """Keep something about a room that is no part of it, and drop the same key from its metadata.

        Args:
            room_id: The room.
            key: Its name.
            value: Any JSON value; None removes the key.

        Returns:
            Whether there is such a room.

        Raises:
            InvalidValueError: The id or the key is no plain string, or the value cannot be stored.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def find_latest(
        self, participant_id: str, *, channel_type: str | None = None, where: RoomFilter | None = None
    ) -> Room | None:
        """Return the newest room that somebody is in, as a participant or as a binding's correspondent.

        Args:
            participant_id: Who.
            channel_type: Count bindings of this type of channel alone; participants count anyway.
            where: Which rooms.

        Raises:
            InvalidValueError: An argument is of the wrong type.
            InvalidDocumentError: The room cannot be read.
        """

    def find_by_binding(
        self,
        channel_id: str,
        names: Sequence[str],
        *,
        recipient: tuple[str, str] | None = None,
        where: RoomFilter | None = None,
    ) -> str | None:
        """Return the id of the newest room whose binding of a channel is somebody's.

        Args:
            channel_id: The channel; a binding speaks for its own channel alone.
            names: The binding's correspondent is one of these.
            recipient: Or, as a key and an address: the binding names no correspondent, is no group, and has
                that address, a text or an integer, under that key of its metadata.
            where: Which rooms.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def find_by_participant(
        self, channel_id: str, names: Sequence[str], *, where: RoomFilter | None = None
    ) -> str | None:
        """Return the id of the newest room with a participant who was reached through a channel.

        Args:
            channel_id: The channel.
            names: The participant's id or identity is one of these.
            where: Which rooms.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def list_by_channel(
        self,
        channel_id: str,
        *,
        group: bool | None = None,
        where: RoomFilter | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> builtins.list[str]:
        """Return the ids of the rooms that a channel is bound to, the oldest first.

        Args:
            channel_id: The channel.
            group: Whether the binding is a group's; None for both.
            where: Which rooms.
            limit: How many at most, 1 to 1000.
            offset: How many to pass over.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range.
        """

class SyncEventRepository(Mirror[EventRepository]):
    """Blocking twin of `EventRepository`."""

    def commit(self, event: Event, *, target: Event | None = None, activity: bool = True) -> Event:
        """Give an event the next index of its room, store it and move the room's counters, as one step.

        Events of one room become visible in the order of their indexes, whoever commits them. On a server
        without transactions a crash midway may leave an index that no event has.

        Args:
            event: The event; an index that it has is ignored.
            target: The event that this one edits or deletes, as it is to be: replaced in the same step.
                A delete also marks all edits of its target, which hold what it said, as deleted.
            activity: Whether the room was active by that: moves `last_activity_at`, wakes a paused room.

        Returns:
            The event with its index.

        Raises:
            NotFoundError: There is no such room, or it has no such target; nothing was written.
            AlreadyExistsError: The event's id is taken, or its idempotency key in its room and channel
                (`kind` tells which); nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def create(self, event: Event) -> Event:
        """Store an event at its own index, or at the next one if it has none; the room's counters stay.

        Returns:
            The event with its index.

        Raises:
            NotFoundError: There is no such room.
            AlreadyExistsError: Its id, its index or its idempotency key is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def update(self, event_id: str, **members: Unpack[EventMembers]) -> Event:
        """Change the given members of an event; the others stay.

        Args:
            event_id: The event.
            **members: Those of `EventMembers`; `metadata` is merged key by key, None removing a key.

        Returns:
            The event as it now is.

        Raises:
            NotFoundError: There is no such event.
            InvalidValueError: A value cannot be stored, or there is no such member.
            DocumentTooLargeError: It would take too much; it is left as it was.
        """

    def replace(self, event: Event, *, erase_edits: bool = False) -> None:
        """Replace all members of an event but its index, its creation and what became of its delivery.

        Args:
            event: The event as it is to be.
            erase_edits: Mark all edits of it, which hold what it said, as deleted in the same step.

        Raises:
            NotFoundError: Its room has no such event.
            AlreadyExistsError: Its idempotency key is taken by another event.
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def record_delivery(self, room_id: str, event_id: str, results: dict[str, Any]) -> bool:
        """Note what became of an event's delivery, and nothing else of it; return whether the room has it.

        Raises:
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: They take more than a document can hold.
        """

    def delete(self, room_id: str, event_id: str, *, replies: bool = True) -> builtins.list[Event]:
        """Delete an event for good, with all edits and deletes of what goes; counters and indexes stay.

        Args:
            room_id: The room.
            event_id: The event.
            replies: Whether the replies in the thread that it began go with it.

        Returns:
            What went: the event, its replies, then the changes, each by index; nothing if the room has no
            such event.

        Raises:
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: One of them cannot be read; nothing was deleted.
        """

    def watch(self, room_id: str, *, after: int | None = None) -> Iterator[Event]:
        """Yield a room's events as they are committed, each once and in order, until the room is deleted.

        Needs a replica set or the embedded engine. A connection that is lost is made again, and the watching
        goes on behind the last event; whoever starts anew hands its index to `after`.

        Args:
            room_id: The room.
            after: Begin with the events above this index, -1 for all; None for those from now on.

        Raises:
            NotFoundError: There is no such room.
            UnsupportedError: This deployment has no change streams.
            InvalidValueError: An argument is of the wrong type.
        """

    def get(self, event_id: str) -> Event:
        """Return an event.

        Raises:
            NotFoundError: There is no such event.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, event_id: str) -> Event | None:
        """Return an event, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find_by_key(self, room_id: str, key: str, *, channel_id: str | None = None) -> Event | None:
        """Return the event of a room that has an idempotency key, blocked or not; None where it is free.

        Args:
            room_id: The room.
            key: The idempotency key.
            channel_id: The channel that the key belongs to; None for any, and then the event of the lowest
                index.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: The event cannot be read.
        """

    def list(
        self,
        room_id: str,
        *,
        where: EventFilter | None = None,
        limit: int = 50,
        offset: int = 0,
        newest: bool = False,
        before: int | str | None = None,
        after: int | str | None = None,
    ) -> Page[Event]:
        """Return a page of a room's events, ascending by index, without the blocked ones unless asked.

        Args:
            room_id: The room.
            where: Which events.
            limit: How many at most, 1 to 1000.
            offset: How many to pass over, from the end where the page is taken; indexes do that at no cost.
            newest: The last ones and not the first.
            before: The last ones below this index, or before a page's `next_cursor`.
            after: The first ones above this index, or after a page's `next_cursor`.

        Returns:
            The page; hand its `next_cursor` to `after`, or to `before` where the page was taken from the
            end. Events that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range.
        """

    def iter(self, room_id: str, *, where: EventFilter | None = None) -> Iterator[Event]:
        """Yield a room's events by index, passing over those that cannot be read.

        Args:
            room_id: The room.
            where: Which events.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def count(self, room_id: str, *, where: EventFilter | None = None) -> int:
        """Return how many events a room holds: all of them, or exactly those that a list would show.

        Args:
            room_id: The room.
            where: Which events; None for all, the blocked ones too.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

    def threads(self, room_id: str, event_ids: Sequence[str]) -> dict[str, ThreadSummary]:
        """Return the threads that events of a room have begun, by their ids; without replies there is none.

        Raises:
            InvalidValueError: An argument is of the wrong type.
        """

class SyncBindingRepository(Mirror[BindingRepository]):
    """Blocking twin of `BindingRepository`."""

    def upsert(self, binding: Binding) -> Binding:
        """Attach a channel to a room, or replace how it is attached; it keeps its place among the others.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def get(self, room_id: str, channel_id: str) -> Binding:
        """Return how a channel is attached to a room.

        Raises:
            NotFoundError: It is not.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, room_id: str, channel_id: str) -> Binding | None:
        """Return how a channel is attached to a room, None where it is not.

        Raises:
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def exists(self, room_id: str, channel_id: str) -> bool:
        """Return whether a channel is attached to a room.

        Raises:
            InvalidValueError: An id is no plain string.
        """

    def delete(self, room_id: str, channel_id: str) -> bool:
        """Detach a channel from a room and return whether it was attached.

        Raises:
            InvalidValueError: An id is no plain string.
        """

    def list(self, room_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[Binding]:
        """Return a page of those of a room, in the order in which they came.

        Args:
            room_id: The room.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; what cannot be read is in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def iter(self, room_id: str) -> Iterator[Binding]:
        """Yield all those of a room, in the order in which they came, passing over what cannot be read.

        Raises:
            InvalidValueError: The id is no plain string.
        """

class SyncParticipantRepository(Mirror[ParticipantRepository]):
    """Blocking twin of `ParticipantRepository`."""

    def upsert(self, participant: Participant) -> Participant:
        """Add a participant to a room, or replace one, who keeps the place among the others.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def get(self, room_id: str, participant_id: str) -> Participant:
        """Return a participant of a room.

        Raises:
            NotFoundError: There is none of that id.
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, room_id: str, participant_id: str) -> Participant | None:
        """Return a participant of a room, None where there is none of that id.

        Raises:
            InvalidValueError: An id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def delete(self, room_id: str, participant_id: str) -> bool:
        """Remove a participant from a room and return whether it was there.

        Raises:
            InvalidValueError: An id is no plain string.
        """

    def list(self, room_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[Participant]:
        """Return a page of those of a room, in the order in which they came.

        Args:
            room_id: The room.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; what cannot be read is in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def iter(self, room_id: str) -> Iterator[Participant]:
        """Yield all those of a room, in the order in which they came, passing over what cannot be read.

        Raises:
            InvalidValueError: The id is no plain string.
        """

class SyncIdentityRepository(Mirror[IdentityRepository]):
    """Blocking twin of `IdentityRepository`."""

    def create(self, identity: Identity) -> Identity:
        """Store an identity with all its addresses.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            ConflictError: An address belongs to another identity; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def get(self, identity_id: str) -> Identity:
        """Return an identity.

        Raises:
            NotFoundError: There is no such identity.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, identity_id: str) -> Identity | None:
        """Return an identity, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find_by_address(
        self, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> Identity | None:
        """Return the identity that has an address in an organization, or in none; None where nobody has it.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def list(
        self, *, organization_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Identity]:
        """Return a page of the identities of an organization, or of none, by id.

        Args:
            organization_id: The organization.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; identities that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def link_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> None:
        """Give an address to an identity of an organization, or of none; it may have it already.

        Raises:
            NotFoundError: The organization has no such identity.
            ConflictError: The address belongs to another identity; nothing was written.
            InvalidValueError: An argument is no plain string.
        """

    def unlink_address(
        self, identity_id: str, channel_type: str, address: str, *, organization_id: str | None = None
    ) -> None:
        """Take an address from an identity of an organization, or of none; one of others stays theirs.

        Raises:
            NotFoundError: The organization has no such identity.
            InvalidValueError: An argument is no plain string.
        """

class SyncVerificationRepository(Mirror[VerificationRepository]):
    """Blocking twin of `VerificationRepository`."""

    def find(self, identity_id: str, *, organization_id: str | None = None) -> Verification | None:
        """Return the verification of an identity; None where there is none.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def upsert(self, verification: Verification) -> Verification:
        """Store the verification of an identity, or replace it.

        Raises:
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def iter_expiring(self, status: str) -> Iterator[Verification]:
        """Yield the verifications of a status that will end, of every organization.

        Raises:
            InvalidValueError: The status is no plain string.
        """

    def create_request(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def find_request(self, request_id: str) -> VerificationRequest | None:
        """Return a request; None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def upsert_request(self, request: VerificationRequest) -> VerificationRequest:
        """Store a request, or replace it.

        Raises:
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

class SyncTaskRepository(Mirror[TaskRepository]):
    """Blocking twin of `TaskRepository`."""

    def create(self, task: Task) -> Task:
        """Store a task.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def upsert(self, task: Task) -> Task:
        """Store a task, or replace it in its place.

        Raises:
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def get(self, task_id: str) -> Task:
        """Return a task.

        Raises:
            NotFoundError: There is no such task.
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def find(self, task_id: str) -> Task | None:
        """Return a task, None where there is none.

        Raises:
            InvalidValueError: The id is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def list(
        self, room_id: str, *, status: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Task]:
        """Return a page of a room's tasks, in the order in which they came.

        Args:
            room_id: The room.
            status: Those of one status.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; tasks that cannot be read are in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def iter(self, room_id: str) -> Iterator[Task]:
        """Yield all those of a room, in the order in which they came, passing over what cannot be read.

        Raises:
            InvalidValueError: The id is no plain string.
        """

class SyncObservationRepository(Mirror[ObservationRepository]):
    """Blocking twin of `ObservationRepository`."""

    def create(self, observation: Observation) -> Observation:
        """Store an observation.

        Raises:
            AlreadyExistsError: The id is taken; nothing was written.
            InvalidValueError: A value cannot be stored; names its path.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def list(self, room_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[Observation]:
        """Return a page of those of a room, in the order in which they came.

        Args:
            room_id: The room.
            limit: How many at most, 1 to 1000.
            cursor: The `next_cursor` of the page before.

        Returns:
            The page; what cannot be read is in its `errors`.

        Raises:
            InvalidValueError: An argument is of the wrong type or out of range, or no such cursor was given.
        """

    def iter(self, room_id: str) -> Iterator[Observation]:
        """Yield all those of a room, in the order in which they came, passing over what cannot be read.

        Raises:
            InvalidValueError: The id is no plain string.
        """

class SyncReadMarkerRepository(Mirror[ReadMarkerRepository]):
    """Blocking twin of `ReadMarkerRepository`."""

    def mark(self, room_id: str, channel_id: str, event_id: str) -> bool:
        """Mark an event of a room as read; return whether the room has it.

        Raises:
            InvalidValueError: An id is no plain string.
        """

    def mark_all(self, room_id: str, channel_id: str) -> bool:
        """Mark all events of a room as read; return whether it has any.

        Raises:
            InvalidValueError: An id is no plain string.
        """

    def count_unread(self, room_id: str, channel_id: str) -> int:
        """Return how many events of a room are above a channel's marker, or are there at all without one.

        Raises:
            InvalidValueError: An id is no plain string.
        """

    def by_channel(self, room_id: str) -> dict[str, int]:
        """Return the markers of a room by their channels.

        Raises:
            InvalidValueError: The id is no plain string.
        """

class SyncVoiceDeliveryRepository(Mirror[VoiceDeliveryRepository]):
    """Blocking twin of `VoiceDeliveryRepository`."""

    def find(self, room_id: str, key: str) -> VoiceDelivery | None:
        """Return a reservation; None where there is none.

        Raises:
            InvalidValueError: An argument is no plain string.
            InvalidDocumentError: It cannot be read.
        """

    def claim(self, delivery: VoiceDelivery) -> VoiceDelivery:
        """Reserve speech that nobody has, or whose last attempt failed so that the same may be tried again.

        Returns:
            The reservation that holds: the caller's own if it has the caller's `attempt_id`.

        Raises:
            NotFoundError: There is no such room.
            InvalidValueError: A value cannot be stored, or the claim has an outcome already.
            DocumentTooLargeError: It takes more than a document can hold.
        """

    def complete(self, delivery: VoiceDelivery) -> bool:
        """Note the outcome of a reservation, once; return whether that is what is noted.

        Args:
            delivery: With its outcome, and the `attempt_id` of the reservation.

        Returns:
            False if somebody else has the reservation by now, or it has another outcome.

        Raises:
            InvalidValueError: A value cannot be stored, or there is no outcome.
            DocumentTooLargeError: It takes more than a document can hold.
        """

class SyncLeaseRepository(Mirror[LeaseRepository]):
    """Blocking twin of `LeaseRepository`."""

    def acquire(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take a lease that nobody has; None while somebody has it.

        Args:
            name: What may be done.
            owner: Who wants it; unique to this wish. Asked again, the one who has it gets the same lease.
            seconds: How long it lasts unless renewed.

        Raises:
            InvalidValueError: A name is no plain string, or no such time makes sense.
        """

    def renew(self, lease: Lease, seconds: float | None = None) -> bool:
        """Begin a lease anew from now, and return whether it was still there.

        Args:
            lease: As it was given.
            seconds: How long it is to last; else as long as before.

        Raises:
            InvalidValueError: It is no lease, or no such time makes sense.
        """

    def release(self, name: str, owner: str) -> bool:
        """Give a lease back before its end, and return whether its owner still had it.

        Raises:
            InvalidValueError: A name is no plain string.
        """

class ThreadMessages(Mirror[AsyncThreadMessages]):
    """Blocking twin of `AsyncThreadMessages`."""

    def merge(
        self,
        thread_id: str | None,
        message_id: str,
        *,
        only_missing: bool = False,
        **members: Unpack[ThreadMessageUpdate],
    ) -> None:
        """Change the given members of a message, which is begun, with its thread, if it is not there.

        A message that belongs to no thread yet goes to the one that is named. `data` is merged key by key,
        where None is a value. The beginning of a message may come after its end: with `only_missing` it fills
        what is absent or empty.

        Args:
            thread_id: The thread of the message; None leaves it where it is, which may be in none.
            message_id: The message.
            only_missing: Whether to leave what later merges have set.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted; nothing is stored.
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
        """Yield all messages of a thread, or of a kind in all threads, the oldest first.

        Args:
            thread_id: The thread; None for all.
            newest: Whether the newest come first.
            errors: Collects the errors of messages that cannot be read, instead of raising them.
            **where: Only those with these members.

        Raises:
            InvalidValueError: If an argument is of the wrong type, or neither a thread nor a kind is given.
            InvalidDocumentError: If a message cannot be read and `errors` is not given.
        """

    def list_pinned(
        self, user_id: str, *, newest: bool = True, limit: int = 50, cursor: str | None = None
    ) -> Page[ThreadMessage]:
        """Return a page of the pinned messages of a user's threads, the newest first.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def delete(self, thread_id: str | None, message_id: str) -> bool:
        """Delete a message with its feedback, elements and files, and return whether it was there.

        The steps of the message stay.

        Args:
            thread_id: The thread of the message; None for one that belongs to none.
            message_id: The message.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class ThreadFeedback(Mirror[AsyncThreadFeedback]):
    """Blocking twin of `AsyncThreadFeedback`."""

    def upsert(self, thread_id: str, feedback: Feedback) -> Feedback:
        """Store the feedback of a message, or replace it, which keeps its id.

        Returns:
            The feedback as it is stored.

        Raises:
            NotFoundError: If the thread has no such message.
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

    def delete(self, thread_id: str, message_id: str) -> bool:
        """Delete the feedback of a message and return whether it had some.

        Raises:
            InvalidValueError: If an id is no plain string.
        """

class ThreadElements(Mirror[AsyncThreadElements]):
    """Blocking twin of `AsyncThreadElements`."""

    def upsert(self, thread_id: str, element: Element) -> Element:
        """Store or replace an element; the file of the one before is deleted if this one has another.

        Returns:
            The element as it is stored.

        Raises:
            NotFoundError: If the thread is deleted; nothing is stored, and the element's file is deleted too.
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
        """Return a page of elements, those of one message if it is named, in the order in which they came.

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
        """Yield all elements of a thread as they came; `errors` collects those that cannot be read.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If an element cannot be read and `errors` is not given.
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
        """Store a file, or replace the one with that key; readers see the one or the other, whole.

        Args:
            key: The file.
            content: Bytes, a path, an open file, or an iterator of bytes; these are read piece by piece.
            content_type: Its media type.
            data: What else is to be known of the file.

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

    def create(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Create a user.

        Raises:
            AlreadyExistsError: If there is a user with that identifier.
            InvalidValueError: If a value cannot be stored.
            DocumentTooLargeError: If the user takes more than a document can hold.
        """

    def ensure(self, identifier: str, *, metadata: dict[str, Any] | None = None) -> User:
        """Return the user with an identifier, created if it is not there; then `metadata` is ignored.

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
        """Yield all users, in the order of their creation; `errors` collects those that cannot be read.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
            InvalidDocumentError: If a user cannot be read and `errors` is not given.
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

    def create(self, thread_id: str | None = None, **members: Unpack[ThreadUpdate]) -> Thread:
        """Create a thread, with a generated id unless one is given.

        Raises:
            AlreadyExistsError: If the id is taken, if only by a deleted thread.
            NotFoundError: If there is no such user.
            InvalidValueError: If a value cannot be stored; names its path.
            DocumentTooLargeError: If the thread takes more than a document can hold.
        """

    def ensure(self, thread_id: str, **members: Unpack[ThreadUpdate]) -> Thread:
        """Return a thread, created with these members if it is not there; if it is, they are ignored.

        Raises:
            NotFoundError: If the thread is deleted, or there is no such user.
            InvalidValueError: If a value cannot be stored; names its path.
            InvalidDocumentError: If the thread cannot be read.
            DocumentTooLargeError: If the thread takes more than a document can hold.
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
        text: str | None = None,
        order: ListOrder = "active",
        newest: bool = True,
        limit: int = 50,
        cursor: str | None = None,
        **where: Unpack[ThreadFilter],
    ) -> Page[Thread]:
        """Return a page of threads, the most recently active first.

        Args:
            text: Only those whose name, or the text of one of whose messages, contains it, ignoring case; at
                most 4,000 characters. The threads are walked until the page is full.
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
            InvalidDocumentError: If a thread cannot be read and `errors` is not given.
        """

    def update(self, thread_id: str, **members: Unpack[ThreadUpdate]) -> Thread:
        """Change the given members of a thread.

        `data` is replaced whole. `metadata` is merged key by key, where None removes a key unless `unset` is
        given.

        Raises:
            NotFoundError: If the thread is not there, or there is no such user; nothing is changed.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            InvalidDocumentError: If the thread cannot be read, after it was changed.
            DocumentTooLargeError: If the thread would take too much; it is left as it was.
        """

    def merge(self, thread_id: str, *, if_absent: bool = False, **members: Unpack[ThreadUpdate]) -> None:
        """Change the given members of a thread, which is begun if it is not there.

        `data` and `metadata` are merged key by key. In `metadata` None removes a key unless `unset` is given.

        Args:
            thread_id: The thread.
            if_absent: Whether to change nothing if one of the keys to set in `data` and `metadata` is there.
            **members: The members to change.

        Raises:
            NotFoundError: If the thread is deleted, or there is no such user; nothing is changed.
            ConflictError: If `if_absent` is given and one of the keys is there.
            InvalidValueError: If a value cannot be stored, or there is no such member.
            DocumentTooLargeError: If the thread would take too much; it is left as it was.
        """

    def delete(self, thread_id: str) -> bool:
        """Delete a thread for good, with its messages, elements and their files; return whether it was there.

        From the first moment on nobody finds it. A deletion that is cut short goes on when the thread is
        deleted again.

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
        """Create a key and return it with its `token`, which is stored nowhere and cannot be read again.

        Args:
            name: What the key is for.
            namespaces: Those it may use; `["*"]` for all.
            owner_id: Whom it speaks for.
            expires_at: When it stops being good; never unless given.

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
        """Return the key of a token; None if it is malformed, forged, deleted or expired.

        Raises:
            InvalidDocumentError: If the key cannot be read.
        """

    def count(self, *, limit: int | None = None) -> int:
        """Return how many keys there are, expired ones too, `limit` at most.

        Raises:
            InvalidValueError: If the limit is out of range.
        """

    def list(self, *, newest: bool = False, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
        """Return a page of the keys, expired ones too, in the order of their creation.

        Raises:
            InvalidValueError: If an argument is of the wrong type or out of range.
        """

    def delete(self, key_id: str) -> bool:
        """Delete a key and return whether it was there; its token is refused from now on.

        Raises:
            InvalidValueError: If the id is no plain string.
        """
