"""How messages are appended and changed: in one round trip as a rule, exactly once in any case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import count

import bson
from pymongo import ReturnDocument

from mongostore.documents.mapping import MAX_VALUE_BYTES, Raw, bson_size, check_size
from mongostore.documents.sessions import (
    EMPTY,
    EMPTY_BODY,
    MAX_METADATA_BYTES,
    check_metadata_fit,
    to_stored_preview,
)
from mongostore.errors import ConflictError, DocumentTooLargeError, InvalidValueError, NotFoundError
from mongostore.repositories import current_operation
from mongostore.repositories.sessions.message_patch import MessagePatch
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import (
    Positioned,
    Tail,
    TailPosition,
    back_off,
    contention_error,
    messages_of,
    messages_start,
)

SEGMENT_BYTES = 8 * 1024 * 1024
BATCH_MESSAGES = 1000
# With the other parts of a session at their limits, its document still holds a batch.
BATCH_BYTES = 6 * 1024 * 1024
_CONTENT = ("conversation_id", "role", "content", "data", "metadata")


# Given the filter of a tail with room, messages as they are embedded and the newest whole, it appends them in
# one step and returns the position of the first; None where the filter finds no such tail.
Push = Callable[[Raw, list[Raw], Raw], Awaitable[int | None]]


class MessageWriter:
    """The messages of sessions, as they are written."""

    def __init__(self, tail: Tail, overflows: Overflows) -> None:
        self._tail = tail
        self._limits = tail.limits
        self._overflows = overflows

    async def append(
        self, key: str, messages: Sequence[Raw], *, fresh: bool, push: Push | None = None
    ) -> list[Positioned]:
        """Append messages in one step; those that are there already, with the same content, are left.

        Args:
            key: The session's `_id`.
            messages: Stored forms, at most 1,000, with ids of their own.
            fresh: Whether the ids were never used before, so that none can be in a segment.
            push: How they get into the tail, unless as plain messages do; nobody else has their ids then.

        Returns:
            The messages as they are stored with their positions, in the order of the arguments.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: An id is there with other content; nothing was appended.
            DocumentTooLargeError: A message, or all together, are too large; nothing was appended.
        """
        large = _needs_overflow(messages, self._limits.embed_bytes)
        whole = {message["id"]: message for message in messages}
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            embedded, epoch = await self._embed(key, messages, large)
            try:
                appended = await self._append(key, whole, embedded, epoch, fresh=fresh, push=push)
            except (ConflictError, NotFoundError):
                # Certainly not in use, which after an error of the driver nobody knows.
                await self._overflows.delete(message.get("overflow") for message in embedded.values())
                raise
            if appended is not None:
                existing, position = appended
                await self._overflows.delete(embedded[message_id].get("overflow") for message_id in existing)
                if len(messages) > self._limits.keep:
                    # They are stored, whatever becomes of the session now.
                    with suppress(NotFoundError):
                        await self._tail.compact(key)
                positions = count(position)
                return [existing.get(message["id"]) or (next(positions), message) for message in messages]
            await self._overflows.delete(message.get("overflow") for message in embedded.values())
        raise contention_error(key)

    async def _append(
        self,
        key: str,
        whole: dict[str, Raw],
        embedded: dict[str, Raw],
        epoch: str | None,
        *,
        fresh: bool,
        push: Push | None,
    ) -> tuple[dict[str, Positioned], int] | None:
        """Append what is not there yet; return what is, and the position of the first that was not.

        None if large values are of a past epoch.
        """
        existing: dict[str, Positioned] = {}
        checked: TailPosition | None = None
        rolled = False
        async with AsyncExitStack() as waiting:
            for attempt in range(self._limits.attempts):
                if attempt == 1:
                    await waiting.enter_async_context(self._tail.take_turn(key))
                # Who has just made room takes it at once, as those do who come anew.
                await back_off(0 if rolled else attempt)
                seen = self._tail.cached_position(key)
                pending = [message_id for message_id in whole if message_id not in existing]
                if not pending:
                    return existing, 0
                if fresh or not seen.base or checked == seen:
                    guard = {"epoch": epoch or seen.epoch} if epoch or seen.base else {}
                    new = [embedded[message_id] for message_id in pending]
                    guard |= self._append_filter(key, seen.base, pending)
                    position = await (push or self._push_to_tail)(guard, new, whole[pending[-1]])
                    if position is not None:
                        return existing, position
                elif not await self._tail.find_in_segments(seen, pending):
                    checked = seen
                    continue
                # By now somebody else may have appended those ids, if anybody has them.
                fresh = fresh and push is not None
                document = await self._tail.read(key)
                if epoch and document["epoch"] != epoch:
                    return None
                rolled = await self._tail.roll_if_full(document)
                if not rolled:
                    seen = TailPosition(document["epoch"], document["tail_start"])
                    found = messages_of(document) + await self._tail.find_in_segments(seen, pending)
                    existing |= await self._match_existing(whole, found)
                    checked = seen
        raise contention_error(key)

    async def update(self, key: str, message_id: str, patch: MessagePatch) -> Positioned | None:
        """Change one message where it stands and return it with its position; None if it is not there.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            DocumentTooLargeError: The message would be too large; it was left as it was.
        """
        check_size(f"message {message_id!r}", patch.members)
        # What the newest message has is less than the full tail, so that it cannot become too large.
        if patch.size <= min(self._limits.embed_bytes, MAX_METADATA_BYTES - self._limits.full_bytes) and (
            changed := await self._update_newest(key, message_id, patch)
        ):
            return changed
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            document = await self._tail.read(key)
            if document["messages_bytes"] >= self._limits.full_bytes and await self._tail.roll_if_full(
                document
            ):
                continue
            container = await self._find_container(document, message_id)
            if container is None:
                return None
            if changed := await self._update_in(container, document, message_id, patch):
                return changed
        raise contention_error(key)

    async def upsert(self, key: str, message: Raw, patch: MessagePatch) -> Positioned:
        """Change the message with that id by the patch, or append the message; return it with its position.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            DocumentTooLargeError: The message is too large; nothing was changed.
        """
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            if changed := await self.update(key, message["id"], patch):
                return changed
            # Another caller may have just appended that id with other content.
            with suppress(ConflictError):
                return (await self.append(key, [message], fresh=False))[0]
        raise contention_error(key)

    async def _embed(
        self, key: str, messages: Sequence[Raw], large: Sequence[Raw]
    ) -> tuple[dict[str, Raw], str | None]:
        """Return messages as they are embedded, by id: the large ones without their content.

        Also the epoch to which the large values belong, None where there are none.
        """
        embedded = {message["id"]: message for message in messages}
        if not large:
            return embedded, None
        epoch = (await self._tail.read(key))["epoch"]
        for message in large:
            embedded[message["id"]] = await self._spill(key, epoch, message, message)
        return embedded, epoch

    async def _spill(self, key: str, epoch: str, message: Raw, body: Raw) -> Raw:
        value = {name: body.get(name, empty) for name, empty in EMPTY_BODY.items()}
        overflow = await self._overflows.put(key, epoch, f"message {message['id']!r}", value)
        return {**message, **EMPTY_BODY, "overflow": overflow}

    async def _push_to_tail(self, guard: Raw, messages: list[Raw], newest: Raw) -> int | None:
        pushed = await self._tail.sessions.find_one_and_update(
            guard,
            {
                "$push": {"messages": {"$each": messages} if len(messages) > 1 else messages[0]},
                "$inc": {
                    "message_count": len(messages),
                    "next_position": len(messages),
                    "messages_bytes": sum(bson_size("message", message) for message in messages),
                },
                "$set": {"last": to_stored_preview(newest)},
                "$max": {"active_at": current_operation().now},
            },
            projection={"_id": 0, "next_position": 1},
        )
        # As it was before: where the first of them has gone.
        return None if pushed is None else int(pushed["next_position"])

    async def _match_existing(
        self, whole: dict[str, Raw], found: Sequence[Positioned]
    ) -> dict[str, Positioned]:
        """Return those of the messages that are stored already, by id."""
        positioned = [one for one in found if one[1]["id"] in whole]
        known = await self._overflows.load_into(message for _, message in positioned)
        for message in known or ():
            if _has_other_content(message, whole[message["id"]]):
                raise ConflictError(f"message {message['id']!r} is already there with other content")
        positions = [position for position, _ in positioned]
        return {message["id"]: (positions[i], message) for i, message in enumerate(known or ())}

    async def _update_newest(self, key: str, message_id: str, patch: MessagePatch) -> Positioned | None:
        update = patch.update("messages_bytes")
        update["$set"] |= patch.preview()
        update["$max"] = {"active_at": current_operation().now}
        changed = await self._tail.sessions.find_one_and_update(
            {
                "_id": key,
                "state": "open",
                "messages": {"$elemMatch": {"id": message_id, "overflow": None}},
                "last.id": message_id,
                "messages_bytes": {"$lt": self._limits.full_bytes},
            },
            update,
            projection={"next_position": 1, "messages": {"$slice": -1}},
            return_document=ReturnDocument.AFTER,
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
            return positioned
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            container = await self._find_container(await self._tail.read(key), message_id)
            if container is None:
                return None
            position, message = _message_in(container, message_id)
            if filled := await self._overflows.load_into([message]):
                return position, filled[0]
        raise contention_error(key)

    async def _find_container(self, document: Raw, message_id: str) -> Raw | None:
        """Return the document in which a message stands: the session's own, a segment, or None."""
        if any(message and message["id"] == message_id for message in document["messages"]):
            return document
        if not document["tail_start"] or message_id in document["pending_deletes"]:
            return None
        filter = {"epoch": document["epoch"], "messages.id": message_id}
        segment = await self._tail.segments.find_one({**filter, "start": {"$lt": document["tail_start"]}})
        if segment and _message_in(segment, message_id)[1].get("binding") in document.get("unbound", ()):
            return None
        return segment

    async def _update_in(
        self, container: Raw, document: Raw, message_id: str, patch: MessagePatch
    ) -> Positioned | None:
        position, old = _message_in(container, message_id)
        index = position - messages_start(container)
        preview = patch.preview() if document["last"]["id"] == message_id else {}
        guard: Raw = {
            "_id": container["_id"],
            "messages": {"$elemMatch": {"id": message_id, "overflow": old.get("overflow")}},
        }
        body: Raw = {}
        crowded = container is not document and container["size"] + patch.size > SEGMENT_BYTES
        if crowded or old.get("overflow") or patch.size > self._limits.embed_bytes:
            # The body is read and written back, so nothing may change in between.
            guard["edit_count"] = container["edit_count"]
            moved = await self._respill(document, old, patch, out=crowded)
            if moved is None:
                return None
            body, patch = moved
        elif patch.metadata:
            # Merged into what they are by now, for the sum has a limit.
            check_metadata_fit(message_id, patch.merge_into(old.get("metadata", {})))
            guard["messages"]["$elemMatch"]["metadata"] = old.get("metadata")
        projection = {"next_position": 1, "messages": {"$slice": [index, 1]}}
        if container is document:
            changed = await self._update_in_tail(document, guard, patch, message_id, preview, projection)
        else:
            changed = await self._update_in_segment(
                document["_id"], guard, patch, message_id, preview, projection
            )
        await self._overflows.delete([old.get("overflow") if changed else patch.members.get("overflow")])
        if changed is None:
            return None
        same = [(position, message) for message in changed["messages"] if message]
        positioned = await self._read_updated(document["_id"], message_id, same)
        return positioned and (positioned[0], {**positioned[1], **body})

    async def _respill(
        self, document: Raw, old: Raw, patch: MessagePatch, *, out: bool
    ) -> tuple[Raw, MessagePatch] | None:
        """Return a message's new body, and the patch that takes it out of its home or back into it."""
        filled = await self._overflows.load_into([old])
        if filled is None:
            return None
        body = {**EMPTY_BODY, **filled[0], **patch.members}
        body = {name: body[name] for name in EMPTY_BODY}
        body["metadata"] = patch.merge_into(body["metadata"])
        check_metadata_fit(old["id"], body["metadata"])
        stored_body = {"overflow": None, **body}
        if out or bson_size("message", body) > self._limits.embed_bytes:
            outside = await self._spill(document["_id"], document["epoch"], old, body)
            stored_body = {name: outside[name] for name in stored_body}
        return body, MessagePatch({**patch.members, **stored_body})

    async def _update_in_tail(
        self, document: Raw, guard: Raw, patch: MessagePatch, message_id: str, preview: Raw, projection: Raw
    ) -> Raw | None:
        update = patch.update("messages_bytes")
        update["$set"] |= preview
        update["$max"] = {"active_at": current_operation().now}
        newest = {"last.id": message_id if document["last"]["id"] == message_id else {"$ne": message_id}}
        room = {"state": "open", "messages_bytes": {"$lt": self._limits.full_bytes}}
        return await self._tail.sessions.find_one_and_update(
            {**guard, **newest, **room}, update, projection=projection, return_document=ReturnDocument.AFTER
        )

    async def _update_in_segment(
        self, key: str, guard: Raw, patch: MessagePatch, message_id: str, preview: Raw, projection: Raw
    ) -> Raw | None:
        changed = await self._tail.segments.find_one_and_update(
            guard, patch.update("size"), projection=projection, return_document=ReturnDocument.AFTER
        )
        if changed is None:
            return None
        await self._tail.sessions.update_one({"_id": key}, {"$max": {"active_at": current_operation().now}})
        if preview:
            await self._tail.sessions.update_one({"_id": key, "last.id": message_id}, {"$set": preview})
        return changed

    def _append_filter(self, key: str, base: int, message_ids: Sequence[str]) -> Raw:
        """Return the filter of an open session whose tail begins there and can take messages new to it."""
        return {
            "_id": key,
            "state": "open",
            "tail_start": base,
            "messages.id": {"$nin": list(message_ids)} if len(message_ids) > 1 else {"$ne": message_ids[0]},
            f"messages.{self._limits.full - 1}": {"$exists": False},
            "messages_bytes": {"$lt": self._limits.full_bytes},
        }


