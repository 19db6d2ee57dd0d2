"""How messages are appended and changed: in one round trip as a rule, exactly once in any case."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import bson

from mongostore.documents.sessions import to_notes, to_stored_preview
from mongostore.documents.stored import MAX_VALUE_BYTES, Raw, check_size, size_of
from mongostore.errors import ConflictError, DocumentTooLargeError, InvalidValueError, NotFoundError
from mongostore.repositories import current_call
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.tail import (
    ATTEMPTS,
    FULL,
    FULL_BYTES,
    KEEP,
    Place,
    Tail,
    contended,
    pause,
)
from mongostore.values import check_id, check_text, pack, pack_object, preview_text, unpack

EMBED_BYTES = 1024 * 1024
SEGMENT_BYTES = 8 * 1024 * 1024
BATCH_MESSAGES = 1000
BATCH_BYTES = 8 * 1024 * 1024
_PACKERS = {
    "conversation_id": check_id,
    "role": check_text,
    "content": pack,
    "data": pack_object,
}
_CONTENT = ("conversation_id", "role", "content", "data", "metadata")


@dataclass
class Patch:
    """What a change sets and removes in one message.

    Attributes:
        members: Stored members by name; `metadata` here replaces it whole.
        notes: Packed metadata to merge, by escaped key.
        dropped: Escaped keys of metadata to remove.
    """

    members: Raw
    notes: Raw = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, message_id: str, members: Raw) -> Patch:
        """Return the patch that changes the given members of a message as callers name them.

        Raises:
            InvalidValueError: A value cannot be stored.
            DocumentTooLargeError: The metadata take more than 1 MiB.
        """
        notes = to_notes(message_id, members.get("metadata", {}))
        return cls(
            {name: _PACKERS[name](name, value) for name, value in members.items() if name != "metadata"},
            {key: value for key, value in notes.items() if value is not None},
            [key for key, value in notes.items() if value is None],
        )

    @property
    def size(self) -> int:
        """At most so many bytes does the patch add."""
        return size_of("message", {**self.members, "notes": self.notes})

    def update(self, size_field: str) -> Raw:
        """Return the update of the document that holds the message, for a positional filter."""
        sets = {f"messages.$.{name}": value for name, value in self.members.items()}
        sets |= {f"messages.$.metadata.{key}": value for key, value in self.notes.items()}
        update: Raw = {"$set": sets, "$inc": {"edits": 1, size_field: self.size}}
        if self.dropped:
            update["$unset"] = {f"messages.$.metadata.{key}": "" for key in self.dropped}
        return update

    def preview(self) -> Raw:
        """Return what changes in the session's preview when the message is its newest."""
        sets = {
            f"last.{name}": self.members[name] for name in ("conversation_id", "role") if name in self.members
        }
        if "content" in self.members:
            sets["last.text"] = preview_text(unpack(self.members["content"]))
        return sets


