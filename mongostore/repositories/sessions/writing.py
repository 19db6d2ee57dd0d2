"""How messages are appended and changed: in one round trip as a rule, exactly once in any case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress

import bson

from mongostore.documents.sessions import EMPTY, EMPTY_BODY, to_stored_preview
from mongostore.documents.stored import MAX_VALUE_BYTES, Raw, check_size, size_of
from mongostore.errors import ConflictError, DocumentTooLargeError, InvalidValueError, NotFoundError
from mongostore.repositories import current_call
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.patches import Patch
from mongostore.repositories.sessions.tail import Place, Tail, contended, pause

SEGMENT_BYTES = 8 * 1024 * 1024
BATCH_MESSAGES = 1000
BATCH_BYTES = 8 * 1024 * 1024
_CONTENT = ("conversation_id", "role", "content", "data", "metadata")


# Given the filter of a tail with room, messages as they are embedded and the newest whole, it appends them in
# one step; False where the filter finds no such tail.
Push = Callable[[Raw, list[Raw], Raw], Awaitable[bool]]


class Writer:
    """The messages of sessions, as they are written."""

    def __init__(self, tail: Tail, overflows: Overflows) -> None:
        self._tail = tail
        self._limits = tail.limits
        self._overflows = overflows

    async def append(
        self, key: str, messages: Sequence[Raw], *, fresh: bool, push: Push | None = None
    ) -> list[Raw]:
        """Append messages in one step; those that are there already, with the same content, are left.

        Args:
            key: The session's `_id`.
            messages: Stored forms, at most 1,000, with ids of their own.
            fresh: Whether the ids were never used before, so that none can be in a segment.
            push: How they get into the tail, unless as plain messages do; nobody else has their ids then.

        Returns:
            The messages as they are stored, in the order given.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: An id is there with other content; nothing was appended.
            DocumentTooLargeError: A message, or all together, are too large; nothing was appended.
        """
        large = _large(messages, self._limits.embed_bytes)
        whole = {message["id"]: message for message in messages}
        for attempt in range(self._limits.attempts):
            await pause(attempt)
            embedded, generation = await self._embed(key, messages, large)
            try:
                there = await self._append(key, whole, embedded, generation, fresh=fresh, push=push)
            except (ConflictError, NotFoundError):
                # Certainly not in use, which after an error of the driver nobody knows.
                await self._overflows.delete(message.get("overflow") for message in embedded.values())
                raise
            if there is not None:
                await self._overflows.delete(embedded[message_id].get("overflow") for message_id in there)
                if len(messages) > self._limits.keep:
                    # They are stored, whatever becomes of the session now.
                    with suppress(NotFoundError):
                        await self._tail.shrink(key)
                return [there.get(message["id"], message) for message in messages]
            await self._overflows.delete(message.get("overflow") for message in embedded.values())
        raise contended(key)

    async def _append(
        self,
        key: str,
        whole: dict[str, Raw],
        embedded: dict[str, Raw],
        generation: str | None,
        *,
        fresh: bool,
        push: Push | None,
    ) -> dict[str, Raw] | None:
        """Append what is not there yet; return what is, None if large values are of a past generation."""
        there: dict[str, Raw] = {}
        checked: Place | None = None
        rolled = False
        async with AsyncExitStack() as waiting:
            for attempt in range(self._limits.attempts):
                if attempt == 1:
                    await waiting.enter_async_context(self._tail.queue(key))
                # Who has just made room takes it at once, as those do who come anew.
                await pause(0 if rolled else attempt)
                place = self._tail.place(key)
                pending = [message_id for message_id in whole if message_id not in there]
                if not pending:
                    return there
                if fresh or not place.base or checked == place:
                    guard = {"generation": generation or place.generation} if generation or place.base else {}
                    new = [embedded[message_id] for message_id in pending]
                    guard |= self._room(key, place.base, pending)
                    if await (push or self._push)(guard, new, whole[pending[-1]]):
                        return there
                elif not await self._tail.sealed(place, pending):
                    checked = place
                    continue
                # By now somebody else may have appended those ids, if anybody has them.
                fresh = fresh and push is not None
                document = await self._tail.read(key)
                if generation and document["generation"] != generation:
                    return None
                rolled = await self._tail.make_room(document)
                if not rolled:
                    place = Place(document["generation"], document["base"])
                    found = [message for message in document["messages"] if message]
                    there |= await self._settle(whole, [*found, *await self._tail.sealed(place, pending)])
                    checked = place
        raise contended(key)

    async def change(self, key: str, message_id: str, patch: Patch) -> bool:
        """Change one message where it stands; return whether it was there.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            DocumentTooLargeError: The message would be too large; it was left as it was.
        """
        check_size(f"message {message_id!r}", patch.members)
        if patch.size <= self._limits.embed_bytes and await self._change_newest(key, message_id, patch):
            return True
        for attempt in range(self._limits.attempts):
            await pause(attempt)
            document = await self._tail.read(key)
            if document["messages_bytes"] >= self._limits.full_bytes and await self._tail.make_room(document):
                continue
            home = await self._home(document, message_id)
            if home is None:
                return False
            if await self._change_at(home, document, message_id, patch):
                return True
        raise contended(key)

    async def upsert(self, key: str, message: Raw, patch: Patch) -> bool:
        """Change the message with that id by the patch, or append the message; return whether it was new.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: Others kept changing the session for too long.
            DocumentTooLargeError: The message is too large; nothing was changed.
        """
        for attempt in range(self._limits.attempts):
            await pause(attempt)
            if await self.change(key, message["id"], patch):
                # Unless an earlier attempt of this call saw that it was not there, and lost track then.
                return "absent" in current_call().seen
            current_call().seen["absent"] = True
            try:
                await self.append(key, [message], fresh=False)
            except ConflictError:
                # Somebody else has just appended that id.
                del current_call().seen["absent"]
                continue
            return True
        raise contended(key)

    async def _embed(
        self, key: str, messages: Sequence[Raw], large: Sequence[Raw]
    ) -> tuple[dict[str, Raw], str | None]:
        """Return messages as they are embedded, by id: the large ones without their content.

        Also the generation to which the large values belong, None where there are none.
        """
        embedded = {message["id"]: message for message in messages}
        if not large:
            return embedded, None
        generation = (await self._tail.read(key))["generation"]
        for message in large:
            embedded[message["id"]] = await self._moved_out(key, generation, message, message)
        return embedded, generation

    async def _moved_out(self, key: str, generation: str, message: Raw, body: Raw) -> Raw:
        value = {name: body.get(name, empty) for name, empty in EMPTY_BODY.items()}
        overflow = await self._overflows.put(key, generation, f"message {message['id']!r}", value)
        return {**message, **EMPTY_BODY, "overflow": overflow}

    async def _push(self, guard: Raw, messages: list[Raw], newest: Raw) -> bool:
        pushed = await self._tail.sessions.update_one(
            guard,
            {
                "$push": {"messages": {"$each": messages} if len(messages) > 1 else messages[0]},
                "$inc": {
                    "message_count": len(messages),
                    "end": len(messages),
                    "messages_bytes": sum(size_of("message", message) for message in messages),
                },
                "$set": {"last": to_stored_preview(newest)},
                "$max": {"updated_at": current_call().now},
            },
        )
        return bool(pushed.matched_count)

    async def _settle(self, whole: dict[str, Raw], found: Sequence[Raw]) -> dict[str, Raw]:
        """Return those of the messages that are stored already, by id."""
        known = await self._overflows.fill(message for message in found if message["id"] in whole)
        for message in known or ():
            if _differs(message, whole[message["id"]]):
                raise ConflictError(f"message {message['id']!r} is already there with other content")
        return {message["id"]: message for message in known or ()}

    async def _change_newest(self, key: str, message_id: str, patch: Patch) -> bool:
        update = patch.update("messages_bytes")
        update["$set"] |= patch.preview()
        update["$max"] = {"updated_at": current_call().now}
        changed = await self._tail.sessions.update_one(
            {
                "_id": key,
                "state": "open",
                "messages": {"$elemMatch": {"id": message_id, "overflow": None}},
                "last.id": message_id,
                "messages_bytes": {"$lt": self._limits.full_bytes},
            },
            update,
        )
        return bool(changed.matched_count)

    async def _home(self, document: Raw, message_id: str) -> Raw | None:
        """Return the document in which a message stands: the session's own, a segment, or None."""
        if any(message and message["id"] == message_id for message in document["messages"]):
            return document
        if not document["base"] or message_id in document["deletions"]:
            return None
        where = {"generation": document["generation"], "messages.id": message_id}
        segment = await self._tail.segments.find_one({**where, "start": {"$lt": document["base"]}})
        if segment and _standing(segment, message_id).get("binding") in document.get("unbound", ()):
            return None
        return segment

    async def _change_at(self, home: Raw, document: Raw, message_id: str, patch: Patch) -> bool:
        old = _standing(home, message_id)
        preview = patch.preview() if document["last"]["id"] == message_id else {}
        guard: Raw = {
            "_id": home["_id"],
            "messages": {"$elemMatch": {"id": message_id, "overflow": old.get("overflow")}},
        }
        crowded = home is not document and home["bytes"] + patch.size > SEGMENT_BYTES
        if crowded or old.get("overflow") or patch.size > self._limits.embed_bytes:
            # The body is read and written back, so nothing may change in between.
            guard["edits"] = home["edits"]
            moved = await self._moved(document, old, patch, out=crowded)
            if moved is None:
                return False
            patch = moved
        if home is document:
            changed = await self._change_in_tail(document, guard, patch, message_id, preview)
        else:
            changed = await self._change_in_segment(document["_id"], guard, patch, message_id, preview)
        await self._overflows.delete([old.get("overflow") if changed else patch.members.get("overflow")])
        return changed

    async def _moved(self, document: Raw, old: Raw, patch: Patch, *, out: bool) -> Patch | None:
        """Return a patch that also takes the message's body out of its home, or back into it."""
        filled = await self._overflows.fill([old])
        if filled is None:
            return None
        body = {**EMPTY_BODY, **filled[0], **patch.members}
        body = {name: body[name] for name in EMPTY_BODY}
        place = {"overflow": None, **body}
        if out or size_of("message", body) > self._limits.embed_bytes:
            outside = await self._moved_out(document["_id"], document["generation"], old, body)
            place = {name: outside[name] for name in ("content", "data", "overflow")}
        return Patch({**patch.members, **place}, patch.notes, patch.dropped)

    async def _change_in_tail(
        self, document: Raw, guard: Raw, patch: Patch, message_id: str, preview: Raw
    ) -> bool:
        update = patch.update("messages_bytes")
        update["$set"] |= preview
        update["$max"] = {"updated_at": current_call().now}
        newest = {"last.id": message_id if document["last"]["id"] == message_id else {"$ne": message_id}}
        room = {"state": "open", "messages_bytes": {"$lt": self._limits.full_bytes}}
        changed = await self._tail.sessions.update_one({**guard, **newest, **room}, update)
        return bool(changed.matched_count)

    async def _change_in_segment(
        self, key: str, guard: Raw, patch: Patch, message_id: str, preview: Raw
    ) -> bool:
        changed = await self._tail.segments.update_one(guard, patch.update("bytes"))
        if not changed.matched_count:
            return False
        await self._tail.sessions.update_one({"_id": key}, {"$max": {"updated_at": current_call().now}})
        if preview:
            await self._tail.sessions.update_one({"_id": key, "last.id": message_id}, {"$set": preview})
        return True

    def _room(self, key: str, base: int, message_ids: Sequence[str]) -> Raw:
        """Return the filter of an open session whose tail begins there and can take messages new to it."""
        return {
            "_id": key,
            "state": "open",
            "base": base,
            "messages.id": {"$nin": list(message_ids)} if len(message_ids) > 1 else {"$ne": message_ids[0]},
            f"messages.{self._limits.full - 1}": {"$exists": False},
            "messages_bytes": {"$lt": self._limits.full_bytes},
        }


