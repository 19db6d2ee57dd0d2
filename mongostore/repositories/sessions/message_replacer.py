"""How the newest messages of a session go, and others come in their place, in one write."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mongostore.documents.mapping import StoredDocument, bson_size
from mongostore.documents.sessions import to_stored_preview
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Message
from mongostore.recent import Recent
from mongostore.repositories import current_operation
from mongostore.repositories.expiry import is_open
from mongostore.repositories.sessions.message_deleter import MessageDeleter
from mongostore.repositories.sessions.message_writer import MessageWriter
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.recent_operations import operation_token, was_done
from mongostore.repositories.sessions.tail import (
    Positioned,
    Tail,
    TailPosition,
    back_off,
    contention_error,
    messages_of,
    messages_start,
    session_id_of,
    tail_length,
)

# As a rule these have the newest message and the one before it.
_FEW = 8
# So many sessions are remembered for the next pop.
_CACHED_POPS = 64


class MessageReplacer:
    """The newest messages of sessions, as they are taken or replaced."""

    def __init__(
        self, tail: Tail, overflows: Overflows, writer: MessageWriter, deleter: MessageDeleter
    ) -> None:
        self._tail = tail
        self._overflows = overflows
        self._writer = writer
        self._deleter = deleter
        # Sessions as the newest pops of this store have left them, for pops one after another.
        self._popped = Recent[str, StoredDocument](_CACHED_POPS)

    async def pop(self, key: str, read: Callable[[Positioned], Message]) -> Message | None:
        """Delete the newest message and return what `read` makes of it; None if there is none.

        It is read before it is deleted, for an unreadable one must stay, and if the answer of the deletion is
        lost, this process alone still has the message. So it takes two commands; one after another pop.
        """
        memory, is_whole = current_operation().memory, False
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            try:
                remembered = self._take(key)
                document = remembered or await self._tail.read(key, None if is_whole else _FEW)
            except NotFoundError:
                return None
            if await self._tail.finish_pending(document):
                continue
            if was_done(document):
                await self._deleter.finish(key)
                popped: Message = memory["popped"]
                return popped
            if len(messages_of(document)) < 2 and len(document["messages"]) < tail_length(document):
                # The message before the newest one, which the session shows from now on, is further back.
                is_whole = True
                continue
            two = await self._newest(document, 2)
            if not two:
                return None
            # With the preview of the one before, which the session shows from now on.
            filled = await self._overflows.load_into(key, [message for _, message in two])
            if filled is None:
                continue
            position, message = two[-1][0], filled[-1]
            memory["popped"] = read((position, message))
            sets = {"last": to_stored_preview(filled[-2]) if len(filled) > 1 else None}
            sealed = [two[-1][1]] if position < document["tail_start"] else []
            if remembered:
                # If the answer is lost, the next attempt means this session, and no later one of that id.
                memory["incarnation"] = remembered["create_op"]
            if await self._deleter.delete_from(document, {message["id"]}, sets=sets, sealed=sealed):
                self._keep(document, position, sets)
                return read((position, message))
            if remembered:
                del memory["incarnation"]
        raise contention_error(key)

    async def replace_newest(
        self, key: str, message_ids: Sequence[str], messages: Sequence[StoredDocument]
    ) -> list[Positioned]:
        """Put stored forms of messages in the place of the newest ones; see `AsyncSessionMessages`."""
        messages = [{**message, "op": operation_token()} for message in messages]
        new_ids = {message["id"] for message in messages}
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            if await self._tail.finish_pending(document):
                continue
            end = document["next_position"]
            if was_done(document):
                await self._deleter.finish(key)
                return [*enumerate(messages, current_operation().memory["start"])]
            newest = await self._newest(document, len(message_ids))
            if [message["id"] for _, message in newest] != [*message_ids]:
                raise ConflictError(f"session {session_id_of(key)!r} has other newest messages")
            position = TailPosition(document["epoch"], document["tail_start"])
            taken = {message["id"] for _, message in messages_of(document)}
            if new_ids & taken or await self._tail.find_in_segments(key, position, [*new_ids]):
                raise ConflictError(f"session {session_id_of(key)!r} has a message of one of these ids")
            embedded = await self._writer.embed(document, messages)
            current_operation().memory["start"] = end
            appended = {
                f"messages.{index}": message
                for index, message in enumerate(embedded, end - document["tail_start"])
            }
            sizes = sum(bson_size("message", message) for message in embedded)
            preview = {"last": to_stored_preview(messages[-1])} if messages else {}
            counts = {"message_count": len(messages), "next_position": len(messages), "messages_bytes": sizes}
            if await self._deleter.delete_from(
                document, {*message_ids}, sets={**appended, **preview}, counts=counts
            ):
                return [*enumerate(messages, end)]
            await self._overflows.delete(key, (message.get("overflow") for message in embedded))
        raise contention_error(key)

    def _take(self, key: str) -> StoredDocument | None:
        """Return the session as the pop before this one has left it, if it is remembered."""
        document = self._popped.pop(key, None)
        # An attempt whose answer was lost has changed it since.
        return document if is_open(document) and not current_operation().attempt else None

    def _keep(self, document: StoredDocument, popped: int, sets: StoredDocument) -> None:
        """Keep a session as it is without its newest message, if the next pop needs no more of it."""
        if len(messages_of(document)) < 3 and len(document["messages"]) < tail_length(document):
            return
        messages, first = document["messages"][:], messages_start(document)
        if popped >= document["tail_start"]:
            messages[popped - first] = None
        changed = {"messages": messages, "edit_count": document["edit_count"] + 1, **sets}
        self._popped[document["_id"]] = {**document, **changed}

    async def _newest(self, document: StoredDocument, count: int) -> list[Positioned]:
        """Return the newest messages of a session, the oldest of them first."""
        found, base = messages_of(document), document["tail_start"]
        going = {*document["pending_deletes"]}
        while len(found) < count and base:
            segment = await self._tail.find_newest_segment(document, base)
            if segment is None:
                break
            older = [one for one in messages_of(segment) if one[0] < base and one[1]["id"] not in going]
            found, base = older + found, segment["start"]
        return found[-count:] if count else []