class Writer:
    """The messages of sessions, as they are written."""

    def __init__(self, tail: Tail, overflows: Overflows) -> None:
        self._tail = tail
        self._overflows = overflows

    async def append(self, key: str, messages: Sequence[Raw], *, fresh: bool) -> list[Raw]:
        """Append messages in one step; those that are there already, with the same content, are left.

        Args:
            key: The session's `_id`.
            messages: Stored forms, at most 1,000, with ids of their own.
            fresh: Whether the ids were never used before, so that none can be in a segment.

        Returns:
            The messages as they are stored, in the order given.

        Raises:
            NotFoundError: There is no such session, or it is deleted.
            ConflictError: An id is there with other content; nothing was appended.
            DocumentTooLargeError: A message, or all together, are too large; nothing was appended.
        """
        large = _large(messages)
        whole = {message["id"]: message for message in messages}
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            embedded, generation = await self._embed(key, messages, large)
            try:
                there = await self._append(key, whole, embedded, generation, fresh=fresh)
            except (ConflictError, NotFoundError):
                # Certainly not in use, which after an error of the driver nobody knows.
                await self._overflows.delete(message["overflow"] for message in embedded.values())
                raise
            if there is not None:
                await self._overflows.delete(embedded[message_id]["overflow"] for message_id in there)
                if len(messages) > KEEP:
                    # They are stored, whatever becomes of the session now.
                    with suppress(NotFoundError):
                        await self._tail.shrink(key)
                return [there.get(message["id"], message) for message in messages]
            await self._overflows.delete(message["overflow"] for message in embedded.values())
        raise contended(key)

    async def _append(
        self,
        key: str,
        whole: dict[str, Raw],
        embedded: dict[str, Raw],
        generation: str | None,
        *,
        fresh: bool,
    ) -> dict[str, Raw] | None:
        """Append what is not there yet; return what is, None if large values are of a past generation."""
        there: dict[str, Raw] = {}
        checked: Place | None = None
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            place = self._tail.place(key)
            pending = [message_id for message_id in whole if message_id not in there]
            if not pending:
                return there
            if fresh or not place.base or checked == place:
                guard = {"generation": generation or place.generation} if generation or place.base else {}
                new = [embedded[message_id] for message_id in pending]
                if await self._push(key, place.base, guard, new, whole[pending[-1]]):
                    return there
            elif not await self._tail.sealed(place, pending):
                checked = place
                continue
            fresh = False
            document = await self._tail.read(key)
            if generation and document["generation"] != generation:
                return None
            if not await self._tail.make_room(document):
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
        if patch.size <= EMBED_BYTES and await self._change_newest(key, message_id, patch):
            return True
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            document = await self._tail.read(key)
            if document["messages_bytes"] >= FULL_BYTES and await self._tail.make_room(document):
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
        for attempt in range(ATTEMPTS):
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
        value = {"content": body["content"], "data": body["data"]}
        overflow = await self._overflows.put(key, generation, f"message {message['id']!r}", value)
        return {**message, "content": None, "data": {}, "overflow": overflow}

    async def _push(self, key: str, base: int, guard: Raw, messages: list[Raw], newest: Raw) -> bool:
        ids = [message["id"] for message in messages]
        guard = guard | {
            "_id": key,
            "state": "open",
            "base": base,
            "messages.id": {"$nin": ids} if len(ids) > 1 else {"$ne": ids[0]},
            f"messages.{FULL - 1}": {"$exists": False},
            "messages_bytes": {"$lt": FULL_BYTES},
        }
        size = sum(size_of("message", message) for message in messages)
        pushed = await self._tail.sessions.update_one(
            guard,
            {
                "$push": {"messages": {"$each": messages} if len(ids) > 1 else messages[0]},
                "$inc": {"message_count": len(ids), "end": len(ids), "messages_bytes": size},
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
                "messages_bytes": {"$lt": FULL_BYTES},
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
        return await self._tail.segments.find_one(
            {
                "generation": document["generation"],
                "messages.id": message_id,
                "start": {"$lt": document["base"]},
            }
        )

    async def _change_at(self, home: Raw, document: Raw, message_id: str, patch: Patch) -> bool:
        old = next(message for message in home["messages"] if message and message["id"] == message_id)
        preview = patch.preview() if document["last"]["id"] == message_id else {}
        guard: Raw = {
            "_id": home["_id"],
            "messages": {"$elemMatch": {"id": message_id, "overflow": old["overflow"]}},
        }
        crowded = home is not document and home["bytes"] + patch.size > SEGMENT_BYTES
        if crowded or old["overflow"] or patch.size > EMBED_BYTES:
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
        await self._overflows.delete([old["overflow"] if changed else patch.members.get("overflow")])
        return changed

    async def _moved(self, document: Raw, old: Raw, patch: Patch, *, out: bool) -> Patch | None:
        """Return a patch that also takes the message's body out of its home, or back into it."""
        filled = await self._overflows.fill([old])
        if filled is None:
            return None
        body = {name: patch.members.get(name, filled[0][name]) for name in ("content", "data")}
        place = {"overflow": None, **body}
        if out or size_of("message", body) > EMBED_BYTES:
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
        room = {"state": "open", "messages_bytes": {"$lt": FULL_BYTES}}
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


def _large(messages: Sequence[Raw]) -> list[Raw]:
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
        if size > EMBED_BYTES:
            large.append(message)
        else:
            together += size
    if len(messages) > 1 and together > BATCH_BYTES:
        raise DocumentTooLargeError("the batch", together, BATCH_BYTES)
    return large


def _differs(stored: Raw, new: Raw) -> bool:
    # Equal bytes for what is not equal to itself: NaN.
    one, other = ({name: message[name] for name in _CONTENT} for message in (stored, new))
    return one != other and bson.encode(one) != bson.encode(other)