def _standing(home: Raw, message_id: str) -> Raw:
    """Return the message of that id in a document that holds it."""
    return next(message for message in home["messages"] if message and message["id"] == message_id)


def _large(messages: Sequence[Raw], embed_bytes: int) -> list[Raw]:
    """Return the messages of a batch that are too large to be embedded, having checked the batch."""
    if len(messages) > BATCH_MESSAGES:
        raise InvalidValueError(
            "messages", f"are {len(messages)}; at most {BATCH_MESSAGES} can be appended in one step"
        )
    if len({message["id"] for message in messages}) < len(messages):
        raise InvalidValueError("messages", "hold the same id twice")
    large, together = [], 0
    for message in messages:
        size = size_of("message", message)
        if size > MAX_VALUE_BYTES:
            raise DocumentTooLargeError(f"message {message['id']!r}", size, MAX_VALUE_BYTES)
        if size > embed_bytes:
            large.append(message)
        else:
            together += size
    if len(messages) > 1 and together > BATCH_BYTES:
        raise DocumentTooLargeError("the batch", together, BATCH_BYTES)
    return large


def _differs(stored: Raw, new: Raw) -> bool:
    # Equal bytes for what is not equal to itself: NaN.
    one, other = ({name: {**EMPTY, **message}[name] for name in _CONTENT} for message in (stored, new))
    return one != other and bson.encode(one) != bson.encode(other)
