"""How messages are appended: in one round trip as a rule, exactly once in any case."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from itertools import count, repeat

from pymongo.errors import DuplicateKeyError

from mongostore.documents.mapping import StoredDocument, bson_size
from mongostore.documents.sessions import to_stored_preview
from mongostore.errors import ConflictError, NotFoundError
from mongostore.repositories import current_operation
from mongostore.repositories.sessions.batches import find_large, has_other_content
from mongostore.repositories.sessions.overflows import Overflows
from mongostore.repositories.sessions.recent_operations import not_later, operation_token, were_appended
from mongostore.repositories.sessions.session_change import SessionChange
from mongostore.repositories.sessions.session_deleter import SessionDeleter
from mongostore.repositories.sessions.tail import (
    Positioned,
    Tail,
    TailPosition,
    back_off,
    contention_error,
    messages_of,
    session_id_of,
)

_NO_CHANGE = SessionChange()
_CONTENT = ("conversation_id", "role", "content", "data", "metadata")


class MessageWriter:
    """The messages of sessions, as they are written."""

    def __init__(self, tail: Tail, overflows: Overflows, sessions: SessionDeleter) -> None:
        self._tail = tail
        self._limits = tail.limits
        self._overflows = overflows
        self._sessions = sessions

    async def append(
        self,
        key: str,
        messages: Sequence[StoredDocument],
        *,
        fresh: bool,
        change: SessionChange = _NO_CHANGE,
        absent_at: TailPosition | None = None,
    ) -> list[tuple[int | None, StoredDocument]]:
        """Append messages in one step; those that are there already, with the same content, are left.

        Args:
            key: The session's `_id`.
            messages: Stored forms, at most 1,000, with ids of their own.
            fresh: Whether the ids were never used before, so that none can be in a segment.
            change: The change of the session in the same write.
            absent_at: The position of the tail below which no segment has them, where that is known.

        Returns:
            The messages as they are stored with their positions, in the order of the arguments. The
            position is None if an earlier attempt has appended the message, and others removed it since.
        """
        if change.may_create:
            current_operation().memory["may_create"] = True
        while True:
            try:
                return await self._append_all(key, messages, fresh, change, absent_at)
            except NotFoundError:
                if not (change.may_create and await self._sessions.may_begin_again(key)):
                    raise

    async def _append_all(
        self,
        key: str,
        messages: Sequence[StoredDocument],
        fresh: bool,
        change: SessionChange,
        absent_at: TailPosition | None,
    ) -> list[tuple[int | None, StoredDocument]]:
        if fresh:
            current_operation().memory["fresh"] = True
        elif "fresh" not in current_operation().memory:
            messages = [{**message, "op": operation_token()} for message in messages]
        large = _find_large(messages, self._limits.embed_bytes)
        if large and change.may_create:
            # Large values belong to a session that is there.
            await self.begin(change)
        whole = {message["id"]: message for message in messages}
        for attempt in range(self._limits.attempts):
            await back_off(attempt)
            embedded, epoch = await self._embed(key, messages, large)
            try:
                appended = await self._append(key, whole, embedded, epoch, fresh, change, absent_at)
            except (ConflictError, NotFoundError):
                # Certainly not in use, which after an error of the driver is unknown.
                await self._overflows.delete(key, (message.get("overflow") for message in embedded.values()))
                raise
            if appended is not None:
                existing, position = appended
                unused = embedded if position is None else existing
                await self._overflows.delete(
                    key, (embedded[message_id].get("overflow") for message_id in unused)
                )
                if len(messages) > self._limits.keep:
                    # They are stored, whatever becomes of the session now.
                    with suppress(NotFoundError):
                        await self._tail.compact(key)
                positions = repeat(None) if position is None else count(position)
                return [existing.get(message["id"]) or (next(positions), message) for message in messages]
            await self._overflows.delete(key, (message.get("overflow") for message in embedded.values()))
        raise contention_error(key)

    async def _append(
        self,
        key: str,
        whole: dict[str, StoredDocument],
        embedded: dict[str, StoredDocument],
        epoch: str | None,
        fresh: bool,
        change: SessionChange,
        checked: TailPosition | None,
    ) -> tuple[dict[str, Positioned], int | None] | None:
        """Append what is not there yet; return what is, and the position of the first that was not.

        That is None if they were removed again; all is None if large values are of a past epoch. `checked` is
        a position of the tail below which no segment has them.
        """
        existing: dict[str, Positioned] = {}
        counted, rolled = change, False
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
                    guard |= self._append_filter(key, seen.base, pending) | counted.guard()
                    new = [embedded[message_id] for message_id in pending]
                    # Large values are of the life that was there.
                    creates = counted.may_create and epoch is None
                    position = await self._push_to_tail(guard, new, whole[pending[-1]], counted, creates)
                    if position is not None:
                        return existing, position
                elif not await self._tail.find_in_segments(key, seen, pending):
                    checked = seen
                    continue
                # By now another caller may have appended those ids.
                fresh = False
                document = await self._tail.read(key)
                if epoch and document["epoch"] != epoch:
                    return None
                rolled = await self._tail.roll_if_full(document)
                if not rolled:
                    checked = TailPosition(document["epoch"], document["tail_start"])
                    own_ids = whole if "fresh" in current_operation().memory else ()
                    is_done = were_appended(document, own_ids)
                    existing |= await self._find_existing(document, checked, whole, pending, is_done)
                    if is_done:
                        return existing, None
                    counted = change.recounted(document)
                    if not change.holds(document) and existing.keys() < whole.keys():
                        raise ConflictError(f"session {session_id_of(key)!r} has changed since it was read")
        raise contention_error(key)

    async def _embed(
        self, key: str, messages: Sequence[StoredDocument], large: Sequence[StoredDocument]
    ) -> tuple[dict[str, StoredDocument], str | None]:
        """Return messages as they are embedded, by id: the large ones without their content.

        Also the epoch to which the large values belong, None where there are none.
        """
        embedded = {message["id"]: message for message in messages}
        if not large:
            return embedded, None
        epoch = (await self._tail.read(key))["epoch"]
        for message in large:
            embedded[message["id"]] = await self._overflows.spill(key, epoch, message, message)
        return embedded, epoch

    async def embed(
        self, document: StoredDocument, messages: Sequence[StoredDocument]
    ) -> list[StoredDocument]:
        """Return messages as they are embedded in a session: the large ones without their content."""
        large = {message["id"] for message in _find_large(messages, self._limits.embed_bytes)}
        return [
            await self._overflows.spill(document["_id"], document["epoch"], message, message)
            if message["id"] in large
            else message
            for message in messages
        ]

    async def begin(self, change: SessionChange) -> None:
        """Create the session of a change, unless it is there."""
        with suppress(DuplicateKeyError):
            await self._tail.sessions.insert_one(change.begin())

    async def _push_to_tail(
        self,
        guard: StoredDocument,
        messages: list[StoredDocument],
        newest: StoredDocument,
        change: SessionChange,
        creates: bool,
    ) -> int | None:
        update = change.with_append(
            {
                "$push": {"messages": {"$each": messages} if len(messages) > 1 else messages[0]},
                "$inc": {
                    "message_count": len(messages),
                    "next_position": len(messages),
                    "messages_bytes": sum(bson_size("message", message) for message in messages),
                },
                "$set": {"last": to_stored_preview(newest)},
                "$max": {"active_at": current_operation().active_at},
            }
        )
        try:
            pushed = await self._tail.sessions.find_and_modify(
                guard, update, {"_id": 0, "next_position": 1}, upsert=creates
            )
        except DuplicateKeyError:
            # The session is there and does not match.
            return None
        return None if pushed is None else int(pushed["next_position"]) - len(messages)

    async def _find_existing(
        self,
        document: StoredDocument,
        position: TailPosition,
        whole: dict[str, StoredDocument],
        pending: Sequence[str],
        is_done: bool,
    ) -> dict[str, Positioned]:
        """Return those of the messages that are stored already, by id.

        What an earlier attempt has appended, if it `is_done` or known by its token, others may have changed.
        """
        key = document["_id"]
        found = messages_of(document) + await self._tail.find_in_segments(key, position, pending)
        positioned = [one for one in found if one[1]["id"] in whole]
        known = await self._overflows.load_into(key, (message for _, message in positioned))
        is_done |= "fresh" in current_operation().memory
        for message in known or ():
            is_own = is_done or message.get("op") == operation_token()
            if not is_own and has_other_content(message, whole[message["id"]], _CONTENT):
                raise ConflictError(f"message {message['id']!r} is already there with other content")
        positions = [position for position, _ in positioned]
        return {message["id"]: (positions[i], message) for i, message in enumerate(known or ())}

    def _append_filter(self, key: str, base: int, message_ids: Sequence[str]) -> StoredDocument:
        """Return the filter of an open session whose tail begins there and can take messages new to it."""
        removed = not_later()
        if current_operation().attempt:
            own_ids = message_ids if "fresh" in current_operation().memory else ()
            removed["recent_ops"] = {"$nin": [operation_token(), *own_ids]}
        return {
            **removed,
            "_id": key,
            "state": "open",
            "tail_start": base,
            "messages.id": {"$nin": list(message_ids)} if len(message_ids) > 1 else {"$ne": message_ids[0]},
            f"messages.{self._limits.full - 1}": {"$exists": False},
            "messages_bytes": {"$lt": self._limits.full_bytes},
        }


def _find_large(messages: Sequence[StoredDocument], embed_bytes: int) -> list[StoredDocument]:
    """Return the messages of a batch that are too large to be embedded, having checked the batch."""
    names = [f"message {message['id']!r}" for message in messages]
    return [messages[index] for index in find_large("messages", names, messages, embed_bytes)]