def _message_in(container: Raw, message_id: str) -> Positioned:
    """Return the message of that id, with its position, in a document that holds it."""
    return next(one for one in messages_of(container) if one[1]["id"] == message_id)


def _needs_overflow(messages: Sequence[Raw], embed_bytes: int) -> list[Raw]:
    """Return the messages of a batch that are too large to be embedded, having checked the batch."""
    if len(messages) > BATCH_MESSAGES:
        raise InvalidValueError(
            "messages", f"are {len(messages)}; at most {BATCH_MESSAGES} can be appended in one step"
        )
    if len({message["id"] for message in messages}) < len(messages):
        raise InvalidValueError("messages", "hold the same id twice")
    large, together = [], 0
    for message in messages:
        size = bson_size("message", message)
        if size > MAX_VALUE_BYTES:
            raise DocumentTooLargeError(f"message {message['id']!r}", size, MAX_VALUE_BYTES)
        if size > embed_bytes:
            large.append(message)
        else:
            together += size
    if len(messages) > 1 and together > BATCH_BYTES:
        raise DocumentTooLargeError("the batch", together, BATCH_BYTES)
    return large


def _has_other_content(stored: Raw, new: Raw) -> bool:
    # Equal bytes for what is not equal to itself: NaN.
    one, other = ({name: {**EMPTY, **message}[name] for name in _CONTENT} for message in (stored, new))
    return one != other and bson.encode(one) != bson.encode(other)
