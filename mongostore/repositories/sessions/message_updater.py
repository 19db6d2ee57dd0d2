"""How messages are changed: where they stand, in the tail or in a segment, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pymongo import ReturnDocument

from mongostore.documents.mapping import StoredDocument, bson_size, check_size
from mongostore.documents.session_streams import parts_of
from mongostore.documents.sessions import EMPTY_BODY, MAX_METADATA_BYTES, check_metadata_fit
from mongostore.errors import ConflictError, NotFoundError
from mongostore.repositories import current_operation
from mongostore.repositories.sessions.message_patch import MessagePatch, other_version_error
from mongostore.repositories.sessions.message_writer import MessageWriter
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.recent_operations import (
    not_done,
    operation_token,
    record_operation,
    was_done,
)
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.tail import (
    Positioned,
    Tail,
    TailPosition,
    back_off,
    contention_error,
    messages_of,
    messages_start,
)

_SEGMENT_BYTES = 8 * 1024 * 1024


class MessageUpdater:
    """The messages of sessions, as they are changed."""

    def __init__(self, tail: Tail, overflows: Overflows, writer: MessageWriter) -> None:
        self._tail = tail
        self._limits = tail.limits
        self._overflows = overflows
        self._writer = writer

    async def update(
        self, key: str, message_id: str, patch: MessagePatch, *, is_new: bool = False
    ) -> Positioned | None:
        """Change one message where it stands and return it with its position; None if it is not there.

        Args:
            key: The session's `_id`.
            message_id: The message.
            patch: The change.
            is_new: Whether the message is as a rule not there.
        """
        check_size(f"message {message_id!r}", patch.members)
        # What the newest message has is less than a full tail, so that it cannot become too large.
        if (
            patch.seen_at is None
            and patch.size <= min(self._limits.embed_bytes, MAX_METADATA_BYTES - self._limits.full_bytes)
            and (changed := await self._update_newest(key, message_id, patch))
        ):
            return changed
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            document, container = await self._find(key, message_id, is_new)
            if await self._was_updated(document) or _was_appended(container, message_id):
                current_operation().memory["updated"] = True
                await self._overflows.delete(key, current_operation().memory.get("unused", ()))
                return await self._read_updated(key, message_id, ())
            if document["messages_bytes"] >= self._limits.full_bytes and await self._tail.roll_if_full(
                document
            ):
                continue
            if container is None:
                return None
            if changed := await self._update_in(container, document, message_id, patch):
                return changed
        raise contention_error(key)

    async def upsert(
        self, key: str, message: StoredDocument, patch: MessagePatch, change: SessionChange
    ) -> tuple[int | None, StoredDocument]:
        """Change the message with that id by the patch, or append the message; return it with its position.

        Args:
            key: The session's `_id`.
            message: The message.
            patch: The change of the one that is there.
            change: The beginning of the session by the append, if it is not there.
        """
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            try:
                changed = await self.update(key, message["id"], patch, is_new=True)
            except NotFoundError:
                if not change.may_create:
                    raise
                changed = None
            if changed:
                return changed
            if "updated" in current_operation().memory:
                # Another caller has removed it since.
                return None, message
            # Another caller may have just appended that id with other content.
            with suppress(ConflictError):
                absent = current_operation().memory.get("absent")
                appended = await self._writer.append(
                    key, [message], fresh=False, change=change, absent_at=absent
                )
                return appended[0]
        raise contention_error(key)

    async def _find(
        self, key: str, message_id: str, is_new: bool
    ) -> tuple[StoredDocument, StoredDocument | None]:
        """Return the document of a session, and the one in which a message stands, if any.

        A message that is as a rule not there is looked for in both places at the same time.
        """
        seen = self._tail.cached_position(key)
        if not is_new or not seen.base:
            document = await self._tail.read(key)
            return document, await self.find_container(document, message_id)
        document, segment = await asyncio.gather(
            self._tail.read(key), self._find_segment(key, seen, message_id)
        )
        has_moved = seen != TailPosition(document["epoch"], document["tail_start"])
        if has_moved or message_id in (*document["pending_deletes"], *_ids_in(document)):
            return document, await self.find_container(document, message_id)
        if segment is None:
            current_operation().memory["absent"] = seen
        return document, segment

    async def _update_newest(self, key: str, message_id: str, patch: MessagePatch) -> Positioned | None:
        update = patch.update("messages_bytes")
        update["$set"] |= patch.preview()
        update |= {"$max": {"active_at": current_operation().active_at}, "$push": record_operation()}
        one: StoredDocument = {"id": message_id, "overflow": None, **patch.expected}
        if current_operation().attempt:
            one["op"] = {"$ne": operation_token()}
        if patch.ends_stream:
            # Text that has left the message has to be deleted.
            unsplit: StoredDocument = {"stream.parts": []} if patch.drops_stream else {"stream": None}
            one |= unsplit
        changed = await self._tail.sessions.find_and_modify(
            {
                "_id": key,
                "state": "open",
                "messages": {"$elemMatch": one},
                "last.id": message_id,
                "messages_bytes": {"$lt": self._limits.full_bytes},
                **not_done(),
            },
            update,
            {"next_position": 1, "messages": {"$slice": -1}},
        )
        return None if changed is None else await self._read_updated(key, message_id, messages_of(changed))

    async def _read_updated(
        self, key: str, message_id: str, changed: Sequence[Positioned]
    ) -> Positioned | None:
        """Return a message from those that the server has shown after its change, or else read it again.

        It shows another one if the tail was rolled meanwhile, or if deleted ones are behind the newest, and
        all of them to a driver that has tried the change twice.
        """
        if positioned := next((one for one in changed if one[1]["id"] == message_id), None):
            if "stream" not in positioned[1]:
                return positioned
            if filled := await self._overflows.load_into(key, [positioned[1]]):
                return positioned[0], filled[0]
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            container = await self.find_container(await self._tail.read(key), message_id)
            if container is None:
                return None
            position, message = message_in(container, message_id)
            if filled := await self._overflows.load_into(key, [message]):
                return position, filled[0]
        raise contention_error(key)

    async def find_container(self, document: StoredDocument, message_id: str) -> StoredDocument | None:
        """Return the document in which a message stands: the session's own, a segment, or None."""
        if message_id in _ids_in(document):
            return document
        if not document["tail_start"] or message_id in document["pending_deletes"]:
            return None
        position = TailPosition(document["epoch"], document["tail_start"])
        return await self._find_segment(document["_id"], position, message_id)

    async def _find_segment(self, key: str, position: TailPosition, message_id: str) -> StoredDocument | None:
        filter = {"session": key, "epoch": position.epoch, "messages.id": message_id}
        return await self._tail.segments.find_one({**filter, "start": {"$lt": position.base}})

    async def _update_in(
        self, container: StoredDocument, document: StoredDocument, message_id: str, patch: MessagePatch
    ) -> Positioned | None:
        """Change a message in the document that holds it; None if that has changed since."""
        position, old = message_in(container, message_id)
        if not patch.is_met(old):
            raise other_version_error(message_id)
        one: StoredDocument = {"id": message_id, "overflow": old.get("overflow"), **patch.expected}
        if patch.seen_at is not None:
            one["updated_at"] = old.get("updated_at")
        preview = patch.preview() if document["last"]["id"] == message_id else {}
        ends_stream = patch.ends_stream and "stream" in old
        ended = await self._end_stream(document["_id"], old, patch, one) if ends_stream else patch
        if ended is None:
            return None
        # In this life alone: others may have made the session anew, with a message of that id.
        guard: StoredDocument = {
            "_id": container["_id"],
            "epoch": container["epoch"],
            "messages": {"$elemMatch": one},
        }
        fitted = await self._fit(container, document, old, ended, guard)
        if fitted is None:
            return None
        body, patch = fitted
        index = position - messages_start(container)
        update_in = self._update_in_tail if container is document else self._update_in_segment
        # If the answer to what follows is lost and the next attempt finds it done, these go.
        unused = [old.get("overflow"), *(parts_of(old) if ends_stream else ())]
        current_operation().memory["unused"] = unused
        changed = await update_in(document, guard, patch, message_id, preview, {"$slice": [index, 1]})
        await self._overflows.delete(document["_id"], unused if changed else [patch.members.get("overflow")])
        if changed is None:
            return None
        same = [(position, message) for message in changed["messages"] if message]
        positioned = await self._read_updated(document["_id"], message_id, same)
        if "stream" in old and not ends_stream:
            return positioned
        return positioned and (positioned[0], {**positioned[1], **body})

    async def _fit(
        self,
        container: StoredDocument,
        document: StoredDocument,
        old: StoredDocument,
        patch: MessagePatch,
        guard: StoredDocument,
    ) -> tuple[StoredDocument, MessagePatch] | None:
        """Return the body of a message if it moves, and the patch by which its document stays small enough.

        The guard of the write takes up what has been read for it; None if its overflow has just gone.
        """
        crowded = container is not document and container["size"] + patch.size > _SEGMENT_BYTES
        if crowded or old.get("overflow") or patch.size > self._limits.embed_bytes:
            # The body is read and written back, so nothing may change in between.
            guard["edit_count"] = container["edit_count"]
            return await self._respill(document, old, patch, out=crowded)
        if patch.metadata:
            # Merged into what they are by now, for the sum has a limit.
            check_metadata_fit(old["id"], patch.merge_into(old.get("metadata", {})))
            guard["messages"]["$elemMatch"]["metadata"] = old.get("metadata")
        return {}, patch

    async def _end_stream(
        self, key: str, old: StoredDocument, patch: MessagePatch, guard: StoredDocument
    ) -> MessagePatch | None:
        """Return the patch that also ends the stream of a message; None if its text has just moved.

        No text may come in between, so the guard of the message names what it has.
        """
        guard |= {f"stream.{name}": old["stream"][name] for name in ("writer", "flushes")}
        patch = replace(patch, drops_stream="stream" not in patch.members)
        if "content" in patch.members:
            return patch
        joined = await self._overflows.load_into(key, [old])
        if joined is None:
            return None
        return replace(patch, members={**patch.members, "content": joined[0]["content"]})

    async def _respill(
        self, document: StoredDocument, old: StoredDocument, patch: MessagePatch, *, out: bool
    ) -> tuple[StoredDocument, MessagePatch] | None:
        """Return a message's new body, and the patch that takes it out of its home or back into it."""
        filled = await self._overflows.load_body(document["_id"], old)
        if filled is None:
            return None
        body = {**EMPTY_BODY, **filled, **patch.members}
        body = {name: body[name] for name in EMPTY_BODY}
        body["metadata"] = patch.merge_into(body["metadata"])
        check_metadata_fit(old["id"], body["metadata"])
        stored_body = {"overflow": None, **body}
        if out or bson_size("message", body) > self._limits.embed_bytes:
            outside = await self._overflows.spill(document["_id"], document["epoch"], old, body)
            stored_body = {name: outside[name] for name in stored_body}
        return body, replace(patch, members={**patch.members, **stored_body}, metadata={}, unset=[])

    async def _update_in_tail(
        self,
        document: StoredDocument,
        guard: StoredDocument,
        patch: MessagePatch,
        message_id: str,
        preview: StoredDocument,
        visible: StoredDocument,
    ) -> StoredDocument | None:
        update = patch.update("messages_bytes")
        update["$set"] |= preview
        update |= {"$max": {"active_at": current_operation().active_at}, "$push": record_operation()}
        newest = {"last.id": message_id if document["last"]["id"] == message_id else {"$ne": message_id}}
        room = {"state": "open", "messages_bytes": {"$lt": self._limits.full_bytes}}
        return await self._tail.sessions.find_one_and_update(
            {**guard, **newest, **room, **not_done()},
            update,
            projection={"next_position": 1, "messages": visible},
            return_document=ReturnDocument.AFTER,
        )

    async def _update_in_segment(
        self,
        document: StoredDocument,
        guard: StoredDocument,
        patch: MessagePatch,
        message_id: str,
        preview: StoredDocument,
        visible: StoredDocument,
    ) -> StoredDocument | None:
        # The next attempt looks here, even if another caller puts the message elsewhere meanwhile.
        current_operation().memory["segment"] = guard["_id"]
        changed = await self._tail.segments.find_one_and_update(
            {**guard, "session": document["_id"], **not_done()},
            {**patch.update("size"), "$push": record_operation()},
            projection={"next_position": 1, "messages": visible},
            return_document=ReturnDocument.AFTER,
        )
        if changed is None:
            return None
        # Of the messages that were there then: others may have begun anew since, under the same ids.
        own = {"_id": document["_id"], "epoch": document["epoch"]}
        await self._tail.sessions.update_one(own, {"$max": {"active_at": current_operation().active_at}})
        if preview:
            await self._tail.sessions.update_one({**own, "last.id": message_id}, {"$set": preview})
        return changed

    async def _was_updated(self, document: StoredDocument) -> bool:
        """Return whether an earlier attempt of this operation has changed the message."""
        if current_operation().attempt and (segment_id := current_operation().memory.get("segment")):
            segment = await self._tail.segments.find_one(
                {"_id": segment_id, "session": document["_id"]}, ["recent_ops"]
            )
            # Without it, the messages were removed after that attempt, or before it could change them.
            if segment is None or was_done(segment):
                return True
        return was_done(document)


def _was_appended(container: StoredDocument | None, message_id: str) -> bool:
    """Return whether an earlier attempt of this operation has appended the message."""
    return container is not None and message_in(container, message_id)[1].get("op") == operation_token()


def _ids_in(document: StoredDocument) -> list[str]:
    return [message["id"] for message in document["messages"] if message]


def message_in(container: StoredDocument, message_id: str) -> Positioned:
    """Return the message of that id, with its position, in a document that holds it."""
    return next(one for one in messages_of(container) if one[1]["id"] == message_id)
