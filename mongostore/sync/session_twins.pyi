"""The blocking twins, written by `python -m tests.stubs` for type checkers: not to be edited."""

import builtins
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any, Unpack

from mongostore.errors import InvalidDocumentError
from mongostore.models import (
    AppendOptions,
    Conversation,
    Integration,
    Integrator,
    ListOrder,
    Message,
    MessageChange,
    MessageStart,
    MessageUpdate,
    Page,
    Session,
    SessionCreate,
    SessionFilter,
    SessionParticipant,
    SessionUpdate,
    StorageLayout,
    Turn,
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
from mongostore.sync.mirror import Mirror

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
        """Put other messages, of new ids, in the place of the newest ones in one step, and return them.

        `message_ids` names all the messages that go, the newest of the session, the oldest first.

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
        """Yield the messages that are there when the iteration begins, in order, a segment at a time.

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
        """Remove all messages in one step, but no turns, and return the session; positions begin anew.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            ConflictError: If other callers kept changing the session for too long.
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If the session cannot be read, after its messages were removed.
        """

    def watch(
        self, session_id: str, *, after: str | None = None, last: int | None = None
    ) -> Iterator[MessageChange]:
        """Yield the changes of a session's messages from now on, or behind a token, until it is deleted.

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

    def set(self, session_id: str, value: Any, *, expected: Any = ANY_CONTEXT) -> None:
        """Store or replace a session's context, any JSON value up to 16 MiB.

        Args:
            session_id: The session.
            value: The context.
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
        """Unbind a participant with its turns and insights, in one step; return whether it was bound.

        If it is bound again, its numbers begin anew.

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
        """Yield the turns of a participant that are there when the iteration begins, in order.

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

    @property
    def namespace(self) -> str:
        """The namespace of these sessions."""

    @staticmethod
    def cursor_of(session: Session, *, order: ListOrder = "active") -> str:
        """Return the cursor of the page that begins after a session.

        Raises:
            InvalidValueError: If an argument is of the wrong type.
        """

    def in_namespace(self, namespace: str) -> Sessions:
        """Return the same verbs for another namespace, apart from all others.

        Raises:
            InvalidValueError: If the name is no plain string, is empty or has a slash.
        """

    def create(self, session_id: str | None = None, **members: Unpack[SessionCreate]) -> Session:
        """Create a session, by default with a new id and the current time.

        Args:
            session_id: The session's id.
            **members: `user_id`, `name`, `description`, `data`, `metadata` and `created_at`; `participants`
                are bound from the start; from `expires_at` on, or after `expires_in`, it is not found.

        Raises:
            AlreadyExistsError: If the id is taken, also by a softly deleted session.
            InvalidValueError: If a value cannot be stored, or a participant comes twice; names its path.
            DocumentTooLargeError: If `data`, or `name`, `description` and `metadata` together, take more than
                4 MiB.
        """

    def ensure(self, session_id: str, **members: Unpack[SessionCreate]) -> Session:
        """Return a session, created with these members if it is not there.

        Args:
            session_id: The session's id.
            **members: As for `create`; without effect on a session that is there.

        Raises:
            NotFoundError: If the session is softly deleted.
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

    def find(self, session_id: str) -> Session | None:
        """Return a session; None if there is none, or it is deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
            InvalidDocumentError: If it cannot be read.
        """

    def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, not deleted.

        Raises:
            InvalidValueError: If the id is no plain string.
        """

    def count(self, *, limit: int | None = None, **where: Unpack[SessionFilter]) -> int:
        """Return the number of sessions, at most `limit`.

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
        **where: Unpack[SessionFilter],
    ) -> Page[Session]:
        """Return a page of sessions, each with its newest message, the most recently active first.

        Sessions that cannot be read are in the `errors` of the page. With `text` a page may be short, even
        empty, while others follow.

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
        """Remove a session's messages, turns, insights and `data` in one step, and return it as it now is.

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
        """Delete a session for good, softly deleted or not, with all its parts; return whether it was there.

        Args:
            session_id: The session.
            revision: The revision that the session must still have.

        Raises:
            ConflictError: If the session has another revision; nothing was deleted.
            InvalidValueError: If an argument is of the wrong type.
        """

    def describe_storage(self, session_id: str) -> StorageLayout:
        """Return where a session's messages lie: in its document or segments.

        Raises:
            NotFoundError: If there is no such session, or it is deleted.
            InvalidValueError: If the id is no plain string.
        """
