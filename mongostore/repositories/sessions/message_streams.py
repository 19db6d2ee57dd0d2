"""The statements of messages that are being written: each sends the new text alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import uuid4

from mongostore.codec import PREVIEW_CHARACTERS, preview_text
from mongostore.documents.mapping import StoredDocument
from mongostore.documents.session_streams import new_stream, parts_of, status_of, writer_end
from mongostore.documents.sessions import EMPTY, to_message, to_stored_message
from mongostore.errors import ConflictError, NotFoundError
from mongostore.models import Message, SessionCreate
from mongostore.repositories import current_operation, writes
from mongostore.repositories.sessions.message_arguments import claim_fresh_id
from mongostore.repositories.sessions.message_patch import MessagePatch, other_version_error
from mongostore.repositories.sessions.message_updater import message_in
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.storage import SessionRepository, SessionStorage
from mongostore.repositories.sessions.tail import back_off, contention_error, session_id_of

# The text in the message itself, before it moves to an overflow: so the largest segment stays far below the
# limit of a document, even if all of its messages are being written.
_PIECES_BYTES = 32 * 1024
# Round a piece in an array.
_PIECE_ENVELOPE = 16


class Growth:
    """A message that is being written, as its writer knows it.

    Attributes:
        key: The `_id` of its session.
        message_id: The message.
        writer: The token of this writer.
        flushes: How many pieces are stored.
        pieces: The text of those that are in the message itself.
        preview: The beginning of the whole text.
        segment: The `_id` of the segment that holds the message; None while it is in its session's document.
        is_newest: Whether the session's preview is of this message.
    """

    def __init__(self, key: str, message_id: str) -> None:
        self.key = key
        self.message_id = message_id
        self.writer: str = uuid4().hex[:16]
        self.flushes = 0
        self.pieces = ""
        self.preview = ""
        self.segment: str | None = None
        self.is_newest = True


@dataclass(frozen=True)
class _Step:
    """One change of a message that is being written, in the words of an update of one message."""

    set: StoredDocument
    push: StoredDocument
    size: int = 0
    flushes: int = 0

    def update(self, size_field: str) -> StoredDocument:
        inc = {"edit_count": 1, size_field: self.size, "messages.$.stream.flushes": self.flushes}
        update = {
            "$set": {f"messages.$.{name}": value for name, value in self.set.items()},
            "$inc": {name: number for name, number in inc.items() if number},
        }
        if self.push:
            update["$push"] = {f"messages.$.stream.{name}": value for name, value in self.push.items()}
        return update


class MessageStreams(SessionRepository):
    """The messages of sessions that are being written, as their streams change them."""

    def __init__(self, storage: SessionStorage) -> None:
        super().__init__(storage)
        self._tail = storage.tail

    def add(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have a stream end when the store is closed."""
        self._connection.closers.add(close)

    def discard(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have a stream that has ended be forgotten."""
        self._connection.closers.discard(close)

    @writes
    async def begin(self, growth: Growth, message: Message, create: bool | SessionCreate) -> Message:
        """Append a message that is being written, or take over one that is not complete; return it."""
        now = current_operation().now
        stored = {**to_stored_message(message, now), "stream": new_stream(growth.writer, now)}
        change = SessionChange.from_options(growth.key, {"create": create})
        # Only the first attempt may trust in a new id.
        fresh = claim_fresh_id(message)
        growth.preview = preview_text(message.content)
        while True:
            try:
                [(position, found)] = await self._storage.writer.append(
                    growth.key, [stored], fresh=fresh, change=change
                )
            except ConflictError:
                found = {}
            if found.get("stream", {}).get("writer") == growth.writer:
                return to_message((position, _begun(found)))
            try:
                if taken := await self._take_over(growth, stored):
                    return taken
            except NotFoundError:
                deleter = self._storage.session_deleter
                if not (change.may_create and await deleter.may_begin_again(growth.key)):
                    raise
            fresh = False

    @writes
    async def flush(self, growth: Growth, piece: str) -> None:
        """Add a piece of text to the message."""
        now = current_operation().now
        preview = growth.preview + piece[:PREVIEW_CHARACTERS]
        fields: StoredDocument = {"updated_at": now, "stream.until": writer_end(now)}
        size = len(piece.encode()) + _PIECE_ENVELOPE
        part = None
        if len(growth.pieces.encode()) + size > _PIECES_BYTES:
            epoch = (await self._tail.read(growth.key))["epoch"]
            part = await self._storage.overflows.put(
                growth.key, epoch, f"message {growth.message_id!r}", growth.pieces + piece
            )
            step = _Step({**fields, "stream.pieces": []}, {"parts": part}, _PIECE_ENVELOPE + len(part), 1)
        else:
            step = _Step(fields, {"pieces": piece}, size, 1)
        try:
            await self._change(growth, step, preview[:PREVIEW_CHARACTERS])
        except (ConflictError, NotFoundError):
            # Certainly not in use, which after an error of the driver is unknown.
            await self._storage.overflows.delete(growth.key, [part])
            raise
        growth.flushes += 1
        growth.pieces = "" if part else growth.pieces + piece
        growth.preview = preview[:PREVIEW_CHARACTERS]

    @writes
    async def renew(self, growth: Growth) -> None:
        """Show that the writer is there."""
        await self._change(growth, _Step({"stream.until": writer_end(current_operation().now)}, {}), None)

    @writes
    async def update(self, growth: Growth, patch: MessagePatch) -> Message:
        """Change other members of the message, and return it."""
        return await self._patch(growth, patch)

    @writes
    async def end(self, growth: Growth, text: str, status: str, patch: MessagePatch) -> Message:
        """Put the whole text into its place, with other members, and return the message."""
        last = MessagePatch.from_members(growth.message_id, {"content": text, "status": status})
        message = await self._patch(growth, replace(patch.then(last), drops_stream=True))
        return self._report_append(session_id_of(growth.key), [message])[0]

    async def _patch(self, growth: Growth, patch: MessagePatch) -> Message:
        patch.members["updated_at"] = current_operation().now
        patch.expected["stream.writer"] = growth.writer
        changed = await self._storage.updater.update(growth.key, growth.message_id, patch)
        if changed is None:
            raise NotFoundError("message", growth.message_id)
        return to_message(changed)

    async def _take_over(self, growth: Growth, stored: StoredDocument) -> Message | None:
        """Begin the message anew in its place, and return it; None if it is not there any more."""
        limits = self._tail.limits
        for attempt in range(limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(growth.key)
            container = await self._storage.updater.find_container(document, growth.message_id)
            if container is None:
                return None
            position, old = message_in(container, growth.message_id)
            writer = (old.get("stream") or {}).get("writer")
            if writer == growth.writer:
                return to_message((position, _begun(old)))
            if status_of(old) == "complete":
                raise ConflictError(f"message {growth.message_id!r} is complete")
            members = {**EMPTY, **stored, "status": None, "updated_at": current_operation().now}
            del members["id"], members["created_at"], members["overflow"]
            patch = MessagePatch(members)
            patch.expected = {"stream.writer": writer, "status": old.get("status")}
            try:
                changed = await self._storage.updater.update(growth.key, growth.message_id, patch)
            except ConflictError:
                # Another writer was faster, or the one before has come to its end.
                continue
            return to_message(changed) if changed else None
        raise contention_error(growth.key)

    async def _change(self, growth: Growth, step: _Step, preview: str | None) -> None:
        """Carry out a step where the message lies by now, exactly once."""
        for attempt in range(self._tail.limits.attempts):
            await back_off(attempt)
            if await self._change_stored(growth, step, preview):
                return
            document = await self._tail.read(growth.key)
            container = await self._storage.updater.find_container(document, growth.message_id)
            if container is None:
                raise NotFoundError("message", growth.message_id)
            stream = message_in(container, growth.message_id)[1].get("stream") or {}
            if stream.get("writer") != growth.writer:
                raise other_version_error(growth.message_id)
            if stream["flushes"] > growth.flushes:
                # An earlier attempt has done it.
                return
            growth.segment = None if container is document else container["_id"]
            growth.is_newest = document["last"] is not None and document["last"]["id"] == growth.message_id
            if container is document:
                await self._tail.roll_if_full(document)
        raise contention_error(growth.key)

    async def _change_stored(self, growth: Growth, step: _Step, preview: str | None) -> bool:
        """Carry out a step where the message was last, and return whether it was there."""
        own = {"id": growth.message_id, "stream.writer": growth.writer, "stream.flushes": growth.flushes}
        found = {"messages": {"$elemMatch": own}}
        active = {} if preview is None else {"active_at": current_operation().now}
        sets = {} if preview in (None, growth.preview) else {"last.text": preview}
        if growth.segment is not None:
            changed = await self._tail.segments.update_one(
                {"_id": growth.segment, "session": growth.key, **found}, step.update("size")
            )
            if changed.matched_count and active:
                await self._tail.sessions.update_one({"_id": growth.key}, {"$max": active})
            return bool(changed.matched_count)
        update = step.update("messages_bytes")
        filter = {"_id": growth.key, "state": "open", **found}
        filter["messages_bytes"] = {"$lt": self._tail.limits.full_bytes}
        if active:
            update["$max"] = active
        if sets and growth.is_newest:
            filter["last.id"] = growth.message_id
            update["$set"] |= sets
        return bool((await self._tail.sessions.update_one(filter, update)).matched_count)


def _begun(stored: StoredDocument) -> StoredDocument:
    """Return the stored form of a message whose stream has just begun as it reads."""
    assert not parts_of(stored), "a stream begins without text"
    return {**{name: value for name, value in stored.items() if name != "stream"}, "status": "streaming"}
